//! Where the Go runtime keeps what the preemption chain reads: its scheduler's
//! structures, from a program's debug information or by its version.

use super::dwarf::{self, Members};
use super::elf::{Arch, Elf, ElfError};
use super::image::ReadAt;
use super::layout_table;
use super::version::GoVersion;

/// A member of the runtime's structures.
///
/// `g` is a goroutine, `m` a thread, `p` the right to run Go code. Sizes are of the
/// value; all are little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `g.stack.lo`, 8 bytes: the stack's lowest address.
    GStackLo,
    /// `g.stack.hi`, 8 bytes: the address behind the stack.
    GStackHi,
    /// `g.stackguard0`, 8 bytes: a special value asks for a cooperative yield.
    GStackguard0,
    /// `g.m`, a pointer: the thread that runs it.
    GM,
    /// `g.sched.pc`, 8 bytes: where it goes on when it does not run.
    GSchedPc,
    /// `g.atomicstatus`, 4 bytes.
    GAtomicstatus,
    /// `g.goid`, 8 bytes: the goroutine's id.
    GGoid,
    /// `g.waitreason`, 1 byte.
    GWaitreason,
    /// `g.preempt`, 1 byte: a yield is asked for.
    GPreempt,
    /// `g.preemptStop`, 1 byte: it is to stop, not to go to the queue.
    GPreemptStop,
    /// `g.asyncSafePoint`, 1 byte: it stopped where a signal met it.
    GAsyncSafePoint,
    /// `m.g0`, a pointer: the goroutine of the scheduler on this thread.
    MG0,
    /// `m.procid`, 8 bytes: the thread id in the thread's own PID namespace.
    MProcid,
    /// `m.gsignal`, a pointer: the goroutine of its signal handlers.
    MGsignal,
    /// `m.curg`, a pointer: the user's goroutine that it runs.
    MCurg,
    /// `m.p`, a pointer: the P that it holds.
    MP,
    /// `m.id`, 8 bytes.
    MId,
    /// `m.mallocing`, 4 bytes: not to be preempted while not 0.
    MMallocing,
    /// `m.preemptoff`, a string: not to be preempted while not empty.
    MPreemptoff,
    /// `m.locks`, 4 bytes: not to be preempted while not 0.
    MLocks,
    /// `m.incgo`, 1 byte: it runs C code.
    MIncgo,
    /// `m.preemptGen`, 4 bytes: preemption signals handled.
    MPreemptGen,
    /// `m.signalPending`, 4 bytes: 1 while a preemption signal is on its way.
    MSignalPending,
    /// `p.id`, 4 bytes.
    PId,
    /// `p.status`, 4 bytes.
    PStatus,
    /// `p.schedtick`, 4 bytes: goes up with each goroutine that it begins to run.
    PSchedtick,
    /// `p.sysmontick.schedtick`, 4 bytes: the tick that sysmon saw last.
    PSysmontickSchedtick,
    /// `p.sysmontick.schedwhen`, 8 bytes: when sysmon first saw it, ns of
    /// CLOCK_MONOTONIC.
    PSysmontickSchedwhen,
    /// `p.m`, a pointer: the thread that holds it.
    PM,
    /// `p.preempt`, 1 byte: it is to enter the scheduler.
    PPreempt,
}

impl Field {
    /// Every field, in the order of [`Layout`]'s offsets.
    pub const ALL: [Self; 30] = [
        Self::GStackLo,
        Self::GStackHi,
        Self::GStackguard0,
        Self::GM,
        Self::GSchedPc,
        Self::GAtomicstatus,
        Self::GGoid,
        Self::GWaitreason,
        Self::GPreempt,
        Self::GPreemptStop,
        Self::GAsyncSafePoint,
        Self::MG0,
        Self::MProcid,
        Self::MGsignal,
        Self::MCurg,
        Self::MP,
        Self::MId,
        Self::MMallocing,
        Self::MPreemptoff,
        Self::MLocks,
        Self::MIncgo,
        Self::MPreemptGen,
        Self::MSignalPending,
        Self::PId,
        Self::PStatus,
        Self::PSchedtick,
        Self::PSysmontickSchedtick,
        Self::PSysmontickSchedwhen,
        Self::PM,
        Self::PPreempt,
    ];

    /// Its structure, and the member; or the structure with a member of that structure's
    /// member.
    #[must_use]
    pub const fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::GStackLo => ("runtime.g", "stack.lo"),
            Self::GStackHi => ("runtime.g", "stack.hi"),
            Self::GStackguard0 => ("runtime.g", "stackguard0"),
            Self::GM => ("runtime.g", "m"),
            Self::GSchedPc => ("runtime.g", "sched.pc"),
            Self::GAtomicstatus => ("runtime.g", "atomicstatus"),
            Self::GGoid => ("runtime.g", "goid"),
            Self::GWaitreason => ("runtime.g", "waitreason"),
            Self::GPreempt => ("runtime.g", "preempt"),
            Self::GPreemptStop => ("runtime.g", "preemptStop"),
            Self::GAsyncSafePoint => ("runtime.g", "asyncSafePoint"),
            Self::MG0 => ("runtime.m", "g0"),
            Self::MProcid => ("runtime.m", "procid"),
            Self::MGsignal => ("runtime.m", "gsignal"),
            Self::MCurg => ("runtime.m", "curg"),
            Self::MP => ("runtime.m", "p"),
            Self::MId => ("runtime.m", "id"),
            Self::MMallocing => ("runtime.m", "mallocing"),
            Self::MPreemptoff => ("runtime.m", "preemptoff"),
            Self::MLocks => ("runtime.m", "locks"),
            Self::MIncgo => ("runtime.m", "incgo"),
            Self::MPreemptGen => ("runtime.m", "preemptGen"),
            Self::MSignalPending => ("runtime.m", "signalPending"),
            Self::PId => ("runtime.p", "id"),
            Self::PStatus => ("runtime.p", "status"),
            Self::PSchedtick => ("runtime.p", "schedtick"),
            Self::PSysmontickSchedtick => ("runtime.p", "sysmontick.schedtick"),
            Self::PSysmontickSchedwhen => ("runtime.p", "sysmontick.schedwhen"),
            Self::PM => ("runtime.p", "m"),
            Self::PPreempt => ("runtime.p", "preempt"),
        }
    }
}

/// Structures of [`Field::path`], and those of members that lead further.
const STRUCTURES: [&str; 6] = [
    "runtime.g",
    "runtime.m",
    "runtime.p",
    "runtime.stack",
    "runtime.gobuf",
    "runtime.sysmontick",
];

/// The structure that a member is of, where a path leads through it.
fn structure_of(member: &str) -> Option<&'static str> {
    match member {
        "stack" => Some("runtime.stack"),
        "sched" => Some("runtime.gobuf"),
        "sysmontick" => Some("runtime.sysmontick"),
        _ => None,
    }
}

/// What a [`Layout`] was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayoutSource {
    /// The program's own debug information (DWARF).
    Dwarf,
    /// The table of Go versions.
    Table,
}

impl LayoutSource {
    /// The word that reports have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dwarf => "dwarf",
            Self::Table => "table",
        }
    }
}

/// Offsets of [`Field`]s, in bytes from the start of `g`, `m` and `p`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    offsets: [Option<u32>; Field::ALL.len()],
    source: LayoutSource,
}

impl Layout {
    /// The layout of `elf`, a Go program of this version: from its debug information,
    /// or else, if that was stripped, by the version.
    ///
    /// # Errors
    /// [`NoLayout`], the reason why it is not known.
    pub fn of<R: ReadAt>(elf: &Elf<R>, version: &GoVersion) -> Result<Self, NoLayout> {
        match Self::from_dwarf(elf)? {
            Some(layout) => Ok(layout),
            None => Self::from_version(version, elf.arch()),
        }
    }

    /// By debug information alone; `None` when there is none, or nothing of the
    /// runtime's in it.
    ///
    /// # Errors
    /// When reading fails.
    pub fn from_dwarf<R: ReadAt>(elf: &Elf<R>) -> Result<Option<Self>, ElfError> {
        let members = dwarf::members(elf, &STRUCTURES)?;
        Ok(members.map(|members| Self {
            offsets: Field::ALL.map(|field| offset(&members, field)),
            source: LayoutSource::Dwarf,
        }))
    }

    /// By version alone.
    ///
    /// # Errors
    /// [`NoLayout`], the reason why it is not known.
    pub fn from_version(version: &GoVersion, arch: Arch) -> Result<Self, NoLayout> {
        if !matches!(arch, Arch::Amd64 | Arch::Arm64) {
            return Err(NoLayout::Arch);
        }
        let minor = version.minor().ok_or(NoLayout::NoRelease)?;
        let offsets = layout_table::offsets(minor).ok_or(NoLayout::NoRow { minor })?;
        Ok(Self {
            offsets,
            source: LayoutSource::Table,
        })
    }

    /// The offset of `field`; `None` when the debug information of a version not known
    /// here has no such member, or the releases of a version do not agree.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<u32> {
        self.offsets[field as usize]
    }

    /// What it was taken from.
    #[must_use]
    pub fn source(&self) -> LayoutSource {
        self.source
    }
}

/// Why the layout of a program is not known.
#[derive(Debug, thiserror::Error)]
pub enum NoLayout {
    /// Without debug information, and of a version that has no row in the table.
    #[error(
        "it has no debug information, and without it the runtime's structures are known \
         here of Go 1.{} to 1.{}, not of Go 1.{minor}",
        layout_table::OLDEST,
        layout_table::NEWEST
    )]
    NoRow {
        /// The program's minor version.
        minor: u32,
    },
    /// Without debug information, and its version names no release.
    #[error(
        "it has no debug information, and its version names no release, so that the layout \
         of the runtime's structures is unknown"
    )]
    NoRelease,
    /// Neither amd64 nor arm64.
    #[error("the runtime's structures are read on amd64 and arm64 only")]
    Arch,
    /// Damaged, or reading failed.
    #[error(transparent)]
    Elf(#[from] ElfError),
}

fn offset(members: &Members, field: Field) -> Option<u32> {
    let (structure, path) = field.path();
    let own = members.get(structure)?;
    let offset = match path.split_once('.') {
        None => *own.get(path)?,
        Some((member, inner)) => {
            let outer = *own.get(member)?;
            let inner = *members.get(structure_of(member)?)?.get(inner)?;
            outer.checked_add(inner)?
        }
    };
    u32::try_from(offset).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_version(raw: &str, arch: Arch) -> Result<Layout, NoLayout> {
        Layout::from_version(&GoVersion::parse(raw).unwrap(), arch)
    }

    #[test]
    fn fields_stand_at_their_own_place() {
        for (index, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, index, "{field:?}");
        }
    }

    #[test]
    fn a_version_has_every_field() {
        let layout = by_version("go1.24.11", Arch::Arm64).unwrap();
        assert_eq!(layout.source().as_str(), "table");
        assert_eq!(layout.get(Field::GGoid), Some(160));
        assert_eq!(layout.get(Field::MProcid), Some(72));
        let unknown = Field::ALL
            .iter()
            .filter(|field| layout.get(**field).is_none());
        // They moved between two of its releases.
        let moved = [Field::MPreemptGen, Field::MSignalPending];
        assert_eq!(unknown.copied().collect::<Vec<_>>(), moved);
        let next = by_version("go1.25.5", Arch::Amd64).unwrap();
        assert!(Field::ALL.iter().all(|field| next.get(*field).is_some()));
    }

    #[test]
    fn unknown_has_its_reason() {
        for (raw, arch, why) in [
            ("go1.28.1", Arch::Amd64, "1.19 to 1.27, not of Go 1.28"),
            ("go1.18.10", Arch::Amd64, "not of Go 1.18"),
            ("devel +abc", Arch::Arm64, "names no release"),
            ("go1.27.3", Arch::Other(3), "amd64 and arm64 only"),
        ] {
            let text = by_version(raw, arch).unwrap_err().to_string();
            assert!(text.contains(why), "{text}");
        }
    }
}
