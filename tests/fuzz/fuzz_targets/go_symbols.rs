//! Tables of functions: whatever comes, answers or an error.
#![no_main]

use gohang::golang::{Elf, GoVersion, RuntimeFunctions, SafePoints, Symbols};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(symbols) = Elf::parse(data)
        .map_err(drop)
        .and_then(|elf| Symbols::open(elf).map_err(drop))
    else {
        return;
    };
    if let Ok(functions) = RuntimeFunctions::find(&symbols) {
        functions.attach_points(&symbols);
    }
    let version = GoVersion::parse("go1.27.1").expect("a version");
    let points = SafePoints::open(&symbols, &version);
    let segments = symbols.elf().segments().to_vec();
    for segment in segments.iter().filter(|own| own.executable).take(4) {
        for at in (0..0x4000).step_by(0x155) {
            let vaddr = segment.vaddr.wrapping_add(at);
            if let Ok(Some(function)) = symbols.lookup(vaddr) {
                assert!(function.contains(vaddr));
            }
            let _ = symbols.line(vaddr);
            if let Ok(points) = &points {
                let _ = points.at(vaddr);
            }
        }
    }
});
