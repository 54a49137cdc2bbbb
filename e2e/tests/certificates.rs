//! Upstreams behind TLS: who cannot show whose they are is not called.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::process::Command;

use e2e::tls::{certificates, front};
use e2e::{Caller, Canary, Deployment, Options, binary, free_port, stage};

/// N-078: a certificate that has expired, is for another name, or that nobody vouches for, in place
/// of the right one: nothing is sent there, and when the right one is back all goes on.
#[test]
fn n_078_an_upstream_that_cannot_show_whose_it_is_is_not_called() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    certificates(dir.path());
    let canary = Canary::start();
    let ports = (free_port(), canary.port);
    let mut good = front(dir.path(), "good", ports);
    let url = format!("{{ url: 'https://localhost:{}/mcp' }}", ports.0);
    let servers = vec![("canary".to_owned(), url)];
    let policy = stage::POLICY.to_owned();
    let mut deployment = Deployment::start(&Options { servers, policy, ..Options::default() });
    deployment.stop();
    let mut command = Command::new(binary());
    command.env("SSL_CERT_FILE", dir.path().join("ca.pem"));
    deployment.serve_under(command);
    deployment.onboard(&["canary"], "changes-production");

    let mut caller = Caller::new(&deployment, "canary");
    let answer = caller.call("touch", "before");
    assert!(answer.is_done(), "{answer:?}");
    for kind in ["expired", "other", "stranger"] {
        good.kill();
        let mut bad = front(dir.path(), kind, ports);
        let answer = caller.call("touch", kind);
        assert_eq!(answer.code(), "upstream_failed", "{kind}: {answer:?}");
        // Nor does an instance that begins anew.
        let answer = Caller::new(&deployment, "canary").call("touch", kind);
        assert_eq!(answer.code(), "upstream_failed", "{kind}: {answer:?}");
        bad.kill();
        good = front(dir.path(), "good", ports);
        let answer = caller.call("touch", &format!("after {kind}"));
        assert!(answer.is_done(), "{kind}: {answer:?}");
    }
    let marks: Vec<_> = canary.effects().into_iter().map(|effect| effect.mark).collect();
    assert_eq!(marks, ["before", "after expired", "after other", "after stranger"]);
    assert!(deployment.verify().contains("the log verifies"));
}
