//! Pushed requests (RFC 9126): an agent asks for what some person is to consent to.
//!
//! It asks, and fills in nothing: what lies beyond the purpose or its ceiling is refused before any
//! person sees it. What can be answered is kept for ten minutes, and for one agent there is little of
//! it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use authority::{CommitError, Effect, NotPermitted, Reader, Unit};
use model::{
    Agent, AskedOf, Consent, ConsentId, ConsentState, FactKey, InvalidName, Purpose, PurposeId,
    Scope, SentBy, ServerName, Thumbprint, Timestamp, Tool, ToolPattern,
};
use oauth::consent::{self, Pushed, PushedRequest, SubjectId};
use oauth::{ErrorCode, OAuthError};

use crate::attest::Shown;
use crate::client::Authenticated;
use crate::consented::consent_uri;
use crate::narrow;
use crate::not_permitted::{not_committed, refused};
use crate::service::{TokenHttpRequest, TokenRefusal, TokenService, before, unavailable};

/// For how long a person can answer.
const LIFETIME: Duration = Duration::from_mins(10);

/// For how long after that it is known that nobody did.
const KEPT: Duration = Duration::from_mins(10);

/// The longest that may be asked for.
const ASKED_MAX: Duration = Duration::from_hours(90 * 24);

/// The most requests of one agent, or of one person to its client, that can be answered.
const PENDING_MAX: usize = 16;

/// The most of them while one is for what an instance lacks: that leaves room for what is pushed.
const LACKING_MAX: usize = 8;

/// The most tools, or patterns of tools, of one request: a person is to read them.
const TOOLS_MAX: usize = 32;

/// How often a request is stored again because the same agent stored another one meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// What is told of what cannot be asked for, whatever the reason.
const TOO_WIDE: &str =
    "this is more than the purpose or the agent may have, or no tool that there is";

/// What an agent asked for of late: until when each can be answered.
type Asked = BTreeMap<ConsentId, Timestamp>;

/// What a person is to be asked for.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// What an agent pushed.
    Pushed(&'a consent::Asked),
    /// That for which a client sent the person here.
    Sent(&'a consent::Asked, &'a SentBy),
    /// What the instance lacks that holds this key, and asks for a token.
    Lacking(&'a consent::Asked, Thumbprint),
    /// What was asked before, of which nothing comes any more, and that is lacking so.
    Again(&'a Consent, Thumbprint),
}

impl TokenService {
    /// Keeps what an agent asks for until a person has answered (RFC 9126 §2).
    pub async fn push(&self, http: TokenHttpRequest<'_>) -> Result<Pushed, OAuthError> {
        self.within(http, self.pushed(http)).await
    }

    async fn pushed(&self, http: TokenHttpRequest<'_>) -> Result<Pushed, TokenRefusal> {
        let PushedRequest { client, asked: wanted } =
            consent::parse(http.form).map_err(before("malformed"))?;
        let Authenticated { agent, uses, shown, .. } =
            self.agent_at("/oauth/par", (&http, &client)).await?;
        let Some(people_url) = &self.people_url else {
            let why = "nobody can consent here: no login of people is configured";
            let error = OAuthError::new(ErrorCode::InvalidRequest, why);
            return Err(TokenRefusal::of("no_login", error, &agent));
        };
        let by = (shown.as_ref(), uses.as_slice());
        let asked = self.ask_for(&agent, Wanted::Pushed(&wanted), by).await?;
        Ok(Pushed {
            request_uri: consent::request_uri(&asked.id.to_string()),
            expires_in: asked.expires.since(asked.asked).as_secs().cast_signed(),
            consent_uri: consent_uri(people_url, asked.id),
            interval: consent::INTERVAL_S,
        })
    }

    /// Keeps that `agent`, or a client that is one and sent a person here, asks for what is `wanted`,
    /// and uses up that by which it asks. What its instance lacks is asked for once, as long as it can be answered.
    pub(crate) async fn ask_for(
        &self,
        agent: &Agent,
        wanted: Wanted<'_>,
        (shown, uses): (Option<&Shown>, &[Effect]),
    ) -> Result<Consent, TokenRefusal> {
        for _ in 0..ATTEMPTS_MAX {
            let mut reader = self.authority.pip().reader();
            self.may_ask(&mut reader, agent).await?;
            let asked = self.wanted_of(&mut reader, agent, wanted).await?;
            let open = self.open(&mut reader, &asked).await?;
            let kept = if open.is_some() {
                // That is told once, too, for what is shown.
                self.use_up(reader, uses).await
            } else {
                let mut effects = self.room(&mut reader, agent, &asked).await?;
                effects.push(put_new(&asked));
                effects.extend(uses.iter().cloned());
                self.keep(reader, (&asked, shown), effects).await
            };
            match kept {
                Ok(()) => return Ok(open.unwrap_or(asked)),
                Err(CommitError::Changed { .. }) => {}
                Err(error) => return Err(not_committed(error, agent)),
            }
        }
        Err(refused(NotPermitted::Contended, agent))
    }

    /// Refuses an agent that may begin nothing now: nobody is asked for what would be denied.
    async fn may_ask(&self, reader: &mut Reader<'_>, agent: &Agent) -> Result<(), TokenRefusal> {
        let now = self.authority.clock().now();
        let found = authority::may_begin(reader, &agent.name, now).await.map_err(unavailable)?;
        found.map(drop).map_err(|why| {
            let error = OAuthError::new(ErrorCode::AccessDenied, "access denied");
            TokenRefusal::of(why.code(), error, agent)
        })
    }

    /// What a person is asked for, if `agent` could ever be given it.
    async fn wanted_of(
        &self,
        reader: &mut Reader<'_>,
        agent: &Agent,
        wanted: Wanted<'_>,
    ) -> Result<Consent, TokenRefusal> {
        match wanted {
            Wanted::Pushed(wanted) => self.asked(reader, agent, wanted).await,
            Wanted::Sent(wanted, sent) => {
                let asked = self.asked(reader, agent, wanted).await?;
                Ok(Consent { client: Some(Box::new(sent.clone())), ..asked })
            }
            Wanted::Lacking(wanted, key) => {
                let asked = self.asked(reader, agent, wanted).await?;
                Ok(Consent { key: Some(key), ..asked })
            }
            Wanted::Again(before, key) => {
                let (now, entropy) = (self.authority.clock().now(), self.authority.entropy());
                let asked = Consent {
                    id: ConsentId::new(entropy.as_ref()),
                    asked: now,
                    expires: now.plus(LIFETIME),
                    state: ConsentState::Pending,
                    key: Some(key),
                    ..before.clone()
                };
                let registered = registered(reader, &asked.purpose).await?;
                self.fits(reader, agent, (&asked, &registered)).await.map(|()| asked)
            }
        }
    }

    /// What the instance was asked for already that lacks what is `asked`, while there is time enough to
    /// answer it: whoever asks for a token again and again has people asked once.
    async fn open(
        &self,
        reader: &mut Reader<'_>,
        asked: &Consent,
    ) -> Result<Option<Consent>, TokenRefusal> {
        if asked.key.is_none() {
            return Ok(None);
        }
        let of_late = reader.find::<Asked>(asked.place()).await.map_err(unavailable)?;
        let soon = asked.asked.plus(LIFETIME / 2);
        let open = of_late.unwrap_or_default().into_iter().filter(|(_, expires)| soon < *expires);
        for (id, _) in open {
            let other = reader.find::<Consent>(FactKey::consent(id)).await.map_err(unavailable)?;
            let other = other.filter(|it| it.is_open(soon) && it.asks_the_same(asked));
            if other.is_some() {
                return Ok(other);
            }
        }
        Ok(None)
    }

    /// What `wanted` asks a person for, if `agent` could ever be given it.
    async fn asked(
        &self,
        reader: &mut Reader<'_>,
        agent: &Agent,
        wanted: &consent::Asked,
    ) -> Result<Consent, TokenRefusal> {
        let refuse = |code, cause, why: &str| {
            Err(TokenRefusal::of(cause, OAuthError::new(code, why), agent))
        };
        let malformed = ErrorCode::InvalidAuthorizationDetails;
        let task = &wanted.task;
        let purpose = task.purpose.parse::<PurposeId>().ok();
        let Some(purpose) = purpose.filter(|purpose| agent.purposes.contains(purpose)) else {
            let why = "the purpose is not one of this agent's";
            return refuse(ErrorCode::InvalidScope, "unknown_purpose", why);
        };
        let scope = narrow::scope(task).filter(|scope| scope.tools.len() <= TOOLS_MAX);
        let Some(scope) = scope else {
            let why = format!(
                "name 1 to {TOOLS_MAX} tools, harm classes that there are, and data objects as \
                 `SERVER/NAME`"
            );
            return refuse(malformed, "consent_malformed", &why);
        };
        let Some(resources) = servers(&wanted.resources, &scope) else {
            let why = "`resources` names servers of the tools, as `SERVER/*`";
            return refuse(malformed, "consent_malformed", why);
        };
        let of = wanted.sub_id.as_ref().map(asked_of).transpose();
        let Ok(of) = of else {
            return refuse(malformed, "consent_malformed", "`sub_id` names nobody");
        };
        let now = self.authority.clock().now();
        let registered = registered(reader, &purpose).await?;
        let asked = Consent {
            id: ConsentId::new(self.authority.entropy().as_ref()),
            agent: agent.name.clone(),
            of,
            purpose,
            scope: scope.for_objects_of([&registered.scope, &agent.ceiling]),
            resources,
            delegable: wanted.delegable,
            until: Timestamp::from_seconds(task.until),
            asked: now,
            expires: now.plus(LIFETIME),
            state: ConsentState::Pending,
            client: None,
            key: None,
        };
        self.fits(reader, agent, (&asked, &registered)).await.map(|()| asked)
    }

    /// Refuses what is `asked`, for the purpose as it is `registered`, if `agent` could not be given it now.
    async fn fits(
        &self,
        reader: &mut Reader<'_>,
        agent: &Agent,
        (asked, registered): (&Consent, &Purpose),
    ) -> Result<(), TokenRefusal> {
        let refuse = |code, cause, why: &str| {
            Err(TokenRefusal::of(cause, OAuthError::new(code, why), agent))
        };
        let Consent { purpose, scope, until, asked: now, .. } = asked;
        if *until <= *now || *until > now.plus(ASKED_MAX) {
            let why = "`until` is a time to come, within 90 days";
            return refuse(ErrorCode::InvalidAuthorizationDetails, "consent_malformed", why);
        }
        let is_its = agent.purposes.contains(purpose);
        if !is_its || !registered.scope.includes(scope) || !agent.ceiling.includes(scope) {
            return refuse(ErrorCode::InvalidScope, "consent_too_wide", TOO_WIDE);
        }
        // A name that only its agent chose would stand in the page as if it were the register's.
        for tool in scope.tools.iter().filter_map(ToolPattern::exact) {
            let found = reader.find::<Tool>(FactKey::tool(&tool)).await.map_err(unavailable)?;
            if found.is_none() {
                return refuse(ErrorCode::InvalidScope, "consent_unknown_tool", TOO_WIDE);
            }
        }
        Ok(())
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
        let remove = |id: ConsentId| Effect::Remove { key: FactKey::consent(id) };
        let mut effects: Vec<Effect> = forgotten.into_iter().map(remove).collect();
        let pending = asked.iter().filter(|(_, expires)| now < **expires);
        let most = if new.key.is_some() { LACKING_MAX } else { PENDING_MAX };
        if pending.clone().count() >= most {
            let oldest = pending.min_by_key(|(_, expires)| **expires).map(|(id, _)| *id);
            // Any page can send a person here again and again: that locks nobody out.
            let Some(oldest) = oldest.filter(|_| new.client.is_some()) else {
                let why = "too much was asked that nobody answered yet: try again later";
                let error = OAuthError::new(ErrorCode::TemporarilyUnavailable, why);
                return Err(TokenRefusal::of("consents_pending", error, agent));
            };
            asked.remove(&oldest);
            effects.push(remove(oldest));
        }
        asked.insert(new.id, new.expires);
        effects.push(Effect::Put { key, body: json::canonical_of(&asked) });
        Ok(effects)
    }

    /// Uses up that by which is asked what was asked before.
    async fn use_up(&self, reader: Reader<'_>, uses: &[Effect]) -> Result<(), CommitError> {
        let unit = Unit { effects: uses.to_vec(), ..Unit::resting_on(reader.sourced(())) };
        if unit.effects.is_empty() {
            return Ok(());
        }
        self.authority.journal().store().commit(unit).await.map(drop)
    }

    /// Makes `effects` in one transaction with the record that `asked` was asked.
    async fn keep(
        &self,
        reader: Reader<'_>,
        (asked, shown): (&Consent, Option<&Shown>),
        effects: Vec<Effect>,
    ) -> Result<(), CommitError> {
        let workload = shown.map(|shown| ("workload", shown.identity.id().to_string()));
        let details = [
            ("agent", asked.agent.to_string()),
            ("consent", asked.digest().to_string()),
            ("purpose", asked.purpose.to_string()),
        ];
        let details = details.into_iter().chain(workload);
        let details = details.map(|(name, value)| (name.to_owned(), value)).collect();
        let stamp = (asked.asked, self.authority.entropy().as_ref());
        let entries = vec![authority::event(stamp, "consent_asked", details)];
        let unit = Unit { entries, effects, ..Unit::resting_on(reader.sourced(())) };
        self.authority.journal().store().commit(unit).await.map(drop)
    }
}

fn put_new(asked: &Consent) -> Effect {
    Effect::PutNew { key: FactKey::consent(asked.id), body: json::canonical_of(asked) }
}

/// The purpose `id` as it is registered.
async fn registered(reader: &mut Reader<'_>, id: &PurposeId) -> Result<Purpose, TokenRefusal> {
    reader.need(FactKey::purpose(id)).await.map_err(unavailable)
}

/// The servers that `resources` names, if they are servers of `scope`.
fn servers(resources: &[String], scope: &Scope) -> Option<BTreeSet<ServerName>> {
    let named = |text: &String| {
        let server: ServerName = text.strip_suffix("/*")?.parse().ok()?;
        scope.touches(&server).then_some(server)
    };
    resources.iter().map(named).collect()
}

/// The person whom an agent names. Whether there is such a person is not looked up: it learns nothing.
fn asked_of(named: &SubjectId) -> Result<AskedOf, InvalidName> {
    Ok(match named {
        SubjectId::Opaque { id } => AskedOf::Person { id: id.parse()? },
        SubjectId::IssSub { iss, sub } => AskedOf::Login { key: FactKey::login(iss, sub) },
    })
}
