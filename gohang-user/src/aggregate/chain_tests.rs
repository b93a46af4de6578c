use proptest::prelude::*;

use super::*;
use crate::event::sample::{request, stop};

#[test]
fn every_link_is_measured_from_step_to_step() {
    let mut data = ChainData::default();
    assert_eq!(data.report(), None);
    data.request(&request(1000, RequestEnd::YieldedAsync), false);
    let chain = data.report().expect("one");
    let links = chain.links.named().map(|(name, link)| (name, link.max_ns));
    assert_eq!(
        links,
        [
            ("late", Some(500)),
            ("request_sent", Some(10)),
            ("sent_delivered", Some(20)),
            ("delivered_yielded", Some(30)),
            ("yielded_running", Some(40)),
            ("request_yielded", Some(60)),
        ]
    );
    assert_eq!(
        chain.late_causes,
        LateCauses {
            throttled_ns: 300,
            runqueue_ns: 50,
            other_ns: 150
        }
    );
    assert_eq!(chain.ends["yielded_async"], 1);
    assert_eq!(chain.askers["retake"], 1);
}

#[test]
fn a_slice_is_late_once_however_often_it_is_asked() {
    let mut data = ChainData::default();
    let first = request(1000, RequestEnd::UnsafePoint);
    data.request(&first, false);
    let again = Request {
        first_ns: 1000,
        late_ns: Some(900),
        repeats: 3,
        ..request(2000, RequestEnd::YieldedAsync)
    };
    data.request(&again, false);
    let chain = data.report().expect("two");
    assert_eq!(chain.requests, 5);
    assert_eq!(chain.links.late.count, 1);
    assert_eq!(chain.ends["already_pending"], 3);
    // From the first request of the slice on.
    assert_eq!(chain.links.request_yielded.max_ns, Some(1060));
}

#[test]
fn what_is_not_over_is_told_apart_and_replaces_itself() {
    let open = |requests, first_ns| Open {
        requests,
        first_ns: Some(first_ns),
        ..Open::default()
    };
    let mut data = ChainData::default();
    data.open(open(3, 70));
    data.open(open(1, 90));
    let chain = data.report().expect("one is open");
    assert_eq!((chain.requests, chain.open.requests), (0, 1));
    assert_eq!(chain.open.first_ns, Some(90));
    // The process ends with another two, which stay.
    data.left(open(2, 95));
    data.open(Open::default());
    assert_eq!(data.report().expect("two").open.requests, 2);
}

#[test]
fn the_longest_stops_are_kept_and_who_was_last() {
    let mut data = ChainData::default();
    for stopping in [50, 10, 90, 20, 30, 40, 80] {
        data.stop(&stop(1000, stopping));
    }
    data.stop(&Stop {
        stopped_ns: None,
        started_ns: None,
        ..stop(1, 1)
    });
    let stops = data.report().expect("some").stops;
    assert_eq!((stops.count, stops.stopping.count), (8, 7));
    let longest: Vec<u64> = stops.longest.iter().map(|stop| stop.stopping_ns).collect();
    assert_eq!(longest, [90, 80, 50, 40, 30]);
    assert_eq!(stops.longest[0].last_tid, Some(9));
    assert_eq!(stops.longest[0].last_ns["throttled"], 90);
    assert_eq!(stops.longest[0].total_ns, Some(90 + 1000));
    assert_eq!(stops.last_ns["throttled"], 50 + 10 + 90 + 20 + 30 + 40 + 80);
}

#[test]
fn what_was_not_sent_has_a_reason_if_one_is_known() {
    let unsent = Request {
        repeats: 9,
        ..request(1000, RequestEnd::NotSent)
    };
    for (off, disabled, unexplained) in [(true, 10, 0), (false, 0, 10)] {
        let mut data = ChainData::default();
        data.request(&unsent, off);
        let chain = data.report().expect("one");
        assert_eq!((chain.requests, chain.sent), (10, 0));
        assert_eq!(chain.ends["disabled"], disabled);
        assert_eq!(chain.unexplained_sends, unexplained);
    }
}

#[test]
fn a_signal_that_is_told_twice_was_sent_once() {
    let mut data = ChainData::default();
    let under_way = Request {
        sent_ns: Some(1010),
        ..request(1000, RequestEnd::AlreadyPending)
    };
    let taken = Request {
        first_ns: 1000,
        carried: true,
        sent_ns: Some(1010),
        ..request(5000, RequestEnd::YieldedAsync)
    };
    data.request(&under_way, false);
    data.request(&taken, false);
    let chain = data.report().expect("two");
    assert_eq!((chain.sent, chain.delivered, chain.yielded), (1, 1, 1));
    assert_eq!(chain.links.request_sent.count, 1);
    assert_eq!(chain.links.sent_delivered.max_ns, Some(5030 - 1010));
}

fn any_request() -> impl Strategy<Value = Request> {
    (
        0..RequestEnd::ALL.len(),
        0..Asker::ALL.len(),
        any::<[Option<u32>; 5]>(),
        any::<u32>(),
        0u32..5,
    )
        .prop_map(|(end, asker, times, late, repeats)| {
            let at = |time: Option<u32>| time.map(u64::from);
            Request {
                asker: Asker::ALL[asker],
                repeats,
                sent_ns: at(times[0]),
                delivered_ns: at(times[1]),
                yielded_ns: at(times[2]),
                resumed_ns: at(times[3]),
                late_ns: Some(u64::from(late)),
                sender_throttled_ns: times[4].map_or(0, u64::from),
                ..request(1000, RequestEnd::ALL[end])
            }
        })
}

proptest! {
    #[test]
    fn whatever_is_recorded_counts_add_up(requests in proptest::collection::vec(any_request(), 0..50)) {
        let mut data = ChainData::default();
        for request in &requests {
            data.request(request, false);
        }
        let Some(chain) = data.report() else {
            return Ok(());
        };
        prop_assert_eq!(chain.requests, chain.ends.values().sum::<u64>());
        prop_assert_eq!(chain.requests, chain.askers.values().sum::<u64>());
        let causes = chain.late_causes;
        let first = requests.iter().filter(|one| one.first_ns == one.requested_ns);
        let late: u64 = first.filter_map(|request| request.late_ns).sum();
        prop_assert_eq!(causes.throttled_ns + causes.runqueue_ns + causes.other_ns, late);
        prop_assert!(chain.yielded <= chain.delivered);
    }
}
