//! The token endpoint: forms read strictly, errors as RFC 6749 writes them.

use oauth::form::{Client, FORM_MAX, Signed, form};
use oauth::token_endpoint::{Grant, PlatformToken, RESUME, TokenRequest, parse};
use oauth::{ErrorCode, OAuthError, challenge, challenge_of_either, client_assertion};
use proptest::prelude::*;
use serde_json::json;

const RIGHT: [(&str, &str); 5] = [
    ("grant_type", "client_credentials"),
    ("client_id", "support-bot"),
    ("client_assertion_type", client_assertion::TYPE),
    ("client_assertion", "a.b.c"),
    ("resource", "https://chancery.example/mcp/payments"),
];

fn right() -> TokenRequest {
    TokenRequest {
        client: Client {
            id: "support-bot".to_owned(),
            assertion: "a.b.c".to_owned(),
            by: Signed::Key,
        },
        resource: Some("https://chancery.example/mcp/payments".to_owned()),
        grant: Grant::ClientCredentials,
        purpose: None,
        renewal: None,
        voucher: None,
        workload: None,
    }
}

/// The right form with `name` set to `value`, or without it.
fn with(name: &str, value: Option<&str>) -> String {
    let others = RIGHT.iter().copied().filter(|(known, _)| *known != name);
    form(&others.chain(value.map(|value| (name, value))).collect::<Vec<_>>())
}

#[track_caller]
fn check(form: impl AsRef<[u8]>, code: ErrorCode) {
    let form = form.as_ref();
    let refused = parse(form).map_err(|error| error.code);
    assert_eq!(refused, Err(code), "{}", String::from_utf8_lossy(form));
}

#[test]
fn the_right_form_is_read() {
    assert_eq!(parse(form(&RIGHT).as_bytes()), Ok(right()));
    let purpose = Some("refunds".to_owned());
    let asked = with("purpose", Some("refunds"));
    assert_eq!(parse(asked.as_bytes()), Ok(TokenRequest { purpose, ..right() }));
    // RFC 6749 §3.2: unknown parameters are ignored, and those without a value.
    for ignored in ["&audience=", "&scope=", "&purpose=", "&purpose", "&&", "&=", "&x=%C3%A9"] {
        let form = format!("{}{ignored}", form(&RIGHT));
        assert_eq!(parse(form.as_bytes()), Ok(right()), "{ignored}");
    }
}

/// What is asked for and not granted is refused, not passed over (RFC 6749 §3.3, RFC 8707 §2).
#[test]
fn oa_01_a_scope_or_another_audience_is_not_passed_over() {
    let with_more = |more: &str| format!("{}&{more}", form(&RIGHT));
    for scope in ["payments/*", "openid", "payments/pay%20ssf"] {
        check(with_more(&format!("scope={scope}")), ErrorCode::InvalidScope);
    }
    let same = form(&[("audience", RIGHT[4].1)]);
    assert_eq!(parse(with_more(&same).as_bytes()), Ok(right()));
    for other in ["payments", "https://chancery.example", "https://chancery.example/mcp/crm"] {
        let other = form(&[("audience", other)]);
        check(with_more(&other), ErrorCode::InvalidTarget);
        check(with_more(&format!("{other}&{same}")), ErrorCode::InvalidTarget);
    }
    // It says what `resource` says, and stands for nothing by itself.
    check(format!("{}&{same}", with("resource", None)), ErrorCode::InvalidTarget);
}

#[test]
fn the_word_of_a_platform_is_of_one_kind_and_shown_once() {
    let both = |kind: &str| {
        format!("{}&workload_token_type={kind}", with("workload_token", Some("a.b.c")))
    };
    let token = || "a.b.c".to_owned();
    for (kind, shown) in
        [("oidc", PlatformToken::Oidc(token())), ("jwt-svid", PlatformToken::JwtSvid(token()))]
    {
        let workload = Some(shown);
        assert_eq!(parse(both(kind).as_bytes()), Ok(TokenRequest { workload, ..right() }));
    }
    for kind in ["", "OIDC", "jwt", "urn:ietf:params:oauth:token-type:jwt"] {
        check(both(kind), ErrorCode::InvalidRequest);
    }
    check(with("workload_token_type", Some("oidc")), ErrorCode::InvalidRequest);
    let twice = both("jwt-svid").replace("jwt-bearer", "jwt-spiffe");
    check(twice, ErrorCode::InvalidRequest);
}

#[test]
fn a_task_is_taken_over_by_its_id() {
    let resumes = |task: &str| format!("{}&task={task}", with("grant_type", Some(RESUME)));
    let grant = Grant::Resume("tsk_1".to_owned());
    assert_eq!(parse(resumes("tsk_1").as_bytes()), Ok(TokenRequest { grant, ..right() }));
    check(resumes(""), ErrorCode::InvalidRequest);
    check(with("grant_type", Some(RESUME)), ErrorCode::InvalidRequest);
    // Of no other grant is it a part.
    check(with("task", Some("tsk_1")), ErrorCode::InvalidRequest);
    check(format!("{}&request_uri=x", resumes("tsk_1")), ErrorCode::InvalidRequest);
}

#[test]
fn what_is_missing_or_empty_is_refused() {
    for (name, code) in [
        ("client_id", ErrorCode::InvalidRequest),
        ("client_assertion", ErrorCode::InvalidRequest),
        // RFC 8707 §2.
        ("resource", ErrorCode::InvalidTarget),
    ] {
        check(with(name, None), code);
        check(with(name, Some("")), code);
    }
    check("", ErrorCode::UnsupportedGrantType);
    check("{}", ErrorCode::UnsupportedGrantType);
}

#[test]
fn n_004_another_grant_is_refused() {
    for grant in [
        "password",
        "refresh_token",
        "authorization_code",
        "urn:ietf:params:oauth:grant-type:device_code",
        "Client_Credentials",
        "client_credentials ",
    ] {
        check(with("grant_type", Some(grant)), ErrorCode::UnsupportedGrantType);
    }
    check(with("grant_type", None), ErrorCode::UnsupportedGrantType);
}

#[test]
fn another_way_to_authenticate_is_refused() {
    check(with("client_assertion_type", None), ErrorCode::InvalidClient);
    for kind in [
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        "urn:ietf:params:oauth:client-assertion-type:JWT-SPIFFE",
        "URN:ietf:params:oauth:client-assertion-type:jwt-bearer",
    ] {
        check(with("client_assertion_type", Some(kind)), ErrorCode::InvalidClient);
    }
    // RFC 6749 §2.3: not two ways at once.
    check(with("client_secret", Some("hunter2")), ErrorCode::InvalidRequest);
}

/// RFC 6749 §3.2. RFC 8707 allows several of `resource`; a token of ours has one audience (N-006).
#[test]
fn n_006_a_parameter_that_stands_twice_is_refused() {
    for (name, value) in RIGHT {
        let code = match name {
            "resource" => ErrorCode::InvalidTarget,
            _ => ErrorCode::InvalidRequest,
        };
        for again in [value, "other", ""] {
            let again = form(&[(name, again)]);
            check(format!("{}&{again}", form(&RIGHT)), code);
            check(format!("{again}&{}", form(&RIGHT)), code);
        }
    }
    let escaped = format!("{}&re%73ource=x", form(&RIGHT));
    check(escaped, ErrorCode::InvalidTarget);
    check(format!("{}&unknown=1&unknown=1", form(&RIGHT)), ErrorCode::InvalidRequest);
}

#[test]
fn what_is_not_utf8_is_refused() {
    for bad in [&b"&x=%ff"[..], b"&x=\xff", b"&%c3=1", b"&x=%ED%A0%80", b"&purpose=%C0%AF"] {
        check([form(&RIGHT).as_bytes(), bad].concat(), ErrorCode::InvalidRequest);
    }
}

#[test]
fn a_form_has_limits() {
    let sized = |bytes: usize| {
        let base = format!("{}&x=", form(&RIGHT));
        let pad = "x".repeat(bytes - base.len());
        format!("{base}{pad}")
    };
    assert_eq!(parse(sized(FORM_MAX).as_bytes()), Ok(right()));
    check(sized(FORM_MAX + 1), ErrorCode::InvalidRequest);
    let many = |count: usize| {
        let extra: Vec<_> = (RIGHT.len()..count).map(|n| format!("&p{n}=1")).collect();
        format!("{}{}", form(&RIGHT), extra.concat())
    };
    assert_eq!(parse(many(32).as_bytes()), Ok(right()));
    check(many(33), ErrorCode::InvalidRequest);
}

#[test]
fn errors_are_told_as_rfc_6749_5_2_says() {
    let table = [
        (ErrorCode::InvalidRequest, "invalid_request", 400),
        (ErrorCode::InvalidClient, "invalid_client", 401),
        (ErrorCode::UnauthorizedClient, "unauthorized_client", 400),
        (ErrorCode::UnsupportedGrantType, "unsupported_grant_type", 400),
        (ErrorCode::InvalidScope, "invalid_scope", 400),
        (ErrorCode::InvalidTarget, "invalid_target", 400),
        (ErrorCode::InvalidDpopProof, "invalid_dpop_proof", 400),
        (ErrorCode::AccessDenied, "access_denied", 400),
        (ErrorCode::TemporarilyUnavailable, "temporarily_unavailable", 503),
    ];
    for (code, name, status) in table {
        let error = OAuthError::new(code, "why");
        assert_eq!(error.body(), json!({ "error": name, "error_description": "why" }));
        assert_eq!(error.status(), status);
        assert_eq!(error.to_string(), format!("{name}: why"));
    }
    let odd = OAuthError::new(ErrorCode::InvalidRequest, "a \"b\" \\ \u{1b}[31m é `c`");
    assert_eq!(odd.body()["error_description"], "a ?b? ? ?[31m ? `c`");
}

/// RFC 9449 §7.1 and RFC 9728 §5.1. Whoever chooses the URL cannot add to the challenge.
#[test]
fn a_challenge_says_what_is_wanted_and_nothing_else() {
    let plain = "DPoP error=\"invalid_token\", algs=\"ES256 EdDSA\"";
    assert_eq!(challenge("invalid_token", None), plain);
    let url = "https://a.example/.well-known/oauth-protected-resource/mcp/a";
    let expected = format!("{plain}, resource_metadata=\"{url}\"");
    assert_eq!(challenge("invalid_token", Some(url)), expected);
    let either = format!("Bearer error=\"invalid_token\", resource_metadata=\"{url}\", {expected}");
    assert_eq!(challenge_of_either("invalid_token", Some(url)), either);
    for bad in ["https://a.example/\", error=\"", "https://a.example/\r\nX: y", "a\\", "a b", "é"]
    {
        assert_eq!(challenge("invalid_token", Some(bad)), plain, "{bad}");
        let either = format!("Bearer error=\"invalid_token\", {plain}");
        assert_eq!(challenge_of_either("invalid_token", Some(bad)), either, "{bad}");
    }
}

proptest! {
    /// What a client writes is what is read, whatever characters it has.
    #[test]
    fn what_is_written_is_read(client in "[^\u{fffd}]{1,20}", resource in "[^\u{fffd}]{1,20}", purpose in "[^\u{fffd}]{1,20}") {
        let parameters = [
            RIGHT[0],
            ("client_id", client.as_str()),
            RIGHT[2],
            RIGHT[3],
            ("resource", resource.as_str()),
            ("purpose", purpose.as_str()),
        ];
        let read = parse(form(&parameters).as_bytes()).unwrap();
        prop_assert_eq!((read.client.id, read.resource, read.purpose), (client, Some(resource), Some(purpose)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }
}
