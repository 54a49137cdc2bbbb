//! The machine and the configuration: descriptors, disk, clock, TLS, anchors, protocol versions.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::Observation;
use crate::config::Config;
use crate::isolate::{self, Apart, Report};

/// How often a sync is measured.
const SYNCS: usize = 21;

/// The size of what is synced: one page of the database's log.
const SYNCED: usize = 4_096;

/// What a sync may take before it is told: every decision waits for one.
const SLOW_SYNC: Duration = Duration::from_millis(20);

/// What says that something keeps the clock: files that time services of the usual kind keep.
const TIME_KEPT: [&str; 3] =
    ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/ntpd.pid"];

/// Looks at the machine.
pub(super) fn check(config: &Config) -> Vec<Observation> {
    let mut observations = isolation(config);
    observations.extend([descriptors(config), disk(config), clock(), tls(config)]);
    observations.extend([anchors(config), versions()]);
    observations
}

/// How each server that is started here is kept apart: tried, as at a start.
fn isolation(config: &Config) -> Vec<Observation> {
    const AREA: &str = "isolation";
    const REMEDY: &str = "see docs/isolation.md";
    let servers = isolate::settle(config);
    let found = servers.iter().map(|(server, settled)| match settled {
        Ok((_, report)) => {
            let Report { isolation, landlock, .. } = report;
            let name = isolation.name();
            match report.shortcoming() {
                None => {
                    Observation::ok(AREA, format!("`{server}`: {name}, Landlock ABI {landlock}"))
                }
                Some(told) if *isolation == Apart::None => {
                    Observation::broken(AREA, format!("`{server}`: {told}"), REMEDY)
                }
                Some(told) => Observation::weak(AREA, format!("`{server}`: {told}"), REMEDY),
            }
        }
        Err(why) => Observation::broken(AREA, format!("`{server}` is not started: {why}"), REMEDY),
    });
    found.collect()
}

fn descriptors(config: &Config) -> Observation {
    let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Observation::weak(
            "limits",
            "the limit of open files is not known",
            "look at `ulimit -Hn`",
        );
    };
    // A call under way needs one to its client and one to its server.
    let needed = 2 * config.limits.connections as u64;
    let what =
        format!("{most} files may be open, {} connections may come", config.limits.connections);
    if most >= needed {
        return Observation::ok("limits", what);
    }
    let remedy = format!("raise the hard limit to {needed}, or lower `limits.connections`");
    Observation::weak("limits", what, remedy)
}

fn disk(config: &Config) -> Observation {
    let dir = &config.state_dir;
    if statfs(dir).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC) {
        let what = format!("`{}` lies in memory: no record outlives the machine", dir.display());
        return Observation::broken("disk", what, "put `state_dir` on a disk");
    }
    match sync_time(dir) {
        Ok(took) if took <= SLOW_SYNC => {
            Observation::ok("disk", format!("a sync takes {:.2} ms", took.as_secs_f64() * 1e3))
        }
        Ok(took) => {
            let what = format!(
                "a sync takes {:.1} ms, and every decision waits for one",
                took.as_secs_f64() * 1e3
            );
            Observation::weak("disk", what, "put `state_dir` on a faster disk")
        }
        Err(error) => {
            let what = format!("nothing can be written to `{}`: {error}", dir.display());
            Observation::broken("disk", what, "run it as the service's user; make room")
        }
    }
}

/// The median time of a small durable append in `dir`.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn sync_time(dir: &Path) -> std::io::Result<Duration> {
    let file = tempfile::NamedTempFile::new_in(dir)?;
    let append = |file: &mut File| {
        let started = Instant::now();
        file.write_all(&[0; SYNCED])?;
        file.sync_data()?;
        Ok::<_, std::io::Error>(started.elapsed())
    };
    let mut handle = file.reopen()?;
    let mut taken = (0..SYNCS).map(|_| append(&mut handle)).collect::<Result<Vec<_>, _>>()?;
    taken.sort_unstable();
    Ok(taken[SYNCS / 2])
}

fn clock() -> Observation {
    if TIME_KEPT.iter().any(|path| Path::new(path).exists()) {
        return Observation::ok("clock", "a time service keeps the clock");
    }
    let what = "no time service was found: a clock that runs off denies everything";
    Observation::weak("clock", what, "run systemd-timesyncd, chrony or ntpd")
}

fn tls(config: &Config) -> Observation {
    match (&config.tls, config.behind_tls_proxy) {
        (Some(_), _) => Observation::ok("tls", "the listeners speak TLS"),
        (None, false) => Observation::ok("tls", "the listeners are on loopback"),
        (None, true) => Observation::weak(
            "tls",
            "something in front of the listeners is said to speak TLS: nobody here can tell",
            "see that it does, and that nobody else reaches the listeners",
        ),
    }
}

fn anchors(config: &Config) -> Observation {
    match config.log.anchors.len() {
        0 => Observation::weak(
            "anchors",
            "no checkpoint leaves the service's reach: who has its key could write another history",
            "name a place that somebody else keeps in `log.anchors`",
        ),
        count => Observation::ok("anchors", format!("checkpoints go to {count} places")),
    }
}

fn versions() -> Observation {
    let versions = [&[mcp::STATELESS_VERSION], &mcp::SESSION_VERSIONS[..]].concat();
    Observation::ok("protocol", format!("MCP {}", versions.join(", ")))
}
