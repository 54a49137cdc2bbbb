//! Budgets as administrators see them: what is left, and what another set would have denied.

use std::time::Duration;

use futures::future::join_all;
use model::{Clock as _, Timestamp};
use pap::{Command, PolicyFiles};
use proptest::prelude::*;
use serde_json::{Value, json};
use store::{CommitError, Store as _};

use crate::desk::{Desk, files};
use crate::support::POLICY;
use crate::support::stores::OnCommit;

/// Not enough for two refunds of five.
const BUDGETS: &str = "
budgets:
  refunds:
    description: What may be paid back in an hour.
    match: { tools: [crm/refund] }
    amount: /amount
    cap: 7.50
    places: 2
    per: agent
    every: hour
  calls: { description: Calls of a task., match: {}, amount: calls, cap: 5, per: task }
";

async fn desk() -> Desk {
    let desk = Desk::new().await;
    let mut files = files(POLICY);
    files.insert("budgets.yaml".to_owned(), BUDGETS.to_owned());
    desk.publisher.replace(files).await.expect("it is in force");
    desk
}

impl Desk {
    /// What is left of the budget `name`, and for whom.
    async fn left(&self, name: &str) -> Value {
        let told = self.run(Command::BudgetList).await.expect("it is told");
        let all = told.as_array().expect("they are listed");
        let budget = all.iter().find(|it| it["budget"] == name).expect("it is in force");
        assert_eq!(budget["is_all"], true);
        budget["used"].clone()
    }
}

#[tokio::test]
async fn what_is_left_is_shown_for_the_time_that_is_now() {
    let desk = desk().await;
    assert_eq!(desk.left("refunds").await, json!([]));
    assert_eq!(desk.called("refund").await, "permitted");
    assert_eq!(desk.called("refund").await, "budget_exceeded");
    let used = json!([{ "by": "agent/billing", "used": "5", "left": "2.5" }]);
    assert_eq!(desk.left("refunds").await, used);
    let task = format!("task/{}", desk.world.standing.task.id);
    assert_eq!(desk.left("calls").await, json!([{ "by": task, "used": "1", "left": "4" }]));
    desk.world.clock.advance(Duration::from_hours(1));
    assert_eq!(desk.left("refunds").await, json!([]));
    assert_eq!(desk.left("calls").await[0]["left"], "4");
}

impl Desk {
    /// What becomes of a refund of `amount`, unlike any other; it returns, if it is permitted.
    async fn refund(&self, number: usize, amount: i64) -> String {
        let input = json!({ "account": format!("account-{number}"), "amount": amount });
        match self.world.done(self.world.call("refund", input)).await {
            Ok(()) => "permitted".to_owned(),
            Err(authority::NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
            Err(other) => panic!("{other}"),
        }
    }

    /// What flips by a set with these `budgets` that came into force at `since`: how, why and how often.
    async fn flips(&self, budgets: Option<&str>, since: Option<Timestamp>) -> Vec<String> {
        let budgets = budgets.map(str::to_owned);
        let files = PolicyFiles { policies: files(POLICY), budgets, ..PolicyFiles::default() };
        let asked = Command::PolicyReplay { files, from: 0, since };
        let told = self.run(asked).await.expect("it is tried");
        assert_eq!((&told["next"], &told["damaged"]), (&Value::Null, &json!(0)));
        let told = told["flips"].as_array().expect("they are told");
        let flip = |it: &Value| {
            let kind = &it["kind"];
            let text = |name: &str| kind[name].as_str().expect("a text").to_owned();
            format!("{} {} by {}", it["times"], text("flip"), text("by"))
        };
        told.iter().map(flip).collect()
    }

    /// That every decision follows from its record; how many these are.
    async fn agreed(&self) -> u64 {
        let told = self.run(Command::LogReplay).await.expect("it is replayed");
        assert_eq!((&told["differ"], &told["erased"]), (&json!([]), &json!(0)));
        told["agreed"].as_u64().expect("a number")
    }
}

/// Whoever finds that it did not happen has it given back, once, whatever fails meanwhile; who finds that it did, or
/// does not say, has it stay used up. Another set that is tried sees the same.
#[tokio::test]
async fn n_088_what_somebody_found_not_to_have_happened_is_given_back_once() {
    let used = json!([{ "by": "agent/billing", "used": "5", "left": "2.5" }]);
    for (did_not_happen, is_lost) in [(false, false), (true, false), (true, true)] {
        let desk = desk().await;
        let decision = desk.lose().await;
        let settle = || Command::OutcomeSettle {
            decision: decision.clone(),
            did_not_happen,
            reason: "looked".to_owned(),
        };
        assert_eq!(desk.left("refunds").await, used);
        desk.world.store.on_commit([OnCommit::Refuse(CommitError::Overloaded)]);
        assert!(desk.run(settle()).await.is_err());
        assert_eq!(
            (desk.left("refunds").await, desk.world.store.commits_left()),
            (used.clone(), 0)
        );
        if is_lost {
            desk.world.store.on_commit([OnCommit::WrittenButLost]);
            assert!(desk.run(settle()).await.is_err());
        } else {
            let racers = join_all((0..4).map(|_| desk.run(settle()))).await;
            let told: Vec<_> = racers.into_iter().flatten().collect();
            assert_eq!(told.len(), 1);
            assert_eq!(told[0]["given_back"], did_not_happen);
        }
        let left = if did_not_happen { json!([]) } else { used.clone() };
        assert_eq!(desk.left("refunds").await, left);
        assert!(desk.run(settle()).await.is_err(), "it is settled");
        assert_eq!(desk.left("refunds").await, left);
        let answer = if did_not_happen { "permitted" } else { "budget_exceeded" };
        assert_eq!(desk.called("refund").await, answer);
        assert_eq!(desk.flips(Some(BUDGETS), None).await, Vec::<String>::new());
        desk.agreed().await;
    }
}

/// The record tells what was used up, so the decision follows from it alone; it can be explained, and be a case.
#[tokio::test]
async fn what_a_budget_denied_follows_from_its_record() {
    let desk = desk().await;
    assert_eq!(desk.refund(1, 5).await, "permitted");
    assert_eq!(desk.refund(2, 5).await, "budget_exceeded");
    assert_eq!(desk.refund(3, -1).await, "budget_unread");
    let decided = desk.world.records("decision").await;
    assert!(desk.agreed().await >= decided.len() as u64);
    let exceeded = decided.iter().find(|it| it.text_of("reason") == "budget_exceeded");
    let id = exceeded.expect("it is recorded").text_of("id").to_owned();
    let told = desk.run(Command::PolicyExplain { id: id.clone() }).await.expect("it is explained");
    assert_eq!(
        (&told["reason"], &told["recorded"]["reason"]),
        (&json!("budget_exceeded"), &json!("budget_exceeded"))
    );
    let told = desk.run(Command::PolicyCase { id }).await.expect("it is a case");
    assert_eq!(
        (&told["case"]["used"], &told["case"]["reason"]),
        (&json!({ "refunds": "5" }), &json!("budget_exceeded"))
    );
}

/// Another set is tried as if it had come into force then: what was used up before stays so, and what it denies
/// uses up nothing.
#[tokio::test]
async fn what_another_budget_would_have_denied_is_listed() {
    let desk = desk().await;
    assert_eq!(desk.refund(1, 5).await, "permitted");
    assert_eq!(desk.refund(2, 5).await, "budget_exceeded");
    desk.world.clock.advance(Duration::from_secs(1));
    let later = desk.world.clock.now();
    assert_eq!(desk.refund(3, 2).await, "permitted");
    assert_eq!(desk.refund(4, 1).await, "budget_exceeded");
    let none: [&str; 0] = [];
    let less = "1 newly_denied by the budget `refunds` has less left than this uses";
    let more = "1 newly_permitted by refunds";
    let with = |cap: &str| BUDGETS.replace("cap: 7.50", &format!("cap: {cap}"));
    for since in [None, Some(later)] {
        assert_eq!(desk.flips(Some(BUDGETS), since).await, none, "{since:?}");
    }
    assert_eq!(desk.flips(None, None).await, ["2 newly_permitted by refunds"]);
    // Of six there are left: nothing for the second five, one for the two, and so one for the one.
    assert_eq!(desk.flips(Some(&with("6")), None).await, [less, more]);
    assert_eq!(desk.flips(Some(&with("6")), Some(later)).await, [less, more]);
    assert_eq!(desk.flips(Some(&with("1")), Some(later)).await, [less]);
    assert_eq!(desk.flips(Some(&with("10")), None).await, [less, more]);
    assert_eq!(desk.flips(Some(&with("10")), Some(later)).await, [more]);
    // Another name begins at nothing, and who calls it another thing forgets nothing that is used up.
    let renamed = BUDGETS.replace("refunds:", "repaid:");
    assert_eq!(desk.flips(Some(&renamed), Some(later)).await, [more]);
}

/// What nobody knows to be permitted may have used something up: of that nobody knows any more what is left.
#[tokio::test]
async fn what_is_unknown_may_have_used_up_what_it_is_for() {
    let desk = desk().await;
    assert_eq!(desk.called("lookup").await, "permitted");
    assert_eq!(desk.refund(1, 3).await, "permitted");
    assert_eq!(desk.refund(2, 3).await, "permitted");
    // Which tools were called nobody took note of, and so not of whether this would have been a call.
    let after = r#"@id("after") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.session.used_tools.contains("crm/refund") };"#;
    let told = async |budgets: &str| {
        let policies = files(&format!("{POLICY}{after}"));
        let budgets = Some(budgets.to_owned());
        let files = PolicyFiles { policies, budgets, ..PolicyFiles::default() };
        let asked = Command::PolicyReplay { files, from: 0, since: None };
        let told = desk.run(asked).await.expect("it is tried");
        let flips = told["flips"].as_array().expect("they are told").iter();
        (flips.map(|it| it["times"].clone()).collect::<Value>(), told["unknown"].clone())
    };
    assert_eq!(told(&BUDGETS.replace("cap: 5", "cap: 1")).await, (json!([]), json!(3)));
    // What it is not for it leaves as it was.
    let of_refunds = BUDGETS.replace("match: {}", "match: { tools: [crm/refund] }");
    assert_eq!(told(&of_refunds).await, (json!([]), json!(1)));
    let one = of_refunds.replace("cap: 5", "cap: 1");
    assert_eq!(told(&one).await, (json!([1]), json!(1)));
}

/// What is past is forgotten, and still is decided again, and tried, as it was.
#[tokio::test]
async fn what_is_forgotten_changes_no_decision_of_the_past() {
    let desk = desk().await;
    assert_eq!(desk.refund(1, 5).await, "permitted");
    assert_eq!(desk.refund(2, 5).await, "budget_exceeded");
    let id = desk
        .world
        .records("decision")
        .await
        .pop()
        .expect("it is recorded")
        .text_of("id")
        .to_owned();
    let with = |cap: &str| BUDGETS.replace("cap: 7.50", &format!("cap: {cap}"));
    let told = async || {
        let told = desk.run(Command::PolicyExplain { id: id.clone() }).await.expect("it is told");
        let (less, more) = (with("4"), with("10"));
        let flips = [desk.flips(Some(&less), None).await, desk.flips(Some(&more), None).await];
        (told["reason"].clone(), flips, desk.agreed().await > 0)
    };
    let before = told().await;
    desk.world.clock.advance(Duration::from_hours(72));
    let used = async || {
        let used = desk.world.store.list_counters("budget/refunds/", None, 9).await;
        used.expect("they are listed").len()
    };
    assert_eq!(used().await, 1);
    let (now, mut from) = (desk.world.clock.now(), authority::Forgetting::new(|_| None));
    desk.world.authority.forget_past(&mut from, now).await.expect("it is forgotten");
    assert_eq!(used().await, 0);
    assert_eq!(told().await, before);
}

/// What happens, while a set is tried or not.
#[derive(Clone, Debug)]
enum Step {
    Refund(i64),
    /// One that is not begun, if it is permitted.
    Leave(i64),
    Cap(u8),
    Later(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (-1_i64..6).prop_map(Step::Refund),
        2 => (-1_i64..6).prop_map(Step::Leave),
        1 => (0_u8..15).prop_map(Step::Cap),
        1 => (1_u64..5_000).prop_map(Step::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever was asked under whatever sets, each decision follows from its record; and the set in force, tried
    /// since it is, answers as it did.
    #[test]
    fn what_budgets_decided_is_decided_again(steps in prop::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let desk = desk().await;
            let (mut budgets, mut since) = (BUDGETS.to_owned(), desk.world.clock.now());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Refund(amount) => drop(desk.refund(number, amount).await),
                    Step::Leave(amount) => {
                        let input = json!({ "account": format!("left-{number}"), "amount": amount });
                        drop(desk.world.authorize(desk.world.call("refund", input)).await);
                    }
                    Step::Later(seconds) => desk.world.clock.advance(Duration::from_secs(seconds)),
                    Step::Cap(cap) => {
                        desk.world.clock.advance(Duration::from_secs(1));
                        since = desk.world.clock.now();
                        budgets = BUDGETS.replace("cap: 7.50", &format!("cap: {cap}"));
                        let mut files = files(POLICY);
                        files.insert("budgets.yaml".to_owned(), budgets.clone());
                        desk.publisher.replace(files).await.expect("it is in force");
                    }
                }
            }
            desk.agreed().await;
            assert_eq!(desk.flips(Some(&budgets), Some(since)).await, Vec::<String>::new());
        });
    }
}
