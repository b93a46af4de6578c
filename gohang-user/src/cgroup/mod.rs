//! Control groups: where the cpu controller is, who is in which group, what limits it.
//!
//! Versions 1 and 2 and both at once. The layout comes from a text, the files from a
//! [`Hierarchy`], so that tests run against directories of fixtures. Paths of groups
//! are as in `/proc/PID/cgroup`: absolute within their hierarchy.

mod close;
mod cpuset;
mod error;
mod handle;
mod identity;
mod ids;
mod layout;
mod limits;
mod mark;
mod membership;
mod memory;
mod own;
mod own_group;
#[cfg(test)]
mod own_tests;
mod owner;
mod pressure;
mod quota;
mod stat;
mod tree;
mod weight;

/// Inode number of the root group of every hierarchy.
const ROOT_ID: u64 = 1;

pub use cpuset::Cpuset;
pub use error::CgroupError;
pub use handle::GroupHandles;
pub use identity::{Container, Identity, Runtime};
pub use ids::{CgroupIds, id_of};
pub use layout::{CgroupLayout, Hierarchy, Mode, Version};
pub use limits::{CpuLimit, GroupLimit, Limits};
pub use mark::mark;
pub use membership::{Member, Membership};
pub use memory::{MemoryStat, PidsStat, cpuacct_usage_ns};
pub use own::{Kept, Leftovers, OwnError, OwnGroups, WhyKept};
pub use own_group::OwnGroup;
pub use owner::Owner;
pub use pressure::{Pressure, Stall};
pub use quota::{MAX_PERIOD_NS, MIN_NS};
pub use stat::CpuStat;
pub use tree::{
    Branch, Controller, LeftBehind, Missing, OwnTree, Weight, clear, clear_everywhere,
    is_kept_inside, kill_group, processes_below,
};
pub use weight::CpuWeight;
