//! What of a project's facts makes tests hang, or hides why.

use std::time::Duration;

use super::super::finding::Finding;
use super::gomod::GoMod;
use super::proxy::ProxyEntry;
use super::report::{GivenBy, JobLimit, Project, TestServer, TestTimeout};
use crate::golang::{Because, GoVersion, ModInfo, QuotaUse, preemption_off};
use crate::units::{cpus, duration, span};

/// The runtime counts no quota for less.
const RUNTIME_AT_LEAST: f64 = 2.0;
/// Servers that are named one by one.
const NAMED: usize = 5;

/// Facts that are not part of the report.
pub(super) struct Facts<'a> {
    pub version: Option<&'a GoVersion>,
    pub go_mod: &'a GoMod,
    /// The environment, in the form of `/proc/PID/environ`.
    pub environ: &'a [u8],
    /// Whether the module cache has the tool chain that is asked for.
    pub cached: &'a dyn Fn(&str) -> bool,
}

/// All findings, in the order of the report.
pub(super) fn findings(project: &Project, facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(error) = &project.go_error {
        found.push(Finding::warning(
            "no_go",
            format!("no go command that works: {error}"),
            "put the bin folder of a Go installation first on PATH, and unset GOROOT",
        ));
    }
    found.extend(
        facts
            .version
            .and_then(|version| toolchain(project, facts, version)),
    );
    found.extend(proxies(&project.proxies, project.module.needs_modules));
    found.extend(
        facts
            .version
            .and_then(|version| preemption(project, facts, version)),
    );
    found.extend(gomaxprocs(project));
    found.extend(timeout(project.test_timeout, project.job_limit.as_ref()));
    found.extend(servers(&project.servers));
    found
}

/// `1.27.3` and `go1.28rc1` as numbers that can be compared.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let version = format!("go{}", version.strip_prefix("go").unwrap_or(version));
    let version = GoVersion::parse(&version).ok()?;
    Some((version.minor()?, version.patch().unwrap_or(0)))
}

/// The `go` and `toolchain` lines against the go command that was found.
fn toolchain(project: &Project, facts: &Facts<'_>, version: &GoVersion) -> Option<Finding> {
    let own = (version.minor()?, version.patch().unwrap_or(0));
    // Go 1.20 and earlier build what they can.
    if own.0 < 21 {
        return None;
    }
    let go_line = facts.go_mod.go.as_deref();
    let newer = |asked: &&str| numbers(asked).is_some_and(|asked| asked > own);
    let toolchain = facts.go_mod.toolchain.as_deref();
    let mode = project.gotoolchain.as_str();
    if mode == "local" {
        let asked = go_line.filter(newer)?;
        return Some(Finding::warning(
            "toolchain_too_old",
            format!(
                "go {asked} is asked for and {version} is here: it refuses to build, because \
                 GOTOOLCHAIN=local keeps it from fetching another"
            ),
            format!("install Go {asked} or later, or set GOTOOLCHAIN=auto"),
        ));
    }
    let asked = [go_line, toolchain].into_iter().flatten().filter(newer);
    let asked = asked.max_by_key(|asked| numbers(asked))?;
    let bare = asked.strip_prefix("go").unwrap_or(asked);
    let name = format!("go{bare}");
    if (facts.cached)(&name) {
        return None;
    }
    let from = if mode.ends_with("path") {
        "looks for it along PATH"
    } else {
        "fetches it from GOPROXY first, for as long as that takes"
    };
    Some(
        Finding::info(
            "toolchain_fetched",
            format!("{name} is asked for and {version} is here: the go command {from}"),
        )
        .advise(format!(
            "install Go {bare} where tests run, or fetch it in a step of its own (go version)"
        )),
    )
}

/// Entries of `GOPROXY` that do not answer.
fn proxies(entries: &[ProxyEntry], needed: bool) -> Vec<Finding> {
    let dead = entries
        .iter()
        .filter(|entry| entry.reachable == Some(false));
    dead.map(|entry| {
        let after = if entry.falls_through {
            "the go command then asks the next entry"
        } else {
            "the go command asks the next entry only where this one says that it does not have \
             the module (| in place of , changes that)"
        };
        let through = entry
            .through
            .as_ref()
            .map_or_else(String::new, |through| format!(" through {through}"));
        let what = format!(
            "{}{through} of GOPROXY does not answer ({}, after {}): {after}",
            entry.entry,
            entry.error.as_deref().unwrap_or("no reason given"),
            duration(entry.took_ns.unwrap_or(0)),
        );
        let advice = "set GOPROXY to one that answers, or keep what is needed in vendor/ or in \
                      the module cache and set GOPROXY=off, so that nothing waits for a network";
        if needed {
            Finding::warning("proxy_unreachable", what, advice)
        } else {
            Finding::info("proxy_unreachable", what).advise(advice)
        }
    })
    .collect()
}

/// Settings with which a busy loop never stops for anybody.
fn preemption(project: &Project, facts: &Facts<'_>, version: &GoVersion) -> Option<Finding> {
    let info = ModInfo {
        settings: vec![(
            "DefaultGODEBUG".to_owned(),
            project.module.default_godebug.clone(),
        )],
        ..ModInfo::default()
    };
    let off = preemption_off(version, &info, facts.environ)?;
    Some(Finding::warning(
        "async_preemption_off",
        format!(
            "GODEBUG has {}: a goroutine in a loop without calls is not interrupted, and holds up \
             garbage collection and everything that stops the world",
            off.setting
        ),
        "take it out of GODEBUG",
    ))
}

/// More threads running Go than the quota has CPUs for.
fn gomaxprocs(project: &Project) -> Option<Finding> {
    let (own, quota) = (project.gomaxprocs.as_ref()?, project.quota_cpus?);
    let want = quota.ceil().max(1.0);
    // A runtime that heeds its quota does not go below.
    if f64::from(own.value) <= want.max(RUNTIME_AT_LEAST) {
        return None;
    }
    let why = match own.quota {
        _ if own.because == Because::Environment => "GOMAXPROCS is set",
        QuotaUse::TooOld => "Go before 1.25 does not look at quotas",
        QuotaUse::OffInEnvironment => "GODEBUG has containermaxprocs=0",
        QuotaUse::OffBuiltIn => "the go line of go.mod asks for less than 1.25",
        QuotaUse::Heeded => {
            "the quota is that of a group above, or one that the runtime does not find: it reads \
             its own group's alone"
        }
    };
    Some(Finding::warning(
        "gomaxprocs_above_quota",
        format!(
            "tests started from here run with GOMAXPROCS={} under a quota of {} ({why}): all \
             threads together use the quota up early in each period, and all stand still for the \
             rest of it",
            own.value,
            cpus(quota)
        ),
        format!("GOMAXPROCS={want}"),
    ))
}

/// When a hung test is ended, and by whom.
fn timeout(own: TestTimeout, job: Option<&JobLimit>) -> Option<Finding> {
    if own.given_by == GivenBy::Unknown {
        return None;
    }
    let Some(limit) = own.limit_ns else {
        return Some(Finding::warning(
            "no_test_timeout",
            "test binaries have no -timeout: one that hangs does so until something else ends it, \
             without a word of where",
            "give go test a -timeout below the CI job's limit",
        ));
    };
    let spoken = span(Duration::from_nanos(limit));
    if let Some(job) = job {
        return (limit >= job.limit_ns).then(|| {
            Finding::warning(
                "test_timeout_beyond_job",
                format!(
                    "go test ends a hung test binary after {spoken}, and the CI job is killed \
                     after {} ({}): nobody is told where it hung",
                    span(Duration::from_nanos(job.limit_ns)),
                    job.given_by
                ),
                format!(
                    "go test -timeout {}s",
                    (job.limit_ns / 1_000_000_000 / 2).max(1)
                ),
            )
        });
    }
    (own.given_by == GivenBy::Default).then(|| {
        Finding::info(
            "default_test_timeout",
            format!("no -timeout is given: go test ends a hung test binary after {spoken}"),
        )
        .advise("give go test a -timeout below the CI job's limit (--job-limit checks it)")
    })
}

fn servers(servers: &[TestServer]) -> Option<Finding> {
    if servers.is_empty() {
        return None;
    }
    let name =
        |own: &TestServer| format!("{}:{} {}({})", own.file, own.line, own.call, own.address);
    let mut named: Vec<String> = servers.iter().take(NAMED).map(name).collect();
    if servers.len() > NAMED {
        named.push(format!("{} more", servers.len() - NAMED));
    }
    Some(Finding::warning(
        "test_server_on_fixed_port",
        format!(
            "tests start servers on a fixed port and do not shut them down: {}. Of packages that \
             are tested at the same time, and of -count=2, the second finds the port taken and \
             talks to the other's server, or waits for its own",
            named.join(", ")
        ),
        "httptest.NewServer(handler) with defer server.Close(): it takes a free port, and server.URL \
         is ready when it returns",
    ))
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
