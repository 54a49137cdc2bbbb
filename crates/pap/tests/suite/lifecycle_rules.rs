//! What holds in the deployment in which an agent lives: its policy, who affirms anew what they sponsor, and that what
//! a directory says by mistake is undone by two.

use std::time::Duration;

use model::{Clock as _, FactKey, Widening};
use serde_json::{Value, json};

use crate::streams::Signals;
use crate::support::{POLICY, World};
use crate::undo;

/// What a sponsor may, and what follows of silence and of risk, beside what the policy of the tests says.
const RULES: &str = r#"
    @id("at-medium-risk")
    forbid (principal, action in Action::"tools/call", resource is Tool)
    when { resource.harm != ["reads-data"] && context.risk == "medium" };
    @id("at-high-risk")
    forbid (principal, action in Action::"tools/call", resource)
    when { context.risk == "high" };
    @id("confirmed")
    forbid (principal, action in Action::"tools/call", resource is Tool)
    when { resource.harm != ["reads-data"] && !context.confirmed };
    @id("renew")
    permit (principal is Person, action == Action::"agent/renew", resource is Agent)
    when { resource has sponsor && resource.sponsor == principal };
"#;

/// The group that makes eligible.
pub(crate) const LEADS: &str = "leads";

/// The rules of the deployment: its policy, and that who leaves the group affirms anew what they sponsor.
pub(crate) async fn ruled(world: &World) {
    world.publish(&format!("{POLICY}{RULES}")).await;
    let groups = [LEADS.parse().expect("a group")].into();
    let rule = Widening { groups, after_s: Some(0), ..Widening::default() };
    world.put(FactKey::widening(), &rule).await;
}

/// The directory says something of somebody by mistake, and two people undo it. Between what comes before, what was said,
/// when it was noticed and what is done about it lies a second each.
pub(crate) async fn mistaken(signals: &Signals, who: &str, said: Value) {
    let desk = &signals.scene.desk;
    let (one, other) = (&desk.world.standing.sponsor.id, &desk.world.standing.other.id);
    let later = || desk.world.clock.advance(Duration::from_secs(1));
    later();
    let from = desk.world.clock.now();
    signals.scene.replaces(who, said).await.expect("it is said");
    later();
    let command = undo::since(desk, from);
    later();
    let told = desk.run_as(one, command).await.expect("it waits");
    let done = desk.run_as(other, undo::approve(&told)).await.expect("it is undone");
    assert_eq!(done["restored"], json!(1), "{done}");
}
