//! `strictness.yaml` as it is written.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{CallRule, LASTS_MAX_S, Seconds, Strictness, TokenRule};
use crate::beside;
use crate::report::{CompileErrors, Finding};

/// The name of the file, beside the policies.
pub const STRICTNESS_FILE: &str = "strictness.yaml";

/// The most rules of one policy set, of tokens and of calls together.
pub const STRICTNESS_MAX: usize = 64;

/// The most agents that one rule is for.
const AGENTS_MAX: usize = 64;

/// The shortest that a token can last, in seconds: who renews begins half a minute before its end.
const LASTS_MIN_S: u32 = 40;

/// The shortest within which a call may have to be attested, in seconds: a token takes a while to arrive.
const ATTESTED_MIN_S: u32 = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Option<Vec<Spanned<TokenRule>>>,
    calls: Option<Vec<Spanned<CallRule>>>,
}

/// One that is below zero, or more than there can be, is none: it is told as out of bounds.
impl From<i64> for Seconds {
    fn from(seconds: i64) -> Self {
        Self(u32::try_from(seconds).unwrap_or(0))
    }
}

impl Strictness {
    /// Reads the file.
    pub(super) fn read(text: &str) -> Result<Self, CompileErrors> {
        let File { tokens, calls } = beside::read(STRICTNESS_FILE, text)?;
        if tokens.is_none() && calls.is_none() {
            let message =
                "it says neither `tokens` nor `calls`: say one, or remove the file".to_owned();
            return Err(Finding::at(STRICTNESS_FILE, None, message).into());
        }
        let (tokens, calls) = (tokens.unwrap_or_default(), calls.unwrap_or_default());
        let of_tokens = tokens.iter().flat_map(|rule| at(rule, wrong_with_tokens(&rule.value)));
        let of_calls = calls.iter().flat_map(|rule| at(rule, wrong_with_calls(&rule.value)));
        let mut wrong: Vec<_> = of_tokens.chain(of_calls).collect();
        if tokens.len() + calls.len() > STRICTNESS_MAX {
            let message = format!("more than {STRICTNESS_MAX} rules: name several agents in one");
            wrong.push(Finding::at(STRICTNESS_FILE, None, message));
        }
        if wrong.is_empty() {
            let tokens = tokens.into_iter().map(|rule| rule.value).collect();
            Ok(Self { tokens, calls: calls.into_iter().map(|rule| rule.value).collect() })
        } else {
            Err(CompileErrors(wrong))
        }
    }
}

/// What is `wrong` with `rule`, and where that stands.
fn at<T>(rule: &Spanned<T>, wrong: Vec<String>) -> Vec<Finding> {
    let line = usize::try_from(rule.referenced.line()).ok();
    wrong.into_iter().map(|message| Finding::at(STRICTNESS_FILE, line, message)).collect()
}

fn wrong_with_tokens(rule: &TokenRule) -> Vec<String> {
    let lasts = is_within("lasts_s", rule.lasts_s, LASTS_MIN_S);
    lasts.into_iter().chain(too_many(rule.agents.len())).collect()
}

fn wrong_with_calls(rule: &CallRule) -> Vec<String> {
    let attested = rule.attested_s.and_then(|it| is_within("attested_s", it, ATTESTED_MIN_S));
    let says_nothing = rule.token.is_none() && rule.attested_s.is_none();
    let nothing =
        says_nothing.then(|| "it says neither `token` nor `attested_s`: say one".to_owned());
    attested.into_iter().chain(nothing).chain(too_many(rule.agents.len())).collect()
}

fn is_within(member: &str, Seconds(value): Seconds, least: u32) -> Option<String> {
    let is_within = (least..=LASTS_MAX_S).contains(&value);
    (!is_within).then(|| format!("`{member}` is not within {least} and {LASTS_MAX_S}"))
}

fn too_many(agents: usize) -> Option<String> {
    (agents > AGENTS_MAX).then(|| format!("more than {AGENTS_MAX} agents: write several rules"))
}
