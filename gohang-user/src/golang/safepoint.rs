//! Whether a signal can preempt a goroutine at an instruction, and if not, why.
//!
//! The same tables as in `isAsyncSafePoint` (runtime/preempt.go). What that function
//! asks of the goroutine and its thread, which no file tells, is not part of it.

use serde::{Deserialize, Serialize};

use super::elf::ElfError;
use super::image::ReadAt;
use super::moduledata::ModuleData;
use super::pclntab::{Entry, Pclntab, Record};
use super::symbols::Symbols;
use super::version::GoVersion;

/// `PCDATA_UnsafePoint`, and its value for instructions that are not safe; -3 and below
/// are safe, as the runtime goes back to the start of their sequence.
const UNSAFE_POINTS: u32 = 0;
const UNSAFE: i32 = -2;
/// `PCDATA_InlTreeIndex` and `FUNCDATA_InlTree`.
const INLINED_AT: u32 = 2;
const INLINED: u32 = 3;
/// `FUNCDATA_LocalsPointerMaps`.
const LOCALS: u32 = 1;
/// `FuncFlagAsm`.
const ASSEMBLY: u8 = 4;
/// Packages whose functions are never preempted; the third until 1.22, the others up
/// to now, of which the second since 1.23.
const RUNTIME: [&str; 4] = [
    "runtime.",
    "internal/runtime/",
    "runtime/internal/",
    "reflect.",
];

/// What a signal meets at an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafePoint {
    /// It can preempt here.
    Safe,
    /// Not Go's code: C, or the kernel's vDSO.
    NotGo,
    /// A function written in assembly, as copying memory or much of cryptography is.
    Assembly,
    /// A function of the runtime or of package reflect, or one inlined from there.
    Runtime,
    /// Marked by the compiler: within a write barrier, a function that must not grow
    /// its stack, or another sequence that may not be cut.
    Marked,
}

impl SafePoint {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Safe,
        Self::NotGo,
        Self::Assembly,
        Self::Runtime,
        Self::Marked,
    ];

    /// Its name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::NotGo => "not_go",
            Self::Assembly => "assembly",
            Self::Runtime => "runtime",
            Self::Marked => "marked",
        }
    }

    /// Whether a signal can preempt here.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Safe)
    }

    /// Its meaning, for a sentence on what was interrupted.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Safe => "a place where a signal can preempt",
            Self::NotGo => "code that is not Go's",
            Self::Assembly => "a function written in assembly",
            Self::Runtime => "the runtime's own code",
            Self::Marked => "a sequence that the compiler marked as not to be cut",
        }
    }
}

/// The safe points of one program.
#[derive(Debug)]
pub struct SafePoints<'a, R> {
    symbols: &'a Symbols<R>,
    inlined: InlinedCalls,
}

/// Where the data of a program's functions counts from, and the layout of an inlined call
/// in it; none if not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct InlinedCalls(Option<(u64, InlinedCall)>);

impl InlinedCalls {
    /// Those of the program of `symbols`, of this version.
    pub fn find<R: ReadAt>(symbols: &Symbols<R>, version: &GoVersion) -> Result<Self, ElfError> {
        let mut inlined = None;
        if let (Some((table, _)), Some(minor)) = (symbols.go_table(), version.minor())
            && let Some(module) = ModuleData::find(symbols.elf(), table)?
        {
            inlined = module
                .func_data(minor)
                .map(|start| (start, InlinedCall::of(minor)));
        }
        Ok(Self(inlined))
    }
}

/// Layout of `runtime.inlinedCall`.
#[derive(Debug, Clone, Copy)]
struct InlinedCall {
    size: u64,
    name: u64,
}

impl InlinedCall {
    const fn of(minor: u32) -> Self {
        if minor < 20 {
            Self { size: 20, name: 12 }
        } else {
            Self { size: 16, name: 4 }
        }
    }
}

impl<'a, R: ReadAt> SafePoints<'a, R> {
    /// For the program of `symbols`, of this version.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn open(symbols: &'a Symbols<R>, version: &GoVersion) -> Result<Self, ElfError> {
        Ok(Self::with(symbols, InlinedCalls::find(symbols, version)?))
    }

    /// With what was found before.
    pub(super) const fn with(symbols: &'a Symbols<R>, inlined: InlinedCalls) -> Self {
        Self { symbols, inlined }
    }

    /// Whether functions inlined into others are told apart: not in a version that came
    /// later than this was written. Without, a body of the runtime's that is inlined into
    /// another package's function counts as that function.
    #[must_use]
    pub fn knows_inlined(&self) -> bool {
        self.inlined.0.is_some()
    }

    /// What a signal meets at `vaddr` (before the load bias); `None` when the program
    /// has no table of functions that can be read.
    ///
    /// # Errors
    /// When the tables are damaged or reading fails.
    pub fn at(&self, vaddr: u64) -> Result<Option<SafePoint>, ElfError> {
        if self.symbols.go_table().is_none() {
            return Ok(None);
        }
        let Some((table, text, entry)) = self.symbols.entry(vaddr)? else {
            return Ok(Some(SafePoint::NotGo));
        };
        let elf = self.symbols.elf();
        let record = table.record(elf, entry)?;
        // It lies in the entry, whose ends are 32-bit numbers from there.
        let offset = (vaddr - text) as u32;
        let locals = table.func_data(elf, &record, LOCALS)?;
        if record.flags & ASSEMBLY != 0 || locals.is_none() {
            return Ok(Some(SafePoint::Assembly));
        }
        let name = self.innermost(table, entry, &record, offset)?;
        if RUNTIME.iter().any(|package| name.starts_with(package)) {
            return Ok(Some(SafePoint::Runtime));
        }
        let marked = table.pc_data(elf, entry, &record, UNSAFE_POINTS, offset)? == UNSAFE;
        Ok(Some(if marked {
            SafePoint::Marked
        } else {
            SafePoint::Safe
        }))
    }

    /// The name of the function at `vaddr` (before the load bias), and where that was
    /// inlined, of the innermost one; `None` outside of Go's code.
    ///
    /// # Errors
    /// As [`Self::at`].
    pub fn innermost_name(&self, vaddr: u64) -> Result<Option<String>, ElfError> {
        let Some((table, text, entry)) = self.symbols.entry(vaddr)? else {
            return Ok(None);
        };
        let record = table.record(self.symbols.elf(), entry)?;
        let name = self.innermost(table, entry, &record, (vaddr - text) as u32)?;
        Ok(Some(name))
    }

    fn innermost(
        &self,
        table: &Pclntab,
        entry: Entry,
        record: &Record,
        offset: u32,
    ) -> Result<String, ElfError> {
        let elf = self.symbols.elf();
        if let Some((start, layout)) = self.inlined.0
            && let Some(tree) = table.func_data(elf, record, INLINED)?
            && let Ok(index) = u64::try_from(table.pc_data(elf, entry, record, INLINED_AT, offset)?)
        {
            let call = start
                .saturating_add(u64::from(tree))
                .saturating_add(index * layout.size);
            let damaged = "the list of inlined calls leads out of the file";
            let place = elf
                .file_offset(call.saturating_add(layout.name), 4)
                .ok_or(ElfError::Damaged(damaged))?;
            let raw = elf.bytes(place, 4, damaged)?;
            let name = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
            return table.name_at(elf, name);
        }
        table.name(elf, record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::elf::Elf;
    use super::super::synthetic::{Builder, DATA_VADDR};
    use super::super::synthetic_pclntab::{TestFunction, pclntab};
    use super::*;

    /// Inside the text segment of the files made here.
    const TEXT: u64 = 0x40_0100;
    const MINORS: [u32; 4] = [19, 20, 26, 27];

    fn functions() -> Vec<TestFunction> {
        let mut assembly = TestFunction::new("main.asm", 10);
        assembly.flags = ASSEMBLY;
        let mut no_locals = TestFunction::new("main.none", 10);
        no_locals.data = [None, None];
        let mut marked = TestFunction::new("main.main", 40);
        marked.unsafe_points = vec![(-1, 10), (UNSAFE, 10), (-3, 20)];
        marked.inlined = vec![(-1, 30), (1, 10)];
        marked.data = [Some(0), Some(8)];
        let last = TestFunction::new("runtime.add", 10);
        vec![assembly, no_locals, marked, last]
    }

    /// A program of that version whose inlined calls are at the end of its data.
    fn program(minor: u32) -> Vec<u8> {
        let table = pclntab(minor >= 20, TEXT, &functions());
        let name = b"runtime.add\0";
        let names = &table[72..];
        let name = names.windows(name.len()).position(|part| part == name);
        let call = InlinedCall::of(minor);
        // Eight bytes, a call, and the one that is meant.
        let mut calls = vec![0; 8 + 2 * call.size as usize];
        let at = 8 + (call.size + call.name) as usize;
        calls[at..at + 4].copy_from_slice(&(name.unwrap() as u32).to_le_bytes());
        let builder = Builder::new(true, false)
            .data_section(".gopclntab", &table)
            .data_section(".calls", &calls);
        let calls = builder.next_vaddr() - (calls.len() as u64).next_multiple_of(16);
        let mut words = [0; 44];
        words[0] = DATA_VADDR;
        words[17] = functions().len() as u64 + 1;
        (words[22], words[23]) = (TEXT, TEXT + 70);
        words[match minor {
            ..20 => 38,
            20..27 => 40,
            _ => 43,
        }] = calls;
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        builder.data_section(".go.module", &words).build()
    }

    #[test]
    fn every_kind() {
        for minor in MINORS {
            let raw = program(minor);
            let symbols = Symbols::open(Elf::parse(&raw[..]).unwrap()).unwrap();
            let version = GoVersion::parse(&format!("go1.{minor}.1")).unwrap();
            let points = SafePoints::open(&symbols, &version).unwrap();
            assert!(points.knows_inlined());
            for (at, want, name) in [
                (0, SafePoint::Assembly, "main.asm"),
                (10, SafePoint::Assembly, "main.none"),
                (20, SafePoint::Safe, "main.main"),
                (30, SafePoint::Marked, "main.main"),
                (49, SafePoint::Safe, "main.main"),
                (50, SafePoint::Runtime, "runtime.add"),
                (60, SafePoint::Runtime, "runtime.add"),
            ] {
                assert_eq!(points.at(TEXT + at).unwrap(), Some(want), "1.{minor} {at}");
                let found = points.innermost_name(TEXT + at).unwrap();
                assert_eq!(found.as_deref(), Some(name), "1.{minor} {at}");
            }
            assert_eq!(points.at(TEXT + 70).unwrap(), Some(SafePoint::NotGo));
            assert_eq!(points.innermost_name(TEXT - 1).unwrap(), None);
        }
    }

    #[test]
    fn of_a_later_version_the_outer_function_counts() {
        let raw = program(27);
        let symbols = Symbols::open(Elf::parse(&raw[..]).unwrap()).unwrap();
        for version in ["go1.28.1", "devel +abc"] {
            let version = GoVersion::parse(version).unwrap();
            let points = SafePoints::open(&symbols, &version).unwrap();
            assert!(!points.knows_inlined());
            assert_eq!(points.at(TEXT + 50).unwrap(), Some(SafePoint::Safe));
        }
    }

    proptest! {
        #[test]
        fn damaged_programs_never_panic(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            minor in prop::sample::select(&MINORS[..]),
        ) {
            let mut raw = program(minor);
            // The tables, not the empty code.
            for (at, byte) in edits {
                let data = &mut raw[0x1000..];
                let len = data.len();
                data[at.index(len)] = byte;
            }
            let Ok(elf) = Elf::parse(&raw[..]) else { return Ok(()) };
            let Ok(symbols) = Symbols::open(elf) else { return Ok(()) };
            let version = GoVersion::parse("go1.27.1").unwrap();
            if let Ok(points) = SafePoints::open(&symbols, &version) {
                for at in 0..70 {
                    let _ = points.at(TEXT + at);
                    let _ = points.innermost_name(TEXT + at);
                }
            }
        }
    }
}
