//! N-120: a clock that cannot be trusted denies, until it agrees again or somebody says so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use authority::{CLOCK_TRUST_AFTER, ClockGuard, ClockUnsure, NotPermitted};
use model::{Clock, Timestamp};
use serde_json::json;
use testkit::ManualClock;

use crate::support::World;

const SECOND: Duration = Duration::from_secs(1);

/// A guard that has trusted `clock` for a while.
fn guard(clock: &ManualClock) -> ClockGuard {
    let guard = ClockGuard::new(clock, clock.now());
    for _ in 0..60 {
        clock.advance(SECOND);
        assert!(guard.now(clock).is_ok());
    }
    guard
}

/// For how many seconds of the boot clock `guard` does not trust a clock that runs true.
fn unsure_for(guard: &ClockGuard, clock: &ManualClock) -> u64 {
    (0..10_000)
        .find(|_| {
            let sure = guard.now(clock).is_ok();
            clock.advance(SECOND);
            sure
        })
        .expect("it is trusted again")
}

#[test]
fn n_120_a_step_forwards_denies_for_thirty_seconds() {
    let clock = ManualClock::new();
    let guard = guard(&clock);
    clock.step_wall(600_000);
    assert_eq!(unsure_for(&guard, &clock), CLOCK_TRUST_AFTER.as_secs());
}

#[test]
fn n_120_a_step_backwards_denies_until_the_clock_is_where_it_was() {
    let clock = ManualClock::new();
    let guard = guard(&clock);
    clock.step_wall(-600_000);
    let unsure = unsure_for(&guard, &clock);
    // Ten minutes less the two seconds that are no step, and thirty seconds of running true.
    assert!((598..=632).contains(&unsure), "{unsure}");
}

#[test]
fn n_120_small_steps_are_no_reason() {
    let clock = ManualClock::new();
    let guard = guard(&clock);
    clock.step_wall(1_900);
    assert!(guard.now(&clock).is_ok());
    clock.step_wall(-1_900);
    assert!(guard.now(&clock).is_ok());
    clock.step_wall(2_001);
    assert_eq!(guard.now(&clock), Err(ClockUnsure));
}

/// A machine that stands still for longer than a step may be, once, after one of its clocks is read.
struct Pausing {
    machine: ManualClock,
    readings: AtomicUsize,
    pauses_after: usize,
}

impl Pausing {
    fn read<T>(&self, read: impl FnOnce(&ManualClock) -> T) -> T {
        let told = read(&self.machine);
        if self.readings.fetch_add(1, Ordering::SeqCst) == self.pauses_after {
            self.machine.advance(3 * SECOND);
        }
        told
    }
}

impl Clock for Pausing {
    fn now(&self) -> Timestamp {
        self.read(ManualClock::now)
    }

    fn monotonic(&self) -> Duration {
        self.read(ManualClock::monotonic)
    }
}

#[test]
fn n_120_a_machine_that_stands_still_between_two_readings_is_no_reason() {
    const READINGS: usize = 30;
    for pauses_after in 0..READINGS {
        let (machine, readings) = (ManualClock::new(), AtomicUsize::new(0));
        let clock = Pausing { machine, readings, pauses_after };
        let guard = ClockGuard::new(&clock, Timestamp::from_millis(0));
        while clock.readings.load(Ordering::SeqCst) <= READINGS {
            assert!(guard.now(&clock).is_ok(), "it stood still after reading {pauses_after}");
            clock.machine.advance(SECOND);
        }
    }
}

/// A wall clock that runs at another pace than the boot clock: every second it is off by `off_ms`.
fn check_pace(off_ms: i64, unsure_after: usize) {
    let clock = ManualClock::new();
    let guard = guard(&clock);
    let answers: Vec<bool> = (0..300)
        .map(|_| {
            clock.advance(SECOND);
            clock.step_wall(off_ms);
            guard.now(&clock).is_ok()
        })
        .collect();
    let trusted = answers.iter().take_while(|sure| **sure).count();
    assert!(trusted <= unsure_after, "{trusted}");
    assert!(answers.iter().skip(unsure_after).all(|sure| !sure), "it was trusted meanwhile");
    // It runs true again.
    let unsure = unsure_for(&guard, &clock);
    assert!(unsure >= CLOCK_TRUST_AFTER.as_secs() - 1, "{unsure}");
}

#[test]
fn n_120_a_frozen_clock_is_never_trusted() {
    check_pace(-1_000, 2);
}

#[test]
fn n_120_a_clock_that_runs_ten_times_as_fast_is_never_trusted() {
    check_pace(9_000, 0);
}

#[test]
fn n_120_a_clock_that_runs_backwards_is_never_trusted() {
    check_pace(-2_000, 1);
}

#[test]
fn n_120_a_clock_behind_the_last_record_is_not_trusted_at_the_start() {
    let clock = ManualClock::new();
    let last = clock.now().plus(Duration::from_mins(10));
    let guard = ClockGuard::new(&clock, last);
    let unsure = unsure_for(&guard, &clock);
    assert!((598..=632).contains(&unsure), "{unsure}");
}

#[test]
fn n_120_an_administrator_may_say_that_the_clock_is_right() {
    let clock = ManualClock::new();
    let guard = guard(&clock);
    clock.step_wall(-600_000);
    assert_eq!(guard.now(&clock), Err(ClockUnsure));
    guard.trust(&clock);
    assert_eq!(guard.now(&clock), Ok(clock.now()));
    clock.step_wall(600_000);
    assert_eq!(guard.now(&clock), Err(ClockUnsure), "it said so once, not for good");
}

#[tokio::test]
async fn n_120_no_decision_is_made_while_the_clock_is_unsure() {
    let world = World::new().await;
    drop(world.authorize(world.call("lookup", json!({}))).await.unwrap());
    world.clock.step_wall(600_000);
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert!(matches!(answer, Err(NotPermitted::ClockUnsure(_))));
    assert_eq!(world.records("decision").await.len(), 1);
    world.clock.advance(CLOCK_TRUST_AFTER);
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    world.clock.step_wall(-600_000);
    let answer = world.authorize(world.call("lookup", json!({}))).await;
    assert!(matches!(answer, Err(NotPermitted::ClockUnsure(_))));
    world.authority.trust_clock();
    assert!(world.authorize(world.call("lookup", json!({}))).await.is_ok());
    let times = world.records("decision").await;
    let times: Vec<_> = times.iter().map(|it| it.value["time"].as_i64().unwrap()).collect();
    assert_eq!(times.len(), 3);
    assert_eq!(Timestamp::from_millis(times[2]), world.clock.now());
}
