//! Callers that are no active agent, or that show what is another's: found, and told to who answers.

use std::collections::BTreeSet;

use authority::{HUMAN_CREDENTIAL, Refused};
use model::{AgentName, PersonId, Sha256Digest, Stranger};
use oauth::form::{self, Client, claimed_id};
use oauth::token_endpoint::{self, Grant, TokenRequest};
use oauth::{OAuthError, jws};

use crate::attest::NOT_THE_WORKLOAD;
use crate::grant::POINT;
use crate::service::{Asking, TokenHttpRequest, TokenRefusal, TokenService};

/// Why a caller shows what is another's, among the causes of refusals.
const NOT_THE_HOLDER: [&str; 7] = [
    "code_replayed",
    "delegation_of_another",
    "enrolment_of_another",
    "holder_absent",
    "key_bound_elsewhere",
    "refresh_token_replayed",
    "registered_key_as_instance",
];

/// Why a caller is no active agent, among the causes of refusals.
const NO_ACTIVE_AGENT: [&str; 5] = [
    "client_unknown",
    "agent_not_active",
    "agent_key_expired",
    "agent_lease_ended",
    "device_not_active",
];

/// Why what is shown is worth nothing, among the causes of refusals: it may be a person's own.
const WORTH_NOTHING: [&str; 7] = [
    "actor_invalid",
    "client_unknown",
    "delegation_invalid",
    "initiation_invalid",
    "malformed",
    "subject_token_invalid",
    "workload_token_invalid",
];

/// A person's own credential, shown by an agent.
struct Borrowed {
    credential: String,
    person: PersonId,
}

impl TokenService {
    /// Records a refusal of which no decision tells, and gives what the client is told.
    pub(crate) async fn told(
        &self,
        http: TokenHttpRequest<'_>,
        refusal: TokenRefusal,
    ) -> OAuthError {
        let TokenRefusal { error, cause, refused } = refusal;
        let Some(cause) = cause else { return *error };
        let borrowed = self.borrowed(http, cause).await;
        let cause = if borrowed.is_some() { HUMAN_CREDENTIAL } else { cause };
        let found = [&NO_ACTIVE_AGENT[..], &NOT_THE_HOLDER[..], &NOT_THE_WORKLOAD[..]];
        if borrowed.is_some() || found.iter().any(|causes| causes.contains(&cause)) {
            self.note_stranger(http, (cause, borrowed), &refused);
        }
        self.authority.record_refusal(&self.refusals, (POINT, cause), refused);
        *error
    }

    /// The person's own credential among those that are shown, where one of them is refused for
    /// `cause`.
    async fn borrowed(&self, http: TokenHttpRequest<'_>, cause: &str) -> Option<Borrowed> {
        if !WORTH_NOTHING.contains(&cause) {
            return None;
        }
        for credential in form::credentials(http.form) {
            let Some((issuer, subject)) = jws::claimed_subject(&credential) else { continue };
            if let Some(person) = self.authority.whose_login(&issuer, &subject).await {
                return Some(Borrowed { credential, person });
            }
        }
        None
    }

    /// Takes note of a caller that is no active agent, or that shows what is another's.
    fn note_stranger(
        &self,
        http: TokenHttpRequest<'_>,
        (cause, borrowed): (&str, Option<Borrowed>),
        refused: &Refused,
    ) {
        let form = token_endpoint::parse(http.form).ok();
        let (credential, person) = match borrowed {
            Some(Borrowed { credential, person }) => (Some(credential), Some(person)),
            None => (form.as_ref().map(|form| shown(form).to_owned()), None),
        };
        // Whoever gives up or introspects a token says who it is in the same way.
        let client = form.as_ref().map(|form| form.client.clone());
        let client = client.or_else(|| Client::claimed(http.form));
        // Clients that are known by their document, and send people here, name themselves alone.
        let (claimed, assertion) = match client {
            Some(client) => (Some(client.id), Some(client.assertion)),
            None => (claimed_id(http.form), None),
        };
        let Some(claimed) = claimed else { return };
        // Whoever names a client alone has proven nothing.
        let has_asserted = assertion.is_some();
        let resource = form.and_then(|form| form.resource);
        // Of a workload, what its platform signed, and not what the agent asserts beside it.
        let token = refused.details.as_ref().and_then(|all| all.get("token")?.parse().ok());
        let held = |name: &str| refused.details.as_ref().and_then(|all| all.get(name).cloned());
        let is_anothers = NOT_THE_HOLDER.contains(&cause) || person.is_some();
        self.authority.note_stranger(Stranger {
            cause: cause.to_owned(),
            tried: "token".to_owned(),
            server: resource.and_then(|url| self.server(&url).ok()),
            source: http.from.map(|from| from.to_string()),
            credential: token.or_else(|| {
                let text = credential.or(assertion)?;
                Some(Sha256Digest::of(text.as_bytes()))
            }),
            claimed: model::claim(&claimed),
            client: http.client.and_then(model::claim),
            proven: refused.agent.clone().filter(|_| is_anothers && has_asserted),
            holder: ["held_by_instance", "made_for_agent", "held_by"].into_iter().find_map(held),
            person,
            ..Stranger::default()
        });
    }

    /// Takes note that the workload that asks was entered as an instance of `others` too: what it may
    /// as one, it can use as another. That is one finding, wherever it asks from and whatever for.
    pub(crate) fn note_names(&self, asking: &Asking<'_>, others: &BTreeSet<AgentName>) {
        if others.is_empty() {
            return;
        }
        let names: Vec<_> = others.iter().map(AgentName::as_str).collect();
        self.authority.note_stranger(Stranger {
            cause: "workload_of_two_agents".to_owned(),
            tried: "token".to_owned(),
            credential: asking.shown.as_ref().map(|shown| shown.identity.id()),
            proven: Some(asking.agent.name.clone()),
            holder: Some(names.join(", ")),
            ..Stranger::default()
        });
    }
}

/// The credential that a request rests on.
fn shown(form: &TokenRequest) -> &str {
    match &form.grant {
        Grant::HandOver { subject_token, .. }
        | Grant::Delegate { subject_token, .. }
        | Grant::Bare(subject_token) => subject_token,
        Grant::TakeUp(delegation) => delegation,
        Grant::ClientCredentials | Grant::Initiation(_) | Grant::Consent(_) | Grant::Resume(_) => {
            &form.client.assertion
        }
    }
}
