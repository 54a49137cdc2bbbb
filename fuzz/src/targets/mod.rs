//! The parsers of untrusted bytes, each with what it promises.

pub mod authorization;
pub mod cases;
pub mod csv;
pub mod json;
pub mod log;
pub mod mcp;
pub mod oauth;
pub mod pdp;
pub mod records;
pub mod scim;
pub mod secevent;
pub mod url;
pub mod workload;

/// Takes any bytes, says whether they were accepted, and panics if a promise does not hold.
pub type Target = fn(&[u8]) -> bool;

/// Every target by the name of the folder with its examples.
pub const TARGETS: [(&str, Target); 51] = [
    ("json", json::strict),
    ("number", json::number),
    ("jsonrpc", mcp::message),
    ("sse", mcp::events),
    ("input-required", mcp::input_required),
    ("header-value", mcp::header_value),
    ("param-headers", mcp::annotations),
    ("untrusted", mcp::untrusted),
    ("https-url", url::https),
    ("csv", csv::table),
    ("jws", oauth::token),
    ("foreign-jws", oauth::foreign),
    ("access-token", oauth::access),
    ("client-assertion", oauth::assertion),
    ("initiation", oauth::initiation),
    ("enrolment", oauth::enrolment),
    ("people", oauth::people),
    ("word", oauth::word),
    ("dpop-proof", oauth::proof),
    ("token-form", oauth::form),
    ("token-answer", oauth::answer),
    ("authorization-request", authorization::request),
    ("client-token-form", authorization::token),
    ("redirect-uri", authorization::redirect_uri),
    ("client-document", authorization::document),
    ("jwk", oauth::jwk),
    ("pem", oauth::pem),
    ("note", log::note),
    ("checkpoint", log::checkpoint),
    ("verifier-key", log::verifier_key),
    ("tile-path", log::tile_path),
    ("tile", log::tile),
    ("bundle", log::bundle),
    ("tlog-proof", log::proof),
    ("record", records::record),
    ("name", records::name),
    ("tool-schema", pdp::tool_schema),
    ("policy", pdp::policy),
    ("policy-beside", pdp::beside),
    ("case-file", cases::file),
    ("agentcore", pdp::imported),
    ("spiffe-id", workload::spiffe_id),
    ("workload-rule", workload::rule),
    ("scim-filter", scim::filter),
    ("scim-patch", scim::patch),
    ("scim-resource", scim::resource),
    ("scim-query", scim::query),
    ("event-token", secevent::token),
    ("event-poll", secevent::polled),
    ("receiver-request", secevent::asked),
    ("transmitter-answer", secevent::answered),
];

/// The target `name`.
///
/// # Panics
///
/// If there is none.
pub fn named(name: &str) -> Target {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("there is no target `{name}`")).1
}

/// The text of `bytes`, where a parser takes text.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Whether `bytes` are text that `T` is parsed from; if so, it is written back as it was read.
fn is_written_back<T: std::str::FromStr + ToString>(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let Ok(parsed) = text.parse::<T>() else { return false };
    assert_eq!(parsed.to_string(), text);
    true
}
