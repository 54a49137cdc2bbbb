//! The machine and the configuration: descriptors, disk, clock, TLS, anchors, protocol versions.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
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
    observations.extend([descriptors(config), disk(config), clock(&TIME_KEPT), tls(config)]);
    observations.extend([anchors(config), versions()]);
    observations
}

/// What is told of how servers are kept apart.
const ISOLATION: &str = "isolation";

/// How each server that is started here is kept apart: tried, as at a start of the service, which only its
/// own user can.
fn isolation(config: &Config) -> Vec<Observation> {
    if config.servers.values().all(|server| server.command.is_none()) {
        return Vec::new();
    }
    let own = nix::unistd::geteuid().as_raw();
    if let Some(observation) = of_another_user(&config.state_dir, own) {
        return vec![observation];
    }
    let servers = isolate::settle(config);
    let found = servers.iter().map(|(server, settled)| {
        of_server(server, settled.as_ref().map(|(_, report)| report).map_err(String::as_str))
    });
    found.collect()
}

/// That the service of `state_dir` is another user's than `own`, if it is: who may make namespaces here says
/// nothing of who may there.
fn of_another_user(state_dir: &Path, own: u32) -> Option<Observation> {
    let owner = std::fs::metadata(state_dir).ok()?.uid();
    (owner != own).then(|| {
        let what = format!(
            "it was not tried how servers are kept apart: this is the user {own}, and the service is of the \
             user {owner}"
        );
        Observation::weak(ISOLATION, what, "run `chancery doctor` as the service's user")
    })
}

fn of_server(server: &str, settled: Result<&Report, &str>) -> Observation {
    const REMEDY: &str = "see docs/isolation.md";
    match settled {
        Ok(report) => {
            let Report { isolation, landlock, .. } = report;
            let name = isolation.name();
            match report.shortcoming() {
                None => {
                    let what = format!("`{server}`: {name}, Landlock ABI {landlock}");
                    Observation::ok(ISOLATION, what)
                }
                Some(told) if *isolation == Apart::None => {
                    Observation::broken(ISOLATION, format!("`{server}`: {told}"), REMEDY)
                }
                Some(told) => Observation::weak(ISOLATION, format!("`{server}`: {told}"), REMEDY),
            }
        }
        Err(why) => {
            Observation::broken(ISOLATION, format!("`{server}` is not started: {why}"), REMEDY)
        }
    }
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

fn clock(kept: &[&str]) -> Observation {
    if kept.iter().any(|path| Path::new(path).exists()) {
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

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn how_a_server_is_kept_apart_is_told() {
        let full = Report { isolation: Apart::User, namespaces: true, landlock: 7, counted: true };
        let check = |report: Report, state: State| {
            assert_eq!(of_server("crm", Ok(&report)).state, state, "{report:?}");
        };
        check(full.clone(), State::Ok);
        check(Report { isolation: Apart::Namespace, ..full.clone() }, State::Ok);
        check(Report { namespaces: false, ..full.clone() }, State::Weak);
        check(Report { landlock: 0, ..full.clone() }, State::Weak);
        check(Report { isolation: Apart::None, ..full }, State::Broken);
        let refused = of_server("crm", Err("no namespaces"));
        assert_eq!(refused.state, State::Broken);
        assert!(refused.what.contains("no namespaces"), "{refused:?}");
    }

    #[test]
    fn what_another_user_may_is_not_said_of_the_service() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(of_another_user(dir.path(), own), None);
        let told = of_another_user(dir.path(), own + 1).expect("it is another's");
        assert_eq!(told.state, State::Weak);
    }

    #[test]
    fn whether_something_keeps_the_clock_is_told() {
        assert_eq!(clock(&["/nowhere", "/"]).state, State::Ok);
        assert_eq!(clock(&["/nowhere"]).state, State::Weak);
    }
}
