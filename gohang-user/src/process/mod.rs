//! Reading `/proc`: processes, threads, their signal masks, and the CPUs' stolen time.
//!
//! Everything goes through a [`ProcRoot`], so that tests run against a directory
//! of fixtures. Processes end at any moment; that is the ordinary value
//! [`ProcError::Gone`], never a panic.

mod activity;
mod affinity;
mod counter;
mod cpu;
mod cpu_list;
mod error;
mod escape;
mod kill;
mod root;
mod stat;
mod status;

pub use activity::Activity;
pub use affinity::allowed_cpus;
pub use counter::{WentBack, growth};
pub use cpu::CpuTimes;
pub use cpu_list::CpuList;
pub use error::ProcError;
pub use escape::escape;
pub use kill::signal_members;
pub use root::{INIT_PID_NS_INODE, ProcRoot};
pub use stat::{Stat, ns_to_ticks, ticks_to_ns, user_hz};
pub use status::{SIGURG, SignalSet, Status};
