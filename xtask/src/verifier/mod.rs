//! What the kernel's verifier takes to see that gohang's programs are safe, on each kernel
//! of the matrix, held against a table that is committed.

mod forms;
mod log;
mod measured;
mod table;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

use self::forms::FORMS;
pub use self::forms::{Wanted, script};
use self::measured::Measured;
pub use self::table::Table;
use self::table::{Differences, PATH};
use crate::test;
use crate::vm;
use crate::vm::kernels::{Image, KERNELS};
use crate::vm::machine::Results;
use crate::vm::matrix::{Matrix, Programs, Work};
use crate::vm::setup::Setup;
use crate::workspace::Workspace;

/// The package of the library that asks for the statistics.
const PRELOAD: &str = "gohang-verifier-log";

/// What to do about differences.
const REMEDY: &str =
    "where that is meant, `cargo xtask verifier-stats --update` writes the table anew";

/// What to do where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Kernels as `major.minor`; all of the matrix without any.
    kernels: Vec<String>,
    /// Fail if a figure has risen above the table's.
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Write the table anew.
    #[arg(long)]
    update: bool,
    /// Processors of this machine to use; all of them without it.
    #[arg(long, value_name = "N")]
    cores: Option<NonZeroUsize>,
    /// Load the programs of this gohang instead of building one.
    #[arg(long, value_name = "PATH", conflicts_with = "update")]
    gohang: Option<PathBuf>,
}

/// Prints the figures, and how they differ from the table's.
///
/// # Errors
/// Something that the machines need cannot be provided, or the table cannot be read or
/// written. Figures that have risen are no error but the exit code, and only if they are to
/// be checked.
pub fn stats(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut table = Table::read(&workspace.root)?;
    let gohang = match &options.gohang {
        Some(path) => {
            std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?
        }
        None => test::build_release(workspace, "gohang")?,
    };
    let suite = test::build_release(workspace, test::SUITE)?;
    let programs = Programs {
        gohang,
        preload: Some(build_preload(workspace)?),
        workloads: Some(vm::build_workloads(workspace, &suite)?),
        suite,
    }
    .stripped()?;
    let matrix = Matrix::provide(workspace, &options.kernels)?;
    let work = Work {
        statistics: Some(Wanted::All),
        ..Work::default()
    };
    let jobs = matrix.jobs(setup(), &work, &programs, false)?;
    let begin = Instant::now();
    let (mut problems, mut failed) = (Vec::new(), false);
    matrix.boot_all(&jobs, options.cores, |job, results| {
        let Image {
            kernel, package, ..
        } = job.image;
        match measure(&results) {
            Ok(measured) => {
                job.show(&results, &[], &[], false);
                print!("{measured}");
                let column = measured.column(package);
                let found = table::compare(table.0.get(kernel.name), &column);
                if options.update {
                    table.0.insert(kernel.name.to_owned(), column);
                    return;
                }
                for notice in found.notices {
                    println!("{notice}");
                }
                let found = found.problems.into_iter();
                problems.extend(found.map(|problem| format!("{}: {problem}", kernel.name)));
            }
            Err(problem) => {
                job.show(&results, &[], std::slice::from_ref(&problem), true);
                problems.push(format!("{}: {problem}", kernel.name));
                failed = true;
            }
        }
    })?;
    println!();
    for problem in &problems {
        println!("problem: {problem}");
    }
    if !problems.is_empty() {
        println!("{REMEDY}");
    }
    println!("{} machines in {} s", jobs.len(), begin.elapsed().as_secs());
    if options.update && !failed {
        let kernels = KERNELS.map(|kernel| kernel.name);
        table.write(&workspace.root, &kernels, &FORMS.map(|form| form.name))?;
        println!("{PATH} is written");
    } else {
        println!("margin: {}", table::margin());
    }
    Ok(if failed || options.check && !problems.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The machines in which it is done: there is no difference between processors to see.
pub fn setup() -> &'static Setup {
    Setup::of("verifier::statistics")
}

/// Builds what is preloaded into gohang there.
///
/// # Errors
/// It does not build.
pub fn build_preload(workspace: &Workspace) -> Result<PathBuf> {
    test::build_shared_object(workspace, PRELOAD)
}

/// Holds what a machine that did its work handed back against the table.
pub fn judge(image: &Image, results: &Results, wanted: Wanted, table: &Table) -> Differences {
    match measure(results) {
        Ok(measured) => {
            let column = measured.column(&image.package);
            let mut expected = table.0.get(image.kernel.name).cloned();
            if let Some(expected) = &mut expected
                && wanted == Wanted::First
            {
                let has = |form: &&forms::Form| expected.forms.contains_key(form.name);
                let first = FORMS.iter().find(has).map(|form| form.name);
                expected.forms.retain(|form, _| Some(&**form) == first);
            }
            let mut found = table::compare(expected.as_ref(), &column);
            found.notices.push(format!(
                "verifier: {} programs in {} forms held against {PATH}; margin: {}",
                column.forms.values().map(BTreeMap::len).sum::<usize>(),
                column.forms.len(),
                table::margin()
            ));
            if !found.problems.is_empty() {
                found.notices.push(REMEDY.to_owned());
            }
            found
        }
        Err(problem) => Differences {
            problems: vec![format!("the verifier's statistics: {problem}")],
            notices: Vec::new(),
        },
    }
}

/// What a machine measured, if it did.
fn measure(results: &Results) -> Result<Measured, String> {
    if let Some(problem) = &results.problem {
        return Err(problem.clone());
    }
    Measured::read(&results.file(forms::FILE_NAME))
}
