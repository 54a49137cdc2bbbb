//! Subjects: the examples of RFC 9493, SSF 1.0 and RFC 9967.

use serde_json::{Value, json};

use super::{session_revoked, taken, with};
use crate::{ALIASES_MAX, Identifier, SetError, Subject, TEXT_MAX};

fn read(subject: Value) -> Result<Subject, SetError> {
    taken(&with(session_revoked(), "sub_id", Some(subject))).map(|set| set.subject)
}

#[test]
fn each_format_is_read_as_its_rfc_has_it() {
    let check = |subject: Value, expected: Identifier| {
        assert_eq!(read(subject), Ok(Subject::Simple(vec![expected])));
    };
    let text = str::to_owned;
    // RFC 9493 §3.2.
    check(
        json!({ "format": "account", "uri": "acct:example.user@service.example.com" }),
        Identifier::Account(text("acct:example.user@service.example.com")),
    );
    check(
        json!({ "format": "email", "email": "user@example.com" }),
        Identifier::Email(text("user@example.com")),
    );
    check(
        json!({ "format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573" }),
        Identifier::IssSub { iss: text("https://issuer.example.com/"), sub: text("145234573") },
    );
    check(
        json!({ "format": "opaque", "id": "11112222333344445555" }),
        Identifier::Opaque(text("11112222333344445555")),
    );
    check(
        json!({ "format": "phone_number", "phone_number": "+12065550100" }),
        Identifier::PhoneNumber(text("+12065550100")),
    );
    check(
        json!({ "format": "did", "url": "did:example:123456/did/url/path?versionId=1" }),
        Identifier::Did(text("did:example:123456/did/url/path?versionId=1")),
    );
    check(
        json!({ "format": "uri", "uri": "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f" }),
        Identifier::Uri(text("urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f")),
    );
    // RFC 9967 §2.1.
    check(
        json!({ "format": "scim", "uri": "/Users/44f6142df96bd6ab61e7521d9", "externalId": "jdoe" }),
        Identifier::Scim {
            uri: Some(text("/Users/44f6142df96bd6ab61e7521d9")),
            external_id: Some(text("jdoe")),
        },
    );
    // SSF 1.0 §3.4: a format that names no person.
    check(
        json!({ "format": "jwt_id", "iss": "https://idp.example", "jti": "B70" }),
        Identifier::Other,
    );
}

#[test]
fn aliases_are_of_one_thing_and_have_an_end() {
    let email = json!({ "format": "email", "email": "user@example.com" });
    let aliases = |all: Vec<Value>| json!({ "format": "aliases", "identifiers": all });
    let all =
        vec![email.clone(), json!({ "format": "phone_number", "phone_number": "+12065550100" })];
    assert_eq!(read(aliases(all)).unwrap().person().len(), 2);
    assert_eq!(
        read(aliases(vec![email.clone(); ALIASES_MAX])).unwrap().person().len(),
        ALIASES_MAX
    );
    assert_eq!(read(aliases(vec![email.clone(); ALIASES_MAX + 1])), Err(SetError::Claim("sub_id")));
    assert_eq!(read(aliases(vec![])), Err(SetError::Claim("sub_id")));
    let nested = read(aliases(vec![aliases(vec![email])])).unwrap();
    assert_eq!(nested, Subject::Simple(vec![Identifier::Other]));
}

#[test]
fn of_a_complex_subject_the_user_is_who_it_is_about() {
    let user = json!({ "format": "email", "email": "bar@example.com" });
    let tenant = json!({ "format": "opaque", "id": "123456789" });
    let complex = |mut parts: Value| {
        parts["format"] = "complex".into();
        read(parts)
    };
    let known = [Identifier::Email("bar@example.com".to_owned())];
    let of_tenant = complex(json!({ "user": user, "tenant": tenant })).unwrap();
    assert_eq!((of_tenant.person(), of_tenant.is_whole()), (known.as_slice(), true));
    let of_session = complex(json!({ "user": user, "session": tenant })).unwrap();
    assert_eq!((of_session.person(), of_session.is_whole()), (known.as_slice(), false));
    assert!(!of_tenant.is_of_a_part() && of_session.is_of_a_part());
    let of_more = complex(json!({ "user": user, "robot": 7 })).unwrap();
    assert_eq!((of_more.person(), of_more.is_whole()), (known.as_slice(), false));
    for part in ["application", "group", "org_unit"] {
        let narrower = complex(json!({ "user": user, part: tenant })).unwrap();
        assert!(!narrower.is_whole() && narrower.is_of_a_part());
    }
    assert!(!of_more.is_of_a_part());
    assert_eq!((of_more.unknown(), of_tenant.unknown()), (&["robot".to_owned()][..], &[][..]));
    // A part is told apart from what is said of it for somebody, or beside something else.
    let opaque = [Identifier::Opaque("123456789".to_owned())];
    let alone = complex(json!({ "session": tenant, "application": tenant })).unwrap();
    assert_eq!(alone.part("session", &["application"]), opaque);
    assert_eq!(alone.part("session", &["tenant"]), []);
    assert_eq!(alone.part("device", &["application", "session"]), []);
    assert_eq!(of_session.part("session", &[]), []);
    assert_eq!(read(tenant.clone()).unwrap().part("session", &[]), opaque);
    // A session is one also of somebody whom nobody knows, and where nobody says whose it is.
    assert_eq!((of_session.session(), of_session.session_of_nobody()), (&opaque[..], &opaque[..]));
    assert_eq!((alone.session(), alone.session_of_nobody()), (&opaque[..], &opaque[..]));
    let simple = read(tenant.clone()).unwrap();
    assert_eq!((simple.session(), simple.session_of_nobody()), (&[][..], &opaque[..]));
    assert_eq!(of_tenant.session_of_nobody(), []);
    assert_eq!(read(user.clone()).unwrap().session_of_nobody(), []);
    let of_nobody = complex(json!({ "device": { "format": "iss_sub", "iss": "i", "sub": "s" } }));
    assert_eq!(of_nobody.unwrap().person(), []);
    assert_eq!(complex(json!({})), Err(SetError::Claim("sub_id")));
    assert_eq!(complex(json!({ "user": "bar" })), Err(SetError::Claim("sub_id")));
}

#[test]
fn what_is_no_identifier_is_refused() {
    let refused = |subject: Value| assert_eq!(read(subject), Err(SetError::Claim("sub_id")));
    refused(json!("user@example.com"));
    refused(json!({ "email": "user@example.com" }));
    refused(json!({ "format": "email" }));
    refused(json!({ "format": "email", "email": "example.com" }));
    refused(json!({ "format": "email", "email": "a\u{0}b@example.com" }));
    refused(json!({ "format": "iss_sub", "iss": "https://issuer.example.com/" }));
    refused(json!({ "format": "phone_number", "phone_number": "2065550100" }));
    refused(json!({ "format": "account", "uri": "https://example.com" }));
    refused(json!({ "format": "did", "url": "https://example.com" }));
    refused(json!({ "format": "scim" }));
    refused(json!({ "format": "opaque", "id": "x".repeat(TEXT_MAX + 1) }));
    assert!(read(json!({ "format": "opaque", "id": "x".repeat(TEXT_MAX) })).is_ok());
}
