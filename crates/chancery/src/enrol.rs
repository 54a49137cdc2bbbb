//! `chancery login`: this device gets a key, asks a person to enrol it, and waits for the answer.
//!
//! The key stays in a file of this user's (0600), which is never overwritten: a key whose enrolment is
//! over is enrolled anew.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use keys::{KeyAlgorithm, Signer as _, SigningKey};
use model::{Clock as _, Entropy as _, Thumbprint, Timestamp};
use oauth::device::Told;
use oauth::dpop::{self, DpopExpect};
use outbound::{HttpClient, http_client};
use serde_json::Value;

use crate::cli::Login;
use crate::system::{SystemClock, SystemEntropy};

/// How long somebody may take to answer: as long as the service waits.
const ANSWER_WITHIN: Duration = Duration::from_mins(10);

/// How much longer to wait where the service says that it was asked too soon (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// A device that asks.
struct Device {
    key: SigningKey,
    issuer: String,
    agent: String,
    name: String,
    client: HttpClient,
    /// The newest nonce that the service gave (RFC 9449 §8.2).
    nonce: Mutex<Option<String>>,
}

/// An answer of the service.
struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// Enrols this device, once somebody has answered.
pub(crate) async fn run(typed: Login) -> anyhow::Result<()> {
    let issuer = typed.url.unwrap_or_else(crate::dev::url).trim_end_matches('/').to_owned();
    let file = crate::dev::device_file(&issuer, &typed.agent)?;
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (key, name) = (own_key(&file)?, typed.name.unwrap_or_else(host));
    let (client, nonce) = (http_client()?, Mutex::default());
    let device = Device { key, issuer, agent: typed.agent, name, client, nonce };
    let answered = tokio::time::timeout(ANSWER_WITHIN, device.answered()).await;
    let (by, valid_until) = answered.context("nobody answered within ten minutes")??;
    let until = Timestamp::from_seconds(valid_until);
    println!("{by} enrolled this device for agent `{}` until {until}", device.agent);
    println!("if that is not you: chancery device revoke {} {}", device.agent, device.id());
    Ok(())
}

/// The key in `file`, which is made if there is none.
fn own_key(file: &Path) -> anyhow::Result<SigningKey> {
    if !file.exists() {
        let parent = file.parent().context("the file has a directory")?;
        let create = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        create.with_context(|| format!("could not create `{}`", parent.display()))?;
        let made = SigningKey::generate(KeyAlgorithm::Es256)?;
        keys::write_private(file, made.to_pem()?.as_bytes())?;
    }
    let pem = String::from_utf8(keys::read_private(file)?).unwrap_or_default();
    let key = SigningKey::from_pem(&pem);
    key.with_context(|| format!("`{}` does not hold the key of a device", file.display()))
}

impl Device {
    fn id(&self) -> Thumbprint {
        Thumbprint::from_bytes(self.key.public().thumbprint())
    }

    /// Asks until somebody has answered; says who enrolled it, and until when.
    async fn answered(&self) -> anyhow::Result<(String, i64)> {
        let mut shown = None;
        loop {
            let wait = match self.ask().await? {
                Some(Told::Enrolled { by, valid_until }) => return Ok((by, valid_until)),
                Some(Told::Pending { user_code, verification_uri, interval, .. }) => {
                    // A service that was started anew, or made room, knows nothing of the code before.
                    if shown.as_ref() != Some(&user_code) {
                        println!("device {}, key {}", self.name, self.id().fingerprint());
                        println!("open {verification_uri} and type the code {user_code}");
                        shown = Some(user_code);
                    }
                    Duration::from_secs(interval.max(1).cast_unsigned())
                }
                None => SLOWER,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// What the service tells; nothing if it was asked too soon.
    async fn ask(&self) -> anyhow::Result<Option<Told>> {
        let mut answer = self.post().await?;
        // By then its nonce is known.
        if answer.error()["error"] == "use_dpop_nonce" {
            answer = self.post().await?;
        }
        if answer.status.is_success() {
            let told = serde_json::from_slice(&answer.body);
            return told.map(Some).context("the answer cannot be read");
        }
        let error = answer.error();
        match (error["error"].as_str(), error["error_description"].as_str()) {
            (Some("slow_down"), _) => Ok(None),
            (error, why) => {
                let unsaid = format!("it answered {}", answer.status);
                let why = why.or(error).unwrap_or(&unsaid);
                bail!("`{}` does not enrol this device: {why}", self.issuer)
            }
        }
    }

    /// Asks once, and remembers the nonce that comes with the answer.
    async fn post(&self) -> anyhow::Result<Answer> {
        let url = format!("{}/oauth/device", self.issuer);
        let form = [("client_id", self.agent.as_str()), ("device_name", self.name.as_str())];
        let request = Request::post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", self.proof(&url)?)
            .body(Full::new(Bytes::from(oauth::form::form(&form))))?;
        let response = self.client.request(request).await.with_context(|| {
            format!("could not reach the gateway at `{}`: is it running?", self.issuer)
        })?;
        let status = response.status();
        let nonce = response.headers().get("dpop-nonce").and_then(|value| value.to_str().ok());
        if let Some(nonce) = nonce {
            *self.nonce.lock().expect("no panic while it is held") = Some(nonce.to_owned());
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error)).context("no whole answer")?;
        Ok(Answer { status, body: body.to_bytes() })
    }

    fn proof(&self, url: &str) -> anyhow::Result<String> {
        let now = SystemClock::new().now().as_seconds();
        let (method, access_token) = ("POST", None);
        let expect = DpopExpect { method, url, access_token, now, max_skew_s: 0 };
        let mut jti = [0; 16];
        SystemEntropy::new().fill(&mut jti);
        let nonce = self.nonce.lock().expect("no panic while it is held").clone();
        Ok(dpop::make_proof(&self.key, &expect, (&keys::base64url(&jti), nonce.as_deref()))?)
    }
}

impl Answer {
    /// What it says of an error; nothing if it says none.
    fn error(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
