//! The machines: kernels of the matrix in a setup, with what they are to run.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::fleet;
use super::initramfs::{self, Content, Suite};
use super::kernels::{self, Image};
use super::machine::{self, Results};
use super::selection;
use super::setup::{Chosen, Init, Setup};
use super::sources::Sources;
use super::systemd;
use super::tools::Tools;
use super::workloads;
use crate::verifier::Wanted;
use crate::workspace::Workspace;

/// After which a machine hangs, by what it is to run: tests of the short form and of the long
/// one, and the verifier's statistics. Several times what they take where the emulator has its
/// processors for itself.
const SHORT_LIMIT: Duration = Duration::from_secs(900);
const FULL_LIMIT: Duration = Duration::from_secs(2400);
const STATISTICS_LIMIT: Duration = Duration::from_secs(600);

/// Episodes of each of the five causes in the long form.
const FULL_INJECTIONS: u32 = 2_000;

/// How many of the console's last lines are shown on failure.
const CONSOLE_LINES: usize = 120;

/// What a machine is to run, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Tests of the suite.
    pub tests: Vec<String>,
    /// Whether those may take as long as the long form's.
    pub full: bool,
    /// The verifier's statistics, in these forms.
    pub statistics: Option<Wanted>,
}

impl Work {
    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty() && self.statistics.is_none()
    }

    fn limit(&self) -> Duration {
        let mut limit = Duration::ZERO;
        if !self.tests.is_empty() {
            limit += if self.full { FULL_LIMIT } else { SHORT_LIMIT };
        }
        if self.statistics.is_some() {
            limit += STATISTICS_LIMIT;
        }
        limit
    }
}

/// The programs that machines run.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    /// The program under test.
    pub gohang: PathBuf,
    /// The privileged suite; not looked for where no tests are to run.
    pub suite: PathBuf,
    /// A folder of built Go workloads.
    pub workloads: Option<PathBuf>,
    /// What asks for the verifier's statistics, if any machine is to.
    pub preload: Option<PathBuf>,
}

impl Programs {
    /// The same, small: see [`initramfs::stripped`].
    ///
    /// # Errors
    /// As there.
    pub fn stripped(mut self) -> Result<Self> {
        let all = [&mut self.gohang, &mut self.suite].into_iter();
        for program in all.chain(&mut self.preload) {
            *program = initramfs::stripped(program)?;
        }
        Ok(self)
    }
}

/// Everything that machines are made of.
#[derive(Debug)]
pub struct Matrix {
    folder: PathBuf,
    sources: Sources,
    tools: Tools,
    images: Vec<Image>,
}

/// A machine to boot, and what it is to run.
#[derive(Debug)]
pub struct Job<'a> {
    pub image: &'a Image,
    pub setup: &'static Setup,
    pub work: Work,
    initramfs: PathBuf,
}

impl Matrix {
    /// Where the long form's results are kept until every kernel has some.
    pub fn kept(&self) -> PathBuf {
        self.folder.join("measured")
    }

    /// Provides kernels by name, all without names, and the emulator.
    ///
    /// # Errors
    /// A name is not in the matrix, or something cannot be fetched.
    pub fn provide(workspace: &Workspace, names: &[String]) -> Result<Self> {
        let chosen = kernels::choose(names)?;
        let folder = workspace.target_dir.join("vm");
        let sources = Sources::of_this_machine()?;
        let tools = Tools::provide(&folder, &sources)?;
        let images = chosen
            .iter()
            .map(|kernel| kernel.provide(&folder, &sources))
            .collect::<Result<Vec<Image>>>()?;
        Ok(Self {
            folder,
            sources,
            tools,
            images,
        })
    }

    /// A machine of each kernel that this setup is for and that has anything of the work, all of
    /// which is the short form's if it is `short`.
    ///
    /// # Errors
    /// Their file system cannot be made.
    pub fn jobs(
        &self,
        setup: &'static Setup,
        work: &Work,
        programs: &Programs,
        short: bool,
    ) -> Result<Vec<Job<'_>>> {
        let kernels: Vec<&str> = self.images.iter().map(|image| image.kernel.name).collect();
        let mut jobs = Vec::new();
        for (at, image) in self.images.iter().enumerate() {
            if !setup.kernels.has(at, &kernels, short) {
                continue;
            }
            let mut work = work.clone();
            if short {
                work.tests = selection::here(&work.tests, at, &kernels);
            }
            if work.is_empty() {
                continue;
            }
            let few = short && !Chosen::Ends.has(at, &kernels, short);
            jobs.push(Job {
                image,
                setup,
                initramfs: self.pack(image, setup, &work, programs, few)?,
                work,
            });
        }
        Ok(jobs)
    }

    /// Writes a machine's file system; with `few` it may have fewer workloads.
    fn pack(
        &self,
        image: &Image,
        setup: &Setup,
        work: &Work,
        programs: &Programs,
        few: bool,
    ) -> Result<PathBuf> {
        let debian = match setup.init {
            Init::Script => None,
            Init::Systemd => Some(systemd::provide(&self.folder, &self.sources)?),
        };
        let preload = programs.preload.as_deref().zip(work.statistics);
        let workloads = match &programs.workloads {
            Some(folder) => workloads::files(folder, &work.tests, few, preload.is_some())?,
            None => Vec::new(),
        };
        let suite = Suite {
            program: &programs.suite,
            tests: &work.tests,
            full: work.full.then_some(FULL_INJECTIONS),
        };
        let archive = initramfs::build(&Content {
            debian: debian.as_deref(),
            busybox: &self.tools.busybox,
            gohang: &programs.gohang,
            suite: (!work.tests.is_empty()).then_some(suite),
            workloads: &workloads,
            preload,
        })?;
        let name = format!("initramfs-{}-{}", image.kernel.name, setup.name);
        let initramfs = self.folder.join(name);
        fs::write(&initramfs, archive)
            .with_context(|| format!("could not write {}", initramfs.display()))?;
        Ok(initramfs)
    }

    /// Boots them on so many processors of this machine, all without a number, and hands
    /// the results over as they come.
    ///
    /// # Errors
    /// The emulator cannot be started.
    pub fn boot_all(
        &self,
        jobs: &[Job<'_>],
        cores: Option<NonZeroUsize>,
        take: impl FnMut(&Job<'_>, Results),
    ) -> Result<()> {
        let cores = cores.map_or_else(thread::available_parallelism, Ok);
        let cores = cores.context("the number of processors")?.get();
        let wants = |job: &Job<'_>| job.setup.processors.cores();
        let boot = |job: &Job<'_>| job.run(&self.tools, &self.folder);
        fleet::boot_all(jobs, cores, wants, boot, take)
    }
}

impl Job<'_> {
    /// Of the kernel and the setup.
    pub fn name(&self) -> String {
        format!("{}, {}", self.image.kernel.name, self.setup.name)
    }

    /// How much it has of what takes long: processors, then things to run.
    pub fn weight(&self) -> (usize, usize) {
        let parts = self.work.tests.len() + usize::from(self.work.statistics.is_some());
        (self.setup.processors.cores(), parts)
    }

    /// Boots it; once more if the emulator is known to be at fault, which is said.
    fn run(&self, tools: &Tools, folder: &Path) -> Result<Results> {
        let place = format!("{}-{}", self.image.kernel.name, self.setup.name);
        let place = folder.join("runs").join(place);
        let once = || {
            let (vmlinuz, limit) = (&self.image.vmlinuz, self.work.limit());
            machine::run(tools, self.setup, vmlinuz, &self.initramfs, &place, limit)
        };
        let mut results = once()?;
        if let Some(fault) = results.emulator_fault() {
            results = once()?;
            results.booted_again = Some(fault);
        }
        Ok(results)
    }

    /// Prints a machine's results: all that was noted, and on failure the console's end.
    pub fn show(
        &self,
        results: &Results,
        notices: &[String],
        problems: &[String],
        has_failed: bool,
    ) {
        println!(
            "\nkernel {} ({}), {} s",
            self.name(),
            self.image.package,
            results.took.as_secs()
        );
        if let Some(fault) = results.booted_again {
            println!("booted a second time: {fault}");
        }
        print!("{}", results.output);
        for notice in notices {
            println!("{notice}");
        }
        if has_failed || !problems.is_empty() {
            for problem in problems {
                println!("problem: {problem}");
            }
            let console = results.console();
            let lines: Vec<&str> = console.lines().collect();
            let from = lines.len().saturating_sub(CONSOLE_LINES);
            println!("console (all in {}):", results.folder.display());
            for line in &lines[from..] {
                println!("    {}", line.trim_end());
            }
        }
    }
}
