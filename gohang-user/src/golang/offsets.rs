//! Where the Go runtime keeps the goroutine id, by version.

use super::elf::Arch;
use super::layout::Field;
use super::layout_table;
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
    #[error(
        "Go 1.{minor} is newer than Go 1.{}, the newest whose structures are known here",
        layout_table::NEWEST
    )]
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
/// The offsets for a program of this version and architecture.
///
/// By the table of [`Layout`](super::Layout), the same on both architectures. Versions before its first
/// row are taken to agree with that, as 1.14.6 does by its source. The check of
/// `m.procid` (see [`GoOffsets`]) guards against a wrong entry.
///
/// # Errors
/// [`NoOffsets`], the reason why they are not known.
pub fn offsets(version: &GoVersion, arch: Arch) -> Result<GoOffsets, NoOffsets> {
    if !matches!(arch, Arch::Amd64 | Arch::Arm64) {
        return Err(NoOffsets::Arch);
    }
    let minor = version.minor().ok_or(NoOffsets::NoRelease)?;
    if minor < OLDEST {
        return Err(NoOffsets::TooOld { minor });
    }
    let known = layout_table::offsets(minor.max(layout_table::OLDEST));
    known
        .and_then(|offsets| {
            let of = |field: Field| offsets[field as usize];
            Some(GoOffsets {
                g_goid: of(Field::GGoid)?,
                g_m: of(Field::GM)?,
                m_procid: of(Field::MProcid)?,
            })
        })
        .ok_or(NoOffsets::TooNew { minor })
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
    fn versions_before_the_first_row_agree_with_it() {
        for minor in OLDEST..layout_table::OLDEST {
            let raw = format!("go1.{minor}.2");
            assert_eq!(of(&raw, Arch::Amd64), Ok((152, 48, 72)), "{raw}");
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
