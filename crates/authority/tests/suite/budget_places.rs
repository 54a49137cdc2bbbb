//! Who uses up a budget together: tasks under one mandate, and all work on behalf of one person, with all
//! their branches.

use authority::Actor;
use model::{FactKey, Instance, InstanceId, Mandate, MandateId, Principal, Task, TaskId};
use pdp::Bundle;
use serde_json::json;

use crate::budgets::told;
use crate::circumstances::consented;
use crate::support::{Facts, World};

const ALL: &str = r#"@id("all") permit (principal, action == Action::"crm/lookup", resource);"#;

impl World {
    /// An instance with a root task of its own under another mandate, which is as the first one.
    async fn under_another_mandate(&self) -> InstanceId {
        let bytes = [4; 16];
        let (id, own) = (InstanceId::from_bytes(bytes), TaskId::from_bytes(bytes));
        let mandate = Mandate { id: MandateId::from_bytes(bytes), ..self.standing.mandate.clone() };
        let (digest, task) = (mandate.digest(), self.standing.task.clone());
        let task =
            Task { id: own, instance: id, mandate: mandate.id, mandate_digest: digest, ..task };
        let instance = Instance { id, task: own, ..self.standing.instance.clone() };
        self.put(FactKey::mandate(mandate.id), &mandate).await;
        self.put(FactKey::instance(id), &instance).await;
        self.put(FactKey::task(own), &task).await;
        id
    }

    async fn looks_up(&self, by: InstanceId) -> String {
        let mut act = self.call("lookup", json!({}));
        act.request.principal = Principal::Instance(by);
        act.circumstances.actor = Actor::Known(by);
        told(&self.done(act).await)
    }
}

/// A root task, a part of it that was handed on, another root task under the mandate, and one under another
/// mandate: which of them have used up together what there is, and what that is called.
#[tokio::test]
async fn n_088_a_budget_per_mandate_or_person_is_used_up_by_all_branches_of_all_tasks() {
    let mandate = MandateId::from_bytes([3; 16]);
    let of_mandate = format!("mandate/{mandate}");
    let rows = [
        ("mandate", false, of_mandate.as_str(), ["budget_exceeded", "permitted"]),
        ("mandate", true, &of_mandate, ["budget_exceeded", "permitted"]),
        ("person", true, "person/olga.other@example.org", ["budget_exceeded"; 2]),
        // Nobody has no more than a person has.
        ("person", false, "person/(nobody)", ["budget_exceeded"; 2]),
    ];
    for (per, on_behalf, place, expected) in rows {
        let world = World::with(if on_behalf { consented } else { |_: &mut Facts| {} }).await;
        let budgets = format!(
            "budgets: {{ few: {{ description: x, match: {{}}, amount: calls, cap: 2, per: {per} }} }}"
        );
        let bundle = Bundle { budgets: Some(budgets), ..world.bundle(ALL).await };
        world.put_in_force(bundle).await;
        let [part, _] = world.branches().await;
        let (beside, other) = (world.another(1).await, world.under_another_mandate().await);
        for by in [world.standing.instance.id, part] {
            assert_eq!(world.looks_up(by).await, "permitted", "{per}");
        }
        assert_eq!(world.used("few").await, [(place.to_owned(), "2".to_owned())]);
        assert_eq!(world.looks_up(part).await, "budget_exceeded", "{per}");
        let answers = [world.looks_up(beside).await, world.looks_up(other).await];
        assert_eq!(answers, expected, "{per}, on behalf of somebody: {on_behalf}");
    }
}
