//! Parameters and results between the eras: what the envelope needs is added or removed, the rest
//! stays as it was received, byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mcp::{Askable, Era, Method};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::upstream::stateless_meta;

/// The members of an object by name, each as it was received.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// What only the stateless era has in a result's own members.
const STATELESS_MEMBERS: [&str; 3] = ["cacheScope", "resultType", "ttlMs"];

/// Parameters that are no object, of which nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoObject;

/// Adds or removes what one era demands in `_meta` and the other does not know; a server of the
/// stateless era is told that it may ask what `declares` says.
pub(crate) fn params(
    params: Option<&RawValue>,
    (upstream, client): (Era, Era),
    declares: Askable,
) -> Result<Option<Cow<'_, RawValue>>, NoObject> {
    if upstream == client {
        return Ok(params.map(Cow::Borrowed));
    }
    let mut members = members(params)?;
    let meta = members.get("_meta").map(|meta| serde_json::from_str::<Value>(meta.get()));
    let meta = meta.transpose().map_err(|_| NoObject)?;
    let mut meta = meta.unwrap_or_else(|| json!({}));
    let own = meta.as_object_mut().ok_or(NoObject)?;
    own.retain(|name, _| !name.starts_with("io.modelcontextprotocol/"));
    if let (Era::Stateless, Value::Object(demanded)) = (upstream, stateless_meta(declares)) {
        own.extend(demanded);
    }
    let meta = serde_json::value::to_raw_value(&meta).map_err(|_| NoObject)?;
    if meta.get() == "{}" {
        members.remove("_meta");
    } else {
        members.insert("_meta".to_owned(), &meta);
    }
    let translated = serde_json::value::to_raw_value(&members).map_err(|_| NoObject)?;
    Ok((!members.is_empty()).then_some(Cow::Owned(translated)))
}

/// The same parameters with other members of these names, or without them.
pub(crate) fn with_members<const N: usize>(
    params: Option<&RawValue>,
    others: [(&str, Option<Box<RawValue>>); N],
) -> Result<Box<RawValue>, NoObject> {
    let mut members = members(params)?;
    for (name, value) in &others {
        members.remove(*name);
        members.extend(value.as_deref().map(|value| ((*name).to_owned(), value)));
    }
    serde_json::value::to_raw_value(&members).map_err(|_| NoObject)
}

fn members(params: Option<&RawValue>) -> Result<Members<'_>, NoObject> {
    serde_json::from_str(params.map_or("{}", RawValue::get)).map_err(|_| NoObject)
}

/// How severe a log message is, least first.
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// From which level on the parameters ask for log messages, as the stateless era does.
pub(crate) fn log_level(params: Option<&RawValue>) -> Option<usize> {
    #[derive(serde::Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        meta: Value,
    }
    let params: Params = serde_json::from_str(params?.get()).ok()?;
    let wanted = params.meta.get("io.modelcontextprotocol/logLevel")?.as_str()?;
    LEVELS.iter().position(|level| *level == wanted)
}

/// Whether a client of the stateless era, which asked for log messages from level `wanted` on, is
/// told `notification`. Servers of the session era log for whoever calls.
pub(crate) fn is_told(notification: &[u8], wanted: Option<usize>) -> bool {
    #[derive(serde::Deserialize)]
    struct Said<'a> {
        method: String,
        #[serde(borrow)]
        params: Option<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct Logged {
        level: String,
    }
    let Ok(Said { method, params }) = serde_json::from_slice(notification) else { return false };
    if method != "notifications/message" {
        return true;
    }
    let logged = params.and_then(|params| serde_json::from_str::<Logged>(params.get()).ok());
    let level = logged.map(|logged| logged.level);
    let level = LEVELS.iter().position(|known| Some(*known) == level.as_deref());
    wanted.is_some_and(|least| level >= Some(least))
}

/// What a result says of itself beside its content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    /// A tool that failed.
    pub(crate) is_error: bool,
    /// Anything but a complete answer: the server wants input, or has only begun.
    pub(crate) is_incomplete: bool,
}

/// Reads what `result` says of itself. What could be read in two ways is no complete answer.
pub(crate) fn kind(result: &RawValue) -> Kind {
    #[derive(serde::Deserialize)]
    struct Said<'a> {
        #[serde(default, borrow, rename = "isError")]
        is_error: Option<&'a RawValue>,
        #[serde(default, rename = "resultType")]
        result_type: Option<Value>,
        #[serde(default, borrow, rename = "inputRequests")]
        input_requests: Option<&'a RawValue>,
    }
    let Ok(said) = serde_json::from_str::<Said<'_>>(result.get()) else {
        return Kind { is_error: false, is_incomplete: true };
    };
    let complete = said.result_type.is_none_or(|kind| kind == "complete");
    Kind {
        is_error: said.is_error.is_some_and(|flag| flag.get() == "true"),
        is_incomplete: !complete || said.input_requests.is_some(),
    }
}

/// The result as the client's era writes it. Nothing that went through here is for others than
/// the caller: whatever may be kept is kept privately.
pub(crate) fn result(
    result: Box<RawValue>,
    method: &Method,
    (upstream, client): (Era, Era),
) -> Box<RawValue> {
    let text = result.get();
    let cacheable = is_cacheable(method);
    let touched = STATELESS_MEMBERS.iter().any(|name| text.contains(name));
    match client {
        Era::Session if upstream == Era::Session || !touched => return result,
        // A complete result of a call has nothing to add but that it is complete.
        Era::Stateless if !cacheable && is_plainly_complete(text) => return result,
        _ => {}
    }
    let Ok(mut members) = serde_json::from_str::<Members<'_>>(text) else { return result };
    let raw = |value: Value| serde_json::value::to_raw_value(&value).expect("a value is JSON");
    let (complete, private, none) = (raw("complete".into()), raw("private".into()), raw(0.into()));
    if client == Era::Session {
        members.retain(|name, _| !STATELESS_MEMBERS.contains(&name.as_str()));
    } else {
        members.entry("resultType".to_owned()).or_insert(&complete);
        if cacheable || members.contains_key("cacheScope") {
            members.insert("cacheScope".to_owned(), &private);
            members.entry("ttlMs".to_owned()).or_insert(&none);
        }
    }
    serde_json::value::to_raw_value(&members).unwrap_or_else(|_| result.clone())
}

/// Whether results of `method` say for how long, and for whom, they may be kept.
fn is_cacheable(method: &Method) -> bool {
    match method {
        Method::ToolsList | Method::Discover => true,
        Method::OnServer(name) => name.ends_with("/list"),
        Method::OnResource(name) => *name == "resources/read",
        _ => false,
    }
}

/// Whether the text says, as nearly all do, that it is complete and nothing of caching; a false
/// answer costs a reading.
fn is_plainly_complete(text: &str) -> bool {
    text.contains("\"resultType\":\"complete\"") && !text.contains("cacheScope")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_STATELESS: (Era, Era) = (Era::Stateless, Era::Session);

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    fn check_params(given: &str, upstream: Era, client: Era, sent: &str) {
        let given = raw(given);
        let eras = (upstream, client);
        let sent_now = params(Some(&given), eras, Askable::NOTHING).expect("an object");
        assert_eq!(sent_now.map_or(String::new(), |raw| raw.get().to_owned()), sent);
    }

    #[test]
    fn i_06_arguments_stay_as_they_were_received() {
        let odd = r#"{"name":"t","arguments":{"b": 1.50,  "a":"\u0041"}}"#;
        check_params(odd, Era::Session, Era::Session, odd);
        check_params(
            r#"{"name":"t","arguments":{"b": 1.50,  "a":"\u0041"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":7}}"#,
            Era::Session,
            Era::Stateless,
            r#"{"_meta":{"progressToken":7},"arguments":{"b": 1.50,  "a":"\u0041"},"name":"t"}"#,
        );
        let given = raw(odd);
        let sent = params(Some(&given), TO_STATELESS, Askable::NOTHING).unwrap().unwrap();
        assert!(sent.get().contains(r#""arguments":{"b": 1.50,  "a":"\u0041"}"#));
        assert!(sent.get().contains("io.modelcontextprotocol/protocolVersion"));
    }

    #[test]
    fn parameters_that_are_no_object_are_not_sent() {
        for given in ["[1]", r#"{"_meta":3}"#] {
            assert!(params(Some(&raw(given)), TO_STATELESS, Askable::NOTHING).is_err());
        }
        check_params("{}", Era::Session, Era::Stateless, "");
    }

    fn check_result(given: &str, method: &str, client: Era, told: &str) {
        let told_now = result(raw(given), &Method::named(method), (Era::Stateless, client));
        assert_eq!(told_now.get(), told);
    }

    #[test]
    fn n_066_nothing_is_told_to_be_kept_for_others() {
        check_result(
            r#"{"resources":[ 1 ],"cacheScope":"public","ttlMs":9,"resultType":"complete"}"#,
            "resources/list",
            Era::Stateless,
            r#"{"cacheScope":"private","resources":[ 1 ],"resultType":"complete","ttlMs":9}"#,
        );
        check_result(
            r#"{"contents":[]}"#,
            "resources/read",
            Era::Stateless,
            r#"{"cacheScope":"private","contents":[],"resultType":"complete","ttlMs":0}"#,
        );
        check_result(
            r#"{"content":[],"cacheScope":"public"}"#,
            "tools/call",
            Era::Stateless,
            r#"{"cacheScope":"private","content":[],"resultType":"complete","ttlMs":0}"#,
        );
    }

    #[test]
    fn a_result_keeps_its_bytes_where_nothing_is_to_be_changed() {
        let plain = r#"{"content":[ {"text":"\u0041"} ]}"#;
        check_result(plain, "tools/call", Era::Session, plain);
        check_result(
            plain,
            "tools/call",
            Era::Stateless,
            r#"{"content":[ {"text":"\u0041"} ],"resultType":"complete"}"#,
        );
        let complete = r#"{"content":[],"resultType":"complete"}"#;
        check_result(complete, "tools/call", Era::Stateless, complete);
        check_result(complete, "tools/call", Era::Session, r#"{"content":[]}"#);
    }

    #[test]
    fn n_083_a_result_that_is_not_complete_is_told_apart() {
        let kind_of = |text: &str| kind(&raw(text));
        let incomplete = Kind { is_error: false, is_incomplete: true };
        assert_eq!(kind_of(r#"{"resultType":"input_required"}"#), incomplete);
        assert_eq!(kind_of(r#"{"resultType":"task"}"#), incomplete);
        assert_eq!(kind_of(r#"{"resultType":3}"#), incomplete);
        assert_eq!(kind_of(r#"{"inputRequests":{}}"#), incomplete);
        assert_eq!(kind_of(r#"{"resultType":"complete"}"#), Kind::default());
        let failed = Kind { is_error: true, is_incomplete: false };
        assert_eq!(kind_of(r#"{"isError":true}"#), failed);
        assert_eq!(kind_of(r#"{"isError":"true"}"#), Kind::default());
        let twice = r#"{"resultType":"complete","resultType":"input_required"}"#;
        assert_eq!(kind_of(twice), incomplete);
    }
}
