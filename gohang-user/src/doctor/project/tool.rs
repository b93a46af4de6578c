//! The go command and what it says of itself.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::output;
use super::report::FoundBy;

/// `go env` reads a few files; a file system that hangs must not hold us up.
const LIMIT: Duration = Duration::from_secs(10);
/// What is asked for.
const ASKED: [&str; 9] = [
    "GOVERSION",
    "GOROOT",
    "GOMOD",
    "GOWORK",
    "GOPROXY",
    "GOFLAGS",
    "GOENV",
    "GO111MODULE",
    "GOMODCACHE",
];

/// The program that `command` runs Go with, or else the first `go` along `PATH`.
///
/// # Errors
/// Where it was looked for.
pub(super) fn find(
    command: &[OsString],
    dir: &Path,
    path: Option<&OsStr>,
) -> Result<(PathBuf, FoundBy), String> {
    let named = command
        .first()
        .map(Path::new)
        .filter(|own| own.file_name() == Some(OsStr::new("go")))
        .filter(|own| own.components().count() > 1);
    if let Some(own) = named {
        let own = dir.join(own);
        return if is_program(&own) {
            Ok((own, FoundBy::Command))
        } else {
            Err(format!("{} is no program", own.display()))
        };
    }
    let Some(path) = path else {
        return Err("PATH is not set: give go with its path".into());
    };
    std::env::split_paths(path)
        // The go command refuses to be found through a relative entry.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("go"))
        .find(|own| is_program(own))
        .map(|own| (own, FoundBy::Path))
        .ok_or_else(|| {
            format!(
                "no go along PATH ({}): install Go, or put its bin folder on PATH",
                path.display()
            )
        })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What `go env` says in `dir`, of this tool chain itself: it fetches no other.
///
/// # Errors
/// What the go command says, or that it does not end.
pub(super) fn env(go: &Path, dir: &Path) -> Result<HashMap<String, String>, String> {
    let mut command = Command::new(go);
    command
        .args(["env", "-json"])
        .args(ASKED)
        .current_dir(dir)
        .env("GOTOOLCHAIN", "local");
    let told = |what: String| format!("{} env: {what}", go.display());
    let output = output::run(&mut command, LIMIT).map_err(|error| told(error.to_string()))?;
    if !output.status.success() {
        let why = output.stderr.trim();
        return Err(told(if why.is_empty() {
            output.status.to_string()
        } else {
            why.chars().take(500).collect()
        }));
    }
    serde_json::from_str(&output.stdout)
        .map_err(|error| told(format!("not what go env prints: {error}")))
}

/// The value of a variable that `go env` could not be asked for: of the environment, else
/// of the user's settings file, else of the tool chain's.
pub(super) fn setting(
    name: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    user: Option<&str>,
    goroot: Option<&str>,
) -> Option<String> {
    let given = variable(name).filter(|value| !value.is_empty());
    let files = [
        user.filter(|path| *path != "off").map(PathBuf::from),
        goroot.map(|root| Path::new(root).join("go.env")),
    ];
    let in_file = |path: PathBuf| {
        let text = fs::read_to_string(path).ok()?;
        let value = |line: &str| {
            Some(
                line.trim()
                    .strip_prefix(name)?
                    .strip_prefix('=')?
                    .to_owned(),
            )
        };
        text.lines().find_map(value)
    };
    given.or_else(|| files.into_iter().flatten().find_map(in_file))
}

/// Whether the module cache holds a tool chain of this name, as `go1.28.0`.
pub(super) fn has_toolchain(cache: &str, name: &str) -> bool {
    let below = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let start = format!("toolchain@v0.0.1-{name}.");
    // A system follows, not the rest of a longer version.
    let of_system = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic());
    below(Path::new(cache))
        .flat_map(|entry| below(&entry.path()).map(|entry| entry.file_name()))
        .any(|name| {
            let name = name.to_string_lossy();
            name.strip_prefix(&start).is_some_and(of_system)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that is a script.
    fn script(dir: &Path, text: &str) -> PathBuf {
        fs::create_dir_all(dir).expect("made");
        let path = dir.join("go");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("allowed");
        path
    }

    #[test]
    fn the_first_along_path_or_the_one_that_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(a.join("go")).expect("a folder of that name");
        let go = script(&b, "");
        let path = std::env::join_paths([Path::new("rel"), &a, &b]).expect("a list");
        let find = |words: &[&str], path: Option<&OsStr>| {
            let command: Vec<OsString> = words.iter().map(Into::into).collect();
            find(&command, dir.path(), path)
        };
        assert_eq!(find(&[], Some(&path)), Ok((go.clone(), FoundBy::Path)));
        assert_eq!(
            find(&["go", "test"], Some(&path)),
            Ok((go.clone(), FoundBy::Path))
        );
        assert_eq!(
            find(&["make"], Some(&path)),
            Ok((go.clone(), FoundBy::Path))
        );
        assert_eq!(find(&["b/go", "test"], None), Ok((go, FoundBy::Command)));
        assert!(
            find(&["a/go"], Some(&path))
                .expect_err("a folder")
                .contains("a/go")
        );
        assert!(find(&[], None).expect_err("no PATH").contains("PATH"));
        assert!(
            find(&[], Some(a.as_os_str()))
                .expect_err("none")
                .contains("install Go")
        );
    }

    #[test]
    fn what_go_env_prints_and_how_it_fails() {
        let dir = tempfile::tempdir().expect("a directory");
        let ask = |text: &str| env(&script(dir.path(), text), dir.path());
        let found = ask("echo \"{\\\"GOVERSION\\\": \\\"$GOTOOLCHAIN $1 $2\\\"}\"").expect("JSON");
        assert_eq!(found["GOVERSION"], "local env -json");
        let error = ask("echo go: cannot find GOROOT >&2; exit 2").expect_err("it fails");
        assert!(error.contains("cannot find GOROOT"), "{error}");
        assert!(ask("exit 3").expect_err("it fails").contains('3'));
        assert!(ask("echo hello").expect_err("no JSON").contains("not what"));
    }

    #[test]
    fn settings_come_from_the_first_that_has_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let user = dir.path().join("env");
        fs::write(&user, "GOFLAGS=-v\nGOTOOLCHAIN=path\n").expect("written");
        fs::write(
            dir.path().join("go.env"),
            "# x\nGOTOOLCHAIN=auto\nGOSUMDB=off\n",
        )
        .expect("written");
        let root = dir.path().to_str();
        let user = user.to_str();
        let given = |_: &str| Some("local".to_owned());
        let nothing = |_: &str| None;
        let name = "GOTOOLCHAIN";
        let value = |found: Option<String>| found.unwrap_or_default();
        assert_eq!(value(setting(name, &given, user, root)), "local");
        assert_eq!(value(setting(name, &nothing, user, root)), "path");
        assert_eq!(value(setting(name, &nothing, Some("off"), root)), "auto");
        assert_eq!(value(setting("GOSUMDB", &nothing, user, root)), "off");
        assert_eq!(setting(name, &nothing, None, None), None);
    }

    #[test]
    fn tool_chains_of_the_module_cache() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = dir.path().to_str().expect("text");
        let held = dir
            .path()
            .join("example.org/toolchain@v0.0.1-go1.28.0.linux-amd64");
        fs::create_dir_all(held).expect("made");
        assert!(has_toolchain(cache, "go1.28.0"));
        assert!(!has_toolchain(cache, "go1.28"));
        assert!(!has_toolchain("/nonexistent", "go1.28.0"));
    }
}
