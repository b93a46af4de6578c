//! The kernels of the matrix and where Debian has them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, remove_folder};
use super::sources::Sources;

/// A kernel of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// `major.minor`, its name everywhere.
    pub name: &'static str,
    /// Debian's suite that has it.
    suite: &'static str,
}

/// The matrix: the kernels of Debian 11, 12 and 13, the first with throttling by
/// thread, and the newest.
pub const KERNELS: [Kernel; 5] = [
    Kernel {
        name: "5.10",
        suite: "bullseye-security",
    },
    Kernel {
        name: "6.1",
        suite: "bookworm-security",
    },
    Kernel {
        name: "6.12",
        suite: "trixie-security",
    },
    Kernel {
        name: "6.18",
        suite: "trixie-backports",
    },
    Kernel {
        name: "7.3",
        suite: "trixie-backports",
    },
];

/// Ending of the packages' names: the flavour for virtual machines.
const FLAVOUR: &str = "-cloud-amd64";

/// The package that depends on the newest kernel of a suite.
const NEWEST: &str = "linux-image-cloud-amd64";

/// A kernel that lies ready.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its place in the matrix.
    pub kernel: Kernel,
    /// The compressed kernel.
    pub vmlinuz: PathBuf,
    /// Package and version that it came from.
    pub package: String,
}

/// Chooses kernels of the matrix by name; all without names.
///
/// # Errors
/// When a name is not in the matrix.
pub fn choose(names: &[String]) -> Result<Vec<Kernel>> {
    if names.is_empty() {
        return Ok(KERNELS.to_vec());
    }
    let find = |name: &String| {
        let kernel = KERNELS.iter().find(|kernel| kernel.name == name);
        kernel.copied().with_context(|| {
            let all = KERNELS.map(|kernel| kernel.name).join(", ");
            format!("no kernel {name} in the matrix, which has {all}")
        })
    };
    names.iter().map(find).collect()
}

impl Kernel {
    /// Provides the kernel in `<folder>/kernels/<name>`, fetched if it is not there.
    ///
    /// # Errors
    /// When the suite does not have it or it cannot be fetched.
    pub fn provide(self, folder: &Path, sources: &Sources) -> Result<Image> {
        let place = folder.join("kernels").join(self.name);
        let (vmlinuz, package) = (place.join("vmlinuz"), place.join("package"));
        if !vmlinuz.is_file() || !package.is_file() {
            self.fetch(folder, sources, &place)
                .with_context(|| format!("could not provide the kernel {}", self.name))?;
        }
        let package = fs::read_to_string(&package)
            .with_context(|| format!("could not read {}", package.display()))?;
        Ok(Image {
            kernel: self,
            vmlinuz,
            package: package.trim().to_owned(),
        })
    }

    fn fetch(self, folder: &Path, sources: &Sources, place: &Path) -> Result<()> {
        let source = sources.of_suite(self.suite)?;
        let apt = Apt::update(&folder.join("apt").join(self.suite), &[source])?;
        let newest = apt.field(NEWEST, "Depends")?;
        let images = apt.names(&format!("linux-image-{}.", self.name))?;
        let release = self.release(&newest, &images).with_context(|| {
            format!(
                "{} has no kernel {}; {NEWEST} depends on {newest}",
                self.suite, self.name
            )
        })?;
        // From 6.19 on the kernel lies in linux-binary and linux-image is empty; its
        // configuration lies in linux-base.
        let mut packages = Vec::new();
        for name in ["linux-binary", "linux-base", "linux-image"] {
            let package = format!("{name}-{release}");
            if apt.names(&package)?.contains(&package) {
                packages.push(package);
            }
        }
        let Some(main) = packages.first().cloned() else {
            bail!("{} has no package linux-image-{release}", self.suite);
        };
        let version = apt.field(&main, "Version")?;

        // Moved into place as a whole, so that an interrupted fetch is never used.
        let staging = place.with_file_name(format!(".{}", self.name));
        remove_folder(&staging)?;
        let unpacked = staging.join("unpacked");
        apt.unpack(&packages, &unpacked)?;
        let vmlinuz = find(&unpacked, "vmlinuz")
            .with_context(|| format!("there is no vmlinuz in {}", packages.join(" and ")))?;
        rename(&vmlinuz, &staging.join("vmlinuz"))?;
        if let Some(config) = find(&unpacked, "config-") {
            rename(&config, &staging.join("config"))?;
        }
        remove_folder(&unpacked)?;
        fs::write(staging.join("package"), format!("{main} {version}\n"))
            .context("could not note the kernel's package")?;
        remove_folder(place)?;
        rename(&staging, place)?;
        eprintln!("kernel {}: {main} {version}", self.name);
        Ok(())
    }

    /// The release (`6.1.0-56-cloud-amd64`) to take: the one that the suite's newest
    /// is, if it is of this minor version, or else the newest among `images`.
    fn release(self, newest: &str, images: &[String]) -> Option<String> {
        let release = |package: &str| {
            let release = package.strip_prefix("linux-image-")?;
            let ours = release.strip_prefix(self.name)?.starts_with('.');
            (ours && release.ends_with(FLAVOUR)).then(|| release.to_owned())
        };
        let mut words = newest.split([' ', ',', '|']);
        words.find_map(release).or_else(|| {
            let releases = images.iter().filter_map(|image| release(image));
            releases.max_by_key(|release| numbers(release))
        })
    }
}

/// The numbers in a release, for comparing.
fn numbers(release: &str) -> Vec<u64> {
    let release = release.split('+').next().unwrap_or(release);
    let parts = release.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// The regular file below `folder` whose name begins with `prefix`.
fn find(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let kind = entry.file_type().ok()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name().to_string_lossy().starts_with(prefix) {
                return Some(entry.path());
            }
        }
    }
    None
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .with_context(|| format!("could not move {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str) -> Kernel {
        choose(&[name.to_owned()]).expect("in the matrix")[0]
    }

    #[test]
    fn the_suites_newest_is_taken_if_it_fits() {
        let newest = "linux-base-cloud-amd64 (= 7.3.4-1), \
                      linux-image-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)";
        let release = kernel("7.3").release(newest, &[]);
        assert_eq!(release.as_deref(), Some("7.3.4+deb13-cloud-amd64"));
        let newest = "linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)";
        let release = kernel("6.1").release(newest, &[]);
        assert_eq!(release.as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(kernel("6.12").release(newest, &[]), None);
    }

    #[test]
    fn or_else_the_newest_of_its_minor_version() {
        let images = [
            "linux-image-6.18.9+deb13-cloud-amd64",
            "linux-image-6.18.15+deb13-cloud-amd64",
            "linux-image-6.18.15+deb13-cloud-amd64-dbg",
            "linux-image-6.19.14+deb13-cloud-amd64",
        ]
        .map(str::to_owned);
        let release = kernel("6.18").release("linux-image-7.3.4+deb13-cloud-amd64", &images);
        assert_eq!(release.as_deref(), Some("6.18.15+deb13-cloud-amd64"));
    }

    #[test]
    fn other_kernels_are_refused() {
        let error = choose(&["6".to_owned()]).expect_err("no such kernel");
        assert!(error.to_string().contains("5.10, 6.1"), "{error}");
        assert_eq!(choose(&[]).expect("all").len(), KERNELS.len());
    }
}
