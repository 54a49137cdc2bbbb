//! URLs that others write: one reading, or none.

use https_url::{HttpsUrl, NotHttpsUrl, URL_MAX};
use proptest::prelude::*;

fn check(text: &str, expected: Result<(&str, u16), NotHttpsUrl>) {
    let read = HttpsUrl::parse(text);
    let read = read.as_ref().map(|url| (url.host(), url.port())).map_err(|error| *error);
    assert_eq!(read, expected, "{text}");
}

fn long(length: usize) -> String {
    format!("https://a.example/{}", "x".repeat(length - "https://a.example/".len()))
}

#[test]
fn a_url_is_read_to_its_host_and_port() {
    for (text, host, port) in [
        ("https://a.example", "a.example", 443),
        ("https://A.Example:443/p?q#f", "a.example", 443),
        ("HTTPS://a.example/", "a.example", 443),
        ("https://a.example:8443/x", "a.example", 8_443),
        ("https://a.example:65535", "a.example", 65_535),
        ("https://idp/realms/x", "idp", 443),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("https://3.a1/", "3.a1", 443),
        ("https://a.example?next=https://b.example/@c:1", "a.example", 443),
        ("https://a.example#@b.example/", "a.example", 443),
        (long(URL_MAX).as_str(), "a.example", 443),
    ] {
        check(text, Ok((host, port)));
    }
}

/// N-072: an address is no host, however it is spelt.
#[test]
fn n_072_an_address_in_any_spelling_is_no_host() {
    for host in [
        "127.0.0.1",
        "127.0.0.1:8443",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0X7F.1",
        "127.1",
        "0x7f.0.0.0x1",
        "0x",
        "a.0x",
        "a.example.1",
        "1.1.1.1",
    ] {
        check(&format!("https://{host}/"), Err(NotHttpsUrl::Host));
    }
    for host in ["[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fe80::1%25eth0]"] {
        check(&format!("https://{host}/"), Err(NotHttpsUrl::Character));
    }
}

/// N-073: what is opened is a page on the web, and nothing that a shell would run.
#[test]
fn n_073_what_is_opened_is_https_and_nothing_to_a_shell() {
    for text in [
        "javascript:alert(1)",
        "JavaScript://a.example/%0aalert(1)",
        "file:///etc/passwd",
        "file://a.example/share",
        "data:text/html,x",
        "ms-msdt:/id",
        "http://a.example/",
        "https:a.example/",
        "https:/a.example/",
        "https",
        "",
        " https://a.example/",
        "//a.example/",
        "-flag",
    ] {
        check(text, Err(NotHttpsUrl::Scheme));
    }
    for tail in [
        "$(calc)", "${x}", "`calc`", "'calc'", "\"calc\"", "a|calc", "a<b", "a>b", "a^b", "a b",
        "a\\b", "a\nb", "a\tb", "a\0b", "{a,b}", "%PATH%", "%", "%4", "%zz", "\u{e9}", "\u{202e}",
        "#a#b", "[a]",
    ] {
        check(&format!("https://a.example/{tail}"), Err(NotHttpsUrl::Character));
    }
    check("https://a.example/authorize?a=b&c=%24%28d%29;e=~f(g)*!", Ok(("a.example", 443)));
}

#[test]
fn n_073_what_could_be_read_in_two_ways_is_refused() {
    let label = "a".repeat(64);
    let name = format!("{}.example", ["a".repeat(60).as_str(); 5].join("."));
    for (text, why) in [
        ("https://user@a.example/", NotHttpsUrl::User),
        ("https://a.example:443@b.example/", NotHttpsUrl::User),
        ("https://a.example:/", NotHttpsUrl::Port),
        ("https://a.example:0/", NotHttpsUrl::Port),
        ("https://a.example:0443/", NotHttpsUrl::Port),
        ("https://a.example:+443/", NotHttpsUrl::Port),
        ("https://a.example:65536/", NotHttpsUrl::Port),
        ("https://a.example:443:443/", NotHttpsUrl::Port),
        ("https:///a.example/", NotHttpsUrl::Host),
        ("https://", NotHttpsUrl::Host),
        ("https://a.example./", NotHttpsUrl::Host),
        ("https://.example/", NotHttpsUrl::Host),
        ("https://a..example/", NotHttpsUrl::Host),
        ("https://-a.example/", NotHttpsUrl::Host),
        ("https://a-.example/", NotHttpsUrl::Host),
        ("https://a_b.example/", NotHttpsUrl::Host),
        ("https://*.example/", NotHttpsUrl::Host),
        ("https://a%2eexample/", NotHttpsUrl::Host),
        (&format!("https://{label}.example/"), NotHttpsUrl::Host),
        (&format!("https://{name}/"), NotHttpsUrl::Host),
        (&long(URL_MAX + 1), NotHttpsUrl::TooLong),
    ] {
        check(text, Err(why));
    }
    check(
        &format!("https://{}.example/", "a".repeat(63)),
        Ok((&format!("{}.example", "a".repeat(63)), 443)),
    );
}

#[test]
fn one_origin_is_spelt_in_one_way() {
    let read = |text: &str| HttpsUrl::parse(text).expect("it is one");
    let url = read("HTTPS://A.Example:443/P?Q#F");
    assert_eq!(url.as_str(), "https://a.example/P?Q#F");
    assert!(url.has_fragment() && !read("https://a.example/").has_fragment());
    assert!(url.is_same_origin(&read("https://a.example/other")));
    assert!(!url.is_same_origin(&read("https://a.example:8443/P")));
    assert!(!url.is_same_origin(&read("https://b.example/P")));
    assert_eq!(read("https://a.example:8443").to_string(), "https://a.example:8443");
}

proptest! {
    /// N-084: whoever reads it, by RFC 3986 or as browsers do, finds the host that we find.
    #[test]
    fn n_084_every_reader_finds_the_same_host(
        text in r"(https|HTTPS|http)://[a-zA-Z0-9x.:@%/\\?#-]{0,12}[a-z.:/@?#]{0,4}\PC{0,8}"
    ) {
        if let Ok(url) = HttpsUrl::parse(&text) {
            for spelling in [text.as_str(), url.as_str()] {
                let uri: http::Uri = spelling.parse().expect("what is accepted is a URI");
                prop_assert_eq!(uri.host().map(str::to_ascii_lowercase), Some(url.host().to_owned()));
                prop_assert_eq!(uri.port_u16().unwrap_or(443), url.port());
                // Browsers refuse some names that look like encoded ones; they find no other host.
                if let Ok(browsed) = url::Url::parse(spelling) {
                    prop_assert_eq!(browsed.host_str(), Some(url.host()));
                    prop_assert_eq!(browsed.port_or_known_default(), Some(url.port()));
                }
            }
            prop_assert_eq!(HttpsUrl::parse(url.as_str()), Ok(url));
        }
    }
}
