//! Calls that want a token of their own, or a new one: a token is used up in the commit of the permit, once.

use std::sync::Arc;
use std::time::Duration;

use authority::{CommitError, ShownToken};
use futures::future::join_all;
use model::{Clock as _, Sha256Digest, Timestamp};
use pdp::Bundle;
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{Once, OnceScope, Unit};

use crate::budgets::told;
use crate::support::stores::OnCommit;
use crate::support::{Act, POLICY, World, compiled};

const ONCE: &str = "calls: [{ description: x, harm: [moves-money], token: once }]";

const MINUTE: &str = "calls: [{ description: x, harm: [moves-money], attested_s: 60 }]";

const TWICE: &str = "
budgets:
  refunds:
    description: How often an agent pays back.
    match: { harm: [moves-money] }
    amount: calls
    cap: 2
    per: agent
";

const RULES: &str = r#"
    @id("any-refund") permit (principal, action == Action::"crm/refund", resource);
"#;

impl World {
    async fn publish_strictness(&self, strictness: &str) {
        let bundle = self.bundle(&format!("{POLICY}{RULES}")).await;
        let bundle = Bundle { strictness: Some(strictness.to_owned()), ..bundle };
        self.put_in_force(bundle).await;
    }

    async fn strict(strictness: &str) -> Self {
        let world = Self::new().await;
        world.publish_strictness(strictness).await;
        world
    }

    /// The token `name`, issued now.
    fn token(&self, name: &str) -> ShownToken {
        let issued = self.clock.now();
        let expires = issued.plus(Duration::from_mins(5));
        ShownToken { jti: Sha256Digest::of(name.as_bytes()), issued, expires }
    }

    /// A refund like no other, with `token`.
    fn paid(&self, number: usize, token: ShownToken) -> Act {
        self.shown("refund", json!({ "account": number.to_string(), "amount": 1 }), token)
    }

    fn shown(&self, tool: &str, input: Value, token: ShownToken) -> Act {
        let mut act = self.call(tool, input);
        act.circumstances.token = Some(token);
        act
    }

    async fn answer_to(&self, act: Act) -> String {
        told(&self.done(act).await)
    }
}

impl World {
    /// Has the set with this `strictness` decide beside the one in force.
    async fn observe_strictness(&self, strictness: &str) {
        let bundle = self.bundle(&format!("{POLICY}{RULES}")).await;
        let bundle = Bundle { strictness: Some(strictness.to_owned()), ..bundle };
        self.authority.pip().observe(Some(compiled(bundle).await));
    }

    /// What the set under observation came to of refunds with `token`, to which `expected` is answered: one that was
    /// not answered in time is asked again.
    async fn observed(&self, token: ShownToken, expected: &str) -> (Value, Value) {
        for number in 0.. {
            assert_eq!(self.answer_to(self.paid(number, token)).await, expected);
            let record = self.records("decision").await.pop().expect("it is recorded").value;
            let observed = &record["observed_set"];
            if observed["reason"] != "late" {
                return (observed["decision"].clone(), observed["reason"].clone());
            }
        }
        unreachable!("it is asked for ever")
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_call_of_those_that_want_one_each() {
    let world = World::strict(ONCE).await;
    let (one, other) = (world.token("one"), world.token("other"));
    for (number, (token, expected)) in
        [(one, "permitted"), (one, "token_used"), (other, "permitted"), (other, "token_used")]
            .into_iter()
            .enumerate()
    {
        assert_eq!(world.answer_to(world.paid(number, token)).await, expected, "{number}");
        // What does less harm is called with it as often as one likes.
        let lookup = world.shown("lookup", json!({}), token);
        assert_eq!(world.answer_to(lookup).await, "permitted");
    }
    // Whoever shows none has none that is new.
    assert_eq!(
        world.answer_to(world.call("refund", json!({ "amount": 1 }))).await,
        "token_too_old"
    );
    // The record commits to the token, for whoever is to see that each was used once.
    let records = world.records("decision").await;
    let of_token = records.iter().filter(|it| !it.value["commitments"]["token"].is_null());
    assert_eq!(of_token.count(), 4, "of the four refunds that showed one");
    // Nor is one that was used good for one in another process, or after another set was in force.
    let world = world.restarted().await;
    world.publish_strictness("calls: []").await;
    assert_eq!(world.answer_to(world.paid(10, one)).await, "permitted");
    world.publish_strictness(ONCE).await;
    assert_eq!(world.answer_to(world.paid(11, one)).await, "token_used");
}

/// What was denied, or never recorded, used up nothing; what is on record did, whoever heard of it.
#[tokio::test]
async fn a_token_is_used_up_by_what_is_on_record_and_by_nothing_else() {
    let changed = || CommitError::Changed { key: model::FactKey::active_policy() };
    let full = || CommitError::Unavailable("the disk is full".into());
    for (what, commits, first, then) in [
        ("it changed", vec![OnCommit::Refuse(changed())], "permitted", "token_used"),
        ("it failed", vec![OnCommit::Refuse(full())], "could not record the decision", "permitted"),
        (
            "it was lost",
            vec![OnCommit::WrittenButLost],
            "could not record the decision",
            "token_used",
        ),
    ] {
        let world = World::strict(ONCE).await;
        let token = world.token("one");
        world.store.on_commit(commits);
        assert_eq!(world.answer_to(world.paid(0, token)).await, first, "{what}");
        assert_eq!(world.store.commits_left(), 0);
        assert_eq!(world.answer_to(world.paid(1, token)).await, then, "{what}");
    }
    let world = World::strict(ONCE).await;
    let token = world.token("one");
    let denied = world.shown("refund", json!({ "amount": "much" }), token);
    assert_ne!(world.answer_to(denied).await, "permitted");
    assert_eq!(world.answer_to(world.paid(0, token)).await, "permitted");
    // That it was used is on record, though something changed before that was written.
    world.store.on_commit([OnCommit::After(Unit::default()), OnCommit::Refuse(changed())]);
    assert_eq!(world.answer_to(world.paid(1, token)).await, "token_used");
    assert_eq!(world.store.commits_left(), 0);
}

/// A new token is asked for only where nothing else denies, and what was denied for its token uses up no budget.
#[tokio::test]
async fn of_a_budget_and_a_token_that_are_used_up_the_budget_is_told() {
    let world = World::strict(ONCE).await;
    let bundle = world.authority.pip().policy().snapshot.bundle().clone();
    let bundle = Bundle { budgets: Some(TWICE.to_owned()), ..bundle };
    world.put_in_force(bundle).await;
    let (one, other) = (world.token("one"), world.token("other"));
    for (number, (token, expected)) in [
        (one, "permitted"),
        (one, "token_used"),
        (other, "permitted"),
        (other, "budget_exceeded"),
        (world.token("third"), "budget_exceeded"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(world.answer_to(world.paid(number, token)).await, expected, "{number}");
    }
}

/// By the time that it is denied another set may be in force, which wants no token of its own.
#[tokio::test]
async fn no_token_is_asked_for_that_the_set_in_force_does_not_want() {
    let world = World::strict("calls: []").await;
    let used = CommitError::Used(Some(Once { scope: OnceScope::Token, id: [1; 32] }));
    world.store.on_commit([OnCommit::Refuse(used)]);
    assert_eq!(world.answer_to(world.paid(0, world.token("one"))).await, "permitted");
    assert_eq!(world.store.commits_left(), 0);
}

/// A proof that was used before is that, whatever token it is shown with: of whoever replays a request it is not
/// told how to go on.
#[tokio::test]
async fn a_proof_that_was_used_is_no_token_that_was() {
    let world = World::strict(ONCE).await;
    let proof = store::Effect::UseOnce {
        scope: OnceScope::Proof,
        id: [1; 32],
        expires: world.clock.now().plus(Duration::from_mins(2)),
    };
    for (token, expected) in [
        ("one", "permitted"),
        ("one", "the proof was used before"),
        ("other", "the proof was used before"),
    ] {
        let mut act = world.paid(0, world.token(token));
        act.circumstances.uses = vec![proof.clone()];
        assert_eq!(world.answer_to(act).await, expected, "{token}");
    }
    assert_eq!(world.answer_to(world.paid(1, world.token("other"))).await, "permitted");
}

/// A call that goes on with what its server handed it is asked for again with another token, and with no other
/// state; but for nothing else again.
#[tokio::test]
async fn a_call_that_is_denied_for_its_token_keeps_its_state() {
    let world = World::strict(ONCE).await;
    let expires = world.clock.now().plus(Duration::from_mins(2));
    let state = store::Effect::UseOnce { scope: OnceScope::RequestState, id: [1; 32], expires };
    let (one, other) = (world.token("one"), world.token("other"));
    assert_eq!(world.answer_to(world.paid(0, one)).await, "permitted");
    for (token, expected) in [
        (one, "token_used"),
        (one, "token_used"),
        (other, "permitted"),
        (world.token("third"), "the proof was used before"),
    ] {
        let mut act = world.paid(1, token);
        act.circumstances.uses = vec![state.clone()];
        assert_eq!(world.answer_to(act).await, expected);
    }
}

#[tokio::test]
async fn a_call_is_permitted_with_a_token_that_is_new_enough() {
    let world = World::strict(MINUTE).await;
    let token = world.token("one");
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.answer_to(world.paid(0, token)).await, "permitted");
    let permit = world.authorize(world.paid(1, token)).await.expect("it is permitted");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.answer_to(world.paid(2, token)).await, "token_too_old");
    let lookup = world.shown("lookup", json!({}), token);
    assert_eq!(world.answer_to(lookup).await, "permitted");
    // A clock that steps back makes none too new.
    let ahead = Timestamp::from_seconds(world.clock.now().as_seconds() + 30);
    let ahead = ShownToken { issued: ahead, ..world.token("two") };
    assert_eq!(world.answer_to(world.paid(3, ahead)).await, "permitted");
    // What is under way was attested when it began: it is not cut because that is long ago.
    let watch = world.authority.watch(&permit);
    world.clock.advance(Duration::from_mins(10));
    let cut = tokio::time::timeout(Duration::from_millis(200), watch.no_longer_permitted()).await;
    assert!(cut.is_err(), "it goes on: {cut:?}");
}

/// N simultaneous calls with one token, over the real store: exactly one is permitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_parallel_calls_with_one_token_one_is_permitted() {
    for count in [2, 3, 64] {
        let world = Arc::new(World::strict(ONCE).await);
        let token = world.token("one");
        let calls = (0..count).map(|number| {
            let world = world.clone();
            tokio::spawn(async move { world.answer_to(world.paid(number, token)).await })
        });
        let answers: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
        let of = |wanted: &str| answers.iter().filter(|it| *it == wanted).count();
        assert_eq!((of("permitted"), of("token_used")), (1, count - 1), "{answers:?}");
        let own: Vec<_> = (0..count).map(|number| world.token(&format!("own-{number}"))).collect();
        let own = own.into_iter().enumerate();
        let own =
            join_all(own.map(|(number, it)| world.answer_to(world.paid(100 + number, it)))).await;
        assert!(own.iter().all(|it| it == "permitted"), "{own:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: no token permits two calls, and what is permitted had a new one.
    #[test]
    fn no_order_of_calls_losses_and_crashes_uses_a_token_twice(
        steps in prop::collection::vec((0_u8..4, 0_u8..6, 0_u64..8), 1..24),
    ) {
        const BOTH: &str = "calls: [{ description: x, token: once, attested_s: 60 }]";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::strict(BOTH).await;
            let tokens: Vec<_> = (0..4).map(|it| world.token(&it.to_string())).collect();
            let (began, mut used) = (world.clock.now(), std::collections::BTreeSet::new());
            for (number, (token, what, later)) in steps.into_iter().enumerate() {
                let is_new = world.clock.now().since(began) <= Duration::from_mins(1);
                match what {
                    0 => world.store.on_commit([OnCommit::WrittenButLost]),
                    1 => world.store.on_commit([OnCommit::Refuse(CommitError::Overloaded)]),
                    2 => {
                        world = world.restarted().await;
                        world.publish_strictness(BOTH).await;
                    }
                    _ => {}
                }
                let told = world.answer_to(world.paid(number, tokens[usize::from(token)])).await;
                let is_used = used.contains(&token);
                match (is_new, what) {
                    // The denial it is that is lost, or not written.
                    (_, 0 | 1) => assert_ne!(told, "permitted"),
                    (false, _) => assert_eq!(told, "token_too_old"),
                    _ => assert_eq!(told == "permitted", !is_used, "{told}"),
                }
                if is_new && what != 1 {
                    used.insert(token);
                }
                world.clock.advance(Duration::from_secs(later));
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

/// Whether a token had been used nobody knows for a set that wants one of its own where the one in force does not; and
/// who wants none permits what was denied for want of one.
#[tokio::test]
async fn a_set_under_observation_is_not_alike_where_it_wants_another_token() {
    let world = World::strict("calls: []").await;
    let count = || {
        let found = world.authority.pip().observation().expect("it is under observation");
        (found.alike, found.newly_denied, found.newly_permitted)
    };
    world.observe_strictness(ONCE).await;
    let unknown = (Value::Null, json!("unknown"));
    assert_eq!(world.observed(world.token("one"), "permitted").await, unknown);
    assert_eq!(count(), (0, 0, 0));

    world.publish_strictness(ONCE).await;
    let other = world.token("other");
    assert_eq!(world.answer_to(world.paid(0, other)).await, "permitted");
    assert_eq!(world.observed(other, "token_used").await, (json!("deny"), json!("token_used")));
    world.observe_strictness("calls: []").await;
    assert_eq!(world.observed(other, "token_used").await, (json!("permit"), json!("granted")));
    assert_eq!((count().1, count().2), (0, 1));
}
