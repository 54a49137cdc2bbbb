//! What is recorded, decided again by another policy set: what flips.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use pap::{Command as Asked, PolicyFiles};
use serde_json::{Value, json};

use crate::cli::Since;
use crate::{reach, socket};

/// What came of deciding again.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    decided: u64,
    same: u64,
    erased: u64,
    damaged: u64,
    /// Those that hang on what nobody took note of, such as which tools were called before.
    unknown: u64,
    /// Those that hang on whether the token had been used before.
    needs_token: u64,
    /// Flips that are alike, over all pages, with how often.
    flips: BTreeMap<String, (u64, Value)>,
    /// Decisions that flip, of kinds beyond those that a page tells.
    more: u64,
    /// Those of them that permit more than before, or for less.
    more_widen: u64,
}

/// Has `files` decide what was recorded within `since`, all of it without that.
pub(crate) async fn run(
    files: &PolicyFiles,
    since: Option<Duration>,
    socket: &Path,
) -> anyhow::Result<Replayed> {
    let since = since.map(|back| reach::at(Since::Ago(back)));
    let (mut from, mut replayed) = (0, Replayed::default());
    loop {
        // What must be answered decides nothing: each page is asked for without it.
        let files = PolicyFiles { cases: BTreeMap::new(), ..files.clone() };
        let told = socket::call(socket, &Asked::PolicyReplay { files, from, since }).await?;
        replayed.add(&told);
        let Some(next) = told["next"].as_u64() else { break };
        from = next;
        eprint!("\r{from} records");
    }
    eprintln!();
    Ok(replayed)
}

impl Replayed {
    fn add(&mut self, told: &Value) {
        let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
        self.decided += number(told, "decided");
        self.same += number(told, "same");
        self.erased += number(told, "erased");
        self.damaged += number(told, "damaged");
        self.unknown += number(told, "unknown");
        self.needs_token += number(told, "needs_token");
        self.more += number(told, "more");
        self.more_widen += number(told, "more_widen");
        for flip in told["flips"].as_array().into_iter().flatten() {
            let alike = self.flips.entry(flip["kind"].to_string());
            let (times, _) = alike.or_insert_with(|| (0, flip.clone()));
            *times += number(flip, "times");
        }
    }

    /// Whether nothing flips, nor may for want of a token, all could be read, and every flip is told; where `all` is
    /// wanted, whether all was decided again, too.
    pub(crate) fn passes(&self, all: bool) -> bool {
        self.flips.is_empty() && if all { self.is_all() } else { self.is_whole() }
    }

    /// Whether all could be read, none may flip for want of a token, and every flip is told.
    const fn is_whole(&self) -> bool {
        self.damaged == 0 && self.needs_token == 0 && self.more == 0
    }

    /// Whether all was decided again, and every flip is told.
    pub(crate) const fn is_all(&self) -> bool {
        self.is_whole() && self.erased == 0 && self.unknown == 0
    }

    /// Forgets the flips whose kind is not `wanted`.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&Value) -> bool) {
        self.flips.retain(|_, (_, flip)| wanted(&flip["kind"]));
    }

    /// How many decisions flip.
    pub(crate) fn flipped(&self) -> u64 {
        self.flips.values().map(|(times, _)| times).sum()
    }

    /// How many decisions flip in each way.
    fn totals(&self) -> BTreeMap<&str, u64> {
        let mut totals = BTreeMap::new();
        for (times, flip) in self.flips.values() {
            *totals.entry(flip["kind"]["flip"].as_str().unwrap_or("-")).or_default() += times;
        }
        totals
    }

    /// The same, for programs.
    pub(crate) fn told(&self) -> Value {
        let flips = self.flips.values().map(|(times, flip)| {
            json!({ "kind": flip["kind"], "times": times, "example": flip["example"] })
        });
        json!({
            "decided": self.decided, "same": self.same, "erased": self.erased,
            "damaged": self.damaged, "unknown": self.unknown, "needs_token": self.needs_token,
            "is_all": self.is_all(),
            "flips": flips.collect::<Vec<_>>(), "totals": self.totals(), "more": self.more,
            "more_widen": self.more_widen,
        })
    }
}

/// What is said of a flip that permits more than before, or for less.
fn widening(flip: &str) -> &'static str {
    if ["newly_permitted", "owes_less"].contains(&flip) { ", a widening" } else { "" }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (times, flip) in self.flips.values() {
            let kind = &flip["kind"];
            let text = |name: &str| kind[name].as_str().unwrap_or("-").to_owned();
            let widening = widening(&text("flip"));
            let by = kind["administrator"].as_str();
            let by = by.map(|by| format!("asked by {by}, ")).unwrap_or_default();
            writeln!(
                f,
                "{} {times}{widening}: {by}agent {}, sponsor {}, {} on {}: {} (such as {})",
                text("flip"),
                text("agent"),
                text("sponsor"),
                text("action"),
                text("resource"),
                text("by"),
                flip["example"].as_str().unwrap_or_default(),
            )?;
        }
        for (flip, times) in self.totals() {
            writeln!(f, "in all {flip} {times}{}", widening(flip))?;
        }
        let Self { decided, same, erased, damaged, unknown, needs_token, more, .. } = self;
        if *more > 0 {
            let widen = self.more_widen;
            writeln!(
                f,
                "{more} more flip, of kinds that are not told; {widen} of them a widening"
            )?;
        }
        writeln!(
            f,
            "{decided} decided again, {same} alike; {erased} erased, {damaged} cannot be read"
        )?;
        if *unknown > 0 {
            writeln!(f, "{unknown} unknown: nobody took note of what they hang on")?;
        }
        let left_out = erased + unknown;
        if left_out > 0 {
            writeln!(f, "not all was decided again: {left_out} are left out, which may flip")?;
        }
        if *needs_token > 0 {
            let why = "nobody knows whether theirs had been used";
            writeln!(f, "{needs_token} would need a token of their own: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What pages that tell this sum up to.
    fn replayed(pages: &[Value]) -> Replayed {
        let mut replayed = Replayed::default();
        for told in pages {
            replayed.add(told);
        }
        replayed
    }

    #[test]
    fn what_flips_and_is_not_told_is_summed_up_and_is_not_alike() {
        let replayed = replayed(&[json!({ "more": 2, "more_widen": 1 }), json!({ "more": 3 })]);
        assert_eq!(replayed.told()["more"], 5);
        let says = "5 more flip, of kinds that are not told; 1 of them a widening\n";
        assert!(replayed.to_string().contains(says), "{replayed}");
        assert!(!replayed.passes(false) && !replayed.is_all());
    }

    #[test]
    fn what_permits_more_or_for_less_is_named_a_widening_and_counted() {
        let flip = |flip: &str, agent: &str, times: u64| json!({ "kind": { "flip": flip, "agent": agent }, "times": times, "example": "dec_1" });
        let (one, other) = (flip("owes_less", "billing", 2), flip("owes_less", "reader", 3));
        let more = flip("owes_more", "reader", 1);
        let kind = json!({
            "flip": "owes_more", "administrator": "ann", "agent": "reader", "sponsor": "kim",
        });
        let administered = json!({ "kind": kind, "times": 4, "example": "dec_2" });
        let replayed = replayed(&[
            json!({ "flips": [one, more, administered] }),
            json!({ "flips": [one, other] }),
        ]);
        let told = replayed.to_string();
        for says in [
            "owes_less 4, a widening: agent billing, ",
            "owes_more 1: agent reader, ",
            "owes_more 4: asked by ann, agent reader, sponsor kim, ",
            "in all owes_less 7, a widening\nin all owes_more 5\n",
        ] {
            assert!(told.contains(says), "{says}: {told}");
        }
        assert_eq!(replayed.told()["totals"], json!({ "owes_less": 7, "owes_more": 5 }));
        assert!(!replayed.passes(false));
    }

    #[test]
    fn what_was_not_decided_again_is_not_all() {
        for (told, passes, is_all) in [
            (json!({ "decided": 1, "same": 1 }), true, true),
            (json!({ "erased": 1 }), true, false),
            (json!({ "unknown": 1 }), true, false),
            (json!({ "decided": 1, "same": 1, "needs_token": 1 }), false, false),
            (json!({ "damaged": 1 }), false, false),
        ] {
            let left_out = told["erased"].is_u64() || told["unknown"].is_u64();
            let replayed = replayed(&[told]);
            assert_eq!(
                (replayed.passes(false), replayed.passes(true)),
                (passes, is_all),
                "{replayed}"
            );
            assert_eq!((replayed.is_all(), &replayed.told()["is_all"]), (is_all, &json!(is_all)));
            let told = replayed.to_string().contains("not all was decided again: 1 are left out");
            assert_eq!(told, left_out, "{replayed}");
        }
    }
}
