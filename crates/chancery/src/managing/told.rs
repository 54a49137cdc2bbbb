//! What is shown of what came of an act at a transmitter, a line each, and with what the command ends.
//!
//! INVARIANT: of what a transmitter told, no secret that the command was given is shown, and nothing on which
//! a terminal acts.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::anyhow;
use bytes::Bytes;
use http::{Response, StatusCode};
use secevent::{Drift, Unread};
use serde_json::{Value, json};

use crate::transmitter::retry_after;

/// The stream is other than it was asked for.
const DIFFERS: u8 = 3;

/// What was asked for was done, but not what the transmitter tells of it can be read.
const UNREAD: u8 = 4;

/// The most bytes of a refusal of which something is told, and the most characters that are.
const REFUSAL_BYTES_MAX: usize = 4 << 10;
const REFUSAL_TOLD_MAX: usize = 200;

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// As it was asked for.
    AsAsked,
    /// Something is other than it should be.
    Differs,
    /// It was done, and nobody can tell how.
    Unread,
}

/// What came of an act.
#[derive(Debug)]
pub(super) struct Came {
    /// What is told of it, a line each.
    told: Vec<Value>,
    end: End,
}

impl Came {
    /// It is done, as it was asked for.
    pub(super) fn done(told: Value) -> Self {
        Self { told: vec![told], end: End::AsAsked }
    }

    /// It is `told`, of which this is other than it should be.
    pub(super) fn with(mut told: Value, drift: &[Drift]) -> Self {
        told["drift"] = drift.iter().map(Drift::to_json).collect();
        let end = if drift.is_empty() { End::AsAsked } else { End::Differs };
        Self { told: vec![told], end }
    }

    /// There is no stream of ours.
    pub(super) fn nothing() -> Self {
        let asked = json!("a stream of ours");
        let drift = Drift { member: "stream_id", asked, told: Value::Null };
        Self::with(json!({ "stream_id": null }), &[drift])
    }

    /// What tells of a stream cannot be read.
    pub(super) fn unread(unread: &Unread, end: End) -> Self {
        let told = json!({ "stream_id": unread.id, "unread": unread.why.to_string() });
        Self { told: vec![told], end }
    }

    /// The transmitter will do it.
    pub(super) fn later(id: Option<&str>) -> Self {
        eprintln!("chancery: the transmitter has not done it yet: look again later");
        Self::done(json!({ "stream_id": id, "accepted": true }))
    }

    /// All of `each`.
    pub(super) fn all(each: Vec<Self>) -> Self {
        let end = each.iter().map(|came| came.end).max().unwrap_or(End::AsAsked);
        Self { told: each.into_iter().flat_map(|came| came.told).collect(), end }
    }

    /// The same, by the record `decision`.
    pub(super) fn decided(mut self, decision: &Value) -> Self {
        self.told.iter_mut().for_each(|told| told["decision"] = decision.clone());
        self
    }

    /// Shows it, without `secrets`; gives with what the command ends.
    pub(super) fn show(self, secrets: &Secrets) -> ExitCode {
        for mut told in self.told {
            secrets.hide(&mut told);
            println!("{}", line(&told));
        }
        match self.end {
            End::AsAsked => ExitCode::SUCCESS,
            End::Differs => {
                eprintln!(
                    "chancery: the transmitter tells of the stream otherwise than it should: see \
                     `drift`, or `unread`"
                );
                ExitCode::from(DIFFERS)
            }
            End::Unread => {
                eprintln!(
                    "chancery: the transmitter has DONE it, but what it tells of that cannot be \
                     read: see `unread`, and look by `read`; do not ask for it once more"
                );
                ExitCode::from(UNREAD)
            }
        }
    }
}

/// What shows the transmitter who asks, and us who pushes.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// These.
    pub(super) fn of(all: impl IntoIterator<Item = String>) -> Self {
        Self(all.into_iter().filter(|secret| !secret.is_empty()).collect())
    }

    fn hidden_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }

    fn hide(&self, told: &mut Value) {
        match told {
            Value::String(text) => *text = self.hidden_in(text),
            Value::Array(all) => all.iter_mut().for_each(|it| self.hide(it)),
            Value::Object(members) => members.values_mut().for_each(|it| self.hide(it)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// `told` on one line of printable ASCII: the same JSON.
fn line(told: &Value) -> String {
    let mut line = String::new();
    for c in told.to_string().chars() {
        if matches!(c, ' '..='~') {
            line.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(line, "\\u{unit:04x}");
        }
    }
    line
}

/// Whence the token is that a transmitter is shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whence {
    /// A file.
    File,
    /// A token endpoint.
    Fetched,
}

impl Whence {
    /// What helps if it does not count.
    const fn remedy(self) -> &'static str {
        match self {
            Self::File => {
                "the token of `--header-file` does not count there: have the transmitter give another"
            }
            Self::Fetched => {
                "the token that was fetched as `signals.oauth` says does not count there: look whether its \
                 endpoint and `scope` are those of the transmitter"
            }
        }
    }
}

/// Why a transmitter did not do what it was asked, and what helps.
pub(super) fn refused(
    answer: &Response<Bytes>,
    whence: Whence,
    secrets: &Secrets,
) -> anyhow::Error {
    let status = answer.status();
    let limits = json::Limits { bytes: REFUSAL_BYTES_MAX, depth: 4 };
    let said = json::parse(answer.body(), limits).unwrap_or_default();
    let said = secrets.hidden_in(said["description"].as_str().unwrap_or_default());
    let said: String = said.chars().take(REFUSAL_TOLD_MAX).collect();
    let said =
        if said.is_empty() { said } else { format!(" (`{}`)", mcp::render_untrusted(&said)) };
    let remedy = match (status, retry_after(answer.headers())) {
        (StatusCode::UNAUTHORIZED, _) => whence.remedy().to_owned(),
        (StatusCode::FORBIDDEN, _) => {
            "the token may not do that: it takes one that may manage streams (`ssf.manage`)"
                .to_owned()
        }
        (StatusCode::NOT_FOUND, _) => {
            "it has no such stream of ours: `read` without `--id` lists those that it has"
                .to_owned()
        }
        (StatusCode::CONFLICT, _) => {
            "it has a stream of ours already: `read` shows it, `update` changes it".to_owned()
        }
        (_, Some(wait)) => format!("ask again in {} s", wait.as_secs()),
        (StatusCode::TOO_MANY_REQUESTS, None) => "ask again later".to_owned(),
        _ => "that is not what SSF 1.0 has it answer to what was asked".to_owned(),
    };
    anyhow!("the transmitter answered {status}{said}: {remedy}")
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_refusal_is_told_with_what_helps_and_no_more_of_it_than_can_be_shown() {
        let secrets = Secrets::of(["s3cret".to_owned()]);
        let told = |whence: Whence, status: u16, body: &str, after: Option<&str>| {
            let mut answer = Response::builder().status(status);
            if let Some(after) = after {
                answer = answer.header(header::RETRY_AFTER, after);
            }
            let answer = answer.body(Bytes::from(body.to_owned())).unwrap();
            refused(&answer, whence, &secrets).to_string()
        };
        let check = |status: u16, body: &str, after: Option<&str>, expected: &str| {
            let told = told(Whence::File, status, body, after);
            assert!(told.contains(expected), "{told}");
            assert!(told.len() < 1_500 && !told.contains('\u{1b}'), "{told}");
        };
        check(401, "<html>", None, "answered 401 Unauthorized: the token of `--header-file`");
        let fetched = told(Whence::Fetched, 401, "", None);
        assert!(fetched.contains("`signals.oauth`") && !fetched.contains("--header-file"));
        check(403, r#"{"description":"no"}"#, None, "answered 403 Forbidden (`no`): the token");
        check(403, r#"{"description":"no s3cret"}"#, None, "answered 403 Forbidden (`no …`)");
        check(404, "", None, "has no such stream");
        check(409, "[]", None, "`update` changes it");
        check(429, "{}", Some("7"), "ask again in 7 s");
        check(429, "{}", None, "ask again later");
        check(302, "", None, "not what SSF 1.0");
        let long = json!({ "description": "\u{1b}[2J".repeat(900) }).to_string();
        check(503, &long[..4_000], None, "answered 503");
        let hidden = json!({ "description": "\u{1b}[2J".repeat(100) }).to_string();
        check(503, &hidden, Some("9"), "ask again in 9 s");
    }

    #[test]
    fn what_is_told_is_shown_in_ascii_and_without_secrets() {
        let secrets = Secrets::of(["s3cret".to_owned(), "caep.t0ken".to_owned(), String::new()]);
        let check = |mut told: Value, expected: &str| {
            secrets.hide(&mut told);
            let line = line(&told);
            assert_eq!(line, expected);
            assert_eq!(serde_json::from_str::<Value>(&line).expect("it is JSON"), told);
        };
        check(json!("a\u{202e}b\u{200b}c\u{7f}d"), r#""a\u202eb\u200bc\u007fd""#);
        check(json!("\u{1f600}\n\"ä\""), r#""\ud83d\ude00\n\"\u00e4\"""#);
        check(json!({ "a": ["Bearer s3cret", 7] }), r#"{"a":["Bearer \u2026",7]}"#);
        check(json!({ "a": { "b": "xcaep.t0keny" } }), r#"{"a":{"b":"x\u2026y"}}"#);
    }

    #[test]
    fn of_several_the_worst_ends_the_command() {
        let unread = Unread { id: None, why: secevent::AnswerError::Member("iss") };
        let drift = |came: Came| came.end;
        assert_eq!(drift(Came::all(Vec::new())), End::AsAsked);
        assert_eq!(drift(Came::nothing()), End::Differs);
        let both = vec![Came::unread(&unread, End::Differs), Came::with(json!({}), &[])];
        assert_eq!(drift(Came::all(both)), End::Differs);
    }
}
