//! Forms of the shared types, for recordings.

use gohang_common::cause::{Cause, Outcome, Sums};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Sums")]
pub(super) struct SumsForm {
    throttled: u64,
    masked: u64,
    blocked: u64,
    runqueue: u64,
    running: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Cause", rename_all = "lowercase")]
pub(super) enum CauseForm {
    Throttled,
    Masked,
    Blocked,
    RunQueue,
    Running,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outcome", rename_all = "snake_case")]
pub(super) enum OutcomeForm {
    Delivered,
    DeliveredNoHandler,
    Ignored,
    Exited,
    ConsumedUnseen,
    PendingAtEnd,
}
