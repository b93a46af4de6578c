//! Finds, and where allowed installs, what builds the kernel object: a rustc with
//! the standard library's sources and a bpf-linker of the same LLVM.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::process::{clean_build_env, output, run};

/// Version of bpf-linker that is installed where it is missing.
const BPF_LINKER: &str = "0.13.0";

/// LLVM major version of Debian's rustc-web 1.96 and of the bpf-linker built for it.
const DEBIAN_LLVM: u32 = 22;

/// What bpf-linker needs to be built, and rustc with its sources.
const DEBIAN_PACKAGES: [&str; 10] = [
    "rustc-web",
    "rust-web-src",
    "cargo-web",
    "llvm-22-dev",
    "libpolly-22-dev",
    "clang-22",
    "llvm-22",
    "zlib1g-dev",
    "libzstd-dev",
    "libxml2-dev",
];

/// The versions that decide the object's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The lines of `rustc -vV`.
    pub rustc: Vec<String>,
    /// The LLVM of rustc.
    pub llvm: String,
    /// What `bpf-linker --version` prints.
    pub bpf_linker: String,
    /// The version line of the llvm-objcopy that strips the object.
    pub objcopy: String,
}

impl Versions {
    /// The differences to `other`, a line each: `rustc X here, Y in the manifest`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let Self {
            rustc,
            llvm,
            bpf_linker,
            objcopy,
        } = self;
        let mut lines = Vec::new();
        let mut compare = |here: &str, there: &str| {
            if here != there {
                lines.push(format!("{here} here, {there} in the manifest"));
            }
        };
        if rustc.len() == other.rustc.len() {
            // LLVM has a line of its own below.
            let lines = rustc.iter().zip(&other.rustc);
            for (here, there) in lines.filter(|(line, _)| !line.starts_with("LLVM version")) {
                compare(here, there);
            }
        } else {
            compare(&rustc.join("; "), &other.rustc.join("; "));
        }
        compare(&format!("LLVM {llvm}"), &format!("LLVM {}", other.llvm));
        compare(bpf_linker, &other.bpf_linker);
        compare(
            &format!("llvm-objcopy of {objcopy}"),
            &format!("llvm-objcopy of {}", other.objcopy),
        );
        lines
    }
}

/// A complete tool chain.
#[derive(Debug)]
pub struct Toolchain {
    /// `cargo` with the arguments before the subcommand.
    cargo: Vec<OsString>,
    /// PATH for the build, bpf-linker's folder first.
    path: OsString,
    /// llvm-objcopy of the same LLVM.
    pub objcopy: PathBuf,
    /// Folder of the standard library's sources.
    pub rust_src: PathBuf,
    /// What is recorded in the manifest.
    pub versions: Versions,
}

impl Toolchain {
    /// Debian's packages, installed if this is Debian and root asks; else a rustup
    /// nightly with rust-src and a bpf-linker on PATH.
    ///
    /// # Errors
    /// When neither can be had, with the reason for each.
    pub fn find(target_dir: &Path) -> Result<Self> {
        let debian = match Self::debian(target_dir) {
            Ok(found) => return Ok(found),
            Err(err) => err,
        };
        eprintln!("Debian's tool chain cannot be used: {debian:#}");
        Self::rustup().map_err(|rustup| {
            anyhow!(
                "no tool chain for the kernel object.\n\
                 Debian's packages: {debian:#}\n\
                 rustup: {rustup:#}\n\
                 Either install, as root, `apt-get install {}`, or run `rustup toolchain install \
                 nightly --component rust-src` and `cargo install bpf-linker`.",
                DEBIAN_PACKAGES.join(" ")
            )
        })
    }

    /// A cargo command of this tool chain with a clean environment.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo[0]);
        command.args(&self.cargo[1..]);
        clean_build_env(&mut command);
        command
            .env("PATH", &self.path)
            .env("RUSTC_BOOTSTRAP", "1")
            // Empty switches off a wrapper from a configuration file too.
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "");
        command
    }

    fn debian(target_dir: &Path) -> Result<Self> {
        install_packages()?;
        let llvm = PathBuf::from(format!("/usr/lib/llvm-{DEBIAN_LLVM}"));
        let rustc = rustc_lines(Command::new("/usr/bin/rustc").env_remove("LD_LIBRARY_PATH"))?;
        let version = llvm_of(&rustc)?;
        if version.split('.').next() != Some(&DEBIAN_LLVM.to_string()) {
            bail!("/usr/bin/rustc is of LLVM {version}, bpf-linker would be of LLVM {DEBIAN_LLVM}");
        }
        let tools = target_dir.join("bpf-tools");
        let linker = install_bpf_linker(&tools, &llvm)?;
        let objcopy = llvm.join("bin/llvm-objcopy");
        Ok(Self {
            cargo: vec!["/usr/bin/cargo".into()],
            path: search_path([tools.join("bin"), "/usr/bin".into(), "/bin".into()])?,
            rust_src: PathBuf::from("/usr/lib/rustlib/src/rust"),
            versions: Versions {
                rustc,
                llvm: version,
                bpf_linker: linker,
                objcopy: objcopy_version(&objcopy)?,
            },
            objcopy,
        })
    }

    fn rustup() -> Result<Self> {
        let nightly = |program: &str| {
            let mut command = Command::new("rustup");
            command.args(["run", "nightly", program]);
            clean_build_env(&mut command);
            command
        };
        let rustc = rustc_lines(&mut nightly("rustc"))?;
        let llvm = llvm_of(&rustc)?;
        let sysroot = PathBuf::from(output(nightly("rustc").args(["--print", "sysroot"]))?);
        let rust_src = sysroot.join("lib/rustlib/src/rust");
        if !rust_src.join("library/core").is_dir() {
            bail!("the nightly tool chain has no rust-src (rustup component add rust-src)");
        }
        let bpf_linker = output(Command::new("bpf-linker").arg("--version"))
            .context("no bpf-linker on PATH (cargo install bpf-linker)")?;
        let major = llvm.split('.').next().unwrap_or_default().to_owned();
        let objcopy = [
            sysroot.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/llvm-objcopy"),
            PathBuf::from(format!("llvm-objcopy-{major}")),
            PathBuf::from("llvm-objcopy"),
        ]
        .into_iter()
        .find(|program| objcopy_version(program).is_ok())
        .context("no llvm-objcopy (rustup component add llvm-tools)")?;
        Ok(Self {
            cargo: ["rustup", "run", "nightly", "cargo"]
                .map(OsString::from)
                .to_vec(),
            path: env::var_os("PATH").unwrap_or_default(),
            rust_src,
            versions: Versions {
                rustc,
                llvm,
                bpf_linker,
                objcopy: objcopy_version(&objcopy)?,
            },
            objcopy,
        })
    }
}

/// Installs those of [`DEBIAN_PACKAGES`] that are missing.
fn install_packages() -> Result<()> {
    let missing = missing_packages()?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_root()? {
        bail!("packages missing, and only root may install them: {names}");
    }
    if !missing.iter().all(|name| has_candidate(name)) {
        run(Command::new("apt-get").arg("update"))?;
    }
    if let Some(name) = missing.iter().find(|name| !has_candidate(name)) {
        bail!("apt knows no package {name}");
    }
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        // `--no-remove`: never trade somebody's own compiler for ours.
        .args(["install", "--yes", "--no-remove", "--no-install-recommends"])
        .args(&missing))
}

fn missing_packages() -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for name in DEBIAN_PACKAGES {
        let status = Command::new("dpkg-query")
            .args(["--show", "--showformat=${db:Status-Status}", name])
            .output()
            .context("could not start dpkg-query: not a Debian system")?;
        // A package that dpkg never heard of is an error there, and missing here.
        if !status.status.success() || status.stdout != b"installed" {
            missing.push(name);
        }
    }
    Ok(missing)
}

fn has_candidate(package: &str) -> bool {
    output(
        Command::new("apt-cache")
            .args(["policy", package])
            .env("LC_ALL", "C"),
    )
    .is_ok_and(|text| candidate_known(&text))
}

/// Whether the text of `apt-cache policy` names a version to install.
fn candidate_known(policy: &str) -> bool {
    policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .is_some_and(|version| version != "(none)")
}

/// Installs bpf-linker below `tools` if it is not there, and returns its version line.
fn install_bpf_linker(tools: &Path, llvm: &Path) -> Result<String> {
    let program = tools.join("bin/bpf-linker");
    let wanted = format!("bpf-linker {BPF_LINKER}");
    if program.is_file() && output(Command::new(&program).arg("--version"))? == wanted {
        return Ok(wanted);
    }
    fs::create_dir_all(tools).with_context(|| format!("could not make {}", tools.display()))?;
    let mut install = Command::new("/usr/bin/cargo");
    clean_build_env(&mut install);
    run(install
        .args([
            "install",
            "bpf-linker",
            "--version",
            BPF_LINKER,
            "--locked",
            "--force",
            // It is built for longer than all that it links, and links with LLVM's own code.
            "--debug",
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{DEBIAN_LLVM}"),
        ])
        .arg("--root")
        .arg(tools)
        .env(
            "PATH",
            search_path([llvm.join("bin"), "/usr/bin".into(), "/bin".into()])?,
        )
        .env("LLVM_PREFIX", llvm))?;
    let installed = output(Command::new(&program).arg("--version"))?;
    if installed != wanted {
        bail!(
            "{} says `{installed}`, expected `{wanted}`",
            program.display()
        );
    }
    Ok(installed)
}

fn rustc_lines(rustc: &mut Command) -> Result<Vec<String>> {
    Ok(output(rustc.arg("-vV"))?
        .lines()
        .map(str::to_owned)
        .collect())
}

fn llvm_of(rustc: &[String]) -> Result<String> {
    rustc
        .iter()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .map(str::to_owned)
        .context("`rustc -vV` names no LLVM version")
}

fn objcopy_version(program: &Path) -> Result<String> {
    let text = output(Command::new(program).arg("--version"))?;
    text.lines()
        .map(str::trim)
        .find(|line| line.contains("LLVM version"))
        .map(str::to_owned)
        .with_context(|| format!("{} names no LLVM version", program.display()))
}

fn search_path(folders: impl IntoIterator<Item = PathBuf>) -> Result<OsString> {
    env::join_paths(folders).context("a folder of the tool chain has a colon in its name")
}

/// Whether xtask runs as root.
///
/// # Errors
/// When `id` cannot be run.
pub fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))? == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions() -> Versions {
        Versions {
            rustc: vec!["rustc 1.96.0".into(), "LLVM version: 22.1.8".into()],
            llvm: "22.1.8".into(),
            bpf_linker: "bpf-linker 0.13.0".into(),
            objcopy: "LLVM version 22.1.8".into(),
        }
    }

    #[test]
    fn equal_versions_have_no_differences() {
        assert_eq!(versions().differences(&versions()), Vec::<String>::new());
    }

    #[test]
    fn every_version_counts() {
        let mut manifest = versions();
        manifest.rustc[0] = "rustc 1.95.0".into();
        manifest.bpf_linker = "bpf-linker 0.14.0".into();
        manifest.objcopy = "LLVM version 22.1.9".into();
        assert_eq!(
            versions().differences(&manifest),
            [
                "rustc 1.96.0 here, rustc 1.95.0 in the manifest",
                "bpf-linker 0.13.0 here, bpf-linker 0.14.0 in the manifest",
                "llvm-objcopy of LLVM version 22.1.8 here, llvm-objcopy of LLVM version 22.1.9 in the manifest",
            ]
        );
    }

    #[test]
    fn a_package_without_candidate_is_unknown() {
        assert!(candidate_known(
            "x:\n  Installed: (none)\n  Candidate: 1.2\n"
        ));
        assert!(!candidate_known(
            "x:\n  Installed: (none)\n  Candidate: (none)\n"
        ));
        assert!(!candidate_known(""));
    }
}
