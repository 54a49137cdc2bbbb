//! The organisation's OpenID provider, in small (OpenID Connect Core 1.0, authorization code with PKCE):
//! whoever comes is Carla, without being asked. The rest is as it must be: a code is good once, for the
//! client and the redirect URI that it was given for, and for who has the verifier.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use keys::{KeyAlgorithm, SigningKey, TokenKeys};
use oauth::{client_assertion, jws};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::instance::{jti, now};

/// The client: the service.
const CLIENT: &str = "chancery";

/// How the provider calls the person.
pub(crate) const SUBJECT: &str = "c-7";

/// The parameters of a query or a form.
type Parameters = BTreeMap<String, String>;

/// The provider, which runs as long as the program.
pub(crate) struct Provider {
    /// Its issuer.
    pub(crate) issuer: String,
    /// By which the service shows it who it is.
    pub(crate) client_key: SigningKey,
}

/// What it knows.
struct Known {
    issuer: String,
    key: Arc<SigningKey>,
    client: keys::VerifyingKey,
    redirect_uri: String,
    /// What each code that nobody redeemed was asked for with.
    codes: Mutex<BTreeMap<String, Parameters>>,
}

impl Provider {
    /// Starts it, for a service whose pages are at `people_url`.
    pub(crate) async fn start(people_url: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("loopback has no port")?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let client_key = SigningKey::generate(KeyAlgorithm::Es256)?;
        let known = Known {
            issuer: issuer.clone(),
            key: Arc::new(SigningKey::generate(KeyAlgorithm::Es256)?),
            client: client_key.verifying().clone(),
            redirect_uri: format!("{people_url}/login/callback"),
            codes: Mutex::default(),
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::new(known));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { issuer, client_key })
    }

    /// What the service's configuration says of it; `key` is where the client's key lies.
    pub(crate) fn configuration(&self, key: &str) -> Value {
        json!({ "issuer": self.issuer, "client_id": CLIENT, "key": key, "signed_by": "ES256" })
    }
}

async fn metadata(State(known): State<Arc<Known>>) -> Json<Value> {
    let issuer = &known.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn jwks(State(known): State<Arc<Known>>) -> Json<Value> {
    Json(TokenKeys::new(known.key.clone(), Vec::new()).jwks(0))
}

/// Logs Carla in, and sends her back with a code.
async fn authorize(State(known): State<Arc<Known>>, Query(asked): Query<Parameters>) -> Response {
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|told| told == value);
    let is_known = is("client_id", CLIENT)
        && is("redirect_uri", &known.redirect_uri)
        && is("response_type", "code")
        && is("code_challenge_method", "S256");
    let (Some(state), true, Ok(code)) = (asked.get("state"), is_known, jti()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let back = oauth::form::form(&[("code", &code), ("state", state), ("iss", &known.issuer)]);
    let back = format!("{}?{back}", known.redirect_uri);
    known.codes.lock().expect("no panic while it is held").insert(code, asked);
    Redirect::to(&back).into_response()
}

/// Gives the ID token for a code, once.
async fn token(State(known): State<Arc<Known>>, Form(form): Form<Parameters>) -> Response {
    let answered = known.token(&form).ok_or_else(|| {
        (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response()
    });
    answered.map_or_else(|refused| refused, |told| Json(told).into_response())
}

impl Known {
    fn token(&self, form: &Parameters) -> Option<Value> {
        let (client, now) = ((CLIENT, self.issuer.as_str()), now());
        client_assertion::verify(form.get("client_assertion")?, client, &self.client, now).ok()?;
        let mut codes = self.codes.lock().expect("no panic while it is held");
        let asked = codes.remove(form.get("code")?)?;
        let verifier = form.get("code_verifier")?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        let has_it = keys::base64url(digest.as_ref()) == *asked.get("code_challenge")?;
        if !has_it || form.get("redirect_uri")? != &self.redirect_uri {
            return None;
        }
        let claims = json!({
            "iss": self.issuer, "sub": SUBJECT, "aud": CLIENT, "iat": now, "exp": now + 300,
            "nonce": asked.get("nonce")?,
        });
        let id_token = jws::sign("JWT", &claims, self.key.as_ref()).ok()?;
        Some(json!({ "token_type": "Bearer", "access_token": "none", "id_token": id_token }))
    }
}
