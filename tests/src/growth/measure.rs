//! What gohang takes while it traces something.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::actor::pause_ms;
use crate::product::Gohang;
use crate::run::Settings;
use crate::stream;
use crate::sys;

/// What was measured of one size.
#[derive(Debug, Default, Serialize)]
pub struct Point {
    /// How many there were.
    pub size: u64,
    /// From the start of gohang to `gohang: tracing`, ms.
    pub start_ms: f64,
    /// CPU time of all of gohang's threads while it was watched, ms; without the start and the
    /// end.
    pub cpu_ms: f64,
    /// Records that it received, in all of its run.
    pub episodes: u64,
    /// CPU time a record, ns; null without records.
    pub cpu_ns_per_episode: Option<f64>,
    /// Its memory at the end of the watch, KiB.
    pub rss_kib: u64,
    /// CPU time from the interrupt to its end, ms: making the report.
    pub end_ms: f64,
    /// Length of the report (`-o json`), bytes.
    pub report_bytes: u64,
    /// Records that were lost on any of the ways.
    pub lost: u64,
}

/// Has gohang trace these processes for so long.
///
/// # Errors
/// It cannot be started, or ends with an error.
pub fn watch(settings: &Settings, pids: &[i32], watch_ms: u64) -> Result<Point> {
    let list: Vec<String> = pids.iter().map(i32::to_string).collect();
    let args = ["trace", "-o", "json", "--non-go", "-p", &list.join(",")];
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
    gohang.wait_ready()?;
    let pid = i32::try_from(gohang.pid())?;
    let before = cpu_ns(pid)?;
    pause_ms(watch_ms);
    let cpu = cpu_ns(pid)? - before;
    let rss_kib = memory_kib(pid)?;
    let start_ms = gohang.start_up_ns as f64 / 1e6;
    let interrupted = sys::mono_ns();
    let finished = gohang.interrupt()?;
    let end_ms = (sys::mono_ns() - interrupted) as f64 / 1e6;
    let report: Value = serde_json::from_slice(&finished.stdout).context("the report")?;
    stream::check_loss(&report)?;
    let loss = |name: &str| stream::number(&report, &format!("/loss/{name}"));
    let received = loss("received")?;
    let lost = loss("ring_full")? + loss("map_full")? + loss("output_dropped")?;
    ensure!(received > 0, "gohang received nothing");
    // What came after the watch, until it ended, is little; its CPU time is not counted either.
    Ok(Point {
        size: 0,
        start_ms,
        cpu_ms: cpu as f64 / 1e6,
        episodes: received,
        cpu_ns_per_episode: Some(cpu as f64 / received as f64),
        rss_kib,
        end_ms,
        report_bytes: finished.stdout.len() as u64,
        lost,
    })
}

/// CPU time of all threads of a process so far, ns.
fn cpu_ns(pid: i32) -> Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let mut sum = 0;
    for task in std::fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
        let path = task?.path().join("schedstat");
        let text = std::fs::read_to_string(&path)?;
        let first = text.split(' ').next().unwrap_or("");
        sum += first
            .parse::<u64>()
            .with_context(|| format!("{} says {text:?}", path.display()))?;
    }
    Ok(sum)
}

fn memory_kib(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    value
        .and_then(|value| value.trim().parse().ok())
        .with_context(|| format!("no VmRSS in {path}"))
}

/// Lets this process have as many files open as it may: it has two for each that it starts.
///
/// # Errors
/// The kernel refuses.
pub fn raise_limit_of_files() -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a valid structure.
    let rc = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error()).context("cannot raise the limit of open files")
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            size,
            start_ms,
            cpu_ms,
            episodes,
            rss_kib,
            end_ms,
            report_bytes,
            lost,
            ..
        } = self;
        write!(
            f,
            "{size}: start {start_ms:.0} ms, CPU {cpu_ms:.1} ms for {episodes} episodes, memory \
             {rss_kib} KiB, end {end_ms:.0} ms, report {report_bytes} bytes, lost {lost}"
        )
    }
}
