//! Where the arguments of a call come from: what results have said in a session, remembered as digests,
//! and the arguments held against that.
//!
//! INVARIANT: what comes with a label of outsiders makes an argument untrusted or changes nothing, and
//! nothing that is read takes that back (`what_outsiders_say_is_never_trusted`). Values are compared in
//! one normal form and no otherwise: who spells one differently is not found. Labels are the guarantee.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{
    AccessRequest, Entropy, FactKey, Label, Mandate, MandateBasis, Origin, Provenance, ResourceRef,
    Sha256Digest, Sourced, Standing, TaskId,
};
use pdp::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{CommitError, Effect, Unit};
use unicode_normalization::UnicodeNormalization as _;

use crate::Authority;
use crate::labels::{JOIN_ATTEMPTS_MAX, Marking, NotJoined};
use crate::pip::{FactsError, Pip};

/// The most values of outsiders, and the most of others, that are remembered of one session. Once outsiders
/// have said more, whatever the mandate does not name is untrusted.
pub const SAID_MAX: usize = 1_024;

/// How much of a value is compared, in characters. A longer one is never trusted.
const VALUE_MAX: usize = 4_096;

/// How often JSON that stands in a text is read, one within the other.
const TEXTS_IN_TEXTS_MAX: u32 = 1;

/// What results have said in a session: digests of values, salted, and never the values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    salt: Sha256Digest,
    /// What no outsider has said.
    trusted: BTreeSet<Sha256Digest>,
    /// What outsiders may have said.
    untrusted: BTreeSet<Sha256Digest>,
    /// Whether that was too much to be remembered.
    is_over: bool,
}

/// A value as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Normal {
    text: String,
    /// Whether that is all of it.
    is_whole: bool,
}

/// What one answer says.
struct Answer {
    values: BTreeSet<Normal>,
    /// Whether no outsider has a part in it.
    is_trusted: bool,
}

/// Whether the names of an object's members are values: of an argument, which could be told by them; not of
/// an answer, in which they say what the values are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Count,
    Tell,
}

impl Normal {
    /// Trimmed, in lower case, and with compatible characters taken for one (NFKC, UAX #15).
    fn of(value: &str) -> Self {
        let mut chars = value.trim().nfkc().flat_map(char::to_lowercase).nfkc();
        let text = chars.by_ref().take(VALUE_MAX).collect();
        Self { text, is_whole: chars.next().is_none() }
    }
}

impl Said {
    fn nothing(entropy: &dyn Entropy) -> Self {
        let mut salt = [0; 32];
        entropy.fill(&mut salt);
        Self {
            salt: Sha256Digest::from_bytes(salt),
            trusted: BTreeSet::new(),
            untrusted: BTreeSet::new(),
            is_over: false,
        }
    }

    fn digest(&self, value: &Normal) -> Sha256Digest {
        let salted = [self.salt.as_bytes(), value.text.as_bytes()].concat();
        Sha256Digest::of(&salted)
    }

    fn note(&mut self, answer: &Answer) {
        for value in &answer.values {
            if self.is_over {
                return;
            }
            let digest = self.digest(value);
            if !answer.is_trusted {
                self.trusted.remove(&digest);
                self.untrusted.insert(digest);
            } else if value.is_whole
                && self.trusted.len() < SAID_MAX
                && !self.untrusted.contains(&digest)
            {
                self.trusted.insert(digest);
            }
            if self.untrusted.len() > SAID_MAX {
                // What is not remembered may be anything: nothing need be any more.
                (self.trusted, self.untrusted) = (BTreeSet::new(), BTreeSet::new());
                self.is_over = true;
            }
        }
    }

    fn origin(&self, value: &Normal) -> Origin {
        let digest = self.digest(value);
        if self.is_over || self.untrusted.contains(&digest) {
            Origin::Untrusted
        } else if value.is_whole && self.trusted.contains(&digest) {
            Origin::Trusted
        } else {
            Origin::Unknown
        }
    }
}

/// Where the arguments of `request` come from, which is made under `mandate`.
fn origins(request: &AccessRequest, mandate: &Mandate, said: Option<&Said>) -> Provenance {
    let mut provenance = Provenance::default();
    let Value::Object(arguments) = &request.input else { return provenance };
    let named: BTreeSet<Normal> = named(mandate).into_iter().map(Normal::of).collect();
    let origin = |value: &Normal| {
        if value.is_whole && named.contains(value) {
            return Origin::Mandate;
        }
        said.map_or(Origin::Unknown, |said| said.origin(value))
    };
    for (name, argument) in arguments {
        // Of one that holds several values, that which says least for it; of one without any, nobody knows.
        let worst = values(argument, Names::Count).iter().map(&origin).max();
        provenance.insert(name.clone(), worst.unwrap_or(Origin::Unknown));
    }
    provenance
}

/// What a mandate names: whose it is and whom it is given to, for what, and who began the work.
fn named(mandate: &Mandate) -> Vec<&str> {
    let mut names = vec![mandate.agent.as_str(), mandate.purpose.as_str()];
    match &mandate.basis {
        MandateBasis::Standing { sponsor } => names.push(sponsor.as_str()),
        MandateBasis::Initiated { system, subject, .. } => {
            names.extend([system.as_str(), subject.as_str()]);
        }
        MandateBasis::Consented { subject, .. } => names.push(subject.as_str()),
    }
    names
}

/// The texts and numbers in `value`. Of a truth value nobody could say where it comes from.
fn values(value: &Value, names: Names) -> BTreeSet<Normal> {
    let mut values = BTreeSet::new();
    collect(value, (names, TEXTS_IN_TEXTS_MAX), &mut values);
    values
}

fn collect(value: &Value, (names, texts): (Names, u32), into: &mut BTreeSet<Normal>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            into.insert(Normal::of(&spelt(number)));
        }
        Value::String(text) => {
            into.insert(Normal::of(text));
            let inner = || serde_json::from_str::<Value>(text).ok();
            if let Some(inner) = (texts > 0).then(inner).flatten() {
                collect(&inner, (names, texts - 1), into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, (names, texts), into)),
        Value::Object(members) => {
            if names == Names::Count {
                into.extend(members.keys().map(|name| Normal::of(name)));
            }
            members.values().for_each(|it| collect(it, (names, texts), into));
        }
    }
}

/// A number as it is spelt, whether it is written `1`, `1.0` or `1e0`.
fn spelt(number: &serde_json::Number) -> String {
    let whole = number.is_i64() || number.is_u64();
    let fraction = number.as_f64().filter(|_| !whole);
    fraction.map_or_else(|| number.to_string(), |fraction| fraction.to_string())
}

impl Pip {
    /// Where the arguments of `request` come from, if that is a call of a tool and a policy of `snapshot`
    /// looks at it.
    pub(crate) async fn provenance(
        &self,
        (request, snapshot): (&AccessRequest, &Snapshot),
        standing: &Standing,
    ) -> Result<Option<Sourced<Provenance>>, FactsError> {
        if !snapshot.remembered().said || !matches!(request.resource, ResourceRef::Tool(_)) {
            return Ok(None);
        }
        let mut reader = self.reader();
        let said: Option<Arc<Said>> = reader.find(FactKey::said(standing.root().id)).await?;
        let provenance = origins(request, &standing.mandate, said.as_deref());
        Ok(Some(reader.sourced(provenance)))
    }
}

impl Authority {
    /// Remembers what the `answer` to `request` says, where policy looks at where arguments come from: it is
    /// let go after that, or not at all. It carries what `marking` says, and `revealed`.
    pub async fn remember(
        &self,
        (marking, revealed): (&Marking, &BTreeSet<Label>),
        (request, answer): (&AccessRequest, &str),
    ) -> Result<(), NotJoined> {
        let policy = self.pip.policy();
        if !policy.snapshot.remembered().said {
            return Ok(());
        }
        let labels = policy.snapshot.labels();
        let mut carried = marking.carries.iter().chain(revealed);
        // What nothing is said of may come from anybody.
        let is_trusted = !carried.any(|label| labels.outsiders().contains(label))
            && matches!(&request.resource, ResourceRef::Tool(tool) if labels.speaks_of(tool));
        let mut said = values(&serde_json::from_str(answer)?, Names::Tell);
        if is_trusted {
            // What a tool was told is no more trusted for coming back.
            let told = values(&request.input, Names::Count);
            said.retain(|value| !told.contains(value));
        }
        let answer = Answer { values: said, is_trusted };
        for _ in 1..JOIN_ATTEMPTS_MAX {
            match self.try_remember(marking.session, &answer).await {
                Err(NotJoined::Commit(CommitError::Changed { .. })) => {}
                done => return done,
            }
        }
        self.try_remember(marking.session, &answer).await
    }

    async fn try_remember(&self, session: TaskId, answer: &Answer) -> Result<(), NotJoined> {
        let key = FactKey::said(session);
        let mut reader = self.pip.reader();
        let known: Option<Arc<Said>> = reader.find(key.clone()).await?;
        let Sourced { value: known, keys, revision } = reader.sourced(known);
        let before = known.unwrap_or_else(|| Arc::new(Said::nothing(self.entropy.as_ref())));
        let mut said = before.as_ref().clone();
        said.note(answer);
        if said == *before {
            return Ok(());
        }
        let effects = vec![Effect::Put { key, body: json::canonical_of(&said) }];
        let unit = Unit { effects, reads: keys, revision, ..Unit::default() };
        self.journal.store().commit(unit).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
