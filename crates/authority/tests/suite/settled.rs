//! What a permit has taken of limits and budgets is given back once, where it is sure that nothing happened.

use std::time::Duration;

use authority::{Begun, Reader, Settling};
use model::record::OutcomeKind;
use model::{DecisionId, FactKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{CommitError, CounterKey, Store as _, Unit};

use crate::budgets::{REFUNDS, told};
use crate::support::runs::run;
use crate::support::stores::OnCommit;
use crate::support::{Act, World, until};

/// How much there is.
const CAP: i64 = 100;

/// A mark of an unknown outcome, and what settles it.
struct Unsettled {
    decision: DecisionId,
    unit: Unit,
}

impl World {
    /// The first outcome that nobody knows, and what says whether it happened.
    async fn unsettled(&self, did_not_happen: bool) -> Option<Unsettled> {
        let page = self.store.list("unknown/", None, 1).await.expect("they are listed");
        let (_, body) = page.facts.into_iter().next()?;
        let marked: Value = serde_json::from_slice(&body).expect("it can be read");
        let decision = marked["decision"].as_str().expect("it names one");
        let decision: DecisionId = decision.parse().expect("a decision");
        let unit = self.settling(decision, did_not_happen).await.expect("it is marked");
        Some(Unsettled { decision, unit })
    }

    /// What says whether that happened which `decision` permitted, if nobody knows.
    async fn settling(&self, decision: DecisionId, did_not_happen: bool) -> Option<Unit> {
        let mut reader = Reader::new(self.store.as_ref());
        let settling = Settling::of(&decision, self.store.as_ref(), &mut reader).await;
        let Settling { reserved, mut effects } = settling.expect("it is read")?;
        if did_not_happen {
            effects.extend(reserved.given_back());
        }
        Some(Unit { effects, ..Unit::resting_on(reader.sourced(())) })
    }

    /// So many equal refunds of `amount`, which are under way at once.
    async fn equal_refunds(&self, times: usize, amount: i64) -> Vec<Begun<Act>> {
        let mut begun = Vec::new();
        for _ in 0..times {
            let permit = self.authorize(self.refund(0, amount)).await.expect("it is permitted");
            begun.push(permit.begin(self.clock.as_ref()).expect("it begins"));
        }
        begun
    }

    /// What the call used that was permitted by `decision`, as it is recorded.
    async fn amount_of(&self, decision: DecisionId) -> i64 {
        let records = self.records("decision").await;
        let record = records.iter().find(|it| it.text_of("id") == decision.to_string());
        let disclosed = self.disclosure(record.expect("it is recorded")).await;
        disclosed.value("arguments").expect("it is disclosed")["amount"].as_i64().expect("a number")
    }

    /// How many calls of the session policy sees.
    async fn calls_seen(&self) -> i64 {
        let act = self.refund(9, 1);
        let instance = self.standing.instance.id;
        let gathered = self.authority.pip().gather(instance, &act.request).await;
        gathered.expect("it is read").session.counters["calls"]
    }

    /// What is used up of the budget of today, and how many calls of the task were counted.
    async fn taken(&self) -> (i64, i64) {
        let used = self.used("refunds").await;
        let used = used.iter().map(|(_, used)| used.parse::<i64>().expect("a whole number")).sum();
        let calls = CounterKey(format!("{}/calls", self.standing.task.id));
        (used, self.store.counters(&[calls]).await.expect("they are read")[0])
    }
}

/// How a permitted call ends.
#[derive(Clone, Copy, Debug)]
enum How {
    /// It is not begun.
    NotStarted,
    /// It is begun, and nothing is sent.
    Unsent,
    /// It ends so.
    Ends(OutcomeKind),
    /// Nobody says how.
    Lost,
    /// With the process, which starts again; before it has begun, or after.
    Killed { has_begun: bool },
    /// Not begun; and the process ends before that is written down.
    KilledUnwritten,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call(i64, How),
    /// The commit of the permit happens, and nobody hears of it.
    Unheard(i64),
    /// It fails, and nothing happens.
    Refused(i64),
    /// Somebody finds out what became of what nobody knows, and says it twice.
    Settle {
        did_not_happen: bool,
    },
    /// The process ends and starts again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let amount = || 0_i64..40;
    let how = prop::sample::select(vec![
        How::NotStarted,
        How::Unsent,
        How::Ends(OutcomeKind::Returned),
        How::Ends(OutcomeKind::Withheld),
        How::Ends(OutcomeKind::Failed),
        How::Ends(OutcomeKind::Cut),
        How::Ends(OutcomeKind::Unknown),
        How::Lost,
        How::Killed { has_begun: false },
        How::Killed { has_begun: true },
        How::KilledUnwritten,
    ]);
    prop_oneof![
        6 => (amount(), how).prop_map(|(amount, how)| Step::Call(amount, how)),
        1 => amount().prop_map(Step::Unheard),
        1 => amount().prop_map(Step::Refused),
        4 => any::<bool>().prop_map(|did_not_happen| Step::Settle { did_not_happen }),
        1 => Just(Step::Restart),
    ]
}

/// What is taken, as far as the answers tell.
#[derive(Default)]
struct Model {
    used: i64,
    calls: i64,
    /// What surely happened of that.
    happened: i64,
    /// What was permitted ever.
    permitted: i64,
    number: usize,
}

impl Model {
    fn fits(&self, amount: i64) -> bool {
        amount == 0 || self.used + amount <= CAP
    }

    fn takes(&mut self, amount: i64) {
        self.used += amount;
        self.permitted += amount;
        self.calls += 1;
    }

    fn has_back(&mut self, amount: i64) {
        self.used -= amount;
        self.calls -= 1;
    }

    async fn step(&mut self, world: World, step: Step) -> World {
        self.number += 1;
        match step {
            Step::Call(amount, how) => return Box::pin(self.call(world, amount, how)).await,
            Step::Unheard(amount) => {
                world.store.on_commit([OnCommit::WrittenButLost]);
                assert!(world.authorize(world.refund(self.number, amount)).await.is_err());
                if self.fits(amount) {
                    self.takes(amount);
                }
            }
            Step::Refused(amount) => {
                world.store.on_commit([OnCommit::Refuse(CommitError::Overloaded)]);
                assert!(world.authorize(world.refund(self.number, amount)).await.is_err());
            }
            Step::Settle { did_not_happen } => self.settle(&world, did_not_happen).await,
            Step::Restart => return Box::pin(restarted(world)).await,
        }
        world
    }

    async fn call(&mut self, world: World, amount: i64, how: How) -> World {
        let answer = world.authorize(world.refund(self.number, amount)).await;
        assert_eq!(answer.is_ok(), self.fits(amount), "{amount}: {}", told(&answer));
        let Ok(permit) = answer else { return world };
        self.takes(amount);
        let clock = world.clock.clone();
        match how {
            How::NotStarted => {
                drop(permit);
                self.has_back(amount);
            }
            How::Unsent => {
                permit.begin(clock.as_ref()).expect("it begins").running.unsent();
                self.has_back(amount);
            }
            How::Ends(kind) => {
                permit.begin(clock.as_ref()).expect("it begins").running.finish(kind, None);
                let is_known = !matches!(kind, OutcomeKind::Cut | OutcomeKind::Unknown);
                self.happened += if is_known { amount } else { 0 };
            }
            How::Lost => drop(permit.begin(clock.as_ref()).expect("it begins")),
            How::Killed { has_begun: true } => {
                std::mem::forget(permit.begin(clock.as_ref()).expect("it begins"));
                return Box::pin(restarted(world)).await;
            }
            How::Killed { has_begun: false } => {
                std::mem::forget(permit);
                return Box::pin(restarted(world)).await;
            }
            How::KilledUnwritten => {
                world.store.hang_deferred(true);
                drop(permit);
                return Box::pin(restarted(world)).await;
            }
        }
        world.drained().await;
        world
    }

    async fn settle(&mut self, world: &World, did_not_happen: bool) {
        let Some(Unsettled { decision, unit }) = world.unsettled(did_not_happen).await else {
            return;
        };
        let amount = world.amount_of(decision).await;
        world.store.commit(unit.clone()).await.expect("it is settled");
        let again = world.store.commit(unit).await.expect_err("it was settled");
        assert!(matches!(again, CommitError::Changed { .. }), "{again}");
        if did_not_happen {
            self.has_back(amount);
        } else {
            self.happened += amount;
        }
    }
}

async fn restarted(world: World) -> World {
    let world = world.restarted().await;
    world.publish_budgets(REFUNDS).await;
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However calls end, and whenever the process does: what is taken is never more than was permitted, never
    /// less than what happened, and given back once.
    #[test]
    fn n_088_what_is_reserved_is_given_back_once_where_nothing_happened(
        steps in prop::collection::vec(step(), 1..20),
    ) {
        run(async {
            let mut world = World::budgeted(REFUNDS).await;
            let mut model = Model::default();
            for step in steps {
                world = Box::pin(model.step(world, step)).await;
                assert_eq!(world.taken().await, (model.used, model.calls), "{step:?}");
                assert!(model.happened <= model.used && model.used <= model.permitted.min(CAP));
            }
        });
    }
}

/// Only outcomes of which it is sure that nothing happened say that something was given back, and only where
/// something was taken.
#[tokio::test]
async fn n_088_what_was_given_back_is_on_record() {
    let world = World::budgeted(REFUNDS).await;
    let permit = |number| world.authorize(world.refund(number, 10));
    drop(permit(0).await.expect("it is permitted"));
    world.drained().await;
    let begun = permit(1).await.expect("it is permitted").begin(world.clock.as_ref());
    begun.expect("it begins").running.unsent();
    world.drained().await;
    let begun = permit(2).await.expect("it is permitted").begin(world.clock.as_ref());
    begun.expect("it begins").running.finish(OutcomeKind::Failed, None);
    world.drained().await;
    drop(world.authorize(world.method("tools/list")).await.expect("it is permitted"));
    world.drained().await;
    let outcomes = world.records("outcome").await;
    let told = outcomes.iter().map(|it| (it.text_of("outcome"), it.value["given_back"].clone()));
    let expected = [
        ("not_started", json!(true)),
        ("failed", json!(true)),
        ("failed", Value::Null),
        ("not_started", Value::Null),
    ];
    assert!(told.eq(expected));
    assert_eq!(world.taken().await, (10, 1));
}

/// A failure at each step between the permit and what is written of its end.
#[tokio::test]
async fn n_088_a_failure_at_any_step_neither_loses_nor_doubles_what_is_reserved() {
    // The commit of the permit comes when nobody waits for it any more: nobody holds the permit.
    let world = World::budgeted(REFUNDS).await;
    world.store.on_commit([OnCommit::Hold]);
    let asked = world.authorize(world.refund(0, 30));
    tokio::select! {
        _ = asked => panic!("the commit was not held"),
        () = world.store.commits_came() => {}
    }
    world.store.release();
    world.drained().await;
    assert_eq!(world.outcomes().await, ["not_started"]);
    assert_eq!(world.taken().await, (0, 0));
    // What closes it fails, and is written later.
    let permit = world.authorize(world.refund(1, 30)).await.expect("it is permitted");
    world.store.fail_deferred(2);
    drop(permit);
    world.drained().await;
    assert_eq!((world.taken().await, world.store.deferred_failures_left()), ((0, 0), 0));
    // The process ends before that: then nobody knows, until somebody says so.
    let permit = world.authorize(world.refund(2, 30)).await.expect("it is permitted");
    world.store.hang_deferred(true);
    drop(permit);
    let world = restarted(world).await;
    assert_eq!(world.outcomes().await.pop().as_deref(), Some("unknown"));
    assert_eq!(world.taken().await, (30, 1));
    let unsettled = world.unsettled(true).await.expect("nobody knows");
    world.store.commit(unsettled.unit).await.expect("it is settled");
    assert_eq!(world.taken().await, (0, 0));
    // It ends once more, and there is nothing that it could give back again.
    let world = restarted(world).await;
    assert!(world.unsettled(true).await.is_none());
    assert_eq!(world.taken().await, (0, 0));
}

/// However late that is, the next day has no more for it.
#[tokio::test]
async fn what_is_given_back_goes_to_the_day_in_which_it_was_taken() {
    let world = World::budgeted(REFUNDS).await;
    let permit = world.authorize(world.refund(0, 60)).await.expect("it is permitted");
    let counters = async || {
        let listed = world.store.list_counters("budget/refunds/", None, 9).await;
        listed.expect("they are listed").len()
    };
    world.clock.advance(Duration::from_hours(24));
    assert!(world.done(world.refund(1, 50)).await.is_ok());
    assert_eq!(counters().await, 2);
    drop(permit);
    world.drained().await;
    assert_eq!(counters().await, 1);
    assert_eq!(world.taken().await.0, 50);
    assert_eq!(told(&world.done(world.refund(2, 51)).await), "budget_exceeded");
}

/// Of what became unknown before it was kept what it took, nothing is given back.
#[tokio::test]
async fn an_unknown_outcome_of_before_is_settled_without_giving_back() {
    let world = World::budgeted(REFUNDS).await;
    let permit = world.authorize(world.refund(0, 60)).await.expect("it is permitted");
    let (decision, act) = (permit.context().decision, permit.context().act);
    std::mem::forget(permit.begin(world.clock.as_ref()));
    world.put(FactKey::unknown_outcome(&act), &json!({ "decision": decision })).await;
    let unsettled = world.unsettled(true).await.expect("it is marked");
    assert_eq!(unsettled.decision, decision);
    world.store.commit(unsettled.unit).await.expect("it is settled");
    assert_eq!(world.taken().await.0, 60);
    assert!(world.unsettled(true).await.is_none());
}

/// Equal acts that were under way at once: each is settled by itself, and until all are none is done again.
#[tokio::test]
async fn n_040h_of_equal_acts_that_were_lost_at_once_each_is_settled_by_itself() {
    for is_killed in [false, true] {
        let mut world = World::budgeted(REFUNDS).await;
        let begun = world.equal_refunds(2, 30).await;
        if is_killed {
            std::mem::forget(begun);
            world = restarted(world).await;
        } else {
            drop(begun);
            world.drained().await;
        }
        assert_eq!(world.taken().await, (60, 2));
        let mut settled = Vec::new();
        for (did_not_happen, left) in [(true, (30, 1)), (false, (30, 1))] {
            assert_eq!(told(&world.done(world.refund(0, 30)).await), "outcome_unknown");
            let unsettled = world.unsettled(did_not_happen).await.expect("it is marked");
            settled.push(unsettled.decision);
            world.store.commit(unsettled.unit).await.expect("it is settled");
            assert_eq!(world.taken().await, left);
        }
        assert_ne!(settled[0], settled[1]);
        assert_eq!(told(&world.done(world.refund(0, 30)).await), "permitted");
        assert_eq!(world.taken().await, (60, 2));
    }
}

/// However many equal acts are lost at once, the mark and what is kept beside it are no larger for it; of two who
/// settle them at once, one looks again, and the last leaves nothing.
#[tokio::test]
async fn n_040h_many_equal_acts_that_are_lost_at_once_are_kept_each_by_itself() {
    let world = World::budgeted(REFUNDS).await;
    let begun = world.equal_refunds(32, 1).await;
    let mut lost: Vec<_> = begun.iter().map(|it| it.context.decision).collect();
    drop(begun);
    world.drained().await;
    let kept = async |prefix: &str| {
        let page = world.store.list(prefix, None, 100).await.expect("they are listed");
        page.facts.into_iter().map(|(_, body)| body.len()).collect::<Vec<_>>()
    };
    assert_eq!((kept("unknown/").await.len(), kept("lost/").await.len()), (1, 32));
    assert!(kept("lost/").await.into_iter().chain(kept("unknown/").await).all(|it| it < 1_000));
    // Each would leave the mark for the other.
    let (first, second) = (lost.pop().expect("one"), lost.pop().expect("another"));
    let [one, other] = [world.settling(first, true).await, world.settling(second, true).await];
    world.store.commit(one.expect("nobody knows")).await.expect("it is settled");
    let other = world.store.commit(other.expect("nobody knows")).await;
    assert!(matches!(other, Err(CommitError::Changed { .. })), "{other:?}");
    assert!(world.settling(first, true).await.is_none(), "it is settled");
    lost.push(second);
    for decision in lost {
        assert_eq!(told(&world.done(world.refund(0, 1)).await), "outcome_unknown");
        let unit = world.settling(decision, true).await.expect("nobody knows");
        world.store.commit(unit).await.expect("it is settled");
    }
    assert_eq!((kept("unknown/").await, kept("lost/").await), (Vec::new(), Vec::new()));
    assert_eq!(world.taken().await, (0, 0));
    assert_eq!(told(&world.done(world.refund(0, 1)).await), "permitted");
}

/// What was lost counts from then on, also where that cannot be written down while an equal act is settled.
#[tokio::test]
async fn n_040h_an_act_that_was_lost_counts_before_that_is_on_record() {
    let world = World::budgeted(REFUNDS).await;
    let mut begun = world.equal_refunds(2, 30).await;
    drop(begun.pop());
    until("the loss is recorded", || async { !world.outcomes().await.is_empty() }).await;
    world.store.hang_deferred(true);
    drop(begun);
    let unsettled = world.unsettled(true).await.expect("nobody knows");
    world.store.commit(unsettled.unit).await.expect("it is settled");
    for _ in 0..2 {
        assert_eq!(told(&world.done(world.refund(0, 30)).await), "outcome_unknown");
    }
    world.store.hang_deferred(false);
    world.drained().await;
    assert_eq!(told(&world.done(world.refund(0, 30)).await), "outcome_unknown");
    let unsettled = world.unsettled(true).await.expect("nobody knows");
    world.store.commit(unsettled.unit).await.expect("it is settled");
    assert_eq!(told(&world.done(world.refund(0, 30)).await), "permitted");
}

/// Policy sees as many calls as are counted, also once some are given back, by an outcome or by somebody.
#[tokio::test]
async fn the_calls_that_policy_sees_are_less_once_some_are_given_back() {
    let world = World::budgeted(REFUNDS).await;
    world.done(world.refund(0, 1)).await.expect("it is permitted");
    let lost = world.authorize(world.refund(1, 1)).await.expect("it is permitted");
    drop(lost.begin(world.clock.as_ref()).expect("it begins"));
    let given_up = world.authorize(world.refund(2, 1)).await.expect("it is permitted");
    assert_eq!(world.calls_seen().await, 3);
    drop(given_up);
    world.drained().await;
    assert_eq!(world.calls_seen().await, 2);
    let unsettled = world.unsettled(true).await.expect("nobody knows");
    world.store.commit(unsettled.unit).await.expect("it is settled");
    assert_eq!(world.calls_seen().await, 1);
}
