//! The table of offsets against what the compilers wrote.

use std::fs::File;

use gohang::golang::{Elf, Field, FileImage, GoVersion, Layout, LayoutSource};

use super::programs::{Program, programs};

fn elf(program: &Program) -> Elf<FileImage> {
    let file = File::open(&program.path).unwrap();
    Elf::parse(FileImage::new(file).unwrap()).unwrap()
}

#[test]
fn the_table_is_what_debug_information_says() {
    for program in programs() {
        let elf = elf(program);
        let version = GoVersion::parse(&program.version).unwrap();
        let found = Layout::of(&elf, &version);
        let known = Layout::from_version(&version, elf.arch());
        if program.is_stripped() {
            assert!(
                Layout::from_dwarf(&elf).unwrap().is_none(),
                "{}",
                program.name
            );
            if let Ok(found) = found {
                assert_eq!(found.source(), LayoutSource::Table);
                assert_eq!(found, known.unwrap());
            }
            continue;
        }
        let found = found.unwrap();
        assert_eq!(found.source(), LayoutSource::Dwarf, "{}", program.name);
        for field in Field::ALL {
            let own = found.get(field);
            assert!(own.is_some(), "{} has no {field:?}", program.name);
            if let Ok(known) = &known {
                // What moved within a version is not in the table.
                let moves = matches!(field, Field::MPreemptGen | Field::MSignalPending);
                if program.minor == 24 && moves {
                    assert_eq!(known.get(field), None);
                    continue;
                }
                assert_eq!(known.get(field), own, "{} {field:?}", program.name);
            } else {
                // Only a version that came after the table.
                assert!(program.minor > 27, "{}: {known:?}", program.name);
            }
        }
    }
}
