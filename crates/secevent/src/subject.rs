//! Whom an event is about (RFC 9493, SSF 1.0 §3, RFC 9967 §2.1).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::SetError;

/// The longest text of an identifier, in bytes.
pub const TEXT_MAX: usize = 1_024;

/// The most identifiers of one subject (`aliases`).
pub const ALIASES_MAX: usize = 8;

const WRONG: SetError = SetError::Claim("sub_id");

/// Whom an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One thing, by one or more identifiers of it, of which each alone would do.
    Simple(Vec<Identifier>),
    /// Something that several things together make out.
    Complex(Complex),
}

/// The parts of a complex subject (SSF 1.0 §3.2), each one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complex {
    /// A user.
    pub user: Vec<Identifier>,
    /// Which other of the parts that are defined there are: they make the event about less than all that
    /// is the user's.
    pub others: BTreeMap<&'static str, Vec<Identifier>>,
    /// Parts that are not defined: what the event is about is not fully known.
    pub unknown: Vec<String>,
}

/// What identifies one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// `iss_sub`: who somebody is at an issuer.
    IssSub {
        /// The issuer.
        iss: String,
        /// The subject there.
        sub: String,
    },
    /// `email`.
    Email(String),
    /// `account`: a URI of the scheme `acct`.
    Account(String),
    /// `opaque`.
    Opaque(String),
    /// `uri`.
    Uri(String),
    /// `phone_number`.
    PhoneNumber(String),
    /// `did`: a DID URL.
    Did(String),
    /// `scim`: a resource of a SCIM service provider (RFC 9967 §2.1).
    Scim {
        /// Its URI, relative to the provider's.
        uri: Option<String>,
        /// The client's own id of it.
        external_id: Option<String>,
    },
    /// Of a format that names no person, or none that is known.
    Other,
}

/// The parts of a complex subject beside the user.
const PARTS: [&str; 6] = ["application", "device", "group", "org_unit", "session", "tenant"];

impl Subject {
    pub(crate) fn parse(value: &Value) -> Result<Self, SetError> {
        let members = value.as_object().ok_or(WRONG)?;
        if members.get("format").and_then(Value::as_str) == Some("complex") {
            return complex(members).map(Self::Complex);
        }
        identifiers(members).map(Self::Simple)
    }

    /// The identifiers of the person whom it is about, or of somebody to whom what it is about belongs.
    pub fn person(&self) -> &[Identifier] {
        match self {
            Self::Simple(all) => all,
            Self::Complex(complex) => &complex.user,
        }
    }

    /// The identifiers of its `part` (`application`, `session`, …), if it has nothing else but those that are
    /// named `beside`. One thing that is not said to be a part of anything may be any.
    pub fn part(&self, part: &str, beside: &[&str]) -> &[Identifier] {
        match self {
            Self::Simple(all) => all,
            Self::Complex(Complex { user, others, unknown }) => {
                let is_meant = |name: &&str| *name == part || beside.contains(name);
                let is_that = user.is_empty() && unknown.is_empty() && others.keys().all(is_meant);
                others.get(part).filter(|_| is_that).map_or(&[], Vec::as_slice)
            }
        }
    }

    /// The identifiers of the session that it names as one of somebody's.
    pub fn session(&self) -> &[Identifier] {
        match self {
            Self::Simple(_) => &[],
            Self::Complex(complex) => complex.others.get("session").map_or(&[], Vec::as_slice),
        }
    }

    /// The identifiers of the session that it is about, where nobody is known by what it says of whose that is. One thing
    /// that has an opaque name alone may be one (CAEP 1.0 §3.1.1).
    pub fn session_of_nobody(&self) -> &[Identifier] {
        match self {
            Self::Simple(all) if all.iter().all(|it| matches!(it, Identifier::Opaque(_))) => all,
            Self::Simple(_) | Self::Complex(_) => self.session(),
        }
    }

    /// Its parts that are not defined.
    pub fn unknown(&self) -> &[String] {
        match self {
            Self::Simple(_) => &[],
            Self::Complex(complex) => &complex.unknown,
        }
    }

    /// Whether it is about all of the person, and it is known what else it would be about.
    pub fn is_whole(&self) -> bool {
        self.unknown().is_empty() && !self.is_of_a_part()
    }

    /// Whether it is about a part of what is the person's, which is known: a session, an application, ….
    pub fn is_of_a_part(&self) -> bool {
        match self {
            Self::Simple(_) => false,
            Self::Complex(Complex { others, .. }) => others.keys().any(|part| *part != "tenant"),
        }
    }
}

fn complex(members: &Map<String, Value>) -> Result<Complex, SetError> {
    let mut read = Complex::default();
    for (name, value) in members.iter().filter(|(name, _)| *name != "format") {
        // What is not defined may be anything.
        let known = PARTS.into_iter().find(|part| part == name);
        match (name.as_str(), known) {
            ("user", _) => read.user = identifiers(value.as_object().ok_or(WRONG)?)?,
            (_, Some(part)) => {
                let all = identifiers(value.as_object().ok_or(WRONG)?)?;
                read.others.insert(part, all);
            }
            (_, None) => read.unknown.push(name.clone()),
        }
    }
    if read == Complex::default() { Err(WRONG) } else { Ok(read) }
}

/// All identifiers of a simple subject.
fn identifiers(members: &Map<String, Value>) -> Result<Vec<Identifier>, SetError> {
    if members.get("format").and_then(Value::as_str) != Some("aliases") {
        return Ok(vec![identifier(members)?]);
    }
    let all = members.get("identifiers").and_then(Value::as_array).ok_or(WRONG)?;
    if !(1..=ALIASES_MAX).contains(&all.len()) {
        return Err(WRONG);
    }
    // Aliases of aliases there are none (RFC 9493 §3.2.8): they are read as of no known format.
    all.iter().map(|one| identifier(one.as_object().ok_or(WRONG)?)).collect()
}

fn identifier(members: &Map<String, Value>) -> Result<Identifier, SetError> {
    let text = |name: &str| match members.get(name).map(Value::as_str) {
        Some(Some(text)) if is_sound(text) => Ok(text.to_owned()),
        _ => Err(WRONG),
    };
    let having = |name: &str, is: fn(&str) -> bool| text(name).and_then(|it| fits(it, is));
    let is_absent = |name: &str| !members.contains_key(name);
    let maybe = |name: &str| if is_absent(name) { Ok(None) } else { text(name).map(Some) };
    Ok(match text("format")?.as_str() {
        "iss_sub" => Identifier::IssSub { iss: text("iss")?, sub: text("sub")? },
        "email" => Identifier::Email(having("email", is_address)?),
        "account" => Identifier::Account(having("uri", |uri| uri.starts_with("acct:"))?),
        "opaque" => Identifier::Opaque(text("id")?),
        "uri" => Identifier::Uri(having("uri", |uri| uri.contains(':'))?),
        "phone_number" => Identifier::PhoneNumber(having("phone_number", is_number)?),
        "did" => Identifier::Did(having("url", |url| url.starts_with("did:"))?),
        "scim" => match (maybe("uri")?, maybe("externalId")?) {
            (None, None) => return Err(WRONG),
            (uri, external_id) => Identifier::Scim { uri, external_id },
        },
        _ => Identifier::Other,
    })
}

fn fits(text: String, is: fn(&str) -> bool) -> Result<String, SetError> {
    if is(&text) { Ok(text) } else { Err(WRONG) }
}

pub(crate) fn is_sound(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}
