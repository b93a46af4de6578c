//! What the table of functions says of single instructions: lines, unsafe points.

use super::super::elf::{Elf, ElfError};
use super::super::image::ReadAt;
use super::{Entry, Pclntab, Record};

/// Most bytes of one function's table of values; it has at most a few per instruction.
const MAX_VALUES: u64 = 1 << 20;

impl Pclntab {
    /// Source file and line of `offset` (from the start of Go's code), which lies in
    /// `entry`; `None` where the function has none.
    ///
    /// # Errors
    /// When the tables are damaged or reading fails.
    pub fn line<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        entry: Entry,
        record: &Record,
        offset: u32,
    ) -> Result<Option<(String, u32)>, ElfError> {
        let file = self.value(elf, record.files, entry, offset)?;
        let line = self.value(elf, record.lines, entry, offset)?;
        let (Some(Ok(file)), Some(Ok(line))) = (file.map(u64::try_from), line.map(u32::try_from))
        else {
            return Ok(None);
        };
        let slot = self.units + 4 * (u64::from(record.unit) + file);
        if slot >= self.files {
            return Ok(None);
        }
        let place = u32::from_le_bytes(self.read(elf, slot)?);
        if place == u32::MAX {
            return Ok(None);
        }
        let file = self.text(elf, self.files + u64::from(place))?;
        Ok(Some((file, line)))
    }

    /// The value that table number `table` of the function's tables (`PCDATA`) has at
    /// `offset`; -1 where there is no such table.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn pc_data<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        entry: Entry,
        record: &Record,
        table: u32,
        offset: u32,
    ) -> Result<i32, ElfError> {
        if table >= record.pc_tables {
            return Ok(-1);
        }
        let at = record.at + self.form.record() + 4 * u64::from(table);
        let table = u32::from_le_bytes(self.read(elf, at)?);
        Ok(self.value(elf, table, entry, offset)?.unwrap_or(-1))
    }

    /// Where the function's data number `number` (`FUNCDATA`) lies, from the start of
    /// `go:func.*`; `None` where it has none.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub fn func_data<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        record: &Record,
        number: u32,
    ) -> Result<Option<u32>, ElfError> {
        if number >= record.data_tables {
            return Ok(None);
        }
        let behind = 4 * (u64::from(record.pc_tables) + u64::from(number));
        let raw = self.read(elf, record.at + self.form.record() + behind)?;
        let place = u32::from_le_bytes(raw);
        Ok((place != u32::MAX).then_some(place))
    }

    /// The value at `offset` in the table of values at `table`: runs of changed value
    /// and length (runtime/symtab.go, `pcvalue`).
    fn value<R: ReadAt>(
        &self,
        elf: &Elf<R>,
        table: u32,
        entry: Entry,
        offset: u32,
    ) -> Result<Option<i32>, ElfError> {
        if table == 0 {
            return Ok(None);
        }
        let mut at = self.values + u64::from(table);
        let end = self.index.max(at).min(at + MAX_VALUES);
        let mut value = -1_i32;
        let mut pc = u64::from(entry.start);
        let mut first = true;
        while at < end {
            // Two numbers have at most ten bytes.
            let chunk = self.range(elf, at, 512.min(end - at))?;
            let mut rest = &chunk[..];
            while rest.len() >= 10 || at + chunk.len() as u64 == end {
                let Some(change) = uvarint(&mut rest) else {
                    return Ok(None);
                };
                if change == 0 && !first {
                    return Ok(None);
                }
                first = false;
                let Some(length) = uvarint(&mut rest) else {
                    return Ok(None);
                };
                let half = (change >> 1).cast_signed();
                value = value.wrapping_add(if change & 1 == 0 { half } else { !half });
                pc = pc.saturating_add(u64::from(length) * u64::from(self.quantum));
                if u64::from(offset) < pc {
                    return Ok(Some(value));
                }
            }
            at += (chunk.len() - rest.len()) as u64;
        }
        Ok(None)
    }
}

/// Takes an unsigned LEB128 number of at most 32 bits from the front of `raw`.
fn uvarint(raw: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u64;
    for index in 0..5 {
        let (byte, rest) = raw.split_first()?;
        *raw = rest;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}
