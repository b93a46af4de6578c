//! Scenarios that are not made here, each with the reason. xtask has this file too, for the page
//! of results.

/// One that is not made.
#[derive(Debug)]
pub(super) struct NotBuilt {
    /// Its number, as `B3`.
    pub id: &'static str,
    /// What stalls, in a few words.
    pub title: &'static str,
    /// Where it was reported.
    pub source: &'static str,
    /// What was reported.
    pub reported: &'static str,
    /// What is there instead of a measurement, and what is missing.
    pub why: &'static str,
}

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
        id: "B16",
        title: "Throttled while holding a kernel lock",
        source: "throttling of tasks, 6.18",
        reported: "a throttled reader of a lock blocks its writers",
        why: "needs a kernel lock that a throttled thread holds, before and after 6.18 side \
                  by side",
    },
];
