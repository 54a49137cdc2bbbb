//! HTTP framing: what could be read in two ways is read in one, and each request stands for itself.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use e2e::{Deployment, Options};

/// What the gateway answers to these bytes: at least `count` answers, or all until it closes the
/// connection, and whatever comes once we have said that nothing follows.
fn answers(deployment: &Deployment, bytes: &str, count: usize) -> String {
    let address = ("127.0.0.1", deployment.port);
    let mut stream = TcpStream::connect(address).expect("it listens");
    let host = format!("127.0.0.1:{}", deployment.port);
    let bytes = bytes.replace("HOST", &host).replace('\n', "\r\n");
    stream.write_all(bytes.as_bytes()).expect("it reads");
    let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
    // A connection that is reset has told what it will tell.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..read]);
        if statuses(&String::from_utf8_lossy(&answer)).len() >= count {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    let heads = answer.split("HTTP/1.1 ").skip(1);
    heads.map(|head| head.get(..3).unwrap_or_default()).collect()
}

/// N-065: whatever the framing, nothing is permitted, and what is hidden behind a body is one more
/// request that has to prove itself.
#[test]
fn n_065_no_framing_smuggles_a_request() {
    let deployment = Deployment::start(&Options::default());
    let check = |head: &str, body: &str, wanted: &[&str]| {
        let request = format!(
            "POST /mcp/crm HTTP/1.1\nHost: HOST\nContent-Type: application/json\n{head}\n\n{body}"
        );
        let answer = answers(&deployment, &request, wanted.len());
        assert_eq!(statuses(&answer), wanted, "{head}: {answer}");
    };
    let hidden = "POST /mcp/crm HTTP/1.1\nHost: HOST\nContent-Type: application/json\n\
                  Content-Length: 2\n\n{}";
    check("Content-Length: 2", "{}", &["400"]);
    check("Content-Length: 2\nContent-Length: 40", hidden, &["400"]);
    check("Content-Length: 2, 40", hidden, &["400"]);
    check("Content-Length: -2", hidden, &["400"]);
    check("Content-Length: +2", "{}", &["400"]);
    check("Transfer-Encoding: xchunked", hidden, &["400"]);
    check("Transfer-Encoding: chunked, identity", hidden, &["400"]);
    check("Transfer-Encoding : chunked", hidden, &["400"]);
    // Chunks win over a length, and nothing that follows is read.
    let chunks = format!("2\n{{}}\n0\n\n{hidden}");
    check("Content-Length: 4\nTransfer-Encoding: chunked", &chunks, &["400"]);
    // Nothing is upgraded: bytes after the head are the body, or the next request.
    let upgrade = "Connection: Upgrade\nUpgrade: websocket\nContent-Length: 0";
    check(upgrade, hidden, &["400", "400"]);
    assert!(deployment.verify().contains("the log verifies"));
}
