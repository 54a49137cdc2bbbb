//! What holds in the deployment in which an agent lives: its policy, and who affirms anew what they sponsor.

use model::{FactKey, Widening};

use crate::support::{POLICY, World};

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
