//! The Go linker's table of functions (`pclntab`), the one the runtime itself uses.
//!
//! No stripping removes it. Only what an answer needs is read, by ranges of the file;
//! every offset in it is checked against the table's size.

mod values;

use super::elf::{Arch, Elf, ElfError};
use super::image::ReadAt;

/// Sections that hold it; the second in position-independent programs before 1.26.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// What a C linker (cgo) makes of the second, with others of that name.
const MERGED: &str = ".data.rel.ro";
/// First word of 1.2 to 1.15 and of 1.16 to 1.17 (internal/abi/symtab.go of 1.27).
const MAGICS_OLD: [u32; 2] = [0xffff_fffb, 0xffff_fffa];
/// First word of 1.18 and 1.19.
const MAGIC_1_18: u32 = 0xffff_fff0;
/// First word of 1.20 and later.
const MAGIC_1_20: u32 = 0xffff_fff1;
/// Bytes of the header (`runtime.pcHeader`) with 64-bit words.
const HEADER: u64 = 72;
/// Most functions; a program of several hundred megabytes has about half a million.
const MAX_FUNCTIONS: u64 = 4 << 20;
/// Largest table; it bounds what a pass over it reads.
const MAX_SIZE: u64 = 1 << 30;
/// How much of a file is searched for the table where no section leads to it.
const MAX_SEARCH: u64 = 512 << 20;
/// Alignment of the table in memory: 32 before 1.27, which asks for no more than 8.
const ALIGN: u64 = 8;
/// Read at a time in passes.
pub const CHUNK: u64 = 128 << 10;
/// Entries of the index that are read at once at the end of a search.
const BLOCK: u64 = 512;
/// Longest name and file that is read; those of generic functions have some hundred.
const MAX_NAME: u64 = 4096;

/// Why there is no table of functions to read.
#[derive(Debug, thiserror::Error)]
pub enum NoTable {
    /// No section and no place in the file looks like one.
    #[error("it has no table of Go functions (pclntab)")]
    Absent,
    /// The form before Go 1.18.
    #[error("its table of functions is of Go 1.17 or older")]
    TooOld,
    /// A form that came after this program was written.
    #[error("its table of functions has the unknown form {0:#x}")]
    Unknown(u32),
    /// Neither amd64 nor arm64.
    #[error("tables of functions are read of amd64 and arm64 programs only")]
    Arch,
    /// Damaged, or reading failed.
    #[error(transparent)]
    Elf(#[from] ElfError),
}

/// Layout of a function's record (`runtime._func`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// 1.18 and 1.19.
    Go118,
    /// 1.20 and later, with the line where the function starts.
    Go120,
}

impl Form {
    /// Bytes of the fixed part of a record.
    const fn record(self) -> u64 {
        match self {
            Self::Go118 => 40,
            Self::Go120 => 44,
        }
    }
}

/// The header of a table of functions; the rest stays in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pclntab {
    form: Form,
    /// Place in the file and in memory, before the load bias.
    offset: u64,
    vaddr: u64,
    size: u64,
    /// Unit of instruction lengths, in bytes.
    quantum: u32,
    functions: u64,
    text_start: u64,
    // From the table's start: names of functions, file numbers by compilation unit,
    // names of files, tables of values, index and records of functions.
    names: u64,
    units: u64,
    files: u64,
    values: u64,
    index: u64,
}

/// An entry of the index: a function without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// First byte, from the start of Go's code.
    pub start: u32,
    /// First byte of the next function.
    pub end: u32,
    /// Where its record lies, from the start of the index.
    record: u32,
}

/// The fixed part of a function's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    at: u64,
    name: u32,
    files: u32,
    lines: u32,
    unit: u32,
    pc_tables: u32,
    data_tables: u32,
    /// Bits of `runtime.funcFlag`.
    pub flags: u8,
}

impl Pclntab {
    /// The table of `elf`: by its section, or, as the section table may be stripped, by
    /// a search of what is loaded.
    ///
    /// # Errors
    /// [`NoTable`].
    pub fn find<R: ReadAt>(elf: &Elf<R>) -> Result<Self, NoTable> {
        if !matches!(elf.arch(), Arch::Amd64 | Arch::Arm64) {
            return Err(NoTable::Arch);
        }
        let section = SECTIONS.iter().find_map(|name| elf.section(name));
        if let Some(section) = section
            && let Some((offset, size)) = section.file_range()
        {
            return Self::at(elf, offset, section.vaddr, size);
        }
        let mut budget = MAX_SEARCH;
        let merged = elf.section(MERGED).and_then(|section| {
            let (offset, size) = section.file_range()?;
            Some((offset, section.vaddr, size))
        });
        // Usually constants lie apart from code; a linker may have merged them.
        let segments = [false, true].into_iter().flat_map(|executable| {
            let all = elf.segments().iter();
            all.filter(move |segment| segment.executable == executable)
        });
        let segments = segments.map(|own| (own.offset, own.vaddr, own.file_size));
        for (offset, vaddr, size) in merged.into_iter().chain(segments) {
            if let Some(found) = Self::search(elf, offset, vaddr, size, &mut budget)? {
                return Ok(found);
            }
        }
        Err(NoTable::Absent)
    }

    /// The table at `offset` of the file, of at most `size` bytes.
    fn at<R: ReadAt>(elf: &Elf<R>, offset: u64, vaddr: u64, size: u64) -> Result<Self, NoTable> {
        let damaged = "its table of functions is damaged";
        let size = size.min(elf.image().len().saturating_sub(offset));
        let mut raw = [0; HEADER as usize];
        if size < HEADER {
            return Err(ElfError::Damaged("its table of functions is cut off").into());
        }
        elf.image()
            .read_exact_at(offset, &mut raw)
            .map_err(ElfError::Io)?;
        let form = match u32_at(&raw, 0) {
            MAGIC_1_18 => Form::Go118,
            MAGIC_1_20 => Form::Go120,
            old if MAGICS_OLD.contains(&old) => return Err(NoTable::TooOld),
            other => return Err(NoTable::Unknown(other)),
        };
        let word = |index: usize| u64_at(&raw, 8 + 8 * index);
        let table = Self {
            form,
            offset,
            vaddr,
            size,
            quantum: u32::from(raw[6]),
            functions: word(0),
            text_start: word(2),
            names: word(3),
            units: word(4),
            files: word(5),
            values: word(6),
            index: word(7),
        };
        let sane = raw[4..6] == [0, 0]
            && matches!(raw[6], 1 | 2 | 4)
            && raw[7] == 8
            && size <= MAX_SIZE
            && (1..=MAX_FUNCTIONS).contains(&table.functions)
            && table.names >= HEADER
            && table.names < table.units
            && [table.units, table.files, table.values, table.index]
                .iter()
                .all(|start| *start < size)
            && table.index + 8 * table.functions + 4 <= size;
        if !sane {
            return Err(ElfError::Damaged(damaged).into());
        }
        Ok(table)
    }

    /// Looks for a table in the `size` bytes at `start` of the file, which are loaded at
    /// `vaddr`; at most `budget` bytes are read.
    fn search<R: ReadAt>(
        elf: &Elf<R>,
        start: u64,
        vaddr: u64,
        size: u64,
        budget: &mut u64,
    ) -> Result<Option<Self>, ElfError> {
        let end = start.saturating_add(size).min(elf.image().len());
        let mut at = start.saturating_add(vaddr.wrapping_neg() % ALIGN);
        while at < end && *budget > 0 {
            let len = CHUNK.min(end - at).min(*budget);
            let chunk = elf.bytes(at, len, "a segment is cut off")?;
            for (index, unit) in chunk.chunks_exact(ALIGN as usize).enumerate() {
                if !matches!(u32_at(unit, 0), MAGIC_1_18 | MAGIC_1_20) {
                    continue;
                }
                let offset = at + index as u64 * ALIGN;
                let vaddr = vaddr.wrapping_add(offset - start);
                // Data may hold the magic by chance: go on where it leads nowhere.
                match Self::at(elf, offset, vaddr, (end - offset).min(MAX_SIZE)) {
                    Ok(found) if found.begins_well(elf) => return Ok(Some(found)),
                    Err(NoTable::Elf(ElfError::Io(error))) => return Err(error.into()),
                    _ => {}
                }
            }
            *budget -= len;
            at += len;
        }
        Ok(None)
    }

    /// Whether the first and the last entries of the index are in order.
    fn begins_well<R: ReadAt>(&self, elf: &Elf<R>) -> bool {
        let last = self.functions - 1;
        let (Ok(first), Ok(last)) = (self.entry(elf, 0), self.entry(elf, last)) else {
            return false;
        };
        first.start < first.end && first.end <= last.end && last.start < last.end
    }

    /// Its address, before the load bias.
    pub fn vaddr(&self) -> u64 {
        self.vaddr
    }

    /// How many functions it lists.
    pub fn functions(&self) -> u64 {
        self.functions
    }

    /// Where the header says that Go's code starts, and the address of that word: 0
    /// from 1.26 on, and 0 or to be relocated in position-independent programs.
    pub fn text_start(&self) -> (u64, u64) {
        (self.text_start, self.vaddr.wrapping_add(24))
    }

    /// Bytes of code that it covers.
    ///
    /// # Errors
    /// When reading fails.
    pub fn text_size<R: ReadAt>(&self, elf: &Elf<R>) -> Result<u32, ElfError> {
        let raw: [u8; 4] = self.read(elf, self.index + 8 * self.functions)?;
        Ok(u32::from_le_bytes(raw))
    }

    /// The function that contains `offset` from the start of Go's code; what fills the
    /// gap behind a function counts to it.
    ///
    /// # Errors
    /// When the table is cut off or reading fails.
    pub fn lookup<R: ReadAt>(&self, elf: &Elf<R>, offset: u32) -> Result<Option<Entry>, ElfError> {
        // The function lies in low..high.
        let (mut low, mut high) = (0, self.functions);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            let raw: [u8; 4] = self.read(elf, self.index + 8 * middle)?;
            if u32::from_le_bytes(raw) <= offset {
                low = middle;
            } else {
                high = middle;
            }
        }
        let block = self.range(elf, self.index + 8 * low, 8 * (high - low) + 4)?;
        let starts: Vec<u32> = block.chunks(8).map(|entry| u32_at(entry, 0)).collect();
        let behind = starts.partition_point(|start| *start <= offset);
        // In front of the first function, or behind the last one of the block, which is
        // the table's last one if there is any such.
        if behind == 0 || behind == starts.len() {
            return Ok(None);
        }
        Ok(Some(Entry {
            start: starts[behind - 1],
            end: starts[behind],
            record: u32_at(&block, 8 * (behind - 1) + 4),
        }))
    }

    fn entry<R: ReadAt>(&self, elf: &Elf<R>, number: u64) -> Result<Entry, ElfError> {
        let raw: [u8; 12] = self.read(elf, self.index + 8 * number)?;
        Ok(Entry {
            start: u32_at(&raw, 0),
            record: u32_at(&raw, 4),
            end: u32_at(&raw, 8),
        })
    }

    /// Calls `visit` with every function and where its name lies among the names, in
    /// the order of addresses.
    ///
    /// # Errors
    /// When the table is cut off or its records are out of order, or reading fails.
    pub fn each<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        mut visit: impl FnMut(Entry, u32),
    ) -> Result<(), ElfError> {
        let mut records = Window::new(self, elf);
        let mut index = Window::new(self, elf);
        let mut last = 0;
        for number in 0..self.functions {
            let raw = index.get(self.index + 8 * number, 12)?;
            let entry = Entry {
                start: u32_at(raw, 0),
                record: u32_at(raw, 4),
                end: u32_at(raw, 8),
            };
            // The linker writes them in order; only so is the work bounded by the size.
            if entry.record < last {
                return Err(ElfError::Damaged(
                    "its records of functions are out of order",
                ));
            }
            last = entry.record;
            let record = records.get(self.index + u64::from(entry.record), 8)?;
            visit(entry, u32_at(record, 4));
        }
        Ok(())
    }

    /// Calls `visit` with every name of a function and where it lies among the names,
    /// up to `longest` bytes; longer ones are passed over. Functions that are only
    /// inlined are among them.
    ///
    /// # Errors
    /// When the table is cut off or reading fails.
    pub fn each_name<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        longest: u64,
        mut visit: impl FnMut(u32, &[u8]),
    ) -> Result<(), ElfError> {
        let mut at = self.names;
        let mut inside = false;
        while at < self.units {
            let len = CHUNK.max(4 * longest).min(self.units - at);
            let chunk = self.range(elf, at, len)?;
            let mut start = 0;
            while let Some(length) = chunk[start..].iter().position(|byte| *byte == 0) {
                // The rest of a name that was longer than a whole chunk is none.
                if !inside && length as u64 <= longest {
                    // Names lie in the first 4 GiB: the table's size is checked.
                    let place = at + start as u64 - self.names;
                    visit(place as u32, &chunk[start..start + length]);
                }
                inside = false;
                start += length + 1;
            }
            if start == 0 {
                inside = true;
                start = chunk.len();
            }
            at += start as u64;
        }
        Ok(())
    }

    /// The record of a function.
    ///
    /// # Errors
    /// When it is not inside the table, or reading fails.
    pub fn record<R: ReadAt>(&self, elf: &Elf<R>, entry: Entry) -> Result<Record, ElfError> {
        let at = self.index + u64::from(entry.record);
        let raw = self.range(elf, at, self.form.record())?;
        // Its last word is funcID, flags, padding and the number of data.
        let last = raw.len() - 4;
        Ok(Record {
            at,
            name: u32_at(&raw, 4),
            files: u32_at(&raw, 20),
            lines: u32_at(&raw, 24),
            pc_tables: u32_at(&raw, 28),
            unit: u32_at(&raw, 32),
            flags: raw[last + 1],
            data_tables: u32::from(raw[last + 3]),
        })
    }

    /// The name of a function.
    ///
    /// # Errors
    /// When it is not inside the table, or reading fails.
    pub fn name<R: ReadAt>(&self, elf: &Elf<R>, record: &Record) -> Result<String, ElfError> {
        self.name_at(elf, record.name)
    }

    /// The name that lies `place` bytes from the first one.
    ///
    /// # Errors
    /// As [`Self::name`].
    pub fn name_at<R: ReadAt>(&self, elf: &Elf<R>, place: u32) -> Result<String, ElfError> {
        let at = self.names + u64::from(place);
        if at >= self.units {
            return Err(ElfError::Damaged("the name of a function is missing"));
        }
        self.text(elf, at)
    }

    /// The text that ends with a zero byte, as far as [`MAX_NAME`].
    fn text<R: ReadAt>(&self, elf: &Elf<R>, at: u64) -> Result<String, ElfError> {
        // Most are short.
        for len in [128, MAX_NAME] {
            let len = len.min(self.size.saturating_sub(at));
            let raw = self.range(elf, at, len)?;
            if let Some(end) = raw.iter().position(|byte| *byte == 0) {
                return Ok(String::from_utf8_lossy(&raw[..end]).into_owned());
            }
        }
        Err(ElfError::Damaged(
            "a name in its table of functions has no end",
        ))
    }

    fn read<R: ReadAt, const N: usize>(&self, elf: &Elf<R>, at: u64) -> Result<[u8; N], ElfError> {
        let place = self.place(at, N as u64)?;
        let mut raw = [0; N];
        elf.image().read_exact_at(place, &mut raw)?;
        Ok(raw)
    }

    fn range<R: ReadAt>(&self, elf: &Elf<R>, at: u64, len: u64) -> Result<Vec<u8>, ElfError> {
        elf.bytes(
            self.place(at, len)?,
            len,
            "its table of functions is cut off",
        )
    }

    /// Where `at` of the table lies in the file, if `len` bytes from there are inside.
    fn place(&self, at: u64, len: u64) -> Result<u64, ElfError> {
        match at.checked_add(len) {
            Some(end) if end <= self.size => Ok(self.offset + at),
            _ => Err(ElfError::Damaged(
                "its table of functions leads out of itself",
            )),
        }
    }
}

/// A part of the table that moves forwards over it.
struct Window<'a, R> {
    table: &'a Pclntab,
    elf: &'a Elf<R>,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a, R: ReadAt> Window<'a, R> {
    fn new(table: &'a Pclntab, elf: &'a Elf<R>) -> Self {
        Self {
            table,
            elf,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// `len` bytes at `at` of the table.
    fn get(&mut self, at: u64, len: u64) -> Result<&[u8], ElfError> {
        let end = self.start + self.bytes.len() as u64;
        if at < self.start || at + len > end {
            let most = CHUNK.min(self.table.size.saturating_sub(at)).max(len);
            self.bytes = self.table.range(self.elf, at, most)?;
            self.start = at;
        }
        // It is inside now, and the window is small.
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..from + len as usize])
    }
}

/// The little-endian number at `at` of `raw`, which holds it.
fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from(u32_at(raw, at)) | u64::from(u32_at(raw, at + 4)) << 32
}
