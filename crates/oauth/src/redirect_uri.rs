//! Where a browser is sent with an answer: the URIs that a client may have for that.
//!
//! Either https, or http on the client's own machine. Not a scheme of the client's own (RFC 8252
//! §7.1): whatever program claims it there gets the answer, and nobody could be told which.

use https_url::{DEFAULT_PORT, HttpsUrl};

use crate::form;

/// This machine, as it stands in a URI (RFC 8252 §7.3, §8.3).
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// A redirect URI, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    leads: Leads,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Leads {
    /// To a host, by its origin and its name.
    Elsewhere { origin: String, host: String },
    /// To this machine: its spelling, its port, and what stands before and behind that.
    Here { host: &'static str, port: Option<u16>, rest: String },
}

impl RedirectUri {
    /// Reads `text`, which has one reading and no fragment (RFC 6749 §3.1.2).
    pub fn parse(text: &str) -> Option<Self> {
        let leads = if let Some(rest) = text.strip_prefix("http://") {
            here(rest)?
        } else {
            // Compared byte for byte, so a spelling of the scheme is as good as another.
            let url = HttpsUrl::parse(text).ok().filter(|url| !url.has_fragment())?;
            let origin = match url.port() {
                DEFAULT_PORT => format!("https://{}", url.host()),
                port => format!("https://{}:{port}", url.host()),
            };
            Leads::Elsewhere { origin, host: url.host().to_owned() }
        };
        Some(Self { text: text.to_owned(), leads })
    }

    /// Whether this URI, which the client registered, is the `asked` one: byte for byte (RFC 9700
    /// §2.1), but for the port on the client's own machine (RFC 8252 §7.3).
    pub fn is(&self, asked: &Self) -> bool {
        match (&self.leads, &asked.leads) {
            (Leads::Here { host, rest, .. }, Leads::Here { host: other, rest: behind, .. }) => {
                (host, rest) == (other, behind)
            }
            _ => self.text == asked.text,
        }
    }

    /// The host, as a person is told it.
    pub fn host(&self) -> &str {
        match &self.leads {
            Leads::Elsewhere { host, .. } => host,
            Leads::Here { host, .. } => host,
        }
    }

    /// Whether it leads to the machine that the browser is on.
    pub const fn is_loopback(&self) -> bool {
        matches!(self.leads, Leads::Here { .. })
    }

    /// What a page has to name so that its form may lead there (Content Security Policy Level 3,
    /// `form-action`). It knows no IPv6 address: of that one only the scheme is named.
    pub fn form_action(&self) -> String {
        match &self.leads {
            Leads::Elsewhere { origin, .. } => origin.clone(),
            Leads::Here { host: "[::1]", .. } => "http:".to_owned(),
            Leads::Here { host, port: Some(port), .. } => format!("http://{host}:{port}"),
            Leads::Here { host, port: None, .. } => format!("http://{host}"),
        }
    }

    /// The URI with an answer at the end of its query; what is there stays (RFC 6749 §3.1.2).
    pub fn with(&self, answer: &[(&str, &str)]) -> String {
        let mark = if self.text.contains('?') { '&' } else { '?' };
        format!("{}{mark}{}", self.text, form::form(answer))
    }

    /// The URI, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Where `http://` and `rest` lead to on this machine. What stands behind the port is read as if it
/// were that of an https URL: by the same rules.
fn here(rest: &str) -> Option<Leads> {
    let host = LOOPBACK.into_iter().find(|host| {
        let behind = rest.strip_prefix(host);
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with([':', '/', '?']))
    })?;
    let behind = rest.strip_prefix(host)?;
    let stand_in = HttpsUrl::parse(&format!("https://localhost{behind}")).ok()?;
    if stand_in.has_fragment() {
        return None;
    }
    let (port, rest) = match behind.strip_prefix(':') {
        None => (None, behind),
        Some(behind) => {
            let end = behind.find(['/', '?']).unwrap_or(behind.len());
            let (port, rest) = behind.split_at(end);
            (Some(port.parse().ok()?), rest)
        }
    };
    Some(Leads::Here { host, port, rest: rest.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the client that registered `own` may ask for `asked`.
    fn check(own: &str, asked: &str, expected: bool) {
        let (read, wanted) = (RedirectUri::parse(own), RedirectUri::parse(asked));
        let is = read.zip(wanted).is_some_and(|(own, asked)| own.is(&asked));
        assert_eq!(is, expected, "{own} {asked}");
    }

    #[test]
    fn n_079_a_redirect_uri_is_the_registered_one_byte_for_byte() {
        let own = "https://client.example/cb?a=b";
        check(own, own, true);
        for asked in [
            "https://client.example/cb",
            "https://client.example/cb?a=b&c=d",
            "https://client.example/CB?a=b",
            "https://client.example:443/cb?a=b",
            "https://Client.example/cb?a=b",
            "https://client.example/x/../cb?a=b",
            "https://client.example/%63b?a=b",
            "https://client.example/cb?a=b#x",
            "https://client.example.evil.test/cb?a=b",
            "https://client.example@evil.test/cb?a=b",
            "http://client.example/cb?a=b",
        ] {
            check(own, asked, false);
        }
        for other in ["app://cb", "javascript:alert(1)", "data:text/html,x", "//x/cb", "", "/cb"] {
            check(other, other, false);
        }
    }

    #[test]
    fn n_079_on_the_clients_own_machine_the_port_is_free_and_nothing_else() {
        let own = "http://127.0.0.1:3000/cb";
        for asked in
            ["http://127.0.0.1:3000/cb", "http://127.0.0.1:51004/cb", "http://127.0.0.1/cb"]
        {
            check(own, asked, true);
        }
        check("http://localhost/cb", "http://localhost:9/cb", true);
        check("http://[::1]:1/cb", "http://[::1]:2/cb", true);
        for asked in [
            "http://localhost:3000/cb",
            "http://[::1]:3000/cb",
            "https://127.0.0.1:3000/cb",
            "http://127.0.0.1:3000/cb/",
            "http://127.0.0.1:3000/cb?a=b",
            "http://127.0.0.1:3000/cb#x",
            "http://127.0.0.1:03000/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1.evil.test:3000/cb",
            "http://127.0.0.1@evil.test/cb",
            "http://127.0.0.1:3000@evil.test/cb",
            "http://127.0.0.1\\@evil.test/cb",
            "http://127.1:3000/cb",
        ] {
            check(own, asked, false);
        }
    }

    #[test]
    fn a_page_names_no_more_than_where_its_form_leads() {
        let check = |uri: &str, expected: &str| {
            assert_eq!(RedirectUri::parse(uri).expect("it is one").form_action(), expected);
        };
        check("https://client.example/cb?a=b;c", "https://client.example");
        check("https://client.example:8443/cb", "https://client.example:8443");
        check("http://127.0.0.1:3000/cb", "http://127.0.0.1:3000");
        check("http://localhost/cb", "http://localhost");
        check("http://[::1]:3000/cb", "http:");
    }

    #[test]
    fn an_answer_is_put_behind_what_is_there() {
        let check = |uri: &str, expected: &str| {
            let uri = RedirectUri::parse(uri).expect("it is one");
            assert_eq!(uri.with(&[("code", "a b"), ("state", "&=#")]), expected);
        };
        check("https://a.example/cb", "https://a.example/cb?code=a+b&state=%26%3D%23");
        check("https://a.example/cb?x=y", "https://a.example/cb?x=y&code=a+b&state=%26%3D%23");
    }
}
