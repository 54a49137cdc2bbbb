//! Pushed requests (RFC 9126): an agent asks for what some person is to consent to.
//!
//! It asks, and fills in nothing: what lies beyond the purpose or its ceiling is refused before any
//! person sees it. What can be answered is kept for ten minutes, and for one agent there is little of
//! it at once.

use std::collections::BTreeMap;
use std::time::Duration;

use authority::{CommitError, Effect, NotPermitted, Reader, Unit, Urgency};
use model::record::{SystemRecord, VERSION};
use model::{
    Agent, Consent, ConsentId, ConsentState, FactKey, Purpose, PurposeId, RecordId, SentBy,
    Timestamp,
};
use oauth::consent::{self, Pushed, PushedRequest};
use oauth::initiation::AskedTask;
use oauth::{ErrorCode, OAuthError};

use crate::client::Authenticated;
use crate::consented::consent_uri;
use crate::narrow;
use crate::service::{TokenHttpRequest, TokenRefusal, TokenService, before, refused, unavailable};

/// For how long a person can answer.
const LIFETIME: Duration = Duration::from_mins(10);

/// For how long after that it is known that nobody did.
const KEPT: Duration = Duration::from_mins(10);

/// The longest that may be asked for.
const ASKED_MAX: Duration = Duration::from_hours(90 * 24);

/// The most requests of one agent, or of one person to its client, that can be answered.
const PENDING_MAX: usize = 16;

/// The most tools, or patterns of tools, of one request: a person is to read them.
const TOOLS_MAX: usize = 32;

/// How often a request is stored again because the same agent stored another one meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// What an agent asked for of late: until when each can be answered.
type Asked = BTreeMap<ConsentId, Timestamp>;

impl TokenService {
    /// Keeps what an agent asks for until a person has answered (RFC 9126 §2).
    pub async fn push(&self, http: TokenHttpRequest<'_>) -> Result<Pushed, OAuthError> {
        self.within(http, self.pushed(http)).await
    }

    async fn pushed(&self, http: TokenHttpRequest<'_>) -> Result<Pushed, TokenRefusal> {
        let PushedRequest { client, task } =
            consent::parse(http.form).map_err(before("malformed"))?;
        let Authenticated { agent, uses, .. } = self.agent(&client).await?;
        let Some(people_url) = &self.people_url else {
            let why = "nobody can consent here: no login of people is configured";
            let error = OAuthError::new(ErrorCode::InvalidRequest, why);
            return Err(TokenRefusal::of("no_login", error, &agent));
        };
        let asked = self.ask_for(&agent, (&task, None), &uses).await?;
        Ok(Pushed {
            request_uri: consent::request_uri(&asked.id.to_string()),
            expires_in: asked.expires.since(asked.asked).as_secs().cast_signed(),
            consent_uri: consent_uri(people_url, asked.id),
            interval: consent::INTERVAL_S,
        })
    }

    /// Keeps that `agent` asks some person for `task`, or the one whom a client of it sent here, and
    /// uses up that by which it asks.
    pub(crate) async fn ask_for(
        &self,
        agent: &Agent,
        (task, sent): (&AskedTask, Option<&SentBy>),
        uses: &[Effect],
    ) -> Result<Consent, TokenRefusal> {
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = Reader::new(self.authority.pip().store());
            let mut asked = self.asked(&mut reader, agent, task).await?;
            asked.client = sent.cloned().map(Box::new);
            let mut effects = self.room(&mut reader, agent, &asked).await?;
            effects.push(put_new(&asked));
            effects.extend(uses.iter().cloned());
            match self.keep(reader, &asked, effects).await {
                Ok(()) => return Ok(asked),
                Err(CommitError::Changed { .. }) => {}
                Err(CommitError::Used) => return Err(refused(NotPermitted::Replayed, agent)),
                Err(other) => return Err(refused(NotPermitted::Unrecorded(other), agent)),
            }
        }
        Err(refused(NotPermitted::Contended, agent))
    }

    /// What `task` asks a person for, if `agent` could ever be given it.
    async fn asked(
        &self,
        reader: &mut Reader<'_>,
        agent: &Agent,
        task: &AskedTask,
    ) -> Result<Consent, TokenRefusal> {
        let refuse = |code, cause, why: &str| {
            Err(TokenRefusal::of(cause, OAuthError::new(code, why), agent))
        };
        let malformed = ErrorCode::InvalidAuthorizationDetails;
        let purpose = task.purpose.parse::<PurposeId>().ok();
        let Some(purpose) = purpose.filter(|purpose| agent.purposes.contains(purpose)) else {
            let why = "the purpose is not one of this agent's";
            return refuse(ErrorCode::InvalidScope, "unknown_purpose", why);
        };
        let scope = narrow::scope(task).filter(|scope| scope.tools.len() <= TOOLS_MAX);
        let Some(scope) = scope else {
            let why = format!("name 1 to {TOOLS_MAX} tools, and harm classes that there are");
            return refuse(malformed, "consent_malformed", &why);
        };
        let now = self.authority.clock().now();
        let until = Timestamp::from_seconds(task.until);
        if until <= now || until > now.plus(ASKED_MAX) {
            let why = "`until` is a time to come, within 90 days";
            return refuse(malformed, "consent_malformed", why);
        }
        let key = FactKey::purpose(&purpose);
        let registered: Purpose = reader.need(key).await.map_err(unavailable)?;
        if !registered.scope.includes(&scope) || !agent.ceiling.includes(&scope) {
            let why = "this is more than the purpose or the agent may have";
            return refuse(ErrorCode::InvalidScope, "consent_too_wide", why);
        }
        Ok(Consent {
            id: ConsentId::new(self.authority.entropy().as_ref()),
            agent: agent.name.clone(),
            purpose,
            scope,
            until,
            asked: now,
            expires: now.plus(LIFETIME),
            state: ConsentState::Pending,
            client: None,
        })
    }

    /// Makes room for `new` among what its agent asked for of late, and forgets what nobody answered.
    async fn room(
        &self,
        reader: &mut Reader<'_>,
        agent: &Agent,
        new: &Consent,
    ) -> Result<Vec<Effect>, TokenRefusal> {
        let key = new.place();
        let asked = reader.find::<Asked>(key.clone()).await.map_err(unavailable)?;
        let mut asked = asked.unwrap_or_default();
        let now = new.asked;
        let forgotten: Vec<ConsentId> = asked
            .extract_if(.., |_, expires| expires.plus(KEPT) <= now)
            .map(|(id, _)| id)
            .collect();
        if asked.values().filter(|expires| now < **expires).count() >= PENDING_MAX {
            let why = "too much was asked that nobody answered yet: try again later";
            let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
            return Err(TokenRefusal::of("consents_pending", error, agent));
        }
        asked.insert(new.id, new.expires);
        let remove = |id: ConsentId| Effect::Remove { key: FactKey::consent(id) };
        let mut effects: Vec<Effect> = forgotten.into_iter().map(remove).collect();
        effects.push(Effect::Put { key, body: json::canonical_of(&asked) });
        Ok(effects)
    }

    /// Makes `effects` in one transaction with the record that `asked` was asked.
    async fn keep(
        &self,
        reader: Reader<'_>,
        asked: &Consent,
        effects: Vec<Effect>,
    ) -> Result<(), CommitError> {
        let details = [
            ("agent", asked.agent.to_string()),
            ("consent", asked.id.to_string()),
            ("purpose", asked.purpose.to_string()),
        ];
        let record = SystemRecord {
            details: details.map(|(name, value)| (name.to_owned(), value)).into(),
            event: "consent_asked".to_owned(),
            id: RecordId::new(asked.asked, self.authority.entropy().as_ref()),
            kind: "system".to_owned(),
            time: asked.asked,
            v: VERSION,
        };
        let read = reader.sourced(());
        let unit = Unit {
            entries: vec![authority::entry(*record.id.as_bytes(), &record, None)],
            reads: read.keys,
            revision: read.revision,
            effects,
            urgency: Urgency::Awaited,
        };
        self.authority.journal().store().commit(unit).await.map(drop)
    }
}

fn put_new(asked: &Consent) -> Effect {
    Effect::PutNew { key: FactKey::consent(asked.id), body: json::canonical_of(asked) }
}
