//! What a process has open.

use std::io;
use std::os::unix::ffi::OsStrExt as _;

use crate::process::ProcRoot;
use crate::run::evidence::OpenFile;

/// Most descriptors of a process.
const MAX_FILES: usize = 1024;
/// Access mode in the `flags` of `fdinfo`, which are octal (`O_ACCMODE`).
const ACCESS: u32 = 0o3;

/// Its open files, by descriptor.
pub(super) fn open_files(proc: &ProcRoot, pid: u32) -> io::Result<Vec<OpenFile>> {
    let dir = proc.pid_dir(pid);
    let mut numbers: Vec<u32> = std::fs::read_dir(dir.join("fd"))?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.truncate(MAX_FILES);
    let open = numbers.into_iter().filter_map(|fd| {
        Some(OpenFile {
            fd,
            target: link(proc, pid, &format!("fd/{fd}"))?,
            access: std::fs::read_to_string(dir.join(format!("fdinfo/{fd}")))
                .ok()
                .and_then(|info| access(&info)),
        })
    });
    Ok(open.collect())
}

/// Where a link in a process's directory leads.
pub(super) fn link(proc: &ProcRoot, pid: u32, name: &str) -> Option<String> {
    let target = std::fs::read_link(proc.pid_dir(pid).join(name)).ok()?;
    Some(String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned())
}

fn access(info: &str) -> Option<String> {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
    let access = match flags & ACCESS {
        0 => "r",
        1 => "w",
        2 => "rw",
        _ => return None,
    };
    Some(access.to_owned())
}

/// The number in `socket:[N]`.
pub(super) fn socket_of(target: &str) -> Option<u64> {
    let number = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn descriptors_of_this_process() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let files = open_files(&ProcRoot::default(), std::process::id()).unwrap();
        let number = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap();
        let found = files.iter().find(|open| open.fd == number).unwrap();
        assert!(found.target.ends_with("/stat"), "{found:?}");
        assert_eq!(found.access.as_deref(), Some("r"));
        assert!(open_files(&ProcRoot::default(), u32::MAX).is_err());
    }

    #[test]
    fn numbers_of_sockets() {
        assert_eq!(socket_of("socket:[77]"), Some(77));
        assert_eq!(socket_of("pipe:[77]"), None);
        assert_eq!(socket_of("socket:[7x]"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(flags:\t[0-9]{0,12}\n)?.{0,40}") {
            let _ = (access(&text), socket_of(&text));
        }
    }
}
