//! What scenarios are made with: groups, programs, time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::go_tool::Go;
use super::job::Job;
use super::scenario::Need;
use super::trace::Trace;
use crate::bench::Extent;
use crate::cgroup::{CgroupLayout, OwnGroup, OwnGroups, Version};
use crate::experiment::{EndSignals, ExperimentError, Progress, Quota};
use crate::privilege;
use crate::probe::ProbeError;
use crate::process::ProcRoot;

/// The groups' label, before a number.
const LABEL: &str = "scene";
/// How often the ring is emptied.
const DRAIN_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for a group to empty and go.
const REMOVAL: Duration = Duration::from_secs(5);
/// Longest that a tool chain may take for a program: the first has the library to build.
const BUILD: Duration = Duration::from_secs(300);

/// Shared by all scenarios of a run.
///
/// It needs the calling process to have no other threads that take SIGINT, SIGTERM or
/// SIGHUP: any of them ends it with an error, and everything is removed.
pub(super) struct Stand<'a> {
    /// How much is measured.
    pub extent: Extent,
    groups: OwnGroups,
    made: u64,
    // The groups go before the signals are let through again.
    ends: EndSignals,
    progress: &'a mut dyn Progress,
    begun: Instant,
    go: Option<Go>,
    folder: tempfile::TempDir,
}

impl<'a> Stand<'a> {
    /// Looks at the machine, and removes what an earlier run has left.
    pub(super) fn new(
        extent: Extent,
        go: Option<&Path>,
        progress: &'a mut dyn Progress,
    ) -> Result<Self, ExperimentError> {
        let missing = privilege::missing()?;
        if !missing.is_empty() {
            return Err(missing.into());
        }
        let proc = ProcRoot::default();
        if !proc.in_init_pid_ns()? {
            return Err(ProbeError::PidNamespace.into());
        }
        privilege::raise_memlock(&privilege::kernel_release()?)?;
        let system = |action| move |source| ExperimentError::System { action, source };
        let ends = EndSignals::hold().map_err(system("hold back signals"))?;
        let groups = OwnGroups::new(&CgroupLayout::read(&proc)?, &proc)?;
        groups.remove_leftovers(&format!("gohang-{LABEL}-"))?;
        Ok(Self {
            extent,
            groups,
            made: 0,
            ends,
            progress,
            begun: Instant::now(),
            go: Go::find(go)?,
            folder: tempfile::Builder::new()
                .prefix("gohang-bench-")
                .tempdir()
                .map_err(system("make a temporary folder"))?,
        })
    }

    /// Version of the tool chain, if there is one.
    pub(super) fn go_version(&self) -> Option<&str> {
        self.go.as_ref().map(|go| go.version.as_str())
    }

    /// Version of the cgroup hierarchy.
    pub(super) fn cgroup_version(&self) -> Version {
        self.groups.hierarchy().version
    }

    /// CPUs that gohang may use.
    pub(super) fn cpus(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// A folder for files, removed at the end.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Why a need is not met; none if it is.
    pub(super) fn lacks(&self, need: Need) -> Option<String> {
        match need {
            Need::Go if self.go.is_none() => Some(
                "no Go tool chain: neither --go nor GOHANG_GO_ROOT nor PATH leads to one"
                    .to_owned(),
            ),
            Need::Cpus(wanted) if self.cpus() < wanted => {
                Some(format!("needs {wanted} CPUs, here are {}", self.cpus()))
            }
            Need::Burst if !self.can_burst() => {
                Some("groups save up no quota here: cpu.max.burst is of Linux 5.14".to_owned())
            }
            Need::Go | Need::Cpus(_) | Need::Burst => None,
        }
    }

    /// Whether a group may save up quota.
    fn can_burst(&self) -> bool {
        let group = self.groups.create(&format!("{LABEL}-burst"));
        group.is_ok_and(|group| group.can_burst())
    }

    /// Makes a group; it is emptied and removed when it goes out of scope, and better by
    /// [`Self::close`], which tells of a failure.
    pub(super) fn group(&mut self, quota: Option<Quota>) -> Result<OwnGroup, ExperimentError> {
        self.made += 1;
        let group = self.groups.create(&format!("{LABEL}-{}", self.made))?;
        if let Some(quota) = quota {
            group.set_quota(Some(quota.quota_ns), quota.period_ns)?;
        }
        Ok(group)
    }

    /// Ends everything in a group and removes it.
    pub(super) fn close(&mut self, group: OwnGroup) -> Result<(), ExperimentError> {
        Ok(group.close(REMOVAL)?)
    }

    /// Tells that a part of a scenario begins, and about how long it takes.
    pub(super) fn begin(&mut self, name: &str, length: Duration) {
        self.begun = Instant::now();
        self.progress.begin(name, length);
    }

    /// Builds a Go program of one file; `name` is that of its executable.
    pub(super) fn program(&mut self, name: &str, source: &str) -> Result<PathBuf, ExperimentError> {
        let Some(go) = self.go.clone() else {
            return Err(ExperimentError::Workload {
                what: format!("no Go tool chain to build {name} with"),
            });
        };
        let place = self.folder().join(format!("{name}-source"));
        let to = self.folder().join(name);
        if to.is_file() {
            return Ok(to);
        }
        std::fs::create_dir_all(&place).map_err(|source| ExperimentError::System {
            action: "make a folder for a Go program",
            source,
        })?;
        let cache = self.folder().join("go-cache");
        let command = go.build(source, &place, &to, &cache)?;
        self.begin(&format!("{name}: go build"), Duration::from_secs(3));
        // In a group, so that its children end with it.
        let group = self.group(None)?;
        let mut job = self.start(
            &format!("go build {name}").replace(' ', "-"),
            command,
            Some(&group),
        )?;
        let ended = self.until_ended(&mut job, None, BUILD);
        drop(job);
        self.close(group)?;
        ended?;
        Ok(to)
    }

    /// Starts a process; see [`Job::start`].
    pub(super) fn start(
        &mut self,
        name: &str,
        command: Command,
        group: Option<&OwnGroup>,
    ) -> Result<Job, ExperimentError> {
        Job::start(name, command, group, self.folder.path())
    }

    /// Lets `time` pass, and takes what `trace` finds meanwhile.
    pub(super) fn pause(
        &mut self,
        trace: Option<&mut Trace>,
        time: Duration,
    ) -> Result<(), ExperimentError> {
        self.wait(trace, time, || Ok(false)).map(drop)
    }

    /// Waits until a process has ended with code 0, at most `limit`.
    pub(super) fn until_ended(
        &mut self,
        job: &mut Job,
        trace: Option<&mut Trace>,
        limit: Duration,
    ) -> Result<(), ExperimentError> {
        let mut status = None;
        self.wait(trace, limit, || {
            status = job.ended()?;
            Ok(status.is_some())
        })?;
        match status {
            Some(status) => job.succeeded(status),
            None => Err(ExperimentError::Workload {
                what: format!("a process was not done after {} s", limit.as_secs()),
            }),
        }
    }

    /// Waits until `done` says so, at most `limit`; whether it did.
    pub(super) fn wait(
        &mut self,
        mut trace: Option<&mut Trace>,
        limit: Duration,
        mut done: impl FnMut() -> Result<bool, ExperimentError>,
    ) -> Result<bool, ExperimentError> {
        let begin = Instant::now();
        loop {
            let is_done = done()?;
            let left = limit.saturating_sub(begin.elapsed());
            if is_done || left.is_zero() {
                if let Some(trace) = trace {
                    trace.pump()?;
                }
                return Ok(is_done);
            }
            let interrupted = self.ends.came_within(left.min(DRAIN_EVERY));
            if let Some(trace) = trace.as_deref_mut() {
                trace.pump()?;
            }
            if interrupted {
                return Err(ExperimentError::Interrupted);
            }
            self.progress.at(self.begun.elapsed());
        }
    }
}
