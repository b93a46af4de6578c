//! Scenarios that are not made here, each with the reason.

use super::scenario::NotBuilt;

/// All of them, by number.
pub(super) const NOT_BUILT: &[NotBuilt] = &[
    NotBuilt {
        id: "B3",
        title: "GOMAXPROCS below the quota",
        source: "#76835, #74283",
        reported: "14 procs turned to 2: a backlog of 275 million messages",
        why: "`advise` judges GOMAXPROCS against the quota; no workload for the other \
                  direction",
    },
    NotBuilt {
        id: "B9",
        title: "System calls interrupted by SIGURG",
        source: "#38033, #38836",
        reported: "EINTR on network file systems and cgroupfs; a loop of 10 ms system calls: \
                   0 % succeed, 98 % with asyncpreemptoff",
        why: "gohang does not tell which system calls SIGURG interrupts",
    },
    NotBuilt {
        id: "B10",
        title: "Livelock around a stop of the world",
        source: "#29287",
        reported: "a pod in livelock, the stopping thread sleeps 100 us between looks",
        why: "no workload",
    },
    NotBuilt {
        id: "B12",
        title: "Throttled with quota unspent",
        source: "kernel bug 198197, kubernetes#67577",
        reported: "within its quota and yet 200 ms out of it",
        why: "no workload; kernels from 5.4 on do not expire slices",
    },
    NotBuilt {
        id: "B13",
        title: "Quota left in per-CPU slices",
        source: "kernel commit de53fd7aedb1, indeedeng/fibtest",
        reported: "64 CPUs: 88 ms used of 500 ms and 58 throttles, mended 493 ms and 51",
        why: "two CPUs leave next to nothing in per-CPU slices, and the kernels at hand are \
                  mended",
    },
    NotBuilt {
        id: "B14",
        title: "Burst",
        source: "cpu.max.burst, December 2020",
        reported: "schbench p99 933 us turned to 12 us, p99.9 3068 us to 19 us",
        why: "`advise` has a rule on bursts; no run with and without",
    },
    NotBuilt {
        id: "B15",
        title: "Many groups refilled at once",
        source: "kernel commit 8ad075c2eb1f",
        reported: "256 CPUs and a thousand groups: hard lockups on refill",
        why: "refill to run by the number of groups is not measured",
    },
    NotBuilt {
        id: "B16",
        title: "Throttled while holding a kernel lock",
        source: "throttling of tasks, 6.18",
        reported: "a throttled reader of a lock blocks its writers",
        why: "needs a kernel lock that a throttled thread holds, before and after 6.18 side \
                  by side",
    },
    NotBuilt {
        id: "B17",
        title: "Lease lost to throttling",
        source: "vArmor#288, openshift/origin#7845",
        reported: "p99 of lease renewals 3.5 s against a deadline of 10 s",
        why: "needs a cluster, or a stand-in for one",
    },
    NotBuilt {
        id: "B18",
        title: "Throttled at 40 % of the CPU",
        source: "Cloud Native Aachen, 2026",
        reported: "40 % of the CPU on average, 30 of 300 periods throttled, 6.14 s",
        why: "no workload",
    },
    NotBuilt {
        id: "B19",
        title: "Latency against use of the quota",
        source: "danluu on cgroup throttling, arXiv 2510.10747",
        reported: "services fail near 50 % of their quota; 26 turned to 66 ms a request",
        why: "needs a load generator; gohang has no estimate of capacity",
    },
];
