//! Where the Go runtime keeps the goroutine id, by version.

use super::elf::Arch;
use super::version::GoVersion;

/// Byte offsets into the runtime's structures, as far as a signal needs them.
///
/// In Go code a register holds the running goroutine `g` (`r14` on amd64, `x28` on
/// arm64). `g.m.procid` must then equal the thread id in the thread's own PID
/// namespace; otherwise the thread was not in Go code, and the id is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GoOffsets {
    /// Of the goroutine id (`uint64`) in `runtime.g`.
    pub g_goid: u32,
    /// Of the pointer to `runtime.m` in `runtime.g`.
    pub g_m: u32,
    /// Of the thread id (`uint64`) in `runtime.m`.
    pub m_procid: u32,
}

/// Why the offsets of a program are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoOffsets {
    /// Released after the newest version whose structures were looked at.
    #[error("Go 1.{minor} is newer than Go 1.{NEWEST}, the newest whose structures are known here")]
    TooNew {
        /// The program's minor version.
        minor: u32,
    },
    /// Before goroutines were held in a register, or before signals preempted them.
    #[error(
        "Go 1.{minor} is older than Go 1.{OLDEST}, the first that keeps the goroutine in a register"
    )]
    TooOld {
        /// The program's minor version.
        minor: u32,
    },
    /// A development version that names no release.
    #[error("the version names no release, so the layout of its structures is unknown")]
    NoRelease,
    /// Neither amd64 nor arm64.
    #[error("goroutine ids are read on amd64 and arm64 only")]
    Arch,
}

/// The first version with the register ABI on amd64; on arm64 it is one later, where
/// the integrity check refuses what does not fit.
const OLDEST: u32 = 17;
/// The newest version in [`offsets`]'s table.
const NEWEST: u32 = 27;

/// The offsets for a program of this version and architecture.
///
/// Source: DWARF of programs built with 1.19.8, 1.21.13, 1.22.10, 1.23.9, 1.24.11,
/// 1.25.5, 1.26.6 and 1.27.3, the same on both architectures; 1.14.6 by its source.
/// Versions between two that agree are taken to agree with them. The check of
/// `m.procid` (see [`GoOffsets`]) guards against a wrong entry.
///
/// # Errors
/// [`NoOffsets`], the reason why they are not known.
pub fn offsets(version: &GoVersion, arch: Arch) -> Result<GoOffsets, NoOffsets> {
    if !matches!(arch, Arch::Amd64 | Arch::Arm64) {
        return Err(NoOffsets::Arch);
    }
    let minor = version.minor().ok_or(NoOffsets::NoRelease)?;
    let (g_goid, m_procid) = match minor {
        ..OLDEST => return Err(NoOffsets::TooOld { minor }),
        OLDEST..=22 => (152, 72),
        // 1.23 and 1.24 have one word more in g, before the id.
        23..=24 => (160, 72),
        25..=NEWEST => (152, 64),
        _ => return Err(NoOffsets::TooNew { minor }),
    };
    Ok(GoOffsets {
        g_goid,
        g_m: 48,
        m_procid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(raw: &str, arch: Arch) -> Result<(u32, u32, u32), NoOffsets> {
        let found = offsets(&GoVersion::parse(raw).unwrap(), arch)?;
        Ok((found.g_goid, found.g_m, found.m_procid))
    }

    #[test]
    fn the_measured_versions() {
        for (raw, goid, procid) in [
            ("go1.19.8", 152, 72),
            ("go1.21.13", 152, 72),
            ("go1.22.10", 152, 72),
            ("go1.23.9", 160, 72),
            ("go1.24.11", 160, 72),
            ("go1.25.5", 152, 64),
            ("go1.26.6", 152, 64),
            ("go1.27.3", 152, 64),
            ("devel go1.27-0a1b2c3", 152, 64),
        ] {
            for arch in [Arch::Amd64, Arch::Arm64] {
                assert_eq!(of(raw, arch), Ok((goid, 48, procid)), "{raw}");
            }
        }
    }

    #[test]
    fn unknown_has_its_reason() {
        assert_eq!(
            of("go1.28.0", Arch::Amd64),
            Err(NoOffsets::TooNew { minor: 28 })
        );
        assert_eq!(
            of("go1.16.15", Arch::Amd64),
            Err(NoOffsets::TooOld { minor: 16 })
        );
        assert_eq!(of("devel +abc", Arch::Arm64), Err(NoOffsets::NoRelease));
        assert_eq!(of("go1.27.3", Arch::Other(3)), Err(NoOffsets::Arch));
        let text = NoOffsets::TooNew { minor: 28 }.to_string();
        assert!(text.contains("Go 1.28 is newer than Go 1.27"), "{text}");
    }
}
