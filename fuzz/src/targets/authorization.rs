//! What clients that have no key send, and say of themselves.

use oauth::authorization_code::{Narrowed, Redeemed, parse};
use oauth::client_document::ClientDocument;
use oauth::form::{FORM_MAX, form};
use oauth::redirect_uri::RedirectUri;
use oauth::token_endpoint::{self, Asked};

/// The `client_id` whose document is tried.
const CLIENT: &str = "https://client.example/oauth.json";

/// The query of an authorization request: what is read and written again is read the same.
pub fn request(bytes: &[u8]) -> bool {
    let Ok(read) = parse(bytes) else { return false };
    let Ok(asked) = &read.asked else { return true };
    let challenge = keys::base64url(&asked.challenge);
    let mut all = vec![
        ("response_type", "code".to_owned()),
        ("client_id", read.client_id.clone()),
        ("redirect_uri", read.redirect_uri.clone()),
        ("state", read.state.clone().unwrap_or_default()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        ("resource", asked.resource.clone()),
    ];
    all.extend(asked.jkt.map(|jkt| ("dpop_jkt", keys::base64url(&jkt))));
    match &asked.narrowed {
        Narrowed::Not => {}
        Narrowed::Tools(scope) => all.push(("scope", scope.clone())),
        Narrowed::Task(asked) => {
            let mut details = serde_json::json!(asked.task);
            details["resources"] = serde_json::json!(asked.resources);
            details["delegable"] = asked.delegable.into();
            all.push(("authorization_details", serde_json::json!([details]).to_string()));
        }
    }
    let written = written(&all);
    // What has to be escaped may not fit any more.
    if written.len() <= FORM_MAX {
        assert_eq!(parse(written.as_bytes()), Ok(read));
    }
    true
}

/// The form of a token request by a code or a refresh token: the same.
pub fn token(bytes: &[u8]) -> bool {
    let Ok(Asked::Redeemed(read)) = token_endpoint::read(bytes) else { return false };
    let mut all = match &read.by {
        Redeemed::Code { code, redirect_uri, verifier } => vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.clone()),
            ("redirect_uri", redirect_uri.clone()),
            ("code_verifier", verifier.clone()),
        ],
        Redeemed::Refresh(token) => {
            vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", token.clone())]
        }
    };
    all.push(("client_id", read.client_id.clone()));
    all.push(("resource", read.resource.clone().unwrap_or_default()));
    let written = written(&all);
    if written.len() <= FORM_MAX {
        assert_eq!(token_endpoint::read(written.as_bytes()), Ok(Asked::Redeemed(read)));
    }
    true
}

/// A redirect URI: an answer at its end leads to no other place.
pub fn redirect_uri(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let Some(read) = RedirectUri::parse(text) else { return false };
    assert!(read.is(&read), "it is itself");
    let answered = read.with(&[("code", "a b&c#d"), ("iss", "https://chancery.example")]);
    // What is longer than a URL may be is read by nobody here.
    if let Some(answered) = RedirectUri::parse(&answered) {
        assert_eq!((answered.host(), answered.is_loopback()), (read.host(), read.is_loopback()));
        assert_eq!(answered.form_action(), read.form_action());
    }
    true
}

/// A client's document: it admits no place that does not stand in it, but for the port on its own
/// machine.
pub fn document(bytes: &[u8]) -> bool {
    let limits = json::Limits { bytes: 64 << 10, depth: 16 };
    let Ok(document) = json::parse(bytes, limits) else { return false };
    let Ok(read) = ClientDocument::read(&document, CLIENT) else { return false };
    for place in ["https://evil.test/cb", "http://127.0.0.1:1/evil-cb"] {
        let asked = RedirectUri::parse(place).expect("it is one");
        let text = String::from_utf8_lossy(bytes);
        let stands_there = text.contains("evil");
        assert!(stands_there || !read.admits(&asked), "{place}: {text}");
    }
    true
}

fn written(all: &[(&str, String)]) -> String {
    let all: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
    form(&all)
}
