//! What a host's kernel says of a process, and which processes may be an agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Sha256Digest, Thumbprint, WorkloadIdentity};

/// A program file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Executable {
    /// The digest of its bytes: what counts.
    #[schemars(with = "String")]
    pub digest: Sha256Digest,
    /// Where it is, for people: in another mount namespace the same path is another file.
    pub path: String,
}

/// A process of this host, as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostProcess {
    /// What it executes, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<Executable>,
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since the boot: with it, a process id names one process.
    pub started: u64,
    /// The user whose process it is.
    pub uid: u32,
}

impl HostProcess {
    /// Whether `other` is the same process, executing, as far as both are known, the same program.
    pub fn is(&self, other: &Self) -> bool {
        let told = |process: &Self| (process.uid, process.pid, process.started);
        let programs = self.exe.as_ref().zip(other.exe.as_ref());
        told(self) == told(other) && programs.is_none_or(|(one, two)| one.digest == two.digest)
    }
}

/// Which processes of this host may be instances of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRule {
    /// What they execute, where that is prescribed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<Executable>,
    /// The user whose processes they are.
    pub uid: u32,
}

impl HostRule {
    /// A process that may be an instance.
    pub fn example(&self) -> HostProcess {
        HostProcess { exe: self.exe.clone(), pid: 0, started: 0, uid: self.uid }
    }

    /// Whether `process` may be an instance.
    pub fn admits(&self, process: &HostProcess) -> bool {
        let executes = |wanted: &Executable| {
            process.exe.as_ref().is_some_and(|exe| exe.digest == wanted.digest)
        };
        self.uid == process.uid && self.exe.as_ref().is_none_or(executes)
    }
}

/// From where a token was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The address of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// The process, where the host vouched for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<HostProcess>,
    /// The workload, where its platform vouched for one: as far as the agent's rules ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadIdentity>,
    /// The device, by the thumbprint of its key, where one vouched for the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Thumbprint>,
}
