//! The clock of the service is moved under it: what deadlines mean is not known until it ran true.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::breaking;
use e2e::{Caller, Stage};

/// After a step the clock must run true for this long.
const TRUST_AFTER: Duration = Duration::from_secs(30);

/// A service whose wall clock runs as a file says.
struct Moved {
    stage: Stage,
    file: PathBuf,
}

impl Moved {
    fn set() -> Self {
        let mut stage = Stage::set();
        stage.deployment.stop();
        let file = stage.deployment.path("clock");
        std::fs::write(&file, "+0").expect("it can be written");
        stage.deployment.serve_under(breaking::by_clock(&file));
        stage.works();
        Self { stage, file }
    }

    /// Moves the clock, and that of the caller with it, as on one machine; gives when it began to.
    fn to(&mut self, spec: &str, ahead: i64) -> Instant {
        let moved = Instant::now();
        let new = self.file.with_extension("new");
        let mut file = std::fs::File::create(&new).expect("it can be written");
        file.write_all(spec.as_bytes()).expect("it can be written");
        std::fs::rename(&new, &self.file).expect("it can be replaced");
        self.stage.caller.ahead = ahead;
        moved
    }

    /// Denied, and told, until the clock ran true for long enough; gives how long that took from `since` on.
    fn denies_until_trusted(&mut self, since: Instant) -> Duration {
        let ready = self.stage.told("chancery_clock_unsure 1");
        assert!(ready.contains("503") && ready.contains("clock"), "{ready}");
        while since.elapsed() < TRUST_AFTER * 3 {
            let (mark, answer) = self.stage.touch();
            assert_eq!(self.stage.reached(&mark), usize::from(answer.is_done()), "{answer:?}");
            if answer.is_done() {
                return since.elapsed();
            }
            std::thread::park_timeout(Duration::from_millis(500));
        }
        panic!("the clock was not trusted again");
    }
}

/// N-120: each waits until the clock ran true for half a minute, so all do at once.
#[test]
fn n_120_a_clock_that_does_not_run_true_denies_until_it_did() {
    std::thread::scope(|scope| {
        for moves in [small_step, ten_minutes_ahead, ten_minutes_back, too_fast] {
            scope.spawn(moves);
        }
    });
}

/// Ahead by less than tokens and proofs forgive, so that the decision itself sees it.
fn small_step() {
    let mut moved = Moved::set();
    let since = moved.to("+20", 20);
    moved.stage.is_refused("unavailable");
    let took = moved.denies_until_trusted(since);
    assert!(took >= TRUST_AFTER, "trusted after {took:?}");
    moved.stage.told("chancery_clock_unsure 0");
    moved.stage.ends_well();
}

/// Ten minutes ahead.
fn ten_minutes_ahead() {
    let mut moved = Moved::set();
    let since = moved.to("+600", 0);
    // A caller whose clock is right: its proofs are as good as ever, and nothing is decided.
    moved.stage.is_refused("unavailable");
    // One whose clock went along, as on one machine: its proofs are not even of this time.
    let mut caller = Caller::new(&moved.stage.deployment, "canary");
    caller.ahead = 600;
    let answer = caller.call("touch", "ahead");
    assert!(!answer.is_done(), "{answer:?}");
    assert_eq!(moved.stage.reached("ahead"), 0);
    moved.stage.caller = caller;
    let took = moved.denies_until_trusted(since);
    assert!(took > TRUST_AFTER / 2, "trusted after {took:?}");
    moved.stage.ends_well();
}

/// Ten minutes back, before the last record: never trusted, however long it runs; only
/// when it is right again, and ran true.
fn ten_minutes_back() {
    let mut moved = Moved::set();
    moved.to("-600", 0);
    moved.stage.is_refused("unavailable");
    moved.stage.told("chancery_clock_unsure 1");
    let since = moved.to("+0", 0);
    moved.denies_until_trusted(since);
    moved.stage.ends_well();
}

/// A clock that runs ten times too fast is never trusted.
fn too_fast() {
    let mut moved = Moved::set();
    moved.to("+0 x10", 0);
    moved.stage.is_refused_soon("unavailable");
    let ready = moved.stage.told("chancery_clock_unsure 1");
    assert!(ready.contains("503"), "{ready}");
    let since = moved.to("+0 x1.0", 0);
    moved.denies_until_trusted(since);
    moved.stage.ends_well();
}
