//! Bundles: whatever comes is read within bounds, and what is called whole is what its manifest
//! says.
#![no_main]

use std::path::Path;

use gohang::bundle::Bundle;
use gohang::run::keep;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(bundle) = Bundle::from_reader(Path::new("fuzz.tar.zst"), data) else {
        return;
    };
    let opened = keep::open(&bundle);
    let text = keep::open_text(&bundle, &opened);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    let same = keep::diff(&bundle, &bundle);
    assert!(same.fields.is_empty() && same.goroutines.is_empty());
    if bundle.is_whole() {
        let manifest = bundle.manifest.as_ref().expect("a whole bundle has one");
        let has = |name: &str| bundle.members.contains_key(name);
        assert!(manifest.members.iter().all(|member| has(&member.name)));
    }
});
