//! What is attached while something is measured.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::counts::{self, Told};
use super::tool::{Ready, Takes, Tool, with_tracefs};
use crate::bench::product::Product;
use crate::bench::set::Set;
use crate::peers::Peer;
use crate::process::output;

/// bpftrace's script of what gohang measures.
const DELIVERY: &str = include_str!("delivery.bt");
/// bpftrace's script of run-queue latency.
const RUNQLAT: &str = include_str!("runqlat.bt");

/// The tracepoints of both; `perf record` takes signals of SIGURG only.
const SWITCHES: [&str; 2] = ["sched:sched_switch", "sched:sched_waking"];
const SIGNALS: [&str; 2] = ["signal:signal_generate", "signal:signal_deliver"];

/// Memory of perf's ring, each CPU.
const PERF_RING: &str = "16M";

/// What is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Nothing.
    Nothing,
    /// Empty programs on gohang's hooks.
    Empty,
    /// `gohang trace`.
    Gohang,
    /// bpftrace with `delivery.bt`.
    Bpftrace,
    /// `perf record` of the tracepoints.
    Perf,
    /// runqlat of libbpf-tools.
    Runqlat,
    /// bpftrace with `runqlat.bt`.
    RunqlatScript,
}

impl Setting {
    /// All in the order of the page.
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Empty,
        Self::Gohang,
        Self::Bpftrace,
        Self::Perf,
        Self::Runqlat,
        Self::RunqlatScript,
    ];

    /// What the page calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "empty programs on gohang's hooks",
            Self::Gohang => "gohang",
            Self::Bpftrace => "bpftrace, `delivery.bt`",
            Self::Perf => "`perf record`",
            Self::Runqlat => "runqlat (libbpf-tools)",
            Self::RunqlatScript => "bpftrace, `runqlat.bt`",
        }
    }

    /// Whether it counts signals, so that its counts can be held against others'.
    pub fn counts_signals(self) -> bool {
        matches!(self, Self::Gohang | Self::Bpftrace | Self::Perf)
    }

    /// The program that it needs.
    fn peer(self) -> Option<Peer> {
        match self {
            Self::Nothing | Self::Empty | Self::Gohang => None,
            Self::Bpftrace | Self::RunqlatScript => Some(Peer::Bpftrace),
            Self::Perf => Some(Peer::Perf),
            Self::Runqlat => Some(Peer::Runqlat),
        }
    }
}

/// What all settings are made of.
#[derive(Debug)]
pub struct Stage {
    product: Product,
    empty: Set,
    programs: Vec<(Peer, PathBuf)>,
    /// What `perf record` writes.
    record: PathBuf,
}

/// A setting that is on.
#[derive(Debug)]
pub enum Attached {
    /// Nothing.
    Nothing,
    /// Programs, attached until they are dropped.
    Programs(Vec<OwnedFd>),
    /// A tool.
    Tool(Tool),
}

impl Stage {
    /// With gohang, empty programs like its own, and the peers that can be had; and why others
    /// cannot.
    ///
    /// # Errors
    /// The folder for what `perf record` writes cannot be made.
    pub fn set(product: Product, empty: Set, target_dir: &Path) -> Result<(Self, Vec<String>)> {
        let folder = target_dir.join("bench");
        fs::create_dir_all(&folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        let (mut programs, mut missing) = (Vec::new(), Vec::new());
        for peer in [Peer::Bpftrace, Peer::Perf, Peer::Runqlat] {
            match peer.provide(target_dir) {
                Ok(program) => programs.push((peer, program)),
                Err(why) => {
                    eprintln!("{why:#}");
                    missing.push(peer.name().to_owned());
                }
            }
        }
        let stage = Self {
            product,
            empty,
            programs,
            record: folder.join("peers.perf.data"),
        };
        Ok((stage, missing))
    }

    fn program(&self, peer: Peer) -> Option<&Path> {
        let mut all = self.programs.iter();
        all.find(|(known, _)| *known == peer)
            .map(|(_, program)| program.as_path())
    }

    /// The settings whose programs are there.
    pub fn settings(&self) -> Vec<Setting> {
        let is_there = |setting: &Setting| {
            setting
                .peer()
                .is_none_or(|peer| self.program(peer).is_some())
        };
        Setting::ALL.into_iter().filter(is_there).collect()
    }

    /// What the tools say of their versions.
    ///
    /// # Errors
    /// One does not run.
    pub fn versions(&self) -> Result<Vec<String>> {
        let programs = self.programs.iter().map(|(_, program)| program.as_path());
        let all = [self.product.gohang.as_path()].into_iter().chain(programs);
        all.map(|program| output(Command::new(program).arg("--version")))
            .collect()
    }

    /// Turns a setting on for these processes; of the first alone where a tool takes only one.
    ///
    /// # Errors
    /// The kernel or the tool refuses.
    pub fn attach(&self, setting: Setting, pids: [u32; 3]) -> Result<Attached> {
        let pids = pids.map(|pid| pid.to_string());
        let (command, ready) = match setting {
            Setting::Nothing => return Ok(Attached::Nothing),
            Setting::Empty => return Ok(Attached::Programs(self.empty.attach(None)?)),
            Setting::Gohang => {
                let mut command = Command::new(&self.product.gohang);
                command.args(["trace", "-o", "json", "--non-go", "--pid", &pids.join(",")]);
                (command, Ready::Says("gohang: tracing"))
            }
            Setting::Bpftrace | Setting::RunqlatScript => {
                let mut command = self.command(setting)?;
                command.args(["-f", "json", "-B", "none", "-e"]);
                if setting == Setting::Bpftrace {
                    command.arg(DELIVERY).args(&pids);
                } else {
                    command.arg(RUNQLAT);
                }
                (command, Ready::Settles("\"attached_probes\""))
            }
            Setting::Perf => {
                let mut command = self.command(setting)?;
                command.args(["record", "--all-cpus", "--no-buildid", "--no-buildid-cache"]);
                command.args(["--mmap-pages", PERF_RING, "--output"]);
                command.arg(&self.record);
                for event in SWITCHES {
                    command.args(["--event", event]);
                }
                for event in SIGNALS {
                    command.args(["--event", event, "--filter", "sig==23"]);
                }
                let cpus = std::thread::available_parallelism()?.get();
                let events = cpus * (SWITCHES.len() + SIGNALS.len());
                (command, Ready::HasEvents(events))
            }
            Setting::Runqlat => {
                let mut command = Command::new("stdbuf");
                command.arg("--output=L").arg(self.needed(setting)?);
                command.args(["--pid", &pids[0]]);
                (command, Ready::Says("Tracing"))
            }
        };
        Tool::start(command, ready)
            .map(Attached::Tool)
            .with_context(|| setting.title().to_owned())
    }

    fn needed(&self, setting: Setting) -> Result<&Path> {
        let peer = setting.peer().context("no program")?;
        self.program(peer).context("its program is not there")
    }

    fn command(&self, setting: Setting) -> Result<Command> {
        Ok(with_tracefs(self.needed(setting)?))
    }

    /// Turns a setting off: what its tool took, and what it counted of a thread that signalled
    /// itself.
    ///
    /// # Errors
    /// The tool does not end well, or says something else.
    pub fn detach(
        &self,
        setting: Setting,
        attached: Attached,
        signalled: u32,
    ) -> Result<(Option<Takes>, Option<Told>)> {
        let tool = match attached {
            Attached::Tool(tool) => tool,
            Attached::Nothing => return Ok((None, None)),
            Attached::Programs(links) => {
                drop(links);
                return Ok((None, None));
            }
        };
        let takes = tool.takes()?;
        let said = tool.stop()?;
        let told = match setting {
            Setting::Gohang => Some(counts::of_gohang(&said.out, signalled)),
            Setting::Bpftrace => Some(counts::of_bpftrace(&said.out, signalled)),
            Setting::Perf => Some(self.recorded(setting, signalled)),
            _ => None,
        };
        let told = told
            .transpose()
            .with_context(|| format!("{}: {}", setting.title(), said.err.trim()))?;
        Ok((Some(takes), told))
    }

    /// What `perf record` has recorded of a thread; its file is removed.
    fn recorded(&self, setting: Setting, tid: u32) -> Result<Told> {
        let mut command = self.command(setting)?;
        command.args(["script", "--show-lost-events", "--fields", "tid,event"]);
        command.args(["--tid", &tid.to_string(), "--input"]);
        let text = output(command.arg(&self.record))?;
        fs::remove_file(&self.record)
            .with_context(|| format!("could not remove {}", self.record.display()))?;
        counts::of_perf(&text, tid)
    }
}
