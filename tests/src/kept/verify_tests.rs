//! The committed recordings, whole and spoilt.

use std::path::{Path, PathBuf};

use super::{FIGURES, GOHANG, REFERENCE, verify};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agreement")
}

/// A copy in which a file is another.
fn spoilt(name: &str, spoil: impl Fn(&mut Vec<u8>)) -> String {
    let folder = tempfile::tempdir().unwrap();
    for file in [REFERENCE, GOHANG, FIGURES] {
        let mut bytes = std::fs::read(committed().join(file)).unwrap();
        if file == name {
            spoil(&mut bytes);
        }
        std::fs::write(folder.path().join(file), bytes).unwrap();
    }
    format!("{:#}", verify(folder.path()).unwrap_err())
}

#[test]
fn the_committed_recordings_give_the_committed_figures() {
    verify(&committed()).unwrap();
}

#[test]
fn a_cut_or_changed_recording_is_one_clear_error() {
    let cut = spoilt(REFERENCE, |bytes| bytes.truncate(bytes.len() / 2));
    assert!(cut.contains("reference.bin is not the recording"), "{cut}");
    let changed = spoilt(GOHANG, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(
        changed.contains("gohang.bin is not the recording"),
        "{changed}"
    );
}

#[test]
fn a_changed_figure_is_named() {
    let changed = spoilt(FIGURES, |bytes| {
        let mut figures: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let max = &mut figures["total"]["difference"]["max_ns"];
        *max = (max.as_u64().unwrap() - 1).into();
        *bytes = serde_json::to_vec(&figures).unwrap();
    });
    assert!(changed.contains("for total.difference.max_ns"), "{changed}");
}
