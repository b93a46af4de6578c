//! Making a recording.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::super::{Enricher, Item};
use super::frame::{self, Kind};
use super::{Begin, EndedForm, GroupForm, PlaceForm, Totals};
use crate::event::{Episode, Event, ProcessId};
use crate::golang::Place;

/// Instructions whose places are remembered as recorded.
const MAX_PLACES: usize = 16_384;

/// Collects frames until they are taken. Whoever takes them writes them.
#[derive(Debug)]
pub struct Recorder {
    bytes: Vec<u8>,
    /// Groups whose paths are recorded.
    groups: HashSet<u64>,
    /// Places as they were last recorded.
    places: HashMap<(ProcessId, u64), Option<Arc<Place>>>,
}

impl Recorder {
    /// Begins a recording with its header and first frame.
    #[must_use]
    pub fn new(begin: &Begin) -> Self {
        let mut recorder = Self {
            bytes: frame::header().to_vec(),
            groups: HashSet::new(),
            places: HashMap::new(),
        };
        recorder.json(Kind::Begin, begin);
        recorder
    }

    /// What has been recorded since the last call: whole frames.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// A record, and whether its process is traced.
    pub(in super::super) fn record(&mut self, raw: &[u8], traced: bool) {
        let kind = if traced { Kind::Record } else { Kind::Untraced };
        self.push(kind, raw);
    }

    /// The path of an episode's group, the first time that it is met.
    pub(in super::super) fn group_of(&mut self, event: &Event, enricher: &mut Enricher) {
        if let Event::Episode(episode) = event
            && let Some(id) = episode.cgroup_id
            && self.groups.insert(id)
        {
            let path = enricher.path_by_id(id);
            self.json(Kind::Group, &GroupForm { id, path });
        }
    }

    /// What lies at the instructions that an event names, unless the same was recorded of
    /// them before.
    pub(in super::super) fn places_of(&mut self, event: &mut Event) {
        let process = event.process();
        let mut new = Vec::new();
        for (pc, place) in event.instructions() {
            let key = (process, pc);
            if self.places.get(&key) == Some(place) {
                continue;
            }
            if self.places.len() >= MAX_PLACES {
                self.places.clear();
            }
            self.places.insert(key, place.clone());
            new.push(PlaceForm {
                process,
                pc,
                place: place.as_deref().cloned(),
            });
        }
        for form in new {
            self.json(Kind::Place, &form);
        }
    }

    /// Everything but events, which are kept as their records.
    pub(in super::super) fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Event(_) => {}
                Item::Found(facts) => self.json(Kind::Found, facts),
                Item::Foreign(id) => self.json(Kind::Foreign, id),
                Item::Senders(senders) => self.json(Kind::Senders, senders),
                Item::Ended(snapshot) => {
                    self.json(Kind::Ended, &EndedForm(snapshot.as_ref().clone()));
                }
            }
        }
    }

    /// Episodes that are pending now.
    pub fn pending(&mut self, episodes: &[Episode]) {
        if !episodes.is_empty() {
            self.json(Kind::Pending, &episodes);
        }
    }

    /// Totals so far.
    pub fn totals(&mut self, totals: &Totals) {
        self.json(Kind::Totals, totals);
    }

    /// Totals at the end: the last frame.
    pub fn end(&mut self, totals: &Totals) {
        self.json(Kind::End, totals);
    }

    fn json(&mut self, kind: Kind, value: &impl Serialize) {
        // String keys or integer keys, no 128-bit numbers: all of it has a
        // JSON form.
        let text = serde_json::to_vec(value).expect("frames are serializable");
        self.push(kind, &text);
    }

    fn push(&mut self, kind: Kind, payload: &[u8]) {
        if !frame::push(&mut self.bytes, kind, payload) {
            log::warn!(
                "a frame of {} bytes is too long for the recording, which lacks it",
                payload.len()
            );
        }
    }
}
