//! Parts of Go programs, small enough to be changed byte by byte.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use object::{CompressionFormat, Object as _, ObjectSection as _};

/// Size of an ELF header, and of a section header.
const HEADER: usize = 64;
/// Size of a program header.
const SEGMENT: usize = 56;
/// Functions that a seed keeps, and bytes of each table that they refer to: the linker
/// numbers names, files and values in the order of the functions.
const FUNCTIONS: usize = 24;
const KEPT: usize = 6 << 10;
/// Bytes of the header of a table of functions.
const TABLE_HEADER: usize = 72;
/// The type that comes last among those that are looked for.
const LAST_TYPE: &[u8] = b"runtime.sysmontick\0";
/// Bytes of a type's description that are kept behind its name.
const TYPE: usize = 300;

/// The build information.
pub fn build_info(whole: &[u8]) -> Option<Vec<u8>> {
    let file = object::File::parse(whole).ok()?;
    let info = file.section_by_name(".go.buildinfo")?;
    elf(
        whole,
        &[(".go.buildinfo", info.address(), info.data().ok()?)],
    )
}

/// The first functions of the linker's table (that of 1.18 and later), and the
/// program's description of itself where it has a section of its own.
pub fn functions(whole: &[u8]) -> Option<Vec<u8>> {
    let file = object::File::parse(whole).ok()?;
    let section = file.section_by_name(".gopclntab")?;
    let table = section.data().ok()?;
    let word = |at: usize| -> Option<usize> {
        let raw = table.get(at..)?.first_chunk()?;
        usize::try_from(u64::from_le_bytes(*raw)).ok()
    };
    let (count, index) = (word(8)?, word(64)?);
    let kept = count.min(FUNCTIONS);
    // Names, units, files and values: from each to the next.
    let mut seed = table.get(..TABLE_HEADER)?.to_vec();
    let mut offsets = Vec::new();
    for at in [32, 40, 48, 56] {
        offsets.push(seed.len());
        let part = table.get(word(at)?..word(at + 8)?)?;
        seed.extend(&part[..part.len().min(KEPT)]);
        seed.resize(seed.len().next_multiple_of(8), 0);
    }
    offsets.push(seed.len());
    let (old, new) = (8 * count + 4, 8 * kept + 4);
    let entry = |number: usize| -> Option<(u32, u32)> {
        let raw = table.get(index + 8 * number..)?;
        let (start, rest) = raw.split_first_chunk()?;
        Some((
            u32::from_le_bytes(*start),
            u32::from_le_bytes(*rest.first_chunk()?),
        ))
    };
    for number in 0..kept {
        let (start, record) = entry(number)?;
        seed.extend(start.to_le_bytes());
        let moved = (record as usize).checked_sub(old)? + new;
        seed.extend(u32::try_from(moved).ok()?.to_le_bytes());
    }
    let (end, behind) = entry(kept)?;
    seed.extend(end.to_le_bytes());
    seed.extend(table.get(index + old..index + behind as usize)?);
    for (word, value) in [(8, kept)]
        .into_iter()
        .chain((32..72).step_by(8).zip(offsets))
    {
        seed[word..word + 8].copy_from_slice(&(value as u64).to_le_bytes());
    }
    let mut sections = vec![(".gopclntab", section.address(), &seed[..])];
    let mut module = Vec::new();
    if let Some(own) = file.section_by_name(".go.module") {
        module.extend(own.data().ok()?);
        // The length of the index, its end mark included.
        module
            .get_mut(136..144)?
            .copy_from_slice(&(kept as u64 + 1).to_le_bytes());
        sections.push((".go.module", own.address(), &module));
    }
    elf(whole, &sections)
}

/// The unit of debug information with the scheduler's types, as far as those.
pub fn types(whole: &[u8]) -> Option<Vec<u8>> {
    let file = object::File::parse(whole).ok()?;
    let section = |name: &str| -> Option<Vec<u8>> {
        let stored = file.section_by_name(name)?.compressed_data().ok()?;
        if stored.format == CompressionFormat::None {
            return Some(stored.data.to_vec());
        }
        let mut plain = Vec::new();
        ZlibDecoder::new(stored.data).read_to_end(&mut plain).ok()?;
        Some(plain)
    };
    let (abbreviations, info) = (section(".debug_abbrev")?, section(".debug_info")?);
    let last = info
        .windows(LAST_TYPE.len())
        .position(|part| part == LAST_TYPE)?;
    let mut start = 0;
    loop {
        let raw = info.get(start..)?.first_chunk()?;
        let length = u32::from_le_bytes(*raw) as usize;
        if start + 4 + length > last {
            break;
        }
        start += 4 + length;
    }
    let mut unit = info.get(start..last + TYPE)?.to_vec();
    let length = u32::try_from(unit.len() - 4).ok()?;
    unit[..4].copy_from_slice(&length.to_le_bytes());
    elf(
        whole,
        &[
            (".debug_abbrev", 0, &abbreviations),
            (".debug_info", 0, &unit),
        ],
    )
}

/// A 64-bit little-endian ELF file with these sections (name, address, content), the
/// loaded ones in segments of their own, and the executable segments of `whole`, which
/// are only spoken of.
fn elf(whole: &[u8], sections: &[(&str, u64, &[u8])]) -> Option<Vec<u8>> {
    let mut segments = executable_segments(whole)?;
    let loaded = sections.iter().filter(|(_, address, _)| *address != 0);
    let content_at = HEADER + SEGMENT * (segments.len() + loaded.count());
    let mut contents = Vec::new();
    let mut headers = vec![[0; HEADER]];
    let mut names = vec![0];
    for (name, address, content) in sections {
        let place = content_at + contents.len();
        headers.push(section(names.len(), 1, *address, place, content.len())?);
        names.extend(name.bytes().chain([0]));
        if *address != 0 {
            segments.push(segment(*address, place, content.len()));
        }
        contents.extend(*content);
        contents.resize(contents.len().next_multiple_of(8), 0);
    }
    let (at, place) = (names.len(), content_at + contents.len());
    names.extend(b".shstrtab\0");
    headers.push(section(at, 3, 0, place, names.len())?);
    let mut seed = whole.get(..HEADER)?.to_vec();
    seed.extend(segments.concat());
    seed.extend(contents);
    seed.extend(names);
    seed.resize(seed.len().next_multiple_of(8), 0);
    let sections_at = seed.len() as u64;
    seed.extend(headers.concat());
    seed[32..40].copy_from_slice(&(HEADER as u64).to_le_bytes());
    seed[40..48].copy_from_slice(&sections_at.to_le_bytes());
    let count = u16::try_from(segments.len()).ok()?;
    seed[56..58].copy_from_slice(&count.to_le_bytes());
    let count = u16::try_from(headers.len()).ok()?;
    seed[60..62].copy_from_slice(&count.to_le_bytes());
    seed[62..64].copy_from_slice(&(count - 1).to_le_bytes());
    Some(seed)
}

/// A section header: place of its name, kind, address, and where it is in the file.
fn section(
    name: usize,
    kind: u32,
    address: u64,
    offset: usize,
    size: usize,
) -> Option<[u8; HEADER]> {
    let mut raw = [0; HEADER];
    raw[..4].copy_from_slice(&u32::try_from(name).ok()?.to_le_bytes());
    raw[4..8].copy_from_slice(&kind.to_le_bytes());
    for (at, value) in [(16, address), (24, offset as u64), (32, size as u64)] {
        raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    Some(raw)
}

/// A program header of something that may be read and written.
fn segment(address: u64, offset: usize, size: usize) -> [u8; SEGMENT] {
    let mut raw = [0; SEGMENT];
    // PT_LOAD, PF_R and PF_W.
    raw[0] = 1;
    raw[4] = 6;
    let (offset, size) = (offset as u64, size as u64);
    for (at, value) in [
        (8, offset),
        (16, address),
        (24, address),
        (32, size),
        (40, size),
    ] {
        raw[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    raw
}

/// The program headers of `whole` that load code.
fn executable_segments(whole: &[u8]) -> Option<Vec<[u8; SEGMENT]>> {
    let at = u64::from_le_bytes(*whole.get(32..)?.first_chunk()?);
    let count = u16::from_le_bytes(*whole.get(56..)?.first_chunk()?);
    let at = usize::try_from(at).ok()?;
    let raw = whole.get(at..at.checked_add(usize::from(count) * SEGMENT)?)?;
    let (all, _) = raw.as_chunks::<SEGMENT>();
    let loads_code = |raw: &&[u8; SEGMENT]| raw[0] == 1 && raw[4] & 1 != 0;
    Some(all.iter().filter(loads_code).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_go_program_gives_no_seed() {
        let own = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        for whole in [&b""[..], b"\x7fELF", &own] {
            assert_eq!(build_info(whole), None);
            assert_eq!(functions(whole), None);
            assert_eq!(types(whole), None);
        }
    }

    #[test]
    fn sections_of_a_seed_are_found_again() {
        let own = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        let seed = elf(&own, &[(".a", 7, b"first"), (".b", 9, b"second")]).expect("a header");
        let file = object::File::parse(&seed[..]).expect("an ELF file");
        for (name, address, content) in [(".a", 7, &b"first"[..]), (".b", 9, b"second")] {
            let section = file.section_by_name(name).expect(name);
            assert_eq!(section.address(), address);
            assert_eq!(section.data().expect("inside"), content);
        }
    }
}
