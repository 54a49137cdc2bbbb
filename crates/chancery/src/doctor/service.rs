//! What the running service says of itself: whether it can do its work, and which servers answer
//! without it.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use model::Timestamp;
use outbound::http_client;
use pap::Command as Asked;
use serde_json::Value;

use super::Observation;
use crate::attestation::MISSING;
use crate::config::Config;
use crate::isolate::ISOLATION;
use crate::socket;
use crate::status::CLOCK_UNSURE;

/// The largest answer of the observers' listener, in bytes.
const ANSWER_MAX: usize = 1 << 20;

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
    observations.extend(of_metrics(metrics(config).await));
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

async fn metrics(config: &Config) -> anyhow::Result<Vec<String>> {
    let (is_good, lines) = told(config, "metrics").await?;
    ensure!(is_good, "it refuses to");
    Ok(lines)
}

/// What the metrics tell, or that they tell nothing.
fn of_metrics(told: anyhow::Result<Vec<String>>) -> Vec<Observation> {
    match told {
        Ok(lines) => {
            clock(&lines).into_iter().chain(isolation(&lines)).chain(platforms(&lines)).collect()
        }
        Err(error) => {
            let what = format!(
                "it did not tell of its clock, of how servers are kept apart, and of platforms: {error:#}"
            );
            let remedy = "look whether `/metrics` of `listen.admin` can be read from here";
            vec![Observation::weak("service", what, remedy)]
        }
    }
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

/// Whether the service trusts its clock, if it tells.
fn clock(metrics: &[String]) -> Option<Observation> {
    let unsure = metrics.iter().find_map(|line| line.strip_prefix(CLOCK_UNSURE))?;
    if unsure.trim() == "0" {
        return Some(Observation::ok("clock", "the service trusts its clock"));
    }
    let what = "the service does not trust its clock, and denies everything";
    let remedy = "set the clock right, then `chancery clock trust` (docs/failure-table.md)";
    Some(Observation::broken("clock", what, remedy))
}

/// How the service keeps the servers apart that it starts: as whoever it runs as.
fn isolation(metrics: &[String]) -> Vec<Observation> {
    let of_servers =
        metrics.iter().filter_map(|line| line.strip_prefix(ISOLATION)?.strip_prefix('{'));
    let told = of_servers.filter_map(|line| {
        let mut values = line.split('"').skip(1).step_by(2);
        let (server, how) = (values.next()?, values.next()?);
        let broken = |how: &str| {
            let what = format!("the service starts `{server}` {how}");
            Observation::broken("isolation", what, "see docs/isolation.md")
        };
        Some(match how {
            "none" => broken("without isolating it"),
            "refused" => broken("not: it cannot be isolated"),
            how => {
                let what = format!("the service starts `{server}` apart ({how})");
                Observation::ok("isolation", what)
            }
        })
    });
    told.collect()
}

/// Whose word on workloads counts now.
fn platforms(metrics: &[String]) -> Vec<Observation> {
    let told = metrics.iter().filter_map(|line| line.strip_prefix(MISSING)?.strip_prefix('{'));
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::State;
    use super::*;

    #[test]
    fn the_service_tells_of_its_clock_and_of_its_servers() {
        let check = |metrics: &[&str], expected: &[(State, &str)]| {
            let metrics: Vec<_> = metrics.iter().map(|line| (*line).to_owned()).collect();
            let found = of_metrics(Ok(metrics));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, (state, what)) in found.iter().zip(expected) {
                assert_eq!(found.state, *state, "{found:?}");
                assert!(found.what.contains(what), "{found:?}");
            }
        };
        check(&[], &[]);
        check(&["chancery_clock_unsure 0"], &[(State::Ok, "trusts its clock")]);
        check(&["chancery_clock_unsure 1"], &[(State::Broken, "does not trust")]);
        let server = |how: &str| {
            format!(
                "chancery_server_isolation{{server=\"crm\",isolation=\"{how}\",landlock=\"7\"}} 1"
            )
        };
        check(&[&server("user")], &[(State::Ok, "`crm` apart (user)")]);
        check(&[&server("namespace")], &[(State::Ok, "`crm` apart (namespace)")]);
        check(&[&server("none")], &[(State::Broken, "`crm` without isolating it")]);
        check(&[&server("refused")], &[(State::Broken, "`crm` not")]);
    }

    #[tokio::test]
    async fn what_the_metrics_do_not_tell_is_told() {
        let check = async |status: &str, size: usize, expected: &[State]| {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("it is bound");
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("chancery.yaml");
            let text = format!("state_dir: state\nlisten: {{ admin: {address} }}\n");
            std::fs::write(&path, text).expect("it can be written");
            let config = crate::config::read(&path, std::iter::empty()).expect("it is in order");
            let clock = format!("{CLOCK_UNSURE} 0\n");
            let answer = format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n{clock}{}",
                "#".repeat(size - clock.len())
            );
            let answers = async {
                let (mut stream, _) = listener.accept().await.expect("it is asked");
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            };
            let (told, ()) = tokio::join!(metrics(&config), answers);
            let states: Vec<_> = of_metrics(told).iter().map(|it| it.state).collect();
            assert_eq!(states, expected, "{status}, {size}");
        };
        check("200 OK", ANSWER_MAX, &[State::Ok]).await;
        check("200 OK", ANSWER_MAX + 1, &[State::Weak]).await;
        check("503 Service Unavailable", 64, &[State::Weak]).await;
    }
}
