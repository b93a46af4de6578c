//! Tests of reading debug information made to measure.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::dwarf::{Members, members};
use super::elf::Elf;
use super::synthetic::Builder;

/// A unit (1), a structure (2) and a member (3), each with its name in place.
const ABBREVIATIONS: [u8; 26] = [
    1, 0x11, 1, 0x03, 0x08, 0, 0, // DW_TAG_compile_unit: name
    2, 0x13, 1, 0x03, 0x08, 0x0b, 0x0f, 0, 0, // DW_TAG_structure_type: name, size
    3, 0x0d, 0, 0x03, 0x08, 0x38, 0x0f, 0, 0, // DW_TAG_member: name, location
    0,
];

const WANTED: [&str; 2] = ["runtime.g", "runtime.m"];

/// A unit with structures of members.
fn unit(version: u8, name: &str, structures: &[(&str, &[(&str, u8)])]) -> Vec<u8> {
    let mut rest = vec![version, 0];
    if version >= 5 {
        // DW_UT_compile and the size of an address, then where abbreviations begin.
        rest.extend([1, 8, 0, 0, 0, 0]);
    } else {
        rest.extend([0, 0, 0, 0, 8]);
    }
    let text = |to: &mut Vec<u8>, code: u8, text: &str| {
        to.push(code);
        to.extend(text.as_bytes());
        to.push(0);
    };
    text(&mut rest, 1, name);
    for (name, members) in structures {
        text(&mut rest, 2, name);
        rest.push(99);
        for (name, offset) in *members {
            text(&mut rest, 3, name);
            rest.push(*offset);
        }
        rest.push(0);
    }
    rest.push(0);
    let mut unit = (rest.len() as u32).to_le_bytes().to_vec();
    unit.extend(rest);
    unit
}

fn program(version: u8) -> Vec<u8> {
    let other = unit(version, "main", &[("runtime.g", &[("goid", 1)])]);
    let first = unit(version, "runtime", &[("runtime.x", &[("goid", 2)])]);
    let second = unit(
        version,
        "runtime",
        &[
            ("runtime.m", &[("g0", 0), ("procid", 72)]),
            ("runtime.g", &[("stack", 0), ("goid", 120)]),
        ],
    );
    [other, first, second].concat()
}

/// How a section is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Storage {
    Plain,
    Zlib,
    Zdebug,
}

fn store(storage: Storage, raw: &[u8]) -> Vec<u8> {
    if storage == Storage::Plain {
        return raw.to_vec();
    }
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(raw).unwrap();
    let packed = zlib.finish().unwrap();
    let size = raw.len() as u64;
    match storage {
        Storage::Zdebug => [&b"ZLIB"[..], &size.to_be_bytes(), &packed].concat(),
        _ => [
            &[1, 0, 0, 0, 0, 0, 0, 0][..],
            &size.to_le_bytes(),
            &[1; 8],
            &packed,
        ]
        .concat(),
    }
}

fn file(storage: Storage, abbreviations: &[u8], info: &[u8]) -> Vec<u8> {
    let name = if storage == Storage::Zdebug {
        "zdebug"
    } else {
        "debug"
    };
    Builder::new(true, false)
        .section_flags(if storage == Storage::Zlib { 0x800 } else { 0 })
        .data_section(&format!(".{name}_abbrev"), &store(storage, abbreviations))
        .data_section(&format!(".{name}_info"), &store(storage, info))
        .build()
}

fn read(file: &[u8]) -> Option<Members> {
    members(&Elf::parse(file).unwrap(), &WANTED).unwrap()
}

#[test]
fn members_of_every_form() {
    for version in [4, 5] {
        for storage in [Storage::Plain, Storage::Zlib, Storage::Zdebug] {
            let file = file(storage, &ABBREVIATIONS, &program(version));
            let found = read(&file).unwrap_or_else(|| panic!("{version} {storage:?}"));
            assert_eq!(found.len(), 2);
            // Not the structure of that name in another package.
            assert_eq!(found["runtime.g"]["goid"], 120);
            assert_eq!(found["runtime.m"]["procid"], 72);
            assert_eq!(found["runtime.m"].get("goid"), None);
        }
    }
}

#[test]
fn what_is_not_wholly_there_is_not_there() {
    let whole = program(5);
    for storage in [Storage::Plain, Storage::Zlib] {
        assert!(read(&file(storage, &ABBREVIATIONS, &whole)).is_some());
        // The last byte ends the unit, the one before the last structure.
        for cut in 2..40 {
            let info = &whole[..whole.len() - cut];
            assert!(
                read(&file(storage, &ABBREVIATIONS, info)).is_none(),
                "{cut}"
            );
        }
        assert!(read(&file(storage, &[], &whole)).is_none());
        assert!(read(&file(storage, &ABBREVIATIONS, &[])).is_none());
    }
    let none = Builder::new(true, false)
        .data_section(".data", &[0; 9])
        .build();
    assert!(read(&none).is_none());
    // Compressed in a way that is not known.
    let mut zstd = file(Storage::Zlib, &ABBREVIATIONS, &whole);
    let at = zstd.len() - zstd.iter().rev().position(|byte| *byte == 0x78).unwrap();
    zstd[at - 25] = 2;
    assert!(read(&zstd).is_none());
}

#[test]
fn effort_is_bounded() {
    let behind = |hostile: &[u8], abbreviations: &[u8]| {
        let info = [hostile, &program(4)].concat();
        read(&file(Storage::Zlib, abbreviations, &info))
    };
    // Empty units, which compress a thousandfold.
    assert!(behind(&vec![0; 1 << 20], &ABBREVIATIONS).is_some());
    assert!(behind(&vec![0; 65 << 20], &ABBREVIATIONS).is_none());
    // A unit of the right name that goes on and on.
    let mut long = unit(4, "runtime", &[]);
    long.resize(8 << 20, 4);
    let length = long.len() as u32 - 4;
    long[..4].copy_from_slice(&length.to_le_bytes());
    assert!(behind(&long, &ABBREVIATIONS).is_some());
    // Entries of one byte, each with a thousand attributes that take no room.
    let mut abbreviations = ABBREVIATIONS.to_vec();
    abbreviations.pop();
    abbreviations.extend([4, 0x2e, 0]);
    abbreviations.extend([0x3f, 0x19].repeat(1000));
    abbreviations.extend([0, 0, 0]);
    assert!(behind(&[], &abbreviations).is_some());
    assert!(behind(&long, &abbreviations).is_none());
    // More units of the right name than there are files of assembly.
    let many = unit(4, "runtime", &[]);
    assert!(behind(&many.repeat(20), &ABBREVIATIONS).is_some());
    assert!(behind(&many.repeat(100), &ABBREVIATIONS).is_none());
}

proptest! {
    #[test]
    fn damaged_information_never_panics(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        abbreviation_edits in prop::collection::vec((0..ABBREVIATIONS.len(), any::<u8>()), 0..3),
        version in 4_u8..6,
    ) {
        let (mut info, mut abbreviations) = (program(version), ABBREVIATIONS);
        for (at, byte) in edits {
            let len = info.len();
            info[at.index(len)] = byte;
        }
        for (at, byte) in abbreviation_edits {
            abbreviations[at] = byte;
        }
        read(&file(Storage::Plain, &abbreviations, &info));
    }

    #[test]
    fn any_bytes_never_panic(
        info in prop::collection::vec(any::<u8>(), 0..200),
        flags in prop::sample::select(vec![0_u64, 0x800]),
    ) {
        let unit = [&[190, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 1][..], b"runtime\0", &info].concat();
        for info in [&unit, &info] {
            let file = Builder::new(true, false)
                .section_flags(flags)
                .data_section(".debug_abbrev", &ABBREVIATIONS)
                .data_section(".debug_info", info)
                .build();
            read(&file);
        }
    }
}
