//! What gohang's kernel and user sides share: the record layout, the state of
//! a traced thread and its accounting, causes, and bucket maths.
//!
//! Everything here is plain data and pure functions without panics, so that
//! the same code runs inside the kernel programs and under unit tests.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod account;
pub mod bandwidth;
pub mod cause;
pub mod chain;
pub mod config;
pub mod counter;
pub mod hist;
pub mod map;
pub mod memory;
pub mod record;
pub mod runtime;
pub mod thread;

#[cfg(feature = "user")]
mod user;
