//! The machine: cores, what a process used of them, its memory, and how long a sync takes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// The core that the server has to itself.
pub(crate) const SERVER_CORE: usize = 0;

/// The core of whoever asks the server, and of whom it asks.
pub(crate) fn load_core() -> usize {
    usize::from(cores() > 1)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Binds the calling thread, and those that it starts, to `core`.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("no core {core} to bind to"))
}

/// How much time of cores the process `pid` has used, the children that it waited for included.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    let ticks = ticks_of(&stat).context("/proc/PID/stat has another form")?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.and_then(|it| u32::try_from(it).ok());
    let per_second = per_second.context("the clock has no tick")?;
    Ok(Duration::from_secs(ticks) / per_second)
}

/// `utime`, `stime`, `cutime` and `cstime`: fields 14 to 17, counted on from the name's bracket.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

/// The resident memory of the process `pid`, in MB.
pub(crate) fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kilobytes.context("the process has no resident memory")? * 1_024.0 / 1e6)
}

/// A file that is appended to and synced, and nothing else: what a durable write costs here.
pub(crate) struct BareSync {
    file: File,
    bytes: Vec<u8>,
}

impl BareSync {
    /// Appends of `size` bytes to a file of its own in `dir`.
    pub(crate) fn new(dir: &Path, size: usize) -> anyhow::Result<Self> {
        let file = File::create(dir.join("bare-sync"))?;
        Ok(Self { file, bytes: vec![0x5a; size] })
    }

    /// Appends and syncs once; how long that took, in milliseconds.
    pub(crate) fn once(&mut self) -> anyhow::Result<f64> {
        let started = Instant::now();
        self.file.write_all(&self.bytes)?;
        self.file.sync_data()?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    /// The median of `times` syncs, in milliseconds.
    pub(crate) fn median(&mut self, times: usize) -> anyhow::Result<f64> {
        let taken: Vec<f64> = (0..times).map(|_| self.once()).collect::<Result<_, _>>()?;
        Ok(crate::stats::median(&taken))
    }
}

/// The machine in one line: what its numbers are worth elsewhere.
pub(crate) fn describe(dir: &Path) -> anyhow::Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = kernel.trim().split('-').next().unwrap_or_default();
    let sync = BareSync::new(dir, 512)?.median(101)?;
    Ok(format!("{} × {model}, Linux {release}, fdatasync of 512 B {sync:.2} ms", cores()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1 0";
        assert_eq!(ticks_of(&format!("42 (a) b (c)) {rest}")), Some(127));
        assert_eq!(ticks_of(&format!("42 (nginx) {rest}")), Some(127));
        assert_eq!(ticks_of("42 (short) S 1"), None);
    }

    #[test]
    fn a_process_uses_time_and_memory() {
        let me = std::process::id();
        let before = cpu_time(me).expect("it runs");
        let started = Instant::now();
        while cpu_time(me).expect("it runs") == before {
            assert!(started.elapsed() < Duration::from_secs(20), "no time was used");
        }
        assert!(resident_mb(me).expect("it runs") > 0.5);
    }
}
