//! What is wrong with the running service, and by which policy set it decides, for `/readyz` and `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use authority::{Authority, FindingNumbers, LeaseNumbers};
use workload::Sources as Platforms;

use crate::anchors::AnchorAlarms;
use crate::attestation;
use crate::isolate::{self, Servers};
use crate::watched::WatchedStore;

/// The metric of whether the clock is not trusted.
pub(crate) const CLOCK_UNSURE: &str = "chancery_clock_unsure";

/// What is wrong with the running service, if anything.
pub(crate) struct Status {
    /// Records cannot be published.
    pub(crate) log_stuck: AtomicBool,
    /// The policy files, or the active release, are not what is in force.
    pub(crate) policy_stale: AtomicBool,
    /// The anchors that are out of reach.
    pub(crate) anchors: AnchorAlarms,
    findings: Arc<FindingNumbers>,
    leases: Arc<LeaseNumbers>,
    store: Arc<WatchedStore>,
    authority: Arc<Authority>,
    platforms: Option<Arc<Platforms>>,
    servers: Servers,
}

/// What else is watched.
pub(crate) type Watched =
    (AnchorAlarms, (Arc<FindingNumbers>, Arc<LeaseNumbers>), Option<Arc<Platforms>>);

impl Status {
    /// The status of a service on `store` that decides by `authority`.
    pub(crate) fn new(
        store: Arc<WatchedStore>,
        authority: Arc<Authority>,
        (anchors, (findings, leases), platforms): Watched,
        servers: Servers,
    ) -> Self {
        let (log_stuck, policy_stale) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            log_stuck,
            policy_stale,
            anchors,
            findings,
            leases,
            store,
            authority,
            platforms,
            servers,
        }
    }

    /// The policy set under observation, if one is, and what came of it.
    fn observed(&self) -> String {
        let Some(found) = self.authority.pip().observation() else { return String::new() };
        let digest = found.policy;
        let number = |name: &str, number: u64| {
            format!("# TYPE {name} gauge\n{name}{{digest=\"{digest}\"}} {number}\n")
        };
        [
            number("chancery_policy_observed_alike", found.alike),
            number("chancery_policy_observed_newly_denied", found.newly_denied),
            number("chancery_policy_observed_newly_permitted", found.newly_permitted),
            number("chancery_policy_observed_unanswered", found.unanswered),
        ]
        .concat()
    }

    /// The store that is watched.
    pub(crate) fn store(&self) -> &WatchedStore {
        &self.store
    }

    /// Everything that can be wrong: the metric, whether it is, and what to tell.
    fn all(&self) -> [(&'static str, bool, &'static str); 4] {
        [
            (
                "chancery_store_failing",
                self.store.is_failing(),
                "the store cannot be read or written: everything is denied",
            ),
            (
                CLOCK_UNSURE,
                self.authority.trusted_now().is_err(),
                "the clock stepped, or runs behind the last record: everything is denied until it \
                 runs true",
            ),
            (
                "chancery_log_stuck",
                self.log_stuck.load(Ordering::Relaxed),
                "the log cannot be integrated or published",
            ),
            (
                "chancery_policy_stale",
                self.policy_stale.load(Ordering::Relaxed),
                "the policy files or the active release are not a whole valid set: the last good set is in force",
            ),
        ]
    }
}

impl api::Health for Status {
    fn troubles(&self) -> Vec<String> {
        let wrong = self.all().into_iter().filter(|(_, is_so, _)| *is_so);
        wrong.map(|(.., told)| told.to_owned()).chain(self.anchors.troubles()).collect()
    }

    fn policy(&self) -> String {
        self.authority.pip().policy().snapshot.digest().to_string()
    }

    fn metrics(&self) -> String {
        let gauge = |(name, is_so, _): (&str, bool, &str)| {
            format!("# TYPE {name} gauge\n{name} {}\n", u8::from(is_so))
        };
        let number = |name: &str, value: &AtomicU64| {
            format!("# TYPE {name} gauge\n{name} {}\n", value.load(Ordering::Relaxed))
        };
        let told = [
            number("chancery_findings_open", &self.findings.open),
            number("chancery_findings_untold", &self.findings.untold),
            number("chancery_leases_ending", &self.leases.ending),
            number("chancery_lease_reminders_untold", &self.leases.untold),
            number("chancery_sources_silent", &self.leases.silent),
        ];
        let digest = api::Health::policy(self);
        let policy = format!(
            "# TYPE chancery_policy_info gauge\nchancery_policy_info{{digest=\"{digest}\"}} 1\n"
        );
        self.all().map(gauge).concat()
            + &policy
            + &self.observed()
            + &self.anchors.metrics()
            + &told.concat()
            + &attestation::metrics(self.platforms.as_ref())
            + &isolate::metrics(&self.servers)
    }
}
