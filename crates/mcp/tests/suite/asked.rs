//! What a server may ask of its client, and what a client declares that it may be asked.

use mcp::{Ask, Askable, InputRequired, ServerRequest, demanded_elicitations};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

fn check(method: &str, params: &str, asks: Option<Ask>) {
    let params = RawValue::from_string(params.to_owned()).expect("JSON");
    let read = ServerRequest::read(method, Some(params)).ok();
    assert_eq!(read.map(|request| request.ask), asks, "{method}");
}

#[test]
fn what_is_asked_has_256_kib_and_no_more() {
    let form = |bytes: usize| {
        let [begin, end] = [r#"{"requestedSchema":{},"message":""#, r#""}"#];
        format!("{begin}{}{end}", "x".repeat(bytes - begin.len() - end.len()))
    };
    check("elicitation/create", &form(256 << 10), Some(Ask::Form));
    check("elicitation/create", &form((256 << 10) + 1), None);
}

#[test]
fn what_is_asked_is_read_in_one_way_or_not_at_all() {
    let (sampling, elicitation) = ("sampling/createMessage", "elicitation/create");
    check("roots/list", "{}", Some(Ask::Roots));
    check("roots/list", "[]", None);
    check(sampling, r#"{"messages":[]}"#, Some(Ask::Sampling { tools: false }));
    check(sampling, r#"{"messages":[],"tools":[]}"#, Some(Ask::Sampling { tools: true }));
    check(
        sampling,
        r#"{"messages":[],"includeContext":"none"}"#,
        Some(Ask::Sampling { tools: false }),
    );
    check(sampling, r#"{"messages":[],"includeContext":"allServers"}"#, None);
    check(sampling, r#"{"messages":[],"task":{}}"#, None);
    check(sampling, "{}", None);
    check(elicitation, r#"{"message":"m","requestedSchema":{}}"#, Some(Ask::Form));
    check(elicitation, r#"{"mode":"form","message":"m","requestedSchema":{}}"#, Some(Ask::Form));
    let host = "login.example".to_owned();
    check(
        elicitation,
        r#"{"mode":"url","message":"m","url":"https://login.example/a"}"#,
        Some(Ask::Url { host }),
    );
    for params in [
        r#"{"message":"m"}"#,
        r#"{"requestedSchema":{}}"#,
        r#"{"mode":"form","mode":"url","message":"m","requestedSchema":{}}"#,
        r#"{"mode":"form","Mode":"url","message":"m","requestedSchema":{}}"#,
        r#"{"mode":"form","message":"m","requestedSchema":{},"url":"https://a.example/"}"#,
        r#"{"mode":"url","message":"m","url":"https://a.example/","requestedSchema":{}}"#,
        r#"{"mode":"url","message":"m"}"#,
        r#"{"mode":"URL","message":"m","url":"https://a.example/"}"#,
        r#"{"mode":null,"message":"m","requestedSchema":{}}"#,
        r#"{"url":"https://a.example/","message":"m"}"#,
    ] {
        check(elicitation, params, None);
    }
    check("tools/call", r#"{"name":"t"}"#, None);
    check("Roots/list", "{}", None);
}

/// `https-url` tells what is read in one way; here its port counts too.
#[test]
fn n_084_a_url_has_one_host_for_every_reader() {
    for (url, host) in [
        ("https://A.Example:443/p?q#f", Some("a.example")),
        ("https://a.example:8443/", None),
        ("https://user@a.example/", None),
        ("https://[::1]/", None),
        ("https://127.1/", None),
        ("https://a.example\\.b.example/", None),
        ("https://a.example/$(calc)", None),
        ("http://a.example/", None),
        ("javascript:alert(1)", None),
        ("", None),
    ] {
        let params = json!({ "mode": "url", "message": "m", "url": url }).to_string();
        let asks = host.map(|host| Ask::Url { host: host.to_owned() });
        check("elicitation/create", &params, asks);
    }
}

#[test]
fn what_is_declared_is_what_may_be_asked() {
    let check = |declared: Value, said: Value| {
        assert_eq!(Askable::of(&declared).to_capabilities(), said, "{declared}");
    };
    check(json!({}), json!({}));
    check(json!(null), json!({}));
    check(json!({ "elicitation": {} }), json!({ "elicitation": { "form": {} } }));
    check(json!({ "elicitation": { "url": {} } }), json!({ "elicitation": { "url": {} } }));
    check(json!({ "elicitation": true, "sampling": [], "roots": null }), json!({}));
    let all = json!({
        "sampling": { "tools": {} }, "elicitation": { "form": {}, "url": {} }, "roots": {},
    });
    check(all.clone(), all.clone());
    assert_eq!(Askable::of(&all), Askable::ALL);
    let (plain, tools) = (Ask::Sampling { tools: false }, Ask::Sampling { tools: true });
    let sampling = Askable { sampling: true, ..Askable::NOTHING };
    assert!(sampling.has(&plain) && !sampling.has(&tools) && !sampling.has(&Ask::Form));
}

#[test]
fn a_result_that_wants_input_is_told_with_another_state() {
    let read = |result: Value| InputRequired::read(&to_raw_value(&result).expect("JSON"));
    let result = json!({
        "resultType": "input_required", "requestState": "theirs", "_meta": { "a": 1 },
        "inputRequests": { "b": { "method": "roots/list" } },
    });
    let wants = read(result).expect("it wants input");
    assert_eq!(wants.requests().expect("they can be read")["b"].method, "roots/list");
    let told = r#"{"_meta":{"a":1},"inputRequests":{"b":{"method":"roots/list"}},"requestState":"ours","resultType":"input_required"}"#;
    assert_eq!(wants.with_state("ours").get(), told);
    for other in [
        json!({ "resultType": "input_required" }),
        json!({ "resultType": "complete", "inputRequests": {} }),
        json!({ "resultType": "input_required", "requestState": 1 }),
        json!({ "resultType": "input_required", "requestState": "s", "content": [] }),
        json!({ "inputRequests": {} }),
        json!([]),
    ] {
        assert!(read(other.clone()).is_none(), "{other}");
    }
}

#[test]
fn n_084_an_error_that_demands_a_url_is_told_from_others() {
    let demanded = |error: &str| {
        let error = RawValue::from_string(error.to_owned()).expect("JSON");
        demanded_elicitations(&error).map(|all| all.len())
    };
    let two = r#""data":{"elicitations":[{"a":1},{}]}"#;
    assert_eq!(demanded(&format!(r#"{{"code":-32042,"message":"m",{two}}}"#)), Some(2));
    assert_eq!(demanded(&format!(r#"{{"code":-3.2042e4,"message":"m",{two}}}"#)), Some(2));
    assert_eq!(demanded(r#"{"code":-32042,"message":"m"}"#), Some(0));
    assert_eq!(demanded(r#"{"code":-32042,"code":1,"message":"m"}"#), Some(0));
    assert_eq!(demanded(r#"{"code":-32043,"message":"m","data":{}}"#), None);
    // What a client might take for it is it.
    for code in ["\"-32042\"", "-32043", "null", "[-32042]"] {
        let error = format!(r#"{{"code":{code},"message":"m",{two}}}"#);
        assert_eq!(demanded(&error), Some(2), "{error}");
    }
    assert_eq!(demanded(r#"{"code":"-32042","message":"m"}"#), Some(0));
}
