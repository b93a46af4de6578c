//! What rules tell of processes that run already when the trace begins.

use super::*;
use crate::source::{Dropped, SignalFacts};

fn told(signals: SignalFacts) -> Vec<Raised> {
    let facts = Facts {
        pid: 7,
        proc_start_ns: 10,
        traced_since_ns: 500,
        go: Some("go1.27.3".to_owned()),
        signals,
        ..Facts::default()
    };
    Book::new(Thresholds::default()).found(&facts, &|_| String::new())
}

#[test]
fn a_signal_that_was_lost_before_the_trace_is_told_by_what_lost_it() {
    for (dropped, word) in [
        (Dropped::Ignored, "ignores SIGURG"),
        (Dropped::NoHandler, "no handler for SIGURG"),
    ] {
        let told = told(SignalFacts {
            dropped: Some(dropped),
            ..SignalFacts::default()
        });
        assert_eq!(told.len(), 1);
        let alert = &told[0].0;
        assert_eq!((alert.rule.as_str(), alert.pid), ("ignored", 7));
        assert_eq!((alert.severity, alert.tid), (Severity::Critical, None));
        assert!(alert.headline.contains(word), "{}", alert.headline);
    }
}

#[test]
fn a_signal_held_back_since_before_the_trace_is_told_with_its_threads() {
    let masked = |tids: &[u32]| SignalFacts {
        masked_tids: tids.to_vec(),
        ..SignalFacts::default()
    };
    assert_eq!(told(masked(&[])), []);
    let one = told(masked(&[8]));
    assert_eq!((one.len(), one[0].0.rule.as_str()), (1, "masked"));
    assert!(one[0].0.headline.starts_with("thread 8 has SIGURG blocked"));
    let two = told(masked(&[8, 9]));
    assert!(two[0].0.headline.starts_with("2 threads have"));
    assert_eq!(two[0].0.evidence["tids"], serde_json::json!([8, 9]));
}
