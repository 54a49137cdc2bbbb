//! How tokens are asked for, and from where the documents of OAuth clients (`docs/http-clients.md`) and
//! of transmitters (`docs/signals.md`) may be fetched.

use std::collections::BTreeSet;
use std::path::PathBuf;

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
    /// A file whose one line (`Name: value`) goes with it: by that the transmitter knows who asks.
    pub(crate) header_file: PathBuf,
}

/// A stream that is polled.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    /// The stream.
    pub(crate) stream: String,
    /// Where its transmitter is asked, by POST; `https` unless it is on loopback.
    pub(crate) url: String,
    /// A file whose one line (`Name: value`) goes with it: by that the transmitter knows who asks.
    pub(crate) header_file: PathBuf,
}

impl Signals {
    /// Each stream that a transmitter is asked about, with where.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&str, &str)> {
        let polls = self.polls.iter().map(|it| (it.stream.as_str(), it.url.as_str()));
        let verified = self.verifications.iter().map(|it| (it.stream.as_str(), it.url.as_str()));
        polls.chain(verified)
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let polls = self.polls.iter().map(|poll| &poll.header_file);
        let verifications = self.verifications.iter().map(|it| &it.header_file);
        let files = self.keys.ca_files.iter().chain(&self.receivers.ca_files);
        files.chain(polls).chain(verifications)
    }

    /// The same, to be changed.
    pub(crate) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let polls = self.polls.iter_mut().map(|poll| &mut poll.header_file);
        let verifications = self.verifications.iter_mut().map(|it| &mut it.header_file);
        let files = self.keys.ca_files.iter_mut().chain(&mut self.receivers.ca_files);
        files.chain(polls).chain(verifications)
    }
}

impl FetchedFrom {
    /// Whether it says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.private_hosts.is_empty() && self.ca_files.is_empty()
    }
}
