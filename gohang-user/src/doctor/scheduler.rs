//! Kernel settings on which it depends how long a thread waits for quota or a CPU.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::sched_ext::{self, SchedExt};

/// What the kernel has unless somebody changed it (`sched_cfs_bandwidth_slice`,
/// kernel/sched/fair.c).
const DEFAULT_SLICE_NS: u64 = 5_000_000;
const NSEC_PER_SEC: u64 = 1_000_000_000;

/// Settings of the scheduler; null where they cannot be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scheduler {
    /// CPUs that are online.
    pub online_cpus: Option<u32>,
    /// How much of a group's quota a CPU takes at a time
    /// (`kernel.sched_cfs_bandwidth_slice_us`).
    pub cfs_bandwidth_slice_ns: Option<u64>,
    /// Ticks a second (`CONFIG_HZ`), from the resolution of the coarse clock.
    pub hz: Option<u32>,
    /// Whether timers fire between ticks.
    pub high_resolution_timers: Option<bool>,
    /// CPUs whose tick stops while they are busy (`nohz_full=`), as a list.
    pub nohz_full: Option<String>,
    /// CPUs that nothing is balanced to (`isolcpus=`), as a list.
    pub isolated: Option<String>,
    /// Whether the kernel counts the time lost for want of CPU, memory and I/O.
    pub psi: Psi,
    /// BPF schedulers; null where the kernel knows none (before 6.12).
    pub sched_ext: Option<SchedExt>,
}

/// Whether pressure stall information is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Psi {
    /// `/proc/pressure` can be read.
    On,
    /// The kernel has it, turned off.
    Off,
    /// The kernel does not have it.
    Absent,
    /// It cannot be told.
    #[default]
    Unknown,
}

impl Scheduler {
    /// Reads them, `/proc` and `/sys` being below `root`.
    pub(super) fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let list = |path: &str| {
            let text = text(path)?;
            let text = text.trim();
            // An empty list is written so by older kernels.
            (!text.is_empty() && text != "(null)").then(|| text.to_owned())
        };
        let slice = text("proc/sys/kernel/sched_cfs_bandwidth_slice_us");
        Self {
            online_cpus: text("sys/devices/system/cpu/online").and_then(|list| count(&list)),
            cfs_bandwidth_slice_ns: slice
                .and_then(|text| text.trim().parse::<u64>().ok()?.checked_mul(1000)),
            hz: resolution_ns(libc::CLOCK_MONOTONIC_COARSE).and_then(hz),
            high_resolution_timers: resolution_ns(libc::CLOCK_MONOTONIC).map(|ns| ns == 1),
            nohz_full: list("sys/devices/system/cpu/nohz_full"),
            isolated: list("sys/devices/system/cpu/isolated"),
            psi: psi(&root.join("proc/pressure/cpu")),
            sched_ext: SchedExt::read(root),
        }
    }

    /// What of it makes stalls or hides them.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        if let Some(slice) = self
            .cfs_bandwidth_slice_ns
            .filter(|slice| *slice > DEFAULT_SLICE_NS)
        {
            all.push(
                Finding::info(
                    "bandwidth_slice",
                    format!(
                        "a CPU takes {} us of a group's quota at a time (the kernel's default is \
                         {} us): a small quota is used up by few CPUs, while the others throttle",
                        slice / 1000,
                        DEFAULT_SLICE_NS / 1000
                    ),
                )
                .advise("sysctl -w kernel.sched_cfs_bandwidth_slice_us=5000"),
            );
        }
        if self.high_resolution_timers == Some(false) {
            all.push(Finding::warning(
                "no_high_resolution_timers",
                "timers fire only at ticks: quota comes back late, and Go's sysmon sleeps a \
                 tick where it wants 20 us",
                "boot without highres=off and with a clock source that allows it (see \
                 /sys/devices/system/clocksource/clocksource0/available_clocksource)",
            ));
        }
        if let Some(hz) = self.hz.filter(|hz| *hz < 250) {
            all.push(Finding::info(
                "slow_tick",
                format!(
                    "the kernel ticks {hz} times a second: a thread that others wait behind is \
                     asked to give way, and a group found out of quota, only every {} ms",
                    1000 / hz.max(1)
                ),
            ));
        }
        if let Some(cpus) = &self.nohz_full {
            all.push(Finding::info(
                "nohz_full",
                format!(
                    "CPUs {cpus} stop their tick while one thread runs (nohz_full=): older \
                     kernels find out late there that a group is out of quota, so that it \
                     overruns, and throttles for longer after"
                ),
            ));
        }
        if let Some(found) = self.sched_ext.as_ref().filter(|found| found.is_on()) {
            all.push(Finding::info(
                "bpf_scheduler",
                format!(
                    "a BPF scheduler ({}) is {}: {}",
                    found.scheduler.as_deref().unwrap_or("unnamed"),
                    found.state,
                    sched_ext::MEANING
                ),
            ));
        }
        if self.psi == Psi::Off {
            all.push(
                Finding::info(
                    "psi_off",
                    "pressure stall information is turned off: no cpu.pressure tells of the time \
                     that groups wait for CPU",
                )
                .advise("boot with psi=1 on the kernel's command line"),
            );
        }
        all
    }
}

/// How many CPUs a list such as `0-3,8` names.
fn count(list: &str) -> Option<u32> {
    list.trim().split(',').try_fold(0_u32, |sum, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// A clock's resolution, in nanoseconds.
fn resolution_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut found = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes a `timespec` to where `found` lies.
    let done = unsafe { libc::clock_getres(clock, &raw mut found) };
    if done != 0 {
        return None;
    }
    let seconds = u64::try_from(found.tv_sec).ok()?;
    seconds
        .checked_mul(NSEC_PER_SEC)?
        .checked_add(u64::try_from(found.tv_nsec).ok()?)
}

/// The coarse clock moves at each tick, and says so (`KTIME_LOW_RES`,
/// include/linux/hrtimer.h).
fn hz(tick_ns: u64) -> Option<u32> {
    let hz = (NSEC_PER_SEC + tick_ns / 2).checked_div(tick_ns)?;
    u32::try_from(hz).ok()
}

fn psi(path: &Path) -> Psi {
    match fs::read(path) {
        Ok(_) => Psi::On,
        // Opening it works, reading it says that it is off (psi_show, kernel/sched/psi.c).
        Err(error) => match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Psi::Off,
            Some(libc::ENOENT) => Psi::Absent,
            _ => Psi::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(scheduler: &Scheduler) -> Vec<String> {
        let findings = scheduler.findings();
        findings.into_iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn files_are_read_and_missing_ones_are_unknown() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        let nothing = Scheduler::read(dir.path());
        assert_eq!(nothing.cfs_bandwidth_slice_ns, None);
        assert_eq!((nothing.online_cpus, nothing.psi), (None, Psi::Absent));
        write("proc/sys/kernel/sched_cfs_bandwidth_slice_us", "20000\n");
        write("proc/pressure/cpu", "some avg10=0.00\n");
        write("sys/devices/system/cpu/online", "0-3,8,10-11\n");
        write("sys/devices/system/cpu/nohz_full", "(null)\n");
        write("sys/devices/system/cpu/isolated", "2-3\n");
        let found = Scheduler::read(dir.path());
        assert_eq!(found.cfs_bandwidth_slice_ns, Some(20_000_000));
        assert_eq!((found.online_cpus, found.psi), (Some(7), Psi::On));
        assert_eq!(
            (found.nohz_full, found.isolated),
            (None, Some("2-3".into()))
        );
    }

    #[test]
    fn each_setting_that_matters_is_told_and_usual_ones_are_not() {
        let usual = Scheduler {
            online_cpus: Some(8),
            cfs_bandwidth_slice_ns: Some(DEFAULT_SLICE_NS),
            hz: Some(250),
            high_resolution_timers: Some(true),
            psi: Psi::On,
            ..Scheduler::default()
        };
        assert_eq!(ids(&usual), [""; 0]);
        let one = |change: &dyn Fn(&mut Scheduler)| {
            let mut changed = usual.clone();
            change(&mut changed);
            ids(&changed)
        };
        assert_eq!(
            one(&|own| own.cfs_bandwidth_slice_ns = Some(DEFAULT_SLICE_NS + 1000)),
            ["bandwidth_slice"]
        );
        assert_eq!(one(&|own| own.hz = Some(100)), ["slow_tick"]);
        assert_eq!(
            one(&|own| own.high_resolution_timers = Some(false)),
            ["no_high_resolution_timers"]
        );
        assert_eq!(
            one(&|own| own.nohz_full = Some("1-7".into())),
            ["nohz_full"]
        );
        assert_eq!(one(&|own| own.psi = Psi::Off), ["psi_off"]);
        let bpf = |state: &str| {
            let (state, scheduler) = (state.to_owned(), Some("simple".to_owned()));
            one(&|own| {
                own.sched_ext = Some(SchedExt {
                    state: state.clone(),
                    scheduler: scheduler.clone(),
                });
            })
        };
        assert_eq!(bpf("enabled"), ["bpf_scheduler"]);
        assert_eq!(bpf("disabled"), [""; 0]);
    }

    #[test]
    fn the_tick_of_this_kernel_is_one_that_kernels_have() {
        let found = Scheduler::read(Path::new("/"));
        let hz = found.hz.expect("a coarse clock");
        assert!((24..=1200).contains(&hz), "{hz}");
        for (tick_ns, want) in [
            (4_000_000, 250),
            (3_333_333, 300),
            (999_848, 1000),
            (10_000_000, 100),
        ] {
            assert_eq!(super::hz(tick_ns), Some(want));
        }
        assert_eq!(super::hz(0), None);
        assert!(found.online_cpus.is_some_and(|cpus| cpus >= 1));
    }

    proptest! {
        #[test]
        fn lists_never_panic(text in "[0-9,-]{0,20}") {
            let _ = count(&text);
        }
    }
}
