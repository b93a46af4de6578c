//! gohang times every preemption signal (SIGURG) of Go programs and says where
//! each nanosecond of the delay went.
//!
//! The flow: `probe` loads and attaches the kernel programs, a `source` yields
//! events, `aggregate` folds them together with the kernel's histograms into a
//! `report`, `alert` rules look at both, `sink`s write.

pub mod advice;
pub mod aggregate;
pub mod alert;
pub mod bench;
pub mod btf;
pub mod buckets;
pub mod bundle;
pub mod cgroup;
pub mod compare;
pub mod demo;
pub mod doctor;
pub mod event;
pub mod experiment;
pub mod explain;
pub mod gate;
pub mod golang;
pub mod inspect;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod report;
pub mod run;
pub mod sched_ext;
pub mod schema;
pub mod sink;
pub mod source;
pub mod units;
