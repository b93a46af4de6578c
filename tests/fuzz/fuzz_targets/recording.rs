//! Recordings: whatever comes, items and an ending or an error.
#![no_main]

use gohang::source::{Recorded, Source as _};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(mut source) = Recorded::open(data) else {
        return;
    };
    let mut items = Vec::new();
    while source.ending().is_none() {
        source.drain(&mut items).expect("a slice can be read");
        items.clear();
        source.pending(0).expect("it is in memory");
    }
    let totals = source.totals();
    assert!(totals.at.mono_ns >= source.begin().start.mono_ns);
});
