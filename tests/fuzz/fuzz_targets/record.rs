//! Ring-buffer records: whatever comes, an event or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = gohang::event::decode(data);
});
