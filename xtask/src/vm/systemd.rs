//! Debian with systemd as a machine's first file system: packages unpacked, without their
//! maintainers' scripts, and what those would have written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::apt::{Apt, remove_folder};
use super::cpio::Archive;
use super::sources::Sources;

/// What there is to be: the machine's manager, users' own, and buses to both; and a runtime of
/// containers.
const PACKAGES: [&str; 5] = [
    "systemd",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "runc",
];

/// Packages that only maintainers' scripts need, as they do everything of Perl.
const FOR_SCRIPTS: [&str; 7] = [
    "adduser",
    "debconf",
    "dpkg",
    "init-system-helpers",
    "passwd",
    "tar",
    "usrmerge",
];

/// What is left out: for people, for maintainers' scripts, for hardware that there is not.
const LEFT_OUT: [&str; 7] = [
    "usr/include",
    "usr/lib/systemd/catalog",
    "usr/lib/udev/hwdb.d",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/sbin/ldconfig",
    "usr/share",
    "var",
];

/// What is kept of that all the same.
const KEPT: [&str; 1] = ["usr/share/dbus-1"];

/// What runs as the first process until systemd does.
const INIT: &str = include_str!("systemd-init.sh");

/// Files as maintainers' scripts write them, and no more of those than is needed. The kernel's
/// command line names the service.
const FILES: [(&str, &str); 11] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         messagebus:x:100:100::/nonexistent:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    (
        "etc/group",
        "root:x:0:\ntty:x:5:\nutmp:x:43:\nmessagebus:x:100:\nsystemd-journal:x:101:\n\
         nogroup:x:65534:\n",
    ),
    // Without it every service would be set up as on a first boot.
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("etc/hostname", "gohang\n"),
    ("etc/fstab", ""),
    (
        "etc/pam.d/common-account",
        "account required pam_permit.so\n",
    ),
    ("etc/pam.d/common-auth", "auth required pam_deny.so\n"),
    (
        "etc/pam.d/common-password",
        "password required pam_deny.so\n",
    ),
    (
        "etc/pam.d/common-session",
        "session required pam_permit.so\n",
    ),
    (
        "etc/pam.d/common-session-noninteractive",
        "session required pam_permit.so\n",
    ),
    (
        "etc/systemd/system/course.service",
        "[Unit]\nDescription=the privileged suite\nRequires=dbus.socket\nAfter=dbus.socket\n\
         [Service]\nType=exec\nExecStart=/bin/sh /course\n",
    ),
];

/// Provides the packages' files in `<folder>/debian`, fetched if they are not there.
///
/// # Errors
/// When they cannot be fetched.
pub fn provide(folder: &Path, sources: &Sources) -> Result<PathBuf> {
    let place = folder.join("debian");
    let (root, noted) = (place.join("root"), place.join("packages"));
    // Whoever wants others than those that were fetched gets them.
    let wanted = PACKAGES.join(" ");
    let known = fs::read_to_string(&noted).unwrap_or_default();
    if known.lines().next() != Some(wanted.as_str()) {
        fetch(folder, sources, &place, &wanted).context("could not provide Debian's systemd")?;
    }
    Ok(root)
}

fn fetch(folder: &Path, sources: &Sources, place: &Path, wanted: &str) -> Result<()> {
    let apt = Apt::update(&folder.join("apt/own"), &sources.own()?)?;
    let mut packages = apt.closure(&PACKAGES)?;
    packages.retain(|package| is_needed(package));
    eprintln!("unpacking {} into {}", packages.join(" "), place.display());
    // Moved into place as a whole, so that an interrupted fetch is never used.
    let staging = place.with_file_name(".debian");
    remove_folder(&staging)?;
    apt.unpack(&packages, &staging.join("root"))?;
    fs::write(
        staging.join("packages"),
        format!("{wanted}\n{}\n", packages.join("\n")),
    )
    .context("could not note Debian's packages")?;
    remove_folder(place)?;
    fs::rename(&staging, place).with_context(|| format!("could not move {}", staging.display()))
}

/// Whether `NAME=VERSION` is for more than maintainers' scripts.
fn is_needed(package: &str) -> bool {
    let name = package.split('=').next().unwrap_or(package);
    !name.contains("perl") && !FOR_SCRIPTS.contains(&name)
}

/// Adds the files below `root`, and those that make a machine of them.
///
/// # Errors
/// When a file cannot be read.
pub fn add(archive: &mut Archive, root: &Path) -> Result<()> {
    add_folder(archive, root, "")?;
    archive.file("init", 0o755, INIT.into());
    for (path, text) in FILES {
        archive.file(path, 0o644, text.into());
    }
    Ok(())
}

fn add_folder(archive: &mut Archive, root: &Path, path: &str) -> Result<()> {
    let folder = root.join(path);
    let context = || format!("could not read {}", folder.display());
    for entry in fs::read_dir(&folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .with_context(|| format!("{name:?} is not UTF-8"))?;
        let path = match path {
            "" => name.to_owned(),
            above => format!("{above}/{name}"),
        };
        let kind = entry.file_type().with_context(context)?;
        if kind.is_dir() {
            if is_kept(&path) {
                archive.folder(&path);
            }
            add_folder(archive, root, &path)?;
        } else if !is_kept(&path) {
            continue;
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).with_context(context)?;
            archive.symlink(&path, &target.to_string_lossy());
        } else if kind.is_file() {
            let permissions = entry.metadata().with_context(context)?.permissions();
            let content = fs::read(entry.path()).with_context(context)?;
            archive.file(&path, permissions.mode() & 0o7777, content);
        }
    }
    Ok(())
}

/// Whether a machine gets what lies at `path`.
fn is_kept(path: &str) -> bool {
    // Where packages still have files beside /usr.
    let merged = match path.split('/').next() {
        Some("usr" | "etc" | "var") => path.to_owned(),
        _ => format!("usr/{path}"),
    };
    let below = |folder: &&str| {
        let rest = merged.strip_prefix(*folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    KEPT.iter().any(below) || !LEFT_OUT.iter().any(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::initramfs::COURSE_PLACE;

    #[test]
    fn what_machines_have_no_use_for_is_left_out() {
        for path in [
            "usr/share/doc/dbus/copyright",
            "lib/udev/hwdb.d/20-pci.hwdb",
            "var/lib/dbus",
            "sbin/ldconfig",
        ] {
            assert!(!is_kept(path), "{path}");
        }
        for path in [
            "usr/share/dbus-1/system.conf",
            "lib/systemd/systemd",
            "usr/lib/x86_64-linux-gnu/gconv.so",
            "etc/pam.d/systemd-user",
        ] {
            assert!(is_kept(path), "{path}");
        }
    }

    #[test]
    fn what_only_scripts_need_is_not_fetched() {
        for package in ["perl-base=5.36", "libfile-find-rule-perl=1", "dpkg=1.21"] {
            assert!(!is_needed(package), "{package}");
        }
        for package in ["systemd=252", "libpam-systemd=252", "libdbus-1-3=1.14"] {
            assert!(is_needed(package), "{package}");
        }
    }

    #[test]
    fn the_service_runs_the_course() {
        let service = FILES.iter().find(|(path, _)| path.ends_with(".service"));
        let (_, text) = service.expect("a service");
        assert!(text.contains(&format!("ExecStart=/bin/sh {COURSE_PLACE}\n")));
    }

    #[test]
    fn a_tree_is_added_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let put = |path: &str, mode| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(&path, "x").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        };
        put("lib/systemd/systemd", 0o755);
        put("usr/share/doc/systemd/README", 0o644);
        std::os::unix::fs::symlink("systemd", dir.path().join("lib/init")).expect("made");
        let mut archive = Archive::default();
        add(&mut archive, dir.path()).expect("read");
        archive.merge_usr();
        for path in [
            "init",
            "usr/lib/systemd/systemd",
            "usr/lib/init",
            "etc/passwd",
        ] {
            assert!(archive.has(path), "{path}");
        }
        assert!(!archive.has("usr/share"));
    }
}
