//! Consent: what a person is shown of what an agent asks, and what they answer, for themselves.
//!
//! INVARIANT: nobody consents for another. The person who acts is the one who logged in, and the
//! mandate's subject is that person (`nobody_consents_for_another`).

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{FactsError, Reader, Refused};
use model::{
    Agent, Code, Consent, ConsentId, ConsentState, FactKey, Mandate, MandateBasis, MandateId,
    Person, PersonId, Purpose, ResourceRef, SentBy, Sha256Digest, Timestamp, Tool, ToolRef,
    Withdrawn,
};
use oauth::redirect_uri::RedirectUri;
use oauth::{ErrorCode, OAuthError, authorization_code};
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
    /// Where the answer goes, if a client sent the person here.
    pub redirect: Option<RedirectUri>,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The mandate, if the person gave one.
    pub mandate: Option<Mandate>,
    /// Where the browser goes on to with it, if a client sent the person here.
    pub goes_to: Option<String>,
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
        let asked = open(&mut reader, id, (person, self.now())).await?;
        let terms = self.terms(&mut reader, (person, &asked)).await?;
        let redirect = asked.client.as_ref().map(|sent| redirect(sent)).transpose()?;
        Ok(Shown { terms, until: asked.until, expires: asked.expires, redirect })
    }

    /// Answers what `id` asks, for `person`, who was shown what has the digest `shown`.
    pub async fn consent_answer(
        &self,
        person: &PersonId,
        id: &str,
        (answer, shown): (Answer, &str),
    ) -> Result<Answered, AdminError> {
        let mut reader = self.reader();
        let agent = open(&mut reader, id, (person, self.now())).await?.agent;
        let mut draft = self.draft(person, "mandate/give", ResourceRef::Agent(agent)).await?;
        let asked = open(&mut draft.reader, id, (person, self.now())).await?;
        let terms = self.terms(&mut draft.reader, (person, &asked)).await?;
        if terms.digest().to_string() != shown {
            let why = "what you were shown has changed: read it again";
            return Err(AdminError::Conflict(why.to_owned()));
        }
        match answer {
            Answer::Refuse => self.refuse(draft, asked).await,
            Answer::Once => {
                let until = asked.until.min(self.now().plus(TASK_MAX));
                self.give(draft, (asked, person), (terms, until, true)).await
            }
            // What a client asks for is one task: what began by its code.
            Answer::Until(_) if asked.client.is_some() => {
                Err(AdminError::Invalid("answer yes, for one task, or no".to_owned()))
            }
            Answer::Until(until) if until > self.now() => {
                let until = asked.until.min(until);
                self.give(draft, (asked, person), (terms, until, false)).await
            }
            Answer::Until(_) => Err(AdminError::Invalid("name a day to come".to_owned())),
        }
    }

    async fn give(
        &self,
        mut draft: Draft<'_>,
        (mut asked, person): (Consent, &PersonId),
        (terms, valid_until, once): (Terms, Timestamp, bool),
    ) -> Result<Answered, AdminError> {
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
        let place = asked.place();
        let pending = draft.reader.find::<BTreeMap<ConsentId, Timestamp>>(place.clone()).await;
        let mut pending = pending.map_err(AdminError::unavailable)?.unwrap_or_default();
        pending.remove(&asked.id);
        let goes_to = self.coded(&mut asked)?;
        let effects = vec![
            put(FactKey::mandate(mandate.id), &mandate),
            put(FactKey::consented(person, mandate.id), &mandate.id),
            put(FactKey::consent(asked.id), &asked),
            put(place, &pending),
        ];
        let change = json!({ "consent": asked.id, "mandate": mandate, "shown": terms.0 });
        draft.make(change, effects).await?;
        Ok(Answered { mandate: Some(mandate), goes_to })
    }

    /// Makes the code by which the client of `asked`, if there is one, gets what was consented to; gives
    /// where the browser goes on to with it.
    fn coded(&self, asked: &mut Consent) -> Result<Option<String>, AdminError> {
        let Some(sent) = &mut asked.client else { return Ok(None) };
        let mut secret = [0; 32];
        self.authority.entropy().fill(&mut secret);
        let code = format!("{}.{}", asked.id, keys::base64url(&secret));
        let expires = self.now().plus(Duration::from_secs(authorization_code::LIFETIME_S));
        sent.code = Some(Code { digest: Sha256Digest::of(code.as_bytes()), expires });
        let said = (sent.state.as_deref(), self.issuer.as_str());
        Ok(Some(authorization_code::answered(&redirect(sent)?, &code, said)))
    }

    async fn refuse(&self, draft: Draft<'_>, mut asked: Consent) -> Result<Answered, AdminError> {
        asked.state = ConsentState::Refused { since: self.now() };
        let change = json!({ "consent": asked.id, "refused": true });
        draft.make(change, vec![put(FactKey::consent(asked.id), &asked)]).await?;
        let goes_to = match &asked.client {
            Some(sent) => {
                let error = OAuthError::new(ErrorCode::AccessDenied, "the person refused");
                let said = (sent.state.as_deref(), self.issuer.as_str());
                Some(authorization_code::refused(&redirect(sent)?, &error, said))
            }
            None => None,
        };
        Ok(Answered { mandate: None, goes_to })
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
        let mut all =
            asked.client.as_ref().map(|sent| client(sent)).transpose()?.unwrap_or_default();
        all.extend([
            ("Agent", agent.name.to_string()),
            ("Who answers for it", agent.sponsor.to_string()),
            ("On whose behalf", format!("yours, {person}")),
            ("What for", described(&purpose)),
            ("Data", listed(purpose.data.iter(), "no category is registered")),
        ]);
        all.extend(self.tools(reader, asked).await?.into_iter().map(|tool| ("Tool", tool)));
        let harm = asked.scope.harm.iter().map(|class| class.as_str());
        all.extend([
            ("May do beside reading", listed(harm, "nothing")),
            ("How often", calls),
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

/// The request `id`, if `person` can still answer it. What is for another and what is not there look
/// the same.
async fn open(
    reader: &mut Reader<'_>,
    id: &str,
    (person, now): (&PersonId, Timestamp),
) -> Result<Consent, AdminError> {
    let missing = || AdminError::Missing("such request, or not any more".to_owned());
    let id: ConsentId = id.parse().map_err(|_| missing())?;
    let asked = reader.find::<Consent>(FactKey::consent(id)).await;
    let asked = asked.map_err(AdminError::unavailable)?;
    asked.filter(|asked| asked.is_open(now) && asked.is_for(person)).ok_or_else(missing)
}

/// Where the answer to `sent` goes: it was one of the client's own when it was asked.
fn redirect(sent: &SentBy) -> Result<RedirectUri, AdminError> {
    let unreadable = || AdminError::unavailable("the client's redirect URI cannot be read");
    RedirectUri::parse(&sent.redirect_uri).ok_or_else(unreadable)
}

/// What is shown of the client of `sent`. Of its name nobody knows whether it is its own.
fn client(sent: &SentBy) -> Result<Vec<(&'static str, String)>, AdminError> {
    let redirect = redirect(sent)?;
    let place = if redirect.is_loopback() {
        format!("{}: a program on the machine that you are at", redirect.host())
    } else {
        redirect.host().to_owned()
    };
    let name = sent.name.as_ref().map(|name| ("Calls itself", name.clone()));
    let scopes =
        sent.scope.clone().unwrap_or_else(|| "none named: all of the tools below".to_owned());
    let own = [("Client", sent.client_id.clone())].into_iter().chain(name);
    let rest = [
        ("Sends the answer to", place),
        ("For the server", sent.server.to_string()),
        ("Scopes", scopes),
    ];
    Ok(own.chain(rest).collect())
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
