//! What a test of consent begins with: an agent that works for people only, before a canary, and Carla,
//! who logs in at a provider of others.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::identity::Identity;
use crate::{Caller, Canary, Deployment, Options, Recorder, free_port};

/// The instance may call; of the people, only Carla, who may also enrol devices for the agent `bot`.
pub const POLICY: &str = r#"
@id("instances") permit (principal is Instance, action in Action::"tools/call", resource in Server::"canary");
@id("carla") permit (principal == Person::"carla", action in Action::"tools/call", resource in Server::"canary");
@id("devices") permit (principal == Person::"carla", action == Action::"device/enrol", resource == Agent::"bot");
"#;

/// The agent `desk`, the canary behind what records calls, and the provider.
#[derive(Debug)]
pub struct Stage {
    /// The deployment; its server is `canary`.
    pub deployment: Deployment,
    /// The tool server.
    pub canary: Canary,
    /// Stands before the tool server.
    pub recorder: Recorder,
    /// Where people log in.
    pub identity: Identity,
    /// Where people reach the service.
    pub people: String,
}

impl Stage {
    /// A deployment with the agent `desk`, which works for people only, and with whoever the
    /// directory says that `login` is.
    pub fn set(login: &str) -> Self {
        Self::configured(login, "")
    }

    /// The same, with further lines of the configuration.
    pub fn configured(login: &str, more: &str) -> Self {
        let stage = Self::of_nobody(more);
        stage.identity.join(&stage.deployment, login);
        stage
    }

    /// The same, where nobody of whom a directory tells is known yet.
    pub fn of_nobody(more: &str) -> Self {
        let (canary, port) = (Canary::start(), free_port());
        let (recorder, identity) = (Recorder::to(canary.port), Identity::start(port));
        let url = format!("{{ url: 'http://127.0.0.1:{}/mcp' }}", recorder.port());
        let deployment = Deployment::start(&Options {
            servers: vec![("canary".to_owned(), url)],
            policy: POLICY.to_owned(),
            configuration: identity.configuration() + more,
            observers: Some(port),
            ..Options::default()
        });
        deployment.onboard(&["canary"], "changes-production");
        let uid = nix::unistd::geteuid().to_string();
        deployment.agent(("desk", "sam"), &["--on-behalf-only", "--host-uid", &uid]);
        let people = format!("http://127.0.0.1:{port}");
        Self { deployment, canary, recorder, identity, people }
    }

    /// A new instance of `desk`.
    pub fn caller(&self) -> Caller {
        Caller::of(&self.deployment, "desk", "canary")
    }
}

/// Has `caller` ask for `task`; gives the link for the person.
pub fn asked(caller: &mut Caller, task: &Value) -> String {
    let pushed = caller.push(task);
    pushed.body["consent_uri"].as_str().expect("a link").to_owned()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(since).expect("not that late")
}

/// One task, with two calls at most, that is over in `hours`.
pub fn task(tools: &[&str], hours: i64) -> Value {
    json!({
        "type": "agent_task", "purpose": "work", "tools": tools,
        "harm": ["changes-production"], "max_calls": 2, "until": now() + hours * 3_600,
    })
}
