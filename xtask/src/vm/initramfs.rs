//! The file system of a test machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use crate::process::output;

/// What runs as the first process.
const INIT: &str = include_str!("init.sh");

/// Where the programs lie in the machine.
const GOHANG: &str = "/gohang";
const SUITE: &str = "/gohang-tests";
const WORKLOADS: &str = "/workloads";

/// What a test machine is given.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// A static busybox.
    pub busybox: &'a Path,
    /// The program under test.
    pub gohang: &'a Path,
    /// The privileged suite.
    pub suite: &'a Path,
    /// A folder of built Go workloads.
    pub workloads: &'a Path,
    /// The names of the tests to run; all without any.
    pub tests: &'a [String],
}

/// Builds the archive.
///
/// # Errors
/// When a file or a shared object that it needs cannot be read.
pub fn build(content: &Content) -> Result<Vec<u8>> {
    let Content {
        busybox,
        gohang,
        suite,
        workloads,
        tests,
    } = content;
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "tmp", "out", "root"] {
        archive.folder(folder);
    }
    archive.character_device("dev/console", 5, 1);
    archive.file("init", 0o755, INIT.into());
    archive.file(
        "etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\n".to_vec(),
    );
    archive.program("bin/busybox", busybox)?;
    let applets = output(Command::new(busybox).arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    for (place, program) in [(GOHANG, gohang), (SUITE, suite)] {
        archive.program(place, program)?;
        for object in shared_objects(&output(Command::new("ldd").arg(program))?) {
            archive.program(object, Path::new(object))?;
        }
    }
    add_programs(&mut archive, workloads)?;
    let mut words = [SUITE, "--gohang", GOHANG, "--workloads", WORKLOADS]
        .map(str::to_owned)
        .to_vec();
    words.extend_from_slice(tests);
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    archive.file(
        "command",
        0o644,
        format!("exec {}\n", words.join(" ")).into(),
    );
    archive.bytes()
}

/// Adds the files of a folder, not those in folders below it.
fn add_programs(archive: &mut Archive, folder: &Path) -> Result<()> {
    let context = || format!("could not read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_type().with_context(context)?.is_file() {
            let name = entry.file_name();
            let place = format!("{WORKLOADS}/{}", name.to_string_lossy());
            archive.program(&place, &entry.path())?;
        }
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
