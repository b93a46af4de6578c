//! What is found in a Go project. Field names are the published contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::finding::Finding;
use super::proxy::ProxyEntry;
use crate::golang::Gomaxprocs;
use crate::inspect::Name;

/// A Go project, as the go command sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Project {
    /// Its directory.
    pub dir: Name,
    /// The command that was given; empty without one.
    pub command: Vec<String>,
    /// The go command; null if there is none that works.
    pub go: Option<GoTool>,
    /// Why there is none.
    pub go_error: Option<String>,
    /// Where the go command takes packages from.
    pub module: Module,
    /// `GOTOOLCHAIN` as it holds here: of the environment, the user's or Go's own settings.
    pub gotoolchain: String,
    /// `GOFLAGS` as it holds here.
    pub goflags: String,
    /// `GODEBUG` in the environment.
    pub godebug: Option<String>,
    /// `GOMAXPROCS` in the environment.
    pub gomaxprocs_variable: Option<String>,
    /// `GOMAXPROCS` of a test that is started from where gohang was; null if the go
    /// command's version is unknown.
    pub gomaxprocs: Option<Gomaxprocs>,
    /// CPUs that the tightest quota above gohang allows; null without a quota.
    pub quota_cpus: Option<f64>,
    /// The entries of `GOPROXY`.
    pub proxies: Vec<ProxyEntry>,
    /// When `go test` ends a test binary.
    pub test_timeout: TestTimeout,
    /// The limit of the CI job; null if it is not known.
    pub job_limit: Option<JobLimit>,
    /// Test files that were read.
    pub test_files: u64,
    /// Servers that tests start on a fixed port and do not shut down.
    pub servers: Vec<TestServer>,
    /// What of it makes tests hang or hides why; warnings first.
    pub findings: Vec<Finding>,
}

/// A go command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GoTool {
    /// The program.
    pub path: String,
    /// How it was found.
    pub found_by: FoundBy,
    /// Its version, as "go1.27.3".
    pub version: String,
    /// Where its tool chain is.
    pub goroot: String,
}

/// How a go command was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FoundBy {
    /// The command names it.
    Command,
    /// It is the first along `PATH`.
    Path,
}

/// Where the go command takes packages from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    /// Which mode it works in.
    pub mode: ModuleMode,
    /// The `go.mod`, or in a workspace the `go.work`.
    pub file: Option<String>,
    /// The module's path.
    pub path: Option<String>,
    /// Its `go` line.
    pub go_line: Option<String>,
    /// Its `toolchain` line.
    pub toolchain_line: Option<String>,
    /// What of `GODEBUG` programs are built with that has to do with `GOMAXPROCS`.
    pub default_godebug: String,
    /// Whether it requires other modules, and has no vendor folder with them.
    pub needs_modules: bool,
}

/// Which mode a go command works in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModuleMode {
    /// A `go.mod`.
    Module,
    /// A `go.work`.
    Workspace,
    /// Modules are turned off (`GO111MODULE=off`).
    Gopath,
    /// Modules, but no `go.mod`.
    Outside,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// When `go test` ends a test binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestTimeout {
    /// After how long; null for never.
    pub limit_ns: Option<u64>,
    /// Where that is said.
    pub given_by: GivenBy,
}

/// Where a `-timeout` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GivenBy {
    /// With the command.
    Command,
    /// In `GOFLAGS`.
    Goflags,
    /// Nowhere: `go test`'s own default, or none for a test binary by itself.
    Default,
    /// The command is no `go test` that could be seen.
    Unknown,
}

/// The limit of a CI job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobLimit {
    /// After how long the job is killed.
    pub limit_ns: u64,
    /// The option or variable that says so.
    pub given_by: String,
}

/// A server of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestServer {
    /// The file, relative to the project's directory.
    pub file: Name,
    /// The line of the call.
    pub line: u32,
    /// The call.
    pub call: String,
    /// The address.
    pub address: String,
}
