//! Bundles: whatever comes is read within bounds, and what is called whole is what its manifest
//! says. The first byte chooses what the rest is, since neither zstd's frames nor checksums are
//! found by chance: a file; an archive, to be compressed; or members, to be packed as gohang
//! packs them.
#![no_main]

use std::path::Path;

use gohang::bundle::{About, Bundle, Part, pack};
use gohang::run::keep;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Names of members that are looked into, and one that is not.
const NAMES: [&str; 4] = [
    "verdict.json",
    "dumps/0-pid-1.txt",
    "dumps/1-pid-2.txt",
    "output.txt",
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    match form {
        0 => drop(look(rest)),
        1 => drop(look(&compress_to_vec(rest, CompressionLevel::Uncompressed))),
        _ => {
            let packed = pack(about(), parts(rest)).expect("short names fit");
            let bundle = look(&packed.bytes).expect("a packed bundle is one");
            assert!(bundle.is_whole(), "{:?}", bundle.problems);
        }
    }
});

fn about() -> About {
    About {
        size_cap_bytes: 1 << 20,
        ..About::default()
    }
}

/// Members: a byte for the name, two for the length, and the content. The first stands for the
/// verdict, as in every bundle, and none comes twice.
fn parts(mut data: &[u8]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    while let [name, low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if parts.iter().all(|part| part.name != name) {
            parts.push(Part::text(name, &rest[..length]));
        }
        data = &rest[length..];
    }
    parts
}

fn look(file: &[u8]) -> Option<Bundle> {
    let bundle = Bundle::from_reader(Path::new("fuzz.tar.zst"), file).ok()?;
    let opened = keep::open(&bundle);
    let text = keep::open_text(&bundle, &opened);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    let same = keep::diff(&bundle, &bundle);
    assert!(same.fields.is_empty() && same.goroutines.is_empty());
    let text = keep::diff_text(&same);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    if bundle.is_whole() {
        let manifest = bundle.manifest.as_ref().expect("a whole bundle has one");
        let has = |name: &str| bundle.members.contains_key(name);
        assert!(manifest.members.iter().all(|member| has(&member.name)));
    }
    Some(bundle)
}
