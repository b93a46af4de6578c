//! What only user space needs: aya's marker for plain data.

use crate::bandwidth::CfsRq;
use crate::config::{Offsets, Settings};
use crate::map::{BucketKey, GoOffsets, ProcessState, SelfTest, Summary, SummaryKey};
use crate::record::Request;
use crate::runtime::{Chain, GoRuntime, GoroutineKey, StopState, ThreadKey};
use crate::thread::Thread;

macro_rules! pod {
    ($($name:ty),* $(,)?) => {
        $(
            // SAFETY: repr(C), integers only, explicit padding, every bit
            // pattern valid.
            unsafe impl aya::Pod for $name {}
        )*
    };
}

pod!(
    Offsets,
    Settings,
    BucketKey,
    CfsRq,
    GoOffsets,
    ProcessState,
    SelfTest,
    Summary,
    SummaryKey,
    Thread,
    Chain,
    GoRuntime,
    GoroutineKey,
    Request,
    StopState,
    ThreadKey,
);
