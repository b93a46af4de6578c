//! The manifest beside the committed kernel object: what it was built from and
//! with, and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};
use serde::{Deserialize, Serialize};

use crate::source_hash::{SourceHash, sha256_hex};
use crate::toolchain::Versions;

/// Raised when the meaning of a field changes.
pub const FORMAT: u32 = 1;

/// Bytes of a BPF instruction.
const INSTRUCTION_BYTES: usize = 8;

/// The manifest of a kernel object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The tools that built it.
    pub toolchain: Versions,
    /// Compiler flags; folders of the building machine stand as `<name>`.
    pub flags: Vec<String>,
    /// Features of `gohang-ebpf`.
    pub features: Vec<String>,
    /// What it was built from.
    pub source: Source,
    /// The stripped object.
    pub object: ObjectSummary,
    /// Every function in it, by section and place.
    pub programs: Vec<Program>,
}

/// See [`SourceHash`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Over the sources and `crates`.
    pub sha256: String,
    /// Kernel-side dependencies, name to version.
    pub crates: BTreeMap<String, String>,
}

impl From<SourceHash> for Source {
    fn from(hash: SourceHash) -> Self {
        let SourceHash { sha256, crates } = hash;
        Self { sha256, crates }
    }
}

/// The stripped object as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectSummary {
    /// Of the file.
    pub sha256: String,
    /// Of the file.
    pub bytes: usize,
}

impl ObjectSummary {
    /// Of an object's bytes.
    pub fn of(data: &[u8]) -> Self {
        Self {
            sha256: sha256_hex(data),
            bytes: data.len(),
        }
    }
}

/// A function of the object: a program, or what programs call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The function.
    pub name: String,
    /// Its section, which says the hook; `.text` holds what programs call.
    pub section: String,
    /// 8-byte instructions; a 64-bit load counts as two, as in the kernel.
    pub instructions: usize,
    /// Of the code, before relocation.
    pub sha256: String,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When the file cannot be read or is of another format.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("could not read the manifest {}", path.display()))?;
        let manifest: Self = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not a manifest that this xtask knows (run `cargo xtask build-ebpf`)",
                path.display()
            )
        })?;
        if manifest.format != FORMAT {
            bail!(
                "{} is of format {}, not {FORMAT}",
                path.display(),
                manifest.format
            );
        }
        Ok(manifest)
    }

    /// Writes the manifest, with a final newline.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("manifest to JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
    }
}

/// The functions of an object, by section and place.
///
/// # Errors
/// When `data` is no ELF object or holds code that belongs to no function.
pub fn programs(data: &[u8]) -> Result<Vec<Program>> {
    let file = object::File::parse(data).context("the kernel object is no ELF file")?;
    let mut programs = Vec::new();
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let name = section.name().context("section without a name")?;
        let code = section
            .data()
            .with_context(|| format!("no data in section {name}"))?;
        // Equal functions may share their place.
        let mut end = 0;
        let mut functions: Vec<_> = file
            .symbols()
            .filter(|symbol| {
                symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
            })
            .collect();
        functions.sort_by_key(|symbol| symbol.address());
        for symbol in functions {
            let function = symbol.name().context("function without a name")?;
            let start = usize::try_from(symbol.address())?;
            let size = usize::try_from(symbol.size())?;
            let body = start
                .checked_add(size)
                .and_then(|stop| code.get(start..stop))
                .with_context(|| format!("{function} leaves its section {name}"))?;
            if start > end {
                bail!("no function at {end:#x} of section {name}");
            }
            end = end.max(start + size);
            programs.push(Program {
                name: function.to_owned(),
                section: name.to_owned(),
                instructions: size / INSTRUCTION_BYTES,
                sha256: sha256_hex(body),
            });
        }
        if end != code.len() {
            bail!("no function at {end:#x} of section {name}");
        }
    }
    Ok(programs)
}

/// Names of the sections that two objects do not share byte for byte.
///
/// # Errors
/// When one of them is no ELF object.
pub fn differing_sections(a: &[u8], b: &[u8]) -> Result<Vec<String>> {
    let (a, b) = (section_hashes(a)?, section_hashes(b)?);
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    Ok(names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name))
        .cloned()
        .collect())
}

/// Section name to the hashes of all sections of that name, in file order.
fn section_hashes(data: &[u8]) -> Result<BTreeMap<String, Vec<String>>> {
    let file = object::File::parse(data).context("the kernel object is no ELF file")?;
    let mut hashes = BTreeMap::<String, Vec<String>>::new();
    for section in file.sections() {
        let name = section.name().context("section without a name")?;
        let data = section
            .data()
            .with_context(|| format!("no data in section {name}"))?;
        hashes
            .entry(name.to_owned())
            .or_default()
            .push(sha256_hex(data));
    }
    Ok(hashes)
}

/// How a rebuilt object stands to the committed one.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same tools made the same bytes.
    Equal,
    /// Other tools: the reasons, a line each.
    NotComparable(Vec<String>),
    /// The same tools made something else: what differs, a line each.
    Different(Vec<String>),
}

/// Compares the committed object and manifest with those of a rebuild from the
/// same sources.
///
/// # Errors
/// When bytes differ and one of the objects is no ELF file.
pub fn compare(
    committed: &Manifest,
    committed_object: &[u8],
    rebuilt: &Manifest,
    rebuilt_object: &[u8],
) -> Result<Verdict> {
    let tools = rebuilt.toolchain.differences(&committed.toolchain);
    if !tools.is_empty() {
        return Ok(Verdict::NotComparable(tools));
    }
    let mut lines = Vec::new();
    if committed_object != rebuilt_object {
        let sections = differing_sections(committed_object, rebuilt_object)?;
        if sections.is_empty() {
            lines.push("the layout of the file differs, no section does".to_owned());
        }
        lines.extend(
            sections
                .into_iter()
                .map(|name| format!("section {name} differs")),
        );
    }
    for old in &committed.programs {
        let same = |new: &&Program| new.name == old.name && new.section == old.section;
        match rebuilt.programs.iter().find(same) {
            None => lines.push(format!("program {} is not in the rebuilt object", old.name)),
            Some(new) if new.instructions != old.instructions => lines.push(format!(
                "program {} has {} instructions, {} in the manifest",
                old.name, new.instructions, old.instructions
            )),
            Some(_) => {}
        }
    }
    if lines.is_empty() && committed != rebuilt {
        lines.push("the bytes are equal, the manifest is not that of this build".to_owned());
    }
    Ok(if lines.is_empty() {
        Verdict::Equal
    } else {
        Verdict::Different(lines)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(object: &[u8]) -> Manifest {
        Manifest {
            format: FORMAT,
            toolchain: Versions {
                rustc: vec!["rustc 1.96.0".into()],
                llvm: "22.1.8".into(),
                bpf_linker: "bpf-linker 0.13.0".into(),
                objcopy: "LLVM version 22.1.8".into(),
            },
            flags: vec!["-Cdebuginfo=2".into()],
            features: vec!["bpf".into()],
            source: Source {
                sha256: "00".into(),
                crates: BTreeMap::new(),
            },
            object: ObjectSummary::of(object),
            programs: programs(object).expect("test object"),
        }
    }

    /// A little-endian ELF64 object of the BPF machine with one program `hook` in
    /// section `tp_btf/x` that consists of `code`, and a map of `data`.
    fn elf(code: &[u8], data: &[u8]) -> Vec<u8> {
        let names = b"\0tp_btf/x\0.maps\0.symtab\0.strtab\0hook\0";
        let mut symbols = vec![0_u8; 24];
        symbols.extend(32_u32.to_le_bytes()); // name: hook
        symbols.extend([0x12, 0]); // global function
        symbols.extend(1_u16.to_le_bytes());
        symbols.extend(0_u64.to_le_bytes());
        symbols.extend((code.len() as u64).to_le_bytes());
        let parts: [&[u8]; 4] = [code, data, &symbols, names];
        let mut offsets = Vec::new();
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let headers = 64 + parts.iter().map(|part| part.len() as u64).sum::<u64>();
        file.extend([1, 0, 247, 0, 1, 0, 0, 0]);
        file.extend(
            [0_u64, 0, headers]
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        file.extend([0_u8; 4]);
        for half in [64_u16, 0, 0, 64, 5, 4] {
            file.extend(half.to_le_bytes());
        }
        for part in parts {
            offsets.push(file.len() as u64);
            file.extend(part);
        }
        file.extend([0_u8; 64]);
        // name, type, flags, link, info, entry size
        let sections = [
            (1, 1, 6, 0, 0, 0),
            (10, 1, 3, 0, 0, 0),
            (16, 2, 0, 4, 1, 24),
            (24, 3, 0, 0, 0, 0),
        ];
        for (at, (name, kind, flags, link, info, entry)) in sections.into_iter().enumerate() {
            file.extend(
                [name as u32, kind]
                    .iter()
                    .flat_map(|word| word.to_le_bytes()),
            );
            let words = [flags, 0, offsets[at], parts[at].len() as u64];
            file.extend(words.iter().flat_map(|word: &u64| word.to_le_bytes()));
            file.extend(
                [link as u32, info]
                    .iter()
                    .flat_map(|word| word.to_le_bytes()),
            );
            file.extend([1_u64, entry].iter().flat_map(|word| word.to_le_bytes()));
        }
        file
    }

    #[test]
    fn programs_are_counted_in_instructions() {
        let code = [7_u8; 24];
        assert_eq!(
            programs(&elf(&code, b"m")).expect("valid"),
            [Program {
                name: "hook".into(),
                section: "tp_btf/x".into(),
                instructions: 3,
                sha256: sha256_hex(&code),
            }]
        );
        assert!(programs(b"no ELF").is_err());
    }

    #[test]
    fn the_same_tools_and_bytes_are_equal() {
        let object = elf(&[7; 16], b"m");
        let verdict = compare(&manifest(&object), &object, &manifest(&object), &object);
        assert_eq!(verdict.expect("valid"), Verdict::Equal);
    }

    #[test]
    fn differing_sections_and_programs_are_named() {
        let (old, new) = (elf(&[7; 16], b"m"), elf(&[7; 24], b"n"));
        let verdict = compare(&manifest(&old), &old, &manifest(&new), &new).expect("valid");
        let Verdict::Different(lines) = verdict else {
            panic!("{verdict:?}")
        };
        for line in [
            "section .maps differs",
            "section tp_btf/x differs",
            "program hook has 3 instructions, 2 in the manifest",
        ] {
            assert!(
                lines.iter().any(|have| have == line),
                "{line} not in {lines:?}"
            );
        }
    }

    #[test]
    fn other_tools_are_not_comparable() {
        let object = elf(&[7; 16], b"m");
        let mut committed = manifest(&object);
        committed.toolchain.rustc = vec!["rustc 1.95.0".into()];
        let verdict = compare(&committed, &object, &manifest(&object), &object).expect("valid");
        assert_eq!(
            verdict,
            Verdict::NotComparable(vec![
                "rustc 1.96.0 here, rustc 1.95.0 in the manifest".into()
            ])
        );
    }

    #[test]
    fn a_stale_manifest_of_equal_bytes_is_different() {
        let object = elf(&[7; 16], b"m");
        let mut committed = manifest(&object);
        committed.flags.clear();
        let verdict = compare(&committed, &object, &manifest(&object), &object).expect("valid");
        assert!(matches!(verdict, Verdict::Different(_)), "{verdict:?}");
    }
}
