//! The platforms whose word counts on workloads, as they are configured.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use model::Clock;
use outbound::{Fetcher, Trust};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_util::task::TaskTracker;
use workload::{Parts, Sources};

use crate::config::Config;

/// The platforms of `config`, if there are any. Nobody is asked for keys yet.
pub(crate) fn platforms(
    config: &Config,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
) -> anyhow::Result<Option<Arc<Sources>>> {
    let attestation = &config.attestation;
    if attestation.is_empty() {
        return Ok(None);
    }
    let fetcher = fetcher(&attestation.private_hosts, &attestation.ca_files);
    let fetcher = fetcher.context("the keys of platforms could not be fetched")?;
    let sources = attestation.sources(&config.issuer()).map_err(anyhow::Error::msg)?;
    let parts = Parts { fetcher, clock: clock.clone(), tasks: tasks.clone() };
    Ok(Some(Arc::new(Sources::new(sources, parts)?)))
}

/// What fetches documents, from `private_hosts` too; certificates in `ca_files` vouch for servers beside
/// the system's.
pub(crate) fn fetcher(
    private_hosts: &BTreeSet<String>,
    ca_files: &[PathBuf],
) -> anyhow::Result<Fetcher> {
    let mut authorities = Vec::new();
    for file in ca_files {
        let read = || -> anyhow::Result<Vec<_>> {
            Ok(CertificateDer::pem_file_iter(file)?.collect::<Result<_, _>>()?)
        };
        let found = read().with_context(|| format!("could not read `{}`", file.display()))?;
        ensure!(!found.is_empty(), "`{}` holds no certificate in PEM", file.display());
        authorities.extend(found);
    }
    Ok(Fetcher::new(Trust { private_hosts: private_hosts.clone(), authorities })?)
}

/// For `/metrics`: whose keys verify nothing now.
pub(crate) fn metrics(platforms: Option<&Arc<Sources>>) -> String {
    let Some(platforms) = platforms else { return String::new() };
    let all = platforms.freshness().into_iter().map(|(name, has_keys)| {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{MISSING}{{platform=\"{name}\"}} {}\n", u8::from(!has_keys))
    });
    format!("# TYPE {MISSING} gauge\n") + &all.collect::<String>()
}

/// Says of each platform whether its keys are missing, so that its workloads are refused.
pub(crate) const MISSING: &str = "chancery_platform_keys_missing";
