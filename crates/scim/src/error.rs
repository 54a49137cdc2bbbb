//! Errors as SCIM tells them (RFC 7644 §3.12).

use serde_json::{Value, json};

/// The schema of an error response (RFC 7644 §3.12).
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// What kind of error it is (RFC 7644 §3.12, table 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimType {
    /// The filter cannot be read, or compares what cannot be compared.
    InvalidFilter,
    /// The filter yields more than the provider is willing to answer.
    TooMany,
    /// A value that is somebody else's already.
    Uniqueness,
    /// The attribute is not the client's to change, or not any more.
    Mutability,
    /// The request is not built as its schema says.
    InvalidSyntax,
    /// The path of a PATCH operation cannot be read, or names no attribute.
    InvalidPath,
    /// The path of a PATCH operation leads to no value.
    NoTarget,
    /// A required value is missing, or a value is not of its type.
    InvalidValue,
    /// The protocol version is not supported.
    InvalidVers,
    /// The request would put personal data into a URL.
    Sensitive,
}

impl ScimType {
    /// The error's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
            Self::InvalidVers => "invalidVers",
            Self::Sensitive => "sensitive",
        }
    }

    /// The HTTP status that goes with it (RFC 7644 §3.12, tables 8 and 9).
    pub const fn status(self) -> u16 {
        match self {
            Self::Uniqueness => 409,
            Self::Sensitive => 403,
            Self::InvalidFilter
            | Self::TooMany
            | Self::Mutability
            | Self::InvalidSyntax
            | Self::InvalidPath
            | Self::NoTarget
            | Self::InvalidValue
            | Self::InvalidVers => 400,
        }
    }
}

/// Why a request is refused (RFC 7644 §3.12).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The HTTP status.
    pub status: u16,
    /// Which kind it is, where the RFC has a name for it.
    pub scim_type: Option<ScimType>,
    /// What is wrong, for whoever set the client up.
    pub detail: String,
}

impl Error {
    /// An error of a kind that has a name.
    pub fn new(scim_type: ScimType, detail: impl Into<String>) -> Self {
        let (status, scim_type) = (scim_type.status(), Some(scim_type));
        Self { status, scim_type, detail: detail.into() }
    }

    /// An error that its status says all of: 401, 403, 404, 412, 413.
    pub fn of_status(status: u16, detail: impl Into<String>) -> Self {
        Self { status, scim_type: None, detail: detail.into() }
    }

    /// The body of the response. The status is a string there.
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "schemas": [ERROR],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = scim_type.as_str().into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_the_rfc_has_them() {
        let check = |error: Error, expected: Value| assert_eq!(error.to_json(), expected);
        check(
            Error::new(ScimType::Uniqueness, "taken"),
            json!({ "schemas": [ERROR], "status": "409", "scimType": "uniqueness", "detail": "taken" }),
        );
        check(
            Error::new(ScimType::Mutability, "attribute `id` is read-only"),
            json!({ "schemas": [ERROR], "status": "400", "scimType": "mutability",
                    "detail": "attribute `id` is read-only" }),
        );
        check(
            Error::of_status(404, "no such resource"),
            json!({ "schemas": [ERROR], "status": "404", "detail": "no such resource" }),
        );
    }
}
