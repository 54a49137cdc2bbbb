//! Consent: what a person is shown of what an agent asks, and what they answer, for themselves.
//!
//! INVARIANT: nobody consents for another. The person who acts is the one who logged in, and the
//! mandate's subject is that person (`nobody_consents_for_another`).

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{FactsError, Reader, Refused};
use model::{
    Agent, Consent, ConsentId, ConsentState, FactKey, Mandate, MandateBasis, MandateId, Person,
    PersonId, Purpose, ResourceRef, Sha256Digest, Timestamp, Tool, ToolRef, Withdrawn,
};
use serde_json::json;

use crate::command::{AdminError, Administration, Draft};
use crate::register::put;

/// How long a task lasts at most, and with it a consent to one.
const TASK_MAX: Duration = Duration::from_hours(8);

/// The most tools that a person is shown: nobody reads more.
const TOOLS_SHOWN_MAX: usize = 256;

/// What a person consents to, as they are shown it: names and values, in order. Every character that
/// is not seen, or that changes how others are seen, is escaped already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms(pub Vec<(String, String)>);

/// A request for consent, as a person is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What would be agreed.
    pub terms: Terms,
    /// Until when at the latest.
    pub until: Timestamp,
    /// When it can be answered no longer.
    pub expires: Timestamp,
}

/// What a person answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, for one task.
    Once,
    /// Yes, for any number of tasks until then.
    Until(Timestamp),
    /// No.
    Refuse,
}

/// A mandate that a person gave by consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The mandate.
    pub mandate: Mandate,
    /// Whether anything may still be done under it.
    pub is_valid: bool,
}

impl Terms {
    /// The digest of exactly what is shown.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&json::canonical_of(&self.0))
    }
}

impl Administration {
    /// The active person whom `issuer` vouches for as `subject`. Of anybody else a record says that
    /// they were refused, not who they are.
    pub async fn logged_in(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<PersonId>, AdminError> {
        let mut reader = self.reader();
        let id = reader.find::<PersonId>(FactKey::login(issuer, subject)).await;
        let person = match id.map_err(AdminError::unavailable)? {
            Some(id) => reader.find::<Person>(FactKey::person(&id)).await,
            None => Ok(None),
        };
        let cause = match person.map_err(AdminError::unavailable)? {
            Some(person) if person.is_active() => return Ok(Some(person.id)),
            Some(_) => "person_not_active",
            None => "person_unknown",
        };
        self.refuse_person(cause);
        Ok(None)
    }

    /// Records that somebody in a browser was refused for `cause`.
    pub fn refuse_person(&self, cause: &'static str) {
        let place = ("people", cause);
        self.authority.record_refusal(&self.refusals, place, Refused::default());
    }

    /// What `id` asks, for `person` to read.
    pub async fn consent_show(&self, person: &PersonId, id: &str) -> Result<Shown, AdminError> {
        let mut reader = self.reader();
        let asked = open(&mut reader, id, self.now()).await?;
        let terms = self.terms(&mut reader, (person, &asked)).await?;
        Ok(Shown { terms, until: asked.until, expires: asked.expires })
    }

    /// Answers what `id` asks, for `person`, who was shown what has the digest `shown`.
    pub async fn consent_answer(
        &self,
        person: &PersonId,
        id: &str,
        (answer, shown): (Answer, &str),
    ) -> Result<Option<Mandate>, AdminError> {
        let mut reader = self.reader();
        let agent = open(&mut reader, id, self.now()).await?.agent;
        let mut draft = self.draft(person, "mandate/give", ResourceRef::Agent(agent)).await?;
        let asked = open(&mut draft.reader, id, self.now()).await?;
        let terms = self.terms(&mut draft.reader, (person, &asked)).await?;
        if terms.digest().to_string() != shown {
            let why = "what you were shown has changed: read it again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        match answer {
            Answer::Refuse => self.refuse(draft, asked).await.map(|()| None),
            Answer::Once => {
                let until = asked.until.min(self.now().plus(TASK_MAX));
                self.give(draft, (asked, person), (terms, until, true)).await.map(Some)
            }
            Answer::Until(until) if until > self.now() => {
                let until = asked.until.min(until);
                self.give(draft, (asked, person), (terms, until, false)).await.map(Some)
            }
            Answer::Until(_) => Err(AdminError::Invalid("name a day to come".to_owned())),
        }
    }

    async fn give(
        &self,
        mut draft: Draft<'_>,
        (mut asked, person): (Consent, &PersonId),
        (terms, valid_until, once): (Terms, Timestamp, bool),
    ) -> Result<Mandate, AdminError> {
        let now = self.now();
        let (subject, request) = (person.clone(), terms.digest());
        let mandate = Mandate {
            id: MandateId::new(now, self.authority.entropy().as_ref()),
            basis: MandateBasis::Consented { subject, request, once },
            agent: asked.agent.clone(),
            purpose: asked.purpose.clone(),
            scope: asked.scope.clone(),
            given: now,
            valid_until,
            withdrawn: None,
        };
        asked.state = ConsentState::Given { mandate: mandate.id };
        // What was consented to is kept for as long as the mandate: it is not one of those that
        // are forgotten.
        let place = FactKey::asked(&asked.agent);
        let pending = draft.reader.find::<BTreeMap<ConsentId, Timestamp>>(place.clone()).await;
        let mut pending = pending.map_err(AdminError::unavailable)?.unwrap_or_default();
        pending.remove(&asked.id);
        let effects = vec![
            put(FactKey::mandate(mandate.id), &mandate),
            put(FactKey::consented(person, mandate.id), &mandate.id),
            put(FactKey::consent(asked.id), &asked),
            put(place, &pending),
        ];
        let change = json!({ "consent": asked.id, "mandate": mandate, "shown": terms.0 });
        draft.make(change, effects).await?;
        Ok(mandate)
    }

    async fn refuse(&self, draft: Draft<'_>, mut asked: Consent) -> Result<(), AdminError> {
        asked.state = ConsentState::Refused { since: self.now() };
        let change = json!({ "consent": asked.id, "refused": true });
        draft.make(change, vec![put(FactKey::consent(asked.id), &asked)]).await.map(drop)
    }

    /// The mandates that `person` gave by consent, the newest first.
    pub async fn consents_of(&self, person: &PersonId) -> Result<Vec<Given>, AdminError> {
        let store = self.authority.pip().store();
        let ids = authority::all::<MandateId>(store, &format!("consented/{person}/")).await;
        let (mut reader, now) = (self.reader(), self.now());
        let mut all = Vec::new();
        for id in ids.map_err(AdminError::unavailable)?.into_iter().rev() {
            let mandate = reader.need::<Mandate>(FactKey::mandate(id)).await;
            let mandate = mandate.map_err(AdminError::unavailable)?;
            let is_valid = mandate.withdrawn.is_none() && now < mandate.valid_until;
            all.push(Given { mandate, is_valid });
        }
        Ok(all)
    }

    /// Takes back what `person` consented to: with it all that is done under it.
    pub async fn consent_withdraw(&self, person: &PersonId, id: &str) -> Result<(), AdminError> {
        let id: MandateId = id.parse().map_err(AdminError::invalid)?;
        let missing = || AdminError::Missing(format!("mandate `{id}` of yours"));
        let own = FactKey::consented(person, id);
        let found = self.reader().find::<MandateId>(own).await;
        let found = found.map_err(AdminError::unavailable)?.ok_or_else(missing)?;
        let target = ResourceRef::Mandate(found);
        let mut draft = self.draft(person, "consent/withdraw", target).await?;
        let mandate = draft.reader.need::<Mandate>(FactKey::mandate(found)).await;
        let mut mandate = mandate.map_err(AdminError::unavailable)?;
        if mandate.withdrawn.is_some() {
            return Ok(());
        }
        let reason = "the person took it back".to_owned();
        mandate.withdrawn = Some(Withdrawn { reason, since: self.now() });
        let change = json!({ "consented": mandate.given, "withdrawn": true });
        draft.make(change, vec![put(FactKey::mandate(found), &mandate)]).await.map(drop)
    }
}

impl Administration {
    /// What `person` is shown of what is `asked`.
    async fn terms(
        &self,
        reader: &mut Reader<'_>,
        (person, asked): (&PersonId, &Consent),
    ) -> Result<Terms, AdminError> {
        let found = async {
            let agent: Agent = reader.need(FactKey::agent(&asked.agent)).await?;
            let purpose: Purpose = reader.need(FactKey::purpose(&asked.purpose)).await?;
            Ok::<_, FactsError>((agent, purpose))
        };
        let (agent, purpose) = found.await.map_err(AdminError::unavailable)?;
        let calls = match asked.scope.max_calls {
            Some(1) => "one call in each task".to_owned(),
            Some(most) => format!("at most {most} calls in each task"),
            None => "as many calls as it takes".to_owned(),
        };
        let often = match asked.scope.max_tasks_a_day {
            Some(most) => format!("{calls}, at most {most} of these a day"),
            None => calls,
        };
        let mut all = vec![
            ("Agent", agent.name.to_string()),
            ("Who answers for it", agent.sponsor.to_string()),
            ("On whose behalf", format!("yours, {person}")),
            ("What for", described(&purpose)),
            ("Data", listed(purpose.data.iter(), "no category is registered")),
        ];
        all.extend(self.tools(reader, asked).await?.into_iter().map(|tool| ("Tool", tool)));
        let harm = asked.scope.harm.iter().map(|class| class.as_str());
        all.extend([
            ("May do beside reading", listed(harm, "nothing")),
            ("How often", often),
            ("Until at the latest", plain(asked.until)),
        ]);
        let escaped =
            |(name, value): (&str, String)| (name.to_owned(), mcp::render_untrusted(&value));
        Ok(Terms(all.into_iter().map(escaped).collect()))
    }

    /// Each tool that is asked for, with who answers for it and what it can do.
    async fn tools(
        &self,
        reader: &mut Reader<'_>,
        asked: &Consent,
    ) -> Result<Vec<String>, AdminError> {
        let mut shown = Vec::new();
        for pattern in &asked.scope.tools {
            let text = pattern.to_string();
            if text.ends_with("/*") {
                shown.push(format!("{text}: every tool of this server, those it gets later too"));
                let all = self.authority.pip().tools_of(pattern.server()).await;
                let all = all.map_err(AdminError::unavailable)?;
                shown.extend(all.iter().map(tool_line));
                continue;
            }
            let tool: ToolRef = text.parse().map_err(AdminError::unavailable)?;
            let found = reader.find::<Tool>(FactKey::tool(&tool)).await;
            let found = found.map_err(AdminError::unavailable)?;
            let line = found.as_ref().map(tool_line);
            shown.push(line.unwrap_or_else(|| format!("{tool}: not registered yet")));
        }
        if shown.len() > TOOLS_SHOWN_MAX {
            let why = "it asks for more tools than anybody would read: it has to name them";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        Ok(shown)
    }
}

/// The request `id`, if it can still be answered.
async fn open(reader: &mut Reader<'_>, id: &str, now: Timestamp) -> Result<Consent, AdminError> {
    let missing = || AdminError::Missing("such request, or not any more".to_owned());
    let id: ConsentId = id.parse().map_err(|_| missing())?;
    let asked = reader.find::<Consent>(FactKey::consent(id)).await;
    let asked = asked.map_err(AdminError::unavailable)?;
    asked.filter(|asked| asked.is_open(now)).ok_or_else(missing)
}

fn described(purpose: &Purpose) -> String {
    match purpose.description.as_str() {
        "" => purpose.id.to_string(),
        description => format!("{}: {description}", purpose.id),
    }
}

fn listed<T: AsRef<str>>(all: impl Iterator<Item = T>, none: &str) -> String {
    let all: Vec<T> = all.collect();
    let texts: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    if texts.is_empty() { none.to_owned() } else { texts.join(", ") }
}

/// `time` without what nobody reads.
fn plain(time: Timestamp) -> String {
    let text = time.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
}

fn tool_line(tool: &Tool) -> String {
    let owner = tool.owner.as_ref().map_or("nobody", |owner| owner.as_str());
    let harm = listed(tool.harm.iter().map(|class| class.as_str()), "nobody said what it can do");
    format!("{}: {harm}; {owner} answers for it", tool.tool)
}
