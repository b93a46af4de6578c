//! The base-relative relocations of a position-independent program.
//!
//! Where such a program holds a pointer, its file may hold zero: the dynamic linker
//! puts the address there, and the relocation says which.

use super::elf::{Elf, ElfError};
use super::image::ReadAt;

/// How many bytes of relocations are read: those of 2.8 million pointers.
const MAX_RELOCATIONS: u64 = 64 << 20;
/// Longest dynamic table that is read.
const MAX_DYNAMIC: u64 = 96 << 10;
/// Read at a time; a multiple of a relocation's size.
const CHUNK: u64 = 24 * 4096;

/// `DT_RELA` and `DT_RELASZ`.
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;

/// Calls `visit` with place and value, both addresses before the load bias, of every
/// relocation with addend (`DT_RELA`) that names no symbol.
///
/// The other kinds, `DT_REL` and `DT_RELR`, keep the value in place.
///
/// # Errors
/// When the table is not in the file, or reading fails.
pub fn relative<R: ReadAt>(elf: &Elf<R>, mut visit: impl FnMut(u64, u64)) -> Result<(), ElfError> {
    let damaged = "its relocations are not in the file";
    let Some((offset, size)) = elf.dynamic() else {
        return Ok(());
    };
    let word = elf.pointer_size();
    let dynamic = elf.bytes(offset, size.min(MAX_DYNAMIC), damaged)?;
    let entry = |tag: u64| {
        dynamic
            .chunks_exact(2 * word as usize)
            .find(|raw| elf.word(raw, 0) == tag)
            .map(|raw| elf.word(raw, word as usize))
    };
    let (Some(vaddr), Some(size)) = (entry(DT_RELA), entry(DT_RELASZ)) else {
        return Ok(());
    };
    let size = size.min(MAX_RELOCATIONS);
    let start = elf
        .file_offset(vaddr, size)
        .ok_or(ElfError::Damaged(damaged))?;
    let mut at = 0;
    while at < size {
        let len = CHUNK.min(size - at);
        let chunk = elf.bytes(start + at, len, damaged)?;
        for raw in chunk.chunks_exact(3 * word as usize) {
            let symbol = elf.word(raw, word as usize) >> if word == 8 { 32 } else { 8 };
            if symbol == 0 {
                visit(elf.word(raw, 0), elf.word(raw, 2 * word as usize));
            }
        }
        at += len;
    }
    Ok(())
}

/// Puts into `values` what the relocations of `slots` put there; the others stay.
///
/// # Errors
/// As [`relative`].
pub fn apply<R: ReadAt, const N: usize>(
    elf: &Elf<R>,
    slots: [u64; N],
    values: &mut [u64; N],
) -> Result<(), ElfError> {
    relative(elf, |place, value| {
        for (own, slot) in values.iter_mut().zip(slots) {
            if slot == place {
                *own = value;
            }
        }
    })
}
