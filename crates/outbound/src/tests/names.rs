//! Which hosts are connected to: names, redirects, certificates.

use std::net::IpAddr;

use http::StatusCode;

use super::server::{Authority, Server, answer};
use super::{Answers, LONG, PRIVATE, PUBLIC, World, resolver, told, url};
use crate::address::is_public;
use crate::fetcher::REDIRECTS_MAX;
use crate::{FetchError, Fetcher, SetupError, Trust};

/// N-072: a name that leads to an address that is not public, alone or among others, is connected to
/// nowhere, whatever listens there.
#[tokio::test]
async fn n_072_a_name_with_an_address_that_is_not_public_is_not_connected_to() {
    for address in [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "fd00::1",
        "fe80::1",
    ] {
        let private: IpAddr = address.parse().unwrap();
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        for answer in [vec![private], vec![public, private], vec![private, public]] {
            let mut resolver = resolver(Answers::new([answer]), &["other.example"]);
            resolver.is_public = is_public;
            let error = resolver.resolve("idp.example").await.expect_err(address).to_string();
            let expected =
                format!("`idp.example` leads to `{private}`, which is no public address");
            assert_eq!(error, expected);
        }
    }

    let world = World::new(|_| answer(200, "", "{}")).await;
    let mut resolver = resolver(world.answers.clone(), &[]);
    resolver.is_public = is_public;
    let fetcher = Fetcher::with(resolver, world.authority.roots(), LONG).unwrap();
    let error = fetcher.fetch_json(&world.url("/")).await.expect_err("127.0.0.1 is not public");
    assert!(matches!(&error, FetchError::NotPublic(refused) if refused.address == PUBLIC));
    assert_eq!(world.server.connections(), 0);
}

#[tokio::test]
async fn n_072_localhost_by_the_systems_resolver_is_not_connected_to() {
    let authority = Authority::new();
    let act = |_: &str| answer(200, "", r#"{"a":1}"#);
    let server = Server::start((PUBLIC, 0), authority.vouch_for("localhost"), act).await;
    let localhost = url(&format!("https://LOCALHOST:{}/", server.port));
    let trust = Trust { authorities: vec![authority.certificate.clone()], ..Trust::default() };
    let fetcher = Fetcher::new(trust.clone()).expect("there is an authority");
    let error = fetcher.fetch_json(&localhost).await.expect_err("it is loopback");
    assert!(matches!(error, FetchError::NotPublic(_)), "{}", told(&error));
    assert_eq!(server.connections(), 0);

    // Unless the operator names it.
    let private_hosts = ["localhost".to_owned()].into();
    let fetcher = Fetcher::new(Trust { private_hosts, ..trust }).expect("there is an authority");
    assert_eq!(fetcher.fetch_json(&localhost).await.expect("it is named")["a"], 1);

    let authorities = vec![vec![0].into()];
    let made = Fetcher::new(Trust { authorities, ..Trust::default() });
    assert!(matches!(made.err(), Some(SetupError::Tls(_))));
}

/// A host that the operator names is that host: not one below it, nor one beside it.
#[tokio::test]
async fn n_072_a_private_host_is_named_whole() {
    let resolver = resolver(Answers::new([vec![PRIVATE]]), &["idp.corp.example"]);
    assert!(resolver.resolve("idp.corp.example").await.is_ok());
    for other in ["a.idp.corp.example", "corp.example", "idp.corp.example.evil.example", "idp"] {
        assert!(resolver.resolve(other).await.is_err(), "{other}");
    }
}

/// N-072: a name whose answer is another as soon as it was checked. What is connected to is what was
/// checked, and a second look finds the second answer.
#[tokio::test]
async fn n_072_a_name_that_changes_between_check_and_connection_gains_nothing() {
    let world =
        World::with(vec![vec![PUBLIC], vec![PRIVATE]], LONG, |_| answer(200, "", "{}")).await;
    let tls = world.authority.vouch_for("idp.example");
    let private = Server::start((PRIVATE, world.server.port), tls, |_| answer(200, "", "{}")).await;
    world.fetch("/").await.expect("the first answer is public");
    assert_eq!((world.answers.asked(), world.server.connections()), (1, 1));
    let error = world.fetch("/").await.expect_err("the second is not");
    assert!(matches!(error, FetchError::NotPublic(_)), "{}", told(&error));
    assert_eq!((world.answers.asked(), world.server.connections()), (2, 1));
    assert_eq!(private.connections(), 0);
}

#[tokio::test]
async fn n_072_a_redirect_is_looked_up_and_checked_anew() {
    let act = |_: &str| answer(302, "location: /next\r\n", "");
    let world = World::with(vec![vec![PUBLIC], vec![PRIVATE]], LONG, act).await;
    let error = world.fetch("/").await.expect_err("the second answer is private");
    assert!(matches!(error, FetchError::NotPublic(_)), "{}", told(&error));
    assert_eq!((world.answers.asked(), world.server.connections()), (2, 1));
}

#[tokio::test]
async fn n_072_a_redirect_leads_to_no_other_host_port_or_scheme() {
    for location in [
        "https://169.254.169.254/latest/meta-data",
        "https://evil.example/",
        "https://idp.example/",
        "https://idp.example:1/",
        "https://idp.example.evil.example/",
        "http://idp.example/",
        "http://127.0.0.1/",
        "//evil.example/",
        "\\\\evil.example\\",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "next",
        "?a",
        "",
    ] {
        let headers = format!("location: {location}\r\n");
        check_away(&headers).await;
    }
    check_away("").await;
    check_away("location: /a\r\nlocation: /b\r\n").await;
    check_away("location: /a b\r\n").await;
}

/// Answered so, nothing is asked again.
async fn check_away(headers: &str) {
    let sent = headers.to_owned();
    let world = World::new(move |_| answer(302, &sent, "")).await;
    let error = world.fetch("/").await.expect_err(headers);
    assert!(matches!(error, FetchError::RedirectedAway), "{headers}: {}", told(&error));
    assert_eq!(world.server.connections(), 1, "{headers}");
}

#[tokio::test]
async fn redirects_of_one_origin_are_followed_up_to_their_limit() {
    let counted = |path: &str| match path.trim_start_matches('/').parse::<usize>() {
        Ok(0) => answer(200, "", r#"{"found":true}"#),
        Ok(left) => answer(307, &format!("location: /{}\r\n", left - 1), ""),
        Err(_) => answer(308, &format!("location: {path}\r\n"), ""),
    };
    let world = World::new(counted).await;
    let found = world.fetch(&format!("/{REDIRECTS_MAX}")).await.expect("it is within the limit");
    assert_eq!(found["found"], true);
    let error = world.fetch(&format!("/{}", REDIRECTS_MAX + 1)).await.expect_err("one too many");
    assert!(matches!(error, FetchError::TooManyRedirects));
    let before = world.server.connections();
    let error = world.fetch("/loop").await.expect_err("it goes round");
    assert!(matches!(error, FetchError::TooManyRedirects));
    assert_eq!(world.server.connections() - before, REDIRECTS_MAX + 1);

    let (authority, port) = (&world.authority, world.server.port);
    let absolute = format!("location: https://IDP.example:{port}/there\r\n");
    let act = move |path: &str| match path {
        "/there" => answer(200, "", "{}"),
        _ => answer(301, &absolute, ""),
    };
    let other = Server::start((PRIVATE, port), authority.vouch_for("idp.example"), act).await;
    let private = resolver(Answers::new([vec![PRIVATE]]), &["idp.example"]);
    let fetcher = Fetcher::with(private, authority.roots(), LONG).unwrap();
    fetcher.fetch_json(&world.url("/")).await.expect("a whole URL of the same origin");
    assert_eq!(other.connections(), 2);
}

/// N-078: who cannot show that it is that host sends no document.
#[tokio::test]
async fn n_078_a_host_that_cannot_show_that_it_is_it_is_not_asked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (kind, tls) in [
        ("another name", authority.vouch_for("other.example")),
        ("expired", authority.vouch("idp.example", 2_020)),
        ("by a stranger", stranger.vouch_for("idp.example")),
    ] {
        let server = Server::start((PUBLIC, 0), tls, |_| answer(200, "", "{}")).await;
        let public = resolver(Answers::new([vec![PUBLIC]]), &[]);
        let fetcher = Fetcher::with(public, authority.roots(), LONG).unwrap();
        let there = url(&format!("https://idp.example:{}/", server.port));
        let error = fetcher.fetch_json(&there).await.expect_err(kind);
        assert!(matches!(error, FetchError::Unreached(_)), "{kind}: {}", told(&error));
        assert!(told(&error).contains("certificate"), "{kind}: {}", told(&error));
        assert_eq!((server.connections(), server.heads().len()), (1, 0), "{kind}");
    }
}

/// N-078: who vouches for the operator's own hosts vouches for no other.
#[tokio::test]
async fn n_078_a_given_certificate_vouches_for_private_hosts_alone() {
    let (web, given) = (Authority::new(), Authority::new());
    let check = async |by: &Authority, private_hosts: &[&str], is_trusted: bool| {
        let tls = by.vouch_for("idp.example");
        let server = Server::start((PUBLIC, 0), tls, |_| answer(200, "", "{}")).await;
        let mut roots = web.roots();
        roots.private.add(given.certificate.clone()).unwrap();
        let resolver = resolver(Answers::new([vec![PUBLIC]]), private_hosts);
        let fetcher = Fetcher::with(resolver, roots, LONG).unwrap();
        let there = url(&format!("https://idp.example:{}/", server.port));
        let answer = fetcher.fetch_json(&there).await;
        assert_eq!(answer.is_ok(), is_trusted, "{private_hosts:?}");
        assert_eq!(server.heads().len(), usize::from(is_trusted), "{private_hosts:?}");
    };
    check(&web, &[], true).await;
    check(&web, &["idp.example"], true).await;
    check(&given, &["idp.example"], true).await;
    check(&given, &[], false).await;
    check(&given, &["other.example"], false).await;
}

#[tokio::test]
async fn n_072_fragments_and_ports_of_other_services_are_not_fetched_from() {
    let world = World::new(|_| answer(200, "", "{}")).await;
    for refused in
        ["https://idp.example/#a", "https://idp.example:22/", "https://idp.example:1023/"]
    {
        let error = world.fetcher.fetch_json(&url(refused)).await.expect_err(refused);
        assert!(matches!(error, FetchError::Url(_)), "{refused}: {}", told(&error));
    }
    assert_eq!(world.answers.asked(), 0);
    // Nobody is there, but they are asked for.
    let nobody = resolver(Answers::new([vec![]]), &[]);
    let fetcher = Fetcher::with(nobody, world.authority.roots(), LONG).unwrap();
    for asked in ["https://idp.example/", "https://idp.example:1024/"] {
        let error = fetcher.fetch_json(&url(asked)).await.expect_err(asked);
        assert!(told(&error).ends_with("`idp.example` has no address"), "{}", told(&error));
    }
}

/// N-077: nothing but the request for the document is sent, and nothing of an earlier answer.
#[tokio::test]
async fn n_077_nothing_of_ours_goes_to_a_url_of_somebody_elses() {
    let headers = "set-cookie: a=b; Path=/; Secure\r\nwww-authenticate: Basic\r\n";
    let world = World::new(|path| match path {
        "/" => answer(200, headers, "{}"),
        _ => answer(401, headers, "{}"),
    })
    .await;
    world.fetch("/").await.expect("it is there");
    world.fetch("/").await.expect("it is there");
    let error = world.fetch("/secret").await.expect_err("it wants credentials");
    assert!(matches!(error, FetchError::Status(StatusCode::UNAUTHORIZED)));
    let head = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\naccept: application/json\r\naccept-encoding: identity\r\n\
             user-agent: chancery\r\nhost: idp.example:{}\r\n\r\n",
            world.server.port
        )
    };
    assert_eq!(world.server.heads(), [head("/"), head("/"), head("/secret")]);
    assert_eq!((world.server.connections(), world.answers.asked()), (3, 3));
}
