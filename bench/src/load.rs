//! The closed loop: so many callers, each with a connection of its own and one call under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::LocalSet;

use crate::http::{Answer, Connection};
use crate::machine;
use crate::upstream::RESULT;

/// Whole requests, made before anything is timed: call `n` has the JSON-RPC id `n`.
pub(crate) type Requests = Arc<Vec<Vec<u8>>>;

/// Sends every request to `port` from `callers` connections, and checks every answer. How long it
/// took.
///
/// A refusal, an error or a wrong answer is an error: what was measured then counts for nothing.
pub(crate) fn run(port: u16, callers: usize, requests: &Requests) -> anyhow::Result<Duration> {
    on_load_core(closed_loop(port, callers, requests, &Arc::default()))
}

/// Runs `work`, which may spawn tasks of this thread, on the core of whoever asks.
pub(crate) fn on_load_core<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    machine::pin(machine::load_core())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(work))
}

/// The closed loop itself, from the request `next` on. It runs within a `LocalSet`.
pub(crate) async fn closed_loop(
    port: u16,
    callers: usize,
    requests: &Requests,
    next: &Arc<AtomicUsize>,
) -> anyhow::Result<Duration> {
    let mut connections = Vec::with_capacity(callers);
    for _ in 0..callers {
        connections.push(Connection::open(port).await?);
    }
    let started = Instant::now();
    let callers: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            tokio::task::spawn_local(caller(connection, next.clone(), requests.clone()))
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(started.elapsed())
}

async fn caller(
    mut connection: Connection,
    next: Arc<AtomicUsize>,
    requests: Requests,
) -> anyhow::Result<()> {
    loop {
        let id = next.fetch_add(1, Ordering::Relaxed);
        if id >= requests.len() {
            return Ok(());
        }
        call(&mut connection, id, &requests).await?;
    }
}

/// Sends request `id` and checks the answer.
pub(crate) async fn call(
    connection: &mut Connection,
    id: usize,
    requests: &Requests,
) -> anyhow::Result<()> {
    let answer = connection.ask(&requests[id]).await?;
    check(connection, &answer, id)
}

/// Checks the answer to request `id`.
pub(crate) fn check(connection: &Connection, answer: &Answer, id: usize) -> anyhow::Result<()> {
    let body = connection.body(answer);
    let right = answer.status == 200 && is_right(body, id);
    ensure!(right, "call {id} was answered {}: {}", answer.status, String::from_utf8_lossy(body));
    Ok(())
}

/// Whether `body` is the result, under the id that was asked with.
pub(crate) fn is_right(body: &[u8], id: usize) -> bool {
    body == format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{RESULT}}}").as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    fn call(id: usize, method: &str) -> Vec<u8> {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\"}}");
        format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn every_answer_is_checked() {
        let upstream = Upstream::start().expect("a port is free");
        let right: Vec<_> = (0..200).map(|id| call(id, "tools/call")).collect();
        run(upstream.port, 4, &Arc::new(right.clone())).expect("every answer is right");
        assert_eq!(upstream.calls(), 200);

        let mut other = right.clone();
        other[77] = call(77, "tools/list");
        let error = run(upstream.port, 4, &Arc::new(other)).expect_err("another answer");
        assert!(error.to_string().starts_with("call 77 was answered 200"), "{error}");

        let mut swapped = right;
        swapped.swap(8, 9);
        run(upstream.port, 4, &Arc::new(swapped)).expect_err("another's answer");
    }
}
