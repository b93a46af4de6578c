//! Sets of kernel programs: gohang's own, and empty ones on the same hooks.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};

use super::bpf;
use super::product::Tracing;

/// A loaded program and its tracepoint.
#[derive(Debug)]
pub struct Program {
    /// Tracepoint.
    pub hook: String,
    /// The program.
    pub fd: OwnedFd,
}

/// Loaded programs, attached only when asked.
#[derive(Debug)]
pub struct Set(pub Vec<Program>);

impl Set {
    /// The programs that a running gohang has loaded for this selection. It is
    /// killed: what is left of it are the programs, held here, with its maps.
    ///
    /// # Errors
    /// It holds no programs, or the kernel does not let them be opened.
    pub fn of_gohang(tracing: Tracing, hooks: &BTreeMap<u32, String>) -> Result<Self> {
        let mut programs = Vec::new();
        for id in held(tracing.pid())? {
            let fd = bpf::open(id)?;
            let hook = bpf::info(&fd)?.hook;
            let hook = hooks
                .get(&hook)
                .context("a kernel program of gohang's is on no tracepoint")?
                .clone();
            programs.push(Program { hook, fd });
        }
        drop(tracing);
        if programs.is_empty() {
            bail!("gohang holds no kernel programs");
        }
        programs.sort_by(|a, b| a.hook.cmp(&b.hook));
        Ok(Self(programs))
    }

    /// Empty programs on the hooks of another set.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub fn empty_like(set: &Self, hooks: &BTreeMap<u32, String>) -> Result<Self> {
        let ids: BTreeMap<&str, u32> = hooks.iter().map(|(&id, name)| (&**name, id)).collect();
        let programs = set.0.iter().map(|program| {
            let id = ids.get(&*program.hook).context("a hook without a type")?;
            Ok(Program {
                hook: program.hook.clone(),
                fd: bpf::load_empty(*id)?,
            })
        });
        Ok(Self(programs.collect::<Result<_>>()?))
    }

    /// Attaches the programs on `only`, or all, for as long as the result lives.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub fn attach(&self, only: Option<&str>) -> Result<Vec<OwnedFd>> {
        self.0
            .iter()
            .filter(|program| only.is_none_or(|hook| hook == program.hook))
            .map(|program| bpf::attach(&program.fd))
            .collect()
    }

    /// Runs and time so far, by hook.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn spent(&self) -> Result<BTreeMap<&str, (u64, u64)>> {
        let spent = self.0.iter().map(|program| {
            let info = bpf::info(&program.fd)?;
            Ok((&*program.hook, (info.runs, info.run_ns)))
        });
        spent.collect()
    }
}

/// The kernel programs of a running gohang, from a moment on.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    before: BTreeMap<u32, bpf::Info>,
}

impl Watch {
    /// Begins now.
    ///
    /// # Errors
    /// The process is gone, or the kernel does not let its programs be opened.
    pub fn begin(pid: u32) -> Result<Self> {
        let before = programs_of(pid)?;
        Ok(Self { pid, before })
    }

    /// The programs, those that were loaded since among them, each with its runs and time since
    /// then.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn spent(&self) -> Result<Vec<bpf::Info>> {
        let mut all = programs_of(self.pid)?;
        for (id, info) in &mut all {
            if let Some(before) = self.before.get(id) {
                info.runs -= before.runs;
                info.run_ns -= before.run_ns;
            }
        }
        Ok(all.into_values().collect())
    }
}

/// What the kernel says of the programs that a process has open, by their ids.
fn programs_of(pid: u32) -> Result<BTreeMap<u32, bpf::Info>> {
    let info = |id| Ok((id, bpf::info(&bpf::open(id)?)?));
    held(pid)?.into_iter().map(info).collect()
}

/// Ids of the kernel programs that a process has open.
fn held(pid: u32) -> Result<Vec<u32>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("could not read {folder}"))?;
    let mut ids = Vec::new();
    for entry in entries {
        // A descriptor may be closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        // Links name their program too.
        if text.contains("prog_type:") {
            ids.extend(value(&text, "prog_id:"));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Bytes of kernel memory that a process's maps take.
///
/// # Errors
/// The process is gone.
pub fn map_bytes(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("could not read {folder}"))?;
    let mut maps = BTreeMap::new();
    for entry in entries {
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        if let (Some(id), Some(bytes)) = (value(&text, "map_id:"), value(&text, "memlock:")) {
            maps.insert(id, u64::from(bytes));
        }
    }
    Ok(maps.values().sum())
}

fn value(text: &str, key: &str) -> Option<u32> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}
