//! One HTTP request in, one reply out: parsed, authenticated, sent on its way, or refused.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use authority::{Refused, Shown};
use bytes::Bytes;
use futures::FutureExt as _;
use http::HeaderMap;
use mcp::{Askable, Era, Message, Method, Request};
use model::{FactKey, RecordId, ServerName, Sha256Digest, Stranger};
use oauth::verified_tokens::VerifiedTokens;

use crate::authenticate::{Caller, OtherHands, shown};
use crate::call::Gateway;
use crate::catalog::Route;
use crate::mcp_id::Id;
use crate::offered;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::room::{Kept, Whose};
use crate::shares::{Asker, Full, Place};
use crate::under_way::CallKey;
use crate::way_back::WayBack;

/// One HTTP request to `/mcp/{server}`.
pub struct HttpCall<'a> {
    /// The server named in the path.
    pub server: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, already within its limit.
    pub body: Bytes,
    /// The room that the body takes as long as anything of it is kept.
    pub room: Option<Arc<Kept>>,
    /// When it arrived, on the monotonic clock.
    pub arrived: Duration,
    /// Where it comes from, where that is known.
    pub peer: Option<IpAddr>,
    /// The same, where it tells one who sends from another.
    pub sender: Option<IpAddr>,
}

/// What is known of a request for answering it.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) id: Id,
    pub(crate) era: Era,
    pub(crate) method: Option<Method>,
    /// What the client declares, in the stateless era, that it may be asked.
    pub(crate) askable: Askable,
}

impl About {
    const fn nothing(era: Era) -> Self {
        Self { id: Id::null(), era, method: None, askable: Askable::NOTHING }
    }
}

/// One authenticated request on its way through.
pub(crate) struct Passage<'a> {
    pub(crate) caller: Caller,
    pub(crate) server: ServerName,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) era: Era,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) arrived: Duration,
    pub(crate) url: String,
    /// The way back to the client, by which it counts among its instance's and its agent's.
    pub(crate) way_back: WayBack,
    /// The room of the body.
    pub(crate) room: Option<Arc<Kept>>,
    /// The place in which it is decided.
    pub(crate) place: Place,
}

impl Passage<'_> {
    /// The MCP session that the request names. The stateless era has none and ignores the header.
    pub(crate) fn session_id(&self) -> Option<&str> {
        if self.era == Era::Session { session_id(self.headers) } else { None }
    }

    /// Names the call `id` of this caller.
    pub(crate) fn call_key(&self, id: String) -> CallKey {
        let (instance, server) = (self.caller.instance, self.server.clone());
        CallKey { instance, server, session: self.session_id().map(str::to_owned), id }
    }
}

impl Gateway {
    /// Answers a POST.
    pub async fn post(&self, http: HttpCall<'_>) -> Reply {
        let mut about = About::nothing(Era::Session);
        let mut caller = None;
        // In the connection it takes room only as long as it is under way.
        let dealt_with = Box::pin(self.deal_with(&http, &mut about, &mut caller));
        let dealt_with = AssertUnwindSafe(dealt_with);
        // A panic is a refusal like any other; whatever was begun closes as unknown.
        let answer = dealt_with.catch_unwind().await.unwrap_or(Err(Refusal::Broken));
        answer.unwrap_or_else(|refusal| self.refuse(&http, &refusal, &about, caller.as_ref()))
    }

    /// Answers a DELETE: ends an MCP session. `None` where the era of the request has no sessions.
    pub async fn delete(&self, http: &HttpCall<'_>) -> Option<Reply> {
        let era = mcp::era_of_headers(http.headers);
        if era == Era::Stateless {
            return None;
        }
        let mut caller = None;
        let place = self.place(http).await;
        let passage = place.and_then(|place| self.passage(http, era, ("DELETE", place)));
        let ended = passage.and_then(|passage| {
            caller = Some(passage.caller.clone());
            self.tokens.use_up(&passage.caller, false, &passage.url)?;
            let id = session_id(http.headers).ok_or(Refusal::NoSession)?;
            let session = self.links.session(id, passage.caller.instance, &passage.server);
            session.ok_or(Refusal::NoSession)?;
            self.links.end(id);
            Ok(Reply::empty(204))
        });
        let about = About::nothing(era);
        Some(ended.unwrap_or_else(|refusal| self.refuse(http, &refusal, &about, caller.as_ref())))
    }

    /// Whose a request is, by the token that its headers show, if the token is known, whoever shows it.
    pub fn known(&self, headers: &HeaderMap) -> Option<Arc<[Whose]>> {
        let (agent, subject) = self.tokens.claimed(headers)?;
        Some(Whose::of_agent(&agent, &subject))
    }

    /// The tokens that are known here. Whoever issues tokens shares them: who shows one for the first time is no
    /// stranger.
    pub fn known_tokens(&self) -> Arc<VerifiedTokens> {
        self.tokens.verified.clone()
    }

    /// A place among the requests that are dealt with, for one of `sender` that asks for a token;
    /// `None` if it is not its turn in time. It is given back when it is dropped.
    pub async fn turn_of(&self, sender: Option<IpAddr>) -> Option<impl Drop> {
        self.turn(Asker::Stranger(sender)).await.ok()
    }

    /// Records that a request was refused before it got here: over a limit, or addressed to
    /// somebody else.
    pub fn note_refusal(&self, cause: &'static str) {
        self.recorder.refuse(cause, Refused::default());
    }

    async fn deal_with(
        &self,
        http: &HttpCall<'_>,
        about: &mut About,
        caller: &mut Option<Caller>,
    ) -> Result<Reply, Refusal> {
        let place = self.place(http).await?;
        let limits = mcp::Limits { bytes: self.limits.body, ..mcp::Limits::default() };
        let message = mcp::parse_message(&http.body, &limits).map_err(Refusal::Unparsable)?;
        about.era = mcp::era_of(http.headers, &message);
        let mut is_decided = false;
        if let Message::Request(request) = &message {
            about.id = Id::of(request.id_raw());
            about.method = Some(request.method.clone());
            about.askable = Askable::of_request(request);
            is_decided = offered::is_decided(&request.method, about.era);
        }
        let passage = self.passage(http, about.era, ("POST", place))?;
        *caller = Some(passage.caller.clone());
        // Once it is known whose it is, so that who was not known yet is so when it comes again.
        let read = http.body.len() + json::weight(&http.body);
        let kept = http.room.as_ref().map_or(Ok(()), |room| room.fit(read));
        kept.map_err(|Full| Refusal::TooMany("bodies, as they are once read"))?;
        self.tokens.use_up(&passage.caller, is_decided, &passage.url)?;
        mcp::check_era(http.headers, &message, about.era).map_err(Refusal::WrongEra)?;
        match message {
            Message::Request(request) => {
                let reply = self.request(&passage, request, about).await?;
                Ok(Reply { way_back: Some(passage.way_back), ..reply })
            }
            Message::Notification(notification) => {
                self.notified(&passage, &notification);
                Ok(Reply::empty(202))
            }
            Message::Response(response) => {
                let key = passage.call_key(response.id.clone());
                let awaited = self.awaited.answer(&key, response, http.room.clone());
                if awaited { Ok(Reply::empty(202)) } else { Err(Refusal::Unasked) }
            }
        }
    }

    /// A place among the requests that are dealt with, once it is its sender's turn.
    async fn place(&self, http: &HttpCall<'_>) -> Result<Place, Refusal> {
        let asker = match self.tokens.claimed(http.headers) {
            Some((agent, subject)) => Asker::Agent(agent, subject),
            None => Asker::Stranger(http.sender),
        };
        self.turn(asker).await
    }

    /// A place for `asker`, once it is its turn.
    pub(crate) async fn turn(&self, asker: Asker) -> Result<Place, Refusal> {
        let now = self.authority.clock().monotonic();
        let entered = self.turns.enter(asker, now);
        let entered = tokio::time::timeout(self.authority.decision_timeout(), entered).await;
        entered.unwrap_or(Err(Full)).map_err(|Full| Refusal::TooMany("requests that wait"))
    }

    /// Authenticates; only then is it told whether there is such a server.
    fn passage<'a>(
        &'a self,
        http: &HttpCall<'a>,
        era: Era,
        (method, place): (&str, Place),
    ) -> Result<Passage<'a>, Refusal> {
        let url = format!("{}/mcp/{}", self.tokens.issuer, http.server);
        let caller = self.tokens.authenticate(http.headers, method, &url)?;
        let server: ServerName = http.server.parse().map_err(|_| Refusal::UnknownTool)?;
        let route = self.routes.get(&server).ok_or(Refusal::UnknownTool)?;
        let counted = self.requests.open(&caller.agent, caller.subject());
        let counted = counted
            .map_err(|Full| Refusal::TooMany("requests of one agent or of one subject of it"));
        let way_back = WayBack::new((&self.rooms, &self.recorder), (&caller, &server), counted?);
        let (headers, arrived, room) = (http.headers, http.arrived, http.room.clone());
        Ok(Passage { caller, server, route, era, headers, arrived, url, way_back, room, place })
    }

    async fn request(
        &self,
        passage: &Passage<'_>,
        request: Request,
        about: &About,
    ) -> Result<Reply, Refusal> {
        if !offered::is_offered(&request.method, passage.era) {
            return Err(Refusal::UnknownMethod);
        }
        let id = about.id.clone();
        match &request.method {
            Method::Ping => Ok(result_reply(&id, &serde_json::json!({}))),
            Method::Initialize => self.initialize(passage, request, id).await,
            Method::Discover => self.discover(passage, request, id).await,
            Method::ToolsList => self.list(passage, request, id).await,
            Method::ToolsCall => Box::pin(self.call(passage, request, about)).await,
            _ => Box::pin(self.other(passage, request, about)).await,
        }
    }

    /// Takes note of a notification. Only a cancellation means anything to us.
    fn notified(&self, passage: &Passage<'_>, notification: &mcp::Notification) {
        let Some(id) = notification.cancelled_id() else { return };
        self.under_way.cancel(&passage.call_key(id));
    }

    /// Answers a refusal, and records it unless a decision record tells of it already.
    fn refuse(
        &self,
        http: &HttpCall<'_>,
        refusal: &Refusal,
        about: &About,
        caller: Option<&Caller>,
    ) -> Reply {
        if !refusal.is_decided() {
            let who = caller.map(Caller::who).unwrap_or_default();
            let record = self.recorder.refuse(refusal.cause(), who);
            self.note_stranger(http, refusal, record);
        }
        let server = http.server.parse::<ServerName>().ok();
        let route = server.and_then(|server| self.routes.get(&server));
        crate::list::refusal_reply(refusal, about, route.map(|route| route.denials))
    }
}

impl Gateway {
    /// Takes note of a caller whose token is another's; or none of ours, with what it names of a person, so
    /// that it is told apart whether it is a person's own: no agent borrows that. The answer is the same.
    fn note_stranger(&self, http: &HttpCall<'_>, refusal: &Refusal, record: Option<RecordId>) {
        let Refusal::Unauthenticated { cause, other_hands, .. } = refusal else { return };
        if other_hands.is_none() && !["token_invalid", "not_dpop"].contains(cause) {
            return;
        }
        let credential = http.headers.get(http::header::AUTHORIZATION);
        let credential = credential.map(|it| Sha256Digest::of(it.as_bytes()));
        let client = http.headers.get(http::header::USER_AGENT).and_then(|it| it.to_str().ok());
        let stranger = Stranger {
            cause: (*cause).to_owned(),
            tried: "call".to_owned(),
            server: http.server.parse().ok(),
            source: http.peer.map(|peer| peer.to_string()),
            credential,
            client: client.and_then(model::claim),
            ..Stranger::default()
        };
        if let Some(hands) = other_hands {
            let OtherHands { agent, instance, key } = hands.as_ref();
            let stranger = Stranger {
                holder: Some(instance.to_string()),
                agents: vec![agent.clone()],
                instances: vec![*instance],
                ..stranger
            };
            return self.authority.note_proved(stranger, *key);
        }
        let login = shown(http.headers).and_then(oauth::jws::claimed_subject);
        let login = login.map(|(issuer, subject)| FactKey::login(&issuer, &subject));
        let (logins, of_person) = (login.into_iter().zip(credential).collect(), stranger.clone());
        let otherwise = (*cause != "not_dpop").then_some(stranger);
        self.authority.note_shown(Shown { logins, of_person, otherwise, refusal: record });
    }
}

/// The MCP session id that the headers name, if it is one.
fn session_id(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("mcp-session-id").iter();
    let only = values.next().filter(|_| values.next().is_none());
    only?.to_str().ok()
}

/// A JSON-RPC result.
pub(crate) fn result_reply(id: &Id, result: &serde_json::Value) -> Reply {
    Reply::json(200, format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}"))
}
