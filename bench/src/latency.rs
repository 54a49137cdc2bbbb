//! `governed-added`, `flood`: how long single calls take, and what others do to that.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;

use crate::client::{self, Callers};
use crate::deployment::QUIET;
use crate::governed::{Bed, Programs, WARM, progress};
use crate::load;
use crate::machine::BareSync;
use crate::open_loop::{self, percentile};
use crate::report::{Goal, Round, Row, short};
use crate::stats::median;

const ROUNDS: usize = 5;

/// What a governed call takes longer than a direct one, at 500 calls a second.
pub(crate) fn added(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    const PER_SECOND: u32 = 500;
    const CALLS: usize = 5_000;
    let mut bed = Bed::open(dir, programs)?;
    let direct = client::bare(bed.upstream.port, CALLS);
    let mut sync = BareSync::new(dir, 4_096)?;
    bed.governed(16, WARM)?;
    let (mut rounds, mut tails, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut bare: Vec<f64> = (0..500).map(|_| sync.once()).collect::<Result<_, _>>()?;
        bare.sort_unstable_by(f64::total_cmp);
        let requests = bed.callers.sign(CALLS)?;
        let (straight, through) = (bed.upstream.port, bed.deployment.port);
        let (direct, governed) = load::on_load_core(async {
            let direct = open_loop::run(straight, PER_SECOND, &direct).await?;
            Ok((direct, open_loop::run(through, PER_SECOND, &requests).await?))
        })?;
        let added = |percent| percentile(&governed, percent) - percentile(&direct, percent);
        let most = |percent, times, beyond| times * percentile(&bare, percent) + beyond;
        let (p50, p50_most) = (added(50), most(50, 1.5, 0.5));
        let (p99, p99_most) = (added(99), most(99, 2.0, 2.0));
        progress(&format!("p50 {p50:.2} of {p50_most:.2} ms, p99 {p99:.2} of {p99_most:.2} ms"));
        rounds.push(Round { value: p50, ratio: p50 / p50_most });
        tails.push((p99, p99 / p99_most));
        syncs.push(percentile(&bare, 50));
    }
    let of = |get: fn(&(f64, f64)) -> f64| median(&tails.iter().map(get).collect::<Vec<_>>());
    let (p99, tail) = (of(|it| it.0), of(|it| it.1));
    let against = format!(
        "1.5 syncs of {} ms + 0.5 ms; p99 {} ms, {} of 2 syncs + 2 ms",
        short(median(&syncs)),
        short(p99),
        short(tail)
    );
    let goal = Goal { ratio_at_most: Some(1.0), ..Goal::default() };
    let row = Row::new("governed-added", "ms at p50", rounds).against(against).wants(goal);
    Ok(row.and_wants(tail <= 1.0, format!("p99 {} of its limit", short(tail))))
}

/// How long the calls of a quiet agent take beside a flooding one.
pub(crate) fn flood(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    const PER_SECOND: u32 = 100;
    const CALLS: usize = 1_000;
    const FLOOD: usize = 20_000;
    const FLOODING: usize = 64;
    let mut bed = Bed::open(dir, programs)?;
    let mut quiet = Callers::open(&bed.deployment, QUIET, 1)?;
    let port = bed.deployment.port;
    bed.governed(16, WARM)?;
    let (mut rounds, mut alone, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let requests = quiet.sign(CALLS)?;
        let before = load::on_load_core(open_loop::run(port, PER_SECOND, &requests))?;
        let (requests, flood) = (quiet.sign(CALLS)?, bed.callers.sign(FLOOD)?);
        let next: Arc<AtomicUsize> = Arc::default();
        let (beside, rate) = load::on_load_core(async {
            let calling = async {
                let taken = open_loop::run(port, PER_SECOND, &requests).await;
                // Nothing more is asked; what was asked is answered.
                (taken, next.swap(FLOOD, Ordering::Relaxed))
            };
            let flooding = load::closed_loop(port, FLOODING, &flood, &next);
            let ((taken, asked), flooded) = tokio::join!(calling, flooding);
            ensure!(asked < FLOOD, "the flood was over too early");
            let rate = f64::from(u32::try_from(asked)?) / flooded?.as_secs_f64();
            Ok((taken?, rate))
        })?;
        let (before, beside) = (percentile(&before, 99), percentile(&beside, 99));
        progress(&format!("p99 {before:.2} ms alone, {beside:.2} ms beside {rate:.0} calls/s"));
        rounds.push(Round { value: beside, ratio: beside / before });
        alone.push(before);
        rates.push(rate);
    }
    let (alone, rate) = (short(median(&alone)), short(median(&rates)));
    let against = format!("{alone} ms alone; the flood is answered {rate} calls/s");
    let goal = Goal { ratio_at_most: Some(2.0), ..Goal::default() };
    Ok(Row::new("flood", "ms at p99", rounds).against(against).wants(goal))
}
