//! Which systemd runs here.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::output;

/// There when systemd is the machine's init (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
const LIMIT: Duration = Duration::from_secs(2);
/// First version with `CPUQuotaPeriodSec=`.
const QUOTA_PERIOD: u32 = 242;
/// First version with `AllowedCPUs=`.
const ALLOWED_CPUS: u32 = 244;

/// systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Systemd {
    /// Whether it runs the machine.
    pub running: bool,
    /// Its version; null if it is not installed or does not say.
    pub version: Option<u32>,
}

impl Systemd {
    /// Asks it.
    pub(super) fn read() -> Self {
        let mut command = Command::new("systemctl");
        command.arg("--version");
        let output = output::run(&mut command, LIMIT);
        let output = output.ok().filter(|output| output.status.success());
        Self {
            running: Path::new(BOOTED).is_dir(),
            version: output.and_then(|output| version(&output.stdout)),
        }
    }

    /// Settings of the advice that it does not know.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let Some(version) = self.version.filter(|_| self.running) else {
            return Vec::new();
        };
        [
            (QUOTA_PERIOD, "CPUQuotaPeriodSec="),
            (ALLOWED_CPUS, "AllowedCPUs="),
        ]
        .into_iter()
        .filter(|(first, _)| version < *first)
        .map(|(first, setting)| {
            Finding::info(
                "systemd_setting",
                format!("systemd {version} does not know {setting} (from {first} on)"),
            )
        })
        .collect()
    }
}

/// The number in `systemd 252 (252.6-1)`.
fn version(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("systemd ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_as_systemctl_prints_it() {
        assert_eq!(version("systemd 252 (252.38-1~deb12u1)\n+PAM\n"), Some(252));
        assert_eq!(version("systemd 258~rc2 (258~rc2-1)"), Some(258));
        assert_eq!(version("systemd 219\n+PAM"), Some(219));
        for text in ["", "systemd", "systemd x", "busybox 1"] {
            assert_eq!(version(text), None, "{text}");
        }
    }

    #[test]
    fn old_ones_lack_settings() {
        let count = |running, version| Systemd { running, version }.findings().len();
        assert_eq!(count(true, Some(257)), 0);
        assert_eq!(count(true, Some(243)), 1);
        assert_eq!(count(true, Some(219)), 2);
        assert_eq!(count(false, Some(219)), 0);
        assert_eq!(count(true, None), 0);
    }
}
