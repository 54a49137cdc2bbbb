//! A budget whose amounts are in lists, of calls that meet its condition, used up by the branches of one task.

use authority::Actor;
use futures::future::join_all;
use model::{DecisionId, Delegation, FactKey, InstanceId, Principal, TaskId};
use pdp::Bundle;
use proptest::prelude::*;
use serde_json::json;

use crate::budgets::{RULES, told};
use crate::support::runs::run;
use crate::support::{Act, POLICY, World};

const BUDGETS: &str = "
budgets:
  payments:
    description: What one task pays out together, but to ourselves.
    match: { tools: [crm/refund], when: '!(context.input has account && context.input.account == \"own\")' }
    amount: [/payments, /amount]
    cap: 100
    per: task
";

/// How much there is.
const CAP: i64 = 100;

/// How many were handed a part of the task.
const BRANCHES: u8 = 2;

impl World {
    /// Parts of the task, each handed on to another agent.
    pub(crate) async fn branches(&self) -> [InstanceId; 2] {
        let facts = &self.standing;
        for branch in 1..=BRANCHES {
            let (mut agent, mut instance) = (facts.agent.clone(), facts.instance.clone());
            let mut task = facts.task.clone();
            agent.name = format!("helper-{branch}").parse().expect("an agent");
            (instance.id, task.id) = of_branch(branch);
            (instance.agent, instance.task, task.instance) =
                (agent.name.clone(), task.id, instance.id);
            let decision = DecisionId::from_bytes([7; 16]);
            let (parent, by) = (facts.task.id, facts.instance.id);
            task.delegation = Some(Delegation { parent, by, decision });
            self.put(FactKey::agent(&agent.name), &agent).await;
            self.put(FactKey::instance(instance.id), &instance).await;
            self.put(FactKey::task(task.id), &task).await;
        }
        [1, BRANCHES].map(|branch| of_branch(branch).0)
    }

    /// A deployment in which work was handed on to some, and a tool pays many at once.
    async fn paying() -> Self {
        let world = Self::new().await;
        world.branches().await;
        let mut bundle = world.bundle(&format!("{POLICY}{RULES}")).await;
        let payment = json!({
            "type": "object",
            "properties": { "amount": { "type": "integer" } },
            "required": ["amount"],
        });
        let refund = bundle.tools.get_mut(&"crm/refund".parse().expect("a tool"));
        refund.expect("it is there").input_schema = json!({
            "type": "object",
            "properties": {
                "account": { "type": "string" },
                "amount": { "type": "integer" },
                "number": { "type": "integer" },
                "payments": { "type": "array", "items": payment },
            },
            "required": ["payments"],
        });
        let bundle = Bundle { budgets: Some(BUDGETS.to_owned()), ..bundle };
        world.put_in_force(bundle).await;
        world
    }

    /// A call of `branch` (0 handed the work on) that pays `amounts`, unlike any other.
    fn pay(&self, number: usize, (branch, account): (u8, &str), amounts: &[i64]) -> Act {
        let payments: Vec<_> = amounts.iter().map(|it| json!({ "amount": it })).collect();
        let input = json!({ "number": number, "account": account, "payments": payments });
        let mut act = self.call("refund", input);
        if branch > 0 {
            let (instance, _) = of_branch(branch);
            act.request.principal = Principal::Instance(instance);
            act.circumstances.actor = Actor::Known(instance);
        }
        act
    }

    /// What the whole task has paid out.
    async fn paid_out(&self) -> String {
        let used = self.used("payments").await;
        assert!(used.len() <= 1, "{used:?}");
        used.into_iter().next().map_or_else(|| "0".to_owned(), |(_, used)| used)
    }
}

fn of_branch(branch: u8) -> (InstanceId, TaskId) {
    (InstanceId::from_bytes([100 + branch; 16]), TaskId::from_bytes([100 + branch; 16]))
}

#[tokio::test]
async fn n_088_branches_use_up_together_what_their_lists_add_up_to() {
    let world = World::paying().await;
    for (number, (branch, account, amounts, expected, paid)) in [
        (1, "a", vec![20, 20, 20], "permitted", "60"),
        (2, "a", vec![20, 21], "budget_exceeded", "60"),
        (2, "a", vec![20, -20, 1], "budget_unread", "60"),
        (0, "a", vec![], "permitted", "60"),
        // What the budget is not for uses nothing of it.
        (2, "own", vec![1_000], "permitted", "60"),
        (2, "own", vec![-1], "permitted", "60"),
        (2, "a", vec![20, 20], "permitted", "100"),
        (0, "a", vec![1], "budget_exceeded", "100"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.done(world.pay(number, (branch, account), &amounts)).await;
        assert_eq!(told(&answer), expected, "{amounts:?}");
        assert_eq!(world.paid_out().await, paid, "{amounts:?}");
    }
}

/// Calls at once, each of a branch, with the amounts of its list; none below zero is an amount.
fn together() -> impl Strategy<Value = Vec<(u8, Vec<i64>)>> {
    let amounts = prop::collection::vec(-1_i64..40, 0..5);
    prop::collection::vec((0..=BRANCHES, amounts), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whichever branches ask for whatever at once, as much is used up as was permitted, and never more than
    /// there is; and what asks alone is permitted exactly where it fits.
    #[test]
    fn n_088_no_branches_at_once_pass_a_sum(steps in prop::collection::vec(together(), 1..8)) {
        run(async {
            let world = World::paying().await;
            let (mut used, mut number) = (0, 0);
            for step in steps {
                let asked = step.iter().map(|(branch, amounts)| {
                    number += 1;
                    world.done(world.pay(number, (*branch, "a"), amounts))
                });
                let answers = join_all(asked.collect::<Vec<_>>()).await;
                let sum = |amounts: &[i64]| {
                    amounts.iter().all(|it| *it >= 0).then(|| amounts.iter().sum::<i64>())
                };
                if let ([(_, amounts)], [answer]) = (step.as_slice(), answers.as_slice()) {
                    let fits = sum(amounts).is_some_and(|it| it == 0 || used + it <= CAP);
                    assert_eq!(answer.is_ok(), fits, "{amounts:?}: {}", told(answer));
                }
                for ((_, amounts), answer) in step.iter().zip(&answers) {
                    if answer.is_ok() {
                        used += sum(amounts).expect("it can be read");
                    }
                }
                assert_eq!(world.paid_out().await, used.to_string());
                assert!(used <= CAP);
            }
        });
    }
}
