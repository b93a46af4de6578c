//! Builds the kernel object, reproducibly, and compares it with the committed one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::manifest::{FORMAT, Manifest, ObjectSummary, Verdict, compare, programs};
use crate::process::{output, run};
use crate::source_hash::source_hash;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// The committed object, relative to the workspace; its manifest adds `.json`.
const OBJECT: &str = "gohang-user/bpf/gohang.bpf.o";

/// Folder of the target directory in which the object is compiled.
const BUILD_DIR: &str = "bpf";

/// The compiler's target: little-endian BPF.
const TARGET: &str = "bpfel-unknown-none";

/// Flags beside the remapped folders. `bpf_target_arch` chooses the layout of the
/// user registers; BTF is made from the debug information; the target knows no
/// unwinding.
///
/// Memory is copied and cleared by loads and stores: the linker's default makes calls
/// of memcpy, memmove and memset out of it, loops over bytes that the verifier walks
/// step by step, and of which kernels up to 6.3 prune next to nothing.
const FLAGS: [&str; 6] = [
    "--cfg=bpf_target_arch=\"x86_64\"",
    "-Cdebuginfo=2",
    "-Cpanic=abort",
    "-Clink-arg=--btf",
    "-Clink-arg=--disable-expand-memcpy-in-order",
    "--check-cfg=cfg(bpf_target_arch,values(\"x86_64\"))",
];

/// What to build and where to put it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Features of `gohang-ebpf` beside `bpf`.
    pub features: Vec<String>,
    /// The object's place; the committed one's if absent.
    pub out: Option<PathBuf>,
}

/// Builds the object and its manifest.
///
/// # Errors
/// When there is no tool chain, the build fails, or a file cannot be written; when
/// features are given without a place, since they make no committed object.
pub fn build(workspace: &Workspace, options: &Options) -> Result<()> {
    let out = match &options.out {
        Some(out) => out.clone(),
        None if options.features.is_empty() => workspace.root.join(OBJECT),
        None => bail!("--features makes no object to commit: say with --out where to put it"),
    };
    let toolchain = Toolchain::find(&workspace.target_dir)?;
    let target_dir = workspace.target_dir.join(BUILD_DIR);
    let (object, manifest) = compile(workspace, &toolchain, &options.features, &target_dir)?;
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make the folder {}", folder.display()))?;
    }
    store(&out, &object, &manifest)?;
    println!(
        "{}: {} bytes, sha256 {}",
        out.display(),
        manifest.object.bytes,
        manifest.object.sha256
    );
    for program in &manifest.programs {
        println!(
            "{:6} instructions  {:32} {}",
            program.instructions, program.section, program.name
        );
    }
    Ok(())
}

/// The committed object's sha256, as its manifest has it.
///
/// # Errors
/// The manifest cannot be read.
pub fn committed(workspace: &Workspace) -> Result<String> {
    let manifest = Manifest::read(&manifest_path(&workspace.root.join(OBJECT)))?;
    Ok(manifest.object.sha256)
}

/// Rebuilds the object from nothing and holds it against the committed one.
///
/// With another tool chain than the manifest's the bytes say nothing; then the
/// rebuilt object stays in place for the tests, and its path is printed.
///
/// # Errors
/// When the committed object is not its manifest's or not of these sources, and
/// when the same tool chain makes other bytes.
pub fn check(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join(OBJECT);
    let object = fs::read(&path).with_context(|| {
        format!(
            "could not read {} (run `cargo xtask build-ebpf`)",
            path.display()
        )
    })?;
    let manifest = Manifest::read(&manifest_path(&path))?;
    if ObjectSummary::of(&object) != manifest.object {
        bail!(
            "{} is not the object of its manifest: run `cargo xtask build-ebpf`",
            path.display()
        );
    }
    if source_hash(&workspace.root)?.sha256 != manifest.source.sha256 {
        bail!(
            "{} is of other sources: run `cargo xtask build-ebpf`",
            path.display()
        );
    }

    let toolchain = Toolchain::find(&workspace.target_dir)?;
    let target_dir = workspace.target_dir.join(BUILD_DIR);
    // From nothing: what an earlier build left there proves nothing.
    if target_dir.exists() {
        fs::remove_dir_all(&target_dir)
            .with_context(|| format!("could not remove {}", target_dir.display()))?;
    }
    let (rebuilt_object, rebuilt) = compile(workspace, &toolchain, &[], &target_dir)?;
    let rebuilt_path = target_dir.join("gohang.bpf.o");
    match compare(&manifest, &object, &rebuilt, &rebuilt_object)? {
        Verdict::Equal => {
            println!("reproduced: sha256 {}", manifest.object.sha256);
            Ok(())
        }
        Verdict::NotComparable(reasons) => {
            store(&rebuilt_path, &rebuilt_object, &rebuilt)?;
            for reason in reasons {
                println!("not comparable: {reason}");
            }
            println!("rebuilt object: {}", rebuilt_path.display());
            Ok(())
        }
        Verdict::Different(lines) => {
            store(
                &rebuilt_path.with_extension("different.o"),
                &rebuilt_object,
                &rebuilt,
            )?;
            bail!(
                "the same tool chain makes another object from these sources:\n  {}\n\
                 If the flags were changed, run `cargo xtask build-ebpf`.",
                lines.join("\n  ")
            )
        }
    }
}

fn store(path: &Path, object: &[u8], manifest: &Manifest) -> Result<()> {
    fs::write(path, object).with_context(|| format!("could not write {}", path.display()))?;
    manifest.write(&manifest_path(path))
}

fn manifest_path(object: &Path) -> PathBuf {
    let mut name = object.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Compiles, links and strips; returns the object and its manifest.
fn compile(
    workspace: &Workspace,
    toolchain: &Toolchain,
    extra_features: &[String],
    target_dir: &Path,
) -> Result<(Vec<u8>, Manifest)> {
    let mut features = vec!["bpf".to_owned()];
    features.extend_from_slice(extra_features);
    let folders = remapped_folders(workspace, toolchain)?;
    let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
    flags.extend(
        folders
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())),
    );
    run(toolchain
        .cargo()
        .current_dir(&workspace.root)
        .args(["build", "--release", "--locked", "--package", "gohang-ebpf"])
        .args(["--bin", "gohang-ebpf", "--features", &features.join(",")])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")))?;

    let linked = target_dir.join(TARGET).join("release/gohang-ebpf");
    let stripped = linked.with_extension("stripped.o");
    run(Command::new(&toolchain.objcopy)
        .arg("-g")
        .arg(&linked)
        .arg(&stripped))?;
    let object = fs::read(&stripped)
        .with_context(|| format!("could not read the built {}", stripped.display()))?;
    let mut recorded: Vec<String> = FLAGS.map(str::to_owned).to_vec();
    recorded.extend(
        [
            "<workspace>=/gohang",
            "<crates>=/crates",
            "<rust-src>=/rust",
        ]
        .map(|map| format!("--remap-path-prefix={map}")),
    );
    let manifest = Manifest {
        format: FORMAT,
        toolchain: toolchain.versions.clone(),
        flags: recorded,
        features,
        source: source_hash(&workspace.root)
            .context("could not hash the sources")?
            .into(),
        object: ObjectSummary::of(&object),
        programs: programs(&object)?,
    };
    Ok((object, manifest))
}

/// The folders whose names would otherwise stand in the object, with what stands
/// there instead: the later ones win where one lies in another.
fn remapped_folders(
    workspace: &Workspace,
    toolchain: &Toolchain,
) -> Result<Vec<(PathBuf, &'static str)>> {
    // The folder's name depends on how the registry is reached on this machine.
    let metadata = output(toolchain.cargo().current_dir(&workspace.root).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
    ]))?;
    let mut folders = vec![(workspace.root.clone(), "/gohang")];
    folders.extend(
        crate_folders(&metadata)?
            .into_iter()
            .map(|folder| (folder, "/crates")),
    );
    folders.push((toolchain.rust_src.clone(), "/rust"));
    Ok(folders)
}

/// The folders in which the sources of registry packages lie, from `cargo metadata`.
fn crate_folders(metadata: &str) -> Result<BTreeSet<PathBuf>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        source: Option<String>,
        manifest_path: PathBuf,
    }
    let metadata: Metadata = serde_json::from_str(metadata).context("`cargo metadata`")?;
    Ok(metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some())
        .filter_map(|package| package.manifest_path.parent()?.parent())
        .map(Path::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_registry_packages_are_found_once() {
        let metadata = r#"{"packages": [
            {"source": null, "manifest_path": "/src/gohang/xtask/Cargo.toml"},
            {"source": "registry+x", "manifest_path": "/home/c/registry/src/r/a-1.0.0/Cargo.toml"},
            {"source": "registry+x", "manifest_path": "/home/c/registry/src/r/b-1.0.0/Cargo.toml"}
        ]}"#;
        let folders = crate_folders(metadata).expect("valid");
        assert_eq!(
            folders,
            BTreeSet::from([PathBuf::from("/home/c/registry/src/r")])
        );
    }

    #[test]
    fn the_manifest_lies_beside_the_object() {
        assert_eq!(manifest_path(Path::new("a/x.o")), Path::new("a/x.o.json"));
    }
}
