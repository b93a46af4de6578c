//! Outputs: a report, episodes and intervals as JSON, JSON lines and text.
//!
//! Everything here turns data into bytes or text and knows nothing of where
//! they go; [`pipe`] is the one place that writes to stdout.

pub mod episode_text;
pub mod explain_text;
pub mod inspect_text;
pub mod interval;
pub mod json;
pub mod jsonl;
pub mod live;
pub mod loss;
pub mod pipe;
#[cfg(test)]
pub(crate) mod sample;
pub mod text;
