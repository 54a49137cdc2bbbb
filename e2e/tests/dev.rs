//! What a newcomer does: start `dev`, type what it prints, and point a client at it.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::os::unix::fs::PermissionsExt as _;

use e2e::newcomer::{Newcomer, text};
use e2e::wait_until;
use serde_json::Value;

/// Every command that `dev` prints is typed as it stands there; then a client is started by the
/// configuration that it prints, and the log is read. What that takes until a call is governed is published.
#[test]
fn a_newcomer_types_what_dev_prints() {
    let mut newcomer = Newcomer::new();
    newcomer.start_dev();
    let mode = std::fs::metadata(newcomer.announced()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the file is for this user alone");

    let lines = newcomer.lines();
    let (configuration, commands): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.starts_with('{'));
    let (reading, onboarding): (Vec<_>, Vec<_>) =
        commands.into_iter().partition(|line| line.contains(" log "));
    assert_eq!((onboarding.len(), configuration.len(), reading.len()), (3, 1, 3), "{lines:?}");
    // `dev` is typed, too.
    let effort = format!("{} commands and {} line", 1 + onboarding.len(), configuration.len());
    for page in ["README.md", "docs/performance.md"] {
        let told = std::fs::read_to_string(e2e::repository().join(page)).expect("it is there");
        assert!(told.contains(&effort), "{page} does not tell that it takes {effort}");
    }
    for line in onboarding {
        let done = newcomer.shell(line);
        assert!(done.status.success(), "{line}: {}", text(&done));
    }
    let servers: Value = serde_json::from_str(configuration[0]).expect("JSON");
    let said = text(&newcomer.client(&servers["mcpServers"]["everything"]));
    assert!(said.contains("\"text\": \"Echo: hello\""), "{said}");
    for line in reading {
        let done = wait_until("the log is published", || {
            Some(newcomer.shell(line)).filter(|done| done.status.success())
        });
        let expected = ["\"kind\":", "decisions agree", "the log verifies"];
        assert!(expected.iter().any(|text_of| text(&done).contains(text_of)), "{}", text(&done));
    }

    let ended = newcomer.dev.take().expect("it runs").terminate();
    assert!(ended.success());
    assert!(!newcomer.announced().exists(), "what was announced is over");
}

/// What goes wrong is told in one line that says what to do.
#[test]
fn a_newcomer_is_told_what_is_wrong() {
    let mut newcomer = Newcomer::new();
    let refused = |newcomer: &Newcomer, arguments: &[&str]| {
        let output = newcomer.command(arguments).output().expect("it starts");
        assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    let mcp = ["mcp", "everything", "--agent", "bot"];
    let said = refused(&newcomer, &mcp);
    assert!(said.contains("`--key`") && said.contains("`chancery dev`"), "nothing runs: {said}");

    newcomer.start_dev();
    let said = refused(&newcomer, &mcp);
    assert!(said.contains("chancery agent add bot"), "there is no such agent: {said}");
    let said = refused(&newcomer, &["dev"]);
    assert!(said.contains("another development deployment"), "one at a time: {said}");

    newcomer.onboard();
    let suspend = newcomer.command(&["agent", "suspend", "bot", "--reason", "test"]).output();
    assert!(suspend.expect("it starts").status.success());
    let said = refused(&newcomer, &mcp);
    assert!(said.contains("agent `bot` no token"), "it is denied a token: {said}");
    let people = format!("http://127.0.0.1:{}", newcomer.port + 1);
    let said = refused(&newcomer, &[&mcp[..], &["--url", &people]].concat());
    let wanted = ["404 Not Found", "is it the URL for agents"];
    assert!(wanted.iter().all(|it| said.contains(it)), "people are served there: {said}");
    let key = newcomer.home().join("exposed.pem");
    std::fs::write(&key, "x").expect("the directory is ours");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    let key = key.display().to_string();
    let said = refused(&newcomer, &["mcp", "everything", "--agent", "bot", "--key", &key]);
    assert!(said.contains("exposed.pem"), "a key that others can read is not used: {said}");

    // It is killed: what it announced is left behind, and says nothing any more.
    newcomer.dev.take().expect("it runs").kill();
    assert!(newcomer.announced().exists());
    let said = refused(&newcomer, &["agent", "list"]);
    assert!(said.contains("is it running?"), "{said}");
    newcomer.start_dev();
}

/// Who names no server has a deployment all the same, in which everything but calls can be tried.
#[test]
fn a_newcomer_without_a_server_has_a_deployment() {
    let mut newcomer = Newcomer::new();
    newcomer.start_dev_with(&[]);
    let listed = newcomer.command(&["person", "list"]).output().expect("it starts");
    assert!(
        listed.status.success() && text(&listed).contains(r#""id":"dev""#),
        "{}",
        text(&listed)
    );
    // Whose files are in force is said, and that nobody else looked at them.
    let history = newcomer.command(&["policy", "history"]).output().expect("it starts");
    let says = "the files are owned by dev alone: no second person approved them";
    assert!(text(&history).contains(says), "{}", text(&history));
}

/// A file that somebody else could have written is not followed.
#[test]
fn an_announcement_that_others_can_write_is_not_followed() {
    let mut newcomer = Newcomer::new();
    newcomer.start_dev();
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(newcomer.announced(), open).expect("it is ours");
    let output = newcomer.command(&["agent", "list"]).output().expect("it starts");
    assert!(!output.status.success());
    assert!(text(&output).contains("is not used"), "{}", text(&output));
}
