//! Tool servers that try what they must not be able to do, in every way in which they are started.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Caller, Deployment, Options, binary, signal, stage, wait_until};
use tempfile::TempDir;

/// Neither among temporary files, which servers have of their own, nor below a home that another
/// user may not enter.
const PARENT: &str = "/var/lib";

/// Somebody else, who owns nothing.
const OTHER: &str = "65534";

/// Where the holder of an agent's key answers who is of its user, and what lies beside it.
const HOLDER: &str = "user/chancery/run/holder.sock";
const USERS: [&str; 2] = ["user/chancery/devices/bot.pem", "user/chancery/listen.secret"];

/// The limits of the hostile server.
const MEMORY_MB: u64 = 512;
const PROCESSES: usize = 12;
const FILES: usize = 32;

/// How the service and its servers are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A service that is root, servers in user namespaces.
    Namespace,
    /// A service that is not root, servers in user namespaces.
    Unprivileged,
    /// A service that is root, servers of another user.
    User,
    /// The same where root may make no namespaces, as in most containers.
    UserWithoutNamespaces,
}

impl Way {
    fn key(self) -> &'static str {
        match self {
            Self::Namespace | Self::Unprivileged => "",
            Self::User => "user: nobody, ",
            // Whose processes are counted all together: nobody else is that user.
            Self::UserWithoutNamespaces => "user: 64999, ",
        }
    }

    /// What the metrics say.
    fn metric(self) -> String {
        let (isolation, namespaces) = match self {
            Self::Namespace | Self::Unprivileged => ("namespace", true),
            Self::User => ("user", true),
            Self::UserWithoutNamespaces => ("user", false),
        };
        format!(
            "chancery_server_isolation{{server=\"canary\",isolation=\"{isolation}\",\
             namespaces=\"{namespaces}\",landlock=\""
        )
    }

    /// The service as it is run this way, by somebody who left a file open.
    fn service(self, deployment: &Deployment) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "exec 9</dev/null; exec \"$0\" \"$@\""]);
        command.env_remove("XDG_RUNTIME_DIR").env("XDG_STATE_HOME", deployment.path("user"));
        match self {
            Self::Namespace | Self::User => command.arg(binary()),
            Self::UserWithoutNamespaces => {
                command.args(["setpriv", "--bounding-set", "-sys_admin"]).arg(binary())
            }
            Self::Unprivileged => {
                let own = deployment.path("chancery");
                // By another process: what is open for writing here could not be started.
                run(Command::new("cp").arg(binary()).arg(&own));
                let all = ["home", "user"].map(|name| deployment.path(name));
                run(Command::new("chown").args(["-R", OTHER]).args(all));
                let ids = ["--reuid", OTHER, "--regid", OTHER, "--clear-groups"];
                command.arg("setpriv").args(ids).arg(own)
            }
        };
        command
    }
}

/// A deployment with a hostile server, and who calls it.
struct Wall {
    deployment: Deployment,
    caller: Caller,
    /// What else is not for servers: a header, an anchor.
    private: TempDir,
    /// Where the holder of a key of the service's own user would answer.
    _holder: UnixListener,
}

impl Wall {
    fn build(way: Way) -> Self {
        let private = tempfile::tempdir_in(PARENT).expect("a directory can be made");
        let header = private.path().join("header");
        std::fs::write(&header, "Authorization: Bearer hidden").expect("it can be written");
        std::fs::set_permissions(&header, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(private.path().join("anchor"), "").expect("it can be written");
        let other = format!("{{ url: 'http://127.0.0.1:1', header_file: '{}' }}", header.display());
        let mut options = stage::options(1, stage::REQUEST, "");
        options.servers =
            vec![("canary".to_owned(), hostile(way.key())), ("other".to_owned(), other)];
        let anchor = private.path().join("anchor");
        options.configuration = format!(
            "timeouts: {{ decision_ms: 10000, upstream_ms: 20000 }}\nlogging: {{ level: error }}\n\
             log: {{ anchors: [{{ file: '{}' }}] }}\n",
            anchor.display()
        );
        options.parent = Some(PARENT.into());
        let mut deployment = Deployment::start(&options);
        deployment.onboard(&["canary"], "changes-production");
        deployment.stop();
        // File modes are not what keeps it from what is not secret by itself.
        for path in [deployment.dir.path(), private.path(), &deployment.path("home")] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let holder = holder(&deployment);
        let service = way.service(&deployment);
        if way == Way::Unprivileged {
            run(Command::new("chown").args(["-R", OTHER]).arg(private.path()));
        }
        deployment.serve_under(service);
        let caller = Caller::new(&deployment, "canary");
        Self { deployment, caller, private, _holder: holder }
    }

    /// What the hostile server says of an attempt.
    fn attempt(&mut self, what: &str) -> String {
        attempt(&mut self.caller, what)
    }

    fn fails(&mut self, what: &str) {
        let said = self.attempt(what);
        assert!(said.starts_with("failed"), "{what}: {said}");
    }

    fn works(&mut self, what: &str) -> String {
        let said = self.attempt(what);
        said.strip_prefix("done ").unwrap_or_else(|| panic!("{what}: {said}")).to_owned()
    }

    /// Everything that no server may read.
    fn secrets(&self) -> Vec<PathBuf> {
        let home = self.deployment.path("home");
        let keys = std::fs::read_dir(home.join("state/keys")).expect("there are keys").flatten();
        let keys: Vec<_> = keys.map(|entry| entry.path()).collect();
        assert!(keys.len() >= 4, "there are keys: {keys:?}");
        let others = ["state", "state/chancery.db", "state/log", "chancery.yaml", "policies"];
        let others = others.iter().map(|name| home.join(name));
        let others = others.chain(USERS.map(|name| self.deployment.path(name)));
        let private = ["header", "anchor"].map(|name| self.private.path().join(name));
        keys.into_iter().chain(others).chain(private).collect()
    }
}

fn attempt(caller: &mut Caller, what: &str) -> String {
    let answer = caller.call("attempt", what);
    let text = answer.body.pointer("/result/content/0/text").and_then(|text| text.as_str());
    assert!(answer.is_done(), "{what}: {answer:?}");
    text.expect("it says what came of it").to_owned()
}

/// What `chancery mcp` keeps below the user's own directory for state, as it makes it.
fn holder(deployment: &Deployment) -> UnixListener {
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    };
    for dir in ["user", "user/chancery", "user/chancery/run", "user/chancery/devices"] {
        std::fs::create_dir(deployment.path(dir)).expect("it can be made");
        mode(&deployment.path(dir), 0o700);
    }
    mode(&deployment.path("user"), 0o755);
    for file in USERS {
        std::fs::write(deployment.path(file), "secret").expect("it can be written");
        mode(&deployment.path(file), 0o600);
    }
    let listener = UnixListener::bind(deployment.path(HOLDER)).expect("it can be bound");
    mode(&deployment.path(HOLDER), 0o600);
    listener
}

/// The configuration of the hostile server, the script in it: its own `/tmp` and another user's
/// rights hide no file that it is started from.
fn hostile(keys: &str) -> String {
    let script = e2e::repository().join("e2e/servers/hostile.py");
    let script = std::fs::read_to_string(script).expect("it is there");
    let script = serde_json::Value::from(script);
    format!(
        "{{ {keys}command: /usr/bin/python3, args: [-I, -c, {script}], \
         limits: {{ memory_mb: {MEMORY_MB}, processes: {PROCESSES}, files: {FILES} }} }}"
    )
}

fn run(command: &mut Command) {
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
}

/// The processes of which `is_meant` takes the command line.
fn running(is_meant: impl Fn(&[&str]) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("it is there").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_meant(&line.split_terminator('\0').collect::<Vec<_>>())
    };
    pids.filter(is_it).collect()
}

/// The parents of `pid`, nearest first.
fn parents(pid: u32) -> Vec<u32> {
    let parent = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?;
        line.trim().parse().ok().filter(|pid| *pid != 0)
    };
    std::iter::successors(parent(&pid), parent).collect()
}

/// The hostile servers of this deployment, as the host sees them.
fn servers(deployment: &Deployment) -> Vec<u32> {
    let service = deployment.process.as_ref().expect("it runs").id();
    let all = running(|line| matches!(line, ["/usr/bin/python3", "-I", "-c", _]));
    all.into_iter().filter(|pid| parents(*pid).contains(&service)).collect()
}

fn check(way: Way) {
    let mut wall = Wall::build(way);
    let metrics = wall.deployment.observed("/metrics");
    assert!(metrics.contains(&way.metric()), "{metrics}");

    // Another instance has another process, which is a neighbour that is not to be touched.
    let mut neighbour = Caller::new(&wall.deployment, "canary");
    let names = [wall.works("name"), attempt(&mut neighbour, "name")];
    assert_ne!(names[0], names[1].trim_start_matches("done "), "one process for two instances");
    assert_eq!(wall.works("name"), names[0], "one instance, one process");
    let both = servers(&wall.deployment);
    assert_eq!(both.len(), 2, "{both:?}");

    files(&mut wall, way);
    let all: BTreeSet<_> = both.iter().flat_map(|pid| parents(*pid)).collect();
    processes(&mut wall, &all, &both);
    limits(&mut wall, way);
    let (home, kept) = (wall.deployment.path("home"), wall.private.path().join("anchor"));
    for path in [home.join("state"), home.join("chancery.yaml"), kept] {
        wall.fails(&format!("uncover {}", path.display()));
    }
    replaced(&mut wall);
    ends(wall);
}

/// What takes the place of a protected file while a server runs is as far from it.
fn replaced(wall: &mut Wall) {
    let places = [wall.deployment.path("home/chancery.yaml"), wall.private.path().join("header")];
    for place in places {
        let new = place.with_extension("new");
        std::fs::write(&new, "new").expect("it can be written");
        std::fs::rename(&new, &place).expect("it can be replaced");
        wall.fails(&format!("read {}", place.display()));
    }
}

/// Nothing of ours can be read, written or reached.
fn files(wall: &mut Wall, way: Way) {
    for path in wall.secrets() {
        for how in ["read", "write", "change"] {
            wall.fails(&format!("{how} {}", path.display()));
        }
    }
    // The host's socket is for other users too: it says of each who it is, and nothing else.
    let is_hidden = way != Way::UserWithoutNamespaces;
    let host = is_hidden.then_some("home/state/host.sock");
    for socket in ["home/state/admin.sock", HOLDER].into_iter().chain(host) {
        let socket = wall.deployment.path(socket);
        assert!(socket.exists(), "{}", socket.display());
        wall.fails(&format!("connect {}", socket.display()));
    }
    for path in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/etc/passwd", "/dev/tty"]
    {
        wall.fails(&format!("write {path}"));
    }
    for path in ["/etc/passwd", "/bin/sh"] {
        wall.fails(&format!("change {path}"));
    }
    wall.fails(&format!("keep {}", wall.deployment.path("kept").display()));
    for device in disks() {
        wall.fails(&format!("read {}", device.display()));
    }
    let port = wall.deployment.port;
    for host in ["127.0.0.1", "0.0.0.0"] {
        wall.fails(&format!("listen {host} {port}"));
    }
    for what in ["descriptors", "rights", "gain"] {
        wall.fails(what);
    }
}

/// The devices on which files lie.
fn disks() -> Vec<PathBuf> {
    let blocks = std::fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    blocks.map(|block| Path::new("/dev").join(block.file_name())).collect()
}

/// None of ours, and no neighbour, can be looked into or signalled.
fn processes(wall: &mut Wall, ours: &BTreeSet<u32>, servers: &[u32]) {
    let own = wall.works("read /proc/self/environ");
    assert!(own.contains('='), "the search finds what is there: {own}");
    let service = wall.deployment.process.as_ref().expect("it runs").id();
    assert!(ours.contains(&service));
    let named = wall.works("name");
    for pid in ours.iter().filter(|pid| **pid >= service) {
        for how in ["read /proc/PID/environ", "read /proc/PID/root", "memory_of PID", "trace PID"] {
            wall.fails(&how.replace("PID", &pid.to_string()));
        }
        wall.fails(&format!("tell {pid}"));
    }
    // In namespaces of its own that is its parent.
    for how in ["read /proc/1/environ", "read /proc/1/root", "memory_of 1", "trace 1"] {
        wall.fails(how);
    }
    // One of the two is the attacker itself, where it can name itself as the host does.
    for how in ["read /proc/PID/environ", "memory_of PID", "tell PID", "trace PID"] {
        let said = servers.iter().map(|pid| wall.attempt(&how.replace("PID", &pid.to_string())));
        let done = said.filter(|said| said.starts_with("done")).count();
        assert!(done <= 1, "{how}");
    }
    assert_eq!(wall.works("name"), named);
}

/// What it may use is what it is given, and no more.
fn limits(wall: &mut Wall, way: Way) {
    assert_eq!(wall.works("files all"), (FILES - 3).to_string());
    wall.works(&format!("memory {}", MEMORY_MB - 64));
    wall.fails(&format!("memory {}", MEMORY_MB + 1));
    // Nobody counts what root runs.
    if way != Way::Namespace {
        let started: usize = wall.works("processes 100").parse().expect("a number");
        // Where its user has no namespace, the neighbour counts too.
        let others = if way == Way::UserWithoutNamespaces { 2 } else { 1 };
        assert_eq!(started, PROCESSES - others);
    }
    wall.fails("raise_limit");
    assert_eq!(wall.works("blocked"), "", "it hears every signal");
    wall.works("keep $TMPDIR/own");
}

/// Nothing is left of a server once it, or the service, has ended.
fn ends(mut wall: Wall) {
    // Known again by how long they would sleep.
    let sleeps = [0, 1].map(|number| format!("8640{number}.{}", wall.deployment.port));
    let is_left = |which: usize| !running(|line| line == ["sleep", &sleeps[which]]).is_empty();
    let temporary = PathBuf::from(wall.works("temporary"));
    let is_gone = || temporary == Path::new("/tmp") || !temporary.exists();
    wall.works(&format!("linger {}", sleeps[0]));
    wait_until("it lingers", || is_left(0).then_some(()));
    let _ = wall.caller.call("attempt", "die");
    wait_until("what lingers ends with its server", || (!is_left(0) && is_gone()).then_some(()));

    let mut other = Caller::new(&wall.deployment, "canary");
    attempt(&mut other, &format!("linger {}", sleeps[1]));
    wait_until("it lingers", || is_left(1).then_some(()));
    let left = servers(&wall.deployment);
    signal(wall.deployment.process.as_ref().expect("it runs").id(), "KILL");
    wait_until("everything ends with the service", || {
        let gone = left.iter().all(|pid| parents(*pid).is_empty());
        (gone && !is_left(1)).then_some(())
    });
}

/// Whoever misspells a command is told: not by what the server would have written, which is nobody's to read.
#[test]
fn a_server_that_is_not_there_is_told_in_the_log() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let log = place.path().join("service.log");
    let servers = vec![("gone".to_owned(), "{ command: /nowhere/server }".to_owned())];
    let deployment = Deployment::start(&Options {
        servers,
        service_log: Some(log.clone()),
        ..Options::default()
    });
    let told = deployment.run_refused(&["server", "add", "gone", "--owner", "alice"]);
    assert!(told.contains("the service's log says"), "{told}");
    wait_until("the log says why", || {
        let logged = std::fs::read_to_string(&log).expect("it is written");
        logged.contains("could not start `/nowhere/server`: No such file").then_some(())
    });
}

/// Where neither namespaces nor another user can be had, nothing starts unless it is allowed to.
#[test]
fn what_cannot_be_isolated_is_not_started() {
    let without = || {
        let mut command = Command::new("unshare");
        let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
        command.args(["--user", "--map-root-user", "--", "sh", "-c", script, "sh"]).arg(binary());
        command
    };
    for (key, isolation) in [("", "refused"), ("allow_unisolated: true, ", "none")] {
        let mut options = stage::options(1, stage::REQUEST, "");
        options.servers = vec![("canary".to_owned(), hostile(key))];
        options.configuration = "timeouts: { decision_ms: 10000, upstream_ms: 20000 }\n".to_owned();
        let mut deployment = Deployment::start(&options);
        deployment.onboard(&["canary"], "changes-production");
        deployment.stop();
        let config = deployment.path("home/chancery.yaml");
        let checked = without().args(["check-config", "--config"]).arg(config).output().unwrap();
        let told = String::from_utf8_lossy(&checked.stderr);
        deployment.serve_under(without());
        let metrics = deployment.observed("/metrics");
        assert!(metrics.contains(&format!("isolation=\"{isolation}\"")), "{metrics}");
        let listed = deployment.run(&["server", "list"]);
        assert!(listed.contains(&format!("\"isolation\":\"{isolation}\"")), "{listed}");
        let config = deployment.path("home/chancery.yaml");
        let doctor = deployment.run_any(&["doctor", "--config", config.to_str().expect("text")]);
        let how = if isolation == "none" { "without isolating it" } else { "not" };
        assert!(doctor.contains(&format!("the service starts `canary` {how}")), "{doctor}");
        let records = deployment.records();
        let is_recorded = records.iter().any(|record| record["event"] == "server_not_isolated");
        assert_eq!(is_recorded, isolation == "none");
        let answer = Caller::new(&deployment, "canary").call("attempt", "name");
        if isolation == "refused" {
            assert!(told.contains("server `canary` is not started: it cannot be isol"), "{told}");
            assert_eq!(answer.code(), "upstream_failed", "{answer:?}");
        } else {
            assert!(told.contains("server `canary`: it is not isolated: set `user`"), "{told}");
            assert!(answer.is_done(), "{answer:?}");
        }
    }
}

#[test]
fn a_hostile_server_in_a_namespace_gets_nowhere() {
    check(Way::Namespace);
}

#[test]
fn a_hostile_server_of_a_service_without_rights_gets_nowhere() {
    check(Way::Unprivileged);
}

#[test]
fn a_hostile_server_of_another_user_gets_nowhere() {
    check(Way::User);
}

#[test]
fn a_hostile_server_of_another_user_without_namespaces_gets_nowhere() {
    check(Way::UserWithoutNamespaces);
}
