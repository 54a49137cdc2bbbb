//! A directory that pushes who its people are (SCIM 2.0).

use std::process::Command;

use serde_json::{Value, json};

use crate::{Canary, Deployment, Options, free_port};

/// What the server of a test may do.
const POLICY: &str = r#"
@id("canary") permit (principal, action in Action::"tools/call", resource in Server::"canary");
"#;

/// A deployment with the directory `okta`.
pub struct Scim {
    /// The deployment.
    pub deployment: Deployment,
    /// The service provider, to the directory.
    pub provider: Provider,
}

impl Scim {
    /// A deployment that tells a directory of people, before a server `canary` if there is one.
    pub fn start(canary: Option<&Canary>) -> Self {
        Self::configured(canary, "")
    }

    /// The same, of agents too.
    pub fn with_agents(canary: Option<&Canary>) -> Self {
        Self::configured(canary, "directories: { agents: true }\n")
    }

    /// The same, with further lines of the configuration.
    pub fn configured(canary: Option<&Canary>, configuration: &str) -> Self {
        let port = free_port();
        let url = |canary: &Canary| format!("{{ url: 'http://127.0.0.1:{}/mcp' }}", canary.port);
        let servers = canary.iter().map(|canary| ("canary".to_owned(), url(canary))).collect();
        let (policy, observers) = (POLICY.to_owned(), Some(port));
        let configuration = configuration.to_owned();
        let options = Options { servers, configuration, policy, observers, ..Options::default() };
        let deployment = Deployment::start(&options);
        // As where it is not for development: what widens waits.
        deployment.run(&["people", "widening", "--after", "24h"]);
        let file = deployment.path("okta.token").display().to_string();
        deployment.run(&["directory", "add", "okta", "--token", &file]);
        let token = std::fs::read_to_string(file).expect("it was written");
        let base = format!("http://127.0.0.1:{port}/scim/v2");
        Self { deployment, provider: Provider { base, token } }
    }

    /// What is known of the person `id`.
    pub fn person(&self, id: &str) -> Value {
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("a row is JSON");
        let people = self.deployment.run(&["person", "list"]);
        people.lines().map(parse).find(|person| person["id"] == id).expect("somebody")
    }
}

/// The service provider, to a directory.
pub struct Provider {
    /// The base URL.
    pub base: String,
    /// The bearer token.
    pub token: String,
}

impl Provider {
    /// The status and the body of an answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.ask_with((method, path), &["Content-Type: application/scim+json"], body)
    }

    /// The same, where these header lines are sent.
    pub fn ask_with(
        &self,
        (method, path): (&str, &str),
        lines: &[&str],
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "-", "-w", "\n%{http_code}", "-X", method]);
        curl.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
        curl.args(lines.iter().flat_map(|line| ["-H", line]));
        if let Some(body) = body {
            curl.args(["-d", &body.to_string()]);
        }
        let output = curl.arg(format!("{}{path}", self.base)).output().expect("curl runs");
        let text = String::from_utf8(output.stdout).expect("it is text");
        let (body, status) = text.rsplit_once('\n').expect("curl tells the status");
        (status.parse().expect("a status"), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Says that there is a new user, who reports to `manager`, if that is known.
    pub fn add(&self, user: &str, manager: Option<&str>) {
        let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": user, "externalId": format!("x-{user}"),
        });
        if let Some(manager) = manager {
            body["schemas"] = json!([body["schemas"][0], enterprise]);
            body[enterprise] = json!({ "manager": { "value": manager }, "department": "Desk 4" });
        }
        let (status, told) = self.ask("POST", "/Users", Some(&body));
        assert_eq!(status, 201, "{told}");
    }

    /// Changes what is at `path` by one operation.
    pub fn patch(&self, path: &str, operation: &Value) -> (u16, Value) {
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        self.ask("PATCH", path, Some(&json!({ "schemas": [schema], "Operations": [operation] })))
    }

    /// Says that `user` is gone, as Entra does.
    pub fn leaves(&self, user: &str) {
        let leaves = json!({ "op": "Replace", "value": { "active": "False" } });
        let (status, told) = self.patch(&format!("/Users/{user}"), &leaves);
        assert_eq!((status, &told["active"]), (200, &json!(false)), "{told}");
    }
}
