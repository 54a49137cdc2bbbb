//! Where the arguments of a call come from: what results have said in a session, remembered as codes, and the
//! arguments held against that.
//!
//! INVARIANT: what comes with a label of outsiders makes an argument untrusted or changes nothing, and
//! nothing that is read takes that back (`what_outsiders_say_is_never_trusted`). What speaks against an
//! argument is compared in one normal form, what vouches for it as it is spelt. Labels are the guarantee.
//!
//! INVARIANT: only a session trusts anything all of whose answers were remembered by one `labels.yaml`
//! (`what_was_not_remembered_all_the_time_is_not_trusted`): in another one an outsider may have said it, or
//! somebody who is one now.

mod said;
mod values;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::{
    AccessRequest, FactKey, Label, Mandate, MandateBasis, Origin, Provenance, ResourceRef, Sourced,
    Standing, Task, TaskId, TaskState, Timestamp,
};
use pdp::{Labels, Snapshot};
use serde_json::Value;
use store::{CommitError, Effect, Unit};

use crate::Authority;
use crate::in_force::Active;
use crate::labels::{JOIN_ATTEMPTS_MAX, Marking, NotJoined};
use crate::pip::{FactsError, Pip};
use crate::reader::Reader;

pub use said::SAID_MAX;
use said::{Coding, Heard, Said, Speaker};

/// The longest argument that is looked through, and the longest arguments of one call, in bytes with
/// [`EACH_VALUE`]: of what is beyond, nobody knows that outsiders have not said it.
const ARGUMENT_MAX: usize = 64 << 10;
const ARGUMENTS_MAX: usize = 4 * ARGUMENT_MAX;

/// What looking at one value takes besides its length, in bytes that could be looked at meanwhile.
const EACH_VALUE: usize = 64;

/// The most that a server was told, in bytes, by which it is seen that it says something else.
const TOLD_MAX: usize = 64 << 10;

/// The longest answer that is looked through where others wait, in bytes.
const AT_ONCE_MAX: usize = 64 << 10;

/// An answer, with what it answers.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// What was asked for.
    pub request: &'a AccessRequest,
    /// All that its server was told with that, as JSON.
    pub told: &'a str,
    /// Whether its server was told more, before or meanwhile: it asked, and was answered.
    pub is_prompted: bool,
    /// The answer, as JSON.
    pub answer: &'a str,
}

/// What is known of what was said in a session.
struct Known<'a> {
    said: &'a Said,
    coding: Coding,
    /// Whether something can be trusted.
    trusts: bool,
}

/// Where the arguments of `request` come from, which is made under `mandate`.
fn origins(request: &AccessRequest, mandate: &Mandate, known: Option<&Known<'_>>) -> Provenance {
    let mut provenance = Provenance::default();
    let Value::Object(arguments) = &request.input else { return provenance };
    let (named, mut left) = (named(request, mandate), ARGUMENTS_MAX);
    for (name, argument) in arguments {
        let room = ARGUMENT_MAX.min(left);
        let (mut own, mut worst) = (room, None);
        let all = values::all(argument, &mut |word| {
            let Some(rest) = own.checked_sub(word.len() + EACH_VALUE) else {
                return ControlFlow::Break(());
            };
            own = rest;
            let is_named = word.exact().is_some_and(|exact| named.contains(&exact));
            let origin = match known {
                _ if is_named => Origin::Mandate,
                Some(Known { said, coding, trusts }) => said.origin(word, (coding, *trusts)),
                None => Origin::Unknown,
            };
            // Of one that holds several values, that which says least for it.
            worst = worst.max(Some(origin));
            ControlFlow::Continue(())
        });
        left -= room - own;
        let beyond = || if known.is_some() { Origin::Untrusted } else { Origin::Unknown };
        let worst = if all.is_break() { Some(beyond()) } else { worst };
        // Of one without any value, nobody knows.
        provenance.insert(name.clone(), worst.unwrap_or(Origin::Unknown));
    }
    provenance
}

/// What a mandate names: whose it is and whom it is given to, for what, and who began the work; and of the server that
/// `request` is made to each single data object that it is for.
fn named<'a>(request: &AccessRequest, mandate: &'a Mandate) -> Vec<&'a str> {
    let mut names = vec![mandate.agent.as_str(), mandate.purpose.as_str()];
    match &mandate.basis {
        MandateBasis::Standing { sponsor } => names.push(sponsor.as_str()),
        MandateBasis::Initiated { system, subject, .. } => {
            names.extend([system.as_str(), subject.as_str()]);
        }
        MandateBasis::Consented { subject, .. } => names.push(subject.as_str()),
    }
    if let ResourceRef::Tool(tool) = &request.resource {
        let objects = mandate.scope.objects.iter().flatten();
        names.extend(objects.filter_map(|object| object.exact(&tool.server)));
    }
    names
}

/// Who has a part in an answer that carries what `marking` says, and `revealed`, as `labels` say now; nobody
/// if what it says is neither theirs nor ours.
fn speaker(
    labels: &Labels,
    (marking, revealed): (&Marking, &BTreeSet<Label>),
    answered: &Answered<'_>,
) -> Option<Speaker> {
    let now = labels.of(answered.request).carries;
    let mut carried = marking.carries.iter().chain(revealed).chain(&now);
    let is_of_outsiders =
        marking.is_of_outsiders || carried.any(|label| labels.outsiders().contains(label));
    // What nothing is said of may come from anybody.
    let is_known =
        matches!(&answered.request.resource, ResourceRef::Tool(tool) if labels.speaks_of(tool));
    match (is_known && !is_of_outsiders, answered.is_prompted) {
        (false, _) => Some(Speaker::Outsiders),
        (true, false) => Some(Speaker::Ours),
        (true, true) => None,
    }
}

/// Whether all that was said in a session that was `opened` then was remembered by what `snapshot` says of labels.
async fn has_heard_all(
    reader: &mut Reader<'_>,
    snapshot: &Snapshot,
    opened: Timestamp,
) -> Result<bool, FactsError> {
    let active: Option<Active> = reader.find(FactKey::active_policy()).await?;
    Ok(active.is_some_and(|active| active.has_heard_all(snapshot, opened)))
}

impl Pip {
    /// Where the arguments of `request` come from, if that is a call of a tool and a policy of `snapshot`
    /// looks at it. If only those under observation do, neither its failing nor its changing is anybody's concern.
    pub(crate) async fn provenance(
        &self,
        asked: (&AccessRequest, &Snapshot),
        standing: &Standing,
    ) -> Result<Option<Sourced<Provenance>>, FactsError> {
        let (request, remembered) = (asked.0, asked.1.remembered());
        let is_call = matches!(request.resource, ResourceRef::Tool(_)) && request.input.is_object();
        if remembered.said.is_none() || !is_call {
            return Ok(None);
        }
        let found = self.origins(asked, standing).await;
        if remembered.is_said_decisive {
            return found.map(Some);
        }
        Ok(found.ok().map(|found| Sourced { keys: Vec::new(), ..found }))
    }

    async fn origins(
        &self,
        (request, snapshot): (&AccessRequest, &Snapshot),
        standing: &Standing,
    ) -> Result<Sourced<Provenance>, FactsError> {
        let (mut reader, root) = (self.reader(), standing.root());
        let said: Option<Arc<Said>> = reader.find(FactKey::said(root.id)).await?;
        let trusts = has_heard_all(&mut reader, snapshot, root.opened).await?;
        let coding = self.coding(root.id);
        let known = said.as_deref().map(|said| Known { said, coding, trusts });
        let provenance = origins(request, &standing.mandate, known.as_ref());
        Ok(reader.sourced(provenance))
    }

    fn coding(&self, session: TaskId) -> Coding {
        Coding { key: self.saying.clone(), session }
    }
}

impl Authority {
    /// Remembers what an answer says, where policy looks at where arguments come from: it is let go after
    /// that, or not at all. It carries what `marking` says, and `revealed`.
    pub async fn remember(
        &self,
        (marking, revealed): (&Marking, &BTreeSet<Label>),
        answered: Answered<'_>,
    ) -> Result<(), NotJoined> {
        let (policy, session) = (self.pip.policy_as_it_is().await?, marking.session);
        let snapshot = policy.snapshot.as_ref();
        if snapshot.remembered().said.is_none() {
            return Ok(());
        }
        let Some(by) = speaker(snapshot.labels(), (marking, revealed), &answered) else {
            return Ok(());
        };
        match self.remember_of((session, snapshot), by, answered).await {
            Err(error) if !snapshot.remembered().is_said_decisive => {
                tracing::warn!(%error, "an answer is not remembered for policies under observation");
                Ok(())
            }
            done => done,
        }
    }

    async fn remember_of(
        &self,
        (session, snapshot): (TaskId, &Snapshot),
        by: Speaker,
        answered: Answered<'_>,
    ) -> Result<(), NotJoined> {
        // Nothing is looked through that is not remembered anyway.
        if self.said_before((session, snapshot), by).await?.is_none() {
            return Ok(());
        }
        let heard = self.heard((session, by), answered).await;
        for _ in 1..JOIN_ATTEMPTS_MAX {
            match self.try_remember((session, snapshot), (by, &heard)).await {
                Err(NotJoined::Commit(CommitError::Changed { .. })) => {}
                done => return done,
            }
        }
        self.try_remember((session, snapshot), (by, &heard)).await
    }

    async fn heard(&self, (session, by): (TaskId, Speaker), answered: Answered<'_>) -> Heard {
        let (coding, Answered { told, answer, .. }) = (self.pip.coding(session), answered);
        let told = match by {
            Speaker::Outsiders => "",
            Speaker::Ours if told.len() <= TOLD_MAX => told,
            Speaker::Ours => return Heard::unread(by),
        };
        if answer.len() <= AT_ONCE_MAX {
            return Heard::of(by, (told, answer), &coding);
        }
        let (told, answer) = (told.to_owned(), answer.to_owned());
        let heard =
            tokio::task::spawn_blocking(move || Heard::of(by, (&told, &answer), &coding)).await;
        heard.unwrap_or_else(|_| Heard::unread(by))
    }

    async fn try_remember(
        &self,
        (session, snapshot): (TaskId, &Snapshot),
        (by, heard): (Speaker, &Heard),
    ) -> Result<(), NotJoined> {
        let Some(before) = self.said_before((session, snapshot), by).await? else { return Ok(()) };
        let Sourced { value: before, keys, revision } = before;
        let mut said = before.as_ref().clone();
        said.note(heard);
        if said == *before {
            return Ok(());
        }
        let (key, body) = (FactKey::said(session), json::canonical_of(&said));
        let effects = vec![Effect::Put { key, body }];
        let unit = Unit { effects, reads: keys, revision, ..Unit::default() };
        self.journal.store().commit(unit).await?;
        Ok(())
    }

    /// What was said in `session` before, if something of `by` is still remembered beside it.
    async fn said_before(
        &self,
        (session, snapshot): (TaskId, &Snapshot),
        by: Speaker,
    ) -> Result<Option<Sourced<Arc<Said>>>, FactsError> {
        let mut reader = self.pip.reader();
        let task: Task = reader.need(FactKey::task(session)).await?;
        let said: Option<Arc<Said>> = reader.find(FactKey::said(session)).await?;
        let said = said.unwrap_or_default();
        let trusts = has_heard_all(&mut reader, snapshot, task.opened).await?;
        let counts = by == Speaker::Outsiders || trusts;
        let is_remembered = counts && task.state == TaskState::Open && said.has_room(by);
        Ok(is_remembered.then(|| reader.sourced(said)))
    }
}
