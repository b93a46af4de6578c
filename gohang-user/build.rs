//! Guards the committed kernel object and hands it to the crate.
//!
//! In `OUT_DIR` afterwards: `gohang.bpf.o` and its manifest `gohang.bpf.o.json`. In
//! the crate's environment: `GOHANG_BPF_SHA256` of that object and
//! `GOHANG_BPF_ORIGIN`, which is `committed` or, with another object from the
//! variable `GOHANG_BPF_OBJECT` of the build, `override`.

#[path = "build/source_hash.rs"]
mod source_hash;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use source_hash::{SOURCE_CRATES, sha256_hex, source_hash};

/// Builds with another object than the committed one: an absolute path.
const OVERRIDE: &str = "GOHANG_BPF_OBJECT";

const REBUILD: &str = "run `cargo xtask build-ebpf`";

fn main() -> ExitCode {
    match provide_object() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                println!("cargo::error={line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn provide_object() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/source_hash.rs");
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    check_target()?;

    let package = PathBuf::from(cargo_var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(cargo_var("OUT_DIR")?);
    let (object, manifest, origin) = match env::var_os(OVERRIDE) {
        Some(path) => {
            let (object, manifest) = other_object(Path::new(&path))?;
            (object, manifest, "override")
        }
        None => {
            let (object, manifest) = committed_object(&package)?;
            (object, manifest, "committed")
        }
    };
    write(&out.join("gohang.bpf.o"), &object)?;
    write(&out.join("gohang.bpf.o.json"), manifest.as_bytes())?;
    println!("cargo::rustc-env=GOHANG_BPF_SHA256={}", sha256_hex(&object));
    println!("cargo::rustc-env=GOHANG_BPF_ORIGIN={origin}");
    Ok(())
}

/// The object reads the registers of one architecture.
fn check_target() -> Result<(), String> {
    let (arch, os) = (
        cargo_var("CARGO_CFG_TARGET_ARCH")?,
        cargo_var("CARGO_CFG_TARGET_OS")?,
    );
    if arch != "x86_64" || os != "linux" {
        return Err(format!(
            "gohang runs on Linux on x86_64 only, not on {os} on {arch}"
        ));
    }
    Ok(())
}

/// The committed object, if it is its manifest's and of the sources beside it.
fn committed_object(package: &Path) -> Result<(Vec<u8>, String), String> {
    let path = package.join("bpf/gohang.bpf.o");
    let manifest_path = package.join("bpf/gohang.bpf.o.json");
    println!("cargo::rerun-if-changed=bpf/gohang.bpf.o");
    println!("cargo::rerun-if-changed=bpf/gohang.bpf.o.json");
    let object = read(&path)?;
    let (text, manifest) = read_manifest(&manifest_path)?;
    check_sha256(&path, &object, &manifest_path, &manifest)?;

    // A published package has no sources beside it, a checkout always has.
    let root = package.parent().filter(|root| {
        SOURCE_CRATES
            .iter()
            .all(|name| root.join(name).join("Cargo.toml").is_file())
    });
    if let Some(root) = root {
        println!("cargo::rerun-if-changed=../Cargo.lock");
        for name in SOURCE_CRATES {
            println!("cargo::rerun-if-changed=../{name}/Cargo.toml");
            println!("cargo::rerun-if-changed=../{name}/src");
        }
        let sources = source_hash(root)
            .map_err(|err| format!("could not hash the kernel object's sources: {err}"))?;
        let recorded = text_at(&manifest_path, &manifest, "/source/sha256")?;
        if sources.sha256 != recorded {
            return Err(format!(
                "{} was built from other sources of {} or other versions of their dependencies \
                 than those here (their hash is {}, the manifest's {recorded}): {REBUILD}",
                path.display(),
                SOURCE_CRATES.join(" and "),
                sources.sha256,
            ));
        }
    }
    Ok((object, text))
}

/// The object of [`OVERRIDE`] with the manifest beside it, or a minimal one.
fn other_object(path: &Path) -> Result<(Vec<u8>, String), String> {
    if !path.is_absolute() {
        return Err(format!(
            "{OVERRIDE}={} must be an absolute path",
            path.display()
        ));
    }
    let manifest_path = PathBuf::from(format!("{}.json", path.display()));
    println!("cargo::rerun-if-changed={}", path.display());
    println!(
        "cargo::warning={OVERRIDE}: building with {}",
        path.display()
    );
    let object = read(path)?;
    if !manifest_path.exists() {
        let object_summary = json!({"sha256": sha256_hex(&object), "bytes": object.len()});
        return Ok((object, format!("{:#}\n", json!({"object": object_summary}))));
    }
    println!("cargo::rerun-if-changed={}", manifest_path.display());
    let (text, manifest) = read_manifest(&manifest_path)?;
    check_sha256(path, &object, &manifest_path, &manifest)?;
    Ok((object, text))
}

fn check_sha256(
    path: &Path,
    object: &[u8],
    manifest_path: &Path,
    manifest: &Value,
) -> Result<(), String> {
    let recorded = text_at(manifest_path, manifest, "/object/sha256")?;
    let found = sha256_hex(object);
    if found != recorded {
        return Err(format!(
            "{} has sha256 {found}, its manifest says {recorded}: {REBUILD}",
            path.display()
        ));
    }
    Ok(())
}

fn read_manifest(path: &Path) -> Result<(String, Value), String> {
    let text = String::from_utf8(read(path)?)
        .map_err(|err| format!("{}: {err}: {REBUILD}", path.display()))?;
    let value = serde_json::from_str(&text)
        .map_err(|err| format!("{}: {err}: {REBUILD}", path.display()))?;
    Ok((text, value))
}

fn text_at<'a>(path: &Path, manifest: &'a Value, pointer: &str) -> Result<&'a str, String> {
    manifest
        .pointer(pointer)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{} has no {pointer}: {REBUILD}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|err| format!("could not read {}: {err}: {REBUILD}", path.display()))
}

fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    fs::write(path, content).map_err(|err| format!("could not write {}: {err}", path.display()))
}

fn cargo_var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|err| format!("{name}, which cargo sets: {err}"))
}
