//! Which key a platform's token serves.
//!
//! Platforms' tokens are bearer tokens: whoever has one can show it. So each is bound to the key of
//! the first that shows it, until it ends; whoever shows it with another key is refused, and found.
//!
//! INVARIANT: one token of a platform serves one instance at a time
//! (`r_2_one_token_of_a_platform_serves_one_key`).

use std::collections::BTreeMap;

use authority::{CommitError, CounterKey, Effect, FactsError, NewEntry, Reader, Unit, Urgency};
use model::{
    Agent, AgentName, FactKey, Instance, InstanceId, InstanceState, SHOWN, Sourced, Task,
    Thumbprint, Timestamp,
};
use oauth::{ErrorCode, OAuthError};
use serde::{Deserialize, Serialize};

use crate::attest::Shown;
use crate::not_permitted::not_committed;
use crate::service::{Asking, TokenRefusal, TokenService, unavailable};

/// How often a token is bound anew that somebody else bound meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// The most tokens of platforms that are bound at once to keys of one agent.
pub const SHOWN_OF_AGENT_MAX: i64 = 65_536;

/// The most bindings that are looked at, and forgotten, at a time.
const FORGOTTEN_MAX: usize = 40;

/// Who shows a platform's token.
pub(crate) struct Showing<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) key: Thumbprint,
    pub(crate) shown: &'a Shown,
    /// The instance that will have the key, if none has it and one is asked for.
    pub(crate) new: Option<InstanceId>,
    /// The instance that is gone and whose task is gone on with: it may be the same workload.
    pub(crate) gone: Option<InstanceId>,
}

/// What a platform's token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    agent: AgentName,
    key: Thumbprint,
}

/// What binds a platform's token to the key of who shows it; nothing if it is bound to that.
#[derive(Default)]
pub(crate) struct Binding {
    pub(crate) effects: Vec<Effect>,
    /// From whom it goes over, if it was another's.
    pub(crate) entries: Vec<NewEntry>,
}

impl TokenService {
    /// Binds the token that is shown with a request to the key of who asks, if one is shown.
    pub(crate) async fn bind_shown(&self, asking: &mut Asking<'_>) -> Result<(), TokenRefusal> {
        let Some(showing) = asking.showing(None) else { return Ok(()) };
        let left = self.bind(&showing, asking.uses.clone()).await?;
        asking.uses = left;
        Ok(())
    }

    /// Binds the token that is shown to the key of who shows it; gives what is left of `uses`, which
    /// a new binding uses up, so that nothing is bound by what was used before.
    pub(crate) async fn bind(
        &self,
        showing: &Showing<'_>,
        uses: Vec<Effect>,
    ) -> Result<Vec<Effect>, TokenRefusal> {
        let agent = showing.agent;
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = self.authority.pip().reader();
            let Binding { mut effects, entries } = self.binding(&mut reader, showing).await?;
            if effects.is_empty() {
                return Ok(uses);
            }
            effects.extend(uses.iter().cloned());
            let Sourced { keys: reads, revision, .. } = reader.sourced(());
            let urgency = Urgency::Awaited;
            let unit = Unit { entries, effects, reads, revision, urgency };
            match self.authority.journal().store().commit(unit).await {
                Ok(_) => return Ok(Vec::new()),
                Err(CommitError::Changed { .. }) => {}
                Err(CommitError::OverLimit { .. }) => return Err(full(showing)),
                Err(error) => return Err(not_committed(error, agent)),
            }
        }
        Err(unavailable(FactsError::Changed))
    }

    /// What binds the token that is shown to the key of who shows it. Only once its holder has given
    /// its task up, or is gone, may another have the token. Who is refused anyway binds nothing: nobody
    /// takes away what is another agent's.
    pub(crate) async fn binding(
        &self,
        reader: &mut Reader<'_>,
        showing: &Showing<'_>,
    ) -> Result<Binding, TokenRefusal> {
        let Showing { agent, key, shown, .. } = showing;
        if !agent.admits_workload(Some(&shown.identity)) {
            return Ok(Binding::default());
        }
        let place = FactKey::shown(shown.expires, &shown.token);
        let bound = reader.find::<Bound>(place.clone()).await.map_err(unavailable)?;
        let mut entries = Vec::new();
        match &bound {
            Some(bound) if bound.key == *key => return Ok(Binding::default()),
            Some(other) => {
                let details = self.taken_over(reader, other, showing).await?;
                let stamp = (self.authority.clock().now(), self.authority.entropy().as_ref());
                entries.push(authority::event(stamp, "workload_token_taken_over", details));
            }
            None => {}
        }
        let own = Bound { agent: agent.name.clone(), key: *key };
        let mut effects = counts(bound.as_ref(), &own);
        effects.push(Effect::Put { key: place, body: json::canonical_of(&own) });
        Ok(Binding { effects, entries })
    }

    /// From whom a token goes over to who shows it. Refuses that, unless the task of the former is
    /// given up, by an instance that nobody stopped, or taken over.
    async fn taken_over(
        &self,
        reader: &mut Reader<'_>,
        other: &Bound,
        showing: &Showing<'_>,
    ) -> Result<BTreeMap<String, String>, TokenRefusal> {
        let holder = reader.find::<InstanceId>(FactKey::key(&other.key)).await;
        let holder = holder.map_err(unavailable)?;
        let is_gone = holder.is_some() && holder == showing.gone;
        if !is_gone && !is_free(reader, holder).await.map_err(unavailable)? {
            return Err(shared(holder, showing));
        }
        let own = reader.find::<InstanceId>(FactKey::key(&showing.key)).await;
        let own = own.map_err(unavailable)?.or(showing.new);
        let named = [("held_by_instance", holder), ("used_by_instance", own)];
        let named = named.into_iter().filter_map(|(name, id)| Some((name, id?.to_string())));
        let more = [
            ("held_by_agent", other.agent.to_string()),
            ("used_by_agent", showing.agent.name.to_string()),
            ("used_by_key", showing.key.to_string()),
        ];
        let all = named.chain(more).chain(showing.shown.details());
        Ok(all.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Forgets to which keys tokens were bound that have ended by `now`.
    pub async fn forget_shown(&self, now: Timestamp) -> Result<(), FactsError> {
        if self.platforms.is_none() {
            return Ok(());
        }
        // What ended first comes first: beyond a page with anything else there is nothing to forget.
        while self.forget_page(now).await? == FORGOTTEN_MAX {}
        Ok(())
    }

    /// Forgets a page of what has ended by `now`; says how much that was.
    async fn forget_page(&self, now: Timestamp) -> Result<usize, FactsError> {
        let store = self.authority.pip().store();
        let page = store.list(SHOWN, None, FORGOTTEN_MAX).await?;
        let listed = page.facts.into_iter().map(|(key, _)| key);
        let ended: Vec<FactKey> = listed.filter(|key| has_ended(key, now)).collect();
        if ended.is_empty() {
            return Ok(0);
        }
        let loaded = store.load(&ended).await?;
        let mut room = BTreeMap::<AgentName, i64>::new();
        for body in loaded.bodies.iter().flatten() {
            if let Ok(bound) = serde_json::from_slice::<Bound>(body) {
                *room.entry(bound.agent).or_default() -= 1;
            }
        }
        let counts = room.into_iter().map(|(agent, amount)| count(&agent, amount));
        let removed = ended.iter().map(|key| Effect::Remove { key: key.clone() });
        let effects = removed.chain(counts).collect();
        let forgotten = ended.len();
        let unit = Unit { reads: ended, revision: loaded.revision, effects, ..Unit::default() };
        match self.authority.journal().store().commit(unit).await {
            Ok(_) => Ok(forgotten),
            Err(error) => {
                tracing::warn!(%error, "what ended is not forgotten yet");
                Ok(0)
            }
        }
    }
}

/// Whether `holder` has given up what it has a platform's token for.
async fn is_free(reader: &mut Reader<'_>, holder: Option<InstanceId>) -> Result<bool, FactsError> {
    let Some(id) = holder else { return Ok(false) };
    let instance: Instance = reader.need(FactKey::instance(id)).await?;
    let task: Task = reader.need(FactKey::task(instance.task)).await?;
    Ok(instance.state == InstanceState::Active && task.state.is_given_up())
}

/// What binding a token to `own` that was bound to `before` changes in how many each agent has.
fn counts(before: Option<&Bound>, own: &Bound) -> Vec<Effect> {
    match before {
        Some(before) if before.agent == own.agent => Vec::new(),
        Some(before) => vec![count(&before.agent, -1), count(&own.agent, 1)],
        None => vec![count(&own.agent, 1)],
    }
}

fn count(agent: &AgentName, amount: i64) -> Effect {
    let counter = CounterKey(format!("agent/{agent}/shown"));
    Effect::Count { counter, amount, limit: Some(SHOWN_OF_AGENT_MAX) }
}

/// The token was shown with another key, of an instance that still has it.
fn shared(holder: Option<InstanceId>, showing: &Showing<'_>) -> TokenRefusal {
    let why = "this token of the platform was shown with another key: show a fresh one";
    let error = OAuthError::new(ErrorCode::InvalidGrant, why);
    let refusal = TokenRefusal::of("workload_token_shared", error, showing.agent);
    let refusal = refusal.with([("used_by_agent", showing.agent.name.to_string())]);
    let refusal = refusal.with(showing.shown.details());
    match holder {
        Some(id) => refusal.with([("held_by_instance", id.to_string())]),
        None => refusal,
    }
}

pub(crate) fn full(showing: &Showing<'_>) -> TokenRefusal {
    let why = "too many tokens of platforms are known of this agent: try again later";
    let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
    let refusal = TokenRefusal::of("workload_tokens_full", error, showing.agent);
    refusal.with(showing.shown.details())
}

/// Whether the token ended before `now` whose binding has this key.
fn has_ended(key: &FactKey, now: Timestamp) -> bool {
    let rest = key.as_str().strip_prefix(SHOWN).and_then(|rest| rest.split_once('/'));
    let expires = rest.and_then(|(expires, _)| expires.parse().ok());
    expires.is_some_and(|millis| Timestamp::from_millis(millis) < now)
}
