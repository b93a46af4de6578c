//! A whole dump, wherever it lies in a program's output.

use std::collections::HashMap;

use super::frame::{CreatedBy, Frame, created_by, function, place};
use super::header::Header;

/// Most goroutines that are kept, and most frames of each (the runtime itself prints at most
/// a hundred).
const MAX_GOROUTINES: usize = 1_000_000;
const MAX_FRAMES: usize = 1000;

/// A goroutine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goroutine {
    /// Its first line.
    pub header: Header,
    /// Its stack, innermost first.
    pub frames: Vec<Frame>,
    /// The first argument of each of them, of a method the receiver, where that is told.
    pub receivers: Vec<Option<u64>>,
    /// Who started it; `None` for the first one.
    pub created_by: Option<CreatedBy>,
    /// Its stack could not be read: it ran on a thread that did not stop when it was asked to.
    pub unavailable: bool,
    /// Some of its frames were left out.
    pub elided: bool,
}

/// What was found in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// Goroutines, in the order of the text, each once: those that are printed a second time
    /// (for every thread, with `GOTRACEBACK=crash`) have the fuller of their stacks.
    pub goroutines: Vec<Goroutine>,
    /// The last message before the first of them: `SIGQUIT: quit`, `panic: ...`,
    /// `fatal error: ...`.
    pub reason: Option<String>,
}

/// Finds goroutines in `text`. Lines of other kinds, in front, between and behind, are
/// passed over, so that a test binary's output can be given as it is.
#[must_use]
pub fn parse(text: &str) -> Dump {
    let mut dump = Dump::default();
    let mut known = HashMap::new();
    let mut open: Option<Goroutine> = None;
    let mut waiting: Waiting = Waiting::Nothing;
    for line in text.lines() {
        // Test output is indented by some tools, and CRLF by others.
        let line = line.trim_end_matches('\r');
        if let Some(header) = Header::parse(line) {
            close(&mut dump, &mut known, open.take());
            waiting = Waiting::Nothing;
            open = Some(Goroutine {
                header,
                frames: Vec::new(),
                receivers: Vec::new(),
                created_by: None,
                unavailable: false,
                elided: false,
            });
            continue;
        }
        let Some(goroutine) = &mut open else {
            if dump.goroutines.is_empty() && is_reason(line) {
                dump.reason = Some(line.to_owned());
            }
            continue;
        };
        if !goroutine.take(line, &mut waiting) {
            close(&mut dump, &mut known, open.take());
        }
    }
    close(&mut dump, &mut known, open);
    dump
}

/// What the next line may be the place of.
enum Waiting {
    Nothing,
    Function(String, Option<u64>),
    Creator(String, Option<u64>),
}

impl Goroutine {
    /// Takes a line of its block; false when the block has ended.
    fn take(&mut self, line: &str, waiting: &mut Waiting) -> bool {
        if let Some((file, number)) = place(line) {
            let frame = |function| Frame {
                function,
                file,
                line: number,
            };
            match std::mem::replace(waiting, Waiting::Nothing) {
                Waiting::Function(function, first) => self.push(frame(function), first),
                Waiting::Creator(function, goroutine) => {
                    self.created_by = Some(CreatedBy {
                        frame: frame(function),
                        goroutine,
                    });
                }
                Waiting::Nothing => {}
            }
            return true;
        }
        // A function whose place does not follow.
        if let Waiting::Function(function, first) = std::mem::replace(waiting, Waiting::Nothing) {
            let frame = Frame {
                function,
                file: String::new(),
                line: 0,
            };
            self.push(frame, first);
        }
        if line.is_empty() {
            return false;
        }
        if line.starts_with('\t') {
            self.unavailable |= line.ends_with("stack unavailable");
            return true;
        }
        if let Some((name, goroutine)) = created_by(line) {
            *waiting = Waiting::Creator(name, goroutine);
        } else if line.starts_with("...") && line.contains("frames elided") {
            self.elided = true;
        } else if let Some((name, first)) = function(line) {
            *waiting = Waiting::Function(name, first);
        } else {
            return false;
        }
        true
    }

    fn push(&mut self, frame: Frame, receiver: Option<u64>) {
        if self.frames.len() < MAX_FRAMES {
            self.frames.push(frame);
            self.receivers.push(receiver);
        } else {
            self.elided = true;
        }
    }
}

fn close(dump: &mut Dump, known: &mut HashMap<u64, usize>, goroutine: Option<Goroutine>) {
    let Some(goroutine) = goroutine else { return };
    let id = goroutine.header.id;
    if let Some(before) = known.get(&id).map(|&at| &mut dump.goroutines[at]) {
        if before.frames.len() < goroutine.frames.len() {
            *before = goroutine;
        }
    } else if dump.goroutines.len() < MAX_GOROUTINES {
        // Goroutine 0 is each thread's own stack; it is not one and the same.
        if id != 0 {
            known.insert(id, dump.goroutines.len());
        }
        dump.goroutines.push(goroutine);
    }
}

fn is_reason(line: &str) -> bool {
    let begins = ["SIG", "panic: ", "fatal error: ", "runtime: "];
    begins.iter().any(|begin| line.starts_with(begin)) && line.contains(": ")
}
