//! Whether a group that the kernel numbered still exists.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::error::CgroupError;
use super::layout::Hierarchy;

/// `FILEID_KERNFS` (include/linux/exportfs.h, 5.5 and later): a handle that is the
/// kernel's number.
const FILEID_KERNFS: libc::c_int = 0xfe;

/// `struct file_handle` with a number in it.
#[repr(C)]
struct Handle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    id: [u8; 8],
}

/// Asks the kernel for the groups of one hierarchy by number, without a scan.
#[derive(Debug)]
pub struct GroupHandles {
    mount: File,
}

impl GroupHandles {
    /// For `hierarchy`.
    ///
    /// # Errors
    /// Its mount point cannot be opened.
    pub fn new(hierarchy: &Hierarchy) -> Result<Self, CgroupError> {
        Self::at(&hierarchy.mount_point).map_err(|source| CgroupError::Read {
            path: hierarchy.mount_point.clone(),
            source,
        })
    }

    fn at(mount_point: &Path) -> io::Result<Self> {
        File::open(mount_point).map(|mount| Self { mount })
    }

    /// Whether group `id` exists. Only what the kernel says for certain is a no.
    #[must_use]
    pub fn exists(&self, id: u64) -> bool {
        let gone = [libc::ESTALE, libc::ENOENT];
        match self.open(id) {
            Ok(_) => true,
            Err(error) => error
                .raw_os_error()
                .is_none_or(|code| !gone.contains(&code)),
        }
    }

    fn open(&self, id: u64) -> io::Result<OwnedFd> {
        let mut handle = Handle {
            bytes: size_of::<u64>() as libc::c_uint,
            kind: FILEID_KERNFS,
            id: id.to_ne_bytes(),
        };
        // SAFETY: the handle has the size that it states, and lives during the call.
        let fd = unsafe {
            libc::open_by_handle_at(
                self.mount.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just returned it, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::CgroupLayout;
    use super::super::ids::id_of;
    use super::*;
    use crate::process::ProcRoot;

    #[test]
    fn groups_of_this_machine() {
        let layout = CgroupLayout::read(&ProcRoot::default()).expect("a layout");
        let Ok(cpu) = layout.cpu() else {
            println!("skipped: no cpu controller is mounted here");
            return;
        };
        let groups = GroupHandles::new(cpu).expect("it is mounted");
        let own = id_of(&cpu.mount_point).expect("it is there");
        assert!(groups.exists(own));
        if groups.open(own).is_err() {
            println!("skipped: groups may not be opened by number");
            return;
        }
        assert!(!groups.exists(u64::MAX >> 1));
    }

    #[test]
    fn what_cannot_be_told_exists() {
        // Not a file system that numbers groups.
        let dir = tempfile::tempdir().expect("a directory");
        let groups = GroupHandles::at(dir.path()).expect("it is there");
        let told = groups.open(1).map_err(|error| error.raw_os_error());
        let gone = matches!(told, Err(Some(libc::ESTALE | libc::ENOENT)));
        assert_eq!(groups.exists(1), !gone);
    }
}
