//! Consent: what a person is shown of what an agent asks, and what they answer, for themselves.
//!
//! INVARIANT: nobody consents for another. The person who acts is the one who logged in, and the
//! mandate's subject is that person (`n_090_nobody_consents_for_another`).

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{FactsError, Reader, Refused};
use model::{
    Agent, Agreed, AskedOf, Consent, ConsentId, ConsentSession, ConsentState, DataCategory,
    FactKey, Mandate, MandateBasis, MandateId, Person, PersonId, Purpose, ResourceRef, Scope,
    ServerName, Sha256Digest, Timestamp, Tool, Withdrawn,
};
use oauth::redirect_uri::RedirectUri;
use serde_json::json;

use crate::command::{AdminError, Administration, Draft};
use crate::logged_in::{By, session_of};
use crate::register::put;
use crate::sent;

/// How long a task lasts at most, and with it a consent to one.
const TASK_MAX: Duration = Duration::from_hours(8);

/// The most tools that a person is shown: nobody reads more.
const TOOLS_SHOWN_MAX: usize = 256;

/// What would be agreed: what is shown of it, and what the mandate keeps of that.
struct Offer {
    terms: Terms,
    agreed: Agreed,
}

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
    /// Where the answer goes, if a client sent the person here.
    pub redirect: Option<RedirectUri>,
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

/// What a person answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Yes: the mandate that they gave.
    Given(Box<Mandate>),
    /// No.
    Refused,
}

/// What a person is told who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What they answered.
    pub answered: Answered,
    /// Where the browser goes on to with it, if a client sent the person here.
    pub goes_to: Option<String>,
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
    /// Records that somebody in a browser was refused for `cause`.
    pub fn refuse_person(&self, cause: &'static str) {
        let place = ("people", cause);
        self.authority.record_refusal(&self.refusals, place, Refused::default());
    }

    /// What `id` asks, for `person` to read.
    pub async fn consent_show(&self, person: &PersonId, id: &str) -> Result<Shown, AdminError> {
        let mut reader = self.reader();
        let asked = self.open(&mut reader, (person, id)).await?;
        let Offer { terms, .. } = self.offer(&mut reader, (person, &asked)).await?;
        let redirect = asked.client.as_ref().map(|sent| sent::redirect(sent)).transpose()?;
        Ok(Shown { terms, until: asked.until, expires: asked.expires, redirect })
    }

    /// What `person` has answered to what `id` asks, if they have.
    pub async fn consent_answered(
        &self,
        person: &PersonId,
        id: &str,
    ) -> Result<Option<Answered>, AdminError> {
        let Ok(id) = id.parse::<ConsentId>() else { return Ok(None) };
        let mut reader = self.reader();
        let asked = reader.find::<Consent>(FactKey::consent(id)).await;
        let given = match asked.map_err(AdminError::unavailable)?.map(|asked| asked.state) {
            Some(ConsentState::Given { mandate }) => mandate,
            Some(ConsentState::Refused { by, .. }) if by == *person => {
                return Ok(Some(Answered::Refused));
            }
            Some(ConsentState::Refused { .. } | ConsentState::Pending) | None => return Ok(None),
        };
        let mandate = reader.need::<Mandate>(FactKey::mandate(given)).await;
        let mandate = mandate.map_err(AdminError::unavailable)?;
        let is_own = matches!(
            &mandate.basis,
            MandateBasis::Consented { subject, .. } if subject == person
        );
        Ok(is_own.then(|| Answered::Given(Box::new(mandate))))
    }

    /// Answers what `id` asks, for the person who acts, who was shown what has the digest `shown`.
    pub async fn consent_answer(
        &self,
        by: impl Into<By<'_>>,
        id: &str,
        (answer, shown): (Answer, &str),
    ) -> Result<Reply, AdminError> {
        let by = by.into();
        let (person, mut reader) = (by.person, self.reader());
        // Who sends a form twice is told what became of the first one. A client hears of it once.
        if let Some(answered) = self.consent_answered(person, id).await? {
            return Ok(Reply { answered, goes_to: None });
        }
        let agent = self.open(&mut reader, (person, id)).await?.agent;
        let mut draft = self.draft(by, "mandate/give", ResourceRef::Agent(agent)).await?;
        let asked = self.open(&mut draft.reader, (person, id)).await?;
        let offer = self.offer(&mut draft.reader, (person, &asked)).await?;
        if offer.terms.digest().to_string() != shown {
            self.refuse_person("consent_changed");
            let why = "what you were shown has changed: read it again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        match answer {
            Answer::Refuse => self.refuse(draft, (asked, person)).await,
            Answer::Once => {
                let until = asked.until.min(self.now().plus(TASK_MAX));
                self.give(draft, (asked, by), (offer, until, true)).await
            }
            // What a client asks for is one task: what began by its code.
            Answer::Until(_) if asked.client.is_some() => {
                self.refuse_person("consent_to_client");
                Err(AdminError::Invalid("answer yes, for one task, or no".to_owned()))
            }
            Answer::Until(until) if until > self.now() => {
                let until = asked.until.min(until);
                self.give(draft, (asked, by), (offer, until, false)).await
            }
            Answer::Until(_) => {
                self.refuse_person("consent_day_past");
                Err(AdminError::Invalid("name a day to come".to_owned()))
            }
        }
    }

    async fn give(
        &self,
        mut draft: Draft<'_>,
        (mut asked, by): (Consent, By<'_>),
        (Offer { terms, agreed }, valid_until, once): (Offer, Timestamp, bool),
    ) -> Result<Reply, AdminError> {
        let session_of = session_of(&mut draft.reader, by).await?;
        let (now, person) = (self.now(), by.person);
        let (subject, request) = (person.clone(), terms.digest());
        let session = by.session.map(|session| ConsentSession::of(session, by.authentication));
        let mandate = Mandate {
            id: MandateId::new(now, self.authority.entropy().as_ref()),
            basis: MandateBasis::Consented { subject, request, once, agreed, session },
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
        let place = asked.place();
        let pending = draft.reader.find::<BTreeMap<ConsentId, Timestamp>>(place.clone()).await;
        let mut pending = pending.map_err(AdminError::unavailable)?.unwrap_or_default();
        pending.remove(&asked.id);
        let by = (self.issuer.as_str(), now, self.authority.entropy().as_ref());
        let goes_to =
            asked.client.as_mut().map(|sent| sent::coded(sent, asked.id, by)).transpose()?;
        let mut effects = vec![
            put(FactKey::mandate(mandate.id), &mandate),
            put(FactKey::consented(person, mandate.id), &mandate.id),
            put(FactKey::consent(asked.id), &asked),
            put(place, &pending),
        ];
        effects.extend(session_of);
        let change = json!({ "consent": asked.digest(), "mandate": mandate, "shown": terms.0 });
        draft.make(change, effects).await?;
        Ok(Reply { answered: Answered::Given(Box::new(mandate)), goes_to })
    }

    async fn refuse(
        &self,
        draft: Draft<'_>,
        (mut asked, person): (Consent, &PersonId),
    ) -> Result<Reply, AdminError> {
        asked.state = ConsentState::Refused { by: person.clone(), since: self.now() };
        let change = json!({ "consent": asked.digest(), "refused": true });
        draft.make(change, vec![put(FactKey::consent(asked.id), &asked)]).await?;
        let goes_to =
            asked.client.as_ref().map(|sent| sent::refused(sent, &self.issuer)).transpose();
        Ok(Reply { answered: Answered::Refused, goes_to: goes_to? })
    }

    /// The mandates that `person` gave by consent, the newest first.
    pub async fn consents_of(&self, person: &PersonId) -> Result<Vec<Given>, AdminError> {
        let store = self.authority.pip().store();
        let ids = authority::all::<MandateId>(store, &format!("consented/{person}/")).await;
        let (mut reader, now) = (self.reader(), self.now());
        let subject = reader.need::<Person>(FactKey::person(person)).await;
        let subject = subject.map_err(AdminError::unavailable)?;
        let mut all = Vec::new();
        for id in ids.map_err(AdminError::unavailable)?.into_iter().rev() {
            let mandate = reader.need::<Mandate>(FactKey::mandate(id)).await;
            let mandate = mandate.map_err(AdminError::unavailable)?;
            let is_valid = mandate.withdrawn.is_none()
                && now < mandate.valid_until
                && subject.stands_by(mandate.begun(), mandate.basis.session());
            all.push(Given { mandate, is_valid });
        }
        Ok(all)
    }

    /// Takes back what the person who acts consented to: with it all that is done under it.
    pub async fn consent_withdraw(
        &self,
        by: impl Into<By<'_>>,
        id: &str,
    ) -> Result<(), AdminError> {
        let by = by.into();
        let missing = || {
            self.refuse_person("mandate_unknown");
            AdminError::Missing("such mandate of yours".to_owned())
        };
        let id: MandateId = id.parse().map_err(|_| missing())?;
        let own = FactKey::consented(by.person, id);
        let found = self.reader().find::<MandateId>(own).await;
        let found = found.map_err(AdminError::unavailable)?.ok_or_else(missing)?;
        let target = ResourceRef::Mandate(found);
        let mut draft = self.draft(by, "consent/withdraw", target).await?;
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
    /// The request `id`, if it can still be answered, by `person`, and its agent could begin anything.
    /// Whatever it is that is missing, it looks the same.
    async fn open(
        &self,
        reader: &mut Reader<'_>,
        (person, id): (&PersonId, &str),
    ) -> Result<Consent, AdminError> {
        let now = self.now();
        let missing = |cause| {
            self.refuse_person(cause);
            AdminError::Missing("such request, or not any more".to_owned())
        };
        let unknown = || missing("consent_unknown");
        let id: ConsentId = id.parse().map_err(|_| unknown())?;
        let asked = reader.find::<Consent>(FactKey::consent(id)).await;
        let asked = asked.map_err(AdminError::unavailable)?.ok_or_else(unknown)?;
        if !asked.is_open(now) {
            return Err(missing("consent_not_open"));
        }
        if !is_asked(reader, (person, &asked)).await.map_err(AdminError::unavailable)? {
            return Err(missing("consent_of_another"));
        }
        let begins = authority::may_begin(reader, &asked.agent, now).await;
        let begins = begins.map_err(AdminError::unavailable)?;
        begins.map(|_| asked).map_err(|why| missing(why.code()))
    }

    /// What `person` would agree to by what is `asked`.
    async fn offer(
        &self,
        reader: &mut Reader<'_>,
        (person, asked): (&PersonId, &Consent),
    ) -> Result<Offer, AdminError> {
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
        let (lines, tools) = self.tools(reader, asked).await?;
        let Consent { resources, delegable, .. } = asked;
        let agreed = agreed(asked, &purpose, tools);
        let beside = |server: &ServerName| {
            format!("{server}: its resources and prompts, and what it asks of the agent")
        };
        let mut all =
            asked.client.as_ref().map(|sent| sent::shown(sent)).transpose()?.unwrap_or_default();
        all.extend([
            ("Agent", agent.name.to_string()),
            ("Asked", plain(asked.asked)),
            ("Who answers for it", agent.sponsor.to_string()),
            ("On whose behalf", format!("yours, {person}")),
            ("What for", described(&purpose)),
            (
                "Data",
                listed(purpose.data.iter().map(DataCategory::as_str), "no category is registered"),
            ),
            ("Data objects", objects(&asked.scope)),
        ]);
        all.extend(lines.into_iter().map(|tool| ("Tool", tool)));
        let hands_on = if *delegable {
            "yes, any part of this to other agents, as far as policy lets it"
        } else {
            "no, it does all itself"
        };
        let harm = asked.scope.harm.iter().map(|class| class.as_str());
        all.extend([
            ("Beside tools", listed(resources.iter().map(beside), "nothing")),
            ("May do beside reading", listed(harm, "nothing")),
            ("May hand work on", hands_on.to_owned()),
            ("How often", often),
            ("Until at the latest", plain(asked.until)),
        ]);
        let escaped =
            |(name, value): (&str, String)| (name.to_owned(), mcp::render_untrusted(&value));
        Ok(Offer { terms: Terms(all.into_iter().map(escaped).collect()), agreed })
    }

    /// Each tool that is asked for, and what is shown of it: who answers for it and what it can do.
    async fn tools(
        &self,
        reader: &mut Reader<'_>,
        asked: &Consent,
    ) -> Result<(Vec<String>, Vec<Tool>), AdminError> {
        let (mut shown, mut known) = (Vec::new(), Vec::new());
        let is_bound = asked.scope.objects.is_some();
        for pattern in &asked.scope.tools {
            let tools = match pattern.exact() {
                None => {
                    let all = "every tool of this server, those it gets later too";
                    shown.push(format!("{pattern}: {all}"));
                    let all = self.authority.pip().tools_of(pattern.server()).await;
                    all.map_err(AdminError::unavailable)?
                }
                Some(tool) => {
                    let found = reader.need::<Tool>(FactKey::tool(&tool)).await;
                    vec![found.map_err(AdminError::unavailable)?]
                }
            };
            shown.extend(tools.iter().map(|tool| tool_line(tool, is_bound)));
            known.extend(tools);
        }
        if shown.len() > TOOLS_SHOWN_MAX {
            let why = "it asks for more tools than anybody would read: it has to name them";
            return Err(AdminError::Invalid(why.to_owned()));
        }
        Ok((shown, known))
    }
}

/// What the mandate keeps of what is shown beside the scope, of these `tools`.
fn agreed(asked: &Consent, purpose: &Purpose, tools: Vec<Tool>) -> Agreed {
    let mut agreed = Agreed {
        resources: asked.resources.clone(),
        delegable: asked.delegable,
        data: purpose.data.clone(),
        ..Agreed::default()
    };
    for Tool { tool, harm, objects, .. } in tools {
        if let (Some(places), true) = (objects, asked.scope.objects.is_some()) {
            agreed.objects.insert(tool.clone(), places);
        }
        agreed.harm.insert(tool, harm);
    }
    agreed
}

/// Whether `person` is one of those of whom something is `asked`.
async fn is_asked(
    reader: &mut Reader<'_>,
    (person, asked): (&PersonId, &Consent),
) -> Result<bool, FactsError> {
    match &asked.of {
        None => Ok(true),
        Some(AskedOf::Person { id }) => Ok(id == person),
        Some(AskedOf::Login { key }) => {
            let whose = reader.find::<PersonId>(key.clone()).await?;
            Ok(whose.is_some_and(|whose| whose == *person))
        }
    }
}

fn objects(scope: &Scope) -> String {
    let Some(objects) = &scope.objects else { return "whatever its tools reach".to_owned() };
    listed(objects.iter().map(ToString::to_string), "none")
}

fn described(purpose: &Purpose) -> String {
    match purpose.description.as_str() {
        "" => purpose.id.to_string(),
        description => format!("{}: {description}", purpose.id),
    }
}

pub(crate) fn listed<T: AsRef<str>>(all: impl Iterator<Item = T>, none: &str) -> String {
    let all: Vec<T> = all.collect();
    let texts: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    if texts.is_empty() { none.to_owned() } else { texts.join(", ") }
}

/// `time` without what nobody reads.
pub(crate) fn plain(time: Timestamp) -> String {
    let text = time.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
}

/// What is shown of `tool`; also on what it is used, where that is bound.
fn tool_line(tool: &Tool, is_bound: bool) -> String {
    let owner = tool.owner.as_ref().map_or("nobody", |owner| owner.as_str());
    let harm = listed(tool.harm.iter().map(|class| class.as_str()), "nobody said what it can do");
    let used = match &tool.objects {
        _ if !is_bound => String::new(),
        None => "; nobody said on which data objects it is used".to_owned(),
        Some(places) if places.is_empty() => "; it is used on no data object".to_owned(),
        Some(places) => format!("; it is used on what {} names", listed(places.iter(), "nothing")),
    };
    format!("{}: {harm}; {owner} answers for it{used}", tool.tool)
}
