//! The runtime's own description of a program (`runtime.moduledata`), for the few
//! addresses that the table of functions does not hold.

use super::elf::{Elf, ElfError, Segment};
use super::image::ReadAt;
use super::pclntab::{CHUNK, Pclntab};
use super::relocations;

/// Section that holds nothing else; since 1.26.
const SECTION: &str = ".go.module";
/// Words of it that are read.
const WORDS: usize = 44;
/// Word of the pointer to the table of functions.
const TABLE: usize = 0;
/// Word of the length of the index of functions, its end mark included.
const INDEX_LEN: usize = 17;
/// Words of the start and the end of Go's code. These four words are the same from
/// 1.18 to 1.27 (runtime/symtab.go).
const TEXT: usize = 22;
const ETEXT: usize = 23;
/// How much data is searched for it where no section leads to it.
const MAX_SEARCH: u64 = 64 << 20;
/// Most places that are looked at; the address of the table of functions stands in a
/// handful.
const MAX_PLACES: usize = 64;

/// A copy of the structure's first words, relocated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleData {
    words: [u64; WORDS],
}

impl ModuleData {
    /// The description of the program with this table of functions; `None` when it is
    /// not found.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub fn find<R: ReadAt>(elf: &Elf<R>, table: &Pclntab) -> Result<Option<Self>, ElfError> {
        if let Some(section) = elf.section(SECTION)
            && let Some(found) = Self::at(elf, table, section.vaddr)?
        {
            return Ok(Some(found));
        }
        for place in places(elf, table.vaddr())? {
            if let Some(found) = Self::at(elf, table, place)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The structure at address `vaddr`, if it describes `table`.
    fn at<R: ReadAt>(elf: &Elf<R>, table: &Pclntab, vaddr: u64) -> Result<Option<Self>, ElfError> {
        let size = 8 * WORDS as u64;
        let Some(offset) = elf.file_offset(vaddr, size) else {
            return Ok(None);
        };
        let raw = elf.bytes(offset, size, "its module data is cut off")?;
        let mut words = [0; WORDS];
        for (word, raw) in words.iter_mut().zip(raw.chunks_exact(8)) {
            *word = elf.word(raw, 0);
        }
        // Lengths are not relocated, so that most wrong places end here.
        if words[INDEX_LEN] != table.functions() + 1 {
            return Ok(None);
        }
        if elf.is_position_independent() {
            relocations::relative(elf, |place, value| {
                let inside = place.wrapping_sub(vaddr);
                if inside < size && inside.is_multiple_of(8) {
                    words[(inside / 8) as usize] = value;
                }
            })?;
        }
        let fits = words[TABLE] == table.vaddr() && words[TEXT] < words[ETEXT];
        Ok(fits.then_some(Self { words }))
    }

    /// Where Go's code starts, before the load bias.
    pub fn text(&self) -> u64 {
        self.words[TEXT]
    }

    /// The address that the functions' data is counted from (`go:func.*`), for a
    /// program of Go 1.`minor`; `None` before 1.18 and for versions not looked at.
    pub fn func_data(&self, minor: u32) -> Option<u64> {
        // runtime/symtab.go: 1.20 has two words more before it, 1.27 three further.
        let word = match minor {
            18..=19 => 38,
            20..=26 => 40,
            27 => 43,
            _ => return None,
        };
        Some(self.words[word])
    }
}

/// Places in the data where the address `target` stands, or is put when it is loaded.
fn places<R: ReadAt>(elf: &Elf<R>, target: u64) -> Result<Vec<u64>, ElfError> {
    let mut places = Vec::new();
    if elf.is_position_independent() {
        relocations::relative(elf, |place, value| {
            if value == target && places.len() < MAX_PLACES {
                places.push(place);
            }
        })?;
    }
    let mut budget = MAX_SEARCH;
    let data = elf
        .segments()
        .iter()
        .filter(|segment| segment.writable && !segment.executable);
    for segment in data {
        search(elf, segment, target, &mut budget, &mut places)?;
    }
    Ok(places)
}

/// Adds the places in the file's part of `segment` that hold `target`; at most
/// `budget` bytes are read.
fn search<R: ReadAt>(
    elf: &Elf<R>,
    segment: &Segment,
    target: u64,
    budget: &mut u64,
    places: &mut Vec<u64>,
) -> Result<(), ElfError> {
    let end = segment
        .offset
        .saturating_add(segment.file_size)
        .min(elf.image().len());
    let skip = segment.vaddr.wrapping_neg() % 8;
    let mut at = segment.offset.saturating_add(skip);
    while at < end && *budget > 0 {
        let len = CHUNK.min(end - at).min(*budget);
        let chunk = elf.bytes(at, len, "its data segment is cut off")?;
        for (index, word) in chunk.chunks_exact(8).enumerate() {
            if elf.word(word, 0) == target && places.len() < MAX_PLACES {
                let inside = at + 8 * index as u64 - segment.offset;
                places.push(segment.vaddr.wrapping_add(inside));
            }
        }
        *budget -= len;
        at += len;
    }
    Ok(())
}
