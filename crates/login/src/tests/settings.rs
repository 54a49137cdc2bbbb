//! What the operator may write.

use std::path::Path;
use std::time::Duration;

use super::settings;
use crate::url::RETURN_MAX;
use crate::{ClientSecret, ClientSecretError, EndpointUrl, Provider, ReturnPath, Settings};

#[test]
fn a_url_is_https_or_on_loopback() {
    let check = |text: &str, expected: Result<bool, &str>| {
        let read = EndpointUrl::parse(text);
        if let Ok(url) = &read {
            assert_eq!(url.as_str(), text);
        }
        let read = read.map(|url| url.is_loopback()).map_err(|error| error.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{text}");
    };
    let scheme = "the URL is neither https nor http on loopback with a port";
    check("https://id.example", Ok(false));
    check("https://ID.example:443/a?b", Ok(false));
    check("http://127.0.0.1:8080/x", Ok(true));
    check("http://localhost:8080", Ok(true));
    check("http://[::1]:8080/", Ok(true));
    for other in [
        "http://id.example",
        "http://127.0.0.1",
        "http://127.0.0.2:80/",
        "http://localhost.evil.example:80",
        "http://127.0.0.1.evil.example:80/",
        "http://localhost@evil.example:80/",
        "ftp://x",
        "",
        "//x",
        "HTTP://localhost:80/",
    ] {
        check(other, Err(scheme));
    }
    check("http://localhost:80@evil.example/", Err("the URL names a user"));
    check("http://localhost:0/", Err("the URL's port is not a number from 1 to 65535"));
    check("https://127.0.0.1/", Err("the URL does not name a host by its DNS name"));
    check("https://id.example/#x", Err("the URL has a fragment"));
    check("http://localhost:80/#x", Err("the URL has a fragment"));
    check(
        "https://id.example/\u{e4}",
        Err("the URL holds a character that has to be percent-encoded"),
    );
}

#[test]
fn n_079_a_login_ends_at_a_path_of_this_site() {
    let check = |text: &str, expected: bool| {
        let read = ReturnPath::parse(text);
        assert_eq!(read.is_ok(), expected, "{text}");
        assert!(read.is_ok_and(|path| path.as_str() == text) || !expected);
    };
    for path in ["/", "/approvals/7?open=1&x=%2f%2f", "/a//b", "/@x", "/%2f%2fevil.example"] {
        check(path, true);
    }
    for other in [
        "",
        "approvals",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        " /",
        "/\u{2f}\u{ff0f}",
        "/<",
        "/\"",
        "/#x",
    ] {
        check(other, false);
    }
    check(&format!("/{}", "x".repeat(RETURN_MAX - 1)), true);
    check(&format!("/{}", "x".repeat(RETURN_MAX)), false);
}

#[test]
fn settings_describe_a_provider_or_say_why_not() {
    let check = |set: fn(&mut Settings), expected: Option<&str>| {
        let mut settings = settings();
        set(&mut settings);
        let refused = Provider::new(settings).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), expected);
    };
    check(|_| (), None);
    check(
        |settings| settings.issuer = EndpointUrl::parse("https://id.example?x").unwrap(),
        Some("the issuer has a query"),
    );
    check(
        |settings| settings.redirect_uri = EndpointUrl::parse("https://x.example/cb?x=y").unwrap(),
        Some("the redirect URI has a query"),
    );
    check(|settings| settings.client_id.clear(), Some("`` cannot be a value of `client_id`"));
    check(|settings| settings.client_id = "x".repeat(256), None);
    check(
        |settings| {
            settings.scopes.insert("a b".to_owned());
        },
        Some("`a b` cannot be a value of `scopes`"),
    );
    check(|settings| settings.scopes = (0..16).map(|one| one.to_string()).collect(), None);
    check(
        |settings| settings.scopes = (0..17).map(|one| one.to_string()).collect(),
        Some("`scopes` has more than 16 values"),
    );
    check(
        |settings| settings.groups_claim = Some("email".to_owned()),
        Some("`email` is no claim for groups: it has a meaning of its own"),
    );
    check(|settings| settings.groups_claim = Some("https://x.example/groups".to_owned()), None);
    check(|settings| settings.max_age = Some(Duration::from_hours(24)), None);
    check(
        |settings| settings.max_age = Some(Duration::from_secs(86_401)),
        Some("`max_age` is more than 24 hours"),
    );
}

#[test]
fn a_client_secret_is_one_line_that_nobody_else_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8], expected: bool| {
        let path = folder.path().join(name);
        keys::write_private(&path, bytes).unwrap();
        let read = ClientSecret::read(&path);
        assert_eq!(read.is_ok(), expected, "{name}");
        assert!(!format!("{read:?}").contains("word"));
    };
    check("plain", b"word", true);
    check("line", b"word\n", true);
    check("longest", &[b'w'; 1_024], true);
    check("too long", &[b'w'; 1_025], false);
    check("empty", b"\n", false);
    check("two lines", b"word\nword\n", false);
    check("no text", b"w\xffrd", false);
    check("nul", b"w\0rd", false);
    let missing = ClientSecret::read(Path::new("/nowhere/secret")).unwrap_err();
    assert!(matches!(missing, ClientSecretError::File(_)));
    let open = folder.path().join("open");
    std::fs::write(&open, b"word").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&open, mode).unwrap();
    assert!(matches!(ClientSecret::read(&open), Err(ClientSecretError::File(_))));
}
