//! What the running service says of itself: whether it can do its work, and which servers answer
//! without it.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use model::Timestamp;
use outbound::http_client;
use pap::Command as Asked;
use serde_json::Value;

use super::Observation;
use crate::attestation::MISSING;
use crate::config::Config;
use crate::socket;

/// The largest answer of `/readyz`, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// Asks the service.
pub(super) async fn check(config: &Config) -> Vec<Observation> {
    let listed = match socket::call(&config.admin_socket(), &Asked::ServerList).await {
        Ok(listed) => listed,
        Err(error) => {
            let remedy = "start it with `chancery serve`, or run this as its user";
            return vec![Observation::weak(
                "service",
                format!("it was not asked: {error:#}"),
                remedy,
            )];
        }
    };
    let mut observations = vec![ready(config).await];
    observations.extend(platforms(config).await);
    observations.extend(enforcement(&listed));
    observations.extend(stops(config).await);
    observations
}

/// Whether it is ready, and what is wrong if it is not.
async fn ready(config: &Config) -> Observation {
    match readiness(config).await {
        Ok(troubles) if troubles.is_empty() => Observation::ok("service", "it is ready"),
        Ok(troubles) => Observation::broken(
            "service",
            troubles.join("; "),
            "see docs/failure-table.md, and its log",
        ),
        Err(error) => {
            let what = format!("its observers' listener does not answer: {error:#}");
            Observation::weak(
                "service",
                what,
                "look whether `listen.admin` can be reached from here",
            )
        }
    }
}

async fn readiness(config: &Config) -> anyhow::Result<Vec<String>> {
    let (is_ready, mut lines) = told(config, "readyz").await?;
    lines.retain(|line| !line.starts_with("policy "));
    Ok(if is_ready { Vec::new() } else { lines })
}

/// What the observers' listener tells at `path`, a line each, and whether that is good news.
async fn told(config: &Config, path: &str) -> anyhow::Result<(bool, Vec<String>)> {
    let url = format!("{}://{}/{path}", config.scheme(), config.listen.admin);
    let request = http::Request::get(url).body(Full::<Bytes>::default())?;
    let response = http_client()?.request(request).await.context("no connection")?;
    let is_good = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    Ok((is_good, String::from_utf8_lossy(&body).lines().map(str::to_owned).collect()))
}

/// Whose word on workloads counts now.
async fn platforms(config: &Config) -> Vec<Observation> {
    let (_, lines) = told(config, "metrics").await.unwrap_or_default();
    let told = lines.iter().filter_map(|line| line.strip_prefix(MISSING)?.strip_prefix('{'));
    told.map(|line| {
        let name = line.split('"').nth(1).unwrap_or_default();
        if line.ends_with(" 0") {
            return Observation::ok("platforms", format!("`{name}` vouches for its workloads"));
        }
        let what = format!("there are no keys of `{name}`: its workloads are refused");
        let remedy = "look at `attestation` in the configuration, and at the service's log";
        Observation::broken("platforms", what, remedy)
    })
    .collect()
}

/// Which servers refuse what does not come through the service.
fn enforcement(listed: &Value) -> Vec<Observation> {
    let rows = listed.as_array().into_iter().flatten();
    let servers = rows.filter(|row| row["enforcement"].is_string() && row["name"].is_string());
    let mut observations: Vec<_> = servers
        .map(|server| {
            let (name, how) = (&server["name"], server["enforcement"].as_str().unwrap_or_default());
            let name = name.as_str().unwrap_or_default();
            if how == "mandatory" {
                return Observation::ok(
                    "servers",
                    format!("`{name}` refuses who does not come from here"),
                );
            }
            let what = format!("`{name}` is {how}: who reaches it directly is not governed");
            let remedy = "let it verify our assertion (docs/mcp.md), or let nobody else reach it";
            Observation::weak("servers", what, remedy)
        })
        .collect();
    if observations.is_empty() {
        observations.push(Observation::ok("servers", "none is onboarded"));
    }
    observations
}

/// What administrators have stopped.
async fn stops(config: &Config) -> Vec<Observation> {
    let listed = match socket::call(&config.admin_socket(), &Asked::StopList).await {
        Ok(listed) => listed,
        Err(error) => {
            let what = format!("it did not tell what is stopped: {error:#}");
            return vec![Observation::weak("stops", what, "see its log")];
        }
    };
    let stops = listed.as_array().into_iter().flatten();
    let told = stops.map(|stop| {
        let text = |member: &str| stop[member].as_str().unwrap_or_default();
        let (what, by, reason) = (text("what"), text("by"), text("reason"));
        let since = Timestamp::from_millis(stop["since"].as_i64().unwrap_or_default());
        let stopped = format!("`{what}` is stopped since {since}, by {by}: {reason}");
        let remedy = "two administrators start it again (docs/stop.md)";
        Observation::weak("stops", stopped, remedy)
    });
    told.collect()
}
