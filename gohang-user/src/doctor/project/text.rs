//! A project's facts for people.

use std::time::Duration;

use super::report::{FoundBy, GivenBy, ModuleMode, Project};
use crate::golang::{Because, Gomaxprocs, QuotaUse};
use crate::units::{cpus, duration, span};

/// The facts, each a label and a value.
pub fn text(project: &Project) -> Vec<(&'static str, String)> {
    let none = || "not set".to_owned();
    let mut rows = vec![("directory", project.dir.to_string())];
    match (&project.go, &project.go_error) {
        (Some(go), _) => {
            let by = match go.found_by {
                FoundBy::Command => "named by the command",
                FoundBy::Path => "first along PATH",
            };
            rows.push(("go", format!("{} at {} ({by})", go.version, go.path)));
            rows.push(("GOROOT", go.goroot.clone()));
        }
        (None, error) => {
            rows.push((
                "go",
                error.clone().unwrap_or_else(|| "not found".to_owned()),
            ));
        }
    }
    rows.push(("modules", module(project)));
    let own = &project.module;
    rows.push(("go line", own.go_line.clone().unwrap_or_else(none)));
    rows.push((
        "toolchain line",
        own.toolchain_line.clone().unwrap_or_else(none),
    ));
    rows.push(("GOTOOLCHAIN", project.gotoolchain.clone()));
    for entry in &project.proxies {
        let answer = match (entry.reachable, &entry.error, entry.took_ns) {
            (None, ..) => "not asked".to_owned(),
            (Some(true), _, took) => format!("answers after {}", duration(took.unwrap_or(0))),
            (Some(false), error, took) => format!(
                "does NOT answer: {} (after {})",
                error.as_deref().unwrap_or("no reason given"),
                duration(took.unwrap_or(0))
            ),
        };
        let through = entry
            .through
            .as_ref()
            .map_or_else(String::new, |through| format!(" through {through}"));
        rows.push(("GOPROXY", format!("{}{through}: {answer}", entry.entry)));
    }
    let flags = Some(project.goflags.clone()).filter(|flags| !flags.is_empty());
    rows.push(("GOFLAGS", flags.unwrap_or_else(none)));
    rows.push(("GODEBUG", project.godebug.clone().unwrap_or_else(none)));
    if !own.default_godebug.is_empty() {
        rows.push(("built-in GODEBUG", own.default_godebug.clone()));
    }
    let variable = project.gomaxprocs_variable.clone();
    rows.push(("GOMAXPROCS", variable.unwrap_or_else(none)));
    if let Some(computed) = &project.gomaxprocs {
        rows.push(("  as computed", gomaxprocs(computed)));
    }
    let quota = project.quota_cpus.map_or_else(|| "none".to_owned(), cpus);
    rows.push(("quota here", quota));
    rows.push(("test timeout", timeout(project)));
    let job = project.job_limit.as_ref().map_or_else(
        || "not known (--job-limit)".to_owned(),
        |job| format!("{} ({})", time(job.limit_ns), job.given_by),
    );
    rows.push(("CI job's limit", job));
    let servers = project.servers.len();
    rows.push((
        "test files",
        format!(
            "{}, with {servers} server{} that stay{} on a fixed port",
            project.test_files,
            if servers == 1 { "" } else { "s" },
            if servers == 1 { "s" } else { "" },
        ),
    ));
    rows
}

fn module(project: &Project) -> String {
    let own = &project.module;
    let mode = match own.mode {
        ModuleMode::Module => "module",
        ModuleMode::Workspace => "workspace",
        ModuleMode::Gopath => "GOPATH (GO111MODULE=off)",
        ModuleMode::Outside => "no go.mod",
        ModuleMode::Unknown => "unknown",
    };
    let path = own
        .path
        .as_ref()
        .map_or_else(String::new, |path| format!(" {path}"));
    let file = own
        .file
        .as_ref()
        .map_or_else(String::new, |file| format!(" ({file})"));
    format!("{mode}{path}{file}")
}

fn gomaxprocs(computed: &Gomaxprocs) -> String {
    let because = match computed.because {
        Because::Environment => "the variable",
        Because::Affinity => "the CPUs that may be used",
        Because::Quota => "the quota of the group",
    };
    let heeded = match computed.quota {
        QuotaUse::Heeded => "quotas are heeded",
        QuotaUse::TooOld => "Go before 1.25 heeds no quota",
        QuotaUse::OffInEnvironment => "GODEBUG turns quotas off",
        QuotaUse::OffBuiltIn => "the go line turns quotas off",
    };
    let updates = if computed.updates {
        "followed when it changes"
    } else {
        "fixed at start"
    };
    format!("{}, by {because}; {heeded}; {updates}", computed.value)
}

/// A limit as people set it.
fn time(ns: u64) -> String {
    span(Duration::from_nanos(ns))
}

fn timeout(project: &Project) -> String {
    let own = project.test_timeout;
    let limit = own.limit_ns.map_or_else(|| "none".to_owned(), time);
    let by = match own.given_by {
        GivenBy::Command => "given with the command",
        GivenBy::Goflags => "given in GOFLAGS",
        GivenBy::Default => "nothing given",
        GivenBy::Unknown => return "unknown: the command is no go test".to_owned(),
    };
    format!("{limit} ({by})")
}
