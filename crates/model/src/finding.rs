//! Findings: callers that are no active agent, as the register keeps them until somebody looks.

use serde::{Deserialize, Serialize};

use crate::{AgentName, InstanceId, PersonId, ServerName, Sha256Digest, Timestamp};

/// The longest text that a caller says of itself and that is kept, in bytes.
pub const CLAIM_MAX: usize = 120;

/// A caller that matched no active agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Names it: the digest of what tells this caller from others.
    pub id: Sha256Digest,
    /// Always `unknown`: it stands in the register beside agents.
    pub state: String,
    /// What it did, and what it says of itself: nothing of it is proven.
    pub stranger: Stranger,
    /// When it was first seen.
    pub first: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
    /// How often, in all.
    pub count: u64,
    /// Who was told, in order.
    pub told: Vec<Told>,
    /// Who looked, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

impl Finding {
    /// That `stranger` was seen at `now`, with what is known of it from `before`. One that somebody closed is
    /// open again, and told anew.
    pub fn seen(stranger: Stranger, now: Timestamp, before: Option<Self>) -> Self {
        let (id, state) = (stranger.id(), "unknown".to_owned());
        let new = Self {
            id,
            state,
            stranger,
            first: now,
            last: now,
            count: 1,
            told: Vec::new(),
            closed: None,
        };
        match before {
            Some(Self { first, count, told, closed, .. }) => {
                let told = if closed.is_some() { Vec::new() } else { told };
                Self { first, count: count + 1, told, ..new }
            }
            None => new,
        }
    }
}

/// A caller that is no active agent, as far as it can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    /// Why it is no active agent, as a stable code.
    pub cause: String,
    /// What it tried.
    pub tried: String,
    /// The server that it wanted to reach, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerName>,
    /// The address that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The network that it came from, as far as the address tells one sender from another: none on loopback
    /// and behind a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The digest of the credential that it showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Sha256Digest>,
    /// The agent that it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
    /// What it says of its software (`User-Agent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The agent that it proved to be, if it is one that shows what is another's, or departs from what is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<AgentName>,
    /// Whose it is, in that case: an instance or an agent; or the instance that departs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The person whose own credential it shows, as that says; nothing of it is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
    /// All agents that share what was seen, where they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentName>,
    /// All instances that share it, whose it is first, where that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceId>,
}

/// That somebody was told of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Who.
    pub person: PersonId,
    /// When.
    pub at: Timestamp,
}

/// That somebody looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Who.
    pub by: PersonId,
    /// When.
    pub at: Timestamp,
    /// What they found.
    pub reason: String,
}

impl Stranger {
    /// What tells this caller from others: what it claims, where it comes from, what it wants. A
    /// credential that it makes anew each time makes no other finding.
    pub fn id(&self) -> Sha256Digest {
        let server = self.server.as_ref().map(ServerName::as_str);
        let parts =
            [Some(self.cause.as_str()), self.claimed.as_deref(), self.network.as_deref(), server];
        let mut parts: Vec<_> = parts.iter().map(|part| part.unwrap_or_default()).collect();
        parts.extend(self.proven.as_ref().map(AgentName::as_str));
        parts.extend(self.holder.as_deref());
        let instances: Vec<_> = self.instances.iter().map(ToString::to_string).collect();
        parts.extend(instances.iter().map(String::as_str));
        Sha256Digest::of(parts.join("\0").as_bytes())
    }

    /// One of many whom nobody tells apart: for the same cause, at the same server.
    #[must_use]
    pub fn among_many(self) -> Self {
        let (claimed, network, proven, holder) = (None, None, None, None);
        let (agents, instances) = (Vec::new(), Vec::new());
        Self { network, claimed, proven, holder, agents, instances, ..self }
    }
}

/// What is kept of a text that a caller says of itself: printable ASCII, of bounded length.
pub fn claim(text: &str) -> Option<String> {
    let kept = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(CLAIM_MAX);
    let kept: String = kept.collect();
    (!kept.trim().is_empty()).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_107_what_a_caller_says_of_itself_is_kept_as_plain_text() {
        let check = |text: &str, kept: Option<&str>| assert_eq!(claim(text).as_deref(), kept);
        check("python/3.11", Some("python/3.11"));
        check("a\nb\u{202e}c\u{1b}[31m", Some("abc[31m"));
        check("\u{200b}\n", None);
        check("", None);
        assert_eq!(claim(&"x".repeat(CLAIM_MAX + 1)).map(|kept| kept.len()), Some(CLAIM_MAX));
    }

    #[test]
    fn another_credential_is_no_other_stranger() {
        let stranger = Stranger {
            cause: "client_unknown".to_owned(),
            tried: "token".to_owned(),
            network: Some("192.0.2.1".to_owned()),
            credential: Some(Sha256Digest::of(b"a")),
            claimed: Some("bot".to_owned()),
            ..Stranger::default()
        };
        let again = Stranger { credential: Some(Sha256Digest::of(b"b")), ..stranger.clone() };
        assert_eq!(stranger.id(), again.id());
        let elsewhere = Stranger { network: None, ..stranger.clone() };
        assert_ne!(stranger.id(), elsewhere.id());
        assert_ne!(stranger.id(), stranger.clone().among_many().id());
        assert_eq!(elsewhere.among_many().id(), stranger.among_many().id());
    }
}
