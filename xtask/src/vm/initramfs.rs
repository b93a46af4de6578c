//! The file system of a test machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::{systemd, workloads};
use crate::process::{output, run};
use crate::verifier::{self, Wanted};

/// What runs as the first process.
const INIT: &str = include_str!("init.sh");

/// What a machine is there for, once its file systems are mounted, and where it lies.
const COURSE: &str = include_str!("course.sh");
pub const COURSE_PLACE: &str = "/course";

/// Where the programs lie in the machine.
const GOHANG: &str = "/gohang";
const SUITE: &str = "/gohang-tests";
const WORKLOADS: &str = "/workloads";
const PRELOAD: &str = "/verifier-log.so";

/// What a test machine is given.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// A static busybox.
    pub busybox: &'a Path,
    /// Debian's files, where its systemd is to be the first process.
    pub debian: Option<&'a Path>,
    /// The program under test.
    pub gohang: &'a Path,
    /// The privileged suite, where tests are to run.
    pub suite: Option<Suite<'a>>,
    /// Built Go workloads.
    pub workloads: &'a [PathBuf],
    /// What asks for the verifier's statistics, where those are to be had, and the forms.
    pub preload: Option<(&'a Path, Wanted)>,
}

/// The privileged suite and what it is given.
#[derive(Debug, Clone, Copy)]
pub struct Suite<'a> {
    /// The suite itself.
    pub program: &'a Path,
    /// The names of the tests to run.
    pub tests: &'a [String],
    /// How many episodes of each cause the cause test makes, in the long form of the tests.
    pub full: Option<u32>,
}

/// Builds the archive.
///
/// # Errors
/// When a file or a shared object that it needs cannot be read.
pub fn build(content: &Content) -> Result<Vec<u8>> {
    let Content {
        busybox,
        debian,
        gohang,
        suite,
        workloads: given,
        preload,
    } = content;
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "tmp", "out", "root"] {
        archive.folder(folder);
    }
    archive.character_device("dev/console", 5, 1);
    archive.file(COURSE_PLACE, 0o755, COURSE.into());
    match debian {
        Some(root) => systemd::add(&mut archive, root)?,
        None => {
            archive.file("init", 0o755, INIT.into());
            archive.file(
                "etc/passwd",
                0o644,
                b"root:x:0:0:root:/root:/bin/sh\n".to_vec(),
            );
        }
    }
    archive.program("bin/busybox", busybox)?;
    let applets = output(Command::new(busybox).arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        // Debian's own programs go before those.
        let places = ["bin", "sbin", "usr/bin", "usr/sbin"];
        if !places
            .iter()
            .any(|place| archive.has(&format!("{place}/{applet}")))
        {
            archive.symlink(&format!("bin/{applet}"), "busybox");
        }
    }
    add_program(&mut archive, GOHANG, gohang)?;
    for program in *given {
        let name = program.file_name().context("a workload without a name")?;
        archive.program(&format!("{WORKLOADS}/{}", name.display()), program)?;
    }
    let mut command = String::from("status=0\n");
    if let Some(suite) = suite {
        add_program(&mut archive, SUITE, suite.program)?;
        let mut words = vec![SUITE, "--gohang", GOHANG, "--workloads", WORKLOADS];
        let injections = suite.full.map(|number| number.to_string());
        if let Some(number) = &injections {
            words.extend(["--full", "--injections", number]);
        }
        words.extend(suite.tests.iter().map(String::as_str));
        let words: Vec<String> = words.into_iter().map(quote).collect();
        let _ = writeln!(command, "{}\nstatus=$?", words.join(" "));
    }
    if let Some((preload, wanted)) = preload {
        add_program(&mut archive, PRELOAD, preload)?;
        let running = format!("{WORKLOADS}/{}", workloads::RUNNING);
        command.push_str(&verifier::script(GOHANG, PRELOAD, &running, *wanted));
    }
    command.push_str("exit $status\n");
    archive.file("command", 0o644, command.into());
    if debian.is_some() {
        archive.merge_usr();
    }
    archive.bytes()
}

/// A copy of a program of ours without debug information, which is most of it: each machine
/// unpacks it at its start, emulated.
///
/// # Errors
/// There is no `strip`, or it does not make one.
pub fn stripped(program: &Path) -> Result<PathBuf> {
    let copy = program.with_extension("stripped");
    run(Command::new("strip")
        .arg("--strip-debug")
        .arg("-o")
        .args([&copy, program]))
    .context("a test machine's programs are made small by `strip` (Debian: binutils)")?;
    Ok(copy)
}

/// Adds a program, or a shared object, and the shared objects that it needs.
fn add_program(archive: &mut Archive, place: &str, program: &Path) -> Result<()> {
    archive.program(place, program)?;
    for object in shared_objects(&output(Command::new("ldd").arg(program))?) {
        archive.program(object, Path::new(object))?;
    }
    Ok(())
}

/// The absolute paths in what `ldd` prints.
fn shared_objects(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| word.starts_with('/'))
    })
}

/// A word as a shell reads it back.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_objects_are_those_with_a_path() {
        let text = "\tlinux-vdso.so.1 (0x00007f)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let objects: Vec<&str> = shared_objects(text).collect();
        assert_eq!(
            objects,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }

    #[test]
    fn words_survive_the_shell() {
        let word = "a 'b' $c\\";
        let text = output(
            Command::new("sh")
                .arg("-c")
                .arg(format!("echo {}", quote(word))),
        );
        assert_eq!(text.expect("sh"), "a 'b' $c\\");
    }
}
