//! Builds and starts the Go workloads.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::actor::Actor;
use crate::go_build::{Form, build};
use crate::group::Group;
use crate::run::{Settings, skip};

/// The oldest, a middle and the newest Go version: those that most tests run programs of.
pub const VERSIONS: [&str; 3] = ["1.21.13", "1.24.11", "1.27.3"];

/// One of every minor version from the oldest to the newest.
pub const EVERY_VERSION: [&str; 7] = [
    "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3",
];

/// Makes the standard library's C code part of a program.
const WITH_C: (&str, &str) = ("c.go", "package main\n\nimport \"C\"\n");

/// The workload's sources, built into this program.
const SOURCES: [(&str, &str); 2] = [
    ("go.mod", include_str!("../workloads/stall/go.mod")),
    ("main.go", include_str!("../workloads/stall/main.go")),
];

/// The workload built by one version.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The version.
    pub version: &'static str,
    /// Without symbol table and debug information.
    pub stripped: bool,
    /// Loaded at an address chosen at run time.
    pub pie: bool,
    /// With the standard library's C code.
    pub cgo: bool,
    path: PathBuf,
}

impl Workload {
    /// The workload of every version, stripped and not: built with the tool chains of the go
    /// root, or else found where they were built before.
    ///
    /// # Errors
    /// Skips the test when there are neither; fails when a build does.
    pub fn all(settings: &Settings) -> Result<Vec<Self>> {
        Self::of_forms(settings, &[(false, false), (true, false)])
    }

    /// As [`Self::all`], but where there are no tool chains those that were built before: a
    /// test machine is given as many of them as its kernel is to run.
    ///
    /// # Errors
    /// As [`Self::all`]; skips the test when none is there.
    pub fn given(settings: &Settings) -> Result<Vec<Self>> {
        let (Some(folder), None) = (&settings.workloads, &settings.go_root) else {
            return Self::all(settings);
        };
        let forms = VERSIONS.map(|version| [(version, false), (version, true)]);
        let mut found = forms
            .map(|forms| {
                forms.map(|(version, stripped)| Self::of_form(folder, version, (stripped, false)))
            })
            .concat();
        found.retain(|workload| workload.path.is_file());
        if found.is_empty() {
            return Err(skip(format!("no workload in {}", folder.display())));
        }
        Ok(found)
    }

    fn of_form(folder: &Path, version: &'static str, (stripped, pie): (bool, bool)) -> Self {
        let name = format!(
            "stall-{version}{}{}",
            if pie { "-pie" } else { "" },
            if stripped { "-stripped" } else { "" }
        );
        Self {
            version,
            stripped,
            pie,
            cgo: false,
            path: folder.join(name),
        }
    }

    /// The workload of every version as a stripped, position-independent program.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub fn all_pie(settings: &Settings) -> Result<Vec<Self>> {
        Self::of_forms(settings, &[(true, true)])
    }

    /// Forms: whether stripped, whether position-independent.
    fn of_forms(settings: &Settings, forms: &[(bool, bool)]) -> Result<Vec<Self>> {
        let folder = match (&settings.workloads, &settings.go_root) {
            (Some(folder), _) => folder.clone(),
            (None, Some(root)) => root.join("workloads"),
            (None, None) => return Err(skip("no --go-root and no --workloads given")),
        };
        let mut all = Vec::new();
        for version in VERSIONS {
            for &form in forms {
                let workload = Self::of_form(&folder, version, form);
                match &settings.go_root {
                    Some(root) => workload.build(root)?,
                    None if workload.path.is_file() => {}
                    None => return Err(skip(format!("no {}", workload.path.display()))),
                }
                all.push(workload);
            }
        }
        Ok(all)
    }

    /// The workload of every version that there is a tool chain of, in the forms of
    /// [`Self::all`] and [`Self::all_pie`] and with C code; of those that were built before
    /// where there are no tool chains. In the short form of the oldest and the newest
    /// version only.
    ///
    /// # Errors
    /// As [`Self::all`].
    pub fn every(settings: &Settings) -> Result<Vec<Self>> {
        let Some(root) = &settings.go_root else {
            let mut found = Self::all(settings)?;
            found.extend(Self::all_pie(settings)?);
            return Ok(found);
        };
        let folder = match &settings.workloads {
            Some(folder) => folder.clone(),
            None => root.join("workloads"),
        };
        let mut found = Vec::new();
        let ends = [EVERY_VERSION[0], EVERY_VERSION[EVERY_VERSION.len() - 1]];
        let versions = if settings.full {
            &EVERY_VERSION[..]
        } else {
            &ends
        };
        for &version in versions {
            if !root.join(version).join("bin/go").is_file() {
                return Err(skip(format!("no Go {version} in {}", root.display())));
            }
            for (suffix, stripped, pie, cgo) in [
                ("", false, false, false),
                ("-stripped", true, false, false),
                ("-pie-stripped", true, true, false),
                ("-cgo", false, false, true),
            ] {
                let path = folder.join(format!("stall-{version}{suffix}"));
                let form = Form { stripped, pie, cgo };
                let mut sources = SOURCES.to_vec();
                if cgo {
                    sources.push(WITH_C);
                }
                build(root, version, &sources, form, &path)?;
                found.push(Self {
                    version,
                    stripped,
                    pie,
                    cgo,
                    path,
                });
            }
        }
        Ok(found)
    }

    fn build(&self, root: &Path) -> Result<()> {
        let go = root.join(self.version).join("bin/go");
        if !go.is_file() {
            return Err(skip(format!("no {}", go.display())));
        }
        let form = Form {
            stripped: self.stripped,
            pie: self.pie,
            cgo: self.cgo,
        };
        build(root, self.version, &SOURCES, form, &self.path)
    }

    /// Its program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it; see its source for the arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, args: &[&str], group: Option<&Group>) -> Result<Actor> {
        Actor::spawn(Command::new(&self.path).args(args), group)
    }

    /// Starts it with this variable in its environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(
        &self,
        args: &[&str],
        (name, value): (&str, &str),
        group: Option<&Group>,
    ) -> Result<Actor> {
        let mut command = Command::new(&self.path);
        Actor::spawn(command.args(args).env(name, value), group)
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "go{}{}{}{}",
            self.version,
            if self.cgo { " cgo" } else { "" },
            if self.pie { " pie" } else { "" },
            if self.stripped { " stripped" } else { "" }
        )
    }
}
