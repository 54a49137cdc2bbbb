//! Permits: the right to perform one act, once.

use std::sync::Arc;
use std::time::Duration;

use model::record::{Disclosure, OutcomeKind, PeopleCommitments};
use model::{
    AccessRequest, ActDigest, Agent, Binding, Clock, DecisionId, Entropy, FactKey, Grant,
    Obligation, Revision, SessionFacts, Sha256Digest, Sourced, Standing, Timestamp,
};
use serde_json::Value;
use store::{Effect, NewEntry, OnceScope};

use crate::labels::Marking;
use crate::outcomes::{End, OutcomeSlot};

/// A permit that was not begun within this time is not begun.
pub const BEGIN_WITHIN: Duration = Duration::from_secs(1);

/// For how long after its end it is remembered that a token was used.
const USED_FOR: Duration = Duration::from_mins(1);

/// Something that must be permitted before it happens: a tool call, a token, a publication.
pub trait Governed: Send {
    /// The question to put to the decision point.
    fn request(&self) -> &AccessRequest;
    /// The same, for whoever keeps it beside the act.
    fn shared_request(&self) -> Arc<AccessRequest> {
        Arc::new(self.request().clone())
    }
    /// How, from where and by whom it is asked.
    fn circumstances(&self) -> &Circumstances;
    /// What the act rests on that no decision reads: it is not permitted if that has changed since it
    /// was read.
    fn rests(&self) -> Option<(&[FactKey], Revision)> {
        None
    }
    /// Whether whoever asks would still be taken for an instance of `agent`, who acts, as that is now: it is not
    /// permitted otherwise.
    fn is_of(&self, _agent: &Agent) -> bool {
        true
    }
    /// What a permit in this context entails.
    fn entails(&self, _context: &PermitContext, _entropy: &dyn Entropy) -> Option<Entailed> {
        None
    }
}

/// What is recorded and written together with a permit, in its commit.
pub struct Entailed {
    /// The record, in the log after the decision.
    pub entry: NewEntry,
    /// What is sealed with it, under the sponsor's key.
    pub disclosure: Disclosure,
    /// The fact that it writes besides, if it writes one: its key and its canonical JSON.
    pub writes: Option<(FactKey, Vec<u8>)>,
}

/// Who acts, as far as it is established.
#[derive(Clone, Debug)]
pub enum Actor {
    /// An instance that is in the register.
    Known(model::InstanceId),
    /// An instance that will be in the register if the act is permitted.
    Proposed {
        /// What its standing will be, with what that was made from.
        standing: Box<Sourced<Arc<Standing>>>,
        /// What enters it in the register.
        effects: Vec<Effect>,
        /// What is recorded with that, after the decision.
        entries: Vec<NewEntry>,
    },
}

/// How, from where and by whom an act is asked for.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// Who acts.
    pub actor: Actor,
    /// How the caller's token is bound.
    pub binding: Binding,
    /// The caller's token, where an act is asked for by showing one.
    pub token: Option<ShownToken>,
    /// The enforcement point and its kind (`gateway/mcp-http`).
    pub point: &'static str,
    /// When the request arrived, on the monotonic clock.
    pub arrived: Duration,
    /// The W3C trace id, if the request had one.
    pub trace: Option<String>,
    /// What asking uses up, whatever the answer: the proof's `jti`.
    pub uses: Vec<Effect>,
    /// What comes with the act and no policy reads, or the digest of it: the record commits to each
    /// under its name.
    pub enclosed: Vec<(&'static str, Value)>,
}

/// A token by which an act is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownToken {
    /// The digest of its id, as the record of its issuance names it.
    pub jti: Sha256Digest,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

impl ShownToken {
    /// Uses it up: for longer than it is good, if the clock steps back.
    pub(crate) fn used(&self) -> Effect {
        let (scope, id) = (OnceScope::Token, *self.jti.as_bytes());
        Effect::UseOnce { scope, id, expires: self.expires.plus(USED_FOR) }
    }
}

impl Circumstances {
    /// What decisions read of them.
    pub(crate) fn shown(&self) -> (Binding, Option<Timestamp>) {
        (self.binding, self.token.map(|token| token.issued))
    }
}

/// What is known about a permitted act besides the act itself.
#[derive(Clone, Debug)]
pub struct PermitContext {
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// Where the decision is in the log.
    pub index: u64,
    /// When it was decided.
    pub decided: Timestamp,
    /// Who acts, as it was decided on.
    pub standing: Arc<Standing>,
    /// The digest of the whole act.
    pub act: ActDigest,
    /// The facts that the decision rests on: what cuts the act when it changes.
    pub reads: Vec<FactKey>,
    /// When the first of all ends on which the permit rests.
    pub ends: Timestamp,
    /// As of when these were true: they had not changed when the decision was committed.
    pub revision: Revision,
    /// What the enforcement point owes.
    pub obligations: Vec<Obligation>,
    /// The decision's commitments to people, which records that follow from it repeat.
    pub people: PeopleCommitments,
}

/// The right to perform one act, once. Only [`crate::Authority`] makes one, of a decision that is on
/// record.
///
/// It owns the act, so what was decided is what is done. It cannot be cloned, and those who
/// perform acts consume it:
///
/// ```
/// use authority::{Begun, NotStarted, Permit};
/// use model::Clock;
///
/// fn once<A>(permit: Permit<A>, clock: &dyn Clock) -> Result<Begun<A>, NotStarted> {
///     permit.begin(clock)
/// }
/// # struct Call;
/// # struct Token;
/// fn call(permit: Permit<Call>) {}
/// fn i_01_a_permit_is_for_its_own_act(permit: Permit<Call>) {
///     call(permit);
/// }
/// ```
///
/// Nobody else makes one, nor what it becomes when it is begun:
///
/// ```compile_fail,E0451
/// use authority::{Permit, PermitContext};
/// use model::Grant;
///
/// fn i_01_a_permit_is_not_made<A>(act: A, grant: Grant, context: PermitContext) -> Permit<A> {
///     Permit { act, grant, context, ..panic!() }
/// }
/// ```
///
/// ```compile_fail,E0451
/// use authority::Running;
///
/// fn i_01_a_begun_act_is_not_made() -> Running {
///     Running { ..panic!() }
/// }
/// ```
///
/// It is good for one act, once:
///
/// ```compile_fail,E0382
/// use authority::{Begun, NotStarted, Permit};
/// use model::Clock;
///
/// fn i_01_a_permit_is_used_once<A>(permit: Permit<A>, clock: &dyn Clock) {
///     let _ = permit.begin(clock);
///     let _ = permit.begin(clock);
/// }
/// ```
///
/// ```compile_fail,E0599
/// use authority::Permit;
///
/// fn i_01_a_permit_is_not_cloned<A: Clone>(permit: &Permit<A>) -> Permit<A> {
///     Permit::clone(permit)
/// }
/// ```
///
/// ```compile_fail,E0308
/// # use authority::Permit;
/// # struct Call;
/// # struct Token;
/// fn call(permit: Permit<Call>) {}
/// fn i_01_a_permit_is_for_its_own_act(permit: Permit<Token>) {
///     call(permit);
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permit is on the record even if nothing is done with it"]
pub struct Permit<A> {
    pub(crate) act: A,
    pub(crate) grant: Grant,
    pub(crate) context: PermitContext,
    pub(crate) begin_by: Duration,
    pub(crate) slot: OutcomeSlot,
    /// The session as it was decided on.
    pub(crate) session: SessionFacts,
    pub(crate) marking: Arc<Marking>,
}

/// The permit was not begun in time, rests on facts that have changed since, or owes what nobody here
/// can discharge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the permit was not begun in time, rests on facts that have changed, or owes too much")]
pub struct NotStarted;

impl<A> Permit<A> {
    /// What is permitted, before it is begun.
    pub const fn act(&self) -> &A {
        &self.act
    }

    /// What is known about the permitted act.
    pub const fn context(&self) -> &PermitContext {
        &self.context
    }

    /// What comes back of it, for the session that reads it.
    pub const fn marking(&self) -> &Arc<Marking> {
        &self.marking
    }

    /// Begins the act: gives up the permit for what it covers and for the duty to say how it ended.
    ///
    /// This is the last check before an effect. A permit that is too old, whose facts are known to
    /// have changed, or that owes an obligation, closes as *not started*; as *unknown* if the act
    /// began with its commit, which has entered what it leads to.
    pub fn begin(self, clock: &dyn Clock) -> Result<Begun<A>, NotStarted> {
        let Self { act, grant, context, begin_by, mut slot, .. } = self;
        // Nobody discharges obligations yet, so nothing that owes one may proceed.
        let owes = !context.obligations.is_empty();
        if owes || clock.monotonic() > begin_by || !slot.still_true() {
            return Err(NotStarted);
        }
        slot.begun();
        Ok(Begun { act, grant, context, running: Running { slot } })
    }
}

/// What a begun permit turns into.
#[derive(Debug)]
pub struct Begun<A> {
    /// What was permitted.
    pub act: A,
    /// Why, and what is owed for it.
    pub grant: Grant,
    /// What else is known about it.
    pub context: PermitContext,
    /// The duty to say how it ended.
    pub running: Running,
}

/// A begun act. Whoever holds it says how it ended; dropped, the outcome is *unknown*.
#[derive(Debug)]
#[must_use = "an act whose end nobody tells is recorded as unknown"]
pub struct Running {
    slot: OutcomeSlot,
}

impl Running {
    /// Says how the act ended, with the digest of what came back if anything did.
    pub fn finish(mut self, outcome: OutcomeKind, result: Option<Sha256Digest>) {
        self.slot.close(End::of(outcome, result));
    }

    /// Says that nothing was sent, so whoever was to do it has not heard of it: it failed, and what it took of
    /// limits and budgets is given back.
    pub fn unsent(mut self) {
        self.slot.close(End::unsent());
    }
}
