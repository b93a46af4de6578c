//! Goroutine dumps: whatever comes, goroutines or none, each in one group.
#![no_main]

use gohang::golang::dump;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let found = dump::parse(&String::from_utf8_lossy(data));
    let groups = dump::group(&found.goroutines);
    let sum: usize = groups.iter().map(|group| group.ids.len()).sum();
    assert_eq!(sum, found.goroutines.len());
    for goroutine in found.focus() {
        let _ = (goroutine.place(), goroutine.test());
    }
});
