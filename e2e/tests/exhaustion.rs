//! Floods, slow clients, and a machine that has nothing left: overload is refused, never queued
//! without bound, and nothing is permitted that is not recorded.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::breaking::{self, Cgroup};
use e2e::{Answer, Caller, Deployment, Mode, Silent, Stage, stage, wait_until};

/// How long a head, a body and a write may take here: longer than a busy machine stands still for now and then.
const WITHIN: Duration = Duration::from_secs(4);

/// How many connections there may be here.
const CONNECTIONS: usize = 24;

fn limited(within: Duration) -> Stage {
    Stage::set_with(within, &format!("limits: {{ connections: {CONNECTIONS} }}\n"))
}

fn connect(deployment: &Deployment) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", deployment.port)).expect("it listens");
    stream.set_read_timeout(Some(4 * WITHIN)).expect("it is a duration");
    stream
}

/// What comes until the connection ends.
fn rest(stream: &mut TcpStream) -> String {
    let (mut heard, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => heard.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it never ended"),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// The head of a request that is the last on its connection.
fn head(deployment: &Deployment, more: &str) -> String {
    let port = deployment.port;
    format!(
        "POST /mcp/canary HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
         content-type: application/json\r\n{more}\r\n"
    )
}

/// What such a request is answered.
fn answer(deployment: &Deployment, more: &str, body: &str) -> String {
    let mut stream = connect(deployment);
    let _ = stream.write_all((head(deployment, more) + body).as_bytes());
    rest(&mut stream)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// The resident memory of a process, in MB.
fn resident_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_024
}

#[test]
fn n_110_heads_have_limits() {
    let stage = limited(stage::REQUEST);
    let deployment = &stage.deployment;
    // Host, Connection, Content-Type, Content-Length: four, and those that are added.
    let headers = |count: usize| -> String {
        let more = (4..count).map(|n| format!("x-{n}: 1\r\n"));
        more.collect::<String>() + "content-length: 2\r\n"
    };
    assert_eq!(status(&answer(deployment, &headers(64), "{}")), "400");
    assert_eq!(status(&answer(deployment, &headers(65), "{}")), "431");
    // A head of so many bytes, with its empty line.
    let long = |bytes: usize| {
        let others = head(deployment, "x: \r\ncontent-length: 2\r\n").len();
        format!("x: {}\r\ncontent-length: 2\r\n", "y".repeat(bytes - others))
    };
    assert_eq!(status(&answer(deployment, &long(64 * 1024), "{}")), "400");
    assert_eq!(status(&answer(deployment, &long(64 * 1024 + 1), "{}")), "431");
    stage.ends_well();
}

#[test]
fn n_111_connections_have_a_limit_and_the_next_is_refused_at_once() {
    let mut stage = limited(stage::REQUEST);
    let deployment = &stage.deployment;
    let port = deployment.port;
    let request =
        |more: &str| format!("GET /oauth/jwks HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{more}\r\n");
    let mut open: Vec<_> = (1..CONNECTIONS).map(|_| connect(deployment)).collect();
    // One of before that has ended may have its place a moment longer.
    let last = wait_until("the last place can be had", || {
        let (mut stream, mut begins) = (connect(deployment), *b"HTTP/1.1 200");
        stream.write_all(request("").as_bytes()).ok()?;
        stream.read_exact(&mut begins).ok()?;
        (begins == *b"HTTP/1.1 200").then_some(stream)
    });
    let started = Instant::now();
    assert_eq!(rest(&mut connect(deployment)), "", "one too many");
    assert!(started.elapsed() < WITHIN, "it had to wait");
    // Those that there are go on.
    let first = open.first_mut().expect("there are some");
    first.write_all(request("connection: close\r\n").as_bytes()).expect("it reads");
    assert_eq!(status(&rest(first)), "200");
    drop(last);
    drop(open);
    stage.recovers();
    let refused = |record: &serde_json::Value| record["cause"] == "connections";
    wait_until("it is recorded", || stage.deployment.records().iter().any(refused).then_some(()));
    stage.ends_well();
}

#[test]
fn n_111_who_is_slow_is_given_up() {
    let mut stage = limited(WITHIN);
    let port = stage.deployment.port;
    let host = format!("POST /mcp/canary HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n");
    let check = |sent: &str, wanted: &str| {
        let mut stream = connect(&stage.deployment);
        stream.write_all(sent.as_bytes()).expect("it reads");
        let started = Instant::now();
        assert_eq!(status(&rest(&mut stream)), wanted, "{sent}");
        assert!(started.elapsed() < 2 * WITHIN, "it was not given up in time: {sent}");
    };
    check("", "none");
    check("POST /mcp/canary HTTP/1.1\r\n", "none");
    check("POST /mcp/canary HTTP/1.1\r\nhost:", "none");
    let json = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
    check(&format!("{host}{json}content-length: 10\r\nconnection: close\r\n\r\n{{"), "408");
    stage.works();
    stage.ends_well();
}

/// A client that asks and asks and takes no answer is cut off, and its place is free again.
#[test]
fn n_111_who_takes_no_answer_is_cut_off() {
    let mut stage = limited(WITHIN);
    let port = stage.deployment.port;
    let request = format!("GET /oauth/jwks HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    let many = request.repeat(1_000);
    let mut greedy = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = connect(&stage.deployment);
        stream.set_write_timeout(Some(WITHIN / 8)).expect("it is a duration");
        // Until neither side takes any more.
        while stream.write_all(many.as_bytes()).is_ok() {}
        greedy.push(stream);
    }
    let started = Instant::now();
    stage.recovers();
    assert!(started.elapsed() < 4 * WITHIN, "they kept their places");
    drop(greedy);
    stage.ends_well();
}

/// A deployment before `silent`, of whose calls one instance may have ten thousand under way.
fn before(silent: &Silent) -> Deployment {
    let limits = "limits: { requests_per_agent: 40000 }\n";
    let patient = (Duration::from_mins(5), Duration::from_mins(5));
    let deployment = Deployment::start(&stage::options_within(silent.port, patient, limits));
    deployment.onboard(&["canary"], "reads-data");
    deployment
}

/// Answers that a client asks for and does not take: it loses the oldest, and nobody else any.
#[test]
fn n_111_answers_that_nobody_takes_take_no_more_than_their_room() {
    const GREEDY: usize = 16;
    let silent = Silent::start();
    let deployment = before(&silent);
    let mut caller = Caller::new(&deployment, "canary");
    let mut quick = Caller::new(&deployment, "canary");
    assert_eq!(quick.call("touch", Silent::MUCH).code(), "done");
    let pid = deployment.process.as_ref().expect("it runs").id();
    let before = resident_mb(pid);
    let mut greedy: Vec<_> = (0..GREEDY).map(|_| connect(&deployment)).collect();
    for stream in &mut greedy {
        caller.begin(stream, ("touch", Silent::MUCH));
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).expect("it begins to be answered");
        assert_eq!(begun, *b"HTTP/1.1 200");
    }
    let grown = resident_mb(pid).saturating_sub(before);
    let of_all = (GREEDY * Silent::MUCH_BYTES) as u64 >> 20;
    assert!(grown < of_all, "{grown} MB for {GREEDY} answers");
    // Nobody has asked for what was lost.
    let refused = |record: &serde_json::Value| record["cause"] == "answers";
    wait_until("it is recorded", || deployment.records().iter().any(refused).then_some(()));
    assert_eq!(quick.call("touch", Silent::MUCH).code(), "done");
    let whole = |stream: &mut TcpStream| rest(stream).len() > Silent::MUCH_BYTES;
    // One subject has room for four, and the others made it.
    let taken: Vec<_> = greedy.iter_mut().map(whole).collect();
    assert_eq!(taken, [[false; GREEDY - 4].as_slice(), &[true; 4]].concat());
}

/// `stream`, once it begins to be answered by events. None if the call was not done, as it happens where
/// others keep the machine busy.
fn begun(mut stream: TcpStream) -> Option<TcpStream> {
    let mut begun = [0; 1_024];
    let read = stream.read(&mut begun).expect("it begins to be answered");
    let begun = String::from_utf8_lossy(&begun[..read]);
    assert_eq!(status(&begun), "200", "{begun}");
    begun.contains("text/event-stream").then_some(stream)
}

/// Calls under way that are answered by streams which say nothing any more.
#[test]
fn n_111_eight_thousand_idle_streams_cost_little_and_nobody_waits() {
    const STREAMS: usize = 8_000;
    /// Fewer than one instance may have waiting for their turn.
    const AT_ONCE: usize = 100;
    /// Fewer than a busy machine begins while one token counts.
    const OF_ONE_TOKEN: usize = 1_000;
    let silent = Silent::start();
    let deployment = before(&silent);
    let mut caller = Caller::new(&deployment, "canary");
    let mut quick = Caller::new(&deployment, "canary");
    assert_eq!(quick.call("touch", Silent::QUICK).code(), "done");
    let pid = deployment.process.as_ref().expect("it runs").id();
    let before = resident_mb(pid);
    let mut idle = Vec::with_capacity(STREAMS);
    let mut tried = 0;
    while idle.len() < STREAMS {
        tried += AT_ONCE;
        assert!(tried < 2 * STREAMS, "of {tried} calls {} began", idle.len());
        if tried.is_multiple_of(OF_ONE_TOKEN) {
            caller.obtain().expect("another token");
        }
        let mut some: Vec<_> = (0..AT_ONCE).map(|_| connect(&deployment)).collect();
        for stream in &mut some {
            caller.begin(stream, ("touch", "silent"));
        }
        idle.extend(some.into_iter().filter_map(begun));
    }
    let grown = resident_mb(pid).saturating_sub(before);
    assert!(grown < STREAMS as u64 * 80 / 1_024, "{grown} MB for {STREAMS} streams");
    let answer = quick.call("touch", Silent::QUICK);
    assert!(answer.is_done() && answer.took < 2 * stage::DECISION, "{answer:?}");
    // Not one of them has ended.
    for stream in &mut idle {
        stream.set_nonblocking(true).expect("it is a socket");
        let (mut buffer, mut said) = ([0; 4_096], Vec::new());
        while let Ok(read) = stream.read(&mut buffer) {
            said.extend_from_slice(&buffer[..read]);
            assert_ne!(read, 0, "a stream has ended: {}", String::from_utf8_lossy(&said));
        }
    }
}

/// Whoever sends slowly, from an address that tells nobody from another, takes from nobody: neither a
/// token nor a call is refused while as many stand as would fill the room.
#[test]
fn n_111_slow_bodies_lock_nobody_out() {
    /// The bytes that are left out of each: more than one after another are sent while it is waited for.
    const LEFT: usize = 2 << 10;
    // None is given up for being slow while the others are sent.
    let mut stage = Stage::set_with(Duration::from_mins(5), "");
    let port = stage.deployment.port;
    let slow = |path: &str, count: usize, bytes: usize| -> Vec<TcpStream> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ntransfer-encoding: chunked\r\n\
             content-type: application/json\r\n\r\n{:x}\r\n",
            bytes + LEFT
        );
        let sent = [head.as_bytes(), &vec![b' '; bytes]].concat();
        let begin = |_| {
            let mut stream = connect(&stage.deployment);
            stream.write_all(&sent).expect("it reads");
            stream
        };
        (0..count).map(begin).collect()
    };
    // Some send nothing yet, others nearly all that they may.
    let forms: [Vec<_>; 2] =
        [slow("/oauth/token", 300, 0), slow("/oauth/token", 1_300, (16 << 10) - LEFT)];
    let bodies = [slow("/mcp/canary", 100, 0), slow("/mcp/canary", 70, (1 << 20) - LEFT)];
    let mut caller = Caller::new(&stage.deployment, "canary");
    let deadline = 2 * stage::DECISION;
    for _ in 0..4 {
        caller.obtain().expect("a token, and its renewal");
        let answer = caller.call("touch", "beside slow ones");
        assert!(answer.is_done() && answer.took < deadline, "{answer:?}");
    }
    stage.works();
    assert_eq!(stage.reached("beside slow ones"), 4);
    // The oldest make room as soon as all have begun to be read, and hear of it at their next byte.
    let [_, mut forms] = forms;
    let answered = |stream: &mut TcpStream| {
        let mut begins = [0; 12];
        stream.set_nonblocking(true).expect("it is a socket");
        let read = stream.read_exact(&mut begins).is_ok();
        stream.set_nonblocking(false).expect("it is a socket");
        if !read {
            stream.write_all(b" ").expect("it reads");
        }
        read.then_some(begins)
    };
    let oldest = &mut forms[..8];
    let begins = wait_until("one is answered", || oldest.iter_mut().find_map(answered));
    assert_eq!(begins, *b"HTTP/1.1 503");
    drop((forms, bodies));
    let refused = |record: &serde_json::Value| record["cause"] == "bodies";
    wait_until("it is recorded", || stage.deployment.records().iter().any(refused).then_some(()));
    stage.ends_well();
}

/// A flood of strangers, at the token endpoint and with no token, takes nothing from an agent.
#[test]
fn n_116_a_flood_of_strangers_leaves_an_agent_served() {
    let mut stage = Stage::set();
    let deployment = &stage.deployment;
    let port = deployment.port;
    let stopped = AtomicBool::new(false);
    let request = |path: &str, kind: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: {kind}\r\n\
             accept: application/json, text/event-stream\r\ncontent-length: 2\r\n\r\n{{}}"
        )
        .repeat(8)
    };
    let mut caller = Caller::new(deployment, "canary");
    caller.obtain().expect("a token");
    let (answers, renewed) = std::thread::scope(|scope| {
        for (path, kind) in [
            ("/oauth/token", "application/x-www-form-urlencoded"),
            ("/mcp/canary", "application/json"),
        ] {
            let (stopped, many) = (&stopped, request(path, kind));
            scope.spawn(move || {
                let mut streams: Vec<_> = (0..32).map(|_| connect(deployment)).collect();
                let mut buffer = vec![0; 64 * 1024];
                while !stopped.load(Ordering::SeqCst) {
                    let sent = |stream: &mut TcpStream| stream.write_all(many.as_bytes()).is_ok();
                    streams.retain_mut(sent);
                    streams.retain_mut(|stream| matches!(stream.read(&mut buffer), Ok(1..)));
                    streams.resize_with(32, || connect(deployment));
                }
            });
        }
        let answers = [(); 20].map(|()| caller.call("touch", "beside a flood"));
        // Who renews waits among those who ask for tokens, and is not shut out.
        let renewed = (0..20).any(|_| caller.obtain().is_ok());
        stopped.store(true, Ordering::SeqCst);
        (answers, renewed)
    });
    for answer in answers {
        assert!(answer.is_done() && answer.took < 2 * stage::DECISION, "{answer:?}");
    }
    assert!(renewed, "no token could be had");
    assert!(caller.call("touch", "after a flood").is_done());
    assert_eq!(stage.reached("beside a flood"), 20);
    stage.works();
    stage.ends_well();
}

/// One HTTP/2 frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends `frames` as a new HTTP/2 connection; the status of what it is answered.
fn flood(deployment: &Deployment, frames: impl Iterator<Item = Vec<u8>>) -> String {
    let mut stream = connect(deployment);
    stream.set_write_timeout(Some(4 * WITHIN)).expect("it is a duration");
    let mut reading = stream.try_clone().expect("it can be shared");
    let heard = std::thread::spawn(move || {
        let (mut heard, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while let Ok(read @ 1..) = reading.read(&mut buffer) {
            heard.extend_from_slice(&buffer[..read]);
        }
        heard
    });
    let begun = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    let mut sent = stream.write_all(&begun);
    for frame in frames {
        sent = sent.and_then(|()| stream.write_all(&frame));
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let heard = heard.join().expect("it reads to the end");
    status(&String::from_utf8_lossy(&heard)).to_owned()
}

/// HTTP/2 is not spoken: whatever comes in frames is one request that cannot be read.
#[test]
fn n_112_no_flood_of_frames_holds_anybody_up() {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let mut stage = limited(WITHIN);
    let before = resident_mb(stage.pid());
    // `:method: GET`, `:scheme: http`, `:path: /` (RFC 7541, appendix A).
    let get = [0x82, 0x86, 0x84];
    let deployment = &stage.deployment;
    let reset = (0..20_000_u32).map(|n| {
        let id = 2 * n + 1;
        [frame(1, 5, id, &get), frame(3, 0, id, &CANCEL)].concat()
    });
    assert_ne!(flood(deployment, reset), "200", "rapid reset");
    let opened = std::iter::once(frame(1, 1, 1, &get));
    let continued =
        opened.chain((0..20_000).map(|_| frame(9, 0, 1, &[0x00, 0x01, b'a', 0x01, b'b'])));
    assert_ne!(flood(deployment, continued), "200", "headers without an end");
    let opened = std::iter::once(frame(1, 4, 1, &[0x83, 0x86, 0x84]));
    let empty = opened.chain((0..200_000).map(|_| frame(0, 0, 1, &[])));
    let _ = flood(deployment, empty);
    let pings = (0..200_000).map(|_| frame(6, 0, 0, &[0; 8]));
    let _ = flood(deployment, pings);
    stage.works();
    let grown = resident_mb(stage.pid()).saturating_sub(before);
    assert!(grown < 64, "it grew by {grown} MB");
    stage.ends_well();
}

/// Without descriptors nothing new is accepted and nothing is permitted unrecorded; with them again
/// it goes on by itself.
#[test]
fn n_117_without_descriptors_nothing_is_permitted_unrecorded() {
    let mut stage = Stage::set();
    let pid = stage.pid();
    // A connection of before; that it is accepted is seen by an answer on it.
    let mut stream = connect(&stage.deployment);
    let port = stage.deployment.port;
    let request = format!("GET /oauth/jwks HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    assert_ne!(stream.read(&mut [0; 16 * 1024]).expect("it is answered"), 0);
    // Fewer than there are: there is none for a server, a file or a connection.
    breaking::limit(pid, "--nofile=8:20000");
    let mark = stage.mark();
    stage.caller.begin(&mut stream, ("touch", &mark));
    let answer = Answer::of(stream);
    assert!(["upstream_failed", "unavailable"].contains(&answer.code().as_str()), "{answer:?}");
    assert_eq!(stage.reached(&mark), 0, "it was refused, and it happened");
    breaking::limit(pid, "--nofile=20000:20000");
    stage.ends_well();
}

/// Killed for its memory in the middle of a call, it is back within twice the five seconds that it has,
/// the call is unknown, and everything that was acknowledged is in the log.
#[test]
fn n_118_killed_for_its_memory_it_is_back_at_once() {
    let patient = (stage::REQUEST, Duration::from_mins(1));
    let mut stage = Stage::set_by(|port| stage::options_within(port, patient, ""));
    let mut caller = Caller::new(&stage.deployment, "canary");
    stage.relay.set(Mode::HoldAnswer);
    let under_way = std::thread::spawn(move || caller.call("touch", "under way"));
    wait_until("a call is under way", || (stage.relay.held() == 1).then_some(()));
    let cgroup = Cgroup::with_memory(8 << 20);
    cgroup.take(stage.pid());
    // Bodies that never end: as much memory as the limits let strangers have.
    let head = format!(
        "POST /mcp/canary HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n\
         content-length: 1048576\r\n\r\n",
        stage.deployment.port
    );
    let body = vec![b' '; (1 << 20) - 1];
    let mut streams = Vec::new();
    let mut process = stage.deployment.process.take().expect("it runs");
    let status = wait_until("the kernel kills it", || {
        for _ in 0..16 {
            let mut stream = TcpStream::connect(("127.0.0.1", stage.deployment.port)).ok();
            let sent = stream.as_mut().map(|stream| {
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body))
            });
            streams.extend(sent.and(stream));
        }
        process.ended()
    });
    assert!(!status.success(), "{status}");
    drop(streams);
    let started = Instant::now();
    stage.deployment.serve();
    assert!(started.elapsed() < 2 * Duration::from_secs(5), "it took {:?}", started.elapsed());
    let answer = under_way.join().expect("it ends");
    assert_eq!(answer.code(), "nothing", "{answer:?}");
    stage.relay.set(Mode::Pass);
    let effects = stage.canary.effects();
    let effect = effects.iter().find(|effect| effect.mark == "under way").expect("it happened");
    assert_eq!(stage.outcome(effect.decision.as_deref().expect("permitted")), "unknown");
    stage.ends_well();
}
