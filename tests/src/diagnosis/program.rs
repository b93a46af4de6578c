//! The Go programs of the diagnosis matrix, built with one version in one form.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::table::{FormName, Program, Setting};
use crate::actor::Actor;
use crate::go_build::{Form, Sources, build};
use crate::group::Group;
use crate::sys;

const FAILURES: &Sources = &[
    ("go.mod", include_str!("../../workloads/failures/go.mod")),
    ("main.go", include_str!("../../workloads/failures/main.go")),
    (
        "memory.go",
        include_str!("../../workloads/failures/memory.go"),
    ),
    (
        "signals.go",
        include_str!("../../workloads/failures/signals.go"),
    ),
    ("spin.go", include_str!("../../workloads/failures/spin.go")),
    (
        "stops.go",
        include_str!("../../workloads/failures/stops.go"),
    ),
];

/// Makes the standard library's C code part of a program.
const WITH_C: (&str, &str) = ("c.go", "package main\n\nimport \"C\"\n");

const FOREIGN: &Sources = &[
    ("go.mod", include_str!("../../workloads/foreign/go.mod")),
    ("main.go", include_str!("../../workloads/foreign/main.go")),
];

const SERVICE: &Sources = &[
    ("go.mod", include_str!("../../workloads/service/go.mod")),
    ("main.go", include_str!("../../workloads/service/main.go")),
    (
        "runtime.go",
        include_str!("../../workloads/service/runtime.go"),
    ),
    ("serve.go", include_str!("../../workloads/service/serve.go")),
];

/// Programs built so far.
#[derive(Debug)]
pub struct Programs {
    go_root: PathBuf,
    built: BTreeMap<String, Built>,
}

/// A program's file.
#[derive(Clone, Debug)]
pub struct Built(PathBuf);

impl Programs {
    /// Builds with the tool chains of this folder.
    pub fn new(go_root: PathBuf) -> Self {
        Self {
            go_root,
            built: BTreeMap::new(),
        }
    }

    /// The program of this version and form.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn get(
        &mut self,
        program: Program,
        version: &str,
        form: Option<FormName>,
    ) -> Result<Built> {
        let (name, sources) = match program {
            Program::Failures => ("failures", FAILURES),
            Program::Foreign => ("foreign", FOREIGN),
            Program::Service => ("service", SERVICE),
        };
        let mut file = format!("{name}-{version}");
        let mut sources = sources.to_vec();
        let mut how = Form {
            cgo: program == Program::Foreign,
            ..Form::default()
        };
        match form {
            None => {}
            Some(FormName::Stripped) => {
                how.stripped = true;
                file.push_str("-stripped");
            }
            Some(FormName::Pie) => {
                how.pie = true;
                file.push_str("-pie");
            }
            Some(FormName::Cgo) => {
                how.cgo = true;
                file.push_str("-cgo");
                sources.push(WITH_C);
            }
        }
        if let Some(built) = self.built.get(&file) {
            return Ok(built.clone());
        }
        let path = self.go_root.join("workloads").join(&file);
        build(&self.go_root, version, &sources, how, &path)?;
        let built = Built(path);
        self.built.insert(file, built.clone());
        Ok(built)
    }
}

impl Built {
    /// Starts it with a setting, on two CPUs, so that its failure is the same on a larger
    /// machine; it has said `ready` when this returns.
    ///
    /// # Errors
    /// When it does not get that far.
    pub fn start(&self, words: &[String], setting: &Setting, group: &Group) -> Result<Actor> {
        let mut command = Command::new(&self.0);
        command
            .args(words)
            .args(&setting.args)
            .env_remove("GOMAXPROCS")
            .env_remove("GODEBUG")
            .envs(&setting.env);
        let two = pinned_cpus()?;
        // SAFETY: one system call between fork and exec, which allocates nothing.
        unsafe {
            command.pre_exec(move || {
                sys::pin_to(0, &two);
                Ok(())
            })
        };
        let mut actor = Actor::spawn(&mut command, Some(group))?;
        actor.expect("ready")?;
        Ok(actor)
    }
}

/// The CPUs that programs are started on.
///
/// # Errors
/// When it is not known which there are.
pub fn pinned_cpus() -> Result<Vec<i32>> {
    let cpus = sys::online_cpus().context("the online CPUs are unknown")?;
    Ok(cpus.into_iter().take(2).collect())
}
