//! `exchange-peer`: a token exchange at the server as it is served, against npm `oidc-provider`.
//!
//! Both verify the same five signatures and make one, over HTTP, on one core. Ours decides twice and
//! records what it did on disk; the peer does neither.

use std::path::Path;

use anyhow::{Context as _, ensure};
use keys::SigningKey;
use model::Clock as _;
use oauth::{client_assertion, form};
use serde_json::{Value, json};

use crate::deployment::{AGENT, Deployment, QUIET};
use crate::exchange::{Parties, jti, key, proof};
use crate::governed::{Programs, settled};
use crate::http::Connection;
use crate::load::on_load_core;
use crate::machine;
use crate::process::{Server, free_port};
use crate::report::{Goal, Round, Row};
use crate::stats::median;
use crate::upstream::{NAME, TOOL, Upstream};
use crate::world::WallClock;

const ROUNDS: usize = 5;

/// How many exchanges a round makes: one task is handed on ten thousand times at most.
const EXCHANGES: usize = 500;

/// Measures the row.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let upstream = Upstream::start()?;
    let deployment = Deployment::start(dir, &programs.chancery, upstream.port)?;
    let peer = Peer::start(&programs.npm)?;
    let read = |name| anyhow::Ok(SigningKey::from_pem(&std::fs::read_to_string(name)?)?);
    let (lead, hand) = (read(deployment.key(AGENT))?, read(deployment.key(QUIET))?);
    // The host vouches for no instance here: nobody but the clients shows anything to either.
    let holder = key()?;
    let until = WallClock::new().now().as_seconds() + 3_600;
    let task = json!([{
        "type": "agent_task", "purpose": "care", "tools": [format!("{NAME}/{TOOL}")],
        "harm": ["moves-money"], "until": until,
    }]);
    let port = deployment.port;
    let token = on_load_core(subject_token(port, (AGENT, &lead, &holder), None))?;
    let (mut theirs, mut rounds) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let parties = Parties {
            issuer: &issuer(port),
            resource: &resource(port),
            lead: (AGENT, &lead),
            hand: (QUIET, &hand),
            holder: &holder,
            token: &token,
            task: Some(task.to_string()),
        };
        let (process, observers) = (deployment.id()?, deployment.observers);
        let value = exchanges(&parties, (port, process), || settled(observers))?;
        let least = peer.exchanges()?;
        // The first round is the one in which caches fill.
        if round > 0 {
            theirs.push(least);
            rounds.push(Round { value, ratio: value / least });
        }
    }
    let against = format!("`oidc-provider`: {:.0} µs", median(&theirs));
    let goal = Goal { ratio_at_most: Some(0.4), ..Goal::default() };
    Ok(Row::new("exchange-peer", "µs of processor", rounds).against(against).wants(goal))
}

/// The processor time of one exchange at the server with this port and process, in microseconds.
fn exchanges(
    parties: &Parties<'_>,
    (port, process): (u16, u32),
    settled: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let now = WallClock::new().now().as_seconds();
    let made: Vec<_> = (0..EXCHANGES).map(|_| parties.shown(now)).collect::<anyhow::Result<_>>()?;
    let before = machine::cpu_time(process)?;
    on_load_core(async {
        let mut connection = Connection::open(port).await?;
        for shown in &made {
            let answer = post(&mut connection, port, (&shown.form, &shown.proof)).await?;
            ensure!(answer["issued_token_type"].is_string(), "it is no exchange: {answer}");
        }
        Ok(())
    })?;
    settled()?;
    let took = machine::cpu_time(process)?.saturating_sub(before);
    Ok(took.as_secs_f64() * 1e6 / f64::from(u32::try_from(EXCHANGES)?))
}

async fn post(
    connection: &mut Connection,
    port: u16,
    (form, proof): (&str, &str),
) -> anyhow::Result<Value> {
    let message = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ndpop: {proof}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len(),
    );
    let answer = connection.ask(message.as_bytes()).await?;
    let body = connection.body(&answer);
    ensure!(answer.status == 200, "refused: {}", String::from_utf8_lossy(body));
    Ok(serde_json::from_slice(body)?)
}

/// The peer, with a holder and its token.
struct Peer {
    server: Server,
    port: u16,
    lead: SigningKey,
    hand: SigningKey,
    holder: SigningKey,
    token: String,
}

impl Peer {
    fn start(npm: &Path) -> anyhow::Result<Self> {
        let (port, lead, hand, holder) = (free_port()?, key()?, key()?, key()?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/peer.mjs");
        let jwks = json!({ "lead": lead.verifying().to_jwk(), "hand": hand.verifying().to_jwk() });
        let modules = npm.join("node_modules").display().to_string();
        let script = script.display().to_string();
        let arguments = [&script, &modules, &port.to_string(), &jwks.to_string()];
        let server =
            Server::start_until(Path::new("node"), &arguments.map(String::as_str), "ready")?;
        let token = on_load_core(subject_token(port, ("lead", &lead, &holder), Some("call")))?;
        Ok(Self { server, port, lead, hand, holder, token })
    }

    fn exchanges(&self) -> anyhow::Result<f64> {
        let parties = Parties {
            issuer: &issuer(self.port),
            resource: &resource(self.port),
            lead: ("lead", &self.lead),
            hand: ("hand", &self.hand),
            holder: &self.holder,
            token: &self.token,
            task: None,
        };
        exchanges(&parties, (self.port, self.server.id()), || Ok(()))
    }
}

fn issuer(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn resource(port: u16) -> String {
    format!("http://127.0.0.1:{port}/mcp/{NAME}")
}

/// A token for the holder's key, of `scope` where that has to be said.
async fn subject_token(
    port: u16,
    (name, lead, holder): (&str, &SigningKey, &SigningKey),
    scope: Option<&str>,
) -> anyhow::Result<String> {
    let (issuer, now) = (issuer(port), WallClock::new().now().as_seconds());
    let assertion = client_assertion::make((name, &issuer), lead, now, &jti())?;
    let resource = resource(port);
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", name),
        ("client_assertion_type", client_assertion::TYPE),
        ("client_assertion", &assertion),
        ("resource", &resource),
    ];
    fields.extend(scope.map(|scope| ("scope", scope)));
    let form = form::form(&fields);
    let proof = proof(holder, &format!("{issuer}/oauth/token"), now)?;
    let answer = post(&mut Connection::open(port).await?, port, (&form, &proof)).await?;
    Ok(answer["access_token"].as_str().context("no token")?.to_owned())
}
