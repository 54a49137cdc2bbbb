//! What an operator meets: help, mistakes in the configuration, a port in use, a key that others
//! can read, a stop and a start.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use e2e::{Caller, Canary, Child, Deployment, Options, free_port, wait_until};

fn chancery(arguments: &[&str]) -> Output {
    Command::new(e2e::binary()).args(arguments).output().expect("the binary can be started")
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// A founded deployment that is not served, in a directory of its own.
struct Founded(tempfile::TempDir);

impl Founded {
    fn new() -> Self {
        Self::by(&["--founder", "alice", "--founder", "bob"])
    }

    /// The same, for development.
    fn for_development() -> Self {
        Self::by(&["--founder", "alice", "--development"])
    }

    fn by(founders: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let home = dir.path().join("home");
        let made = chancery(&[&["init", text(&home)][..], founders].concat());
        assert!(made.status.success(), "{}", said(&made));
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("home").join(name)
    }

    fn configure(&self, yaml: &str) {
        std::fs::write(self.path("chancery.yaml"), yaml).expect("it can be written");
    }

    /// What the service says when it refuses to start, with its exit code.
    fn refuses(&self) -> (i32, String) {
        let output = chancery(&["serve", "--config", text(&self.path("chancery.yaml"))]);
        (output.status.code().expect("it exits"), said(&output))
    }

    fn check_config(&self, environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(e2e::binary());
        command.args(["check-config", "--config", text(&self.path("chancery.yaml"))]);
        command.envs(environment.iter().copied()).output().expect("the binary can be started")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

/// From an empty directory until a call is governed, where two people found and release: what that takes is
/// published.
#[test]
fn what_it_takes_to_set_up_is_published() {
    let canary = Canary::start();
    let policy = Canary::PERMIT.to_owned();
    let options = Options { policy, releases: true, ..Options::default() };
    let deployment = Deployment::with_canary(canary.port, "changes-production", options);
    deployment.release();
    let effort = format!("**{} commands**", deployment.commands());
    assert!(Caller::new(&deployment, "canary").call("touch", "first").is_done());
    let told = std::fs::read_to_string(e2e::repository().join("docs/performance.md"));
    assert!(told.expect("it is there").contains(&effort), "the page does not tell {effort}");
}

/// Every command, of any depth, says what it does when it is asked.
#[test]
fn every_command_has_help() {
    let mut waiting = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(path) = waiting.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = chancery(&arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        let help = String::from_utf8(output.stdout).expect("help is text");
        seen += 1;
        let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
        let commands = commands.split("\n\n").next().unwrap_or_default();
        for line in
            commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap_or_default();
            assert!(words.next().is_some(), "`{name}` of {path:?} is not described");
            if name != "help" {
                waiting.push([path.clone(), vec![name.to_owned()]].concat());
            }
        }
    }
    assert!(seen > 30, "only {seen} commands were found");
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = chancery(&["completions", shell]);
        assert!(output.status.success() && said(&output).contains("chancery"), "{shell}");
    }
}

#[test]
fn the_schema_of_the_configuration_is_the_one_in_the_repository() {
    let kept = e2e::repository().join("docs/chancery.schema.json");
    let kept = std::fs::read_to_string(kept).expect("it is kept");
    let output = chancery(&["config-schema"]);
    let now = String::from_utf8(output.stdout).expect("it is text");
    assert_eq!(now, kept, "write it again: chancery config-schema > docs/chancery.schema.json");
}

/// `| head -1` is no mistake, and a full disk is told as one.
#[test]
fn standard_output_that_takes_no_more_is_no_panic() {
    let printed_to = |arguments: &[&str], place: Stdio| {
        let mut command = Command::new(e2e::binary());
        let output = command.args(arguments).stdout(place).stderr(Stdio::piped()).output();
        let output = output.expect("the binary can be started");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for arguments in [&["config-schema"][..], &["completions", "bash"][..], &["policy", "sets"][..]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        assert_eq!(printed_to(arguments, writer.into()), (Some(141), String::new()));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
        let (code, said) = printed_to(arguments, full.into());
        assert_eq!(code, Some(1), "{said}");
        let wanted = "chancery: could not write to standard output: No space left on device";
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[test]
fn a_service_goes_on_whose_standard_output_takes_no_more() {
    let founded = Founded::new();
    let (_, writer) = std::io::pipe().expect("a pipe can be made");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    for place in [Stdio::from(writer), Stdio::from(full)] {
        let admin = format!("127.0.0.1:{}", free_port());
        let mut serve = Command::new(e2e::binary());
        serve.args(["serve", "--config", text(&founded.path("chancery.yaml"))]);
        serve.env("CHANCERY_LISTEN_AGENTS", "127.0.0.1:0").env("CHANCERY_LISTEN_ADMIN", &admin);
        let mut process = Child::start(serve.stdout(place).stderr(Stdio::null()));
        wait_until("it listens", || TcpStream::connect(&admin).ok());
        assert!(process.terminate().success(), "it ended by itself");
    }
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let founded = Founded::new();
    let check = |yaml: &str, wanted: &[&str]| {
        founded.configure(yaml);
        let (code, message) = founded.refuses();
        assert_eq!(code, 1, "{message}");
        for part in wanted {
            assert!(message.contains(part), "{part}: {message}");
        }
    };
    check("state_dir: state\nlisen: {}\n", &["`lisen`", "did you mean `listen`"]);
    check(
        "state_dir: state\nlisten: { agent: 127.0.0.1:1 }\n",
        &["`listen.agent`", "`listen.agents`"],
    );
    check("state_dir: state\nlisten: { agents: here }\n", &["does not fit"]);
    check("state_dir: [\n", &["not valid YAML"]);
    check("", &["expected keys with values"]);
    check("state_dir: state\nlisten: { agents: 0.0.0.0:8420 }\n", &["off loopback", "`tls`"]);
    check("state_dir: state\nlogging: { level: loud }\n", &["logging.level", "`loud`"]);
    check(
        "state_dir: state\nservers: { a: { command: npx, args: [thing] } }\n",
        &["exact version"],
    );
    check("state_dir: state\nservers: { A_b: { url: http://127.0.0.1:1 } }\n", &["servers.A_b"]);
    check(
        "state_dir: state\nservers: { tools: { url: http://127.0.0.1:1 } }\n",
        &["servers.tools"],
    );
    check("state_dir: elsewhere\n", &["chancery init"]);
    check("state_dir: state\ntls: { cert: none.pem, key: none.pem }\n", &["none.pem"]);
}

#[test]
fn every_key_can_be_set_by_the_environment() {
    let founded = Founded::new();
    let output = founded.check_config(&[("CHANCERY_LISTEN_AGENTS", "0.0.0.0:1")]);
    assert!(said(&output).contains("`0.0.0.0:1` is off loopback"), "{}", said(&output));
    let output = founded.check_config(&[("CHANCERY_LIMITS_BODY_BYTES", "many")]);
    assert!(said(&output).contains("does not fit"), "{}", said(&output));
    let output = founded.check_config(&[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("policy is the active release"), "{}", said(&output));
    let loose = [("CHANCERY_POLICY_PATH", "policies"), ("CHANCERY_POLICY_ALLOW_LOOSE", "true")];
    let output = founded.check_config(&loose);
    assert!(said(&output).contains("4 cases of policy hold"), "{}", said(&output));
}

#[test]
fn a_case_that_does_not_hold_fails_the_check() {
    let founded = Founded::for_development();
    let path = founded.path("policies/cases/starter.yaml");
    let cases = std::fs::read_to_string(&path).expect("`init` wrote it");
    std::fs::write(&path, cases.replace("expect: deny", "expect: permit")).expect("it is ours");
    founded.configure("state_dir: state\npolicy: { path: policies, allow_loose: true }\n");
    let output = founded.check_config(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("the case `a tool that no policy names"), "{}", said(&output));
}

#[test]
fn a_port_in_use_is_named() {
    let founded = Founded::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = taken.local_addr().expect("it is bound");
    founded.configure(&format!("state_dir: state\nlisten: {{ agents: '{address}' }}\n"));
    let (code, message) = founded.refuses();
    assert_eq!(code, 1);
    assert!(message.contains(&format!("could not listen on `{address}`")), "{message}");
}

#[test]
fn a_key_that_others_can_read_stops_the_start() {
    let founded = Founded::new();
    let key = founded.path("state/keys/token.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let (code, message) = founded.refuses();
    assert_eq!(code, 1);
    assert!(
        message.contains("can be read by others") && message.contains("chmod 600"),
        "{message}"
    );
}

/// Policy may be written before its tool is onboarded, so the service starts, and says so.
#[test]
fn a_policy_that_names_no_tool_is_pointed_out() {
    let founded = Founded::for_development();
    let policy = r#"@id("p") permit (principal, action == Action::"crm/lookpu", resource);"#;
    std::fs::write(founded.path("policies/own.cedar"), policy).expect("it can be written");
    founded.configure(
        "state_dir: state\nlisten: { agents: '127.0.0.1:0', admin: '127.0.0.1:0' }\n\
         policy: { path: policies, allow_loose: true }\n",
    );
    let mut serve = Command::new(e2e::binary());
    serve.args(["serve", "--config", text(&founded.path("chancery.yaml"))]);
    let (_process, line) = Child::start_and_read_errors(&mut serve, |line| {
        line.contains("`crm/lookpu`").then(|| line.to_owned())
    });
    assert!(line.contains("own.cedar:1: policy `p`"), "{line}");
    assert!(line.contains("no method and no tool"), "{line}");
}

#[test]
fn a_deployment_is_founded_once_in_an_empty_directory_by_two() {
    let founded = Founded::new();
    let home = founded.path("");
    let again = chancery(&["init", text(&home), "--founder", "alice", "--founder", "bob"]);
    assert!(!again.status.success() && said(&again).contains("is not empty"), "{}", said(&again));
    let alone = chancery(&["init", text(&home.join("new")), "--founder", "alice"]);
    assert!(!alone.status.success() && said(&alone).contains("two founders"), "{}", said(&alone));
}

/// Nothing is left behind that would be in the way of the next try.
#[test]
fn founders_that_are_none_leave_no_deployment_half_made() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let new = home.path().join("new");
    for (founders, wanted) in [
        (&["alice", "alice"][..], "two founders"),
        (&["alice", "bob", "alice"][..], "each founder once"),
        (&["Al ice", "bob"][..], "`Al ice` is not a person id"),
    ] {
        let named = founders.iter().flat_map(|founder| ["--founder", *founder]);
        let arguments: Vec<_> = ["init", text(&new)].into_iter().chain(named).collect();
        let refused = chancery(&arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains(wanted), "{}", said(&refused));
        assert!(!new.exists(), "{founders:?}");
    }
}

/// A stop is clean, and a start takes up where it was.
#[test]
fn n_130_a_stop_drains_and_a_start_goes_on() {
    let mut deployment = Deployment::start(&Options::default());
    let before = deployment.records().len();
    let status = deployment.process.as_mut().expect("it runs").terminate();
    assert_eq!(status.code(), Some(0));
    deployment.serve();
    assert!(deployment.records().len() > before);
    assert!(deployment.verify().contains("the log verifies"));
}

/// Makes a certificate for 127.0.0.1 and its key, in PEM.
const CERTIFICATE: &str = r#"
import datetime, ipaddress, os, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
now = datetime.datetime.now(datetime.timezone.utc)
alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(now - datetime.timedelta(hours=1))
    .not_valid_after(now + datetime.timedelta(hours=1)).add_extension(alternative, False)
    .sign(key, hashes.SHA256())
)
pem = serialization.Encoding.PEM
secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
open(sys.argv[1], "wb").write(certificate.public_bytes(pem))
os.umask(0o077)
open(sys.argv[2], "wb").write(secret)
"#;

/// What a client that trusts the certificate reads at a URL.
const FETCH: &str = r"
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
print(urllib.request.urlopen(sys.argv[2], context=context, timeout=10).read().decode())
";

fn python(script: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(e2e::python());
    command.args(["-c", script]).args(arguments).output().expect("python can be started")
}

#[test]
fn listeners_speak_tls_and_nothing_else() {
    let founded = Founded::new();
    let (cert, key) = (founded.path("cert.pem"), founded.path("key.pem"));
    let made = python(CERTIFICATE, &[text(&cert), text(&key)]);
    assert!(made.status.success(), "{}", said(&made));
    let listen = "{ agents: '127.0.0.1:0', admin: '127.0.0.1:0' }";
    let tls = "{ cert: cert.pem, key: key.pem }";
    founded.configure(&format!("state_dir: state\nlisten: {listen}\ntls: {tls}\n"));
    let mut serve = Command::new(e2e::binary());
    serve.args(["serve", "--config", text(&founded.path("chancery.yaml"))]);
    let observers = |line: &str| line.split("observers at ").nth(1).map(str::to_owned);
    let (_process, observers) = Child::start_and_read(&mut serve, observers);
    let url = format!("{observers}/healthz");
    assert!(url.starts_with("https://"), "{url}");
    let fetched = python(FETCH, &[text(&cert), &url]);
    assert_eq!(said(&fetched).trim(), "ok");
    let plain = python(FETCH, &[text(&cert), &url.replace("https://", "http://")]);
    assert!(!plain.status.success(), "{}", said(&plain));
}

/// The lines of the documents that begin with `chancery `, within fenced blocks.
fn documented() -> Vec<String> {
    let root = e2e::repository();
    let pages = std::fs::read_dir(root.join("docs")).expect("there are pages").flatten();
    let pages = pages.map(|page| page.path()).filter(|path| path.is_file());
    let texts =
        pages.chain([root.join("README.md")]).filter_map(|page| std::fs::read_to_string(page).ok());
    let mut lines = Vec::new();
    for text in texts {
        let blocks = text.split("```").skip(1).step_by(2);
        let found = blocks.flat_map(str::lines).map(str::trim);
        lines.extend(found.filter(|line| line.starts_with("chancery ")).map(str::to_owned));
    }
    lines
}

/// Every command in the documents exists, with every flag that it is given.
#[test]
fn what_the_documents_tell_to_type_can_be_typed() {
    let lines = documented();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        let typed = line.split(" #").next().unwrap_or_default();
        let words: Vec<_> = typed.split_whitespace().skip(1).collect();
        let is_name = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let names: Vec<&str> = words.iter().take_while(is_name).copied().take(3).collect();
        let helps = (1..=names.len()).rev().map(|count| {
            let arguments: Vec<_> = names[..count].iter().copied().chain(["--help"]).collect();
            chancery(&arguments)
        });
        let help = helps.into_iter().find(|help| help.status.success());
        let help = said(&help.unwrap_or_else(|| panic!("there is no such command: {line}")));
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "`{flag}` is no flag of: {line}");
        }
    }
}

/// What `chancery doctor` finds, by area and state, with its exit code.
fn doctor(deployment: &Deployment) -> (i32, Vec<(String, String, String)>) {
    let config = deployment.path("home/chancery.yaml");
    let mut command = Command::new(e2e::binary());
    command
        .args(["doctor", "--json", "--config", text(&config)])
        .env("HOME", deployment.dir.path());
    let output = command.output().expect("the binary can be started");
    let found: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    let word = |finding: &serde_json::Value, name: &str| {
        finding[name].as_str().unwrap_or_default().to_owned()
    };
    let found = found.iter().map(|it| (word(it, "area"), word(it, "state"), word(it, "what")));
    (output.status.code().expect("it exits"), found.collect())
}

#[test]
fn the_doctor_says_what_is_not_enforced_and_what_to_do() {
    let canary = Canary::start();
    let limits = "limits: { connections: 100 }\n";
    let options = e2e::stage::options(canary.port, e2e::stage::REQUEST, limits);
    let mut deployment = Deployment::start(&Options { releases: true, ..options });
    deployment.onboard(&["canary"], "changes-production");
    let stands = |found: &[(String, String, String)], area: &str| {
        let of_area: Vec<_> = found.iter().filter(|(of, ..)| of == area).collect();
        let states: Vec<_> = of_area.iter().map(|(_, state, _)| state.clone()).collect();
        states.join(" ")
    };
    let (code, found) = doctor(&deployment);
    assert_eq!(code, 0, "{found:?}");
    for area in ["files", "limits", "tls", "protocol", "service", "leases", "clients"] {
        assert_eq!(stands(&found, area), "ok", "{area}: {found:?}");
    }
    assert_eq!(stands(&found, "anchors"), "weak", "{found:?}");
    let config = deployment.path("home/chancery.yaml");
    let strict = ["doctor", "--strict", "--json", "--config", text(&config)];
    assert_eq!(deployment.run_told(&strict).0, Some(5), "what is weak is not enforced");
    // The canary answers whoever asks.
    assert_eq!(stands(&found, "servers"), "weak", "{found:?}");

    let key = deployment.path("home/state/keys/log.pem");
    let set = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode));
    set(0o644).expect("it is ours");
    let (code, found) = doctor(&deployment);
    assert_eq!((code, stands(&found, "files").as_str()), (5, "broken"), "{found:?}");
    assert!(found.iter().any(|(.., what)| what.contains("log.pem")), "{found:?}");
    set(0o600).expect("it is ours");

    deployment.stop();
    let (code, found) = doctor(&deployment);
    assert_eq!((code, stands(&found, "service").as_str()), (0, "weak"), "{found:?}");
    deployment.serve();
    assert!(deployment.verify().contains("the log verifies"));
}

/// The page's command, as it stands there; and of what nobody knows, nothing is told.
#[test]
fn r_23_the_register_shows_what_acts_within_seconds_and_what_was() {
    let canary = Canary::start();
    let options = e2e::stage::options(canary.port, e2e::stage::REQUEST, "");
    let deployment = Deployment::start(&options);
    deployment.onboard(&["canary"], "changes-production");
    let page = e2e::Page::read("register.md", &[]);
    let shown = |name: &str| -> serde_json::Value {
        let printed = page.run(&deployment);
        let mut all = printed[0].lines().map(|line| serde_json::from_str(line).expect("JSON"));
        all.find(|row: &serde_json::Value| row["name"] == name).expect("it is registered")
    };
    let mut caller = Caller::new(&deployment, "canary");
    let name = "bot";
    assert_eq!(shown(name)["instances"], serde_json::json!([]), "nothing acts yet");
    assert!(caller.call("touch", "registered").is_done());
    let row = shown(name);
    assert_eq!((&row["answered_for"], &row["owned"]), (&true.into(), &true.into()));
    let instances = row["instances"].as_array().expect("a list");
    assert_eq!(instances.len(), 1, "{row}");
    assert!(instances[0]["token_until"].is_string(), "{row}");
    assert!(instances[0]["last_seen"].is_string(), "{row}");
    assert_eq!(instances[0]["last_seen_by"], "decision");
    let seen = instances[0]["last_seen"].as_str().expect("a time");
    let told = deployment.run(&["register", "show", "--as-of", seen]);
    let mut was = told.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let was = was.find(|row: &serde_json::Value| row["name"] == name).expect("it is told");
    let instance = &was["instances"][0];
    assert_eq!(
        (&instance["last_seen"], &instance["last_seen_by"]),
        (&seen.into(), &"decision".into())
    );
    assert!(instance["token_until"].is_string(), "{was}");
    for asked in [&["register", "show"][..], &["agent", "list"]] {
        let told = deployment.run_refused(&[asked, &["--as-of", "2020-01-01"]].concat());
        assert!(told.contains("the register is kept since"), "{told}");
        let told = deployment.run_refused(&[asked, &["--as-of", "2999-01-01"]].concat());
        assert!(told.contains("is yet to come"), "{told}");
    }
}
