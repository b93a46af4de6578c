//! Writes the archive that a Linux kernel unpacks as its first file system (`newc`,
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

/// File types of `st_mode` (include/uapi/linux/stat.h).
mod kind {
    pub const DIRECTORY: u32 = 0o040_000;
    pub const REGULAR: u32 = 0o100_000;
    pub const SYMLINK: u32 = 0o120_000;
    pub const CHARACTER: u32 = 0o020_000;
    pub const MASK: u32 = 0o170_000;
}

/// Folders that are links to those of the same name below `/usr` on Debian (file-hierarchy(7)).
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// One entry: `st_mode`, device number, content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

/// The files of an archive by path, without a leading slash. The order of the paths
/// puts every folder before what is in it.
#[derive(Debug, Default)]
pub struct Archive(BTreeMap<String, Entry>);

impl Archive {
    /// Adds a folder and those above it.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.0.contains_key(path) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.add(path, kind::DIRECTORY | 0o755, (0, 0), Vec::new());
    }

    /// Whether there is such an entry.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path.trim_matches('/'))
    }

    /// Moves what lies in `/bin`, `/sbin` and the like below `/usr`, where Debian has it, and
    /// puts links in their places. Of two entries with one path then, a file goes before a
    /// link, which would lead to itself.
    pub fn merge_usr(&mut self) {
        let is_link = |entry: &Entry| entry.mode & kind::MASK == kind::SYMLINK;
        for folder in MERGED {
            if self.0.get(folder).is_some_and(is_link) {
                self.0.remove(folder);
            }
        }
        let apart = |path: &String| MERGED.contains(&path.split('/').next().unwrap_or_default());
        let (moved, kept) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(path, _)| apart(path));
        self.0 = kept;
        for (path, entry) in BTreeMap::into_iter(moved) {
            let path = format!("usr/{path}");
            if self.0.get(&path).is_none_or(is_link) {
                self.put(&path, entry);
            }
        }
        for folder in MERGED {
            let target = format!("usr/{folder}");
            if self.0.contains_key(&target) {
                self.symlink(folder, &target);
            }
        }
    }

    /// Adds a file with these permission bits.
    pub fn file(&mut self, path: &str, permissions: u32, content: Vec<u8>) {
        self.add(path, kind::REGULAR | permissions, (0, 0), content);
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, kind::SYMLINK | 0o777, (0, 0), target.into());
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, kind::CHARACTER | 0o600, (major, minor), Vec::new());
    }

    /// Adds an executable copy of a file of this machine.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn program(&mut self, path: &str, from: &Path) -> Result<()> {
        let content =
            std::fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
        self.file(path, 0o755, content);
        Ok(())
    }

    fn add(&mut self, path: &str, mode: u32, device: (u32, u32), content: Vec<u8>) {
        let entry = Entry {
            mode,
            device,
            content,
        };
        self.put(path.trim_matches('/'), entry);
    }

    fn put(&mut self, path: &str, entry: Entry) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.0.insert(path.to_owned(), entry);
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// When a file has 4 GiB or more, which the format cannot say.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (number, (path, entry)) in self.0.iter().enumerate() {
            write(&mut bytes, number + 1, path, entry)
                .with_context(|| format!("{path} does not fit into a cpio archive"))?;
        }
        let trailer = Entry {
            mode: 0,
            device: (0, 0),
            content: Vec::new(),
        };
        write(&mut bytes, 0, "TRAILER!!!", &trailer)?;
        Ok(bytes)
    }
}

fn write(bytes: &mut Vec<u8>, number: usize, path: &str, entry: &Entry) -> Result<()> {
    let Entry {
        mode,
        device: (major, minor),
        content,
    } = entry;
    let fields = [
        u32::try_from(number)?,
        *mode,
        0, // uid
        0, // gid
        1, // links
        0, // mtime: the same archive from the same files
        u32::try_from(content.len())?,
        0, // device that holds the file
        0,
        *major,
        *minor,
        u32::try_from(path.len() + 1)?,
        0, // checksum, of the other format only
    ];
    bytes.extend_from_slice(b"070701");
    for field in fields {
        bytes.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    pad(bytes);
    bytes.extend_from_slice(content);
    pad(bytes);
    Ok(())
}

/// Headers and contents begin at multiples of four.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_their_files() {
        let mut archive = Archive::default();
        archive.file("/usr/lib/x", 0o644, b"abc".to_vec());
        archive.symlink("bin/sh", "busybox");
        let paths: Vec<&String> = archive.0.keys().collect();
        assert_eq!(paths, ["bin", "bin/sh", "usr", "usr/lib", "usr/lib/x"]);
    }

    #[test]
    fn what_is_beside_usr_is_moved_there() {
        let mut archive = Archive::default();
        archive.file("bin/a", 0o755, b"a".to_vec());
        archive.symlink("usr/bin/a", "/bin/a");
        archive.file("usr/bin/b", 0o755, b"b".to_vec());
        archive.symlink("bin/b", "/usr/bin/b");
        archive.symlink("sbin", "usr/sbin");
        archive.file("binary", 0o644, Vec::new());
        archive.merge_usr();
        let paths: Vec<&String> = archive.0.keys().collect();
        let want = ["bin", "binary", "usr", "usr/bin", "usr/bin/a", "usr/bin/b"];
        assert_eq!(paths, want);
        assert_eq!(archive.0["bin"].content, b"usr/bin");
        assert_eq!(archive.0["usr/bin/a"].content, b"a");
        assert_eq!(archive.0["usr/bin/b"].content, b"b");
        assert!(archive.has("/usr/bin/a") && !archive.has("bin/a"));
    }

    #[test]
    fn entries_are_as_the_format_says() {
        let mut archive = Archive::default();
        archive.file("a", 0o755, b"hello".to_vec());
        let bytes = archive.bytes().expect("small");
        let header = "070701\
                      00000001000081ed0000000000000000\
                      00000001000000000000000500000000\
                      0000000000000000000000000000000200000000";
        assert_eq!(bytes[..110], *header.as_bytes());
        assert_eq!(bytes[110..120], *b"a\0hello\0\0\0");
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes[120..].starts_with(b"070701"));
        assert!(bytes.windows(11).any(|w| w == b"TRAILER!!!\0"));
    }
}
