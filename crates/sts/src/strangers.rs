//! Callers that are no active agent, or that show what is another's: found, and told to who answers.

use std::collections::BTreeSet;

use authority::{Refused, Shown};
use model::{AgentName, FactKey, Sha256Digest, Stranger};
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

/// Why a caller is no active agent, or receiver of signals, among the causes of refusals.
const NO_ACTIVE_AGENT: [&str; 6] = [
    "client_unknown",
    "agent_not_active",
    "agent_key_expired",
    "agent_lease_ended",
    "device_not_active",
    "receiver_unknown",
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

impl TokenService {
    /// Records a refusal of which no decision tells, and gives what the client is told.
    pub(crate) fn told(&self, http: TokenHttpRequest<'_>, refusal: TokenRefusal) -> OAuthError {
        let TokenRefusal { error, cause, refused } = refusal;
        let Some(cause) = cause else { return *error };
        let found = [&NO_ACTIVE_AGENT[..], &NOT_THE_HOLDER[..], &NOT_THE_WORKLOAD[..]];
        let is_found = found.iter().any(|causes| causes.contains(&cause));
        let logins = if WORTH_NOTHING.contains(&cause) { logins(http) } else { Vec::new() };
        let is_noted = is_found || !logins.is_empty();
        let noted = is_noted.then(|| self.noted(http, (cause, is_found, logins), &refused));
        let refusal = self.authority.record_refusal(&self.refusals, (POINT, cause), *refused);
        if let Some(shown) = noted.flatten() {
            self.authority.note_shown(Shown { refusal, ..shown });
        }
        *error
    }

    /// What is noted of a caller that is no active agent, or that shows what is another's, or perhaps a
    /// person's own: what names one of `logins`. Nothing of one that does not even say who it is.
    fn noted(
        &self,
        http: TokenHttpRequest<'_>,
        (cause, is_found, logins): (&str, bool, Vec<(FactKey, Sha256Digest)>),
        refused: &Refused,
    ) -> Option<Shown> {
        let form = token_endpoint::parse(http.form).ok();
        let credential = form.as_ref().map(|form| shown(form).to_owned());
        // Whoever gives up or introspects a token says who it is in the same way.
        let client = form.as_ref().map(|form| form.client.clone());
        let client = client.or_else(|| Client::claimed(http.form));
        // Clients that are known by their document, and send people here, name themselves alone.
        let (claimed, assertion) = match client {
            Some(client) => (Some(client.id), Some(client.assertion)),
            None => (claimed_id(http.form), None),
        };
        let claimed = claimed?;
        // Whoever names a client alone has proven nothing.
        let proven = refused.agent.clone().filter(|_| assertion.is_some());
        let resource = form.and_then(|form| form.resource);
        // Of a workload, what its platform signed, and not what the agent asserts beside it.
        let token = refused.details.as_ref().and_then(|all| all.get("token")?.parse().ok());
        let held = |name: &str| refused.details.as_ref().and_then(|all| all.get(name).cloned());
        let stranger = Stranger {
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
            holder: ["held_by_instance", "made_for_agent", "held_by"].into_iter().find_map(held),
            ..Stranger::default()
        };
        let of_person = Stranger { proven: proven.clone(), ..stranger.clone() };
        let proven = proven.filter(|_| NOT_THE_HOLDER.contains(&cause));
        let otherwise = is_found.then_some(Stranger { proven, ..stranger });
        Some(Shown { logins, of_person, otherwise, refusal: None })
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

/// The logins of people that what is shown names, each with the digest of what names it.
fn logins(http: TokenHttpRequest<'_>) -> Vec<(FactKey, Sha256Digest)> {
    let shown = form::credentials(http.form).into_iter();
    let named = shown.filter_map(|credential| {
        let (issuer, subject) = jws::claimed_subject(&credential)?;
        Some((FactKey::login(&issuer, &subject), Sha256Digest::of(credential.as_bytes())))
    });
    named.collect()
}
