//! Clients that are known by the URL of a document that describes them
//! (draft-ietf-oauth-client-id-metadata-document): nobody registers them beforehand, and their
//! `client_id` is that URL.

use https_url::HttpsUrl;
use serde_json::Value;

use crate::redirect_uri::RedirectUri;

/// The longest `client_id`, in bytes.
const ID_MAX: usize = 512;

/// The longest name of a client that is kept, in characters.
const NAME_MAX: usize = 80;

/// The most redirect URIs that are looked at.
const URIS_MAX: usize = 64;

/// What a client says of itself in its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientDocument {
    /// How it calls itself: nobody vouches for that.
    pub name: Option<String>,
    /// Where answers to it may go.
    redirect_uris: Vec<RedirectUri>,
    /// Whether it takes no token but one that is bound to a key (RFC 9449 §5.2).
    pub bound: bool,
}

/// Why a document describes no client that could be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotClientDocument {
    /// It is another's: its `client_id` is not the URL that it was fetched from, byte for byte.
    #[error("it is the document of another client")]
    OfAnother,
    /// The client would authenticate in a way that is not taken.
    #[error("its `token_endpoint_auth_method` is not `none`")]
    Authentication,
    /// It does not use authorization codes.
    #[error("it is of a client that uses no authorization code")]
    Grant,
    /// A member is not as RFC 7591 §2 has it.
    #[error("its `{0}` is not as it should be")]
    Member(&'static str),
}

/// The URL that `client_id` is, if a client can have it: https, with a path that names one document
/// (§3 of the draft).
pub fn client_id(text: &str) -> Option<HttpsUrl> {
    let url = HttpsUrl::parse(text).ok().filter(|url| url.as_str() == text)?;
    let (_, path) = text.strip_prefix("https://")?.split_once('/')?;
    let path = path.split('?').next().unwrap_or_default();
    let is_plain = !path.is_empty() && !path.split('/').any(|part| matches!(part, "." | ".."));
    (is_plain && text.len() <= ID_MAX && !url.has_fragment()).then_some(url)
}

impl ClientDocument {
    /// Reads the `document` that was fetched from `client_id`.
    pub fn read(document: &Value, client_id: &str) -> Result<Self, NotClientDocument> {
        if document.get("client_id").and_then(Value::as_str) != Some(client_id) {
            return Err(NotClientDocument::OfAnother);
        }
        // A secret would be known to everybody who reads the document (§4.1 of the draft).
        if ["client_secret", "client_secret_expires_at"].iter().any(|it| document.get(it).is_some())
        {
            return Err(NotClientDocument::Member("client_secret"));
        }
        // What is left out means a secret (RFC 7591 §2).
        if document.get("token_endpoint_auth_method").and_then(Value::as_str) != Some("none") {
            return Err(NotClientDocument::Authentication);
        }
        let is_among = |name: &str, wanted: &str| match document.get(name) {
            None => true,
            Some(all) => all.as_array().is_some_and(|all| all.iter().any(|it| it == wanted)),
        };
        if !is_among("grant_types", "authorization_code") || !is_among("response_types", "code") {
            return Err(NotClientDocument::Grant);
        }
        let uris = document.get("redirect_uris").and_then(Value::as_array);
        let uris = uris.filter(|uris| !uris.is_empty() && uris.len() <= URIS_MAX);
        let uris = uris.ok_or(NotClientDocument::Member("redirect_uris"))?;
        // One that could not be sent to is passed over: the client may have it for others.
        let redirect_uris = uris.iter().filter_map(|uri| RedirectUri::parse(uri.as_str()?));
        let bound = match document.get("dpop_bound_access_tokens") {
            None => false,
            Some(Value::Bool(bound)) => *bound,
            Some(_) => return Err(NotClientDocument::Member("dpop_bound_access_tokens")),
        };
        let name = document.get("client_name").and_then(Value::as_str);
        let name = name.map(|name| name.chars().take(NAME_MAX).collect());
        Ok(Self { name, redirect_uris: redirect_uris.collect(), bound })
    }

    /// Whether answers to the client may go to `asked`.
    pub fn admits(&self, asked: &RedirectUri) -> bool {
        self.redirect_uris.iter().any(|own| own.is(asked))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "https://client.example/oauth.json";

    /// A document with nothing wrong, but for `change`.
    fn check(change: &Value, expected: Result<(), NotClientDocument>) {
        let mut document = json!({
            "client_id": ID,
            "client_name": "A client",
            "redirect_uris": ["http://127.0.0.1/cb", "app://cb"],
            "token_endpoint_auth_method": "none",
        });
        for (name, value) in change.as_object().expect("an object") {
            match value {
                Value::Null => drop(document.as_object_mut().expect("an object").remove(name)),
                value => document[name] = value.clone(),
            }
        }
        let read = ClientDocument::read(&document, ID);
        assert_eq!(read.as_ref().map(drop).map_err(|error| *error), expected, "{change}");
        let asked = RedirectUri::parse("http://127.0.0.1:8/cb").expect("it is one");
        assert!(read.is_err() || read.is_ok_and(|read| read.admits(&asked)));
    }

    #[test]
    fn ma_04_a_document_is_the_clients_own_and_says_all_that_counts() {
        use NotClientDocument::{Authentication, Grant, Member, OfAnother};
        check(&json!({}), Ok(()));
        check(&json!({ "grant_types": ["authorization_code", "refresh_token"] }), Ok(()));
        check(&json!({ "response_types": ["code"], "client_name": null, "x": 1 }), Ok(()));
        check(&json!({ "dpop_bound_access_tokens": true }), Ok(()));
        for other in ["https://client.example/oauth.json/", "https://CLIENT.example/oauth.json", ""]
        {
            check(&json!({ "client_id": other }), Err(OfAnother));
        }
        check(&json!({ "client_id": null }), Err(OfAnother));
        check(&json!({ "client_id": [ID] }), Err(OfAnother));
        for method in
            [json!("client_secret_basic"), json!("private_key_jwt"), json!(1), Value::Null]
        {
            check(&json!({ "token_endpoint_auth_method": method }), Err(Authentication));
        }
        check(&json!({ "client_secret": "x" }), Err(Member("client_secret")));
        check(&json!({ "grant_types": ["implicit"] }), Err(Grant));
        check(&json!({ "response_types": "code" }), Err(Grant));
        for uris in [json!([]), json!("http://127.0.0.1/cb"), Value::Null] {
            check(&json!({ "redirect_uris": uris }), Err(Member("redirect_uris")));
        }
        check(
            &json!({ "dpop_bound_access_tokens": "no" }),
            Err(Member("dpop_bound_access_tokens")),
        );
    }

    #[test]
    fn n_072_a_client_id_is_the_url_of_one_document_with_one_spelling() {
        let check =
            |text: &str, expected| assert_eq!(client_id(text).is_some(), expected, "{text}");
        check(ID, true);
        check("https://client.example:8443/a/b.json?v=1", true);
        for text in [
            "https://client.example",
            "https://client.example/",
            "https://client.example/?a",
            "https://client.example/a/../b",
            "https://client.example/./b",
            "https://client.example/a#b",
            "https://client.example:443/a",
            "https://Client.example/a",
            "https://user@client.example/a",
            "https://127.0.0.1/a",
            "http://client.example/a",
            "bot",
            &format!("https://client.example/{}", "a".repeat(ID_MAX)),
        ] {
            check(text, false);
        }
    }
}
