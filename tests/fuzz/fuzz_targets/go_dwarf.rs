//! Debug information: whatever comes, offsets, none, or an error.
#![no_main]

use gohang::golang::{Elf, Layout};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(elf) = Elf::parse(data) {
        let _ = Layout::from_dwarf(&elf);
    }
});
