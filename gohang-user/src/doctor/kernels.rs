//! Kernels whose CPU quotas are known to behave badly.

use super::finding::Finding;
use crate::privilege::KernelRelease;

/// So many CPUs make waking all of a group's queues at once take long.
const MANY_CPUS: u32 = 128;

/// What is known of the kernel's release. Distributions backport, so that an older one may
/// be mended.
pub(super) fn findings(kernel: &KernelRelease, online_cpus: Option<u32>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !kernel.at_least(5, 4) {
        // de53fd7aedb1 (5.4); before it 512ac999d275 (4.18) had made expiry work at all.
        found.push(Finding::warning(
            "kernel_slices_expire",
            format!(
                "kernel {kernel}: before 5.4 the quota that a CPU has taken expires with the \
                 period, so that groups of many threads are throttled with quota left (commit \
                 de53fd7aedb1, backported to some older kernels)"
            ),
            "use Linux 5.4 or later, or one with that commit",
        ));
    }
    if !kernel.at_least(5, 14) {
        found.push(Finding::info(
            "kernel_no_burst",
            format!("kernel {kernel}: before 5.14 no quota can be saved up for a burst"),
        ));
    }
    if let Some(cpus) = online_cpus.filter(|cpus| *cpus >= MANY_CPUS)
        && !kernel.at_least(6, 3)
    {
        // 8ad075c2eb1f (6.3).
        found.push(
            Finding::info(
                "kernel_unthrottles_at_once",
                format!(
                    "kernel {kernel} on {cpus} CPUs: before 6.3 a refill unthrottles the queues of \
                     all CPUs in one interrupt, which takes long with hundreds of groups (commit \
                     8ad075c2eb1f)"
                ),
            )
            .advise("use Linux 6.3 or later, or fewer groups with a quota"),
        );
    }
    if !kernel.at_least(6, 18) {
        // e1fad12dcb66 (6.18).
        found.push(
            Finding::info(
                "kernel_throttles_in_kernel",
                format!(
                    "kernel {kernel}: before 6.18 a group out of quota stops its threads wherever \
                     they are, with locks of the kernel held too, for which threads without a \
                     quota then wait (commit e1fad12dcb66)"
                ),
            )
            .advise("use Linux 6.18 or later where threads of other groups stall as well"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_each_release() {
        for (release, cpus, want) in [
            (
                "4.19.0-28-amd64",
                4,
                &[
                    "kernel_slices_expire",
                    "kernel_no_burst",
                    "kernel_throttles_in_kernel",
                ][..],
            ),
            (
                "5.4.0",
                4,
                &["kernel_no_burst", "kernel_throttles_in_kernel"],
            ),
            ("5.14.0-503.el9", 127, &["kernel_throttles_in_kernel"]),
            (
                "6.1.192",
                128,
                &["kernel_unthrottles_at_once", "kernel_throttles_in_kernel"],
            ),
            ("6.3.0", 256, &["kernel_throttles_in_kernel"]),
            ("6.18.0", 256, &[]),
            ("7.3.1", 4, &[]),
        ] {
            let kernel = KernelRelease::parse(release).expect("a release");
            let found = findings(&kernel, Some(cpus));
            let ids: Vec<&str> = found.iter().map(|finding| &*finding.id).collect();
            assert_eq!(ids, want, "{release}");
            assert!(found.iter().all(|finding| finding.what.contains(release)));
        }
    }
}
