//! Inputs to begin with, cut from real data so that they are small.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::go;
use crate::workspace::Workspace;

/// A real recording, relative to the workspace.
const RECORDING: &str = "gohang-user/tests/data/stall.rec";
/// Goroutine dumps and output of `go test` by many Go versions, relative to the workspace.
const DUMPS: &str = "gohang-user/tests/data/dumps";
/// A verdict, relative to the workspace.
const VERDICT: &str = "gohang-user/tests/data/verdict.json";
/// Kept recordings, relative to the workspace.
const KEPT: [&str; 2] = ["docs/agreement/reference.bin", "docs/agreement/gohang.bin"];
/// In the forms of the target `kept`: a send and its delivery, and a line.
const EVENTS: [u8; 17] = [2, 0, 5, 1, 1, 7, 0, 0, 0, 1, 9, 7, 7, 0, 1, 0, 0];
const LINE: [u8; 15] = [3, 2, 10, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
/// The running kernel's type information.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Types that a seed keeps.
const TYPES: usize = 300;

/// Makes the seeds of a target in `folder`. Data that this machine lacks is
/// left out, with a word.
///
/// # Errors
/// When they cannot be written.
pub fn make(workspace: &Workspace, target: &str, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let seeds = match target {
        "record" => records(&read(&workspace.root.join(RECORDING))),
        "recording" => vec![read(&workspace.root.join(RECORDING))],
        "btf" => btf(&read(Path::new(VMLINUX))).into_iter().collect(),
        "go_elf" => go_programs(workspace, go::build_info),
        "go_symbols" => go_programs(workspace, go::functions),
        "go_dwarf" => go_programs(workspace, go::types),
        "go_dump" => dumps(workspace, "txt"),
        "go_test" => [dumps(workspace, "txt"), dumps(workspace, "jsonl")].concat(),
        "bundle" => bundles(
            &read(&workspace.root.join(VERDICT)),
            &dumps(workspace, "txt"),
        ),
        "kept" => KEPT
            .iter()
            .filter_map(|file| kept(&read(&workspace.root.join(file))))
            .chain([EVENTS.to_vec(), LINE.to_vec()])
            .collect(),
        _ => Vec::new(),
    };
    let seeds: Vec<Vec<u8>> = seeds.into_iter().filter(|seed| !seed.is_empty()).collect();
    if seeds.is_empty() {
        eprintln!("no real data to begin {target} with: it begins with nothing");
    }
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(number.to_string()), seed)?;
    }
    Ok(())
}

/// The file's content; nothing, with a word, if it cannot be read.
fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| {
        eprintln!("no seeds from {}: {error}", path.display());
        Vec::new()
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The records in a recording: frames of kind 2 behind 12 bytes of header.
fn records(recording: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut at = 12;
    while let Some(length) = u32_at(recording, at) {
        let end = at + 5 + length as usize;
        if recording.get(at + 4) == Some(&2) {
            found.extend(recording.get(at + 5..end).map(<[u8]>::to_vec));
        }
        at = end;
    }
    found
}

/// The shortest round of a kept recording, in the form of the target `kept` that has the length of
/// the head in front: magic, length and head are followed by the columns' bytes in its order.
fn kept(file: &[u8]) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    let length = u32_at(file, 8)? as usize;
    let rounds: Vec<Value> = serde_json::from_slice(file.get(HEAD..HEAD + length)?).ok()?;
    let mut rest = file.get(HEAD + length..)?;
    let mut found: Option<(Value, &[u8])> = None;
    for round in rounds {
        let columns = round.get("columns")?.as_array()?;
        let bytes = columns.iter().map(|column| column.get("bytes")?.as_u64());
        let bytes = usize::try_from(bytes.sum::<Option<u64>>()?).ok()?;
        let (own, tail) = rest.split_at_checked(bytes)?;
        rest = tail;
        if found
            .as_ref()
            .is_none_or(|(_, least)| own.len() < least.len())
        {
            found = Some((round, own));
        }
    }
    let (round, columns) = found?;
    let head = Value::from(vec![round]).to_string();
    let length = u16::try_from(head.len()).ok()?.to_le_bytes();
    Some([&[1], &length[..], head.as_bytes(), columns].concat())
}

/// The beginnings of the dumps whose names end so.
fn dumps(workspace: &Workspace, ending: &str) -> Vec<Vec<u8>> {
    const LONGEST: usize = 4096;
    let entries = fs::read_dir(workspace.root.join(DUMPS))
        .into_iter()
        .flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    let mut texts: Vec<Vec<u8>> = paths.iter().map(|path| read(path)).collect();
    for text in &mut texts {
        text.truncate(LONGEST);
    }
    texts
}

/// Bundles in the forms of the target `bundle`: members to be packed, a verdict alone and with
/// each dump; and an archive that holds the verdict.
fn bundles(verdict: &[u8], dumps: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let member = |name: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
        let mut member = vec![name];
        member.extend(length.to_le_bytes());
        member.extend(&content[..length.into()]);
        member
    };
    let packed = |members: &[Vec<u8>]| [&[2], members.concat().as_slice()].concat();
    let alone = [member(0, verdict)];
    let mut found = vec![packed(&alone), archive(verdict)];
    found.extend(
        dumps
            .iter()
            .map(|dump| packed(&[member(0, verdict), member(1, dump)])),
    );
    found
}

/// A tar archive with a member `verdict.json` and a manifest that lists none (POSIX's ustar:
/// name at 0, mode at 100, size at 124, checksum at 148, type at 156, all numbers octal).
fn archive(verdict: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let manifest = br#"{"schema_version":1,"gohang_version":"0.1.0","kernel":"6.1.0","go":[],
        "command":["sleep"],"written":"2026-01-01T00:00:00Z","redacted":false,
        "size_cap_bytes":1,"collectors":[],"loss":null,"members":[],"left_out":[]}"#;
    let mut found = vec![1];
    for (name, content) in [("verdict.json", verdict), ("manifest.json", manifest)] {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        found.extend(header);
        found.extend(content);
        found.resize(1 + (found.len() - 1).next_multiple_of(BLOCK), 0);
    }
    found.resize(found.len() + 2 * BLOCK, 0);
    found
}

/// The first types of a BTF file with just their names.
fn btf(whole: &[u8]) -> Option<Vec<u8>> {
    let header = u32_at(whole, 4)? as usize;
    let types = whole.get(header + u32_at(whole, 8)? as usize..)?;
    let names = whole.get(header + u32_at(whole, 16)? as usize..)?;
    let (mut kept, mut strings) = (Vec::new(), vec![0u8]);
    let mut moved = HashMap::from([(0, 0)]);
    let mut at = 0;
    for _ in 0..TYPES {
        let info = u32_at(types, at + 4)?;
        let (count, kind) = ((info & 0xffff) as usize, info >> 24 & 0x1f);
        // Bytes of an entry behind the type, and whether it begins with a name.
        let (entry, named) = match kind {
            1 | 14 | 17 => (4, false),
            3 => (12, false),
            4 | 5 | 19 => (12, true),
            6 | 13 => (8, true),
            15 => (12, false),
            _ => (0, false),
        };
        let entries = if matches!(kind, 1 | 3 | 14 | 17) {
            1
        } else {
            count
        };
        let end = at + 12 + entry * entries;
        let mut of_type = types.get(at..end)?.to_vec();
        let own = std::iter::once(0);
        let more = (0..if named { entries } else { 0 }).map(|index| 12 + entry * index);
        for place in own.chain(more) {
            let name = u32_at(&of_type, place)?;
            let new = match moved.get(&name) {
                Some(new) => *new,
                None => {
                    let text = names
                        .get(name as usize..)?
                        .split(|byte| *byte == 0)
                        .next()?;
                    let new = u32::try_from(strings.len()).ok()?;
                    strings.extend_from_slice(text);
                    strings.push(0);
                    moved.insert(name, new);
                    new
                }
            };
            of_type[place..place + 4].copy_from_slice(&new.to_ne_bytes());
        }
        kept.extend(of_type);
        at = end;
    }
    let lengths = [24, 0, kept.len(), kept.len(), strings.len()];
    let mut seed = whole.get(..4)?.to_vec();
    for length in lengths {
        seed.extend(u32::try_from(length).ok()?.to_ne_bytes());
    }
    seed.extend(kept);
    seed.extend(strings);
    Some(seed)
}

/// What `cut` takes of the Go programs that the tests have built.
fn go_programs(workspace: &Workspace, cut: fn(&[u8]) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let root = std::env::var_os("GOHANG_GO_ROOT")
        .map_or_else(|| workspace.target_dir.join("go"), PathBuf::from);
    let entries = fs::read_dir(root.join("workloads")).into_iter().flatten();
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .filter_map(|path| cut(&read(&path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_recording_has_records() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let recording = fs::read(root.join(RECORDING)).expect("committed");
        let (all, half) = (
            records(&recording),
            records(&recording[..recording.len() / 2]),
        );
        assert!(half.len() > 1 && half.len() < all.len());
        assert_eq!(half[..], all[..half.len()]);
        assert!(records(b"").is_empty());
    }

    #[test]
    fn a_bundle_s_archive_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.tar");
        let found = archive(b"{}");
        fs::write(&path, &found[1..]).expect("written");
        let mut tar = std::process::Command::new("tar");
        let listed = tar.arg("tf").arg(&path).output().expect("tar");
        assert!(listed.status.success(), "{listed:?}");
        assert_eq!(listed.stdout, b"verdict.json\nmanifest.json\n");
        // A form, a name, a length and the content.
        let seeds = bundles(b"{}", &[b"SIGQUIT".to_vec()]);
        assert_eq!(seeds[0], [&[2, 0, 2, 0], b"{}".as_slice()].concat());
        assert_eq!(seeds.len(), 3);
    }

    #[test]
    fn a_kept_recording_has_a_round() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in KEPT {
            let seed = kept(&fs::read(root.join(file)).expect("committed")).expect("a round");
            let length = usize::from(u16::from_le_bytes([seed[1], seed[2]]));
            let head: Value = serde_json::from_slice(&seed[3..3 + length]).expect("JSON");
            assert_eq!(head.as_array().map(Vec::len), Some(1), "{file}");
            assert!(seed.len() < 200_000, "{file}: {} bytes", seed.len());
        }
        assert_eq!(kept(b"ghkept"), None);
    }

    #[test]
    fn what_is_no_btf_gives_no_seed() {
        assert_eq!(btf(b""), None);
        assert_eq!(btf(&[0xff; 64]), None);
    }
}
