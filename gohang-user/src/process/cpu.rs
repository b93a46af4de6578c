//! `/proc/stat`: time each CPU lost to the hypervisor and to interrupts.

use super::counter::{WentBack, growth};
use super::stat::ticks_to_ns;

/// Time one CPU spent away from the work it had, since boot.
///
/// The kernel counts in clock ticks, so a value is a multiple of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTimes {
    /// The CPU's number.
    pub cpu: u32,
    /// Time the hypervisor ran something else, in nanoseconds.
    pub steal_ns: u64,
    /// Time in hardware interrupts, in nanoseconds.
    pub irq_ns: u64,
    /// Time in soft interrupts, in nanoseconds.
    pub softirq_ns: u64,
}

impl CpuTimes {
    /// Parses the `cpuN` lines of `/proc/stat`, in the file's order (offline CPUs
    /// have none).
    ///
    /// # Errors
    /// The line that is not in that form, or that there is none.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let cpus = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("cpu")
                    .filter(|rest| !rest.starts_with(' '))
            })
            .map(Self::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if cpus.is_empty() {
            return Err("it has no line for a CPU".into());
        }
        Ok(cpus)
    }

    /// One line, without its leading `cpu`: number, user, nice, system, idle,
    /// iowait, irq, softirq, steal ...
    fn parse(rest: &str) -> Result<Self, String> {
        let fields = rest
            .split_ascii_whitespace()
            .map(str::parse::<u64>)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| format!("the line cpu{rest} has a field that is not a number"))?;
        let &[cpu, _, _, _, _, _, irq, softirq, steal, ..] = fields.as_slice() else {
            return Err(format!("the line cpu{rest} has too few fields"));
        };
        Ok(Self {
            cpu: u32::try_from(cpu).map_err(|_| format!("cpu{cpu} is no CPU's number"))?,
            steal_ns: ticks_to_ns(steal),
            irq_ns: ticks_to_ns(irq),
            softirq_ns: ticks_to_ns(softirq),
        })
    }

    /// What was added since `earlier`, a reading of the same CPU.
    ///
    /// # Errors
    /// [`WentBack`] when a count is smaller now (seen after live migration).
    pub fn since(&self, earlier: &Self) -> Result<Self, WentBack> {
        Ok(Self {
            cpu: self.cpu,
            steal_ns: growth("steal", earlier.steal_ns, self.steal_ns)?,
            irq_ns: growth("irq", earlier.irq_ns, self.irq_ns)?,
            softirq_ns: growth("softirq", earlier.softirq_ns, self.softirq_ns)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "cpu  10 20 30 40 50 60 70 80 0 0\n\
        cpu0 1 2 3 4 5 6 7 8 0 0\ncpu3 1 2 3 4 5 60 70 80 0 0\nintr 5 0\nctxt 9\n";

    #[test]
    fn each_cpu_and_not_the_sum() {
        let cpus = CpuTimes::parse_all(SAMPLE).unwrap();
        assert_eq!(cpus.len(), 2);
        let tick = ticks_to_ns(1);
        assert_eq!(
            cpus[0],
            CpuTimes {
                cpu: 0,
                irq_ns: 6 * tick,
                softirq_ns: 7 * tick,
                steal_ns: 8 * tick
            }
        );
        assert_eq!(cpus[1].cpu, 3);
        assert_eq!(cpus[1].steal_ns, 80 * tick);
    }

    #[test]
    fn growth_and_going_back() {
        let early = CpuTimes {
            cpu: 1,
            steal_ns: 10,
            irq_ns: 20,
            softirq_ns: 30,
        };
        let late = CpuTimes {
            cpu: 1,
            steal_ns: 15,
            irq_ns: 20,
            softirq_ns: 31,
        };
        let grown = CpuTimes {
            cpu: 1,
            steal_ns: 5,
            irq_ns: 0,
            softirq_ns: 1,
        };
        assert_eq!(late.since(&early), Ok(grown));
        assert_eq!(early.since(&late).unwrap_err().name, "steal");
    }

    #[test]
    fn damage_is_named() {
        assert!(CpuTimes::parse_all("").unwrap_err().contains("no line"));
        assert!(
            CpuTimes::parse_all("cpu0 1 2 3\n")
                .unwrap_err()
                .contains("too few")
        );
        assert!(
            CpuTimes::parse_all("cpu0 1 2 3 x\n")
                .unwrap_err()
                .contains("not a number")
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(cpu[0-9 x]{0,40}\n|.*\n){0,5}") {
            let _ = CpuTimes::parse_all(&text);
        }
    }
}
