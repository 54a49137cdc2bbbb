//! A directory that says who the people are, one request at a time (SCIM 2.0, RFC 7644).

use anyhow::ensure;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::http::Connection;

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const AGENT: &str = "urn:ietf:params:scim:schemas:core:2.0:Agent";
const GOVERNANCE: &str = "urn:chancery:scim:schemas:extension:governance:2.0:Agent";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// A directory that a deployment knows.
pub(crate) struct Directory {
    pub(crate) port: u16,
    token: String,
}

impl Directory {
    /// Registers one.
    pub(crate) fn register(deployment: &Deployment) -> anyhow::Result<Self> {
        let file = deployment.text_path("directory.token")?;
        deployment.command(&["directory", "add", "directory", "--token", &file])?;
        let token = std::fs::read_to_string(file)?.trim().to_owned();
        Ok(Self { port: deployment.observers, token })
    }

    /// The request that a user is new: with the attributes that an organisation keeps of each.
    pub(crate) fn new_user(&self, name: &str) -> Vec<u8> {
        let body = json!({
            "schemas": [USER, ENTERPRISE],
            "userName": name,
            "externalId": format!("00u-{name}"),
            "name": { "givenName": "Given", "familyName": name, "formatted": format!("Given {name}") },
            "displayName": format!("Given {name}"),
            "emails": [{ "value": format!("{name}@organisation.example"), "type": "work", "primary": true }],
            "title": "Clerk",
            "active": true,
            (ENTERPRISE): { "employeeNumber": name, "department": "Desk 4" },
        });
        self.request("POST", "/Users", &body)
    }

    /// The request that an agent is new, for which `person` answers.
    pub(crate) fn new_agent(&self, name: &str, person: &str) -> Vec<u8> {
        let person = json!({ "value": person });
        let body = json!({
            "schemas": [AGENT, GOVERNANCE],
            "agentUserName": name,
            "externalId": format!("00a-{name}"),
            "displayName": format!("Agent {name}"),
            (GOVERNANCE): {
                "sponsor": person, "businessOwner": person, "technicalOwner": person,
                "purposes": ["care"],
            },
        });
        self.request("POST", "/Agents", &body)
    }

    /// The request that a user is gone.
    pub(crate) fn user_gone(&self, name: &str) -> Vec<u8> {
        let gone = json!({ "op": "replace", "path": "active", "value": false });
        let body = json!({ "schemas": [PATCH], "Operations": [gone] });
        self.request("PATCH", &format!("/Users/{name}"), &body)
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Vec<u8> {
        let (port, token, body) = (self.port, &self.token, body.to_string());
        format!(
            "{method} /scim/v2{path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/scim+json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// Sends a request of a directory and checks that it is answered as it should be.
pub(crate) async fn say(
    connection: &mut Connection,
    request: &[u8],
    wanted: u16,
) -> anyhow::Result<()> {
    let answer = connection.ask(request).await?;
    let body = String::from_utf8_lossy(connection.body(&answer));
    ensure!(answer.status == wanted, "answered {}: {body}", answer.status);
    Ok(())
}
