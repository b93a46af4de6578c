//! Reported stalls that the suite is to reproduce, and how far it is.

use std::fmt::Write as _;

/// A reported stall.
struct Scenario {
    id: &'static str,
    /// Where it was reported; a bare number is an issue of golang/go.
    source: &'static str,
    /// What was reported.
    reported: &'static str,
    /// What is there instead of a measurement, and what is missing.
    missing: &'static str,
}

/// None of them is built: a row that is gets its own figures and leaves this table.
const SCENARIOS: [Scenario; 20] = [
    Scenario {
        id: "B1",
        source: "#19378",
        reported: "stop of the world of 80 ms with a quota of 400 to 100 ms in 100 ms",
        missing: "`trace` times stops of the world; no driver varies the quota under one",
    },
    Scenario {
        id: "B2",
        source: "uber-go/automaxprocs, #33803, #73193",
        reported: "2 CPUs of quota, GOMAXPROCS 2 or 24: 44,715 or 22,191 requests/s, p99.9 26.4 \
                   or 76.2 ms",
        missing: "needs a load generator and a sweep; 24 threads on two CPUs would be another \
                  experiment, so that it needs a scale factor too",
    },
    Scenario {
        id: "B3",
        source: "#76835, #74283",
        reported: "14 procs turned to 2: a backlog of 275 million messages",
        missing: "`advise` judges GOMAXPROCS against the quota; no workload for the other \
                  direction",
    },
    Scenario {
        id: "B4",
        source: "#59715, #44163, #17969",
        reported: "GC workers take 25 % of GOMAXPROCS, idle ones up to 100 %",
        missing: "the share of the quota that GC threads use is not measured by gohang",
    },
    Scenario {
        id: "B5",
        source: "#10958, #24543, #12553, #15442, #35923",
        reported: "loops without calls hang for ever before Go 1.14",
        missing: "the diagnosis tests have it with `asyncpreemptoff=1`; no row of figures",
    },
    Scenario {
        id: "B6",
        source: "#35825, #31222, #69327, #36365",
        reported: "100 ms and more on clearing 512 MB, tail to 1.48 s",
        missing: "the diagnosis tests have a large copy; no row of figures",
    },
    Scenario {
        id: "B7",
        source: "#37741",
        reported: "an init that spins is signalled again and again: up to 20 s more",
        missing: "no workload",
    },
    Scenario {
        id: "B8",
        source: "#68462, #37779, #37942",
        reported: "floods of SIGURG; each ms of delay adds to the stop of the world",
        missing: "the storm tests make the flood and check its counts; CPU time in handlers is \
                  not measured",
    },
    Scenario {
        id: "B9",
        source: "#38033, #38836",
        reported: "EINTR on network file systems and cgroupfs; a loop of 10 ms system calls: \
                   0 % succeed, 98 % with asyncpreemptoff",
        missing: "gohang does not tell which system calls SIGURG interrupts",
    },
    Scenario {
        id: "B10",
        source: "#29287",
        reported: "a pod in livelock, the stopping thread sleeps 100 us between looks",
        missing: "no workload",
    },
    Scenario {
        id: "B11",
        source: "#63340, #81657",
        reported: "`/sched/pauses/stopping`: most of a stop's cost is stopping",
        missing: "the chain tests hold stops against the runtime's own histogram; no row of \
                  figures",
    },
    Scenario {
        id: "B12",
        source: "kernel bug 198197, kubernetes#67577",
        reported: "within its quota and yet 200 ms out of it",
        missing: "no workload; kernels from 5.4 on do not expire slices",
    },
    Scenario {
        id: "B13",
        source: "kernel commit de53fd7aedb1, indeedeng/fibtest",
        reported: "64 CPUs: 88 ms used of 500 ms and 58 throttles, mended 493 ms and 51",
        missing: "two CPUs leave next to nothing in per-CPU slices, and the kernels at hand are \
                  mended",
    },
    Scenario {
        id: "B14",
        source: "cpu.max.burst, December 2020",
        reported: "schbench p99 933 us turned to 12 us, p99.9 3068 us to 19 us",
        missing: "`advise` has a rule on bursts; no run with and without",
    },
    Scenario {
        id: "B15",
        source: "kernel commit 8ad075c2eb1f",
        reported: "256 CPUs and a thousand groups: hard lockups on refill",
        missing: "refill to run by the number of groups is not measured",
    },
    Scenario {
        id: "B16",
        source: "throttling of tasks, 6.18",
        reported: "a throttled reader of a lock blocks its writers",
        missing: "needs a kernel lock that a throttled thread holds, before and after 6.18 side \
                  by side",
    },
    Scenario {
        id: "B17",
        source: "vArmor#288, openshift/origin#7845",
        reported: "p99 of lease renewals 3.5 s against a deadline of 10 s",
        missing: "needs a cluster, or a stand-in for one",
    },
    Scenario {
        id: "B18",
        source: "Cloud Native Aachen, 2026",
        reported: "40 % of the CPU on average, 30 of 300 periods throttled, 6.14 s",
        missing: "no workload",
    },
    Scenario {
        id: "B19",
        source: "danluu on cgroup throttling, arXiv 2510.10747",
        reported: "services fail near 50 % of their quota; 26 turned to 66 ms a request",
        missing: "needs a load generator; gohang has no estimate of capacity",
    },
    Scenario {
        id: "B20",
        source: "apiserver-network-proxy#690",
        reported: "goroutines in CI starved for 30 s and longer",
        missing: "the tests of `run` have starved test programs and check the verdict; no row of \
                  figures",
    },
];

/// The table.
pub fn table() -> String {
    let mut out = "| | reported in | reported | state | what is there, what is missing |\n\
                   | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for scenario in &SCENARIOS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | not built | {} |",
            scenario.id, scenario.source, scenario.reported, scenario.missing
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_is_there_once_and_in_order() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert_eq!(scenario.id, format!("B{}", index + 1));
        }
        let table = table();
        assert!(table.lines().all(|line| line.matches('|').count() == 6));
    }
}
