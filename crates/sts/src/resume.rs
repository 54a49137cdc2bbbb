//! Taking a task over whose holder is gone: another instance of the same agent goes on with it.
//!
//! Nothing that the former holder had goes over before that is permitted, nor the platform's token that
//! it showed: a request that is denied leaves everything where it was.
//!
//! INVARIANT: a task that is taken over is the task that it was, but for who holds it: its mandate,
//! person, scope, deadline, labels and what was spent of its limits stay (`r_9_…`). One key is
//! written that every decision of the former holder reads, and of whatever it handed on: both end.

use std::sync::Arc;
use std::time::Duration;

use authority::{Actor, Circumstances, Effect, Governed, NotPermitted, Reader};
use model::record::OutcomeKind;
use model::{
    AccessRequest, ActionName, Agent, Binding, Denial, FactKey, Instance, InstanceId,
    InstanceState, Principal, ResourceRef, Standing, Task, TaskId, Timestamp,
};
use oauth::token_endpoint::TokenRequest;
use oauth::{ErrorCode, OAuthError, access_token};
use serde_json::json;

use crate::bound::{self, full};
use crate::client::Credential;
use crate::grant::POINT;
use crate::not_permitted::refused;
use crate::proposed::{self, Entering};
use crate::renewal::Renewal;
use crate::service::{Asking, TokenRefusal, TokenService, unavailable};

/// How long a token is good at most.
const LIFETIME: Duration = Duration::from_secs(access_token::LIFETIME_MAX_S.cast_unsigned());

/// That an instance takes over the task of another one: what is decided.
#[derive(Debug)]
struct TakingOver {
    request: AccessRequest,
    circumstances: Circumstances,
    by: Box<Credential>,
}

impl Governed for TakingOver {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    fn is_of(&self, agent: &Agent) -> bool {
        self.by.is_of(agent)
    }
}

impl TokenService {
    /// Makes who asks the holder of the task `wanted`, by a decision of its own; the token is asked
    /// for after that, as by any holder. Who is an instance already is left as it is.
    pub(crate) async fn resume(
        &self,
        asking: &mut Asking<'_>,
        wanted: &str,
    ) -> Result<(), TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let known = reader.find::<InstanceId>(FactKey::key(&asking.key)).await;
        if known.map_err(unavailable)?.is_some() {
            return self.bind_shown(asking).await;
        }
        self.is_instances(&asking.key, asking.agent).await?;
        Self::is_admitted(asking)?;
        let mut again = true;
        let permit = loop {
            let act = self.taking_over(asking, wanted).await?;
            match self.authority.authorize(act).await {
                // Of two who take it over at once, the second finds the first.
                Err(NotPermitted::Contended) if again => again = false,
                answer => break answer.map_err(|reason| not_taken_over(reason, asking))?,
            }
        };
        asking.uses.clear();
        let begun = permit.begin(self.authority.clock().as_ref()).map_err(|error| {
            let why = error.to_string();
            TokenRefusal::decided(OAuthError::new(ErrorCode::TemporarilyUnavailable, why))
        })?;
        begun.running.finish(OutcomeKind::Returned, None);
        Ok(())
    }

    /// What is decided: by whom the task `wanted` is taken over, and from whom; and the platform's token
    /// that may go over with it.
    async fn taking_over(
        &self,
        asking: &Asking<'_>,
        wanted: &str,
    ) -> Result<TakingOver, TokenRefusal> {
        let mut reader = self.authority.pip().reader();
        let former = self.former(&mut reader, (asking.agent, asking.form), wanted).await;
        // Whoever shows what is another's is found, whatever it asks for.
        let binding = match asking.showing(former.as_ref().ok().copied()) {
            Some(showing) => self.binding(&mut reader, &showing).await?,
            None => bound::Binding::default(),
        };
        let former = former?;
        let standing = authority::read_standing(&mut reader, former).await.map_err(unavailable)?;
        let clock = self.authority.clock();
        let id = asking.new;
        let task = Task { instance: id, ..standing.task.clone() };
        let entering =
            Entering { id, task: task.id, key: Some(asking.key), source: &asking.source };
        let instance = proposed::entered(&mut reader, &standing.agent, (entering, clock.now()));
        let instance = instance.await.map_err(unavailable)?;
        let device = reader.vouched_by(&instance).await.map_err(unavailable)?;
        let named = proposed::names(&mut reader, &instance).await.map_err(unavailable)?;
        let mut effects: Vec<_> = proposed::enters(&instance).collect();
        effects.extend(named.1);
        effects.push(Effect::Put { key: FactKey::task(task.id), body: json::canonical_of(&task) });
        effects.extend(binding.effects);
        let entries = binding.entries;
        let request = AccessRequest {
            principal: Principal::Instance(id),
            action: ActionName::method("task/resume"),
            resource: ResourceRef::Task(task.id),
            input: json!({ "from": former }),
        };
        let mut standing = Standing { instance, device, task, ..standing };
        let sharing = authority::sharing(&mut reader, &standing).await;
        standing.sharing = sharing.map_err(unavailable)?;
        let standing = Box::new(reader.sourced(Arc::new(standing)));
        let circumstances = Circumstances {
            actor: Actor::Proposed { standing, effects, entries },
            binding: Binding::Dpop,
            token: None,
            point: POINT,
            arrived: asking.arrived,
            trace: None,
            uses: asking.uses.clone(),
            enclosed: Vec::new(),
        };
        let by = Box::new(Credential::of(asking));
        Ok(TakingOver { request, circumstances, by })
    }

    /// The instance of the agent that holds the task `wanted` and is gone. What is another agent's
    /// and what is nobody's look the same.
    async fn former(
        &self,
        reader: &mut Reader<'_>,
        (agent, form): (&Agent, &TokenRequest),
        wanted: &str,
    ) -> Result<InstanceId, TokenRefusal> {
        let refuse = |cause, why: &str| {
            Err(TokenRefusal::of(cause, OAuthError::new(ErrorCode::InvalidGrant, why), agent))
        };
        let Some((task, holder)) = held(reader, agent, wanted).await? else {
            return refuse("task_unknown", "this agent has no such task to take over");
        };
        if form.purpose.as_ref().is_some_and(|wanted| task.purpose.as_str() != wanted) {
            let error = OAuthError::new(ErrorCode::InvalidScope, "the task is for another purpose");
            return Err(TokenRefusal::of("other_purpose", error, agent));
        }
        if let InstanceState::Quarantined { .. } = holder.state {
            let why = "the holder of the task is quarantined until an administrator releases it";
            return refuse("holder_quarantined", why);
        }
        match gone_since(reader, (&task, &holder)).await? {
            None => {
                let why = "what people let a client do is not taken over: it asks them again";
                refuse("task_of_client", why)
            }
            Some(since) if since <= self.authority.clock().now() => Ok(holder.id),
            Some(since) => {
                let why = format!("the holder of the task may be alive: ask again after {since}");
                refuse("holder_alive", &why)
            }
        }
    }
}

/// Why a task is not taken over. All that a takeover counts are the platform's tokens.
fn not_taken_over(reason: NotPermitted, asking: &Asking<'_>) -> TokenRefusal {
    let is_full = matches!(&reason, NotPermitted::Denied { denial, .. }
        if matches!(**denial, Denial::LimitReached { .. }));
    match asking.showing(None) {
        Some(showing) if is_full => full(&showing),
        _ => refused(reason, asking.agent),
    }
}

/// The task `wanted` with its holder, if that is an instance of `agent`.
async fn held(
    reader: &mut Reader<'_>,
    agent: &Agent,
    wanted: &str,
) -> Result<Option<(Task, Instance)>, TokenRefusal> {
    let Ok(id) = wanted.parse::<TaskId>() else { return Ok(None) };
    let task = reader.find::<Task>(FactKey::task(id)).await.map_err(unavailable)?;
    let Some(task) = task else { return Ok(None) };
    let holder = reader.need::<Instance>(FactKey::instance(task.instance)).await;
    let holder = holder.map_err(unavailable)?;
    Ok((holder.agent == agent.name).then_some((task, holder)))
}

/// Since when the holder of a task is gone, or will be: once it is revoked, or was given nothing for
/// the time of two tokens. Of one that began a task and has no chain of tokens, as an OAuth client,
/// nobody can tell.
async fn gone_since(
    reader: &mut Reader<'_>,
    (task, holder): (&Task, &Instance),
) -> Result<Option<Timestamp>, TokenRefusal> {
    let last = reader.find::<Renewal>(FactKey::renewal(holder.id)).await.map_err(unavailable)?;
    if last.is_none() && task.delegation.is_none() {
        return Ok(None);
    }
    if let InstanceState::Revoked { since, .. } = holder.state {
        return Ok(Some(since));
    }
    // Its first token may have been asked for by another, who handed the work on.
    let first = holder.started.plus(LIFETIME);
    let until = last.as_ref().and_then(Renewal::until).map_or(first, |until| until.max(first));
    Ok(Some(until.plus(LIFETIME)))
}
