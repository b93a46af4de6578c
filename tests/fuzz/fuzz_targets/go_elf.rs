//! Executables: whatever comes, a Go program, none, or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = gohang::golang::inspect_image(data);
});
