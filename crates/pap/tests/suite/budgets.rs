//! Budgets as administrators see them: what is left, and what another set would have denied.

use std::time::Duration;

use pap::{Command, PolicyFiles};
use serde_json::{Value, json};

use crate::desk::{Desk, files};
use crate::support::POLICY;

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
    assert_eq!(desk.call("refund").await, "permitted");
    assert_eq!(desk.call("refund").await, "budget_exceeded");
    let used = json!([{ "by": "agent/billing", "used": "5", "left": "2.5" }]);
    assert_eq!(desk.left("refunds").await, used);
    let task = format!("task/{}", desk.world.standing.task.id);
    assert_eq!(desk.left("calls").await, json!([{ "by": task, "used": "1", "left": "4" }]));
    desk.world.clock.advance(Duration::from_hours(1));
    assert_eq!(desk.left("refunds").await, json!([]));
    assert_eq!(desk.left("calls").await[0]["left"], "4");
}

/// What was denied because too little was left is not asked of another set: only the commit knows. What could
/// not be read is a matter of the set, and made again.
#[tokio::test]
async fn what_a_budget_denied_is_made_again_as_far_as_the_set_decides_it() {
    let desk = desk().await;
    assert_eq!(desk.call("refund").await, "permitted");
    assert_eq!(desk.call("refund").await, "budget_exceeded");
    let unread = desk.world.call("refund", json!({ "amount": -1 }));
    assert!(desk.world.authorize(unread).await.is_err());
    let told = desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(told["differ"], json!([]));
    let files = PolicyFiles { policies: files(POLICY), ..PolicyFiles::default() };
    let asked = Command::PolicyReplay { files, from: 0, since: None };
    let told = desk.run(asked).await.expect("it is tried");
    let flips = told["flips"].as_array().expect("they are told");
    assert_eq!(flips.len(), 1, "{flips:?}");
    assert_eq!(
        (&flips[0]["kind"]["flip"], &flips[0]["times"]),
        (&json!("newly_permitted"), &json!(1))
    );
}
