//! Running other programs, with errors that say which one and why.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `command` with its output on stderr, since stdout is kept for results.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {}", describe(command));
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("could not start `{}`", describe(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs `command` and returns its stdout without the surrounding white space.
///
/// # Errors
/// When it cannot be started, does not succeed or prints something other than UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{}`", describe(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}",
            describe(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something other than UTF-8", describe(command)))?;
    Ok(text.trim().to_owned())
}

/// The running kernel's release without what a machine's own build adds: `6.18.44`.
///
/// # Errors
/// `uname` cannot be run.
pub fn kernel_release() -> Result<String> {
    Ok(without_suffix(&output(Command::new("uname").arg("-r"))?).to_owned())
}

/// A kernel's release up to what is neither a digit nor a dot.
pub fn without_suffix(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    &release[..end.unwrap_or(release.len())]
}

/// The command as one line for people.
pub fn describe(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        // Encoded flags and the like would garble a terminal.
        line.push_str(&arg.to_string_lossy().replace('\u{1f}', " "));
    }
    line
}

/// Removes from the child's environment what would change how cargo builds: what
/// `cargo run` sets for xtask itself, and a caller's flags, profiles and wrappers.
/// What says how to reach a registry stays.
pub fn clean_build_env(command: &mut Command) {
    remove_env(command, |name| {
        set_by_cargo_run(name) || changes_build(name)
    });
}

/// Removes from the child's environment what `cargo run` sets for xtask itself; the
/// caller's own settings stay.
pub fn clean_run_env(command: &mut Command) {
    remove_env(command, set_by_cargo_run);
}

fn remove_env(command: &mut Command, remove: impl Fn(&str) -> bool) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(&remove) {
            command.env_remove(name);
        }
    }
}

/// Whether an environment variable is one that `cargo run` adds.
fn set_by_cargo_run(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "CARGO",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "LD_LIBRARY_PATH",
        "RUST_RECURSION_COUNT",
    ];
    NAMES.contains(&name)
        || ["CARGO_BIN_", "CARGO_PKG_"]
            .iter()
            .any(|p| name.starts_with(p))
}

/// Whether an environment variable changes what cargo or rustc build.
fn changes_build(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "RUST_TARGET_PATH",
    ];
    const PREFIXES: [&str; 5] = [
        "CARGO_BUILD_RUST",
        "CARGO_BUILD_TARGET",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_end_where_a_build_adds_its_own() {
        for (release, short) in [
            ("6.18.44-local1", "6.18.44"),
            ("7.3.4", "7.3.4"),
            ("6.12-rc3+", "6.12"),
        ] {
            assert_eq!(without_suffix(release), short);
        }
    }

    #[test]
    fn build_settings_are_removed_and_registry_settings_kept() {
        for name in ["RUSTFLAGS", "CARGO_PROFILE_RELEASE_LTO", "CARGO_TARGET_DIR"] {
            assert!(changes_build(name) && !set_by_cargo_run(name), "{name}");
        }
        assert!(set_by_cargo_run("CARGO_PKG_NAME") && set_by_cargo_run("LD_LIBRARY_PATH"));
        for name in [
            "PATH",
            "CARGO_HOME",
            "CARGO_HTTP_CAINFO",
            "CARGO_NET_OFFLINE",
            "RUSTUP_HOME",
        ] {
            assert!(!changes_build(name) && !set_by_cargo_run(name), "{name}");
        }
    }

    #[test]
    fn a_failing_command_is_named_with_its_stderr() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken >&2; exit 3"]);
        let text = output(&mut command).expect_err("it exits 3").to_string();
        assert!(text.contains("exit 3") && text.contains("broken"), "{text}");
    }
}
