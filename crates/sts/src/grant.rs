//! What a token is asked for: bound to the instance that asks, or to the one that it will be.

use std::collections::BTreeSet;
use std::time::Duration;

use authority::{Actor, Circumstances, Effect, Entailed, Governed, PermitContext};
use model::{
    AccessRequest, ActionName, Agent, AgentName, Binding, Entropy, FactKey, Instance, Opens,
    Principal, RecordId, ResourceRef, Revision, ServerName, Source, Sourced, Thumbprint, Timestamp,
};
use serde_json::{Value, json};

use crate::client::Credential;
use crate::family::Rotation;
use crate::mint;
use crate::proposed::Proposed;
use crate::renewal::{Asked, Renewal};

/// The enforcement point as records name it.
pub(crate) const POINT: &str = "token-endpoint";

/// A token that somebody asks for.
#[derive(Debug)]
pub struct TokenGrant {
    request: AccessRequest,
    circumstances: Circumstances,
    pub(crate) server: ServerName,
    pub(crate) audience: String,
    /// The key to which it is bound; none for a bearer token.
    pub(crate) key: Option<Thumbprint>,
    pub(crate) renewing: Renewing,
    pub(crate) drawn: Drawn,
    /// The refresh token that goes with it, for a client that is known by its document.
    pub(crate) rotation: Option<Rotation>,
    /// Until when what it was exchanged for is good, in seconds since the epoch.
    pub(crate) bound: Option<i64>,
}

/// What is drawn at random for a token.
#[derive(Debug)]
pub(crate) struct Drawn {
    /// Its id.
    pub(crate) jti: String,
    /// What the one that follows it has to name besides.
    pub(crate) nonce: String,
}

impl Drawn {
    pub(crate) fn new(now: Timestamp, entropy: &dyn Entropy) -> Self {
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        Self { jti: RecordId::new(now, entropy).to_string(), nonce: keys::base64url(&nonce) }
    }
}

/// What the token follows, and from where it is asked for.
#[derive(Debug)]
pub(crate) struct Renewing {
    pub(crate) asked: Asked,
    /// What was given before; the token is not issued if that is another by then.
    pub(crate) last: Sourced<Option<Renewal>>,
    pub(crate) source: Source,
    /// Whether the instance asks itself: the token that another asked for begins no chain.
    pub(crate) is_own: bool,
    /// Until when the platform vouches for the workload, where it does.
    pub(crate) until: Option<Timestamp>,
    /// By what it is asked for.
    pub(crate) by: Box<Credential>,
}

impl Governed for TokenGrant {
    fn request(&self) -> &AccessRequest {
        &self.request
    }

    fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    /// The token that it follows is still the last one when it is permitted.
    fn rests(&self) -> Option<(&[FactKey], Revision)> {
        let last = &self.renewing.last;
        Some((&last.keys, last.revision))
    }

    fn is_of(&self, agent: &Agent) -> bool {
        self.renewing.by.is_of(agent)
    }

    /// That it is issued: nobody sees it before that is on record.
    fn entails(&self, context: &PermitContext, entropy: &dyn Entropy) -> Option<Entailed> {
        mint::issuance(self, context, entropy)
    }
}

/// Which instance asks.
pub(crate) enum Asker {
    /// One that is in the register.
    Known(Box<Instance>),
    /// One that will be.
    New(Box<Proposed>),
}

impl Asker {
    /// The other agents as whose instances the workload was entered that is to be one.
    pub(crate) fn others(&self) -> BTreeSet<AgentName> {
        match self {
            Self::Known(_) => BTreeSet::new(),
            Self::New(proposed) => proposed.others.clone(),
        }
    }
}

impl TokenGrant {
    pub(crate) fn new(
        asker: Asker,
        (server, audience): (ServerName, String),
        (key, renewing, bound): (Option<Thumbprint>, Renewing, Option<i64>),
        (uses, arrived): (Vec<Effect>, Duration),
        drawn: Drawn,
    ) -> Self {
        let (instance, actor, input) = match asker {
            // Whose task is there opens nothing.
            Asker::Known(instance) => (instance.id, Actor::Known(instance.id), Value::Null),
            Asker::New(proposed) => {
                let Proposed { standing, effects, .. } = *proposed;
                let instance = standing.value.instance.id;
                let opens = Opens::from(&standing.value.task);
                let (standing, entries) = (Box::new(standing), Vec::new());
                let actor = Actor::Proposed { standing, effects, entries };
                (instance, actor, json!({ "opens": opens }))
            }
        };
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::method("token/issue"),
            resource: ResourceRef::Server(server.clone()),
            input,
        };
        let circumstances = Circumstances {
            actor,
            binding: binding(key),
            token: None,
            point: POINT,
            arrived,
            trace: None,
            uses,
            enclosed: Vec::new(),
        };
        let rotation = None;
        Self { request, circumstances, server, audience, key, renewing, drawn, rotation, bound }
    }

    /// The same, with a refresh token.
    pub(crate) fn with(self, rotation: Rotation) -> Self {
        Self { rotation: Some(rotation), ..self }
    }
}

/// How a token for an instance is bound that holds `key`, or none.
pub(crate) const fn binding(key: Option<Thumbprint>) -> Binding {
    match key {
        Some(_) => Binding::Dpop,
        None => Binding::None,
    }
}
