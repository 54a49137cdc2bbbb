//! Token exchange: forms as RFC 8693 §2.1 has them, actor tokens and delegations.

use std::sync::Arc;

use keys::{SigningKey, TokenKeys};
use oauth::exchange::{
    ACCESS_TOKEN, DELEGATION, Delegated, GRANT_TYPE, ID_TOKEN, JWT, MayAct, UnverifiedActor, make,
    make_actor, verify, verify_actor,
};
use oauth::form::form;
use oauth::initiation::AskedTask;
use oauth::jws::JwsError;
use oauth::token_endpoint::{Grant, parse};
use oauth::{ErrorCode, access_token, client_assertion};
use serde_json::{Value, json};

use crate::support::{NOW, es256, sign, sign_texts, with};

const ISSUER: &str = "https://chancery.example";

fn task() -> AskedTask {
    AskedTask {
        kind: "agent_task".to_owned(),
        purpose: "care".to_owned(),
        tools: vec!["crm/lookup".to_owned()],
        harm: Vec::new(),
        objects: Vec::new(),
        max_calls: Some(3),
        max_tasks_a_day: None,
        until: NOW + 600,
    }
}

fn details() -> String {
    json!([task()]).to_string()
}

fn may_act() -> MayAct {
    MayAct { client_id: "reader".to_owned(), jkt: keys::base64url(&[7; 32]) }
}

/// A form of an exchange with `parameters`; one without a value is left out.
fn exchange(parameters: &[(&str, &str)]) -> Result<Grant, ErrorCode> {
    let mut all = vec![
        ("grant_type", GRANT_TYPE),
        ("client_id", "lead"),
        ("client_assertion_type", client_assertion::TYPE),
        ("client_assertion", "a.b.c"),
        ("resource", "https://chancery.example/mcp/crm"),
        ("subject_token", "s.s.s"),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    for (name, value) in parameters {
        all.retain(|(known, _)| known != name);
        all.push((name, value));
    }
    parse(form(&all).as_bytes()).map(|read| read.grant).map_err(|error| error.code)
}

#[test]
fn what_is_exchanged_is_said_whole() {
    let (may_act, details) = (may_act(), details());
    let handing = [
        ("actor_token", "a.a.a"),
        ("actor_token_type", JWT),
        ("actor_proof", "p.p.p"),
        ("authorization_details", details.as_str()),
    ];
    let subject_token = "s.s.s".to_owned();
    let actor_token = "a.a.a".to_owned();
    let hand_over = Grant::HandOver {
        subject_token,
        actor_token,
        actor_proof: "p.p.p".to_owned(),
        task: task(),
    };
    assert_eq!(exchange(&handing), Ok(hand_over));
    let text = json!(may_act).to_string();
    let delegating = [
        ("may_act", text.as_str()),
        ("requested_token_type", DELEGATION),
        ("authorization_details", details.as_str()),
        ("resource", ""),
    ];
    let delegate = Grant::Delegate { subject_token: "s.s.s".to_owned(), may_act, task: task() };
    assert_eq!(exchange(&delegating), Ok(delegate));
    let taking = [("subject_token_type", DELEGATION)];
    assert_eq!(exchange(&taking), Ok(Grant::TakeUp("s.s.s".to_owned())));
    let asked = [taking[0], ("requested_token_type", ACCESS_TOKEN)];
    assert_eq!(exchange(&asked), Ok(Grant::TakeUp("s.s.s".to_owned())));
    // OA-01: what is required, required together, or belongs elsewhere.
    let invalid = Err(ErrorCode::InvalidRequest);
    for absent in ["subject_token", "subject_token_type", "actor_token_type", "actor_proof"] {
        assert_eq!(exchange(&[&handing[..], &[(absent, "")]].concat()), invalid, "{absent}");
    }
    // Somebody's token alone may be stolen: that is looked at before it is refused.
    let bare = Ok(Grant::Bare("s.s.s".to_owned()));
    assert_eq!(exchange(&[]), bare);
    for beside in [
        ("authorization_details", details.as_str()),
        ("scope", "openid"),
        ("audience", "x"),
        ("purpose", "other"),
    ] {
        assert_eq!(exchange(&[beside]), bare, "{beside:?}");
    }
    assert_eq!(exchange(&[&delegating[..], &[("may_act", "")]].concat()), invalid);
    assert_eq!(exchange(&[&delegating[..], &handing[..3]].concat()), invalid);
    assert_eq!(exchange(&[&handing[..], &delegating[..1]].concat()), invalid);
    assert_eq!(exchange(&[&taking[..], &handing[..]].concat()), invalid);
    let no_target = Err(ErrorCode::InvalidTarget);
    assert_eq!(exchange(&[&handing[..], &[("resource", "")]].concat()), no_target);
    // A delegation is for no service: which one is said by who takes it up.
    for name in ["resource", "audience"] {
        let named = [(name, "https://chancery.example/mcp/crm")];
        assert_eq!(exchange(&[&delegating[..], &named].concat()), no_target, "{name}");
    }
    assert_eq!(exchange(&[&handing[..], &[("assertion", "x")]].concat()), invalid);
    for all in [&handing[..], &delegating[..]] {
        assert!(exchange(&[all, &[("purpose", "care")]].concat()).is_ok(), "{all:?}");
        let other = exchange(&[all, &[("purpose", "other")]].concat());
        assert_eq!(other, Err(ErrorCode::InvalidScope), "{all:?}");
    }
    let plain = [("grant_type", "client_credentials")];
    assert_eq!(exchange(&plain), invalid, "a subject token without an exchange");
}

#[test]
fn n_004_tokens_of_other_types_are_not_exchanged() {
    let details = details();
    let all = [
        ("actor_token", "a"),
        ("actor_token_type", JWT),
        ("actor_proof", "p"),
        ("authorization_details", &details),
    ];
    let of = |name: &str| format!("urn:ietf:params:oauth:token-type:{name}");
    for kind in ["refresh_token", "id_token", "saml1", "saml2", "jwt"].map(of) {
        for name in ["subject_token_type", "requested_token_type"] {
            let asked = [&all[..], &[(name, kind.as_str())]].concat();
            // A person's ID token is worth as little; whose it is, is looked at (`human_credential`).
            let expected = match (name, kind == ID_TOKEN) {
                ("subject_token_type", true) => Ok(Grant::Bare("s.s.s".to_owned())),
                _ => Err(ErrorCode::InvalidRequest),
            };
            assert_eq!(exchange(&asked), expected, "{name} {kind}");
        }
    }
    let actor = [&all[..], &[("actor_token_type", ACCESS_TOKEN)]].concat();
    assert_eq!(exchange(&actor), Err(ErrorCode::InvalidRequest));
    let audience = |named| exchange(&[&all[..], &[("audience", named)]].concat());
    assert!(matches!(audience("https://chancery.example/mcp/crm"), Ok(Grant::HandOver { .. })));
    assert_eq!(audience("https://chancery.example/mcp/desk"), Err(ErrorCode::InvalidTarget));
    let scope = [&all[..], &[("scope", "everything")]].concat();
    assert_eq!(exchange(&scope), Err(ErrorCode::InvalidScope));
}

#[test]
fn oa_03_authorization_details_are_read_in_one_way() {
    let check = |details: Value, expected: Option<ErrorCode>| {
        let text = details.to_string();
        let asked = [
            ("actor_token", "a"),
            ("actor_token_type", JWT),
            ("actor_proof", "p"),
            ("authorization_details", text.as_str()),
        ];
        assert_eq!(exchange(&asked).err(), expected, "{text}");
    };
    let invalid = Some(ErrorCode::InvalidAuthorizationDetails);
    let one = json!(task());
    check(json!([one]), None);
    check(json!([]), invalid);
    check(json!([one, one]), invalid);
    check(one.clone(), invalid);
    check(json!([["agent_task", "care", ["crm/lookup"], [], 3, NOW + 600]]), invalid);
    check(json!([with(&one, "type", "other")]), invalid);
    check(json!([with(&one, "extra", 1)]), invalid);
    check(json!([with(&one, "tools", "crm/lookup")]), invalid);
    check(json!([with(&one, "until", "soon")]), invalid);
    let twice = r#"[{"type":"agent_task","type":"agent_task"}]"#;
    let asked = [
        ("actor_token", "a"),
        ("actor_token_type", JWT),
        ("actor_proof", "p"),
        ("authorization_details", twice),
    ];
    assert_eq!(exchange(&asked).err(), invalid);
}

#[test]
fn an_actor_token_names_one_key_by_the_word_of_its_agent() {
    let (key, jkt) = (es256(), es256().verifying().thumbprint_text());
    let made = make_actor(("reader", "lead", ISSUER), &key, &jkt, (NOW, "once")).expect("signed");
    let agent = |token: &str| UnverifiedActor::read(token).and_then(|actor| actor.agent());
    assert_eq!(agent(&made).as_deref(), Ok("reader"));
    let read =
        verify_actor(&made, ("reader", "lead", ISSUER), key.verifying(), NOW).expect("it holds");
    assert_eq!((read.jti.as_str(), keys::base64url(&read.key)), ("once", jkt.clone()));
    let claims = json!({
        "iss": "reader", "sub": "reader", "aud": ISSUER, "azp": "lead", "cnf": { "jkt": jkt },
        "iat": NOW, "exp": NOW + 60, "jti": "once",
    });
    let check = |typ: &str, claims: &Value, expected: Option<JwsError>| {
        let signed = sign(&json!({ "alg": "ES256", "typ": typ }), claims, &key);
        let read = verify_actor(&signed, ("reader", "lead", ISSUER), key.verifying(), NOW);
        assert_eq!(read.err(), expected, "{claims}");
    };
    check("actor+jwt", &claims, None);
    for typ in ["JWT", "at+jwt", "dpop+jwt", "delegation+jwt"] {
        check(typ, &claims, Some(JwsError::WrongType("actor+jwt")));
    }
    let refuse = |name: &'static str, value: Value| {
        check("actor+jwt", &with(&claims, name, value), Some(JwsError::Claim(name)));
    };
    for name in ["iss", "sub", "aud", "azp"] {
        refuse(name, json!("other"));
        refuse(name, json!(null));
    }
    refuse("cnf", json!({ "jkt": "short" }));
    refuse("cnf", json!([jkt]));
    refuse("cnf", json!({ "jkt": jkt, "x5t#S256": "x" }));
    refuse("exp", json!(NOW));
    refuse("exp", json!(NOW + access_token::LIFETIME_MAX_S + 1));
    refuse("iat", json!(NOW + 60));
    refuse("nbf", json!(NOW + 60));
    refuse("jti", json!(""));
    // N-034: a chain that the agent made up.
    refuse("act", json!({ "sub": "ins_1" }));
}

fn delegated() -> Delegated {
    Delegated {
        iss: ISSUER.to_owned(),
        aud: ISSUER.to_owned(),
        sub: "carla".to_owned(),
        act: None,
        client_id: "lead".to_owned(),
        task: "tsk_1".to_owned(),
        may_act: may_act(),
        decision: "dec_1".to_owned(),
        policy: "00".to_owned(),
        authorization_details: [task()],
        iat: NOW,
        exp: NOW + 60,
        jti: "once".to_owned(),
    }
}

#[test]
fn a_delegation_is_ours_and_short() {
    let key = Arc::new(es256());
    let ours = TokenKeys::new(key.clone(), Vec::new());
    let read = |text: &str, now| verify(text, &ours, ISSUER, now);
    let made = make(&delegated(), key.as_ref()).expect("signed");
    assert_eq!(read(&made, NOW), Ok(delegated()));
    assert_eq!(read(&made, NOW + 60), Err(JwsError::Claim("exp")));
    let foreign = SigningKey::generate(keys::KeyAlgorithm::Es256).expect("a key");
    let foreign = make(&delegated(), &foreign).expect("signed");
    assert_eq!(read(&foreign, NOW), Err(JwsError::UnknownKey));
    let check = |change: fn(&mut Delegated), expected: JwsError| {
        let mut changed = delegated();
        change(&mut changed);
        assert_eq!(read(&make(&changed, key.as_ref()).expect("signed"), NOW), Err(expected));
    };
    check(|it| it.iss = "https://other.example".to_owned(), JwsError::Claim("iss"));
    check(|it| it.aud = "https://other.example".to_owned(), JwsError::Claim("aud"));
    check(|it| it.exp = NOW + 61, JwsError::Claim("exp"));
    check(|it| it.may_act.jkt = "short".to_owned(), JwsError::Claim("may_act"));
    check(
        |it| it.authorization_details[0].kind = "other".to_owned(),
        JwsError::Claim("authorization_details"),
    );
    // N-028: neither is taken for the other.
    let as_access = access_token::verify(&made, &ours, (ISSUER, ISSUER), NOW);
    assert_eq!(as_access, Err(JwsError::WrongType(access_token::TYP)));
}

/// N-038: a chain of actors is read as far as one may be nested, and no stack is spent on more.
#[test]
fn n_038_a_chain_of_ten_thousand_actors_is_refused() {
    let key = Arc::new(es256());
    let ours = TokenKeys::new(key.clone(), Vec::new());
    let nested = |depth: usize| {
        let text = format!("{}{}{}", r#"{"sub":"i","act":"#.repeat(depth), "{}", "}".repeat(depth));
        let claims = format!(r#"{{"iss":"{ISSUER}","aud":"{ISSUER}","act":{text}}}"#);
        let kid = key.verifying().thumbprint_text();
        let header = json!({ "alg": "ES256", "typ": access_token::TYP, "kid": kid });
        sign_texts(&header.to_string(), &claims, &key)
    };
    let read = |depth| access_token::verify(&nested(depth), &ours, (ISSUER, ISSUER), NOW);
    assert_eq!(read(10_000), Err(JwsError::TooLong));
    assert_eq!(read(100), Err(JwsError::NotJson("claims")));
    // One that may be is read, and found to lack the rest.
    assert_eq!(read(3), Err(JwsError::Claim("iat")));
}
