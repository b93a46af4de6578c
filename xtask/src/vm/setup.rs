//! The ways in which each kernel is booted.

use std::process::Command;

/// How a machine's processors are emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processors {
    /// One, whose clocks count its instructions: time stands still while the host is busy
    /// and jumps over idle spells, so that what is measured there is the same on every host
    /// and at any load.
    Counted,
    /// Two at the same time, on the host's clock: for what happens between processors.
    /// What the host takes away shows as time lost there.
    Two,
    /// Four at the same time, on the host's clock: for what depends on their number alone.
    Four,
}

impl Processors {
    /// Processors of the host that they keep busy.
    pub fn cores(self) -> usize {
        match self {
            Self::Counted => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Tells the emulator. KVM is not asked for: /dev/kvm may exist and not work (nested
    /// virtualisation), and it cannot count instructions.
    pub fn apply(self, qemu: &mut Command) {
        match self {
            // 2^1 ns an instruction: 500 million a second.
            Self::Counted => qemu.args(["-accel", "tcg,thread=single"]).args([
                "-icount",
                "shift=1,sleep=off",
                "-smp",
                "1",
            ]),
            Self::Two => qemu.args(["-accel", "tcg,thread=multi", "-smp", "2"]),
            Self::Four => qemu.args(["-accel", "tcg,thread=multi", "-smp", "4"]),
        };
    }
}

/// What runs as a machine's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// A script that mounts and runs the tests.
    Script,
    /// Debian's systemd, which runs the tests as a service.
    Systemd,
}

/// Which kernels are booted so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// All that were asked for.
    All,
    /// In the short form the oldest and the newest of them: what is tested is looked at
    /// before anything that differs between kernels.
    Ends,
    /// The newest of them: what is tested is not the kernel.
    Newest,
    /// In the short form this one, if it is among them.
    Only(&'static str),
}

impl Chosen {
    /// Whether the kernel at `at` among `kernels` is booted; `short` is the short form.
    pub fn has(self, at: usize, kernels: &[&str], short: bool) -> bool {
        let is_last = at + 1 == kernels.len();
        match self {
            Self::All => true,
            Self::Ends => !short || at == 0 || is_last,
            Self::Newest => is_last,
            Self::Only(name) => !short || kernels[at] == name,
        }
    }
}

/// A way to boot a kernel.
#[derive(Debug)]
pub struct Setup {
    /// Its name in folders and output.
    pub name: &'static str,
    pub processors: Processors,
    /// Appended to the kernel's command line.
    pub arguments: &'static str,
    pub init: Init,
    pub kernels: Chosen,
    /// What the names of the tests begin with that want it; the longest decides.
    tests: &'static [&'static str],
}

/// All of them.
pub const SETUPS: [Setup; 7] = [
    Setup {
        name: "two-cpus",
        processors: Processors::Two,
        arguments: "",
        init: Init::Script,
        kernels: Chosen::All,
        tests: &[
            "reference::",
            "agreement::",
            "storm::",
            "life::",
            "recording::",
            // Its injector spins on a processor of its own.
            "causes::",
            // On one processor a starved sysmon may see each slice for the first time when it
            // has its quota back, and then no request is late.
            "chain::",
        ],
    },
    Setup {
        name: "four-cpus",
        processors: Processors::Four,
        arguments: "",
        init: Init::Script,
        kernels: Chosen::All,
        // Runtimes take a quota for two CPUs at least, so that it shows on more alone.
        tests: &[
            "inspect::gomaxprocs",
            "inspect::cpusets",
            "inspect::container_layouts",
            "inspect::rules",
        ],
    },
    Setup {
        name: "lockdown",
        processors: Processors::Counted,
        arguments: "lockdown=confidentiality",
        init: Init::Script,
        kernels: Chosen::Ends,
        tests: &["input::lockdown"],
    },
    Setup {
        name: "no-cpu-controller",
        processors: Processors::Counted,
        arguments: "cgroup_disable=cpu",
        init: Init::Script,
        kernels: Chosen::Ends,
        tests: &["input::no_cpu_controller"],
    },
    Setup {
        name: "preempted",
        processors: Processors::Counted,
        arguments: "preempt=full",
        init: Init::Script,
        // The newest preempts itself if it is not told to, and now and then.
        kernels: Chosen::Only("7.3"),
        tests: &["preempted::"],
    },
    Setup {
        name: "systemd",
        processors: Processors::Counted,
        // Whatever else is started is what this service needs.
        arguments: "systemd.unit=course.service",
        init: Init::Systemd,
        kernels: Chosen::Newest,
        // Debian's runc is there too.
        tests: &["systemd::", "inspect::runc"],
    },
    Setup {
        name: "counted",
        processors: Processors::Counted,
        arguments: "",
        init: Init::Script,
        kernels: Chosen::All,
        // Go programs share one processor as they would under a quota.
        tests: &["", "agreement::go"],
    },
];

impl Setup {
    /// The one that a test wants.
    pub fn of(test: &str) -> &'static Self {
        let longest = |setup: &&Self| {
            let parts = setup.tests.iter().filter(|part| test.starts_with(**part));
            parts.map(|part| part.len() + 1).max().unwrap_or(0)
        };
        let last = &SETUPS[SETUPS.len() - 1];
        SETUPS.iter().max_by_key(longest).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_as_many_processors_as_it_says() {
        for Setup { processors, .. } in &SETUPS {
            let mut qemu = Command::new("qemu");
            processors.apply(&mut qemu);
            let words: Vec<_> = qemu.get_args().collect();
            let at = words.iter().position(|word| *word == "-smp");
            let number = words[at.expect("a number of processors") + 1];
            assert_eq!(number.to_str(), Some(&*processors.cores().to_string()));
        }
    }

    #[test]
    fn every_test_has_one() {
        assert_eq!(Setup::of("agreement::plain").name, "two-cpus");
        assert_eq!(Setup::of("agreement::go_quota").name, "counted");
        assert_eq!(Setup::of("causes::confusion").name, "two-cpus");
        assert_eq!(Setup::of("inspect::gomaxprocs").name, "four-cpus");
        assert_eq!(Setup::of("inspect::nested_limits").name, "counted");
        assert_eq!(Setup::of("throttle::stall").name, "counted");
        assert_eq!(Setup::of("input::lockdown").name, "lockdown");
        assert_eq!(Setup::of("preempted::uprobes").name, "preempted");
        assert_eq!(Setup::of("systemd::scope").name, "systemd");
        assert_eq!(Setup::of("").name, "counted");
    }

    #[test]
    fn some_kernels_stand_for_all() {
        let of = |chosen: Chosen, number, short| -> Vec<usize> {
            let (all, kernels) = (0..number, &["5.10", "6.1", "7.3"][..number]);
            all.filter(|at| chosen.has(*at, kernels, short)).collect()
        };
        assert_eq!(of(Chosen::All, 3, true), [0, 1, 2]);
        assert_eq!(of(Chosen::Ends, 3, true), [0, 2]);
        assert_eq!(of(Chosen::Ends, 3, false), [0, 1, 2]);
        assert_eq!(of(Chosen::Newest, 3, false), [2]);
        assert_eq!(of(Chosen::Ends, 1, true), [0]);
        assert_eq!(of(Chosen::Only("6.1"), 3, true), [1]);
        assert!(of(Chosen::Only("6.1"), 1, true).is_empty());
        assert_eq!(of(Chosen::Only("6.1"), 2, false), [0, 1]);
    }
}
