//! The crash sweep: the real binary is killed at a system call, at each of hundreds of places, while
//! calls are made; then it starts again and everything that was acknowledged is there.
//!
//! N-122. strace counts system calls for each thread and kills at the n-th of one. A run that
//! counts comes first; a point that did not fire fails the sweep. `CHANCERY_SWEEP_POINTS` asks for
//! more points than are tried by default.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::canary::Effect;
use e2e::stage::{REQUEST, assert_permitted, options, permits};
use e2e::{Answer, Caller, Canary, Child, Deployment, wait_until};
use serde_json::Value;

/// The system calls at which it is killed: what makes things durable, and what the world sees.
const CALLS: [&str; 7] =
    ["pwrite64", "fdatasync", "fsync", "rename", "ftruncate", "write", "writev"];

/// How many points are tried at least.
const POINTS: usize = 300;

/// How many deployments are swept at once.
const WORKERS: usize = 4;

/// How long a point may take to fire.
const FIRES_WITHIN: Duration = Duration::from_mins(2);

/// How many calls the counting run makes.
const COUNTED_CALLS: usize = 18;

/// One place at which the process is killed: the `number`-th `call` of a thread.
#[derive(Clone, Copy, Debug)]
struct Point {
    call: &'static str,
    number: usize,
}

#[test]
fn n_122_killed_at_every_system_call_it_loses_nothing_acknowledged() {
    let started = Instant::now();
    let canary = Canary::start();
    let mut model = Deployment::start(&options(canary.port, REQUEST, ""));
    model.onboard(&["canary"], "changes-production");
    model.stop();
    let points = points(&count(&model, &canary));
    assert!(points.len() >= POINTS, "only {} points", points.len());
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let tried = std::panic::catch_unwind(|| Trial::of(&model, &canary).at(*point));
                    if tried.is_err() {
                        wrong.lock().expect("no panic while it is held").push(*point);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic while it was held");
    let (count, took) = (points.len(), started.elapsed().as_secs());
    println!("{count} points in {took} s, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Counts, for each system call, how often one thread makes it while calls are made.
fn count(model: &Deployment, canary: &Canary) -> BTreeMap<&'static str, usize> {
    let mut trial = Trial::of(model, canary);
    let trace = trial.deployment.path("trace");
    let calls = format!("trace={}", CALLS.join(","));
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-o", trace.to_str().unwrap(), "-e", &calls]);
    trial.deployment.serve_under(with_binary(strace));
    let mut caller = Caller::new(&trial.deployment, "canary");
    for number in 0..COUNTED_CALLS {
        let answer = caller.call("touch", &format!("counted-{number}"));
        assert!(answer.is_done(), "{answer:?}");
    }
    // Killed, not stopped: what it does when it is told to stop is not done while calls are made.
    let mut process = trial.deployment.process.take().expect("it runs");
    process.kill();
    let text = wait_until("strace wrote to the end", || {
        let text = std::fs::read_to_string(&trace).ok()?;
        let pid = process.id().to_string();
        let is_end = |line: &str| line.starts_with(&pid) && line.contains("+++ killed");
        text.lines().any(is_end).then_some(text)
    });
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let call = rest.trim_start().split('(').next().unwrap_or_default();
        *by_thread.entry((call, thread)).or_default() += 1;
    }
    let most = |call: &'static str| {
        let counts = by_thread.iter().filter(|((made, _), _)| *made == call);
        (call, counts.map(|(_, count)| *count).max().unwrap_or(0))
    };
    CALLS.into_iter().map(most).collect()
}

/// The points to try: each call has its share of those wanted, evenly over its numbers; what one
/// does not need goes to the others.
fn points(counts: &BTreeMap<&'static str, usize>) -> Vec<Point> {
    println!("calls of one thread: {counts:?}");
    let wanted = std::env::var("CHANCERY_SWEEP_POINTS").ok().and_then(|text| text.parse().ok());
    let wanted: usize = wanted.unwrap_or(POINTS).min(counts.values().sum());
    let mut shares: BTreeMap<&'static str, usize> = BTreeMap::new();
    while shares.values().sum::<usize>() < wanted {
        for (call, count) in counts {
            let share = shares.entry(call).or_default();
            *share = (*share + 1).min(*count);
        }
    }
    let spread = |(call, share): (&'static str, usize)| {
        (0..share).map(move |place| Point { call, number: 1 + place * counts[call] / share })
    };
    shares.into_iter().flat_map(spread).collect()
}

fn with_binary(mut strace: Command) -> Command {
    strace.arg(e2e::binary()).stderr(Stdio::null());
    strace
}

/// One deployment that is killed once.
struct Trial<'a> {
    deployment: Deployment,
    canary: &'a Canary,
}

impl<'a> Trial<'a> {
    /// A copy of `model` at ports of its own.
    fn of(model: &Deployment, canary: &'a Canary) -> Self {
        Self { deployment: model.copy(), canary }
    }

    /// Kills it at `point` while calls are made, and looks at what is left.
    fn at(mut self, point: Point) {
        let inject = format!("inject={}:signal=KILL:when={}", point.call, point.number);
        let trace = format!("trace={}", point.call);
        let mut strace = Command::new("strace");
        strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
        let mut command = with_binary(strace);
        command.args(["serve", "--config"]).arg(self.deployment.path("home/chancery.yaml"));
        let mut process = Child::start(command.stdout(Stdio::null()));
        let answers = self.drive(&mut process, point);
        self.deployment.serve();
        self.is_whole(&answers, point);
    }

    /// Makes calls until the process is killed; gives what was answered.
    fn drive(&self, process: &mut Child, point: Point) -> Vec<Answer> {
        let started = Instant::now();
        let mut caller = Caller::new(&self.deployment, "canary");
        let mut answers = Vec::new();
        let mut number = 0;
        while process.ended().is_none() {
            let late = started.elapsed() > FIRES_WITHIN;
            assert!(!late, "{point:?} did not fire in {} calls", answers.len());
            if !self.deployment.is_listening() {
                std::thread::park_timeout(Duration::from_millis(5));
                continue;
            }
            number += 1;
            // Every third is denied: its answer names its decision.
            let what = if number % 3 == 0 { "forbidden" } else { "mark" };
            let mark = format!("{what}-{number}-{}", self.deployment.port);
            answers.push(caller.call("touch", &mark));
        }
        answers
    }

    /// Everything acknowledged is recorded, nothing happened without a permit, nothing is open, the
    /// database is sound, and the log verifies.
    fn is_whole(&mut self, answers: &[Answer], point: Point) {
        let records = self.deployment.records();
        let known = |id: &str| records.iter().any(|record| record["id"] == id);
        let permitted = permits(&records);
        let effects = self.effects();
        let done = answers.iter().filter(|answer| answer.is_done()).count();
        assert!(done <= effects.len(), "{point:?}: {done} were said to be done, not {effects:?}");
        assert_permitted(&effects, &permitted);
        let denied = answers.iter().filter_map(|answer| answer.told("decision_id").as_str());
        for id in denied {
            assert!(known(id), "{point:?}: the acknowledged decision {id} is not recorded");
        }
        let closed = |id: &String| {
            let closes = |record: &Value| record["kind"] == "outcome" && record["decision"] == **id;
            records.iter().any(closes)
        };
        assert!(permitted.iter().all(closed), "{point:?}: a permit has no outcome");
        self.deployment.stop();
        sound(&self.deployment.path("home/state/chancery.db"), records.len());
        let said = self.deployment.verify();
        assert!(said.contains("the log verifies"), "{point:?}: {said}");
    }

    /// What of this deployment reached the tool.
    fn effects(&self) -> Vec<Effect> {
        let own = format!("-{}", self.deployment.port);
        let mut effects = self.canary.effects();
        effects.retain(|effect| effect.mark.ends_with(&own));
        effects
    }
}

/// The database is whole, has a leaf for every index, and no permit is open.
fn sound(path: &Path, at_least: usize) {
    let connection = rusqlite::Connection::open(path).expect("it can be opened");
    let one = |sql: &str| -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).expect("it can be asked")
    };
    let integrity: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be asked");
    assert_eq!(integrity, "ok");
    assert_eq!(one("SELECT count(*) FROM leaf"), one("SELECT next FROM head"));
    assert_eq!(one("SELECT count(*) FROM open_permit"), 0);
    assert!(one("SELECT next FROM head") >= i64::try_from(at_least).expect("not that many"));
}
