//! Whose tokens are taken, and for whom they have to be.

use serde_json::{Value, json};

use super::signing::TestKey;
use super::{CLUSTER, Files, US, account, token, told, with, workload};
use crate::WorkloadToken;
use crate::claims::AUDIENCES_MAX;
use model::workload::SUBJECT_MAX;
use model::{WorkloadIdentity, WorkloadRule};

#[tokio::test]
async fn an_identity_is_what_the_platform_says() {
    let key = TestKey::new("RS256");
    let files = Files::new(&[key.jwk("k1")], &[key.svid_jwk("k1")]);
    let found = files.world.oidc(&token("k1", &account(), &key)).await.expect("it holds");
    let claims = [
        ("kubernetes.io.namespace", "payments"),
        ("kubernetes.io.serviceaccount.name", "bot"),
        ("kubernetes.io.serviceaccount.uid", "54ac"),
        ("kubernetes.io.warnafter", "1767229207"),
    ];
    let expected = WorkloadIdentity {
        issuer: CLUSTER.to_owned(),
        subject: "system:serviceaccount:payments:bot".to_owned(),
        claims: claims.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    assert_eq!(found.identity, expected);
    assert_eq!(found.expires.as_seconds(), super::NOW + 3_600);

    let found = files.world.svid(&token("k1", &workload(), &key)).await.expect("it holds");
    let expected = WorkloadIdentity {
        issuer: "spiffe://example.org".to_owned(),
        subject: "spiffe://example.org/ns/payments/sa/bot".to_owned(),
        claims: [].into(),
    };
    assert_eq!(found.identity, expected);
    assert_eq!(found.expires.as_seconds(), super::NOW + 300);
}

async fn check(name: &str, value: Value, expected: [&str; 2]) {
    let key = TestKey::new("ES256");
    let files = Files::new(&[key.jwk("k1")], &[key.svid_jwk("k1")]);
    let oidc = with(&account(), name, value.clone());
    let oidc = files.world.oidc(&token("k1", &oidc, &key)).await;
    let svid = with(&workload(), name, value.clone());
    let svid = files.world.svid(&token("k1", &svid, &key)).await;
    assert_eq!([told(&oidc), told(&svid)], expected, "{name} = {value}");
}

/// An issuer's token is for us and nobody else: whoever else it is for could show it to us. A
/// JWT-SVID may be for others too, as its specification lets it.
#[tokio::test]
async fn a_token_is_for_us() {
    check("aud", json!(US), ["ok"; 2]).await;
    check("aud", json!([US]), ["ok"; 2]).await;
    check("aud", json!([US, "other"]), ["audience", "ok"]).await;
    check("aud", json!(["other", US]), ["audience", "ok"]).await;
    check("aud", json!([US, US]), ["audience", "ok"]).await;
    for other in ["other", "", "https://chancery.example/", "HTTPS://CHANCERY.EXAMPLE", "*"] {
        check("aud", json!(other), ["audience"; 2]).await;
        check("aud", json!([other]), ["audience"; 2]).await;
    }
    check("aud", json!([]), ["audience"; 2]).await;
    for wrong in [json!(null), json!(1), json!({ US: 1 }), json!([US, 1]), json!([[US]])] {
        check("aud", wrong, ["claim"; 2]).await;
    }
    let most = |number: usize| json!(vec![US; number]);
    check("aud", most(AUDIENCES_MAX), ["audience", "ok"]).await;
    check("aud", most(AUDIENCES_MAX + 1), ["claim"; 2]).await;
}

/// By which a client authenticates, a JWT-SVID is for us alone.
#[tokio::test]
async fn n_003_an_svid_that_authenticates_is_for_us_alone() {
    let key = TestKey::new("ES256");
    let files = Files::new(&[], &[key.svid_jwk("k1")]);
    for (aud, expected) in [
        (json!(US), "ok"),
        (json!([US]), "ok"),
        (json!([US, "other"]), "audience"),
        (json!(["other", US]), "audience"),
        (json!([US, US]), "audience"),
        (json!(["other"]), "audience"),
        (json!([]), "audience"),
    ] {
        let svid = token("k1", &with(&workload(), "aud", aud.clone()), &key);
        let found = files.world.sources.verify(WorkloadToken::ClientSvid(&svid)).await;
        assert_eq!(told(&found), expected, "{aud}");
    }
}

#[tokio::test]
async fn an_issuer_is_named_exactly() {
    for other in [
        "https://evil.example",
        "https://kubernetes.default.svc.cluster.local/",
        "https://KUBERNETES.default.svc.cluster.local",
        "https://kubernetes.default.svc.cluster.local:443",
        "http://kubernetes.default.svc.cluster.local",
        "kubernetes.default.svc.cluster.local",
        "spiffe://example.org",
    ] {
        check("iss", json!(other), ["foreign_issuer", "ok"]).await;
    }
    for wrong in [json!(null), json!(""), json!(1), json!([CLUSTER]), json!("a\u{7}")] {
        check("iss", wrong, ["claim", "ok"]).await;
    }
}

#[tokio::test]
async fn a_subject_is_a_text_of_bearable_length() {
    check("sub", json!("x".repeat(SUBJECT_MAX)), ["ok", "not_spiffe_id"]).await;
    check("sub", json!("x".repeat(SUBJECT_MAX + 1)), ["claim"; 2]).await;
    for wrong in [json!(null), json!(""), json!(1), json!(["a"]), json!("a\nb"), json!("a\u{0}")] {
        check("sub", wrong, ["claim"; 2]).await;
    }
}

/// N-037: two issuers, each with its own keys under one name.
#[tokio::test]
async fn n_037_an_issuer_vouches_for_its_own_and_nobody_elses() {
    let (ours, theirs) = (TestKey::new("ES256"), TestKey::new("ES256"));
    let files = Files::with(&[ours.jwk("k1")], &[], |config| {
        let theirs = config["oidc"][0]["jwks_file"].as_str().unwrap().replace("jwks", "theirs");
        let other = json!({ "issuer": "https://ci.example", "audience": US, "jwks_file": theirs });
        config["oidc"].as_array_mut().unwrap().push(other);
    });
    files.write("theirs", &[theirs.jwk("k1"), theirs.jwk("k2")]);
    let other = with(&account(), "iss", "https://ci.example");
    for (claims, key, expected) in [
        (account(), &ours, "ok"),
        (other.clone(), &theirs, "ok"),
        (account(), &theirs, "signature"),
        (other, &ours, "signature"),
    ] {
        let found = files.world.oidc(&token("k1", &claims, key)).await;
        assert_eq!(told(&found), expected, "{}", claims["iss"]);
    }
    let found = files.world.oidc(&token("k2", &account(), &theirs)).await;
    assert_eq!(told(&found), "key_unasked");
}

/// A token as GitHub issues it to a job, and the rule that its documentation leads to.
#[tokio::test]
async fn a_job_is_known_by_its_repository_and_environment() {
    let issuer = "https://token.actions.githubusercontent.com";
    let key = TestKey::new("RS256");
    let files = Files::with(&[with(&key.jwk("38826b17"), "x5t", "eAm3Q2CpXW")], &[], |config| {
        config["oidc"][0]["issuer"] = json!(issuer);
    });
    let subject = "repo:octo-org/octo-repo:environment:prod";
    let claims = json!({
        "jti": "01a2b3c4-5d6e", "sub": subject, "aud": US, "iss": issuer,
        "nbf": super::NOW - 300, "exp": super::NOW + 600, "iat": super::NOW - 300,
        "environment": "prod", "ref": "refs/heads/main", "ref_type": "branch",
        "ref_protected": "false", "sha": "3c1f", "base_ref": "", "head_ref": "",
        "repository": "octo-org/octo-repo", "repository_id": "74", "repository_owner": "octo-org",
        "repository_owner_id": "65", "repository_visibility": "private", "actor": "octocat",
        "actor_id": "12", "run_id": "28365", "run_number": "10", "run_attempt": "2",
        "event_name": "workflow_dispatch", "workflow": "example", "workflow_sha": "3c1f",
        "runner_environment": "github-hosted",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
    });
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": "eAm3Q2CpXW", "kid": "38826b17" });
    let found = files.world.oidc(&super::sign(&header, &claims, &key)).await.expect("it holds");
    assert_eq!(found.identity.subject, subject);
    assert_eq!(found.identity.claims.len(), 22);
    let rule = |id: &str| -> WorkloadRule {
        let wanted = json!({ "environment": "prod", "repository_id": id });
        let rule =
            json!({ "issuer": issuer, "subject": "repo:octo-org/octo-repo:*", "claims": wanted });
        serde_json::from_value(rule).expect("a rule")
    };
    assert!(rule("74").admits(&found.identity));
    assert!(!rule("75").admits(&found.identity), "the name was given to another repository");
}
