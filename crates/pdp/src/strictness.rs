//! What a policy set says of how strict it is with whom, beyond what it permits (`strictness.yaml`).
//!
//! What a token rests on is looked at when it is issued: who vouches for the instance, and every proof of the
//! chain of renewals. A token that lasts less is looked at more often, and is worth less to who steals it; a call
//! that wants a new token, or one of its own, has it looked at just before. Here it is only said what a call
//! wants; the commit that permits it uses the token up, or refuses it.
//!
//! Where an instance departs from what is declared of it, it is said here how often that is let pass, and what
//! follows; whoever commits the act counts.
//!
//! INVARIANT: a rule of tokens or calls makes stricter, and none makes less strict: of all that meet, the shortest counts, and
//! it is never longer than a token lasts anyhow (`r_3_…`).

mod compared;
mod departures;
mod read;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use model::{AccessRequest, AgentName, Denial, Facts, Harm, PrincipalFacts, ResourceRef, Standing};
use serde::Deserialize;

use crate::Bundle;
use crate::report::CompileErrors;
pub use compared::Before;
use departures::DepartureRule;
pub use departures::{Tolerance, calling_departs, departs};
pub use read::{STRICTNESS_FILE, STRICTNESS_MAX};

/// How long a token lasts at most of which nothing is said, in seconds.
const LASTS_MAX_S: u32 = 300;

/// How long before the end of its token `chancery mcp` asks for the next, in seconds.
const RENEW_BEFORE_S: u32 = 30;

/// How strict it is.
#[derive(Debug, Default)]
pub struct Strictness {
    tokens: Vec<TokenRule>,
    calls: Vec<CallRule>,
    departures: Vec<DepartureRule>,
}

/// How long those tokens last that meet all that is said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRule {
    description: String,
    lasts_s: Seconds,
    /// The agents whose tokens they are, or who handed the work on.
    #[serde(default)]
    agents: BTreeSet<AgentName>,
    /// The harm that the task lets do.
    #[serde(default)]
    harm: BTreeSet<Harm>,
}

/// With which tokens those tools are called that meet all that is said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallRule {
    description: String,
    /// For how many such calls it is good, if that is said.
    token: Option<Uses>,
    /// How long ago it may have been issued, in seconds, if that is said.
    attested_s: Option<Seconds>,
    /// The agents who call, or who handed the work on.
    #[serde(default)]
    agents: BTreeSet<AgentName>,
    /// The harm that the tool does.
    #[serde(default)]
    harm: BTreeSet<Harm>,
}

/// A time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(from = "i64")]
struct Seconds(u32);

/// For how many calls a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Uses {
    /// One of those for which this is said.
    Once,
}

impl Strictness {
    /// What the file of `bundle` says, if it has one.
    pub fn of(bundle: &Bundle) -> Result<Self, CompileErrors> {
        bundle.strictness.as_deref().map(Self::read).transpose().map(Option::unwrap_or_default)
    }

    /// How long a token lasts for who stands as `standing` says, if anything is said of it.
    pub fn tokens_last(&self, standing: &Standing) -> Option<Duration> {
        let rules = self.tokens.iter().filter(|rule| rule.is_met(standing));
        rules.map(|rule| Duration::from_secs(rule.lasts_s.0.into())).min()
    }

    /// Whether a call uses up the token that was shown, if that is new enough for it.
    pub(crate) fn uses_token(
        &self,
        request: &AccessRequest,
        facts: &Facts,
    ) -> Result<bool, Denial> {
        let (ResourceRef::Tool(_), PrincipalFacts::Instance(standing)) =
            (&request.resource, &facts.principal)
        else {
            return Ok(false);
        };
        let (mut is_met, mut is_once, mut within_s) = (false, false, LASTS_MAX_S);
        let rules = self.calls.iter().filter(|rule| rule.is_met(standing, facts));
        for rule in rules {
            is_met = true;
            is_once |= rule.token == Some(Uses::Once);
            within_s = within_s.min(rule.within_s());
        }
        let is_too_old = facts.session.token_age_s.is_none_or(|age| age > within_s.into());
        if is_met && is_too_old { Err(Denial::TokenTooOld { within_s }) } else { Ok(is_once) }
    }

    /// The rules, each with what it costs, or what follows.
    pub fn rules(&self) -> impl Iterator<Item = &dyn fmt::Display> {
        let tokens = self.tokens.iter().map(|rule| rule as &dyn fmt::Display);
        let calls = self.calls.iter().map(|rule| rule as &dyn fmt::Display);
        let departures = self.departures.iter().map(|rule| rule as &dyn fmt::Display);
        tokens.chain(calls).chain(departures)
    }
}

/// Whether one of these agents has a part in the work; each, if there are none.
fn is_of(agents: &BTreeSet<AgentName>, standing: &Standing) -> bool {
    agents.is_empty() || standing.hops().any(|hop| agents.contains(&hop.agent.name))
}

impl TokenRule {
    fn is_met(&self, standing: &Standing) -> bool {
        let Self { agents, harm, .. } = self;
        // Reading is in every scope. What an elevation lets do beyond the task may do any harm.
        let may = &standing.task.scope.harm;
        let does = |class: &Harm| *class == Harm::ReadsData || may.contains(class);
        let is_elevated = !standing.elevations.is_empty();
        let is_harm = harm.is_empty() || is_elevated || harm.iter().any(does);
        is_of(agents, standing) && is_harm
    }
}

impl CallRule {
    /// How old the token may be, in seconds.
    fn within_s(&self) -> u32 {
        self.attested_s.map_or(LASTS_MAX_S, |Seconds(within_s)| within_s)
    }

    fn is_met(&self, standing: &Standing, facts: &Facts) -> bool {
        let Self { agents, harm, .. } = self;
        // Of a tool of which nothing is known it is not known either that it does no such harm.
        let does = facts.tool.as_ref().is_none_or(|tool| !harm.is_disjoint(&tool.harm));
        is_of(agents, standing) && (harm.is_empty() || does)
    }
}

impl fmt::Display for TokenRule {
    /// What it says, and what it costs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { description, lasts_s: Seconds(lasts_s), .. } = self;
        let (now, usual) = (renewals(*lasts_s), renewals(LASTS_MAX_S));
        write!(
            f,
            "{description}: tokens last {lasts_s} s, which costs an instance at work up to "
        )?;
        write!(f, "{now} renewals an hour for each server, in place of {usual}")
    }
}

impl fmt::Display for CallRule {
    /// What it says, and what it costs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { description, token, attested_s, .. } = self;
        let once = token.map(|Uses::Once| {
            "each call needs a token of its own, which costs a renewal a call, and every other call is \
             refused once before it"
                .to_owned()
        });
        let attested = attested_s.map(|Seconds(within_s)| {
            let usual = renewals(LASTS_MAX_S);
            let now = 3_600_u32.div_ceil(within_s).max(usual);
            format!(
                "attested at most {within_s} s before a call, which costs an instance at work up to {now} \
                 renewals an hour for each server, in place of {usual}, and as many calls are refused once \
                 before it"
            )
        });
        let said: Vec<_> = once.into_iter().chain(attested).collect();
        write!(f, "{description}: {}", said.join("; "))
    }
}

/// How often an hour somebody renews who begins half a minute before the end.
const fn renewals(lasts_s: u32) -> u32 {
    3_600_u32.div_ceil(lasts_s - RENEW_BEFORE_S)
}
