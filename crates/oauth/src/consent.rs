//! Consent of a person: what an agent asks for is pushed (RFC 9126) as one `agent_task` (RFC 9396), a
//! person answers in a page of ours, and the agent redeems the answer at the token endpoint.
//!
//! No browser carries anything from the person to the agent: the agent asks until there is an answer,
//! with the error codes of RFC 8628 §3.5.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::OAuthError;
use crate::form::{Client, Parameters, invalid, unlike};
use crate::initiation::AskedTask;
use crate::token_endpoint;

/// The `grant_type` under which an answer is redeemed.
pub const GRANT_TYPE: &str = "urn:chancery:oauth:grant-type:consent";

/// The parameter that says what is asked for (RFC 9396 §2).
const DETAILS: &str = "authorization_details";

/// What every `request_uri` begins with (RFC 9126 §2.2).
const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:";

/// How long an agent is to wait before it asks again whether there is an answer, in seconds.
pub const INTERVAL_S: i64 = 5;

/// What an agent asks a person for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedRequest {
    /// Who asks.
    pub client: Client,
    /// For what.
    pub asked: Asked,
}

/// What an agent asks for: a task, and what it asks for besides, of which no task of others speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The task.
    pub task: AskedTask,
    /// The servers of which it asks for resources and prompts too, each as `SERVER/*`.
    pub resources: Vec<String>,
    /// Whether it asks to hand work on to other agents.
    pub delegable: bool,
    /// The only person who may answer, if it names one.
    pub sub_id: Option<SubjectId>,
}

/// A person, as an agent knows them (RFC 9493 §3.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
pub enum SubjectId {
    /// By a login: who says so, and how they are called there.
    IssSub {
        /// The issuer.
        iss: String,
        /// The subject.
        sub: String,
    },
    /// By the id under which the register has them.
    Opaque {
        /// The id.
        id: String,
    },
}

/// What was pushed, as it is answered (RFC 9126 §2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pushed {
    /// By what the answer is redeemed.
    pub request_uri: String,
    /// For how many seconds a person can answer.
    pub expires_in: i64,
    /// The page where one can.
    pub consent_uri: String,
    /// How many seconds to wait before asking for the answer again (RFC 8628 §3.2).
    pub interval: i64,
}

/// Reads the form of a pushed request. Where an answer would be sent is not asked: to nowhere.
pub fn parse(form: &[u8]) -> Result<PushedRequest, OAuthError> {
    let mut form = Parameters::read(form)?;
    let client = form.client()?;
    form.without_scope()?;
    let misplaced = ["request_uri", "request", "redirect_uri", "grant_type"];
    if let Some(name) = misplaced.into_iter().find(|name| form.take(name).is_some()) {
        return Err(invalid(&format!("`{name}` does not belong here")));
    }
    Ok(PushedRequest { client, asked: asked(&mut form)? })
}

/// What the one object of `authorization_details` asks for.
pub(crate) fn asked(form: &mut Parameters) -> Result<Asked, OAuthError> {
    let [mut details] = form.need_json::<[Map<String, Value>; 1]>(DETAILS)?;
    let resources = member(&mut details, "resources")?.unwrap_or_default();
    let delegable = member(&mut details, "delegable")?.unwrap_or_default();
    let sub_id = member(&mut details, "sub_id")?;
    let task = serde_json::from_value(Value::Object(details)).map_err(|_| unlike(DETAILS))?;
    Ok(Asked { task: token_endpoint::of_its_type(task)?, resources, delegable, sub_id })
}

/// Takes the member `name` out of `details`, if it is there.
fn member<T: DeserializeOwned>(
    details: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<T>, OAuthError> {
    let read = details.remove(name).map(serde_json::from_value).transpose();
    read.map_err(|_| unlike(DETAILS))
}

/// The `request_uri` of the request with this id.
pub fn request_uri(id: &str) -> String {
    format!("{REQUEST_URI}{id}")
}

/// The id of the request that `request_uri` names, if it is one of ours.
pub fn requested(request_uri: &str) -> Option<&str> {
    request_uri.strip_prefix(REQUEST_URI)
}

#[cfg(test)]
mod tests {
    use crate::form::form;
    use crate::{ErrorCode, client_assertion};

    use super::*;

    const TASK: &str = r#"{"type":"agent_task","purpose":"work","tools":["crm/lookup"],"until":9}"#;

    fn check(details: &str, further: &[(&str, &str)], expected: Option<ErrorCode>) {
        let mut all = vec![
            ("client_id", "bot"),
            ("client_assertion_type", client_assertion::TYPE),
            ("client_assertion", "a.b.c"),
            ("authorization_details", details),
        ];
        all.extend(further);
        let read = parse(form(&all).as_bytes());
        assert_eq!(read.err().map(|error| error.code), expected, "{details} {further:?}");
    }

    #[test]
    fn a_pushed_request_asks_for_one_task_and_fills_nobody_in() {
        let invalid = Some(ErrorCode::InvalidAuthorizationDetails);
        check(&format!("[{TASK}]"), &[], None);
        check(&format!("[{TASK},{TASK}]"), &[], invalid);
        check("[]", &[], invalid);
        check(TASK, &[], invalid);
        check(&format!("[{}]", TASK.replace("agent_task", "payment")), &[], invalid);
        check(
            &format!("[{}]", TASK.replace("\"until\"", "\"subject\":\"ann\",\"until\"")),
            &[],
            invalid,
        );
        let with = |further: &str| {
            format!("[{}]", TASK.replace("\"until\"", &format!("{further},\"until\"")))
        };
        check(&with(r#""resources":["crm/*"],"delegable":true"#), &[], None);
        check(&with(r#""sub_id":{"format":"iss_sub","iss":"https://idp","sub":"1"}"#), &[], None);
        check(&with(r#""sub_id":{"format":"opaque","id":"ann"}"#), &[], None);
        for wrong in [
            r#""resources":"crm/*""#,
            r#""delegable":"yes""#,
            r#""sub_id":"ann""#,
            r#""sub_id":{"format":"email","email":"a@b"}"#,
            r#""sub_id":{"format":"opaque","id":"ann","iss":"https://idp"}"#,
        ] {
            check(&with(wrong), &[], invalid);
        }
        for name in ["request_uri", "redirect_uri", "grant_type"] {
            check(&format!("[{TASK}]"), &[(name, "x")], Some(ErrorCode::InvalidRequest));
        }
        check(&format!("[{TASK}]"), &[("scope", "x")], Some(ErrorCode::InvalidScope));
        let twice = ("authorization_details", "[]");
        check(&format!("[{TASK}]"), &[twice], Some(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_request_uri_names_one_request() {
        assert_eq!(requested(&request_uri("con_1")), Some("con_1"));
        assert_eq!(requested("con_1"), None);
    }
}
