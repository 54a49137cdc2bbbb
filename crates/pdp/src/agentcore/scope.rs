//! Who, which tool, which gateway.

use model::{ServerName, ToolName};
use serde_json::{Value, json};

use super::{SUBJECT, Translation};
use crate::schema::{TOOL_CALLS, begins_methods};

/// Who has a token.
pub(super) const USER: &str = "AgentCore::OAuthUser";
/// Who signs as an account of AWS does.
pub(super) const IAM: &str = "AgentCore::IamEntity";
const ACTION: &str = "AgentCore::Action";
const GATEWAY: &str = "AgentCore::Gateway";

/// The groups of all tools.
const ALL_TOOLS: [&str; 2] = ["CallTool", "Mcp"];
/// The methods that have actions of their own there.
const METHODS: [&str; 2] = ["initialize", "tools/list"];

const NO_IAM: &str = "nobody comes here by a signature of AWS: name the agent, as in `principal in Agent::\"NAME\"`, \
    in a policy of your own, and take this one out";
const NAME_TARGETS: &str = "a permit here names tools or servers: name the tools, or each target \
    (`action in AgentCore::Action::\"TARGET\"`) in a policy of its own";

/// What an action there is here.
enum Called {
    Tool(ServerName, ToolName),
    /// All tools of a target.
    Target(ServerName),
    All,
    /// A method, as the action that it is here.
    Method(Value),
}

impl Translation<'_> {
    /// What the scope says of the principal, as a condition: here an instance asks, and the person behind it.
    pub(super) fn principal(&mut self, scope: &Value) -> Option<Value> {
        match scope["op"].as_str() {
            Some("All") => None,
            Some("is") if scope["entity_type"] == USER && scope["in"].is_null() => None,
            Some("==") if scope["entity"]["type"] == USER => {
                let id = scope["entity"]["id"].as_str().unwrap_or_default();
                Some(self.is_claimed(SUBJECT, id, true))
            }
            _ if scope["entity_type"] == IAM || scope["entity"]["type"] == IAM => {
                self.refuse(NO_IAM);
                None
            }
            _ => {
                self.refuse(format!("only `{USER}` is known as a principal"));
                None
            }
        }
    }

    /// What the scope says of action and resource.
    pub(super) fn scope(&mut self, policy: &Value) -> (Value, Value) {
        self.gateway(&policy["resource"]);
        let any = json!({ "op": "All" });
        let action = &policy["action"];
        let named: Vec<&Value> = match action["op"].as_str() {
            Some("All") => Vec::new(),
            Some("==") => vec![&action["entity"]],
            _ if action["entities"].is_array() => {
                action["entities"].as_array().into_iter().flatten().collect()
            }
            _ => vec![&action["entity"]],
        };
        let is_group = action["op"] == "in";
        let called: Vec<_> = named.iter().filter_map(|it| self.called(it, is_group)).collect();
        if called.len() < named.len() {
            return (any.clone(), any);
        }
        let uid = |id: &str| json!({ "type": "Action", "id": id });
        let calls = json!({ "op": "in", "entity": uid(TOOL_CALLS) });
        let all = called.is_empty() || called.iter().any(|it| matches!(it, Called::All));
        if all {
            if policy["effect"] == "permit" {
                self.refuse(NAME_TARGETS);
            }
            let methods = called.into_iter().filter_map(|it| match it {
                Called::Method(method) => Some(method),
                _ => None,
            });
            let listed: Vec<_> = std::iter::once(uid(TOOL_CALLS)).chain(methods).collect();
            let alone = listed.len() == 1;
            return (if alone { calls } else { json!({ "op": "in", "entities": listed }) }, any);
        }
        if let [Called::Target(server)] = called.as_slice() {
            let server = json!({ "type": "Server", "id": server });
            return (calls, json!({ "op": "in", "entity": server }));
        }
        let mut ids = Vec::new();
        for called in called {
            match called {
                Called::Tool(server, tool) => ids.push(uid(&format!("{server}/{tool}"))),
                Called::Method(method) => ids.push(method),
                Called::Target(_) | Called::All => {
                    self.refuse("a target stands beside others: give each a policy of its own");
                }
            }
        }
        match ids.as_slice() {
            [id] => (json!({ "op": "==", "entity": id }), any),
            _ => (json!({ "op": "in", "entities": ids }), any),
        }
    }

    fn gateway(&mut self, resource: &Value) {
        match resource["op"].as_str() {
            Some("All") => {}
            Some("is") if resource["entity_type"] == GATEWAY && resource["in"].is_null() => {}
            Some("==") if resource["entity"]["type"] == GATEWAY => {
                let id = resource["entity"]["id"].as_str().unwrap_or_default();
                let first = self.rests_on.gateway.get_or_insert_with(|| id.to_owned());
                if first != id {
                    let why = format!(
                        "it is of the gateway `{id}`, and others are of `{first}`: import those of each by themselves"
                    );
                    self.refuse(why);
                }
            }
            _ => self.refuse(format!("only `{GATEWAY}` is known as a resource")),
        }
    }

    /// What the action is here; a name of a target alone is one only where groups are named.
    fn called(&mut self, entity: &Value, is_group: bool) -> Option<Called> {
        let id = entity["id"].as_str().unwrap_or_default();
        if entity["type"] != ACTION {
            self.refuse(format!("only `{ACTION}` is known as an action"));
            return None;
        }
        if METHODS.contains(&id) {
            return Some(Called::Method(json!({ "type": "Action", "id": id })));
        }
        if is_group && ALL_TOOLS.contains(&id) {
            return Some(Called::All);
        }
        // Targets were joined to their tools by two underscores at first, by three since.
        let parts = id.split_once("___").or_else(|| id.split_once("__"));
        let Some((target, tool)) = parts else {
            if is_group {
                return self.server(id).map(Called::Target);
            }
            self.refuse(format!("`{id}` is no tool of a target: expected `TARGET___TOOL`"));
            return None;
        };
        let server = self.server(target);
        match tool.parse() {
            Ok(tool) => server.map(|server| Called::Tool(server, tool)),
            Err(error) => {
                self.refuse(format!("the tool of `{id}` cannot be called so here: {error}"));
                None
            }
        }
    }

    /// The server that a target is here: its name in small letters, if it has others.
    fn server(&mut self, target: &str) -> Option<ServerName> {
        let named = target.parse().or_else(|_| in_small_letters(target).parse::<ServerName>());
        let server = match named {
            Ok(server) if !begins_methods(server.as_str()) => server,
            Ok(server) => {
                self.refuse(format!(
                    "no server can be called `{server}`, as the target `{target}` would be: rename it in the policy"
                ));
                return None;
            }
            Err(error) => {
                self.refuse(format!(
                    "no server can be called as the target `{target}` is: rename it in the policy ({error})"
                ));
                return None;
            }
        };
        let first =
            self.rests_on.servers.entry(server.clone()).or_insert_with(|| target.to_owned());
        if first != target {
            let why = format!(
                "the targets `{first}` and `{target}` would be one server `{server}`: rename one of them in the policy"
            );
            self.refuse(why);
            return None;
        }
        Some(server)
    }
}

/// `RefundTool` and `Refund_Tool` as `refund-tool`.
fn in_small_letters(name: &str) -> String {
    let mut small = String::new();
    let mut before = '-';
    for c in name.chars() {
        let begins =
            c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if begins {
            small.push('-');
        }
        small.push(if c == '_' || c == ' ' { '-' } else { c.to_ascii_lowercase() });
        before = c;
    }
    small
}
