//! Request bodies: read whole, within their limit and in time, and not more at once than there is
//! room for.
//!
//! Who shows no token that is known has less room, so that strangers cannot take it all; nobody has
//! more than a part of it; and requests for tokens, which are small, have room of their own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use gateway::{Gateway, Subject};
use http::{HeaderMap, StatusCode, header};
use model::AgentName;
use oauth::form::FORM_MAX;

use crate::agents::{Agents, Peer};

/// The most bytes of bodies at once of those whose token is known.
const KNOWN_MAX: usize = 256 << 20;

/// The most bytes of bodies at once of all others.
const STRANGERS_MAX: usize = 64 << 20;

/// The most bytes of requests for tokens at once.
const FORMS_MAX: usize = 16 << 20;

/// Of each room, one agent or one address has at most one such part; of an agent's part, one of its
/// subjects again.
const PARTS: usize = 4;

/// Room for request bodies. Cheap to clone.
#[derive(Clone)]
pub struct Bodies {
    body_max: usize,
    within: Duration,
    known: Room,
    strangers: Room,
    forms: Room,
}

/// So many bytes, and who has how many of them.
#[derive(Clone)]
struct Room {
    most: usize,
    taken: Arc<Mutex<Shares>>,
}

#[derive(Default)]
struct Shares {
    all: usize,
    of: BTreeMap<Whose, usize>,
}

/// Whose body it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Agent(AgentName),
    Subject(AgentName, Subject),
    From(Option<IpAddr>),
}

impl Whose {
    /// How much of a room of `most` bytes it has.
    const fn part(&self, most: usize) -> usize {
        match self {
            Self::Agent(_) | Self::From(_) => most / PARTS,
            Self::Subject(..) => most / PARTS / PARTS,
        }
    }
}

/// Bytes of a room. They are given back when it is dropped.
pub(crate) struct Taken {
    room: Room,
    whose: Vec<Whose>,
    bytes: usize,
}

/// Why a request is not read at all, for the record, and what it is answered.
pub(crate) struct Unread {
    pub(crate) cause: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) why: String,
}

/// A body that came whole, within its limit and in time.
pub(crate) struct Whole {
    pub(crate) body: Result<Bytes, Unread>,
    /// Its room, as long as the request is dealt with.
    pub(crate) _room: Option<Taken>,
}

/// A request for a token, which came as a body does.
pub(crate) struct Form(pub(crate) Whole);

impl Bodies {
    /// Room for bodies of up to `body_max` bytes that arrive within `within`.
    pub fn new(body_max: usize, within: Duration) -> Self {
        let [known, strangers, forms] = [KNOWN_MAX, STRANGERS_MAX, FORMS_MAX].map(Room::new);
        Self { body_max, within, known, strangers, forms }
    }

    /// The largest body, in bytes.
    pub(crate) const fn body_max(&self) -> usize {
        self.body_max
    }

    /// Reads the body of `request` into `room`, if there is as much as it may become.
    async fn read(
        &self,
        request: Request,
        (room, whose, most): (&Room, Vec<Whose>, usize),
    ) -> Whole {
        let cause = "body_unread";
        let announced = announced(request.headers()).unwrap_or(most);
        if announced > most {
            let (status, why) =
                (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n".to_owned());
            return Whole { body: Err(Unread { cause, status, why }), _room: None };
        }
        let Some(taken) = room.take(whose, announced) else {
            let (cause, status) = ("bodies", StatusCode::SERVICE_UNAVAILABLE);
            let why = "too much is under way: try again later\n".to_owned();
            return Whole { body: Err(Unread { cause, status, why }), _room: None };
        };
        let read = Bytes::from_request(request, &());
        let late =
            |_| (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n".to_owned());
        let read = tokio::time::timeout(self.within, read).await.map_err(late);
        let unread = |refused: BytesRejection| (refused.status(), refused.body_text());
        let read = read.and_then(|read| read.map_err(unread));
        let body = read.map_err(|(status, why)| Unread { cause, status, why });
        Whole { body, _room: Some(taken) }
    }
}

/// How long the body is, if its head says so.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Room {
    fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// `bytes` of it, if there are as many, in all and for each of `whose`.
    fn take(&self, whose: Vec<Whose>, bytes: usize) -> Option<Taken> {
        let mut taken = self.taken.lock().expect("no panic while it is held");
        let has_room = |one: &Whose| {
            let own = taken.of.get(one).copied().unwrap_or(0);
            own + bytes <= one.part(self.most)
        };
        if taken.all + bytes > self.most || !whose.iter().all(has_room) {
            return None;
        }
        taken.all += bytes;
        for one in &whose {
            *taken.of.entry(one.clone()).or_default() += bytes;
        }
        Some(Taken { room: self.clone(), whose, bytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().expect("no panic while it is held");
        taken.all -= self.bytes;
        for one in &self.whose {
            match taken.of.get_mut(one) {
                Some(own) if *own > self.bytes => *own -= self.bytes,
                _ => drop(taken.of.remove(one)),
            }
        }
    }
}

impl Unread {
    /// The answer, once it is noted.
    pub(crate) fn told(self, gateway: &Gateway) -> Response {
        gateway.note_refusal(self.cause);
        (self.status, self.why).into_response()
    }
}

impl FromRequest<Agents> for Whole {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &Agents) -> Result<Self, Infallible> {
        let (bodies, from) = (&state.bodies, from(&request));
        let room = match state.gateway.known(request.headers()) {
            Some((agent, subject)) => {
                let whose = vec![Whose::Agent(agent.clone()), Whose::Subject(agent, subject)];
                (&bodies.known, whose, bodies.body_max)
            }
            None => (&bodies.strangers, from, bodies.body_max),
        };
        Ok(bodies.read(request, room).await)
    }
}

impl FromRequest<Agents> for Form {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &Agents) -> Result<Self, Infallible> {
        let room = (&state.bodies.forms, from(&request), FORM_MAX);
        Ok(Self(state.bodies.read(request, room).await))
    }
}

fn from(request: &Request) -> Vec<Whose> {
    vec![Whose::From(request.extensions().get::<Peer>().map(|Peer(address)| *address))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_110_nobody_takes_more_than_a_part_of_the_room_and_all_no_more_than_there_is() {
        let room = Room::new(1_000);
        let one = || vec![Whose::Agent("one".parse().unwrap())];
        let address = |last| vec![Whose::From(Some(IpAddr::from([192, 0, 2, last])))];
        let first = room.take(one(), 250);
        assert!(first.is_some(), "a part of it");
        assert!(room.take(one(), 1).is_none(), "no more than that");
        let others: Vec<_> = (1..=3).filter_map(|last| room.take(address(last), 250)).collect();
        assert_eq!(others.len(), 3);
        assert!(room.take(address(9), 1).is_none(), "there is no more");
        drop(first);
        assert!(room.take(address(9), 250).is_some());
    }

    #[test]
    fn n_110_a_person_takes_no_more_than_a_part_of_their_agents_room() {
        let room = Room::new(1_600);
        let of = |name: &str| {
            let agent: AgentName = "desk".parse().unwrap();
            vec![
                Whose::Agent(agent.clone()),
                Whose::Subject(agent, Subject::Person(name.to_owned())),
            ]
        };
        let own = room.take(of("ann"), 100);
        assert!(own.is_some(), "a part of a part");
        assert!(room.take(of("ann"), 1).is_none(), "no more than that");
        let others: Vec<_> = ["b", "c", "d"].map(|name| room.take(of(name), 100)).into();
        assert!(others.iter().all(Option::is_some));
        assert!(room.take(of("e"), 1).is_none(), "their agent has no more");
        drop((own, others));
        assert!(room.taken.lock().unwrap().of.is_empty());
    }

    #[test]
    fn n_110_a_length_is_what_the_head_says() {
        let check = |text: &str, length: Option<usize>| {
            let value = text.parse().expect("a header's value");
            let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, value)]);
            assert_eq!(announced(&headers), length, "{text}");
        };
        check("12", Some(12));
        check("-1", None);
        check("twelve", None);
        assert_eq!(announced(&HeaderMap::new()), None);
    }
}
