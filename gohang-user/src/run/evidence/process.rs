//! The command's processes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process at the decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Its name.
    pub comm: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its program's file.
    pub exe: String,
    /// State letter, as in proc(5).
    pub state: String,
    /// CPU time used since its start.
    pub cpu_ns: u64,
    /// CPU time used in the last look before the decision, as a part of one CPU.
    pub cpus: Option<f64>,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Signals that are blocked, ignored and caught, a bit each (`SigBlk`, `SigIgn`,
    /// `SigCgt`; bit 0 is signal 1).
    pub signals: [u64; 3],
    /// How many threads it has.
    pub threads_total: u64,
    /// Its threads, the first few.
    pub threads: Vec<Thread>,
    /// Its open files, the first few.
    pub files: Vec<OpenFile>,
    /// What is known of its being Go; null: it is not.
    pub go: Option<GoFacts>,
    /// It is a Go program without a Go program below it: a test binary, not `go` itself.
    pub leaf: bool,
    /// The environment that it was started with, of names that matter to Go and the network
    /// (`GO...`, `CGO_...`, `..._PROXY`).
    pub environment: BTreeMap<String, String>,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// State letter.
    pub state: String,
    /// Where in the kernel it waits (`wchan`), or empty.
    pub wchan: String,
    /// The system call that it is in.
    pub syscall: Option<Syscall>,
    /// The descriptor that the call is on, where it is one to read, write, accept or connect.
    pub blocked_on: Option<BlockedOn>,
    /// Kernel stack, innermost first; empty where it may not be read.
    pub stack: Vec<String>,
    /// Signals that wait for it, a bit each (`SigPnd`).
    pub pending: u64,
}

/// A system call under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Syscall {
    /// Its number on this architecture.
    pub number: u64,
    /// Its name, for those that wait.
    pub name: Option<String>,
    /// Its arguments.
    pub args: Vec<u64>,
}

/// What a system call waits on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockedOn {
    /// The descriptor.
    pub fd: u32,
    /// What it is: a path, `pipe:[N]`, `socket:[N]`.
    pub target: String,
}

/// An open file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenFile {
    /// The descriptor.
    pub fd: u32,
    /// What it is: a path, `pipe:[N]`, `socket:[N]`.
    pub target: String,
    /// May be read, may be written; null where that may not be looked at.
    pub access: Option<String>,
}

/// A socket that a process of the command's holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Socket {
    /// `tcp`, `tcp6`, `udp`, `udp6`, `unix`.
    pub protocol: String,
    /// Its state in words of ss(8): `LISTEN`, `SYN-SENT`, `ESTAB` ...
    pub state: String,
    /// Its own address, as `127.0.0.1:80`, `[::1]:80`, or a path.
    pub local: String,
    /// The other end's.
    pub remote: String,
    /// Bytes that wait to be sent.
    pub to_send_bytes: u64,
    /// Bytes that wait to be read; of a listener, connections that wait to be accepted.
    pub to_read_bytes: u64,
    /// Its number, as in `socket:[N]`.
    pub inode: u64,
    /// Who holds it: process and descriptor.
    pub holders: Vec<(u32, u32)>,
}

/// What is known of a Go program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GoFacts {
    /// As `go1.27.3`.
    pub version: String,
    /// Its main package.
    pub package: String,
    /// `GOMAXPROCS` of its environment.
    pub gomaxprocs: Option<u64>,
    /// What turns asynchronous preemption off, as `asyncpreemptoff=1`.
    pub preemption_off: Option<String>,
    /// It catches SIGQUIT and prints its goroutines then.
    pub answers_quit: bool,
    /// It is a test binary.
    pub is_test: bool,
}
