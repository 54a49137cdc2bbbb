//! A provider in memory: its documents, its keys, and what it was asked.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use bytes::Bytes;
use http::StatusCode;
use keys::{KeyAlgorithm, Signer as _, SigningKey};
use serde_json::{Value, json};

use super::{ACCESS_TOKEN, ISSUER};
use crate::{EndpointUrl, SignatureAlgorithm, TokenRequest, Transport, TransportError};

pub(super) const METADATA: &str = "https://id.example/.well-known/openid-configuration";
pub(super) const JWKS: &str = "https://id.example/keys";

/// RSA keys take long to make, so all tests have the same.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static OTHER_RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static P256: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(KeyAlgorithm::Es256).unwrap());
static ED25519: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(KeyAlgorithm::EdDsa).unwrap());

/// A key that signs.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Rsa(SignatureAlgorithm),
    /// A key that the provider does not publish.
    OtherRsa,
    Curve(&'static SigningKey),
}

impl Key {
    /// The provider's key for `algorithm`.
    pub(super) fn of(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256 => Self::Rsa(algorithm),
            SignatureAlgorithm::Es256 => Self::Curve(&P256),
            SignatureAlgorithm::EdDsa => Self::Curve(&ED25519),
        }
    }

    pub(super) fn signature(self, input: &[u8]) -> Vec<u8> {
        let (pair, encoding) = match self {
            Self::Curve(key) => return key.sign(input).unwrap(),
            Self::Rsa(SignatureAlgorithm::Ps256) => {
                (&RSA, &RSA_PSS_SHA256 as &'static dyn aws_lc_rs::signature::RsaEncoding)
            }
            Self::Rsa(_) => (&RSA, &RSA_PKCS1_SHA256 as _),
            Self::OtherRsa => (&OTHER_RSA, &RSA_PKCS1_SHA256 as _),
        };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), input, &mut signature).unwrap();
        signature
    }

    /// A compact JWS over exactly these texts.
    pub(super) fn sign_texts(self, header: &str, claims: &str) -> String {
        let encode = |text: &str| keys::base64url(text.as_bytes());
        let input = format!("{}.{}", encode(header), encode(claims));
        format!("{input}.{}", keys::base64url(&self.signature(input.as_bytes())))
    }

    pub(super) fn sign(self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// The public half as the provider publishes it, by the name `kid`.
    pub(super) fn jwk(self, kid: &str) -> Value {
        let pair = match self {
            Self::Curve(key) => {
                let mut jwk = key.verifying().to_jwk();
                jwk["kid"] = kid.into();
                return jwk;
            }
            Self::Rsa(_) => &RSA,
            Self::OtherRsa => &OTHER_RSA,
        };
        // `RSAPublicKey` (RFC 8017 A.1.1): the modulus lies between two heads and the exponent.
        let der = pair.public_key().as_ref();
        assert_eq!((der.len(), &der[265..]), (270, [2, 3, 1, 0, 1].as_slice()));
        let (n, e) = (keys::base64url(&der[9..265]), keys::base64url(&der[267..]));
        json!({ "kty": "RSA", "n": n, "e": e, "kid": kid, "use": "sig" })
    }
}

/// What was sent to the token endpoint.
#[derive(Clone, Debug)]
pub(super) struct Redeemed {
    pub(super) url: String,
    pub(super) form: BTreeMap<String, String>,
    pub(super) authorization: Option<String>,
}

/// The provider.
pub(super) struct Scripted {
    pub(super) signed_by: SignatureAlgorithm,
    documents: Mutex<BTreeMap<String, Value>>,
    fetched: Mutex<Vec<String>>,
    answer: Mutex<Option<(u16, String)>>,
    redeemed: Mutex<Vec<Redeemed>>,
}

impl Scripted {
    pub(super) fn new(signed_by: SignatureAlgorithm) -> Self {
        let keys = json!({ "keys": [Key::of(signed_by).jwk("first")] });
        let documents = [(METADATA, metadata(signed_by)), (JWKS, keys)];
        let documents = documents.map(|(url, document)| (url.to_owned(), document));
        Self {
            signed_by,
            documents: Mutex::new(documents.into()),
            fetched: Mutex::default(),
            answer: Mutex::default(),
            redeemed: Mutex::default(),
        }
    }

    /// The header of its ID tokens.
    pub(super) fn header(&self) -> Value {
        json!({ "alg": self.signed_by.as_str(), "kid": "first" })
    }

    /// Publishes `document` at `url`; nothing, where it is null.
    pub(super) fn publish(&self, url: &str, document: Value) {
        let mut documents = self.documents.lock().unwrap();
        match document {
            Value::Null => drop(documents.remove(url)),
            document => drop(documents.insert(url.to_owned(), document)),
        }
    }

    /// Publishes what `change` makes of its metadata.
    pub(super) fn change_metadata(&self, change: impl FnOnce(&mut Value)) {
        change(self.documents.lock().unwrap().get_mut(METADATA).unwrap());
    }

    pub(super) fn answer_with(&self, id_token: &str) {
        let body = json!({
            "access_token": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": "the-refresh-token",
            "id_token": id_token,
        });
        self.answer(200, &body.to_string());
    }

    /// What its token endpoint answers.
    pub(super) fn answer(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = Some((status, body.to_owned()));
    }

    /// How often `url` was fetched.
    pub(super) fn fetches(&self, url: &str) -> usize {
        self.fetched.lock().unwrap().iter().filter(|fetched| *fetched == url).count()
    }

    pub(super) fn fetched(&self) -> Vec<String> {
        self.fetched.lock().unwrap().clone()
    }

    pub(super) fn redeemed(&self) -> Vec<Redeemed> {
        self.redeemed.lock().unwrap().clone()
    }
}

/// Metadata of which nothing can be left out.
fn metadata(signed_by: SignatureAlgorithm) -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://id.example/authorize",
        "token_endpoint": "https://id.example/token",
        "jwks_uri": JWKS,
        "response_types_supported": ["code", "id_token"],
        "id_token_signing_alg_values_supported": [signed_by.as_str()],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    })
}

#[async_trait]
impl Transport for Scripted {
    async fn document(&self, url: &EndpointUrl) -> Result<Value, TransportError> {
        self.fetched.lock().unwrap().push(url.as_str().to_owned());
        let documents = self.documents.lock().unwrap();
        documents.get(url.as_str()).cloned().ok_or_else(|| TransportError("gone".into()))
    }

    async fn tokens(
        &self,
        url: &EndpointUrl,
        request: TokenRequest,
    ) -> Result<(StatusCode, Bytes), TransportError> {
        let form = form_urlencoded::parse(request.form.expose().as_bytes()).into_owned().collect();
        let authorization = request.authorization.map(|secret| secret.expose().clone());
        let url = url.as_str().to_owned();
        self.redeemed.lock().unwrap().push(Redeemed { url, form, authorization });
        let answer = self.answer.lock().unwrap().clone();
        let (status, body) = answer.ok_or_else(|| TransportError("gone".into()))?;
        Ok((StatusCode::from_u16(status).unwrap(), body.into()))
    }
}
