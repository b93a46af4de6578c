//! A run's limits, in systemd's words (systemd.resource-control(5)).

use std::fmt::Write as _;
use std::time::Duration;

use crate::cgroup::{MAX_PERIOD_NS, MIN_NS, Weight};

/// Nanoseconds in a second, which is also a whole CPU's time in a second.
const SECOND: u64 = 1_000_000_000;
/// The kernel's default period.
const DEFAULT_PERIOD: Duration = Duration::from_millis(100);
/// Largest number of a CPU that is taken (`CONFIG_NR_CPUS` is at most 8192).
const MAX_CPU: u32 = 8191;
/// Most CPUs that a quota may stand for.
const MAX_QUOTA_CPUS: u64 = 8192;

/// What a command may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU time in nanoseconds a second; a whole CPU is 10^9.
    pub cpu_quota: Option<u64>,
    /// How often the quota is handed out.
    pub cpu_period: Option<Duration>,
    /// Share of CPU time against others.
    pub cpu_weight: Option<Weight>,
    /// CPUs, as the kernel lists them (`0-3,7`).
    pub allowed_cpus: Option<String>,
    /// Bytes of memory.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub tasks_max: Option<u64>,
}

/// What per cents of memory and tasks are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Memory, in bytes.
    pub memory: u64,
    /// Most tasks that the kernel allows.
    pub tasks: u64,
    /// CPUs.
    pub cpus: u64,
}

impl Machine {
    /// This one; what it does not tell is taken to be large.
    #[must_use]
    pub fn this() -> Self {
        let system = rustix::system::sysinfo();
        let number = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.trim().parse::<u64>().unwrap_or(u64::MAX)
        };
        let cpus = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
        Self {
            memory: u64::from(system.mem_unit).saturating_mul(system.totalram),
            tasks: number("/proc/sys/kernel/pid_max").min(number("/proc/sys/kernel/threads-max")),
            cpus: u64::try_from(cpus).unwrap_or(u64::MAX),
        }
    }
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The options that set them.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        [
            ("--cpu-quota", self.cpu_quota.is_some()),
            ("--cpu-weight", self.cpu_weight.is_some()),
            ("--allowed-cpus", self.allowed_cpus.is_some()),
            ("--memory-max", self.memory_max.is_some()),
            ("--tasks-max", self.tasks_max.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect()
    }

    /// Quota and period in nanoseconds, as systemd sets them: the period is made longer
    /// where the quota in it would be below the kernel's least, 1 ms.
    #[must_use]
    pub fn quota_and_period(&self) -> Option<(u64, u64)> {
        let quota = self.cpu_quota?;
        let asked = self.cpu_period.unwrap_or(DEFAULT_PERIOD).as_nanos();
        let least = u128::from(MIN_NS) * u128::from(SECOND) / u128::from(quota.max(1));
        let period = asked.max(least).clamp(MIN_NS.into(), MAX_PERIOD_NS.into());
        // The kernel counts in microseconds.
        let period = u64::try_from(period)
            .unwrap_or(MAX_PERIOD_NS)
            .next_multiple_of(1000);
        let share = u128::from(quota) * u128::from(period) / u128::from(SECOND);
        let share = u64::try_from(share).unwrap_or(u64::MAX / 1000 * 1000);
        Some(((share / 1000 * 1000).max(MIN_NS), period))
    }

    /// Takes a `NAME=VALUE` in systemd's spelling.
    ///
    /// # Errors
    /// A name that is not one of a run's limits, or what is wrong with the value.
    pub fn set_property(&mut self, text: &str, machine: Machine) -> Result<(), String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not NAME=VALUE, as CPUQuota=20%"))?;
        let wrong = |why: String| format!("{name}: {why}");
        match name {
            "CPUQuota" => self.cpu_quota = Some(percent_of_cpu(value).map_err(wrong)?),
            "CPUQuotaPeriodSec" => self.cpu_period = Some(period(value).map_err(wrong)?),
            "CPUWeight" => self.cpu_weight = Some(weight(value).map_err(wrong)?),
            "AllowedCPUs" => self.allowed_cpus = Some(cpu_list(value).map_err(wrong)?),
            "MemoryMax" => self.memory_max = memory(value, machine).map_err(wrong)?,
            "TasksMax" => self.tasks_max = tasks(value, machine).map_err(wrong)?,
            _ => {
                return Err(format!(
                    "no property {name:?}; there are CPUQuota, CPUQuotaPeriodSec, CPUWeight, \
                     AllowedCPUs, MemoryMax and TasksMax"
                ));
            }
        }
        Ok(())
    }
}

/// `20%` of a CPU, or `0.2` CPUs, in nanoseconds a second.
///
/// # Errors
/// What is wrong with it.
pub fn cpu_quota(text: &str, machine: Machine) -> Result<u64, String> {
    if text.ends_with('%') {
        return percent_of_cpu(text);
    }
    let quota = decimal(text, SECOND).ok_or("give a share of a CPU, as 20% or 0.2")?;
    if !text.contains('.') && quota > machine.cpus.saturating_mul(SECOND) {
        return Err(format!(
            "{text} CPUs are more than there are ({}); for per cent write {text}%",
            machine.cpus
        ));
    }
    checked_quota(quota)
}

fn percent_of_cpu(text: &str) -> Result<u64, String> {
    let quota = text
        .strip_suffix('%')
        .and_then(|number| decimal(number, SECOND / 100));
    checked_quota(quota.ok_or("give per cent of a CPU, as 20% or 150%")?)
}

fn checked_quota(quota: u64) -> Result<u64, String> {
    // 1 ms in the longest period, 1 s.
    if quota < MIN_NS {
        return Err("the kernel's least is 0.1%".to_owned());
    }
    if quota > MAX_QUOTA_CPUS * SECOND {
        return Err(format!("more than {MAX_QUOTA_CPUS} CPUs are no limit"));
    }
    Ok(quota)
}

/// A period as `100ms`; a bare number is seconds, as systemd has it.
///
/// # Errors
/// What is wrong with it.
pub fn period(text: &str) -> Result<Duration, String> {
    let wrong = || "give a time from 1ms to 1s".to_owned();
    let period = match decimal(text, SECOND) {
        Some(ns) => Duration::from_nanos(ns),
        None => humantime::parse_duration(text).map_err(|_| wrong())?,
    };
    let range = Duration::from_nanos(MIN_NS)..=Duration::from_nanos(MAX_PERIOD_NS);
    range.contains(&period).then_some(period).ok_or_else(wrong)
}

/// A weight from 1 to 10000, or `idle`.
///
/// # Errors
/// What is wrong with it.
pub fn weight(text: &str) -> Result<Weight, String> {
    if text == "idle" {
        return Ok(Weight::Idle);
    }
    text.parse()
        .ok()
        .filter(|weight| (1..=10_000).contains(weight))
        .map(Weight::Share)
        .ok_or_else(|| "give a number from 1 to 10000 (a new group has 100), or idle".to_owned())
}

/// CPUs as `0-3,7` or `0 1 2`, in the kernel's spelling.
///
/// # Errors
/// What is wrong with it.
pub fn cpu_list(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no list of CPUs, as 0-3,7");
    let mut list = String::new();
    let parts = text.split(|c: char| c == ',' || c.is_ascii_whitespace());
    for part in parts.filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| -> Option<u32> {
            // Not +5.
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some(())?;
            text.parse().ok().filter(|&cpu| cpu <= MAX_CPU)
        };
        let (from, to) = number(from).zip(number(to)).ok_or_else(wrong)?;
        if from > to {
            return Err(format!("{part:?} runs backwards"));
        }
        let separator = if list.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = if from == to {
            write!(list, "{separator}{from}")
        } else {
            write!(list, "{separator}{from}-{to}")
        };
    }
    if list.is_empty() {
        return Err(wrong());
    }
    Ok(list)
}

/// Bytes as `512M` (a K is 1024), `25%` of the machine's, or `infinity` (none).
///
/// # Errors
/// What is wrong with it.
pub fn memory(text: &str, machine: Machine) -> Result<Option<u64>, String> {
    const HOW: &str = "give bytes, as 512M or 2G, a per cent of the memory, or infinity";
    if text == "infinity" {
        return Ok(None);
    }
    let bytes = if let Some(percent) = text.strip_suffix('%') {
        share(percent, machine.memory)
    } else {
        let split = text.len() - usize::from(text.ends_with(|c: char| c.is_ascii_alphabetic()));
        let (number, unit) = text.split_at(split);
        let factor = match unit {
            "" | "B" => Some(1),
            "K" => Some(1 << 10),
            "M" => Some(1 << 20),
            "G" => Some(1 << 30),
            "T" => Some(1 << 40),
            _ => None,
        };
        factor.and_then(|factor| decimal(number, factor))
    };
    // What the kernel takes for no limit begins at 2^63.
    match bytes.filter(|&bytes| bytes < 1 << 63) {
        None => Err(HOW.to_owned()),
        Some(0) => Err("nothing runs in no memory".to_owned()),
        Some(bytes) => Ok(Some(bytes)),
    }
}

/// A number of tasks, `25%` of the most the kernel allows, or `infinity` (none).
///
/// # Errors
/// What is wrong with it.
pub fn tasks(text: &str, machine: Machine) -> Result<Option<u64>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let tasks = match text.strip_suffix('%') {
        Some(percent) => share(percent, machine.tasks),
        None => text.parse().ok(),
    };
    match tasks {
        // The kernel refuses more than PID_MAX_LIMIT.
        Some(tasks @ 1..=4_194_304) => Ok(Some(tasks)),
        _ => Err("give a number of tasks from 1 to 4194304, a per cent, or infinity".to_owned()),
    }
}

/// A per cent from 0 to 100 of `whole`.
fn share(percent: &str, whole: u64) -> Option<u64> {
    let parts = decimal(percent, 10_000).filter(|&parts| parts <= 1_000_000)?;
    u64::try_from(u128::from(whole) * u128::from(parts) / 1_000_000).ok()
}

/// The decimal number `text` times `unit`, rounded down; `None` if it is none.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let number = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse().ok()
        }
    };
    let whole: u64 = number(whole)?;
    // More digits than these change nothing.
    let fraction = &fraction[..fraction.len().min(18)];
    let part: u64 = number(fraction)?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(part) * u128::from(unit) / scale;
    whole
        .checked_mul(unit)?
        .checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Machine = Machine {
        memory: 8 << 30,
        tasks: 32_768,
        cpus: 4,
    };
    const MS: u64 = 1_000_000;

    #[test]
    fn shares_of_a_cpu() {
        for (text, want) in [
            ("5%", 50 * MS),
            ("0.5", 500 * MS),
            ("150%", 1_500 * MS),
            ("2", 2_000 * MS),
            ("12.5%", 125 * MS),
            (".25", 250 * MS),
            ("0.1%", MS),
        ] {
            assert_eq!(cpu_quota(text, HERE), Ok(want), "{text}");
        }
        for text in [
            "", "%", "-5%", "5 %", "x", "0", "0.05%", "1e3", "5%%", "9999999%",
        ] {
            assert!(cpu_quota(text, HERE).is_err(), "{text}");
        }
        let why = cpu_quota("20", HERE).unwrap_err();
        assert!(why.contains("20%"), "{why}");
    }

    #[test]
    fn quota_and_period_are_those_that_systemd_sets() {
        let pair = |quota, period: Option<u64>| {
            let limits = Limits {
                cpu_quota: Some(quota),
                cpu_period: period.map(Duration::from_nanos),
                ..Limits::default()
            };
            limits.quota_and_period().unwrap()
        };
        assert_eq!(pair(50 * MS, None), (5 * MS, 100 * MS));
        assert_eq!(pair(1_500 * MS, Some(10 * MS)), (15 * MS, 10 * MS));
        // 5 % of 10 ms would be below 1 ms.
        assert_eq!(pair(50 * MS, Some(10 * MS)), (MS, 20 * MS));
        assert_eq!(pair(MS, None), (MS, 1_000 * MS));
        assert_eq!(Limits::default().quota_and_period(), None);
    }

    #[test]
    fn memory_and_tasks() {
        for (text, want) in [
            ("512M", Some(512 << 20)),
            ("1.5G", Some(3 << 29)),
            ("4096", Some(4096)),
            ("25%", Some(2 << 30)),
            ("100%", Some(8 << 30)),
            ("infinity", None),
        ] {
            assert_eq!(memory(text, HERE), Ok(want), "{text}");
        }
        for text in [
            "", "M", "0", "5X", "-1", "101%", "9999999T", "5MM", "Infinity", "5é",
        ] {
            assert!(memory(text, HERE).is_err(), "{text}");
        }
        assert_eq!(tasks("64", HERE), Ok(Some(64)));
        assert_eq!(tasks("50%", HERE), Ok(Some(16_384)));
        assert_eq!(tasks("infinity", HERE), Ok(None));
        for text in ["0", "", "x", "5000000", "0%"] {
            assert!(tasks(text, HERE).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_of_cpus() {
        for (text, want) in [("0-3,7", "0-3,7"), ("0 1  2", "0,1,2"), ("5-5", "5")] {
            assert_eq!(cpu_list(text).as_deref(), Ok(want));
        }
        for text in ["", ",", "3-1", "x", "0-", "-1", "+1", "8192", "0-3-4"] {
            assert!(cpu_list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn weights_and_periods() {
        assert_eq!(weight("10000"), Ok(Weight::Share(10_000)));
        assert_eq!(weight("idle"), Ok(Weight::Idle));
        assert!(weight("0").is_err() && weight("10001").is_err());
        assert_eq!(period("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(period("0.05"), Ok(Duration::from_millis(50)));
        assert!(period("2s").is_err() && period("10us").is_err() && period("x").is_err());
    }

    #[test]
    fn properties_are_the_same_limits() {
        let mut limits = Limits::default();
        for text in [
            "CPUQuota=5%",
            "CPUQuotaPeriodSec=50ms",
            "CPUWeight=50",
            "AllowedCPUs=0-1",
            "MemoryMax=64M",
            "TasksMax=32",
        ] {
            limits.set_property(text, HERE).unwrap();
        }
        let want = Limits {
            cpu_quota: Some(50 * MS),
            cpu_period: Some(Duration::from_millis(50)),
            cpu_weight: Some(Weight::Share(50)),
            allowed_cpus: Some("0-1".into()),
            memory_max: Some(64 << 20),
            tasks_max: Some(32),
        };
        assert_eq!(limits, want);
        for (text, word) in [
            ("CPUQuota", "NAME=VALUE"),
            ("CPUQuota=0.5", "CPUQuota: "),
            ("IOWeight=5", "no property \"IOWeight\""),
        ] {
            let why = limits.set_property(text, HERE).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
        assert!(!limits.is_empty() && Limits::default().is_empty());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,12}|[0-9.,%KMGT -]{0,24}") {
            let _ = cpu_quota(&text, HERE);
            let _ = memory(&text, HERE);
            let _ = tasks(&text, HERE);
            let _ = cpu_list(&text);
            let _ = period(&text);
            let _ = Limits::default().set_property(&text, HERE);
        }

        #[test]
        fn every_quota_is_one_that_the_kernel_takes(
            quota in MIN_NS..=MAX_QUOTA_CPUS * SECOND,
            period in 1u64..=1000,
        ) {
            let limits = Limits {
                cpu_quota: Some(quota),
                cpu_period: Some(Duration::from_millis(period)),
                ..Limits::default()
            };
            let (share, period) = limits.quota_and_period().unwrap();
            prop_assert!(share >= MIN_NS && share.is_multiple_of(1000));
            prop_assert!((MIN_NS..=MAX_PERIOD_NS).contains(&period) && period.is_multiple_of(1000));
            // Within a microsecond of what was asked for in each period.
            let asked = u128::from(quota) * u128::from(period) / u128::from(SECOND);
            prop_assert!(asked.abs_diff(share.into()) <= 1000 || share == MIN_NS);
        }
    }
}
