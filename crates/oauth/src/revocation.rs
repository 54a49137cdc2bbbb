//! Revocation (RFC 7009) and introspection (RFC 7662) of tokens, by whom they were issued to.
//!
//! A token is an instance's hold on its task: who gives it up ends the task, and may say how.

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
    pub client: Client,
    /// The token.
    pub token: String,
    /// How its task ended.
    pub outcome: Outcome,
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
    let (client, token) = (form.client()?, form.need("token")?);
    let outcome = match form.take("outcome").as_deref() {
        None | Some("completed") => Outcome::Completed,
        Some("failed") => Outcome::Failed,
        Some("changed") => Outcome::Changed,
        Some(_) => return Err(invalid("`outcome` is `completed`, `failed` or `changed`")),
    };
    Ok(RevocationRequest { client, token, outcome })
}

/// Reads the form of an introspection request.
pub fn parse_introspection(form: &[u8]) -> Result<IntrospectionRequest, OAuthError> {
    let mut form = Parameters::read(form)?;
    Ok(IntrospectionRequest { client: form.client()?, token: form.need("token")? })
}
