//! Makes a decision, with everything that its commit does: gather, decide, and write down. Nothing of
//! it has happened yet.

use std::sync::Arc;
use std::time::Duration;

use model::record::PeopleCommitments;
use model::{
    AccessRequest, ActDigest, Decision, DecisionId, Denial, FactKey, Facts, Grant, KernelRule,
    ResourceRef, SessionFacts, Standing, Stranger,
};
use store::{Committed, CounterKey, Effect, OnceScope, Unit, Urgency};

use crate::accounts;
use crate::authorize::{ATTEMPTS_MAX, Authority, NotPermitted};
use crate::counted;
use crate::known_calls::Since;
use crate::labels::{self, Marking};
use crate::observing;
use crate::outcomes::Closing;
use crate::permit::{Actor, Circumstances, Entailed, Governed, PermitContext, ShownToken};
use crate::pip::{FactsError, Gathered};
use crate::records::{self, Decided, DecisionEntry, FactsLeaf};
use crate::reserved::Reserved;

/// The act that a token is issued by, which ends no later than the policy set lets tokens last.
const TOKENS: &str = "token/issue";

/// A question with what was gathered for it.
struct Question<'a> {
    request: &'a AccessRequest,
    circumstances: &'a Circumstances,
    gathered: Gathered,
    facts: Facts,
    act: ActDigest,
}

/// A decision with everything that its commit does.
pub(crate) struct Made {
    pub(crate) answer: Answer,
    pub(crate) unit: Unit,
    pub(crate) leaf: Arc<FactsLeaf>,
    /// Who is found by it.
    pub(crate) found: Vec<Stranger>,
}

/// What was decided.
pub(crate) enum Answer {
    Permit(Box<Permitting>),
    Deny(NotPermitted),
}

/// What a commit found used up that it should have used.
pub(crate) enum UsedUp {
    /// What this counts, up to its limit.
    Limit(CounterKey),
    /// The token that was shown.
    Token,
}

/// A permit that is to be.
#[derive(Clone, Debug)]
pub(crate) struct Permitting {
    pub(crate) grant: Grant,
    pub(crate) closing: Closing,
    /// Which of the unit's entries is the decision.
    pub(crate) entry: usize,
    /// Which of the unit's counters are of its session's calls.
    pub(crate) counted: Vec<(usize, CounterKey)>,
    /// Since when these are counted.
    pub(crate) since: Since,
    /// The session as it was decided on.
    pub(crate) session: SessionFacts,
    /// What comes back, as far as it is known.
    pub(crate) marking: Arc<Marking>,
    /// Who is found by it, if somebody is.
    pub(crate) found: Option<Stranger>,
}

impl Permitting {
    /// The same, as its commit left it.
    pub(crate) fn opened(mut self, committed: &Committed) -> Self {
        let context = &mut self.closing.context;
        context.index = *committed.indices.get(self.entry).expect("the unit had a decision");
        context.revision = committed.revision;
        self
    }

    /// The same, in a unit behind `before`.
    pub(crate) fn behind(&mut self, before: &Unit) {
        self.entry += before.entries.len();
        self.counted.iter_mut().for_each(|(place, _)| *place += before.counts());
    }
}

impl Authority {
    /// Decides on `act`, of which the last commit was refused because something was `used_up`, if it was;
    /// `None` if the facts changed meanwhile, or before that what it is asked by.
    pub(crate) async fn make<A: Governed>(
        &self,
        act: &A,
        used_up: Option<&UsedUp>,
    ) -> Result<Option<Made>, NotPermitted> {
        let Some(mut question) = self.ask(act.request(), act.circumstances()).await? else {
            return Ok(None);
        };
        let left = self.limits.decision_timeout.saturating_sub(self.waited(act.circumstances()));
        let (asked, in_force) = ((question.request, &question.facts), &question.gathered.snapshot);
        let observed = self.pip.observing().ask(asked, in_force, left);
        let decision = self.decide_on(&mut question, used_up).await?;
        let mut made = self.made(&question, (decision, observed)).await?;
        self.depart(&question, &mut made).await?;
        if let Answer::Permit(permitting) = &made.answer {
            // The agent is in the read set: what counts here counts at the commit.
            if !act.is_of(&question.gathered.standing.agent) {
                return Ok(None);
            }
            if let Some((keys, revision)) = act.rests() {
                made.unit.reads.extend(keys.iter().cloned());
                made.unit.revision = made.unit.revision.min(revision);
            }
            let context = &permitting.closing.context;
            let entailed = act.entails(context, self.entropy.as_ref());
            if let Some(Entailed { mut entry, disclosure, writes }) = entailed {
                let sponsor = &context.standing.sponsor.id;
                let sealed = self.journal.seal(sponsor, &disclosure).await;
                entry.disclosure = Some(sealed.map_err(unsealed)?);
                made.unit.entries.push(entry);
                made.unit.effects.extend(writes.map(|(key, body)| Effect::Put { key, body }));
            }
        }
        Ok(Some(made))
    }

    /// The same, tried again while the facts change.
    pub(crate) async fn make_settled<A: Governed>(&self, act: &A) -> Result<Made, NotPermitted> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(made) = Box::pin(self.make(act, None)).await? {
                return Ok(made);
            }
        }
        Err(NotPermitted::Contended)
    }

    /// Gathers what `request` needs; `None` if the facts changed meanwhile.
    async fn ask<'a>(
        &self,
        request: &'a AccessRequest,
        circumstances: &'a Circumstances,
    ) -> Result<Option<Question<'a>>, NotPermitted> {
        let now = self.trusted_now()?;
        let gathered = match self.gather(request, circumstances).await {
            Ok(gathered) => gathered,
            Err(FactsError::Changed) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let facts = records::facts_of(&gathered, circumstances.shown(), now);
        let act = records::act_digest(&gathered.standing.mandate.agent, request);
        Ok(Some(Question { request, circumstances, gathered, facts, act }))
    }

    async fn decide_on(
        &self,
        question: &mut Question<'_>,
        used_up: Option<&UsedUp>,
    ) -> Result<Decision, NotPermitted> {
        let Question { request, gathered, facts, .. } = question;
        let mut decision = self.answer(&gathered.snapshot, request, facts);
        // By now it may be for another day, or another set: then it fits, or the commit says so again.
        match (&decision, used_up) {
            (Decision::Permit(grant), Some(UsedUp::Limit(counter))) => {
                if !counted::is_of_budget(counter) {
                    return Ok(Decision::Deny(Denial::LimitReached { counter: counter.0.clone() }));
                }
                let used = counted::used_up(self.pip.store(), grant).await;
                facts.session.used = used.map_err(FactsError::from)?;
                decision = self.answer(&gathered.snapshot, request, facts);
            }
            (Decision::Permit(grant), Some(UsedUp::Token)) if grant.uses_token => {
                return Ok(Decision::Deny(Denial::TokenUsed));
            }
            _ => {}
        }
        let permits = matches!(decision, Decision::Permit(_));
        let consequential = facts.is_consequential();
        if permits && consequential && self.pip.outcome_unknown(&question.act).await? {
            return Ok(Decision::Deny(Denial::OutcomeUnknown));
        }
        Ok(decision)
    }

    /// How long ago it was asked.
    fn waited(&self, circumstances: &Circumstances) -> Duration {
        self.clock.monotonic().saturating_sub(circumstances.arrived)
    }

    /// What makes the decision happen, beside which the set under observation was asked, if one is.
    async fn made(
        &self,
        question: &Question<'_>,
        (decision, observed): (Decision, Option<observing::Asked>),
    ) -> Result<Made, NotPermitted> {
        let Question { request, circumstances, gathered, facts, .. } = question;
        self.note_seen(question, &decision);
        let leaf = self.leaf_of(question).await?;
        let waited = self.waited(circumstances).as_micros();
        let latency_us = u64::try_from(waited).unwrap_or(u64::MAX);
        let observed_set = observing::would(observed, &decision).await;
        let decided = Decided {
            request,
            circumstances,
            gathered,
            facts,
            decision: &decision,
            observed_set,
            latency_us,
        };
        let entry = records::decision_entry(&decided, &leaf, self.entropy.as_ref(), &self.journal);
        let DecisionEntry { id, entry: own, people } = entry.await.map_err(unsealed)?;

        let found = lost(question, &decision).into_iter().collect();
        let entries: Vec<_> = leaf.unwritten().into_iter().chain([own]).collect();
        let entry = entries.len() - 1;
        let mut effects = circumstances.uses.clone();
        if matches!(&decision, Decision::Deny(denial) if denial.is_of_token()) {
            // The same call comes again with another token, and with no other state.
            effects
                .retain(|it| !matches!(it, Effect::UseOnce { scope: OnceScope::RequestState, .. }));
        }
        let mut unit = Unit {
            entries,
            effects,
            revision: gathered.revision,
            urgency: Urgency::Awaited,
            ..Unit::default()
        };
        let answer = match decision {
            // A denial needs no fence: what it read may have changed, it still harms nobody.
            Decision::Deny(denial) => {
                let denial = Box::new(denial);
                Answer::Deny(NotPermitted::Denied { denial, decision: id })
            }
            Decision::Permit(grant) => {
                unit.reads = read_set(question);
                let (effects, reserved) = self.effects_of(question, &grant);
                unit.effects.extend(effects);
                if let Actor::Proposed { entries, .. } = &circumstances.actor {
                    unit.entries.extend(entries.iter().cloned());
                }
                unit.effects.push(Effect::OpenPermit { entry, body: reserved.body() });
                let is_counted = is_counted(request);
                let granted = (&grant, reserved);
                Answer::Permit(Box::new(Permitting {
                    closing: closing_of((question, &unit.reads), granted, (id, people)),
                    grant,
                    entry,
                    counted: counted::of_session(&unit, gathered.standing.root().id),
                    since: self.pip.calls.since(),
                    session: facts.session.clone(),
                    marking: Arc::new(Marking::of(gathered, id)),
                    found: if is_counted { accounts::found(gathered) } else { None },
                }))
            }
        };
        Ok(Made { answer, unit, leaf, found })
    }

    /// The leaf that commits to what was gathered. Of who is not in the register yet none is kept: what is read of
    /// them from now on is another reading, by which nobody would find it again.
    async fn leaf_of(&self, question: &Question<'_>) -> Result<Arc<FactsLeaf>, NotPermitted> {
        let Question { circumstances, gathered, facts, .. } = question;
        let stamp = (facts.now, self.entropy.as_ref());
        let leaf = match &circumstances.actor {
            Actor::Known(_) => self.facts_leaves.leaf(gathered, stamp, &self.journal).await,
            Actor::Proposed { .. } => {
                records::facts_leaf(gathered, stamp, &self.journal).await.map(Arc::new)
            }
        };
        leaf.map_err(unsealed)
    }

    /// Has the commit of what was `made` count in what that departs from what is declared of who asks, and raise
    /// what is too much.
    async fn depart(&self, question: &Question<'_>, made: &mut Made) -> Result<(), NotPermitted> {
        let Question { request, circumstances, gathered, facts, .. } = question;
        let (denial, act) = match &made.answer {
            Answer::Permit(permitting) => (None, permitting.closing.context.decision),
            Answer::Deny(NotPermitted::Denied { denial, decision }) => {
                (Some(denial.as_ref()), *decision)
            }
            Answer::Deny(_) => return Ok(()),
        };
        let is_known = matches!(circumstances.actor, Actor::Known(_));
        let is_asked_of = is_counted(request) || matches!(request.resource, ResourceRef::Server(_));
        let kinds = pdp::departs(request, facts, denial);
        if kinds.is_empty() || !is_known || !is_asked_of {
            return Ok(());
        }
        let of = (gathered.standing.as_ref(), gathered.snapshot.strictness());
        let departing = self.departing(of, &kinds, (Some(act), facts.now)).await?;
        made.found.extend(departing.join(&mut made.unit));
        Ok(())
    }

    /// Takes note that an instance asked, but for one that is not let in: nobody hears of that again.
    fn note_seen(&self, question: &Question<'_>, decision: &Decision) {
        let is_known = matches!(question.circumstances.actor, Actor::Known(_));
        if is_known || matches!(decision, Decision::Permit(_)) {
            self.last_seen.note(question.gathered.standing.instance.id, question.facts.now);
        }
    }

    /// What a permit by `grant` does in its commit, and what of that it may give back.
    fn effects_of(&self, question: &Question<'_>, grant: &Grant) -> (Vec<Effect>, Reserved) {
        let mut effects = labels::joined(&question.gathered, question.request);
        if let Actor::Proposed { effects: enter, .. } = &question.circumstances.actor {
            effects.extend(enter.iter().cloned());
        }
        let spent: Vec<_> = counted::spent(&grant.spends).collect();
        let calls = self.calls_of(question, grant);
        let reserved = Reserved::by(spent.iter().chain(&calls));
        effects.extend(spent);
        let shown = question.circumstances.token.filter(|_| grant.uses_token);
        effects.extend(shown.as_ref().map(ShownToken::used));
        effects.extend(calls);
        if is_counted(question.request) {
            effects.extend(accounts::joined(&question.gathered));
        }
        (effects, reserved)
    }

    /// What it is counted against, if it counts as a call.
    fn calls_of(&self, question: &Question<'_>, grant: &Grant) -> Vec<Effect> {
        let Question { request, gathered, facts, .. } = question;
        if !is_counted(request) {
            return Vec::new();
        }
        let looked_at = &gathered.snapshot.remembered().counted;
        let tool = match &request.resource {
            ResourceRef::Tool(tool) => Some(tool).filter(|tool| looked_at.contains(*tool)),
            _ => None,
        };
        counted::call(&gathered.standing, (grant.elevation, tool), (facts.now, &self.limits))
    }
}

fn unsealed(error: journal::SealError) -> NotPermitted {
    NotPermitted::Unrecorded(error.into())
}

/// Who is found by a `decision` that the work has lost for whom it is: its chain is none, or a tool is for work on
/// behalf of a person and this is for nobody (`r_58_…`).
fn lost(question: &Question<'_>, decision: &Decision) -> Option<Stranger> {
    let Decision::Deny(Denial::Kernel(rule)) = decision else { return None };
    let has_lost = matches!(rule, KernelRule::DelegationCollapse | KernelRule::NoOriginator);
    // One that is not let in has an id that it never has again.
    let is_known = matches!(question.circumstances.actor, Actor::Known(_));
    let Standing { agent, instance, .. } = question.gathered.standing.as_ref();
    has_lost.then(|| Stranger {
        cause: rule.as_str().to_owned(),
        tried: question.request.action.as_str().to_owned(),
        server: question.gathered.server.as_ref().map(|server| server.name.clone()),
        proven: Some(agent.name.clone()),
        holder: is_known.then(|| instance.id.to_string()),
        ..Stranger::default()
    })
}

/// What closes the permit that a decision opens which rests on what it `read`, but for its place in the log;
/// with what the permit has taken.
fn closing_of(
    (question, read): (&Question<'_>, &[FactKey]),
    (grant, reserved): (&Grant, Reserved),
    (decision, people): (DecisionId, PeopleCommitments),
) -> Closing {
    let Question { request, gathered, facts, .. } = question;
    let ends = gathered.standing.ends(grant.elevation);
    let strictness = gathered.snapshot.strictness();
    let lasts = strictness.tokens_last(&gathered.standing);
    let lasts = lasts.filter(|_| request.action.as_str() == TOKENS);
    let context = PermitContext {
        decision,
        index: 0,
        decided: facts.now,
        standing: gathered.standing.clone(),
        act: question.act,
        reads: read.iter().filter(|it| !labels::is_of_the_past(it)).cloned().collect(),
        ends: lasts.map_or(ends, |lasts| ends.min(facts.now.plus(lasts))),
        revision: gathered.revision,
        obligations: grant.obligations.iter().cloned().collect(),
        people,
    };
    let consequential = facts.is_consequential();
    Closing { context, consequential, reserved }
}

fn read_set(question: &Question<'_>) -> Vec<FactKey> {
    let mut reads = question.gathered.keys.clone();
    if question.facts.is_consequential() {
        reads.push(FactKey::unknown_outcome(&question.act));
    }
    // Whoever stands behind it in more than one place is compared once.
    reads.sort_unstable();
    reads.dedup();
    reads
}

/// Whether a request counts against the calls of its session: a call of a tool does, and so does
/// reading a resource or a prompt, which tells as much.
pub(crate) fn is_counted(request: &AccessRequest) -> bool {
    let is_read = matches!(
        request.resource,
        ResourceRef::Tool(_) | ResourceRef::Resource { .. } | ResourceRef::Prompt { .. }
    );
    // What only takes less is never too much.
    is_read && request.action.as_str() != "resources/unsubscribe"
}
