//! A Go project: what makes its tests hang, or hides why.
//!
//! Nothing is built, fetched or written; the go command is asked for its settings alone.

mod checks;
mod gomod;
mod lexer;
mod no_proxy;
mod proxy;
mod report;
mod servers;
mod text;
mod tool;
mod walk;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use proxy::ProxyEntry;
pub use report::{
    FoundBy, GivenBy, GoTool, JobLimit, Module, ModuleMode, Project, TestServer, TestTimeout,
};
pub(super) use text::text;

use super::finding::worst_first;
use crate::cgroup::{CgroupLayout, Limits, Membership};
use crate::golang::{GoVersion, Gomaxprocs, LeafQuota, ModInfo};
use crate::inspect::Name;
use crate::process::{ProcRoot, allowed_cpus};
use crate::run::{TestLimit, ci_job_limit, go_test_limit};
use gomod::GoMod;

/// How long the entries of `GOPROXY` are waited for, all at once.
const PROXY_LIMIT: Duration = Duration::from_secs(2);

/// Which project, and what is known of how it is tested.
#[derive(Clone, Debug)]
pub struct ProjectOptions {
    /// The directory.
    pub dir: PathBuf,
    /// The command that tests it; empty if it is not known.
    pub command: Vec<OsString>,
    /// The limit of the CI job, if the environment does not tell it.
    pub job_limit: Option<Duration>,
}

/// Looks at the project.
pub(super) fn examine(options: &ProjectOptions) -> Project {
    let variable = |name: &str| std::env::var(name).ok();
    let command: &[OsString] = &options.command;
    let dir = directory(options);
    let found = tool::find(command, &dir, std::env::var_os("PATH").as_deref());
    let asked = found.and_then(|(go, found_by)| {
        let env = tool::env(&go, &dir)?;
        Ok((go, found_by, env))
    });
    let (go, env, go_error) = match asked {
        Ok((path, found_by, env)) => {
            let value = |name: &str| env.get(name).cloned().unwrap_or_default();
            let go = GoTool {
                path: path.display().to_string(),
                found_by,
                version: value("GOVERSION"),
                goroot: value("GOROOT"),
            };
            (Some(go), env, None)
        }
        Err(error) => (None, HashMap::new(), Some(error)),
    };
    let value = |name: &str| {
        env.get(name)
            .map(String::as_str)
            .filter(|own| !own.is_empty())
    };
    let (module, go_mod) = module(&dir, go.is_some(), &value);
    let version = go
        .as_ref()
        .and_then(|go| GoVersion::parse(&go.version).ok());
    let goroot = go.as_ref().map(|go| go.goroot.as_str());
    let gotoolchain = tool::setting("GOTOOLCHAIN", &variable, value("GOENV"), goroot);
    let goflags = value("GOFLAGS")
        .map(Into::into)
        .or_else(|| variable("GOFLAGS"));
    let goflags = goflags.unwrap_or_default();
    let goproxy = value("GOPROXY")
        .map(Into::into)
        .or_else(|| variable("GOPROXY"));
    let environ = environ();
    let compute = |version: &GoVersion| compute(version, &module.default_godebug, &environ);
    let (test_files, servers) = test_servers(&dir);
    let mut project = Project {
        command: command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        gomaxprocs: version.as_ref().and_then(compute),
        quota_cpus: quota(),
        proxies: proxy::ask(
            goproxy.as_deref().unwrap_or_default(),
            &variable,
            PROXY_LIMIT,
            &proxy::connect(),
        ),
        test_timeout: test_timeout(command, &goflags),
        job_limit: job_limit(options.job_limit),
        dir: Name::from(dir.as_path()),
        go,
        go_error,
        gotoolchain: gotoolchain.unwrap_or_else(|| "auto".to_owned()),
        goflags,
        godebug: variable("GODEBUG"),
        gomaxprocs_variable: variable("GOMAXPROCS"),
        module,
        test_files,
        servers,
        findings: Vec::new(),
    };
    let cache = value("GOMODCACHE");
    let facts = checks::Facts {
        version: version.as_ref(),
        go_mod: &go_mod,
        environ: &environ,
        cached: &|name| cache.is_some_and(|cache| tool::has_toolchain(cache, name)),
    };
    project.findings = worst_first(checks::findings(&project, &facts));
    project
}

/// Where the command works: `go -C DIR` changes to it first.
fn directory(options: &ProjectOptions) -> PathBuf {
    let words: Vec<&str> = options
        .command
        .iter()
        .filter_map(|word| word.to_str())
        .collect();
    let is_go = |program: &str| {
        Path::new(program)
            .file_name()
            .is_some_and(|name| name == "go")
    };
    let changed = match words.as_slice() {
        [program, "-C", dir, ..] if is_go(program) => Some(*dir),
        [program, first, ..] if is_go(program) => first.strip_prefix("-C="),
        _ => None,
    };
    let dir = changed.map_or_else(|| options.dir.clone(), |changed| options.dir.join(changed));
    std::path::absolute(&dir).unwrap_or(dir)
}

/// The module or workspace that `go env` names; without a go command, that of the directory.
fn module<'a>(dir: &Path, asked: bool, value: &dyn Fn(&str) -> Option<&'a str>) -> (Module, GoMod) {
    let in_dir = dir.join("go.mod");
    let (mode, file) = match (value("GOWORK"), value("GOMOD")) {
        (Some(work), _) if work != "off" => (ModuleMode::Workspace, Some(PathBuf::from(work))),
        (_, Some(file)) if file != "/dev/null" => (ModuleMode::Module, Some(PathBuf::from(file))),
        _ if value("GO111MODULE") == Some("off") => (ModuleMode::Gopath, None),
        _ if asked => (ModuleMode::Outside, None),
        _ if in_dir.is_file() => (ModuleMode::Unknown, Some(in_dir)),
        _ => (ModuleMode::Unknown, None),
    };
    let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
    let go_mod = GoMod::parse(&text.unwrap_or_default());
    let above = file.as_deref().and_then(Path::parent).unwrap_or(dir);
    let vendored = above.join("vendor/modules.txt").is_file();
    let known = file.is_some();
    let module = Module {
        mode,
        file: file.map(|file| file.display().to_string()),
        path: go_mod.module.clone(),
        go_line: go_mod.go.clone(),
        toolchain_line: go_mod.toolchain.clone(),
        default_godebug: if known {
            go_mod.default_godebug()
        } else {
            String::new()
        },
        // A workspace's modules are not looked at one by one.
        needs_modules: !vendored && (go_mod.requires || mode == ModuleMode::Workspace),
    };
    (module, go_mod)
}

/// The environment that a test would get, in the form of `/proc/PID/environ`.
fn environ() -> Vec<u8> {
    let pair = |(name, value): (OsString, OsString)| {
        [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat()
    };
    std::env::vars_os().flat_map(pair).collect()
}

/// `GOMAXPROCS` of a test that is started from here.
fn compute(version: &GoVersion, default_godebug: &str, environ: &[u8]) -> Option<Gomaxprocs> {
    let info = ModInfo {
        settings: vec![("DefaultGODEBUG".to_owned(), default_godebug.to_owned())],
        ..ModInfo::default()
    };
    let cpus = allowed_cpus(0).ok()?;
    let leaf = LeafQuota::read(&ProcRoot::default(), std::process::id(), version).ok()?;
    Some(Gomaxprocs::compute(
        version, &info, environ, cpus, leaf.limit,
    ))
}

/// The tightest quota of the group that this process is in and of those above.
fn quota() -> Option<f64> {
    let proc = ProcRoot::default();
    let layout = CgroupLayout::read(&proc).ok()?;
    let own = Membership::read_own(&proc).ok()?;
    let limits = Limits::read(layout.cpu().ok()?, &own.cpu()?.path).ok()?;
    limits.effective()?.limit.cpus()
}

fn test_timeout(command: &[OsString], goflags: &str) -> TestTimeout {
    // Without a command it is what most projects are tested with.
    let usual = ["go", "test", "./..."].map(OsString::from);
    let command = if command.is_empty() { &usual } else { command };
    let (limit, given_by) = match go_test_limit(command, goflags) {
        TestLimit::Command(limit) => (limit, GivenBy::Command),
        TestLimit::Goflags(limit) => (limit, GivenBy::Goflags),
        TestLimit::Default(limit) => (limit, GivenBy::Default),
        TestLimit::Unknown => (None, GivenBy::Unknown),
    };
    TestTimeout {
        limit_ns: limit.map(nanoseconds),
        given_by,
    }
}

fn job_limit(given: Option<Duration>) -> Option<JobLimit> {
    let given = given.map(|limit| (limit, "--job-limit"));
    let (limit, given_by) = given.or_else(ci_job_limit)?;
    Some(JobLimit {
        limit_ns: nanoseconds(limit),
        given_by: given_by.to_owned(),
    })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How many test files there are, and the servers in them that stay.
fn test_servers(dir: &Path) -> (u64, Vec<TestServer>) {
    let files = walk::test_files(dir);
    let count = files.len() as u64;
    let mut found = Vec::new();
    for path in files {
        // A file that goes while it is looked for has no servers.
        let Ok(source) = fs::read(&path) else {
            continue;
        };
        let file = Name::from(path.strip_prefix(dir).unwrap_or(&path));
        let servers = servers::servers(&source).into_iter();
        found.extend(servers.map(|own| TestServer {
            file: file.clone(),
            line: own.line,
            call: own.call,
            address: own.address,
        }));
    }
    (count, found)
}
