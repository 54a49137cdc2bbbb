//! Other people's idea of what conforms to MCP: their suite against a server that has what it looks
//! for, and against the same server behind the gateway: through `chancery mcp --listen`, and through
//! a relay that adds a token and proofs, which the suite cannot make.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::collections::BTreeSet;

use e2e::conformance::{Found, suite};
use e2e::{Caller, Deployment, Escort, Options, listen, repository, upstream};

/// All that the suite asks for, of the server and of the client.
const POLICY: &str = r#"
@id("conformance")
permit (
  principal,
  action in [
    Action::"tools/call",
    Action::"prompts/get",
    Action::"resources/read",
    Action::"resources/subscribe",
    Action::"resources/unsubscribe"
  ],
  resource in Server::"conformance"
);

@id("what-it-asks")
permit (principal, action == Action::"server/request", resource == Server::"conformance");
"#;

/// What the suite passes over where a server does not offer it: subscriptions, and lists as streams.
const NOT_OFFERED: [&str; 6] = [
    "server-sse-multiple-streams:server-sse-streams-functional",
    "server-stateless:sep-2575-server-honors-notification-filter",
    "server-stateless:sep-2575-server-sends-prompts-list-changed-on-subscription",
    "server-stateless:sep-2575-server-sends-subscription-ack",
    "server-stateless:sep-2575-server-sends-tools-list-changed-on-subscription",
    "server-stateless:sep-2575-server-tags-subscription-id",
];

/// Behind the gateway all passes that passes without it, but for what `e2e/conformance/` names: the
/// suite fails if anything else fails, and if something passes that is named there.
fn check(version: &str, era: &str, lacking: &[&str]) {
    let server = upstream::conformance(era);
    let direct = suite(&server.url(), version, None);
    let lacking: BTreeSet<_> = lacking.iter().map(|&check| check.to_owned()).collect();
    assert_eq!(direct.failed, lacking, "the server has what the suite looks for");

    let servers = vec![("conformance".to_owned(), server.configured())];
    let policy = POLICY.to_owned();
    let deployment = Deployment::start(&Options { servers, policy, ..Options::default() });
    deployment.onboard(&["conformance"], "reads-data");
    let (_shim, listening) = listen(&deployment, ("bot", "conformance"));
    let escort = Escort::of(Caller::new(&deployment, "conformance"));
    let escorted = format!("http://127.0.0.1:{}/mcp/conformance", escort.port);
    for url in [listening, escorted] {
        let expected = repository().join(format!("e2e/conformance/{version}.yaml"));
        compare(&direct, &suite(&url, version, Some(&expected)));
    }
    assert!(deployment.run(&["log", "replay"]).contains(" agree"));
    assert!(deployment.verify().contains("the log verifies"));
}

fn compare(direct: &Found, governed: &Found) {
    assert!(governed.is_as_expected, "{}", governed.printed);
    assert!(governed.failed.is_disjoint(&direct.failed), "what is refused is refused on purpose");
    assert_eq!(governed.scenarios, direct.scenarios);
    // No check was left out, but those that come after one that failed.
    let scenario = |check: &str| check.split(':').next().unwrap_or_default().to_owned();
    let refused: BTreeSet<_> = governed.failed.iter().map(|check| scenario(check)).collect();
    let left_out = direct.passed.difference(&governed.passed);
    let left_out = left_out.filter(|check| !refused.contains(&scenario(check)));
    let left_out: Vec<_> =
        left_out.filter(|check| !NOT_OFFERED.contains(&check.as_str())).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn the_gateway_conforms_to_2025_11_25() {
    // The server ends no stream in mid-call; the suite itself calls that scenario pending.
    let polling = [
        "server-sse-polling:incoming-sse-event",
        "server-sse-polling:server-sse-priming-event",
        "server-sse-polling:server-sse-retry-field",
    ];
    check("2025-11-25", "session", &polling);
}

#[test]
fn the_gateway_conforms_to_2026_07_28() {
    check("2026-07-28", "stateless", &[]);
}
