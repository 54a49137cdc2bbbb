//! What a policy set says of how strict it is with whom, beyond what it permits (`strictness.yaml`).
//!
//! What a token rests on is looked at when it is issued: who vouches for the instance, and every proof of the
//! chain of renewals. A token that lasts less is looked at more often, and is worth less to who steals it.
//!
//! INVARIANT: a rule makes stricter, and none makes less strict: of all that meet, the shortest counts, and
//! it is never longer than a token lasts anyhow (`r_3_…`).

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use model::{AgentName, Harm, Standing};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::beside;
use crate::report::{CompileErrors, Finding};

/// The name of the file, beside the policies.
pub const STRICTNESS_FILE: &str = "strictness.yaml";

/// The most rules of one policy set.
pub const STRICTNESS_MAX: usize = 64;

/// The most agents that one rule is for.
const AGENTS_MAX: usize = 64;

/// How long a token lasts at most of which nothing is said, in seconds.
const LASTS_MAX_S: u32 = 300;

/// The shortest that a token can last, in seconds: who renews begins half a minute before its end.
const LASTS_MIN_S: u32 = 40;

/// How long tokens last.
#[derive(Debug, Default)]
pub struct Strictness(Vec<TokenRule>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Vec<Spanned<TokenRule>>,
}

/// How long those tokens last that meet all that is said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRule {
    description: String,
    lasts_s: u32,
    /// The agents whose tokens they are, or who handed the work on.
    #[serde(default)]
    agents: BTreeSet<AgentName>,
    /// The harm that the task lets do.
    #[serde(default)]
    harm: BTreeSet<Harm>,
}

impl Strictness {
    /// Reads the file.
    pub(crate) fn read(text: &str) -> Result<Self, CompileErrors> {
        let File { tokens } = beside::read(STRICTNESS_FILE, text)?;
        let mut wrong = Vec::new();
        if tokens.len() > STRICTNESS_MAX {
            let message = format!("more than {STRICTNESS_MAX} rules");
            wrong.push(Finding::at(STRICTNESS_FILE, None, message));
        }
        for Spanned { value, referenced, .. } in &tokens {
            let line = usize::try_from(referenced.line()).ok();
            if !(LASTS_MIN_S..=LASTS_MAX_S).contains(&value.lasts_s) {
                let message = format!("`lasts_s` is not within {LASTS_MIN_S} and {LASTS_MAX_S}");
                wrong.push(Finding::at(STRICTNESS_FILE, line, message));
            }
            if value.agents.len() > AGENTS_MAX {
                let message = format!("more than {AGENTS_MAX} agents");
                wrong.push(Finding::at(STRICTNESS_FILE, line, message));
            }
        }
        if wrong.is_empty() {
            Ok(Self(tokens.into_iter().map(|rule| rule.value).collect()))
        } else {
            Err(CompileErrors(wrong))
        }
    }

    /// How long a token lasts for who stands as `standing` says, if anything is said of it.
    pub fn tokens_last(&self, standing: &Standing) -> Option<Duration> {
        let rules = self.0.iter().filter(|rule| rule.is_met(standing));
        rules.map(|rule| Duration::from_secs(rule.lasts_s.into())).min()
    }

    /// The rules, each with what it costs.
    pub fn rules(&self) -> &[TokenRule] {
        &self.0
    }
}

impl TokenRule {
    fn is_met(&self, standing: &Standing) -> bool {
        let Self { agents, harm, .. } = self;
        let mut names = standing.hops().map(|hop| &hop.agent.name);
        let is_agent = agents.is_empty() || names.any(|name| agents.contains(name));
        // Reading is in every scope. What an elevation lets do beyond the task may do any harm.
        let may = &standing.task.scope.harm;
        let does = |class: &Harm| *class == Harm::ReadsData || may.contains(class);
        let is_elevated = !standing.elevations.is_empty();
        let is_harm = harm.is_empty() || is_elevated || harm.iter().any(does);
        is_agent && is_harm
    }
}

impl fmt::Display for TokenRule {
    /// What it says, and what it costs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { description, lasts_s, .. } = self;
        let (now, usual) = (renewals(*lasts_s), renewals(LASTS_MAX_S));
        write!(
            f,
            "{description}: tokens last {lasts_s} s, which costs an instance at work up to "
        )?;
        write!(f, "{now} renewals an hour for each server, in place of {usual}")
    }
}

/// How often an hour somebody renews who begins half a minute before the end.
const fn renewals(lasts_s: u32) -> u32 {
    3_600_u32.div_ceil(lasts_s - RENEW_BEFORE_S)
}

/// How long before the end of its token `chancery mcp` asks for the next, in seconds.
const RENEW_BEFORE_S: u32 = 30;
