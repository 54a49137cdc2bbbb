//! The open loop: calls at a fixed rate, whoever is slow, each timed from when it was due.
//!
//! A late answer delays no later call, so that what is slow is seen in full (no coordinated
//! omission).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use crate::http::Connection;
use crate::load::{self, Requests};

/// Sends `requests` to `port`, `per_second` of them a second, and checks every answer. How long
/// each took from when it was due, in milliseconds, in order of duration.
///
/// It runs within a `LocalSet`. A wrong answer is an error: what was measured then counts for
/// nothing.
pub(crate) async fn run(
    port: u16,
    per_second: u32,
    requests: &Requests,
) -> anyhow::Result<Vec<f64>> {
    let mut taken = in_order(port, per_second, requests).await?;
    taken.sort_unstable_by(f64::total_cmp);
    Ok(taken)
}

/// The same, in the order in which they were due.
pub(crate) async fn in_order(
    port: u16,
    per_second: u32,
    requests: &Requests,
) -> anyhow::Result<Vec<f64>> {
    let idle: Rc<RefCell<Vec<Connection>>> = Rc::default();
    let (began, mut calls) = (Instant::now(), Vec::with_capacity(requests.len()));
    for id in 0..requests.len() {
        let due = began + Duration::from_secs(1) * u32::try_from(id)? / per_second;
        tokio::time::sleep_until(due).await;
        let (idle, requests) = (idle.clone(), requests.clone());
        calls.push(tokio::task::spawn_local(async move {
            let free = idle.borrow_mut().pop();
            let mut connection = match free {
                Some(connection) => connection,
                None => Connection::open(port).await?,
            };
            load::call(&mut connection, id, &requests).await?;
            let took = due.elapsed().as_secs_f64() * 1e3;
            idle.borrow_mut().push(connection);
            anyhow::Ok(took)
        }));
    }
    let mut taken = Vec::with_capacity(calls.len());
    for call in calls {
        taken.push(call.await??);
    }
    ensure!(!taken.is_empty(), "nothing was called");
    Ok(taken)
}

/// The value that `percent` of 100 of `sorted` do not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        let check = |percent, wanted: f64| {
            assert_eq!(percentile(&sorted, percent).to_bits(), wanted.to_bits(), "{percent}");
        };
        check(50, 100.0);
        check(99, 198.0);
        check(100, 200.0);
        assert_eq!(percentile(&[7.0], 99).to_bits(), 7.0_f64.to_bits());
    }
}
