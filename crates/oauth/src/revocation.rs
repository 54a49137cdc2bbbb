//! Revocation (RFC 7009) and introspection (RFC 7662) of tokens, by whom they were issued to.
//!
//! A token is an instance's hold on its task: who gives it up ends the task, and may say how.

use crate::authorization_code::public_client;
use crate::error::OAuthError;
use crate::form::{Client, Parameters, invalid};

/// How a holder says that its task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Completed,
    /// It did not succeed.
    Failed,
    /// What was asked for has changed: it has to be begun anew.
    Changed,
}

/// A request to revoke a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRequest {
    /// Who asks.
    pub by: Revoker,
    /// The token.
    pub token: String,
    /// How its task ended.
    pub outcome: Outcome,
}

/// Who gives a token up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoker {
    /// An agent that authenticates.
    Agent(Client),
    /// A client that is known by its document and has nothing to show but the token (§2.1): its id.
    Client(String),
}

/// A request to introspect a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionRequest {
    /// Who asks.
    pub client: Client,
    /// The token.
    pub token: String,
}

/// Reads the form of a revocation request. Hints at the token's type are not needed (§2.1).
pub fn parse_revocation(form: &[u8]) -> Result<RevocationRequest, OAuthError> {
    let mut form = Parameters::read(form)?;
    let shows = form.has("client_assertion") || form.has("client_assertion_type");
    let by = if shows {
        Revoker::Agent(form.client()?)
    } else {
        Revoker::Client(public_client(&mut form)?)
    };
    let token = form.need("token")?;
    let outcome = match form.take("outcome").as_deref() {
        None | Some("completed") => Outcome::Completed,
        Some("failed") => Outcome::Failed,
        Some("changed") => Outcome::Changed,
        Some(_) => return Err(invalid("`outcome` is `completed`, `failed` or `changed`")),
    };
    Ok(RevocationRequest { by, token, outcome })
}

/// Reads the form of an introspection request.
pub fn parse_introspection(form: &[u8]) -> Result<IntrospectionRequest, OAuthError> {
    let mut form = Parameters::read(form)?;
    Ok(IntrospectionRequest { client: form.client()?, token: form.need("token")? })
}
