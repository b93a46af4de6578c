//! A recording of a live source.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::recording::{
    Answers, Begin, EndedForm, FrameReader, GroupForm, Kind, Next, PlaceForm, RecordingError,
    Totals,
};
use super::slices::Slices;
use super::{Facts, Item, Source, SourceError, Taken};
use crate::event::{Episode, Event, ProcessId, decode};
use crate::golang::Place;
use crate::probe::{Counters, Snapshot};

/// Items that one drain yields at most, or a few more.
const BATCH: usize = 4096;

/// The recorded source.
#[derive(Debug)]
pub struct Recorded<R> {
    frames: FrameReader<R>,
    begin: Begin,
    totals: Option<Totals>,
    taken: Taken,
    paths: HashMap<u64, Option<String>>,
    places: HashMap<(ProcessId, u64), Arc<Place>>,
    pending: Vec<Episode>,
    ending: Option<Ending>,
    /// Latest time met, CLOCK_MONOTONIC ns.
    latest_ns: u64,
    slices: Slices,
}

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its last frame.
    Whole,
    /// Without it: whoever recorded was killed, or the file was cut off.
    Cut {
        /// Where the last whole frame ends.
        at: u64,
    },
    /// With something that makes no sense.
    Damaged {
        /// Where that begins.
        at: u64,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("it is whole"),
            Self::Cut { at } => write!(f, "it ends early, at byte {at}"),
            Self::Damaged { at, why } => write!(f, "it is damaged at byte {at} ({why})"),
        }
    }
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

impl<R: Read> Recorded<R> {
    /// Reads the header and the first frame.
    ///
    /// # Errors
    /// Not a recording, one of another version, or one that holds nothing.
    pub fn open(from: R) -> Result<Self, RecordingError> {
        let mut frames = FrameReader::new(from)?;
        let at = frames.at();
        let begin: Begin = match frames.next_frame()? {
            Next::Frame(Kind::Begin, payload) => {
                json(payload).map_err(|why| RecordingError::BadBegin { at, why })?
            }
            Next::Frame(kind, _) => {
                let why = format!("its first frame is {kind:?}");
                return Err(RecordingError::BadBegin { at, why });
            }
            Next::End | Next::Cut => return Err(RecordingError::NoBegin { at }),
            Next::Damaged(why) => return Err(RecordingError::BadBegin { at, why }),
        };
        Ok(Self {
            frames,
            totals: None,
            taken: Taken::default(),
            paths: HashMap::new(),
            places: HashMap::new(),
            pending: Vec::new(),
            slices: Slices::default(),
            ending: None,
            latest_ns: begin.start.mono_ns,
            begin,
        })
    }

    /// What was known when the window opened.
    #[must_use]
    pub fn begin(&self) -> &Begin {
        &self.begin
    }

    /// How it ends; none while there may be more.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Path of a group that an episode names.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<&str> {
        self.paths.get(&id)?.as_deref()
    }

    /// What was asked of control groups for the last totals.
    #[must_use]
    pub fn answers(&self) -> Option<&Answers> {
        self.totals.as_ref().map(|totals| &totals.groups)
    }

    /// The last totals. Of a recording that ends before any were recorded they
    /// are empty, as of the latest record.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals.clone().unwrap_or_else(|| {
            let mut totals = Totals {
                at: self.begin.start,
                taken: self.taken,
                ..Totals::default()
            };
            let passed = self.latest_ns - self.begin.start.mono_ns;
            totals.at.mono_ns += passed;
            totals.at.wall_ns = totals.at.wall_ns.saturating_add(passed);
            totals
        })
    }

    /// Takes one frame; true if episodes are pending, to be looked at before
    /// anything else.
    fn step(&mut self, into: &mut Vec<Item>) -> Result<bool, SourceError> {
        let at = self.frames.at();
        let (kind, payload) = match self.frames.next_frame().map_err(RecordingError::Read)? {
            Next::Frame(kind, payload) => (kind, payload),
            Next::End | Next::Cut => {
                self.ending = Some(Ending::Cut { at });
                return Ok(false);
            }
            Next::Damaged(why) => {
                self.ending = Some(Ending::Damaged { at, why });
                return Ok(false);
            }
        };
        let outcome = match kind {
            Kind::Begin => Err("it begins a second time".to_owned()),
            Kind::Record | Kind::Untraced => {
                let mut event = take(&mut self.taken, &mut self.latest_ns, payload);
                if let Some(event) = &mut event {
                    let process = event.process();
                    for (pc, place) in event.instructions() {
                        *place = self.places.get(&(process, pc)).cloned();
                    }
                }
                into.extend(event.filter(|_| kind == Kind::Record).map(Item::Event));
                Ok(false)
            }
            Kind::Found => json::<Facts>(payload).map(|facts| {
                into.push(Item::Found(Box::new(facts)));
                false
            }),
            Kind::Foreign => json::<ProcessId>(payload).map(|id| {
                into.push(Item::Foreign(id));
                false
            }),
            Kind::Ended => json::<EndedForm>(payload).map(|ended| {
                into.push(Item::Ended(Box::new(ended.0)));
                false
            }),
            Kind::Senders => json(payload).map(|senders| {
                into.push(Item::Senders(senders));
                false
            }),
            Kind::Group => json::<GroupForm>(payload).map(|group| {
                self.paths.insert(group.id, group.path);
                false
            }),
            Kind::Place => json::<PlaceForm>(payload).map(|form| {
                let key = (form.process, form.pc);
                match form.place {
                    Some(place) => self.places.insert(key, Arc::new(place)),
                    None => self.places.remove(&key),
                };
                false
            }),
            Kind::Pending => json(payload).map(|pending| {
                self.pending = pending;
                true
            }),
            Kind::Totals | Kind::End => totals(payload, &self.begin).map(|totals| {
                self.pending.clone_from(&totals.pending);
                self.totals = Some(totals);
                false
            }),
        };
        let pending = match outcome {
            Ok(pending) => pending,
            Err(why) => {
                self.ending = Some(Ending::Damaged { at, why });
                return Ok(false);
            }
        };
        if kind == Kind::End {
            let at = self.frames.at();
            self.ending = Some(
                match self.frames.next_frame().map_err(RecordingError::Read)? {
                    Next::End => Ending::Whole,
                    Next::Frame(..) | Next::Cut | Next::Damaged(_) => Ending::Damaged {
                        at,
                        why: "something follows its end".to_owned(),
                    },
                },
            );
        }
        Ok(pending)
    }
}

/// Decodes a record as the live source does.
fn take(taken: &mut Taken, latest_ns: &mut u64, raw: &[u8]) -> Option<Event> {
    taken.received += 1;
    match decode(raw) {
        Ok(event) => {
            taken.decoded += 1;
            *latest_ns = event.at_ns().max(*latest_ns);
            Some(event)
        }
        Err(error) => {
            taken.rejected += 1;
            log::info!("record rejected: {error}");
            None
        }
    }
}

fn totals(payload: &[u8], begin: &Begin) -> Result<Totals, String> {
    let totals: Totals = json(payload)?;
    if totals.at.mono_ns < begin.start.mono_ns {
        return Err("its totals are older than its begin".to_owned());
    }
    Ok(totals)
}

impl<R: Read> Source for Recorded<R> {
    /// Ends early where episodes were pending: they come with the next call of
    /// [`Source::pending`].
    fn drain(&mut self, into: &mut Vec<Item>) -> Result<(), SourceError> {
        let first = into.len();
        while self.ending.is_none() && into.len() - first < BATCH {
            if self.step(into)? {
                break;
            }
        }
        for item in &mut into[first..] {
            self.slices.look(item);
        }
        Ok(())
    }

    /// The last totals so far.
    fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        Ok(self.totals().snapshot)
    }

    fn counters(&mut self) -> Result<Counters, SourceError> {
        Ok(self.totals().counters)
    }

    /// What was pending at this point of the recording, whenever that was; each
    /// only once.
    fn pending(&mut self, _now_ns: u64) -> Result<Vec<Episode>, SourceError> {
        Ok(std::mem::take(&mut self.pending))
    }

    fn taken(&self) -> Taken {
        self.taken
    }
}
