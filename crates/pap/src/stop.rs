//! Stops: one administrator stops at once, two start again.
//!
//! INVARIANT: what was stopped is started by two different administrators, the second within
//! fifteen minutes of the first (`n_098_…`). A deployment for development has one, who does.

use authority::{Effect, Reader};
use model::{FactKey, PersonId, ResourceRef, StartWish, Stop, StopTarget, Timestamp, Tool};
use serde_json::{Value, json};

use crate::asked::Command;
use crate::command::{AdminError, Administration};
use crate::founding::is_for_development;
use crate::register::{known, put, registered};
use crate::words::{Acting, key_of, stands_behind};

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
            Command::Start { what, reason, word } => {
                let stop = self.reader().find::<Stop>(FactKey::stop(&what)).await;
                let since = stop.map_err(AdminError::unavailable)?.map(|stop| stop.since);
                let said = json!({ "do": "start", "what": what, "reason": reason, "since": since });
                let (by, uses) = self.acting(by, word.as_deref(), &said).await?;
                let started = self.start((by, uses.clone()), what, reason).await;
                self.settled(started, uses).await
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
        (by, mut effects): Acting,
        what: StopTarget,
        reason: String,
    ) -> Result<Value, AdminError> {
        let ([_, action], target) = governed(&what);
        let mut draft = self.draft(&by, action, target).await?;
        let place = FactKey::stop(&what);
        let mut stop =
            known::<Stop>(&mut draft.reader, place.clone(), &format!("stop of `{what}`")).await?;
        let wish = waiting(&mut draft.reader, &stop, self.now()).await?;
        if wish.as_ref().is_some_and(|wish| wish.by == by) {
            return Err(self.takes_another("started_by_the_same_person"));
        }
        let starts = wish.is_some() || is_for_development(self.authority.journal()).await?;
        let change = json!({ "what": what, "reason": reason, "asked": wish, "starts": starts });
        if starts {
            effects.push(Effect::Remove { key: place });
            let done = draft.make(change, effects).await?;
            return Ok(json!({ "started": what, "decision": done.decision }));
        }
        let key = key_of(&mut draft.reader, &by).await?;
        let wish = StartWish { by: by.clone(), key, reason, at: self.now() };
        let until = wish.at.plus(model::WISH_LIFETIME).to_string();
        stop.wish = Some(wish);
        effects.push(put(place, &stop));
        let done = draft.make(change, effects).await?;
        Ok(json!({
            "waits": what, "for": "another administrator", "until": until,
            "decision": done.decision,
        }))
    }

    /// Whether there is what somebody wants to stop: a name that is misspelt stops nothing.
    async fn is_known(&self, what: &StopTarget) -> Result<(), AdminError> {
        let mut reader = self.reader();
        match what {
            StopTarget::All => Ok(()),
            StopTarget::Tool(tool) => {
                let what = format!("tool `{tool}`");
                known::<Tool>(&mut reader, FactKey::tool(tool), &what).await.map(drop)
            }
            StopTarget::Agent(name) => registered(&mut reader, name).await.map(drop),
        }
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
            let is_agent = first == "agent/";
            mark_stopped(row, &stops, is_agent);
        }
        Ok(rows)
    }
}

/// Says of `row`, of an agent or of a tool or server, what of it is stopped.
pub(crate) fn mark_stopped(row: &mut Value, stops: &[Stop], is_agent: bool) {
    let concerns = |what: &StopTarget| match what {
        StopTarget::All => true,
        StopTarget::Tool(tool) => row["tool"] == json!(tool),
        StopTarget::Agent(agent) => is_agent && row["name"] == json!(agent),
    };
    let stopped: Vec<_> =
        stops.iter().map(|stop| &stop.what).filter(|what| concerns(what)).collect();
    if !stopped.is_empty() {
        row["stopped"] = json!(stopped);
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
    Ok(stands_behind(reader, (&wish.by, wish.at), wish.key).await?.then(|| wish.clone()))
}
