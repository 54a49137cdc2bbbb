//! `exchange-peer`: a token exchange at the server as it is served, against npm `oidc-provider`.
//!
//! Both verify the same five signatures and make one, over HTTP, on one core, for many callers at once
//! and then for one alone. Ours decides twice and records what it did on disk; the peer does neither.

use std::path::Path;

use anyhow::{Context as _, ensure};
use keys::SigningKey;
use model::Clock as _;
use oauth::{client_assertion, form};
use serde_json::{Value, json};
use tokio::task::spawn_local;

use crate::deployment::{AGENT, Deployment, QUIET};
use crate::exchange::{CALLERS, Holder, Parties, Shown, jti, key, proof};
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

/// Measures the row.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let upstream = Upstream::start()?;
    let deployment = Deployment::start(dir, &programs.chancery, upstream.port, "")?;
    let peer = Peer::start(&programs.npm)?;
    let read = |name| anyhow::Ok(SigningKey::from_pem(&std::fs::read_to_string(name)?)?);
    let (lead, hand) = (read(deployment.key(AGENT))?, read(deployment.key(QUIET))?);
    // The host vouches for no instance here: nobody but the clients shows anything to either.
    let until = WallClock::new().now().as_seconds() + 3_600;
    let task = json!([{
        "type": "agent_task", "purpose": "care", "tools": [format!("{NAME}/{TOOL}")],
        "harm": ["moves-money"], "until": until,
    }]);
    let port = deployment.port;
    let own = Asked {
        port,
        process: deployment.id()?,
        holders: holders(port, (AGENT, &lead), None)?,
        lead: (AGENT, lead),
        hand: (QUIET, hand),
        task: Some(task.to_string()),
    };
    let (observers, mut all) = (deployment.observers, Vec::new());
    for round in 0..=ROUNDS {
        let ours = own.exchanges(|| settled(observers))?;
        let theirs = peer.asked.exchanges(|| Ok(()))?;
        // The first round is the one in which caches fill.
        if round > 0 {
            all.push((ours, theirs));
        }
    }
    let of = |get: fn(&(Took, Took)) -> f64| median(&all.iter().map(get).collect::<Vec<_>>());
    let (theirs, alone) =
        (of(|(_, it)| it.together), (of(|(it, _)| it.alone), of(|(_, it)| it.alone)));
    let rounds = all.iter().map(|(ours, theirs)| Round {
        value: ours.together,
        ratio: ours.together / theirs.together,
    });
    let against = format!(
        "`oidc-provider`: {theirs:.0} µs; one after the other they take {:.0} and {:.0} µs",
        alone.0, alone.1,
    );
    let goal = Goal { ratio_at_most: Some(0.4), ..Goal::default() };
    Ok(Row::new("exchange-peer", "µs of processor", rounds.collect()).against(against).wants(goal))
}

/// The processor time of one exchange, in microseconds.
struct Took {
    /// Many at once.
    together: f64,
    /// One after the other.
    alone: f64,
}

/// A server that is asked, and who asks it.
struct Asked<'a> {
    port: u16,
    process: u32,
    lead: (&'a str, SigningKey),
    hand: (&'a str, SigningKey),
    holders: Vec<Holder>,
    task: Option<String>,
}

impl Asked<'_> {
    fn exchanges(&self, settled: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Took> {
        let together = self.times(self.round()?, &settled)?;
        let one_by_one = vec![self.round()?.into_iter().flatten().collect()];
        Ok(Took { together, alone: self.times(one_by_one, &settled)? })
    }

    fn round(&self) -> anyhow::Result<Vec<Vec<Shown>>> {
        let parties = Parties {
            issuer: &issuer(self.port),
            resource: &resource(self.port),
            lead: (self.lead.0, &self.lead.1),
            hand: (self.hand.0, &self.hand.1),
            task: self.task.clone(),
        };
        parties.round(&self.holders, WallClock::new().now().as_seconds())
    }

    /// The processor time of one exchange, in microseconds; each part of `all` has a caller of its own.
    fn times(
        &self,
        all: Vec<Vec<Shown>>,
        settled: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<f64> {
        let times = u32::try_from(all.iter().map(Vec::len).sum::<usize>())?;
        let before = machine::cpu_time(self.process)?;
        on_load_core(async {
            let callers = all.into_iter().map(|own| spawn_local(caller(self.port, own)));
            for caller in callers.collect::<Vec<_>>() {
                caller.await??;
            }
            Ok(())
        })?;
        settled()?;
        let took = machine::cpu_time(self.process)?.saturating_sub(before);
        Ok(took.as_secs_f64() * 1e6 / f64::from(times))
    }
}

async fn caller(port: u16, own: Vec<Shown>) -> anyhow::Result<()> {
    let mut connection = Connection::open(port).await?;
    for shown in own {
        let answer = post(&mut connection, port, (&shown.form, &shown.proof)).await?;
        ensure!(answer["issued_token_type"].is_string(), "it is no exchange: {answer}");
    }
    Ok(())
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

/// The peer, which ends with this value.
struct Peer {
    asked: Asked<'static>,
    _server: Server,
}

impl Peer {
    fn start(npm: &Path) -> anyhow::Result<Self> {
        let (port, lead, hand) = (free_port()?, key()?, key()?);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/peer.mjs");
        let jwks = json!({ "lead": lead.verifying().to_jwk(), "hand": hand.verifying().to_jwk() });
        let modules = npm.join("node_modules").display().to_string();
        let script = script.display().to_string();
        let arguments = [&script, &modules, &port.to_string(), &jwks.to_string()];
        let server =
            Server::start_until(Path::new("node"), &arguments.map(String::as_str), "ready")?;
        let holders = holders(port, ("lead", &lead), Some("call"))?;
        let (lead, hand, process) = (("lead", lead), ("hand", hand), server.id());
        let asked = Asked { port, process, lead, hand, holders, task: None };
        Ok(Self { asked, _server: server })
    }
}

fn issuer(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn resource(port: u16) -> String {
    format!("http://127.0.0.1:{port}/mcp/{NAME}")
}

/// Holders with a token each, of `scope` where that has to be said. The host vouches for none of them
/// here: nobody but the clients shows anything to either server.
fn holders(
    port: u16,
    lead: (&str, &SigningKey),
    scope: Option<&str>,
) -> anyhow::Result<Vec<Holder>> {
    on_load_core(async {
        let (mut connection, mut holders) = (Connection::open(port).await?, Vec::new());
        for _ in 0..CALLERS {
            let key = key()?;
            let token = subject_token((&mut connection, port), lead, &key, scope).await?;
            holders.push(Holder { key, token });
        }
        Ok(holders)
    })
}

async fn subject_token(
    (connection, port): (&mut Connection, u16),
    (name, lead): (&str, &SigningKey),
    holder: &SigningKey,
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
    let answer = post(connection, port, (&form, &proof)).await?;
    Ok(answer["access_token"].as_str().context("no token")?.to_owned())
}
