//! A directory that pushes who its people are (SCIM 2.0).

use std::process::Command;

use serde_json::{Value, json};

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
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "-", "-w", "\n%{http_code}", "-X", method]);
        curl.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
        curl.args(["-H", "Content-Type: application/scim+json"]);
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
