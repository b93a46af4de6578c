//! The test files of a project.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that the go command does not look into, and others that hold no tests.
const PASSED_OVER: [&str; 3] = ["vendor", "testdata", "node_modules"];
/// Most folders that are looked into.
const MOST_FOLDERS: usize = 20_000;
/// A longer file was not written by hand.
const LONGEST: u64 = 1 << 20;

/// The files `*_test.go` below `top`, without those of other modules inside, sorted.
pub(super) fn test_files(top: &Path) -> Vec<PathBuf> {
    let mut open = vec![top.to_path_buf()];
    let mut found = Vec::new();
    let mut folders = 0;
    while let Some(dir) = open.pop() {
        folders += 1;
        if folders > MOST_FOLDERS {
            break;
        }
        // What cannot be read cannot be tested either.
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(['.', '_']) {
                continue;
            }
            if kind.is_dir() {
                let other = path.join("go.mod").exists();
                if !other && !PASSED_OVER.contains(&&*name) {
                    open.push(path);
                }
            } else if kind.is_file()
                && name.ends_with("_test.go")
                && entry.metadata().is_ok_and(|data| data.len() <= LONGEST)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_go_test_would_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "package x\n").expect("written");
        };
        for path in [
            "go.mod",
            "a_test.go",
            "a.go",
            "b/c/d_test.go",
            "vendor/v_test.go",
            "b/testdata/t_test.go",
            ".hidden/h_test.go",
            "_old/o_test.go",
            "_x_test.go",
            "other/go.mod",
            "other/o_test.go",
        ] {
            write(path);
        }
        fs::create_dir(dir.path().join("folder_test.go")).expect("made");
        std::os::unix::fs::symlink("..", dir.path().join("b/loop")).expect("linked");
        let found = test_files(dir.path());
        let strip = |path: &PathBuf| path.strip_prefix(dir.path()).expect("below").to_owned();
        let found: Vec<PathBuf> = found.iter().map(strip).collect();
        assert_eq!(found, [Path::new("a_test.go"), Path::new("b/c/d_test.go")]);
        assert!(test_files(&dir.path().join("none")).is_empty());
    }
}
