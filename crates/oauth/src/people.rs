//! Lists of people: what a registered directory signs to say who the organisation's people are.
//!
//! A JWT with a type of its own (RFC 8725 §3.11), from one source to one deployment. It says
//! everybody, and its `version` only grows, so that of two lists the newer one is told from the
//! older. An entry that has a member too many, or none that says whether the person is active, is
//! refused: a misspelt `active` must not keep anybody.

use keys::{Signer, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::jws::{self, JwsError, Unverified, audience, seconds, text};

/// The `typ` of a list of people.
pub const TYP: &str = "people+jwt";

/// The largest list, in bytes, as it is signed.
pub const FILE_MAX: usize = 8 << 20;

/// The most people of one list.
pub const PEOPLE_MAX: usize = 20_000;

/// The greatest version: whatever reads JSON reads it exactly (RFC 7493 §2.2).
pub const VERSION_MAX: u64 = (1 << 53) - 1;

/// How far clocks may differ, in seconds.
const SKEW_S: i64 = 60;

/// Why a list of people is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// It is larger than a list may be.
    #[error("the list is larger than {FILE_MAX} bytes")]
    TooLarge,
    /// It is not what its source signed for this deployment.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// It has too many entries.
    #[error("the list has more than {PEOPLE_MAX} people")]
    TooMany,
    /// One of its entries cannot be read.
    #[error("person {0} of the list: {1}")]
    Entry(usize, String),
}

/// A login by which a person is known elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Who says so (`iss`).
    pub issuer: String,
    /// How the person is called there (`sub`).
    pub subject: String,
}

/// One person, as the list has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedPerson {
    /// The person's id.
    pub id: String,
    /// Whether the person is there.
    pub active: bool,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The unit of the organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whom the person reports to: somebody of the same list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// The logins that are the person's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<Login>,
}

/// A list of people that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// Which version it is.
    pub version: u64,
    /// Everybody.
    pub people: Vec<ListedPerson>,
}

/// Whose list it claims to be. Nothing is verified: it says by whose key to verify it.
pub fn claimed(list: &str) -> Result<String, PeopleError> {
    Ok(text(&read(list)?.claims, "iss")?)
}

/// When it claims to have been signed, in seconds since the epoch. Nothing is verified.
pub fn issued(list: &str) -> Result<i64, PeopleError> {
    Ok(seconds(&read(list)?.claims, "iat")?)
}

fn read(list: &str) -> Result<Unverified<'_>, PeopleError> {
    if list.len() > FILE_MAX {
        return Err(PeopleError::TooLarge);
    }
    Ok(jws::read_up_to(list, TYP, FILE_MAX)?)
}

/// Verifies that `source` signed `list` for `issuer` by `key`, at `now`.
pub fn verify(
    list: &str,
    (source, issuer): (&str, &str),
    key: &VerifyingKey,
    now: i64,
) -> Result<People, PeopleError> {
    let claims = read(list)?.verified_by_known(key)?;
    if text(&claims, "iss")? != source {
        return Err(JwsError::Claim("iss").into());
    }
    if audience(&claims)? != issuer {
        return Err(JwsError::Claim("aud").into());
    }
    if seconds(&claims, "iat")? > now + SKEW_S {
        return Err(JwsError::Claim("iat").into());
    }
    if claims.contains_key("exp") && seconds(&claims, "exp")? <= now {
        return Err(JwsError::Claim("exp").into());
    }
    jws::not_before(&claims, now + SKEW_S)?;
    let version = claims.get("version").and_then(Value::as_u64);
    let version = version.filter(|version| (1..=VERSION_MAX).contains(version));
    let version = version.ok_or(JwsError::Claim("version"))?;
    let listed = claims.get("people").and_then(Value::as_array);
    let listed = listed.ok_or(JwsError::Claim("people"))?;
    if listed.len() > PEOPLE_MAX {
        return Err(PeopleError::TooMany);
    }
    let entry = |(position, entry): (usize, &Value)| {
        let read = ListedPerson::deserialize(entry);
        read.map_err(|error| PeopleError::Entry(position + 1, error.to_string()))
    };
    let people = listed.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
    Ok(People { version, people })
}

/// Signs a list of people of `source` for `issuer`.
pub fn make(
    (source, issuer): (&str, &str),
    signer: &dyn Signer,
    now: i64,
    people: &People,
) -> Result<String, JwsError> {
    let People { version, people } = people;
    let claims = json!({
        "iss": source,
        "aud": issuer,
        "iat": now,
        "version": version,
        "people": people,
    });
    jws::sign(TYP, &claims, signer)
}

#[cfg(test)]
mod tests {
    use keys::{KeyAlgorithm, SigningKey};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn key() -> SigningKey {
        SigningKey::generate(KeyAlgorithm::Es256).expect("a key")
    }

    fn claims() -> Value {
        json!({
            "iss": "hr", "aud": "https://g", "iat": NOW, "version": 7,
            "people": [
                { "id": "ann", "active": true, "groups": ["staff"], "unit": "CC-47", "manager": null,
                  "logins": [{ "issuer": "https://idp", "subject": "1" }] },
                { "id": "ben", "active": false, "manager": "ann" },
            ],
        })
    }

    fn signed(typ: &str, claims: &Value) -> Result<People, PeopleError> {
        let key = key();
        let signed = jws::sign(typ, claims, &key).expect("signed");
        verify(&signed, ("hr", "https://g"), key.verifying(), NOW)
    }

    #[test]
    fn what_was_signed_is_what_is_read() {
        let (key, other) = (key(), key());
        let people = signed(TYP, &claims()).expect("it holds");
        assert_eq!((people.version, people.people.len()), (7, 2));
        let made = make(("hr", "https://g"), &key, NOW, &people).expect("signed");
        assert_eq!(claimed(&made).as_deref(), Ok("hr"));
        assert_eq!(issued(&made), Ok(NOW));
        assert_eq!(verify(&made, ("hr", "https://g"), key.verifying(), NOW), Ok(people));
        let check = |parties, key: &SigningKey, now, expected: JwsError| {
            let read = verify(&made, parties, key.verifying(), now);
            assert_eq!(read, Err(PeopleError::Jws(expected)));
        };
        check(("hr", "https://g"), &other, NOW, JwsError::WrongSignature);
        check(("other", "https://g"), &key, NOW, JwsError::Claim("iss"));
        check(("hr", "https://h"), &key, NOW, JwsError::Claim("aud"));
        check(("hr", "https://g"), &key, NOW - SKEW_S - 1, JwsError::Claim("iat"));
    }

    #[test]
    fn n_028_a_list_is_of_its_own_type_and_says_everybody_exactly() {
        let check = |change: fn(&mut Value), expected: &str| {
            let mut claims = claims();
            change(&mut claims);
            let error = signed(TYP, &claims).expect_err("it does not hold").to_string();
            assert!(error.contains(expected), "{error}");
        };
        for typ in ["JWT", "at+jwt", "initiation+jwt"] {
            assert_eq!(signed(typ, &claims()), Err(JwsError::WrongType(TYP).into()));
        }
        check(|it| it["aud"] = json!(["https://g", "x"]), "`aud`");
        check(|it| it["exp"] = json!(NOW), "`exp`");
        check(|it| it["nbf"] = json!(NOW + SKEW_S + 1), "`nbf`");
        check(|it| it["version"] = json!(0), "`version`");
        check(|it| it["version"] = json!("8"), "`version`");
        check(|it| it["version"] = json!(VERSION_MAX + 1), "`version`");
        check(|it| it["people"] = json!({}), "`people`");
        check(|it| it["people"][1] = json!({ "id": "ben" }), "person 2 of the list: missing field");
        check(|it| it["people"][1]["actve"] = json!(false), "person 2 of the list: unknown field");
        check(|it| it["people"][0]["active"] = json!("yes"), "person 1 of the list: invalid type");
        check(|it| it["people"][0]["logins"][0]["email"] = json!("a@b"), "unknown field `email`");
    }

    #[test]
    fn i_18_a_list_has_a_limit() {
        let listed = |count: usize| {
            let person = |n: usize| json!({ "id": format!("p{n}"), "active": true });
            let mut claims = claims();
            claims["people"] = (0..count).map(person).collect();
            signed(TYP, &claims).map(|people| people.people.len())
        };
        assert_eq!(listed(PEOPLE_MAX), Ok(PEOPLE_MAX));
        assert_eq!(listed(PEOPLE_MAX + 1), Err(PeopleError::TooMany));
        let long = "a".repeat(FILE_MAX + 1);
        let read = verify(&long, ("hr", "https://g"), key().verifying(), NOW);
        assert_eq!(read, Err(PeopleError::TooLarge));
    }
}
