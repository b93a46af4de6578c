//! Bundles written, read, damaged.

use std::io::Read as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn about() -> About {
    About {
        kernel: "6.12".into(),
        command: vec!["go".into(), "test".into()],
        size_cap_bytes: 1 << 20,
        ..About::default()
    }
}

fn parts() -> Vec<Part> {
    vec![
        Part::text("VERDICT.md", "deadlock\n"),
        Part::whole("verdict.json", "{}\n"),
        Part::text("proc/7/status", "Name: x\n".repeat(40_000)),
        Part::text(
            "output.txt",
            (0..3000u32).map(|n| format!("{n}\n")).collect::<String>(),
        ),
    ]
}

fn open(bytes: &[u8]) -> Result<Bundle, BundleError> {
    Bundle::from_reader(Path::new("x.tar.zst"), bytes)
}

#[test]
fn what_is_packed_is_read() {
    let packed = pack(about(), parts()).unwrap();
    let bundle = open(&packed.bytes).unwrap();
    assert_eq!(bundle.problems, []);
    assert_eq!(bundle.manifest.as_ref(), Some(&packed.manifest));
    for part in parts() {
        assert_eq!(bundle.member(&part.name).unwrap(), part.content);
    }
    assert!(
        bundle
            .member("none")
            .unwrap_err()
            .to_string()
            .contains("--list")
    );
    assert_eq!(packed.manifest.members.len(), 4);
}

#[test]
fn the_size_is_capped_the_most_important_first() {
    let mut about = about();
    about.size_cap_bytes = 20_000;
    let mut parts = parts();
    parts.push(Part::whole("report.json", vec![b'7'; 30_000]));
    parts.push(Part::text("../x", "evil"));
    let packed = pack(about, parts).unwrap();
    let bundle = open(&packed.bytes).unwrap();
    assert!(bundle.is_whole(), "{:?}", bundle.problems);
    let manifest = bundle.manifest.clone().unwrap();
    let cut = &manifest.members[2];
    assert_eq!(
        (cut.name.as_str(), cut.cut_from_bytes),
        ("proc/7/status", Some(320_000))
    );
    let text = String::from_utf8(bundle.member("proc/7/status").unwrap().to_vec()).unwrap();
    assert!(text.len() <= 20_000 && text.contains("left out the middle"));
    assert!(text.starts_with("Name: x\n") && text.ends_with("Name: x\n"));
    let left_out: Vec<&str> = manifest
        .left_out
        .iter()
        .map(|left| left.name.as_str())
        .collect();
    assert_eq!(left_out, ["output.txt", "report.json", "../x"]);
    let sum: u64 = manifest.members.iter().map(|member| member.bytes).sum();
    assert!(sum <= 20_000);
}

/// Of a bundle that is cut, what lies before the cut is read, and the rest is told.
#[test]
fn a_cut_bundle_is_read_as_far_as_it_goes() {
    let packed = pack(about(), parts()).unwrap();
    let half = &packed.bytes[..packed.bytes.len() / 2];
    let bundle = open(half).unwrap();
    assert_eq!(bundle.member("VERDICT.md").unwrap(), b"deadlock\n");
    assert!(bundle.manifest.is_some() && !bundle.is_whole());
    assert!(
        matches!(bundle.problems[0], Problem::CutOff(_)),
        "{:?}",
        bundle.problems
    );
    let missing = Problem::Member("output.txt".into(), FileState::Missing);
    assert!(bundle.problems.contains(&missing), "{:?}", bundle.problems);
    assert!(open(b"").is_err() && open(b"PK\x03\x04 is something else").is_err());
}

#[test]
fn changes_and_strange_members_are_found() {
    let packed = pack(about(), parts()).unwrap();
    let mut plain = Vec::new();
    let mut rest = packed.bytes.as_slice();
    while !rest.is_empty() {
        let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut rest).unwrap();
        frame.read_to_end(&mut plain).unwrap();
    }
    let at = plain
        .windows(8)
        .position(|part| part == b"deadlock")
        .unwrap();
    plain[at] = b'D';
    // In front of the end of the archive.
    let mut archive = tar::Builder::new(plain[..plain.len() - 1024].to_vec());
    for (kind, name) in [
        (tar::EntryType::Symlink, "link"),
        (tar::EntryType::Regular, "/etc/cron.d/x"),
        (tar::EntryType::Regular, "a/../../x"),
        (tar::EntryType::Regular, "new"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
    }
    let mut bytes = Vec::new();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    ruzstd::encoding::compress(archive.into_inner().unwrap().as_slice(), &mut bytes, level);
    let bundle = open(&bytes).unwrap();
    let want = [
        Problem::Refused("link".into()),
        Problem::Refused("/etc/cron.d/x".into()),
        Problem::Refused("a/../../x".into()),
        Problem::Member("VERDICT.md".into(), FileState::Changed),
        Problem::Member("new".into(), FileState::Unlisted),
    ];
    assert_eq!(bundle.problems, want);
}

#[test]
fn saving_is_whole_or_not_at_all_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = save(folder.path(), "gohang-x", SUFFIX, b"one").unwrap();
    let second = save(folder.path(), "gohang-x", SUFFIX, b"two").unwrap();
    assert_eq!(first, folder.path().join("gohang-x.tar.zst"));
    assert_eq!(second, folder.path().join("gohang-x-2.tar.zst"));
    assert_eq!(std::fs::read(&first).unwrap(), b"one");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let error = save(&folder.path().join("none"), "x", SUFFIX, b"").unwrap_err();
    assert!(error.to_string().contains("--bundle-dir"), "{error}");
    // A device that is always full.
    let error = BundleError::Write {
        path: "x".into(),
        source: std::io::ErrorKind::StorageFull.into(),
    };
    assert!(error.to_string().contains("--bundle-size"), "{error}");
}

proptest! {
    #[test]
    fn whatever_is_packed_is_read(contents in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..3000), 1..6)) {
        let parts: Vec<Part> = contents
            .iter()
            .enumerate()
            .map(|(n, content)| Part::text(format!("p/{n}"), content.clone()))
            .collect();
        let packed = pack(about(), parts).unwrap();
        let bundle = open(&packed.bytes).unwrap();
        prop_assert!(bundle.is_whole());
        for (n, content) in contents.iter().enumerate() {
            prop_assert_eq!(bundle.member(&format!("p/{n}")).unwrap(), &content[..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// However it is damaged, members are what was written or are told of.
    #[test]
    fn damage_is_found(at in 0.0f64..1.0, cut: bool, byte: u8) {
        let mut packed = pack(about(), parts()).unwrap();
        let at = (packed.bytes.len() as f64 * at) as usize;
        if cut {
            packed.bytes.truncate(at);
        } else {
            packed.bytes[at] = byte;
        }
        let Ok(bundle) = open(&packed.bytes) else { return Ok(()) };
        for part in parts() {
            let same = bundle.members.get(&part.name) == Some(&part.content);
            prop_assert!(same || !bundle.is_whole());
        }
        if cut {
            prop_assert!(!bundle.is_whole());
        }
    }

    #[test]
    fn anything_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = open(&bytes);
        let _ = open(&[&0xFD2F_B528_u32.to_le_bytes()[..], &bytes].concat());
    }
}
