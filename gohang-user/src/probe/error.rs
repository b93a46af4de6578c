//! What can go wrong between the object and the kernel.

use std::path::PathBuf;

use crate::btf::BtfError;

/// Loading, attaching or reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The object belongs to another gohang.
    #[error(
        "the kernel object has ABI {got}, this gohang needs ABI {want}: build both from the same source (cargo xtask build-ebpf)"
    )]
    Abi {
        /// Of the object.
        got: u32,
        /// Ours.
        want: u32,
    },
    /// The object is not one of gohang's.
    #[error("this is not gohang's kernel object: {0}")]
    Object(String),
    /// An object given by hand cannot be read.
    #[error("cannot read the kernel object {path}: {source}")]
    ObjectFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel's type information is missing or lacks something.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel's lockdown keeps its memory from being read.
    #[error(
        "this kernel is locked down at confidentiality level: it refuses gohang's kernel programs every read of kernel memory (bpf_probe_read_kernel); boot it without lockdown=confidentiality (with lockdown=integrity, which Secure Boot asks for, gohang works)"
    )]
    Lockdown,
    /// The kernel has no such tracepoint.
    #[error("this kernel has no tracepoint {0}: gohang needs it")]
    NoTracepoint(&'static str),
    /// The step of the ladder that was asked for cannot be had.
    #[error(
        "this kernel cannot do --throttle-source {wanted}: {reason}; without the option the most exact step that it can do is taken"
    )]
    ThrottleSource {
        /// The step.
        wanted: &'static str,
        /// Why not.
        reason: String,
    },
    /// The kernel refused the object's maps or its layout.
    #[error("the kernel refused the object's maps: {0}")]
    Maps(#[source] Box<aya::EbpfError>),
    /// The kernel refused a program that everything depends on.
    #[error("the kernel refused program {program}: {reason}")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        reason: String,
    },
    /// A map is missing or has another shape.
    #[error("map {map} of the kernel object: {reason}")]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        reason: String,
    },
    /// The offsets are wrong.
    #[error(
        "self-test failed: pid and tgid read through the kernel's type information are {by_offset:?}, the kernel says {by_helper:?} ({mismatches} of {runs} looks differ); /sys/kernel/btf/vmlinux does not describe this kernel"
    )]
    SelfTest {
        /// (tgid, pid) through the offsets.
        by_offset: (u32, u32),
        /// (tgid, pid) from the helper.
        by_helper: (u32, u32),
        /// Looks that differed.
        mismatches: u64,
        /// Looks.
        runs: u64,
    },
    /// The self-test never ran.
    #[error("self-test did not run: no context switch was seen within {0} ms")]
    SelfTestIdle(u64),
    /// The running process is not in the root PID namespace.
    #[error(
        "gohang runs outside the root PID namespace: process ids of the kernel's events would not be those seen here; run it on the host, or in a container with --pid=host"
    )]
    PidNamespace,
    /// The process filter could not be mapped.
    #[error("cannot map the process filter: {0}")]
    Filter(#[source] std::io::Error),
    /// The kernel's run-time statistics could not be turned on.
    #[error("cannot turn on the kernel's BPF run-time statistics: {0}")]
    Stats(String),
}
