//! MCP: messages, events, header values, annotations, and text of others.

use http::HeaderMap;
use mcp::{
    Ask, EraError, InputRequired, Limits, Message, ServerRequest, SseError, SseParser, ToolCall,
    check_era, check_param_headers, decode_header_value, demanded_elicitations, descriptor_diff,
    encode_header_value, era_of, param_headers, parse_message, render_untrusted,
};
use serde_json::Value;
use serde_json::value::RawValue;

/// The limit of an event here: small, so that it is met.
const EVENT_MAX: usize = 256;

/// What is kept of a message is a piece of it, byte for byte, and is refused or answered.
pub fn message(bytes: &[u8]) -> bool {
    let limits = Limits { bytes: 16 << 10, depth: 32 };
    let message = match parse_message(bytes, &limits) {
        Ok(message) => message,
        Err(error) => {
            assert_eq!(error.answer().0, 400);
            return false;
        }
    };
    let headers = HeaderMap::new();
    let checked = check_era(&headers, &message, era_of(&headers, &message));
    if let Message::Request(request) = &message {
        let (id, params) = (request.id_raw(), request.params.as_deref());
        for kept in [Some(id.get()), params.map(RawValue::get)].into_iter().flatten() {
            let found = bytes.windows(kept.len()).any(|window| window == kept.as_bytes());
            assert!(found, "`{kept}` is not what was received");
        }
        if let Err(error) = checked {
            let (_, body) = error.answer(id.get());
            json::parse(body.as_bytes(), json::Limits::default()).expect("an answer is JSON");
        }
        if let (Ok(call), Some(params)) = (ToolCall::from_request(request), params) {
            let lax: Value = serde_json::from_str(params.get()).expect("others read it too");
            assert_eq!(lax["name"], call.name);
            let theirs = lax.get("arguments").map(json::canonical);
            assert_eq!(theirs.unwrap_or_else(|| b"{}".to_vec()), json::canonical(&call.arguments));
        }
    }
    true
}

/// What a server asks is read in one way, told as it was received, and a URL has the host that it
/// is decided by.
pub fn input_required(bytes: &[u8]) -> bool {
    let Ok(result) = serde_json::from_slice::<&RawValue>(bytes) else { return false };
    // Whatever it is, it demands URLs or it does not.
    let _ = demanded_elicitations(result);
    let Some(wants) = InputRequired::read(result) else { return false };
    let told = wants.with_state("ours");
    let told = json::parse(told.get().as_bytes(), json::Limits::default()).expect("it is JSON");
    assert_eq!(told["requestState"], "ours");
    let Some(requests) = wants.requests() else { return false };
    for (name, request) in requests {
        let kept = request.params.as_ref().map_or(Value::Null, |params| {
            json::parse(params.get().as_bytes(), json::Limits::default()).expect("it is JSON")
        });
        assert_eq!(told["inputRequests"][&name].get("params").unwrap_or(&Value::Null), &kept);
        let Ok(asked) = ServerRequest::read(&request.method, request.params) else { return false };
        if let Ask::Url { host } = asked.ask {
            let url = kept["url"].as_str().expect("a URL is text").to_ascii_lowercase();
            let rest = url.strip_prefix("https://").expect("it is https");
            let rest = rest.strip_prefix(&host).expect("it leads to its host");
            let rest = rest.strip_prefix(":443").unwrap_or(rest);
            assert!(rest.is_empty() || rest.starts_with(['/', '?', '#']), "{url}");
        }
    }
    true
}

/// The events are the same however the bytes are cut; nothing is beyond the limit.
pub fn events(bytes: &[u8]) -> bool {
    let (whole, error) = read_events(bytes, bytes.len().max(1));
    for length in [1, 3, 17] {
        let (cut, same) = read_events(bytes, length);
        assert_eq!(error, same);
        assert!(cut.starts_with(&whole) && (error.is_some() || cut == whole));
    }
    assert!(whole.iter().all(|data| !data.is_empty() && data.len() <= EVENT_MAX));
    error.is_none() && !whole.is_empty()
}

fn read_events(bytes: &[u8], length: usize) -> (Vec<String>, Option<SseError>) {
    let (mut parser, mut events) = (SseParser::new(EVENT_MAX), Vec::new());
    for piece in bytes.chunks(length) {
        match parser.push(piece) {
            Ok(new) => events.extend(new.into_iter().map(|event| event.data)),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

/// A value stands for one text, and what is written for that text stands for it again.
pub fn header_value(bytes: &[u8]) -> bool {
    let Some(value) = super::text(bytes) else { return false };
    let Some(text) = decode_header_value(value) else { return false };
    let written = encode_header_value(&text);
    assert!(http::HeaderValue::from_str(&written).is_ok());
    assert_eq!(decode_header_value(&written), Some(text));
    true
}

/// A schema and arguments: what is written passes, but for arguments that no header can say.
pub fn annotations(bytes: &[u8]) -> bool {
    let Ok(value) = json::parse(bytes, json::Limits::default()) else { return false };
    let (schema, arguments) = (&value["schema"], &value["arguments"]);
    let Ok(written) = param_headers(schema, arguments) else {
        let refused = check_param_headers(&HeaderMap::new(), schema, arguments);
        assert!(matches!(refused, Err(EraError::Annotation(_))));
        return false;
    };
    assert!(written.iter().all(|(name, _)| name.as_str().starts_with("mcp-param-")));
    let count = written.len();
    let mut headers: HeaderMap = written.into_iter().collect();
    assert_eq!(headers.len(), count, "no name stands twice");
    let checked = check_param_headers(&headers, schema, arguments);
    assert!(matches!(checked, Ok(()) | Err(EraError::ParamMismatch(_))));
    if let Some(name) = headers.keys().next().cloned() {
        headers.remove(name);
        assert!(check_param_headers(&headers, schema, arguments).is_err());
    }
    checked.is_ok()
}

/// What is shown is one line in which every character is seen.
pub fn untrusted(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let shown = render_untrusted(text);
    assert!(!shown.contains(char::is_control));
    assert_eq!(render_untrusted(&shown), shown);
    let Ok(value) = json::parse(bytes, json::Limits::default()) else { return false };
    let lines = descriptor_diff(&Value::Null, &value);
    assert_eq!(lines.is_empty(), value.is_null());
    assert!(lines.iter().all(|line| !line.contains(char::is_control)));
    let members = descriptor_diff(&serde_json::json!({}), &value);
    assert!(members.iter().all(|line| !line.contains(char::is_control)));
    true
}
