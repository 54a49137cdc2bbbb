//! `chancery system initiate`: what a system signs to start an agent's work for a person.

use anyhow::Context as _;
use keys::SigningKey;
use model::{Clock as _, Entropy as _};
use oauth::initiation::{self, AskedTask, Initiation};

use crate::cli::Initiate;
use crate::system::{SystemClock, SystemEntropy};

/// Signs what was asked for and writes it to standard output.
pub(crate) fn run(asked: Initiate) -> anyhow::Result<()> {
    let pem = keys::read_private(&asked.key).context("could not read the system's key")?;
    let pem = String::from_utf8(pem).unwrap_or_default();
    let key = SigningKey::from_pem(&pem)
        .with_context(|| format!("`{}` does not hold a system's key", asked.key.display()))?;
    let now = SystemClock::new().now().as_seconds();
    let mut jti = [0; 16];
    SystemEntropy::new().fill(&mut jti);
    let Initiate { name, url, subject, agent, purpose, tools, minutes, .. } = asked;
    let (harm, objects, max_calls) = (asked.harm, asked.objects, asked.max_calls);
    let until = now + i64::from(minutes) * 60;
    let kind = "agent_task".to_owned();
    let max_tasks_a_day = None;
    let task = AskedTask { kind, purpose, tools, harm, objects, max_calls, max_tasks_a_day, until };
    let (jti, exp) = (keys::base64url(&jti), now + initiation::LIFETIME_MAX_S);
    let issuer = url.unwrap_or_else(crate::dev::url);
    let said = Initiation { subject, agent, task, jti, exp };
    let parties = (name.as_str(), issuer.trim_end_matches('/'));
    println!("{}", initiation::make(parties, &key, now, &said)?);
    Ok(())
}
