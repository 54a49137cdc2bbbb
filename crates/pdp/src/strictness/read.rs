//! `strictness.yaml` as it is written.

use model::RiskLevel;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{CallRule, DepartureRule, LASTS_MAX_S, Seconds, Strictness, TokenRule};
use crate::beside;
use crate::report::{CompileErrors, Finding};

/// The name of the file, beside the policies.
pub const STRICTNESS_FILE: &str = "strictness.yaml";

/// The most rules of one policy set, of all kinds together.
pub const STRICTNESS_MAX: usize = 64;

/// The most agents that one rule is for.
const AGENTS_MAX: usize = 64;

/// The shortest that a token can last, in seconds: who renews begins half a minute before its end.
const LASTS_MIN_S: u32 = 40;

/// The shortest within which a call may have to be attested, in seconds: a token takes a while to arrive.
const ATTESTED_MIN_S: u32 = 5;

/// The most that an instance may depart in an hour before that counts.
const AFTER_MAX: i64 = 1_000;

/// For how many hours an instance is at risk at most: a month.
const LASTS_MAX_H: i64 = 30 * 24;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: Option<Vec<Spanned<TokenRule>>>,
    calls: Option<Vec<Spanned<CallRule>>>,
    departures: Option<Vec<Spanned<DepartureRule>>>,
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
        let File { tokens, calls, departures } = beside::read(STRICTNESS_FILE, text)?;
        if tokens.is_none() && calls.is_none() && departures.is_none() {
            let message =
                "it says none of `tokens`, `calls` and `departures`: say one, or remove the file";
            let message = message.to_owned();
            return Err(Finding::at(STRICTNESS_FILE, None, message).into());
        }
        let (tokens, calls) = (tokens.unwrap_or_default(), calls.unwrap_or_default());
        let departures = departures.unwrap_or_default();
        let of_tokens = tokens.iter().flat_map(|rule| at(rule, wrong_with_tokens(&rule.value)));
        let of_calls = calls.iter().flat_map(|rule| at(rule, wrong_with_calls(&rule.value)));
        let departing = departures.iter();
        let of_departures = departing.flat_map(|it| at(it, wrong_with_departures(&it.value)));
        let mut wrong: Vec<_> = of_tokens.chain(of_calls).chain(of_departures).collect();
        if tokens.len() + calls.len() + departures.len() > STRICTNESS_MAX {
            let message = format!("more than {STRICTNESS_MAX} rules: name several agents in one");
            wrong.push(Finding::at(STRICTNESS_FILE, None, message));
        }
        if wrong.is_empty() {
            Ok(Self {
                tokens: tokens.into_iter().map(|rule| rule.value).collect(),
                calls: calls.into_iter().map(|rule| rule.value).collect(),
                departures: departures.into_iter().map(|rule| rule.value).collect(),
            })
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

fn wrong_with_departures(rule: &DepartureRule) -> Vec<String> {
    let DepartureRule { after, risk, lasts_h, agents, .. } = rule;
    let is_within = |member: &str, said: Option<i64>, most: i64| {
        let is_within = said.is_none_or(|said| (1..=most).contains(&said));
        (!is_within).then(|| format!("`{member}` is not within 1 and {most}"))
    };
    let is_high = *risk == Some(RiskLevel::High);
    // At high risk an instance is quarantined until a person has looked, and that no count decides.
    let high = is_high.then(|| "`risk` is neither `low` nor `medium`".to_owned());
    let says_nothing = after.is_none() && risk.is_none() && lasts_h.is_none();
    let nothing = says_nothing.then(|| "it says none of `after`, `risk` and `lasts_h`".to_owned());
    let said = [
        is_within("after", *after, AFTER_MAX),
        high,
        is_within("lasts_h", *lasts_h, LASTS_MAX_H),
        nothing,
        too_many(agents.len()),
    ];
    said.into_iter().flatten().collect()
}

fn is_within(member: &str, Seconds(value): Seconds, least: u32) -> Option<String> {
    let is_within = (least..=LASTS_MAX_S).contains(&value);
    (!is_within).then(|| format!("`{member}` is not within {least} and {LASTS_MAX_S}"))
}

fn too_many(agents: usize) -> Option<String> {
    (agents > AGENTS_MAX).then(|| format!("more than {AGENTS_MAX} agents: write several rules"))
}
