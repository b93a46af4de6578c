//! What else the workload's CPUs did meanwhile.

use anyhow::{Context as _, Result};

use crate::sys;

/// More than this share of a CPU's time makes signals of a busy program late.
const MUCH: f64 = 0.05;

/// A tick of /proc/stat: USER_HZ is 100.
const TICK_NS: u64 = 10_000_000;

/// A look at the CPUs and at a process on them.
#[derive(Debug)]
pub struct Elsewhere {
    cpus: Vec<i32>,
    pid: i32,
    began_ns: u64,
    busy_ns: u64,
    own_ns: u64,
}

impl Elsewhere {
    /// Looks for the first time.
    ///
    /// # Errors
    /// When the files cannot be read, or the process is gone.
    pub fn watch(cpus: Vec<i32>, pid: i32) -> Result<Self> {
        Ok(Self {
            busy_ns: busy_ns(&cpus)?,
            own_ns: sys::cpu_time_ns(pid)?,
            began_ns: sys::mono_ns(),
            cpus,
            pid,
        })
    }

    /// The share of one CPU that others have used since, if that is much.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub fn much(&self) -> Result<Option<f64>> {
        let busy = busy_ns(&self.cpus)?.saturating_sub(self.busy_ns);
        let own = sys::cpu_time_ns(self.pid)?.saturating_sub(self.own_ns);
        let elapsed = sys::mono_ns().saturating_sub(self.began_ns);
        let share = busy.saturating_sub(own) as f64 / elapsed.max(1) as f64;
        Ok((share > MUCH).then_some(share))
    }
}

/// Time that these CPUs were not idle, and that another machine had them, since boot.
fn busy_ns(cpus: &[i32]) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = busy_ticks(&text, cpus).context("/proc/stat has another form")?;
    Ok(ticks * TICK_NS)
}

/// All but the columns idle and iowait, and those of guests, which others hold already.
fn busy_ticks(text: &str, cpus: &[i32]) -> Option<u64> {
    let mut sum = 0;
    for cpu in cpus {
        let prefix = format!("cpu{cpu} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
        let columns: Vec<u64> = line
            .split_ascii_whitespace()
            .map(|word| word.parse().ok())
            .collect::<Option<_>>()?;
        sum += columns.get(..8)?.iter().sum::<u64>() - columns[3] - columns[4];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        let text = "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 1 2 4 1000 2000 8 16 32 9 9\ncpu1 1 0 0 5 5 0 0 0 0 0\n";
        assert_eq!(busy_ticks(text, &[0]), Some(63));
        assert_eq!(busy_ticks(text, &[0, 1]), Some(64));
        assert_eq!(busy_ticks(text, &[2]), None);
    }
}
