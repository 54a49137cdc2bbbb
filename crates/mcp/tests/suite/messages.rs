//! JSON-RPC messages: one reading, and only what is one message.

use expect_test::{Expect, expect};
use mcp::{ID_MAX, Limits, Message, Method, ParseError, Request, Target, ToolCall, parse_message};
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(text: &str) -> Result<Message, ParseError> {
    parse_message(text.as_bytes(), &Limits::default())
}

fn request(text: &str) -> Request {
    match parse(text).unwrap() {
        Message::Request(request) => request,
        other => panic!("not a request: {other:?}"),
    }
}

fn call(name: &str) -> Request {
    let params = json!({ "name": name, "arguments": {} });
    request(
        &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string(),
    )
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    let answer = match parse(text) {
        Ok(Message::Request(request)) => format!("request {}", request.method.as_str()),
        Ok(Message::Notification(notification)) => format!("notification {}", notification.method),
        Ok(Message::Response(_)) => "response".to_owned(),
        Err(error) => {
            let (status, code) = error.answer();
            format!("{status} {code} {error}")
        }
    };
    expected.assert_eq(&answer);
}

#[test]
fn the_three_kinds_of_messages() {
    check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, &expect!["request ping"]);
    check(
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        &expect!["notification notifications/cancelled"],
    );
    check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &expect!["response"]);
    check(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#, &expect!["response"]);
}

#[test]
fn what_is_no_message_is_refused() {
    let version = expect!["400 -32600 not a JSON-RPC 2.0 message: `jsonrpc` is not `2.0`"];
    check(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, &version);
    let members =
        expect!["400 -32600 not a JSON-RPC 2.0 message: its members are not those of a message"];
    for text in [
        r#"{"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#""ping""#,
        "7",
        "null",
    ] {
        check(text, &members);
    }
    let kind = expect![
        "400 -32600 not a JSON-RPC 2.0 message: it is neither request, notification nor response"
    ];
    for text in [
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":null}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"params":{},"result":{}}"#,
    ] {
        check(text, &kind);
    }
    let params = expect!["400 -32600 not a JSON-RPC 2.0 message: `params` is not an object"];
    for params_text in ["null", "[]", "[1]", "1", "\"x\"", "true"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params_text}}}"#);
        check(&text, &params);
    }
}

#[test]
fn n_046_an_id_is_a_text_or_a_whole_number() {
    let longest = format!("\"{}\"", "x".repeat(ID_MAX - 2));
    for id in ["1", "0", "-7", "9007199254740992", "\"\"", "\"1\"", "\"a b\"", &longest] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_eq!(request(&text).id_raw().get(), id);
    }
    let too_long = format!("\"{}\"", "x".repeat(ID_MAX - 1));
    let bad =
        expect!["400 -32600 not a JSON-RPC 2.0 message: the id is not a text or whole number"];
    for id in ["null", "1.5", "1e2", "1.0", "true", "[]", "[1]", "{}", &too_long] {
        check(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#), &bad);
    }
    let huge = r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}"#;
    assert_eq!(parse(huge).unwrap_err().answer(), (400, -32_700));
}

/// Two ids that a person takes for one stay two: they are kept as they were written.
#[test]
fn n_046_ids_are_kept_as_written() {
    for id in ["\"1\"", "\"\\u0031\"", "1", "\"\u{e9}\"", "\"e\u{301}\""] {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"ping","id": {id} }}"#);
        assert_eq!(request(&text).id_raw().get(), id);
    }
}

#[test]
fn n_047_batches_are_refused() {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let refused = expect!["400 -32600 batches are not taken: send one message at a time"];
    for batch in [
        "[]".to_owned(),
        format!("[{ping}]"),
        format!("[{ping},{ping}]"),
        format!("[[{ping}]]"),
        format!(" \n[{ping}]"),
    ] {
        check(&batch, &refused);
    }
    let two = format!("{ping}\n{ping}");
    assert_eq!(parse(&two).unwrap_err().answer(), (400, -32_700));
}

#[test]
fn n_048_a_call_without_an_id_is_refused() {
    let refused = expect!["400 -32600 not a JSON-RPC 2.0 message: a request needs an id"];
    for method in [
        "tools/call",
        "ping",
        "initialize",
        "",
        "Notifications/cancelled",
        " notifications/x",
        "notification/x",
    ] {
        let text = json!({ "jsonrpc": "2.0", "method": method, "params": { "name": "refund" } });
        check(&text.to_string(), &refused);
    }
}

/// With an id it is a request, whatever it is called, and no request of that name is known.
#[test]
fn n_048_a_notification_with_an_id_is_an_unknown_request() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled","params":{}}"#;
    let method = request(text).method;
    assert_eq!(method, Method::Unknown("notifications/cancelled".to_owned()));
}

#[test]
fn a_cancellation_names_the_request_as_it_was_written() {
    let cancelled = |id: &str, method: &str| {
        let text =
            format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"requestId":{id}}}}}"#);
        match parse(&text).unwrap() {
            Message::Notification(notification) => notification.cancelled_id(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(cancelled("7", "notifications/cancelled").as_deref(), Some("7"));
    assert_eq!(cancelled("\"7\"", "notifications/cancelled").as_deref(), Some("\"7\""));
    assert_eq!(cancelled("7", "notifications/progress"), None);
}

#[test]
fn n_051_case_twin_keys_are_refused() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","Name":"refund"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"amount":1,"AMOUNT":9}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"ID":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{},"_Meta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"\u212a":1,"k":2}}}"#,
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.answer(), (400, -32_700), "{text}");
        assert!(error.to_string().contains("in case alone"), "{error}");
    }
    // One that has no twin is another member, and not one of a message.
    let alone = r#"{"jsonrpc":"2.0","id":1,"Method":"tools/call"}"#;
    assert_eq!(parse(alone).unwrap_err().answer(), (400, -32_600));
}

#[test]
fn n_052_duplicate_keys_are_refused_at_every_depth() {
    let nested = |levels: usize, inner: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}{inner}{}}}"#,
            r#"{"a":"#.repeat(levels),
            "}".repeat(levels),
        )
    };
    for levels in [0, 1, 2, 10, 60] {
        for twice in [r#"{"name":1,"name":2}"#, r#"{"name":1,"na\u006de":2}"#] {
            let error = parse(&nested(levels, twice)).unwrap_err();
            assert!(error.to_string().contains("occurs twice"), "{levels} {twice}: {error}");
        }
    }
    assert!(parse(&nested(61, "{}")).is_ok());
    for levels in [63, 10_000] {
        let error = parse(&nested(levels, "{}")).unwrap_err();
        assert!(error.to_string().contains("levels deep"), "{error}");
    }
}

#[test]
fn n_052_what_is_not_plain_json_is_refused() {
    let right = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let utf_16: Vec<u8> = right.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let gzip = [&[0x1f, 0x8b, 0x08, 0x00][..], right.as_bytes()].concat();
    let others = [
        utf_16,
        gzip,
        format!("\u{feff}{right}").into_bytes(),
        format!("{right} // ping").into_bytes(),
        format!("/* */{right}").into_bytes(),
        format!("{right},").into_bytes(),
        format!("{right}\0").into_bytes(),
        right.replace('1', "NaN").into_bytes(),
        right.replace('1', "01").into_bytes(),
        right.replace("ping", "\\ud800").into_bytes(),
        right.replace('"', "'").into_bytes(),
        right.as_bytes()[..20].to_vec(),
        [right.as_bytes(), b"\xff"].concat(),
        Vec::new(),
    ];
    for other in others {
        let error = parse_message(&other, &Limits::default()).unwrap_err();
        assert_eq!(error.answer(), (400, -32_700), "{}", String::from_utf8_lossy(&other));
    }
}

/// Names are compared byte for byte: what looks like another name is another name.
#[test]
fn n_053_a_name_is_its_bytes() {
    let names = [
        "refund",
        "Refund",
        "REFUND",
        "refund ",
        " refund",
        "refund\0",
        "refund.",
        "réfund",
        "re\u{301}fund",
        "ｒｅｆｕｎｄ",
        "rеfund",
        "re\u{200b}fund",
        "ref\u{ad}und",
        "refund\u{202e}",
        "ﬁle",
        "ſend",
        "\u{212a}ey",
    ];
    for name in names {
        assert_eq!(call(name).target().unwrap(), Target::Tool { name: name.to_owned() });
        assert_eq!(ToolCall::from_request(&call(name)).unwrap().name, name);
    }
    let escaped =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\u0072efund"}}"#;
    assert_eq!(request(escaped).target().unwrap(), Target::Tool { name: "refund".to_owned() });
}

#[test]
fn n_053_a_method_is_its_bytes() {
    for method in [
        "Tools/call",
        "tools/Call",
        "TOOLS/CALL",
        "tools/call ",
        " tools/call",
        "tools/call\0",
        "tools//call",
        "tools/./call",
        "tools\\call",
        "tools%2Fcall",
        "ｔools/call",
        "tools/саll",
        "tools/call/",
        "/tools/call",
        "tools/call\u{200b}",
        "",
    ] {
        assert_eq!(Method::named(method), Method::Unknown(method.to_owned()));
    }
}

/// No name is special: each is only a name, and the empty one is none.
#[test]
fn n_054_magic_names_are_names() {
    for name in
        ["root", "*", "?", "admin", "__proto__", "constructor", "..", ".", "null", "undefined", "-"]
    {
        assert_eq!(call(name).target().unwrap(), Target::Tool { name: name.to_owned() });
    }
    assert_eq!(call("").target(), Err(ParseError::Params("`name` is missing")));
    let own =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"__proto__":{"name":"x"}}}"#;
    assert_eq!(request(own).target(), Err(ParseError::Params("`name` is missing")));
}

#[test]
fn n_057_a_name_with_separators_is_one_name() {
    for name in ["srv__a__b", "srv/../other", "a:b", "payments/refund", "a b", "a,b", "a;b", "a\nb"]
    {
        assert_eq!(call(name).target().unwrap(), Target::Tool { name: name.to_owned() });
    }
    for uri in ["file:///etc/../passwd", "http://a//b", "x:%2e%2e", "X:%2F", "x:\\", "x:a@b"] {
        let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": uri } });
        let target = request(&text.to_string()).target().unwrap();
        assert_eq!(target, Target::Resource { uri: uri.to_owned() });
    }
}

#[test]
fn every_known_method_has_its_target() {
    let read = |method: &str, params: Value| {
        let text = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        request(&text.to_string()).target()
    };
    let full = json!({ "name": "n", "uri": "u", "taskId": "t" });
    let on_server = [
        "ping",
        "initialize",
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
        "tasks/list",
    ];
    for method in on_server {
        assert_eq!(read(method, full.clone()), Ok(Target::Server), "{method}");
        assert_eq!(Method::named(method).name_member(), None, "{method}");
    }
    let named = [
        ("tools/call", "name", Target::Tool { name: "n".to_owned() }),
        ("prompts/get", "name", Target::Prompt { name: "n".to_owned() }),
        ("resources/read", "uri", Target::Resource { uri: "u".to_owned() }),
        ("resources/subscribe", "uri", Target::Resource { uri: "u".to_owned() }),
        ("resources/unsubscribe", "uri", Target::Resource { uri: "u".to_owned() }),
        ("tasks/get", "taskId", Target::Task { id: "t".to_owned() }),
        ("tasks/result", "taskId", Target::Task { id: "t".to_owned() }),
        ("tasks/cancel", "taskId", Target::Task { id: "t".to_owned() }),
        ("tasks/update", "taskId", Target::Task { id: "t".to_owned() }),
    ];
    for (method, member, target) in &named {
        // Those that the stateless era does not have repeat no name in a header.
        let repeated = (!method.ends_with("subscribe")).then_some(*member);
        assert_eq!(Method::named(method).name_member(), repeated, "{method}");
        assert_eq!(read(method, full.clone()).as_ref(), Ok(target), "{method}");
        for bad in
            [json!({}), json!({ *member: "" }), json!({ *member: 1 }), json!({ *member: null })]
        {
            assert!(matches!(read(method, bad), Err(ParseError::Params(_))), "{method}");
        }
    }
    for (method, ..) in &named {
        assert_eq!(Method::named(method).as_str(), *method);
    }
}

#[test]
fn n_068_arguments_are_an_object_or_absent() {
    let arguments = |text: &str| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x"{text}}}}}"#
        );
        ToolCall::from_request(&request(&text)).map(|call| call.arguments)
    };
    assert_eq!(arguments(""), Ok(json!({})));
    assert_eq!(arguments(r#","arguments":{"a":1}"#), Ok(json!({ "a": 1 })));
    for bad in ["null", "[]", "[{}]", "\"{}\"", "1", "true"] {
        let refused = arguments(&format!(r#","arguments":{bad}"#));
        assert_eq!(refused, Err(ParseError::Params("`arguments` is not an object")), "{bad}");
    }
    let list = request(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert!(ToolCall::from_request(&list).is_err());
}

#[test]
fn a_message_has_limits() {
    let sized = |bytes: usize| {
        let frame = r#"{"jsonrpc":"2.0","id":1,"method":""}"#.len();
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "x".repeat(bytes - frame))
    };
    let limits = Limits { bytes: 200, depth: 2 };
    assert!(parse_message(sized(200).as_bytes(), &limits).is_ok());
    assert!(parse_message(sized(201).as_bytes(), &limits).is_err());
    let deep =
        |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{params}}}"#);
    assert!(parse_message(deep("{}").as_bytes(), &limits).is_ok());
    assert!(parse_message(deep(r#"{"a":[]}"#).as_bytes(), &limits).is_err());
}

fn spelled(value: &Value, spaces: &str) -> String {
    value.to_string().replace(':', &format!(":{spaces}")).replace(',', &format!("{spaces},"))
}

proptest! {
    /// I-06: the parameters are kept byte for byte, and what is read of them is what they say.
    #[test]
    fn i_06_parameters_are_kept_byte_for_byte(
        name in "[a-z]{1,8}",
        members in prop::collection::btree_map("[a-z]{1,6}", "[a-z0-9 é\u{1f600}]{0,8}", 0..6),
        spaces in "[ \n\t]{0,3}",
    ) {
        let params = spelled(&json!({ "arguments": members, "name": name }), &spaces);
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{spaces}{params}{spaces}}}"#);
        let request = request(&text);
        prop_assert_eq!(request.params.as_ref().unwrap().get(), &params);
        let call = ToolCall::from_request(&request).unwrap();
        let again: Value = serde_json::from_str(&params).unwrap();
        prop_assert_eq!(&call.arguments, &again["arguments"]);
        prop_assert_eq!(Value::from(call.name), again["name"].clone());
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(bytes: Vec<u8>) {
        if let Err(error) = parse_message(&bytes, &Limits::default()) {
            prop_assert_eq!(error.answer().0, 400);
        }
    }
}
