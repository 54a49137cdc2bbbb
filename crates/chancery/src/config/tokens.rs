//! How tokens are asked for, and from where the documents of OAuth clients (`docs/http-clients.md`) and
//! of transmitters (`docs/signals.md`) may be fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use https_url::HttpsUrl;
use model::SourceName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How tokens are asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tokens {
    /// Whether proofs of possession need a nonce of ours (RFC 9449 §8). It is told with each answer:
    /// clients that know of nonces ask a second time, and others get no token.
    pub(crate) dpop_nonce_required: bool,
}

/// Where others' documents are fetched from, beside public addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FetchedFrom {
    /// Hosts in the operator's own network, in lower case, from which documents may be fetched.
    pub(crate) private_hosts: BTreeSet<String>,
    /// Files with certificates, in PEM, that vouch for those servers beside the system's.
    pub(crate) ca_files: Vec<PathBuf>,
}

/// How transmitters, and receivers, of shared signals are reached.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Signals {
    /// From where their keys are fetched.
    pub(crate) keys: FetchedFrom,
    /// Where receivers of what we tell may be.
    pub(crate) receivers: FetchedFrom,
    /// Which streams are polled, and where: what is not is pushed.
    pub(crate) polls: Vec<Poll>,
    /// Of which streams the transmitter is asked to verify them, where their silence is bounded.
    pub(crate) verifications: Vec<Verification>,
    /// By stream: where the tokens are fetched by which its transmitter knows who asks.
    pub(crate) oauth: BTreeMap<String, TokensFrom>,
}

/// Where access tokens for a transmitter are fetched (RFC 6749 §4.4), and how this service is registered there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokensFrom {
    /// Where, by POST: an `https` URL.
    pub(crate) token_endpoint: String,
    /// The id under which this service is registered there.
    pub(crate) client_id: String,
    /// A file with the private key, in PEM, by which this service shows who it is (`private_key_jwt`).
    #[serde(default)]
    pub(crate) key: Option<PathBuf>,
    /// The issuer whose that endpoint is, beside `key`: for it alone is shown who we are.
    #[serde(default)]
    pub(crate) issuer: Option<String>,
    /// A file with the secret that was given instead (`client_secret_basic`).
    #[serde(default)]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// What is asked for.
    #[serde(default = "scope")]
    pub(crate) scope: String,
}

/// The scopes of CAEP's interoperability profile.
fn scope() -> String {
    format!("{} {}", oauth::signals::READ, oauth::signals::MANAGE)
}

impl TokensFrom {
    /// Refuses what names no endpoint, or does not say how we show there who we are.
    fn check(&self) -> Result<(), String> {
        let endpoint = HttpsUrl::parse(&self.token_endpoint);
        if endpoint.is_err() || endpoint.is_ok_and(|url| url.has_fragment()) {
            return Err("`token_endpoint` is not an https URL".to_owned());
        }
        match (&self.key, &self.issuer, &self.client_secret_file) {
            (Some(_), Some(_), None) | (None, None, Some(_)) => {}
            _ => return Err("needs `key` and `issuer`, or `client_secret_file`".to_owned()),
        }
        let is_text = |text: &String| !text.is_empty() && !text.chars().any(char::is_control);
        if ![&self.client_id, &self.scope].into_iter().all(is_text) {
            return Err("`client_id` or `scope` is no text".to_owned());
        }
        Ok(())
    }
}

/// A stream that its transmitter is asked to verify.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verification {
    /// The stream.
    pub(crate) stream: String,
    /// Its id, as its transmitter has it.
    pub(crate) stream_id: String,
    /// Where its transmitter is asked, by POST; `https` unless it is on loopback.
    pub(crate) url: String,
    /// A file whose one line (`Name: value`) goes with it: by that the transmitter knows who asks, unless
    /// `oauth` has the stream.
    #[serde(default)]
    pub(crate) header_file: Option<PathBuf>,
}

/// A stream that is polled.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    /// The stream.
    pub(crate) stream: String,
    /// Where its transmitter is asked, by POST; `https` unless it is on loopback.
    pub(crate) url: String,
    /// A file whose one line (`Name: value`) goes with it: by that the transmitter knows who asks, unless
    /// `oauth` has the stream.
    #[serde(default)]
    pub(crate) header_file: Option<PathBuf>,
}

impl Signals {
    /// Each stream that a transmitter is asked about, with where, and what shows who asks.
    fn asked(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        let polls = self.polls.iter().map(|it| (&it.stream, &it.url, &it.header_file));
        let verified = self.verifications.iter().map(|it| (&it.stream, &it.url, &it.header_file));
        polls.chain(verified).map(|(stream, url, file)| (&**stream, &**url, file.is_some()))
    }

    /// Refuses what is no stream, would be asked in clear, or would be shown nothing, or two things.
    pub(crate) fn check(&self) -> Result<(), String> {
        let named = |stream: &str| match stream.parse::<SourceName>() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("of the stream `{stream}` {error}")),
        };
        for (stream, from) in &self.oauth {
            named(stream)?;
            from.check().map_err(|why| format!("`oauth` of the stream `{stream}`: {why}"))?;
        }
        for (stream, url, has_header) in self.asked() {
            named(stream)?;
            let invalid = |why| format!("of the stream `{stream}` {why}");
            super::check_destination(url).map_err(|why| invalid(format!("the `url` {why}")))?;
            if has_header == self.oauth.contains_key(stream) {
                let why = "`header_file`, or `oauth`, says what shows who asks: one of the two";
                return Err(invalid(why.to_owned()));
            }
        }
        Ok(())
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let polls = self.polls.iter().filter_map(|poll| poll.header_file.as_ref());
        let verifications = self.verifications.iter().filter_map(|it| it.header_file.as_ref());
        let own = self.oauth.values().flat_map(|it| it.key.iter().chain(&it.client_secret_file));
        let files = self.keys.ca_files.iter().chain(&self.receivers.ca_files);
        files.chain(polls).chain(verifications).chain(own)
    }

    /// The same, to be changed.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let polls = self.polls.iter_mut().filter_map(|poll| poll.header_file.as_mut());
        let verifications = self.verifications.iter_mut();
        let verifications = verifications.filter_map(|it| it.header_file.as_mut());
        let own = self.oauth.values_mut();
        let own = own.flat_map(|it| it.key.iter_mut().chain(&mut it.client_secret_file));
        let files = self.keys.ca_files.iter_mut().chain(&mut self.receivers.ca_files);
        files.chain(polls).chain(verifications).chain(own)
    }
}

impl FetchedFrom {
    /// Whether it says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.private_hosts.is_empty() && self.ca_files.is_empty()
    }
}
