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
}

impl Processors {
    /// Processors of the host that they keep busy.
    pub fn cores(self) -> usize {
        match self {
            Self::Counted => 1,
            Self::Two => 2,
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
        };
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
    /// In the short form only the oldest and the newest kernel are booted so: it is looked
    /// at before anything that differs between them.
    pub only_ends: bool,
    /// What the names of the tests begin with that want it; the longest decides.
    tests: &'static [&'static str],
}

/// All of them.
pub const SETUPS: [Setup; 4] = [
    Setup {
        name: "two-cpus",
        processors: Processors::Two,
        arguments: "",
        only_ends: false,
        tests: &[
            "reference::",
            "agreement::",
            "storm::",
            "life::",
            "recording::",
            // Its injector spins on a processor of its own.
            "causes::",
        ],
    },
    Setup {
        name: "lockdown",
        processors: Processors::Counted,
        arguments: "lockdown=confidentiality",
        only_ends: true,
        tests: &["input::lockdown"],
    },
    Setup {
        name: "no-cpu-controller",
        processors: Processors::Counted,
        arguments: "cgroup_disable=cpu",
        only_ends: true,
        tests: &["input::no_cpu_controller"],
    },
    Setup {
        name: "counted",
        processors: Processors::Counted,
        arguments: "",
        only_ends: false,
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
        assert_eq!(Setup::of("throttle::stall").name, "counted");
        assert_eq!(Setup::of("input::lockdown").name, "lockdown");
        assert_eq!(Setup::of("").name, "counted");
    }
}
