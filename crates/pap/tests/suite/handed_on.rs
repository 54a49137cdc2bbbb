//! Work that was handed on, for tests of what comes of that.

use authority::Actor;
use model::{DecisionId, Delegation, FactKey, InstanceId, Principal, TaskId, Thumbprint};
use serde_json::json;

use crate::desk::Desk;
use crate::support::World;

/// An instance of another agent, to which the task of the tests was handed on for `crm/lookup` alone.
pub(crate) const CHILD: [u8; 16] = [11; 16];

/// Its task.
pub(crate) const PART: [u8; 16] = [12; 16];

/// The instance has handed a part of its work on to one of `reader`.
pub(crate) async fn hand_on(world: &World) {
    let facts = &world.standing;
    let (mut agent, mut instance) = (facts.agent.clone(), facts.instance.clone());
    let mut task = facts.task.clone();
    agent.name = "reader".parse().expect("an agent");
    (instance.id, instance.task) = (InstanceId::from_bytes(CHILD), TaskId::from_bytes(PART));
    (instance.agent, instance.key) = (agent.name.clone(), Some(Thumbprint::from_bytes([11; 32])));
    let decision = DecisionId::from_bytes([13; 16]);
    task.delegation = Some(Delegation { parent: task.id, by: facts.instance.id, decision });
    (task.id, task.instance) = (instance.task, instance.id);
    task.scope.tools = ["crm/lookup".parse().expect("a tool")].into();
    world.put(FactKey::agent(&agent.name), &agent).await;
    world.put(FactKey::instance(instance.id), &instance).await;
    world.put(FactKey::task(task.id), &task).await;
    let part = FactKey::part(facts.task.id, task.id);
    world.put(part, &task.id).await;
}

/// Why a call of `tool` by the instance `by` is denied; `permitted` if it is not.
pub(crate) async fn calls(desk: &Desk, by: [u8; 16], tool: &str) -> String {
    let by = InstanceId::from_bytes(by);
    let mut act = desk.world.call(tool, json!({ "amount": 5 }));
    (act.request.principal, act.circumstances.actor) = (Principal::Instance(by), Actor::Known(by));
    match desk.world.authorize(act).await {
        Ok(permit) => {
            let begun = permit.begin(desk.world.clock.as_ref()).expect("it begins");
            begun.running.finish(model::record::OutcomeKind::Returned, None);
            "permitted".to_owned()
        }
        Err(authority::NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
        Err(other) => other.to_string(),
    }
}
