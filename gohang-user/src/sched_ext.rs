//! BPF schedulers (sched_ext, 6.12 and later): CFS quotas do not touch the threads that they run.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a kernel that has sched_ext tells of it (kernel/sched/ext.c).
const FOLDER: &str = "sys/kernel/sched_ext";

/// The scheduling class of the threads that a BPF scheduler runs.
const CLASS: &str = "ext_sched_class";

/// What gohang does of their threads, in words.
pub const MEANING: &str = "CFS quotas do not hold back the threads that it runs: \"throttled\" is \
                           not applicable to them, and they wait for a CPU instead";

/// What a kernel says of BPF schedulers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedExt {
    /// `disabled`, `enabled`, or on the way between them.
    pub state: String,
    /// The scheduler's name; null where none is loaded or it says none.
    pub scheduler: Option<String>,
}

impl SchedExt {
    /// Reads it, `/sys` being below `root`; none where the kernel has no sched_ext.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        let folder = root.join(FOLDER);
        let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
        Some(Self {
            state: text("state")?.trim().to_owned(),
            scheduler: text("root/ops")
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty()),
        })
    }

    /// Whether a BPF scheduler may run threads now.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state != "disabled"
    }
}

/// Address of [`CLASS`]; 0 where the kernel has no sched_ext or hides addresses.
pub(crate) fn class() -> u64 {
    if !Path::new("/").join(FOLDER).is_dir() {
        return 0;
    }
    let found = File::open("/proc/kallsyms").map(address);
    match found {
        Ok(Some(address)) if address != 0 => address,
        _ => {
            log::warn!(
                "the address of {CLASS} cannot be read: threads of a BPF scheduler are not told \
                 from those that CFS quotas hold back"
            );
            0
        }
    }
}

/// The address in a list of `ADDRESS TYPE NAME`.
fn address(list: impl std::io::Read) -> Option<u64> {
    BufReader::new(list)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (address, name) = (words.next()?, words.nth(1)?);
            (name == CLASS).then(|| u64::from_str_radix(address, 16).ok())?
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_says_is_read() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(SchedExt::read(root.path()), None);
        let folder = root.path().join(FOLDER);
        fs::create_dir_all(folder.join("root")).expect("made");
        fs::write(folder.join("state"), "disabled\n").expect("written");
        let found = SchedExt::read(root.path()).expect("there");
        assert!(!found.is_on() && found.scheduler.is_none());
        fs::write(folder.join("state"), "enabled\n").expect("written");
        fs::write(folder.join("root/ops"), "simple\n").expect("written");
        let found = SchedExt::read(root.path()).expect("there");
        assert!(found.is_on());
        assert_eq!(found.scheduler.as_deref(), Some("simple"));
    }

    #[test]
    fn the_class_is_found_by_its_whole_name() {
        let list = "ffffffff82000000 D rt_sched_class\nffffffff82000001 d my_ext_sched_class\n\
                    ffffffff82000010 D ext_sched_class\n";
        assert_eq!(address(list.as_bytes()), Some(0xffff_ffff_8200_0010));
        assert_eq!(address("0 D ext_sched_classes\nx".as_bytes()), None);
        assert_eq!(address("zz D ext_sched_class".as_bytes()), None);
    }
}
