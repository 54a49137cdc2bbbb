//! One client process, one instance: what the kernel says of it, and what becomes of a copied key.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use e2e::{Caller, Canary, Child, Deployment, Options, wait_until};
use serde_json::{Value, json};

/// A user who owns nothing.
const NOBODY: u32 = 65_534;

const SERVERS: [&str; 2] = ["canary", "second"];

const POLICY: &str = r#"
@id("first") permit (principal, action in Action::"tools/call", resource in Server::"canary");
@id("second") permit (principal, action in Action::"tools/call", resource in Server::"second");
"#;

/// A deployment with two servers, both the same canary, whose host's socket all can reach.
struct Stage {
    deployment: Deployment,
    canary: Canary,
    open: tempfile::TempDir,
}

/// A client process with a `chancery mcp` for each server.
struct Client {
    steps: Option<ChildStdin>,
    answers: std::io::Lines<BufReader<ChildStdout>>,
    process: Child,
}

impl Stage {
    fn set() -> Self {
        Self::founded(false)
    }

    /// The same, where `releases` says that it runs what two people released.
    fn founded(releases: bool) -> Self {
        let (canary, open) = (Canary::start(), tempfile::tempdir().expect("a directory"));
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(open.path(), everybody).expect("it is ours");
        let url = format!("{{ url: 'http://127.0.0.1:{}/mcp' }}", canary.port);
        let servers = SERVERS.map(|server| (server.to_owned(), url.clone())).to_vec();
        let policy = POLICY.to_owned();
        let options = Options { servers, policy, releases, ..Options::default() };
        let deployment = Deployment::start(&options);
        let mut stage = Self { deployment, canary, open };
        // Founded with the socket in its usual place; from now on in one that others reach.
        let path = stage.deployment.path("home/chancery.yaml");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let host = format!("listen:\n  host: {}\n", stage.host().display());
        std::fs::write(path, text.replace("listen:\n", &host)).expect("it is ours");
        stage.deployment.stop();
        stage.deployment.serve();
        stage.deployment.onboard(&SERVERS, "changes-production");
        if releases {
            stage.deployment.release();
        }
        stage
    }

    fn host(&self) -> PathBuf {
        self.open.path().join("host.sock")
    }

    /// Says anew which processes may be the agent.
    fn attest(&self, rule: &[&str]) {
        self.deployment.run(&[&["agent", "attest", "bot"], rule].concat());
    }

    /// A client of the user `uid`, with a home of its own.
    fn client(&self, uid: u32) -> Client {
        let home = self.open.path().join(format!("home-{uid}"));
        let key = home.join("bot.pem");
        if !home.exists() {
            std::fs::create_dir(&home).expect("the directory is ours");
            std::fs::copy(self.deployment.agent_key("bot"), &key).expect("the key is there");
            for path in [&home, &key] {
                std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("we are root");
            }
        }
        let (python, script) = (e2e::python(), several());
        assert_reaches(uid, &python, &[&script, &e2e::binary()]);
        let mut command = as_user(uid, &[python.to_str().expect("text")]);
        command.args([script, e2e::binary()]);
        command.args(["mcp", "{}", "--agent", "bot", "--key"]).arg(&key);
        command.args(["--url", &self.deployment.url(), "--host-socket"]).arg(self.host());
        command.arg("--").args(SERVERS);
        command.env("XDG_RUNTIME_DIR", &home).current_dir(&home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Child::start(&mut command);
        let (steps, output) = process.pipes();
        let mut answers = BufReader::new(output).lines();
        assert_eq!(answers.next().expect("it starts").expect("text"), "started");
        Client { steps: Some(steps), answers, process }
    }

    /// The permitted or denied calls of tools so far, oldest first.
    fn calls(&self) -> Vec<Value> {
        let is_call = |record: &Value| {
            let action = record["action"].as_str().unwrap_or_default();
            record["kind"] == "decision" && action.ends_with("/touch")
        };
        self.deployment.records().into_iter().filter(is_call).collect()
    }

    /// Where the clients of the user `uid` meet.
    fn meeting(&self, uid: u32) -> Vec<PathBuf> {
        let dir = self.open.path().join(format!("home-{uid}/chancery"));
        let entries = std::fs::read_dir(dir).expect("they met").flatten();
        let sockets = entries.map(|entry| entry.path());
        sockets.filter(|path| path.extension().is_some_and(|end| end == "sock")).collect()
    }
}

/// The client process with several servers.
fn several() -> PathBuf {
    e2e::repository().join("e2e/clients/python/several.py")
}

/// What lies in this checkout is run as another user too, who has to be let through to it: tried by
/// the program that is run.
fn assert_reaches(uid: u32, python: &Path, paths: &[&Path]) {
    let reads = "import sys\nfor path in sys.argv[1:]: open(path, 'rb').close()";
    let python = python.to_str().expect("text");
    let tried = as_user(uid, &[python, "-c", reads]).args(paths).output().expect("it starts");
    assert!(
        tried.status.success(),
        "user {uid} cannot run `{python}` and read {paths:?}: let others read them, and through \
         every directory on their way (chmod o+rx), or check out where they can: {}",
        String::from_utf8_lossy(&tried.stderr)
    );
}

/// A command that runs as `uid`.
fn as_user(uid: u32, program: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    let user = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
    command.args(user).args(program);
    command
}

impl Client {
    /// Calls the tool of the server with this number; gives the code of a refusal, or `done`.
    fn touch(&mut self, number: usize, mark: &str) -> String {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({ "name": "touch", "arguments": { "mark": mark }, "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let steps = self.steps.as_mut().expect("it is open");
        writeln!(steps, "{}", json!([number, call])).expect("it listens");
        let answer = self.answers.next().expect("it answers").expect("text");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let code = answer.pointer("/result/structuredContent/code").and_then(Value::as_str);
        match code {
            Some(code) => code.to_owned(),
            None if answer["result"]["isError"] == false => "done".to_owned(),
            None => answer.to_string(),
        }
    }

    fn close(mut self) {
        self.steps.take();
        wait_until("the client has ended", || self.process.ended());
    }
}

fn is_gone(path: &Path) -> Option<()> {
    (!path.exists()).then_some(())
}

/// Reading by one server and sending by another is one agent's doing: one instance, one task.
#[test]
fn r_1_all_servers_of_one_client_process_are_one_instance() {
    let stage = Stage::set();
    let mut one = stage.client(0);
    assert_eq!([one.touch(0, "a"), one.touch(1, "b")], ["done", "done"]);
    let mut other = stage.client(0);
    assert_eq!(other.touch(1, "c"), "done");
    assert_eq!(one.touch(0, "d"), "done");
    let calls = stage.calls();
    let told = |name: &str| calls.iter().map(|call| call[name].clone()).collect::<Vec<_>>();
    for name in ["instance", "task"] {
        let told = told(name);
        assert_eq!((&told[0], &told[0]), (&told[1], &told[3]), "{name}");
        assert_ne!(told[0], told[2], "{name} of another client process");
    }
    assert!(told("attestation").iter().all(|it| it == "host"), "{calls:?}");
    assert!(told("binding").iter().all(|it| it == "dpop"), "{calls:?}");
    let issued = stage.deployment.records();
    let issued = issued.iter().filter(|record| record["kind"] == "issuance");
    assert!(issued.clone().all(|it| it["attestation"] == "host" && it["binding"] == "dpop"));
    assert_eq!(issued.filter(|it| it["instance"] == calls[0]["instance"]).count(), 2);
    // The key is held as long as the client lives, and no longer.
    assert_eq!(stage.meeting(0).len(), 2);
    one.close();
    wait_until("one is gone", || (stage.meeting(0).len() == 1).then_some(()));
    assert_eq!(other.touch(0, "e"), "done");
    other.close();
    wait_until("both are gone", || stage.meeting(0).is_empty().then_some(()));
    assert_eq!(stage.canary.effects().len(), 5);
}

/// A shim that ends takes nothing along: the next one of the client is the same instance.
#[test]
fn r_1_an_instance_outlives_the_shim_that_began_it() {
    let stage = Stage::set();
    let run = |server: &str| {
        let mut command = Command::new(e2e::binary());
        command.args(["mcp", server, "--agent", "bot", "--key"]);
        command.arg(stage.deployment.agent_key("bot"));
        command.args(["--url", &stage.deployment.url(), "--host-socket"]).arg(stage.host());
        command.env("XDG_RUNTIME_DIR", stage.open.path()).stdin(Stdio::null());
        let output = command.output().expect("it starts, and nobody waits for who holds the key");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    SERVERS.into_iter().chain(SERVERS).for_each(run);
    let records = stage.deployment.records();
    let issued: Vec<_> = records.iter().filter(|it| it["kind"] == "issuance").collect();
    assert_eq!(issued.len(), 2, "one token a server, whoever asked first");
    assert_eq!(issued[0]["instance"], issued[1]["instance"]);
}

/// The kernel says who a process is: another user, or another program, is not the agent, and does
/// nothing but read.
#[test]
fn r_6_the_host_vouches_for_a_user_and_a_program() {
    let stage = Stage::set();
    let binary = e2e::binary().display().to_string();
    let mut marks = 0;
    let mut check = |uid: u32, rule: &[&str], expected: &str| {
        stage.attest(rule);
        marks += 1;
        let mark = format!("mark-{marks}");
        let mut client = stage.client(uid);
        let answer = client.touch(0, &mark);
        client.close();
        let vouched = expected == "host";
        assert_eq!(answer == "done", vouched, "{rule:?}: {answer}");
        let reached = stage.canary.effects().iter().any(|effect| effect.mark == mark);
        assert_eq!(reached, vouched, "{rule:?}");
        let call = stage.calls().pop().expect("it is decided");
        assert_eq!(call["attestation"], expected, "{rule:?}");
        if !vouched {
            assert_eq!(call["policies"], json!(["starter-attested"]));
            assert_eq!(call["remedies"], json!(["approval"]), "{call}");
        }
    };
    let nobody = NOBODY.to_string();
    check(0, &["--host-uid", "0"], "host");
    check(0, &["--host-uid", "0", "--host-exe", &binary], "host");
    check(0, &["--host-uid", "0", "--host-exe", "/bin/true"], "user");
    check(0, &["--host-uid", &nobody], "user");
    check(NOBODY, &["--host-uid", &nobody, "--host-exe", &binary], "host");
    check(NOBODY, &["--host-uid", "0"], "user");
    check(0, &[], "user");
}

/// The wall between two users: who is another cannot reach the key, and whom the kernel lets
/// through the door is not answered.
#[test]
fn another_user_does_not_reach_the_holder_of_a_key() {
    let stage = Stage::set();
    stage.attest(&["--host-uid", &NOBODY.to_string()]);
    let (mut own, mut theirs) = (stage.client(0), stage.client(NOBODY));
    own.touch(0, "a");
    assert_eq!(theirs.touch(0, "b"), "done");
    let (own_socket, their_socket) = (stage.meeting(0).remove(0), stage.meeting(NOBODY).remove(0));
    for (path, mode) in [(own_socket.parent().unwrap(), 0o700), (own_socket.as_path(), 0o600)] {
        let found = std::fs::metadata(path).expect("it is there").permissions().mode();
        assert_eq!(found & 0o777, mode, "{}", path.display());
    }
    let connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
    let mut command = as_user(NOBODY, &[e2e::python().to_str().expect("text"), "-c", connect]);
    let refused = command.arg(&own_socket).output().expect("it starts");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("PermissionError"), "{said}");
    // No directory keeps root out.
    let mut stream = UnixStream::connect(&their_socket).expect("root may connect");
    let ask = json!({ "show": ["POST", "canary"] });
    let _ = writeln!(stream, "{ask}");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"", "the holder is another user's");
    assert_eq!(theirs.touch(0, "c"), "done");
    own.close();
    theirs.close();
    for socket in [own_socket, their_socket] {
        wait_until("nobody holds a key", || is_gone(&socket));
    }
}

/// Who copied a key is found at its second use; a restart of anything sheds nothing.
#[test]
fn r_2_a_copied_key_is_found_and_no_restart_sheds_the_quarantine() {
    let mut stage = Stage::founded(true);
    let caller = || Caller::vouched(&stage.deployment, "canary", &stage.host());
    let mut holder = caller();
    assert!(holder.call("touch", "a").is_done());
    let mut thief = holder.copied();
    holder.obtain().expect("the holder goes on");
    assert!(holder.call("touch", "b").is_done());
    let told = thief.obtain().expect_err("there is a successor already");
    assert_eq!(told.code(), "invalid_grant");
    let records = stage.deployment.records();
    let signal = records.iter().find(|record| record["kind"] == "signal").expect("recorded");
    assert_eq!(signal["signal"], "key_copied");
    let id = signal["id"].as_str().expect("an id");
    let shown: Value = serde_json::from_str(&stage.deployment.run(&["log", "show", id])).unwrap();
    for source in ["first", "second"] {
        let source = &shown["disclosure"]["members"][source];
        assert_eq!(source["address"], "127.0.0.1", "{shown}");
        assert_eq!(source["process"]["pid"], std::process::id(), "{shown}");
    }
    // Both are stopped, a new key is, and all of it after a restart of the service.
    let instance = signal["instance"].as_str().expect("an id").to_owned();
    for _ in 0..2 {
        assert!(!holder.call("touch", "c").is_done());
        let fresh = &mut Caller::vouched(&stage.deployment, "canary", &stage.host());
        assert_eq!(fresh.obtain().expect_err("it starts quarantined").code(), "access_denied");
        stage.deployment.stop();
        stage.deployment.serve();
    }
    let listed = stage.deployment.run(&["instance", "list"]);
    assert!(listed.contains("quarantined") && listed.contains(&instance), "{listed}");
    // Whoever is the service's user is anybody: a founder says who they are.
    let release = ["instance", "release", &instance, "--reason", "looked"];
    let told = stage.deployment.run_refused(&release);
    assert!(told.contains("a founder signs for this"), "{told}");
    let (key, url) = (stage.deployment.path("bob.pem"), stage.deployment.url());
    let key = key.display().to_string();
    let by = ["--as", "bob", "--key", &key, "--url", &url];
    stage.deployment.run(&[&release[..], &by].concat());
    assert!(
        Caller::vouched(&stage.deployment, "canary", &stage.host()).call("touch", "d").is_done()
    );
    assert!(stage.deployment.run(&["log", "replay"]).contains(" agree"));
    assert!(stage.deployment.verify().contains("the log verifies"));
}
