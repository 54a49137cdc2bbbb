//! The OpenAPI documents, read and tried by tools of others: `openapi-spec-validator` and
//! `schemathesis`.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use e2e::identity::{Browser, Identity};
use e2e::{Canary, Deployment, Options, Page, free_port};

/// How many requests of each kind are made up for one operation.
const EXAMPLES: &str = "25";

/// What every answer is looked at for: that nothing broke, and that the document tells of it.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";

struct Stage {
    deployment: Deployment,
    observers: u16,
    _canary: Canary,
    _identity: Identity,
}

impl Stage {
    fn set() -> Self {
        let (canary, observers) = (Canary::start(), free_port());
        let identity = Identity::start(observers);
        let options = Options {
            configuration: identity.configuration(),
            observers: Some(observers),
            ..Options::default()
        };
        let deployment = Deployment::with_canary(canary.port, "changes-production", options);
        Self { deployment, observers, _canary: canary, _identity: identity }
    }

    /// The URLs of the documents that listeners serve.
    fn urls(&self) -> [String; 2] {
        let of_observers = format!("http://127.0.0.1:{}", self.observers);
        [self.deployment.url(), of_observers].map(|base| format!("{base}/openapi.json"))
    }

    /// The document of the socket of administration.
    fn of_socket(&self) -> String {
        let socket = self.deployment.path("home/state/admin.sock");
        let mut stream = UnixStream::connect(socket).expect("it listens");
        let request = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }
}

/// Runs a tool of others, which must be content.
fn run(tool: &mut Command) {
    let output = tool.output().expect("`cargo xtask provision` provisions it");
    let told = [output.stdout, output.stderr].concat();
    println!("{}", String::from_utf8_lossy(&told));
    assert!(output.status.success(), "{tool:?}");
}

#[test]
fn the_documents_are_openapi_3_1() {
    let stage = Stage::set();
    assert_eq!(Page::read("api.md", &[]).run(&stage.deployment).len(), 1);
    let of_listeners = stage.urls().map(|url| Browser::default().get(&url).text);
    let documents = of_listeners.into_iter().chain([stage.of_socket()]);
    for (number, document) in documents.enumerate() {
        let file = stage.deployment.path(&format!("{number}.json"));
        std::fs::write(&file, document).expect("it can be written");
        let mut validator = Command::new(e2e::python());
        let arguments = ["-m", "openapi_spec_validator", "--schema", "3.1", "--errors", "all"];
        run(validator.args(arguments).arg(file));
    }
}

/// Whatever is sent, nothing breaks, and what is answered is what the document says.
#[test]
fn made_up_requests_break_nothing_and_are_answered_as_it_is_told() {
    let stage = Stage::set();
    let requests = |url: &str| {
        let mut schemathesis = Command::new(e2e::python().with_file_name("schemathesis"));
        schemathesis.args(["run", url, "--checks", CHECKS, "--max-examples", EXAMPLES]);
        schemathesis.args(["--phases", "examples,coverage,fuzzing", "--generation-deterministic"]);
        // How it sends what is neither JSON nor a form.
        let hooks = e2e::repository().join("e2e/clients/python");
        schemathesis.env("SCHEMATHESIS_HOOKS", "event_tokens").env("PYTHONPATH", hooks);
        run(schemathesis.arg("--no-color").current_dir(stage.deployment.dir.path()));
    };
    let [agents, observers] = stage.urls();
    std::thread::scope(|scope| {
        scope.spawn(|| requests(&agents));
        requests(&observers);
    });
    assert!(stage.deployment.verify().contains("the log verifies"));
}
