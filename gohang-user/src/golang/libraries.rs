//! Files a process has mapped to execute, from `/proc/PID/maps`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Most different files that are looked at in one process.
const MAX_FILES: usize = 512;

/// A file that is mapped executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its name in `/proc/PID/map_files`.
    pub name: String,
    /// Where it is mapped.
    pub range: Range<u64>,
    /// What of the file lies at the begin of the range.
    pub offset: u64,
    /// Its inode number.
    pub inode: u64,
    /// Its path as the process sees it, without the note that it was deleted.
    pub path: PathBuf,
}

impl Mapping {
    /// Where in the file what is mapped at `address` lies.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        let inside = address.checked_sub(self.range.start)?;
        self.offset.checked_add(inside)
    }
}

/// The mappings of files that are executable, in the order of their addresses; at most
/// [`MAX_FILES`]. Lines of another form are passed over.
pub fn executable_mappings(maps: &[u8]) -> impl Iterator<Item = Mapping> {
    maps.split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .map(|(_, mapping)| mapping)
        .take(MAX_FILES)
}

/// The files mapped executable, each once, in the order of their addresses; at most
/// [`MAX_FILES`]. Lines of another form are passed over.
pub fn executable_files(maps: &[u8]) -> Vec<Mapping> {
    let mut seen = HashSet::new();
    maps.split(|&byte| byte == b'\n')
        .filter_map(parse_line)
        .filter(|(device, mapping)| seen.insert((device.clone(), mapping.inode)))
        .map(|(_, mapping)| mapping)
        .take(MAX_FILES)
        .collect()
}

/// `start-end perms offset device inode path`; the device and the file, if executable.
fn parse_line(line: &[u8]) -> Option<(String, Mapping)> {
    let mut rest = line;
    let mut field = || {
        let end = rest.iter().position(|&byte| byte == b' ')?;
        let (field, after) = rest.split_at(end);
        rest = after.trim_ascii_start();
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let executable = field()?.as_bytes().get(2) == Some(&b'x');
    let offset = u64::from_str_radix(field()?, 16).ok()?;
    let device = field()?.to_owned();
    let inode = field()?.parse().ok()?;
    if !executable || inode == 0 || rest.first() != Some(&b'/') {
        return None;
    }
    let path = rest.strip_suffix(b" (deleted)").unwrap_or(rest);
    let path = PathBuf::from(OsString::from_vec(unescape(path)));
    // The directory's names have no leading zeros, unlike those in `maps`.
    Some((
        device,
        Mapping {
            name: format!("{start:x}-{end:x}"),
            range: start..end,
            offset,
            inode,
            path,
        },
    ))
}

/// The kernel writes a newline in a path as `\012` and leaves all else, even a backslash.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(br"\012") {
            out.push(b'\n');
            rest = after;
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn executable_files_once_each() {
        let maps = b"00400000-00401000 r--p 00000000 fe:00 1 /bin/a\n\
            00401000-00402000 r-xp 00001000 fe:00 1 /bin/a\n\
            00402000-00403000 r-xp 00002000 fe:00 1 /bin/a\n\
            7f00-7fff r-xp 00000000 fe:01 1 /lib/with space\\012line (deleted)\n\
            8f00-8fff r-xp 00000000 00:01 9 /memfd:go (deleted)\n\
            9000-a000 r-xp 00000000 00:00 0 \n\
            b000-c000 r-xp 00000000 00:00 0                          [vdso]\n\
            d000-e000 rw-p 00000000 fe:00 7 /lib/data\n";
        let found = executable_files(maps);
        let paths: Vec<_> = found.iter().map(|m| m.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/bin/a", "/lib/with space\nline", "/memfd:go"]);
        assert_eq!(found[0].name, "401000-402000");
        assert_eq!((found[1].name.as_str(), found[1].inode), ("7f00-7fff", 1));
    }

    #[test]
    fn their_number_is_bounded() {
        let maps: String = (1..2000)
            .map(|i| format!("{i:x}000-{i:x}fff r-xp 0 fe:00 {i} /l/{i}\n"))
            .collect();
        assert_eq!(executable_files(maps.as_bytes()).len(), MAX_FILES);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(maps in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = executable_files(&maps);
        }

        #[test]
        fn lines_of_another_form_never_panic(maps in "([0-9a-f]{0,4}-? ?r?-?x? ?[0-9:]{0,4} ?/?\n?){0,6}") {
            let _ = executable_files(maps.as_bytes());
        }
    }
}
