//! What a program serves of itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::go_test::Package;
use crate::go::VERSIONS;
use crate::run::{Report, Settings, Test};

/// The package whose test serves its goroutines, and its flight recording.
const SOURCES: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../../workloads/serve/go.mod")),
    (
        "serve_test.go",
        include_str!("../../../workloads/serve/serve_test.go"),
    ),
    (
        "flight_test.go",
        include_str!("../../../workloads/serve/flight_test.go"),
    ),
];

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "run::flight_recording",
        body: flight_recording,
    }]
}

/// What `gohang open` prints of the bundle.
fn open(settings: &Settings, bundle: &Path, options: &[&str]) -> Result<Vec<u8>> {
    let opened = Command::new(settings.gohang()?)
        .arg("open")
        .args(options)
        .arg(bundle)
        .output()?;
    ensure!(opened.status.success(), "{}", opened.status);
    Ok(opened.stdout)
}

/// A flight recording and a heap profile are in the bundle, as they were served; without a
/// wish the first is not, and redacted neither.
fn flight_recording(settings: &Settings, report: &mut Report) -> Result<()> {
    let version = VERSIONS.last().context("no version")?;
    let package = Package::of(settings, version, &SOURCES)?;
    let mut all = vec![(&["--fetch", "/debug/flight"][..], 2)];
    if settings.full {
        all.push((&[], 1));
        all.push((&["--fetch", "/debug/flight", "--redact"], 0));
        all.push((&["--fetch", "/nowhere"], 1));
    }
    for (more, kept) in all {
        let folder = tempfile::tempdir()?;
        let mut options = vec!["--bundle-dir", folder.path().to_str().context("not UTF-8")?];
        options.extend(["--idle-timeout", "3s", "--grace", "1s"]);
        options.extend(more);
        let end = package.test(settings, &options, &["-v"], "")?;
        report.note(format!("{more:?}: {}", end.stderr_line()));
        let files = std::fs::read_dir(folder.path())?;
        let mut paths = files.filter_map(|file| Some(file.ok()?.path()));
        let bundle: PathBuf = paths
            .find(|path| path.extension().is_some_and(|end| end == "zst"))
            .context("no bundle")?;
        let list = String::from_utf8(open(settings, &bundle, &["--list"])?)?;
        let names = list.split_whitespace();
        let names: Vec<&str> = names.filter(|name| name.starts_with("fetched/")).collect();
        report.note(format!("{names:?}"));
        ensure!(names.len() == kept, "{list}");
        for name in names {
            let content = open(settings, &bundle, &["--member", name])?;
            // A profile is compressed by gzip; a trace names the version of its form
            // (internal/trace/raw and runtime/trace.go).
            let begin: &[u8] = if name.ends_with("/heap") {
                b"\x1f\x8b"
            } else {
                b"go 1."
            };
            ensure!(
                content.starts_with(begin),
                "{name}: {} bytes",
                content.len()
            );
            ensure!(content.len() > 100, "{name}: {} bytes", content.len());
        }
    }
    Ok(())
}
