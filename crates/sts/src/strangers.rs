//! Callers that are no active agent, or that show what is another's: found, and told to who answers.

use authority::Refused;
use model::{Sha256Digest, Stranger};
use oauth::form::{Client, claimed_id};
use oauth::token_endpoint::{self, Grant, TokenRequest};

use crate::service::{TokenHttpRequest, TokenService};

/// Why a caller shows what is another's, among the causes of refusals.
pub(crate) const NOT_THE_HOLDER: [&str; 4] =
    ["holder_absent", "delegation_of_another", "code_replayed", "refresh_token_replayed"];

impl TokenService {
    /// Takes note of a caller that is no active agent, or that shows what is another's.
    pub(crate) fn note_stranger(&self, http: TokenHttpRequest<'_>, cause: &str, refused: &Refused) {
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
        let Some(claimed) = claimed else { return };
        let resource = form.and_then(|form| form.resource);
        let held = |name: &str| refused.details.as_ref().and_then(|all| all.get(name).cloned());
        let is_anothers = NOT_THE_HOLDER.contains(&cause);
        self.authority.note_stranger(Stranger {
            cause: cause.to_owned(),
            tried: "token".to_owned(),
            server: resource.and_then(|url| self.server(&url).ok()),
            source: http.from.map(|from| from.to_string()),
            credential: credential.or(assertion).map(|text| Sha256Digest::of(text.as_bytes())),
            claimed: model::claim(&claimed),
            client: http.client.and_then(model::claim),
            proven: refused.agent.clone().filter(|_| is_anothers),
            holder: held("held_by_instance").or_else(|| held("made_for_agent")),
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
        Grant::ClientCredentials | Grant::Initiation(_) | Grant::Consent(_) => {
            &form.client.assertion
        }
    }
}
