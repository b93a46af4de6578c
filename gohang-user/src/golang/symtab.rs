//! The ELF symbol table (`.symtab`), for what Go's own table does not list.

use super::elf::{Arch, Elf, ElfError};
use super::image::ReadAt;
use super::pclntab::CHUNK;

/// Section type and name.
const SHT_SYMTAB: u32 = 2;
const SECTION: &str = ".symtab";
/// Bytes of a symbol in a 64-bit file.
const SYMBOL: u64 = 24;
/// `STT_OBJECT`.
const STT_OBJECT: u8 = 1;
/// `STT_FUNC`.
const STT_FUNC: u8 = 2;
/// Largest table and largest table of names; a program of several hundred megabytes
/// has about 30 MiB of each. It bounds what a pass reads.
const MAX_SIZE: u64 = 512 << 20;
/// Longest name that is read.
const MAX_NAME: u64 = 4096;

/// A function in the symbol table, without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// First byte, before the load bias.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
    name: u32,
}

/// Where symbols and their names lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symtab {
    symbols: (u64, u64),
    names: (u64, u64),
}

impl Symtab {
    /// The symbol table of `elf`; `None` when it was stripped, is damaged, or is not of
    /// amd64 or arm64.
    pub fn find<R: ReadAt>(elf: &Elf<R>) -> Option<Self> {
        if !matches!(elf.arch(), Arch::Amd64 | Arch::Arm64) {
            return None;
        }
        let section = elf
            .section(SECTION)
            .filter(|section| section.kind == SHT_SYMTAB)?;
        let names = elf.sections().get(section.link as usize)?;
        let table = Self {
            symbols: section.file_range()?,
            names: names.file_range()?,
        };
        let inside = |(offset, size): (u64, u64)| {
            size <= MAX_SIZE
                && offset
                    .checked_add(size)
                    .is_some_and(|end| end <= elf.image().len())
        };
        (inside(table.symbols) && inside(table.names)).then_some(table)
    }

    /// Calls `visit` with every function that has a size.
    fn each<R: ReadAt>(&self, elf: &Elf<R>, visit: impl FnMut(Symbol)) -> Result<(), ElfError> {
        self.each_of(elf, STT_FUNC, visit)
    }

    /// Calls `visit` with every symbol of this kind that has a size.
    fn each_of<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        kind: u8,
        mut visit: impl FnMut(Symbol),
    ) -> Result<(), ElfError> {
        let (offset, size) = self.symbols;
        let mut at = 0;
        // A whole number of symbols.
        let step = CHUNK / SYMBOL * SYMBOL;
        while at < size {
            let len = step.min(size - at);
            let chunk = elf.bytes(offset + at, len, "its symbol table is cut off")?;
            for raw in chunk.chunks_exact(SYMBOL as usize) {
                let (start, length) = (elf.word(raw, 8), elf.word(raw, 16));
                if raw[4] & 0xf == kind && length > 0 {
                    visit(Symbol {
                        start,
                        end: start.saturating_add(length),
                        name: u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]),
                    });
                }
            }
            at += len;
        }
        Ok(())
    }

    /// The functions called `wanted`, in that order, found in one pass.
    ///
    /// # Errors
    /// When reading fails.
    pub fn find_all<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        wanted: &[&str],
    ) -> Result<Vec<Option<Symbol>>, ElfError> {
        self.find_all_of(elf, STT_FUNC, wanted)
    }

    /// The variables called `wanted`, in that order, found in one pass.
    ///
    /// # Errors
    /// When reading fails.
    pub fn find_variables<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        wanted: &[&str],
    ) -> Result<Vec<Option<Symbol>>, ElfError> {
        self.find_all_of(elf, STT_OBJECT, wanted)
    }

    fn find_all_of<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        kind: u8,
        wanted: &[&str],
    ) -> Result<Vec<Option<Symbol>>, ElfError> {
        let places = self.places(elf, wanted)?;
        let mut found = vec![None; wanted.len()];
        self.each_of(elf, kind, |symbol| {
            let first = places.partition_point(|(place, _)| *place < symbol.name);
            let same = places[first..]
                .iter()
                .take_while(|(place, _)| *place == symbol.name);
            for (_, index) in same {
                found[*index].get_or_insert(symbol);
            }
        })?;
        Ok(found)
    }

    /// Where the `wanted` names lie among the names, and their numbers, by place. A
    /// linker lets a name be the tail of a longer one.
    fn places<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        wanted: &[&str],
    ) -> Result<Vec<(u32, usize)>, ElfError> {
        let (offset, size) = self.names;
        let longest = wanted.iter().map(|name| name.len()).max().unwrap_or(0) as u64;
        let mut places = Vec::new();
        let mut at = 0;
        while at < size {
            let len = CHUNK.max(4 * longest).min(size - at);
            let chunk = elf.bytes(offset + at, len, "its symbol names are cut off")?;
            for (end, _) in chunk.iter().enumerate().filter(|(_, byte)| **byte == 0) {
                for (index, name) in wanted.iter().enumerate() {
                    if chunk[..end].ends_with(name.as_bytes()) {
                        // The table's size is checked to fit.
                        places.push(((at as usize + end - name.len()) as u32, index));
                    }
                }
            }
            if at + len == size {
                break;
            }
            // Names that this chunk cuts off are seen whole in the next one.
            at += len - longest;
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// The function that contains address `vaddr`.
    ///
    /// # Errors
    /// When reading fails.
    pub fn lookup<R: ReadAt>(&self, elf: &Elf<R>, vaddr: u64) -> Result<Option<Symbol>, ElfError> {
        let mut found: Option<Symbol> = None;
        self.each(elf, |symbol| {
            if (symbol.start..symbol.end).contains(&vaddr)
                && found.is_none_or(|other| other.start < symbol.start)
            {
                found = Some(symbol);
            }
        })?;
        Ok(found)
    }

    /// The name of a symbol, as far as [`MAX_NAME`].
    ///
    /// # Errors
    /// When it is not in the table or reading fails.
    pub fn name<R: ReadAt>(&self, elf: &Elf<R>, symbol: Symbol) -> Result<String, ElfError> {
        let damaged = "the name of a symbol is missing";
        let (offset, size) = self.names;
        let place = u64::from(symbol.name);
        let left = size.checked_sub(place).ok_or(ElfError::Damaged(damaged))?;
        let raw = elf.bytes(offset + place, left.min(MAX_NAME), damaged)?;
        let name = raw.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }
}
