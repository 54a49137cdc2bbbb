//! Budgets: counted in the commit of the permit, and never passed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use authority::NotPermitted;
use futures::future::join_all;
use model::record::OutcomeKind;
use model::{Amount, Clock as _, FactKey, Harm};
use pdp::Bundle;
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{CommitError, Unit};

use crate::stops::handed_on;
use crate::support::runs::run;
use crate::support::stores::OnCommit;
use crate::support::{Act, POLICY, World};

/// Refunds of one agent, of any size.
pub(crate) const RULES: &str = r#"
    @id("any-refund") permit (principal, action == Action::"crm/refund", resource);
"#;

/// A hundred a day, for each agent.
pub(crate) const REFUNDS: &str = "
budgets:
  refunds:
    description: What may be paid back in a day.
    match: { tools: [crm/refund] }
    amount: /amount
    cap: 100
    per: agent
    every: day
";

impl World {
    pub(crate) async fn publish_budgets(&self, budgets: &str) {
        let bundle = self.bundle(&format!("{POLICY}{RULES}")).await;
        let bundle = Bundle { budgets: Some(budgets.to_owned()), ..bundle };
        self.put_in_force(bundle).await;
    }

    /// A deployment with a task that outlives some days, and these budgets.
    pub(crate) async fn budgeted(budgets: &str) -> Self {
        let world = Self::with(|facts| facts.task.deadline = facts.mandate.valid_until).await;
        world.publish_budgets(budgets).await;
        world
    }

    /// A refund of `amount`, unlike any other.
    pub(crate) fn refund(&self, number: usize, amount: impl Into<Value>) -> Act {
        let (account, amount) = (format!("account-{number}"), amount.into());
        self.call("refund", json!({ "account": account, "amount": amount }))
    }

    /// What is used up, by whom, of the budget `name` in the time that is now.
    pub(crate) async fn used(&self, name: &str) -> Vec<(String, String)> {
        let policy = self.authority.pip().policy();
        let mut all = policy.snapshot.budgets().all(self.clock.now());
        let (shown, window) = all.find(|(it, _)| it.budget.as_str() == name).expect("a budget");
        let used = authority::used(self.store.as_ref(), (&shown, &window), 100).await;
        used.unwrap().into_iter().map(|(who, used)| (who, used.to_string())).collect()
    }

    async fn refunded(&self) -> i64 {
        let used = self.used("refunds").await;
        used.iter().map(|(_, used)| used.parse::<i64>().expect("a whole number")).sum()
    }
}

/// `permitted`, or the reason.
pub(crate) fn told<T>(answer: &Result<T, NotPermitted>) -> String {
    match answer {
        Ok(_) => "permitted".to_owned(),
        Err(NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
        Err(other) => other.to_string(),
    }
}

#[tokio::test]
async fn n_088_a_budget_is_used_up_to_its_cap_and_no_further() {
    let world = World::budgeted(REFUNDS).await;
    for (number, (amount, expected)) in [
        (json!(60), "permitted"),
        (json!(41), "budget_exceeded"),
        (json!(40), "permitted"),
        (json!(1), "budget_exceeded"),
        (json!(0), "permitted"),
        (json!(-5), "budget_unread"),
        (json!(i64::MAX), "budget_unread"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.done(world.refund(number, amount.clone())).await;
        assert_eq!(told(&answer), expected, "{amount}");
    }
    // What is left out is not nothing.
    let answer = world.done(world.call("refund", json!({ "account": "a" }))).await;
    assert_eq!(told(&answer), "budget_unread");
    assert_eq!(world.used("refunds").await, [("agent/billing".to_owned(), "100".to_owned())]);
    let denied = world.records("decision").await;
    let denied: Vec<_> = denied.iter().filter(|it| it.text_of("decision") == "deny").collect();
    assert_eq!(denied.len(), 5);
    assert!(denied.iter().all(|it| it.text_of("budget") == "refunds"));
    // The others are as they were.
    assert!(world.done(world.call("lookup", json!({}))).await.is_ok());
    // A new day has all of it again, and no other one is touched.
    world.clock.advance(Duration::from_hours(24));
    assert_eq!(world.refunded().await, 0);
    assert!(world.done(world.refund(99, 100)).await.is_ok());
}

/// Whatever a budget was called for, a name is used up as it is: another cap begins nothing anew.
#[tokio::test]
async fn n_088_another_set_begins_no_budget_anew() {
    let world = World::budgeted(REFUNDS).await;
    assert!(world.done(world.refund(0, 80)).await.is_ok());
    world.publish_budgets(&REFUNDS.replace("cap: 100", "cap: 90\n    places: 2")).await;
    assert_eq!(told(&world.done(world.refund(1, 11)).await), "budget_exceeded");
    world.publish_budgets("budgets: {}").await;
    assert!(world.done(world.refund(2, 1_000)).await.is_ok());
    world.publish_budgets(&REFUNDS.replace("cap: 100", "cap: 50")).await;
    assert_eq!(told(&world.done(world.refund(3, 1)).await), "budget_exceeded");
    assert_eq!(world.refunded().await, 80);
}

/// Who used it when it was per something else is not shown beside who uses it now; nor is who used nothing.
#[tokio::test]
async fn who_used_a_budget_is_shown_as_it_is_used_up_now() {
    let world = World::budgeted(REFUNDS).await;
    assert!(world.done(world.refund(0, 0)).await.is_ok());
    assert_eq!(world.used("refunds").await, []);
    assert!(world.done(world.refund(1, 30)).await.is_ok());
    let sponsor = format!("sponsor/{}", world.standing.sponsor.id);
    for (number, per, who) in
        [(2, "per: sponsor", sponsor.as_str()), (3, "per: deployment", "deployment")]
    {
        world.publish_budgets(&REFUNDS.replace("per: agent", per)).await;
        assert_eq!(world.used("refunds").await, []);
        assert!(world.done(world.refund(number, 40)).await.is_ok());
        assert_eq!(world.used("refunds").await, [(who.to_owned(), "40".to_owned())]);
    }
}

/// That too little is left is on record, though something changed before that was written.
#[tokio::test]
async fn what_a_budget_denies_is_recorded_though_an_attempt_in_between_fails() {
    let world = World::budgeted(REFUNDS).await;
    assert!(world.done(world.refund(0, 100)).await.is_ok());
    let changed = CommitError::Changed { key: FactKey::active_policy() };
    world.store.on_commit([OnCommit::After(Unit::default()), OnCommit::Refuse(changed)]);
    assert_eq!(told(&world.done(world.refund(1, 1)).await), "budget_exceeded");
    assert_eq!(world.store.commits_left(), 0);
}

/// What was too much for one day is not denied in the name of the next one, nor by a set that lets it be.
#[tokio::test]
async fn what_is_denied_is_denied_by_the_day_and_the_set_of_its_record() {
    let world = World::budgeted(REFUNDS).await;
    assert_eq!(told(&world.done(world.refund(0, 100)).await), "permitted");
    // The commit that is refused is followed by the first of the next day.
    world.store.on_commit([OnCommit::Hold]);
    let asked = world.done(world.refund(1, 1));
    let passes = async {
        world.store.commits_came().await;
        world.clock.advance(Duration::from_hours(24));
        world.store.release();
    };
    let (answer, ()) = tokio::join!(asked, passes);
    assert_eq!(told(&answer), "permitted");
    assert_eq!(world.refunded().await, 1);
    let denied = world.records("decision").await;
    assert!(denied.iter().all(|it| it.text_of("decision") == "permit"));
}

/// However often it was tried before, what is over a limit is told and recorded as that.
#[tokio::test]
async fn a_limit_that_is_first_met_at_the_last_attempt_is_told() {
    let changed = || OnCommit::Refuse(CommitError::Changed { key: FactKey::active_policy() });
    let world = World::budgeted(REFUNDS).await;
    assert!(world.done(world.refund(0, 100)).await.is_ok());
    world.store.on_commit([changed(), changed()]);
    assert_eq!(told(&world.done(world.refund(1, 1)).await), "budget_exceeded");
    // So it is of the limits of a scope.
    let world = World::with(|facts| facts.task.scope.max_calls = Some(1)).await;
    assert!(world.done(world.call("lookup", json!({}))).await.is_ok());
    world.store.on_commit([changed(), changed()]);
    let answer = world.done(world.call("lookup", json!({}))).await;
    assert_eq!(told(&answer), "limit_reached");
    assert_eq!(
        world.records("decision").await.last().expect("it is").text_of("reason"),
        "limit_reached"
    );
    // What only changes is not tried for ever.
    world.store.on_commit([changed(), changed(), changed()]);
    let answer = world.authorize(world.method("tools/list")).await;
    assert!(matches!(answer, Err(NotPermitted::Contended)));
    assert_eq!(world.store.commits_left(), 0);
}

/// The set in force, observed beside itself, permits nothing that it denies.
#[tokio::test]
async fn what_a_budget_denies_is_nothing_to_observe() {
    let world = World::budgeted(&REFUNDS.replace("cap: 100", "cap: 1")).await;
    let pip = world.authority.pip();
    pip.observe(Some(pip.policy().snapshot.clone()));
    assert_eq!(told(&world.done(world.refund(0, 1)).await), "permitted");
    assert_eq!(told(&world.done(world.refund(1, 1)).await), "budget_exceeded");
    let denied = world.records("decision").await.pop().expect("it is recorded").value;
    assert_eq!(
        (&denied["reason"], &denied["observed_set"]),
        (&json!("budget_exceeded"), &Value::Null)
    );
    let found = pip.observation().expect("it is under observation");
    assert_eq!((found.newly_denied, found.newly_permitted), (0, 0));
}

/// N simultaneous calls at the edge, over the real store: exactly as many as fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_088_a_budget_is_never_passed_by_parallel_calls() {
    for (amount, most) in [(1, 100), (3, 33), (50, 2), (100, 1), (101, 0)] {
        let world = Arc::new(World::budgeted(REFUNDS).await);
        let calls = (0..128).map(|number| {
            let world = world.clone();
            tokio::spawn(async move { told(&world.done(world.refund(number, amount)).await) })
        });
        let answers: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.iter().filter(|it| *it == "permitted").count(), most, "{amount}");
        assert!(answers.iter().all(|it| it == "permitted" || it == "budget_exceeded"));
        assert_eq!(world.refunded().await, amount * i64::try_from(most).unwrap());
    }
}

/// Who handed the work on uses it up as well; and the longest chain fits one transaction with all budgets
/// that there may be.
#[tokio::test]
async fn n_088_a_budget_is_used_up_by_the_whole_chain() {
    let longest = u8::try_from(model::DELEGATIONS_MAX).expect("few");
    let world = handed_on(longest).await;
    let of = |budget: usize| {
        let rest = "match: {}, amount: calls, cap: 2, per: agent, every: hour";
        format!("  b-{budget}: {{ description: x, {rest} }}\n")
    };
    let budgets: String = (0..pdp::BUDGETS_MAX).map(of).collect();
    world.publish_budgets(&format!("budgets:\n{budgets}")).await;
    for expected in ["permitted", "permitted", "budget_exceeded"] {
        assert_eq!(told(&world.done(world.call("lookup", json!({}))).await), expected);
    }
    let used = world.used("b-0").await;
    let agents: BTreeSet<_> = used.iter().map(|(who, _)| who.as_str()).collect();
    assert_eq!(agents.len(), usize::from(longest) + 1);
    assert!(agents.contains("agent/lead-1"), "{agents:?}");
}

/// How a call ends, and what else happens.
#[derive(Clone, Debug)]
enum Step {
    /// It is permitted or not, and ends so; never begun where nothing is said.
    Call(i64, Option<OutcomeKind>),
    /// The commit happens, and nobody hears of it.
    Lost(i64),
    /// The commit fails, and nothing happens.
    Failed(i64),
    /// Several at once.
    Together(Vec<i64>),
    /// The process ends and starts again.
    Crash,
    /// So many hours pass.
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let amount = || 0_i64..60;
    let end = prop::option::of(prop::sample::select(vec![
        OutcomeKind::Returned,
        OutcomeKind::Failed,
        OutcomeKind::Unknown,
        OutcomeKind::Cut,
    ]));
    prop_oneof![
        4 => (amount(), end).prop_map(|(amount, end)| Step::Call(amount, end)),
        1 => amount().prop_map(Step::Lost),
        1 => amount().prop_map(Step::Failed),
        2 => prop::collection::vec(amount(), 2..6).prop_map(Step::Together),
        1 => Just(Step::Crash),
        1 => (1_u64..30).prop_map(Step::Later),
    ]
}

/// What was used in the day that is now, as far as the answers tell.
struct Model {
    day: i64,
    used: i64,
    number: usize,
}

impl Model {
    fn next(&mut self) -> usize {
        self.number += 1;
        self.number
    }

    /// Whether `amount` fits; then it is used.
    fn uses(&mut self, amount: i64) -> bool {
        let fits = amount == 0 || self.used + amount <= 100;
        self.used += if fits { amount } else { 0 };
        fits
    }

    async fn takes(&mut self, mut world: World, step: Step) -> World {
        match step {
            Step::Call(amount, end) => {
                let answer = world.authorize(world.refund(self.next(), amount)).await;
                assert_eq!(answer.is_ok(), self.uses(amount), "{amount}: {}", told(&answer));
                let Ok(permit) = answer else { return world };
                if let Some(end) = end {
                    let begun = permit.begin(world.clock.as_ref()).expect("it begins");
                    begun.running.finish(end, None);
                } else {
                    drop(permit);
                    world.drained().await;
                    self.used -= amount;
                }
            }
            Step::Lost(amount) => {
                world.store.on_commit([OnCommit::WrittenButLost]);
                let answer = world.authorize(world.refund(self.next(), amount)).await;
                assert!(answer.is_err());
                self.uses(amount);
            }
            Step::Failed(amount) => {
                world.store.on_commit([OnCommit::Refuse(CommitError::Overloaded)]);
                let answer = world.authorize(world.refund(self.next(), amount)).await;
                assert!(answer.is_err());
            }
            Step::Together(amounts) => {
                let acts: Vec<_> =
                    amounts.iter().map(|it| (*it, world.refund(self.next(), *it))).collect();
                let ask = |(amount, act)| {
                    let world = &world;
                    async move { (amount, world.done(act).await.is_ok()) }
                };
                let answers = join_all(acts.into_iter().map(ask)).await;
                let permitted = answers.into_iter().filter(|(_, is_permitted)| *is_permitted);
                self.used += permitted.map(|(amount, _)| amount).sum::<i64>();
                assert!(self.used <= 100);
            }
            Step::Crash => {
                world = world.restarted().await;
                world.publish_budgets(REFUNDS).await;
            }
            Step::Later(hours) => world.clock.advance(Duration::from_hours(hours)),
        }
        let day = world.clock.now().as_seconds().div_euclid(86_400);
        if day != self.day {
            (self.day, self.used) = (day, 0);
        }
        world
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, as much is used up as was permitted in that day and begun, or may
    /// have been, and never more than there is.
    #[test]
    fn n_088_no_order_of_calls_ends_and_crashes_passes_a_budget(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        run(async {
            let mut world = World::budgeted(REFUNDS).await;
            let day = world.clock.now().as_seconds().div_euclid(86_400);
            let mut model = Model { day, used: 0, number: 0 };
            for step in steps {
                world = model.takes(world, step).await;
                assert_eq!(world.refunded().await, model.used);
                assert!(model.used <= 100);
            }
        });
    }
}

/// The tools of a budget by harm are those that do it, as it is said of them where they are onboarded.
#[tokio::test]
async fn a_budget_of_a_harm_is_for_the_tools_that_do_it() {
    let by_harm = REFUNDS.replace("tools: [crm/refund]", "harm: [moves-money]");
    let world = World::budgeted(&by_harm).await;
    assert!(world.standing.tools.iter().any(|it| it.harm.contains(&Harm::MovesMoney)));
    assert!(world.done(world.refund(0, 100)).await.is_ok());
    assert_eq!(told(&world.done(world.refund(1, 1)).await), "budget_exceeded");
    assert!(world.done(world.call("lookup", json!({}))).await.is_ok());
    assert_eq!(world.used("refunds").await[0].1, Amount::from_parts(1_000_000).to_string());
}
