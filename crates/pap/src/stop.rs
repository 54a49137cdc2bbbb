//! Stops: one administrator stops at once, two start again.
//!
//! INVARIANT: what was stopped is started by two different administrators, the second within
//! fifteen minutes of the first (`n_098_…`). A deployment for development has one, who does.

use authority::{CommitError, Effect, OnceScope, Reader, Refused, Unit};
use keys::VerifyingKey;
use model::{
    Agent, FactKey, Person, PersonId, ResourceRef, Sha256Digest, StartWish, Stop, StopTarget,
    Timestamp, Tool,
};
use oauth::word;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration, Command};
use crate::founding::{founder_key, is_for_development};
use crate::register::put;

/// What stopping and starting are called, and what they are done to.
fn governed(what: &StopTarget) -> ([&'static str; 2], ResourceRef) {
    match what {
        StopTarget::All => (["deployment/stop", "deployment/start"], ResourceRef::Deployment),
        StopTarget::Tool(tool) => (["tool/stop", "tool/start"], ResourceRef::Tool(tool.clone())),
        StopTarget::Agent(agent) => {
            (["agent/stop", "agent/start"], ResourceRef::Agent(agent.clone()))
        }
    }
}

impl Administration {
    pub(crate) async fn stops(&self, by: &PersonId, command: Command) -> Result<Value, AdminError> {
        match command {
            Command::Stop { what, reason } => self.stop(by, what, reason).await,
            Command::Start { what, reason, word: None } => {
                self.start((by, Vec::new()), what, reason).await
            }
            Command::Start { what, reason, word: Some(word) } => {
                let signer = self.signer(&word, (&what, &reason)).await;
                let (by, uses) = signer.inspect_err(|_| {
                    let place = ("administration", "word_refused");
                    self.authority.record_refusal(&self.refusals, place, Refused::default());
                })?;
                let started = self.start((&by, vec![uses.clone()]), what, reason).await;
                if started.is_err() {
                    self.use_up(uses).await?;
                }
                started
            }
            _ => self.list(by, "stop/", "").await,
        }
    }

    /// Stops `what`: one key written, which every decision that it concerns reads. Whoever stops what
    /// is stopped already does it anew: nobody's wish to start it counts any longer.
    async fn stop(
        &self,
        by: &PersonId,
        what: StopTarget,
        reason: String,
    ) -> Result<Value, AdminError> {
        let ([action, _], target) = governed(&what);
        let draft = self.draft(by, action, target).await?;
        // Read beside the act: whatever else changes meanwhile, it is stopped.
        self.is_known(&what).await?;
        let (since, wish) = (self.now(), None);
        let stop = Stop { what: what.clone(), by: by.clone(), reason, since, wish };
        let done = draft.make(json!(stop), vec![put(FactKey::stop(&what), &stop)]).await?;
        Ok(json!({ "stopped": what, "decision": done.decision }))
    }

    /// Starts `what` again, if another administrator wants it too; otherwise keeps the wish.
    async fn start(
        &self,
        (by, mut effects): (&PersonId, Vec<Effect>),
        what: StopTarget,
        reason: String,
    ) -> Result<Value, AdminError> {
        let ([_, action], target) = governed(&what);
        let mut draft = self.draft(by, action, target).await?;
        let place = FactKey::stop(&what);
        let found = draft.reader.find::<Stop>(place.clone()).await;
        let missing = || AdminError::Missing(format!("stop of `{what}`"));
        let mut stop = found.map_err(AdminError::unavailable)?.ok_or_else(missing)?;
        let wish = waiting(&mut draft.reader, &stop, self.now()).await?;
        if wish.as_ref().is_some_and(|wish| wish.by == *by) {
            let place = ("administration", "started_by_the_same_person");
            self.authority.record_refusal(&self.refusals, place, Refused::default());
            let why = "not permitted: nobody approves what they asked for themselves";
            return Err(AdminError::Refused(why.to_owned()));
        }
        let starts = wish.is_some() || is_for_development(self.authority.journal()).await?;
        let change = json!({ "what": what, "reason": reason, "asked": wish, "starts": starts });
        if starts {
            effects.push(Effect::Remove { key: place });
            let done = draft.make(change, effects).await?;
            return Ok(json!({ "started": what, "decision": done.decision }));
        }
        let wish = StartWish { by: by.clone(), reason, at: self.now() };
        let until = wish.at.plus(model::WISH_LIFETIME).to_string();
        stop.wish = Some(wish);
        effects.push(put(place, &stop));
        let done = draft.make(change, effects).await?;
        Ok(json!({
            "waits": what, "for": "another administrator", "until": until,
            "decision": done.decision,
        }))
    }

    /// Uses a word up that led to nothing: it is kept for no better moment.
    async fn use_up(&self, word: Effect) -> Result<(), AdminError> {
        let unit = Unit { effects: vec![word], ..Unit::default() };
        match self.authority.journal().store().commit(unit).await {
            Ok(_) | Err(CommitError::Used) => Ok(()),
            Err(error) => Err(AdminError::unavailable(error)),
        }
    }

    /// Who signed `word`, if that asks to start just this as it is stopped now, and what using it uses up. Whatever is
    /// wrong with it, the answer is the same.
    async fn signer(
        &self,
        word: &str,
        (what, reason): (&StopTarget, &str),
    ) -> Result<(PersonId, Effect), AdminError> {
        let refused = || {
            let why = "not permitted: it is not signed by an administrator whose key is known";
            AdminError::Refused(why.to_owned())
        };
        let claimed = word::claimed(word).and_then(|person| person.parse::<PersonId>().ok());
        let by = claimed.ok_or_else(refused)?;
        let jwk = self.reader().find::<Value>(founder_key(&by)).await;
        let jwk = jwk.map_err(AdminError::unavailable)?.ok_or_else(refused)?;
        let key = VerifyingKey::from_jwk(&jwk).map_err(|_| refused())?;
        let parties = (by.as_str(), self.issuer.as_str());
        let read = word::verify(word, parties, &key, self.now().as_seconds());
        let read = read.map_err(|_| refused())?;
        let stop = self.reader().find::<Stop>(FactKey::stop(what)).await;
        let stop = stop.map_err(AdminError::unavailable)?.ok_or_else(refused)?;
        let asked = json!({ "do": "start", "what": what, "reason": reason, "since": stop.since });
        if read.command != asked {
            return Err(refused());
        }
        let id = Sha256Digest::of(&[&key.thumbprint(), read.jti.as_bytes()].concat());
        let expires = Timestamp::from_seconds(read.exp + word::LIFETIME_MAX_S);
        Ok((by, Effect::UseOnce { scope: OnceScope::Word, id: *id.as_bytes(), expires }))
    }

    /// Whether there is what somebody wants to stop: a name that is misspelt stops nothing.
    async fn is_known(&self, what: &StopTarget) -> Result<(), AdminError> {
        let mut reader = self.reader();
        let is_known = match what {
            StopTarget::All => Ok(true),
            StopTarget::Tool(tool) => {
                reader.find::<Tool>(FactKey::tool(tool)).await.map(|found| found.is_some())
            }
            StopTarget::Agent(name) => {
                reader.find::<Agent>(FactKey::agent(name)).await.map(|found| found.is_some())
            }
        };
        if is_known.map_err(AdminError::unavailable)? {
            return Ok(());
        }
        Err(AdminError::Missing(format!("`{what}`")))
    }

    /// The facts under each prefix, as [`Administration::list`] gives them, each agent and tool with
    /// what of it is stopped.
    pub(crate) async fn list_with_stops(
        &self,
        by: &PersonId,
        first: &str,
        second: &str,
    ) -> Result<Value, AdminError> {
        let mut rows = self.list(by, first, second).await?;
        let stops = authority::all::<Stop>(self.authority.pip().store(), "stop/").await;
        let stops = stops.map_err(AdminError::unavailable)?;
        for row in rows.as_array_mut().into_iter().flatten() {
            let concerns = |what: &StopTarget| match what {
                StopTarget::All => true,
                StopTarget::Tool(tool) => row["tool"] == json!(tool),
                StopTarget::Agent(agent) => first == "agent/" && row["name"] == json!(agent),
            };
            let stopped: Vec<_> =
                stops.iter().map(|stop| &stop.what).filter(|what| concerns(what)).collect();
            if !stopped.is_empty() {
                row["stopped"] = json!(stopped);
            }
        }
        Ok(rows)
    }
}

/// The wish that waits for another administrator's: one that has not expired, of somebody who still
/// stands behind it.
async fn waiting(
    reader: &mut Reader<'_>,
    stop: &Stop,
    now: Timestamp,
) -> Result<Option<StartWish>, AdminError> {
    let Some(wish) = stop.wish.as_ref().filter(|wish| wish.waits(now)) else { return Ok(None) };
    let person = reader.find::<Person>(FactKey::person(&wish.by)).await;
    let person = person.map_err(AdminError::unavailable)?;
    Ok(person.is_some_and(|person| person.answers_for(wish.at)).then(|| wish.clone()))
}
