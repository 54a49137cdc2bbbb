//! `chancery doctor`: what is enforced on this machine and what is not, each with its remedy.
//!
//! It looks and changes nothing but for one small file beside the database, by which it measures a
//! sync. What it says of the running service is what the service says of itself.

mod clients;
mod files;
mod host;
mod leases;
mod policy;
mod purposes;
mod service;
mod silence;

use std::process::ExitCode;

use model::Clock as _;
use serde::Serialize;

use crate::cli::Doctor;
use crate::config::Config;

/// Something that should be enforced here is not.
const NOT_ENFORCED: u8 = 5;

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// It holds, and could be better.
    Weak,
    /// It does not hold.
    Broken,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Observation {
    /// What it is about, in one word.
    pub(crate) area: &'static str,
    /// How it stands.
    pub(crate) state: State,
    /// What was found.
    pub(crate) what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

impl Observation {
    fn ok(area: &'static str, what: impl Into<String>) -> Self {
        Self { area, state: State::Ok, what: what.into(), remedy: None }
    }

    fn weak(area: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { area, state: State::Weak, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn broken(area: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { area, state: State::Broken, what: what.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything and says what it found.
pub(crate) async fn run(doctor: Doctor) -> anyhow::Result<ExitCode> {
    let config =
        crate::config::read(&doctor.config.config, crate::system::environment().into_iter())?;
    let observations = all(&config).await;
    if doctor.json {
        println!("{}", serde_json::to_string_pretty(&observations)?);
    } else {
        observations.iter().for_each(print);
    }
    let least = if doctor.strict { State::Weak } else { State::Broken };
    let is_found = observations.iter().any(|observation| observation.state >= least);
    Ok(if is_found { ExitCode::from(NOT_ENFORCED) } else { ExitCode::SUCCESS })
}

async fn all(config: &Config) -> Vec<Observation> {
    let mut observations = files::check(config);
    observations.extend(host::check(config));
    observations.extend(service::check(config).await);
    let now = crate::system::SystemClock::new().now();
    observations.extend(policy::check(config, now).await);
    observations.extend(leases::check(config, now).await);
    observations.extend(purposes::check(config).await);
    observations.extend(silence::check(config).await);
    let home = crate::system::environment().into_iter().find(|(name, _)| name == "HOME");
    let home = home.map(|(_, home)| home.into());
    observations.extend(clients::check(home, std::env::current_dir().ok()));
    observations
}

fn print(observation: &Observation) {
    let Observation { area, state, what, remedy } = observation;
    let state = match state {
        State::Ok => "ok",
        State::Weak => "weak",
        State::Broken => "BROKEN",
    };
    println!("{state:<7} {area:<11} {what}");
    if let Some(remedy) = remedy {
        println!("{:<19} -> {remedy}", "");
    }
}
