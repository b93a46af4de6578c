//! What a recorder keeps comes back from the recorded source.

use std::sync::Arc;

use gohang_common::cause::{Cause, Outcome, Sums};
use gohang_common::counter::Counter;
use gohang_common::map::{Moments, Summary, series};

use super::recording::{Answers, Begin, FrameReader, Kind, Next, Recorder, RecordingError, Totals};
use super::{Ending, Enricher, Facts, GroupFacts, Item, Recorded, Source as _, Taken};
use crate::event::{BlockedKinds, Episode, Event, ProcessId, decode};
use crate::golang::{Place, SafePoint};
use crate::probe::{Counters, OwnerSummary, Precision, ProgramCost, Snapshot};
use crate::process::ProcRoot;
use crate::report::{Limit, Machine, Moment, Open};

const ID: ProcessId = ProcessId {
    pid: 40,
    start_ns: u64::MAX - 1,
};

fn begin() -> Begin {
    Begin {
        gohang_version: "0".into(),
        kernel: "6.18 \"x\"".into(),
        start: Moment {
            mono_ns: 1000,
            wall_ns: 5_000_000_000,
        },
        hooks: Vec::new(),
        precision: Precision::SwitchPointEstimate,
        has_spans: true,
        attach_ns: 3,
    }
}

fn snapshot() -> Snapshot {
    let mut totals = Summary {
        outcomes: [1, 2, 3, 4, 5, 6],
        coalesced: 7,
        parts_ns: [8, 9, 10, 11, u64::MAX],
        running_ns: 12,
        ..Summary::default()
    };
    totals.series[series::STALL] = Moments {
        count: 1,
        sum: 2,
        min: 3,
        max: 4,
    };
    let owner = OwnerSummary {
        totals,
        buckets: [((5, 0), 1), ((6, 354), 2)].into(),
    };
    Snapshot {
        owners: [((ID, 77), owner.clone())].into(),
        spans: [((77, 4), owner)].into(),
        hits: [(ID, std::array::from_fn(|i| i as u64))].into(),
        open: [(
            ID,
            Open {
                requests: 3,
                sent: 2,
                delivered: 1,
                yielded: 1,
                first_ns: Some(1_900),
            },
        )]
        .into(),
    }
}

fn episode() -> Episode {
    Episode {
        process: ID,
        tid: 41,
        comm: b"w\xff\x1b".to_vec(),
        goid: None,
        pc: Some(9),
        place: None,
        handler: None,
        handler_place: None,
        sender_tid: None,
        process_directed: true,
        sender_pid: None,
        sent_ns: 2000,
        end_ns: 3000,
        coalesced: 2,
        outcome: Outcome::PendingAtEnd,
        parts: Sums {
            throttled: 1,
            masked: 2,
            blocked: 3,
            runqueue: 4,
            running: 990,
        },
        blocked_kinds: BlockedKinds {
            frozen: 3,
            ..BlockedKinds::default()
        },
        cause: Cause::RunQueue,
        estimate: true,
        cgroup_id: Some(77),
        ran_ns: 0,
    }
}

fn facts() -> Facts {
    Facts {
        pid: 40,
        start_ns: Some(ID.start_ns),
        comm: b"\xf0\x9f".to_vec(),
        go: Some("go1.24.11".into()),
        executed: true,
        group: GroupFacts {
            limit: Some(limit()),
            ..GroupFacts::default()
        },
        ..Facts::default()
    }
}

fn limit() -> Limit {
    Limit {
        owner: "/a".into(),
        quota_ns: 10_000_001,
        period_ns: 30_000_000,
        cpus: 10_000_001.0 / 30_000_000.0,
    }
}

fn totals() -> Totals {
    Totals {
        at: Moment {
            mono_ns: 4000,
            wall_ns: 5_000_003_000,
        },
        snapshot: snapshot(),
        counters: Counters::from_iter([(Counter::Seen, 3), (Counter::ClockBackwards, 1)]),
        taken: Taken {
            received: 2,
            decoded: 2,
            rejected: 0,
        },
        machine: Some(Machine::default()),
        costs: vec![ProgramCost {
            program: "p".into(),
            runs: 1,
            ns: 2,
        }],
        go_hooks: Vec::new(),
        pending: vec![episode()],
        groups: Answers {
            processes: [(40, None), (41, Some(facts().group))].into(),
            groups: [(77, (Some("/a".into()), Some(limit())))].into(),
            senders: [(55, Some("kill".into())), (56, None)].into(),
        },
    }
}

/// A real record.
fn raw() -> Vec<u8> {
    let recording = include_bytes!("../../tests/data/stall.rec");
    let mut frames = FrameReader::new(&recording[..]).expect("of this version");
    loop {
        match frames.next_frame().expect("a slice") {
            Next::Frame(Kind::Record, payload) => return payload.to_vec(),
            Next::Frame(..) => {}
            other => panic!("no record: {other:?}"),
        }
    }
}

/// The record's event, with the name of what it interrupted.
fn named(function: Option<&str>) -> Event {
    let mut event = decode(&raw()).expect("a record");
    if let Event::Episode(episode) = &mut event {
        assert!(episode.pc.is_some(), "the first record was delivered");
        episode.place = function.map(|function| {
            Arc::new(Place {
                function: Some(function.to_owned()),
                safe_point: Some(SafePoint::Marked),
            })
        });
    }
    event
}

#[test]
fn a_place_is_recorded_when_it_changes() {
    let mut recorder = Recorder::new(&begin());
    let told = [None, Some("main.a"), Some("main.a"), None, Some("main.b")];
    for function in told {
        recorder.places_of(&mut named(function));
        recorder.record(&raw(), true);
    }
    let bytes = recorder.take();
    let mut frames = FrameReader::new(&bytes[..]).expect("a header");
    let mut places = 0;
    while let Next::Frame(kind, _) = frames.next_frame().expect("a slice") {
        places += usize::from(kind == Kind::Place);
    }
    // Four of what was interrupted, and once that nothing is known of the handler.
    assert_eq!(places, 5);
    let mut source = Recorded::open(&bytes[..]).expect("a recording");
    let mut items = Vec::new();
    source.drain(&mut items).expect("a slice");
    let want = told.map(|function| Item::Event(named(function)));
    assert_eq!(format!("{items:?}"), format!("{want:?}"));
}

/// Two batches with everything in them.
fn recording() -> Vec<u8> {
    let mut recorder = Recorder::new(&begin());
    let event = decode(&raw()).expect("a record");
    recorder.items(&[Item::Found(Box::new(facts()))]);
    let mut enricher = Enricher::new(ProcRoot::default());
    recorder.group_of(&event, &mut enricher);
    let mut named = named(Some("main.\u{202e}"));
    recorder.places_of(&mut event.clone());
    for _ in 0..2 {
        recorder.places_of(&mut named);
    }
    recorder.record(&raw(), true);
    recorder.record(&raw(), false);
    recorder.record(b"nonsense", true);
    recorder.pending(&[]);
    recorder.pending(&[episode(), episode()]);
    recorder.items(&[
        Item::Event(event),
        Item::Foreign(ID),
        Item::Ended(Box::new(snapshot())),
    ]);
    recorder.totals(&Totals {
        at: begin().start,
        ..Totals::default()
    });
    let mut bytes = recorder.take();
    recorder.end(&totals());
    bytes.extend(recorder.take());
    bytes
}

#[test]
fn everything_comes_back_in_its_order() {
    let bytes = recording();
    let mut source = Recorded::open(&bytes[..]).expect("a recording");
    assert_eq!(*source.begin(), begin());
    let mut items = Vec::new();
    source.drain(&mut items).expect("a slice");
    let want = [
        Item::Found(Box::new(facts())),
        Item::Event(named(Some("main.\u{202e}"))),
    ];
    assert_eq!(format!("{items:?}"), format!("{want:?}"));
    assert_eq!(source.ending(), None, "it stops where episodes are pending");
    assert_eq!(source.pending(0).expect("kept"), [episode(), episode()]);
    assert_eq!(source.pending(0).expect("kept"), []);
    items.clear();
    source.drain(&mut items).expect("a slice");
    let want = [Item::Foreign(ID), Item::Ended(Box::new(snapshot()))];
    assert_eq!(format!("{items:?}"), format!("{want:?}"));
    assert_eq!(source.ending(), Some(&Ending::Whole));
    assert_eq!(
        source.taken(),
        Taken {
            received: 3,
            decoded: 2,
            rejected: 1
        }
    );
    // Counters that are zero are kept as such.
    let mut got = source.totals();
    assert_eq!(got.counters.get(Counter::Seen), 3);
    assert_eq!(got.counters.impossible(), totals().counters.impossible());
    got.counters = totals().counters;
    assert_eq!(format!("{got:?}"), format!("{:?}", totals()));
}

#[test]
fn every_outcome_and_cause_has_a_form() {
    for outcome in Outcome::ALL {
        for cause in Cause::ALL {
            let episode = Episode {
                outcome,
                cause,
                ..episode()
            };
            let text = serde_json::to_string(&episode).expect("JSON");
            assert!(
                text.contains(outcome.name()) && text.contains(cause.name()),
                "{text}"
            );
            assert_eq!(
                serde_json::from_str::<Episode>(&text).expect("JSON"),
                episode
            );
        }
    }
}

/// Reads to the end.
fn read(bytes: &[u8]) -> Result<(Recorded<&[u8]>, usize), RecordingError> {
    let mut source = Recorded::open(bytes)?;
    let mut items = Vec::new();
    while source.ending().is_none() {
        source.drain(&mut items).expect("a slice can be read");
    }
    Ok((source, items.len()))
}

#[test]
fn what_makes_no_sense_ends_it() {
    let whole = recording();
    let begin_only = Recorder::new(&begin()).take();
    let mut twice = begin_only.clone();
    twice.extend(&begin_only[super::recording::HEADER..]);
    let mut older = Recorder::new(&begin());
    older.end(&Totals::default());
    let mut followed = whole.clone();
    followed.extend(&begin_only[super::recording::HEADER..]);
    for (bytes, word) in [
        (twice, "second time"),
        (older.take(), "older than its begin"),
        (followed, "follows its end"),
    ] {
        let (source, _) = read(&bytes).expect("it begins");
        match source.ending() {
            Some(Ending::Damaged { why, .. }) => assert!(why.contains(word), "{why}"),
            other => panic!("{word}: {other:?}"),
        }
    }
    let (source, items) = read(&begin_only).expect("it begins");
    assert_eq!(
        (source.ending(), items),
        (
            Some(&Ending::Cut {
                at: begin_only.len() as u64
            }),
            0
        )
    );
    assert_eq!(source.totals().at, begin().start);
    let wrong = [
        super::recording::MAGIC.as_slice(),
        &whole[8..12],
        &[2, 0, 0, 0, 4, b'{', b'}'],
    ];
    assert!(matches!(
        read(&wrong.concat()),
        Err(RecordingError::BadBegin { at: 12, .. })
    ));
}

#[test]
fn a_cut_one_is_read_to_its_last_whole_frame() {
    let whole = recording();
    let all = read(&whole).expect("a recording").1;
    let mut before = 0;
    for cut in 0..whole.len() {
        let Ok((source, items)) = read(&whole[..cut]) else {
            assert_eq!(before, 0, "at {cut} nothing can be read any more");
            continue;
        };
        let Some(Ending::Cut { at }) = source.ending() else {
            panic!("at {cut}: {:?}", source.ending())
        };
        assert!(*at <= cut as u64);
        assert!(items >= before && items <= all);
        assert!(source.totals().at.mono_ns >= begin().start.mono_ns);
        before = items;
    }
    assert_eq!(before, all);
}

#[test]
fn no_flipped_bit_makes_it_panic() {
    let whole = recording();
    let mut same = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        if let Ok((source, _)) = read(&bytes)
            && source.ending() == Some(&Ending::Whole)
        {
            same += 1;
        }
    }
    // Digits and raw numbers can change unseen; the frames' own bytes cannot.
    assert!(same < whole.len() - 50, "{same} of {}", whole.len());
}
