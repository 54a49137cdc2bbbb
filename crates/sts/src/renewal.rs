//! Renewal is a chain: each renewal names the token before it and the nonce that came with it.
//!
//! Who copied a key and what belongs to it goes on from the same token as its holder: whoever comes
//! second is found, because that token has a successor already. A client whose answer was lost asks
//! again with the same *attempt*, a value that it made for this renewal and has told nobody else.
//!
//! Clients that know nothing of this get one token at a time for each server, so that a copied key
//! is at least in its holder's way. An instance is of one kind for good.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ServerName, Sha256Digest, Source, Timestamp};
use oauth::token_endpoint::{self, Previous};
use serde::{Deserialize, Serialize};

/// How long before the end of its token a client that knows nothing of the chain may have the next.
const LEEWAY: Duration = Duration::from_mins(1);

/// What the next renewal of an instance has to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Renewal {
    /// One token.
    Chained {
        /// The digest of the attempt that it was given for.
        attempt: Sha256Digest,
        /// The digests of the token's id and of the nonce.
        last: Link,
        /// What that token followed; none for the first.
        after: Option<Link>,
        /// From where it was asked for.
        source: Box<Source>,
        /// Until when the last token to end is good.
        until: Timestamp,
    },
    /// The client does not know of it: until when each server's token is good.
    Unchained {
        /// By server.
        until: BTreeMap<ServerName, Timestamp>,
    },
}

/// A token of a chain, by the digests of its id and its nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    jti: Sha256Digest,
    nonce: Sha256Digest,
}

/// What a request for a token is, seen from the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next one.
    Next,
    /// The last one once more: its answer was lost.
    Again,
    /// The client has a token already, until then.
    TooEarly(Timestamp),
    /// Somebody else goes on from where the holder of the key has been.
    Copied,
}

impl Link {
    pub(crate) fn of(jti: &str, nonce: &str) -> Self {
        let digest = |text: &str| Sha256Digest::of(text.as_bytes());
        Self { jti: digest(jti), nonce: digest(nonce) }
    }

    fn named(previous: &Previous) -> Self {
        Self::of(&previous.jti, &previous.nonce)
    }
}

/// What a request says of the chain.
pub(crate) type Asked = Option<token_endpoint::Renewal>;

/// What a request is that says `asked`, for `server`, where `last` is what was given before.
pub(crate) fn step(
    last: Option<&Renewal>,
    asked: &Asked,
    (server, now): (&ServerName, Timestamp),
) -> Step {
    match (last, asked) {
        (None, _) => Step::Next,
        (Some(Renewal::Unchained { until }), None) => match until.get(server) {
            Some(end) if now.plus(LEEWAY) < *end => Step::TooEarly(*end),
            _ => Step::Next,
        },
        (Some(Renewal::Chained { attempt, last, after, .. }), Some(asked)) => {
            let named = asked.previous.as_ref().map(Link::named);
            if named.as_ref() == Some(last) {
                Step::Next
            } else if named == *after && *attempt == digest(&asked.attempt) {
                Step::Again
            } else {
                Step::Copied
            }
        }
        (Some(_), _) => Step::Copied,
    }
}

impl Renewal {
    /// What the next renewal has to follow once the token `given`, good for `server` until `until`,
    /// was given to who said `asked` from `source`.
    pub(crate) fn after(
        last: Option<Self>,
        asked: &Asked,
        given: Link,
        (server, until): (ServerName, Timestamp),
        source: Source,
    ) -> Self {
        let ends = last.as_ref().and_then(Self::until).map_or(until, |other| other.max(until));
        let Some(asked) = asked else {
            let mut all = match last {
                Some(Self::Unchained { until }) => until,
                _ => BTreeMap::new(),
            };
            all.insert(server, until);
            return Self::Unchained { until: all };
        };
        let after = asked.previous.as_ref().map(Link::named);
        Self::Chained {
            attempt: digest(&asked.attempt),
            last: given,
            after,
            source: Box::new(source),
            until: ends,
        }
    }

    /// Until when the instance has a token that is good.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Chained { until, .. } => Some(*until),
            Self::Unchained { until } => until.values().max().copied(),
        }
    }

    /// From where the last token was asked for, if that is known.
    pub(crate) fn source(&self) -> Option<&Source> {
        match self {
            Self::Chained { source, .. } => Some(source),
            Self::Unchained { .. } => None,
        }
    }
}

fn digest(attempt: &str) -> Sha256Digest {
    Sha256Digest::of(attempt.as_bytes())
}
