//! What was seen of the command's output.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::golang::gotest::{Running, TestStream};

/// Most bytes of a dump that are kept; ten thousand goroutines have some 5 MB.
const MAX_CAPTURE: usize = 64 << 20;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Shared by those who see output and those who draw conclusions.
#[derive(Debug)]
pub(in crate::run) struct Seen(Mutex<State>);

#[derive(Debug)]
struct State {
    out: TestStream,
    err: TestStream,
    last_output: Instant,
    /// What was printed since it was asked for, by package where that is told.
    capture: Option<BTreeMap<String, Vec<u8>>>,
}

impl Seen {
    /// Nothing, at `now`.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            out: TestStream::default(),
            err: TestStream::default(),
            last_output: now,
            capture: None,
        }))
    }

    /// Takes output.
    pub fn take(&self, stream: Stream, bytes: &[u8], now: Instant) {
        let mut state = self.lock();
        let State {
            out,
            err,
            last_output,
            capture,
        } = &mut *state;
        *last_output = now;
        let tests = match stream {
            Stream::Out => out,
            Stream::Err => err,
        };
        tests.feed(bytes, now, |package, text| {
            if let Some(kept) = capture {
                let kept = kept.entry(package.to_owned()).or_default();
                let room = MAX_CAPTURE.saturating_sub(kept.len());
                kept.extend_from_slice(&text[..text.len().min(room)]);
            }
        });
    }

    /// Notes that there was output which cannot be read.
    pub fn output_at(&self, at: Instant) {
        let mut state = self.lock();
        state.last_output = state.last_output.max(at);
    }

    /// When there was output last; at first, when watching began.
    pub fn last_output(&self) -> Instant {
        self.lock().last_output
    }

    /// The tests that are running, those that have run longest first.
    pub fn running(&self) -> Vec<Running> {
        let state = self.lock();
        let mut all = state.out.book().running();
        all.extend(state.err.book().running());
        all
    }

    /// Keeps what is printed from now on.
    pub fn begin_capture(&self) {
        self.lock().capture = Some(BTreeMap::new());
    }

    /// Ends that, and hands it over, package by package.
    pub fn end_capture(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().capture.take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing worse than a line too few.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tests_and_times_of_both_streams() {
        let begin = Instant::now();
        let seen = Seen::new(begin);
        let later = begin + Duration::from_secs(5);
        seen.take(Stream::Err, b"building\n", begin);
        seen.take(
            Stream::Out,
            b"=== RUN   TestA\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n",
            later,
        );
        assert_eq!(seen.last_output(), later);
        seen.output_at(begin);
        assert_eq!(seen.last_output(), later);
        let running = seen.running();
        assert_eq!((running.len(), running[0].test.as_str()), (1, "TestB"));
    }

    #[test]
    fn what_tests_print_is_kept_when_asked_for() {
        let now = Instant::now();
        let seen = Seen::new(now);
        seen.take(Stream::Out, b"before\n", now);
        seen.begin_capture();
        let json = br#"{"Action":"output","Package":"p","Output":"SIGQUIT: quit\n"}"#;
        seen.take(Stream::Out, &[&json[..], b"\n"].concat(), now);
        seen.take(Stream::Err, b"plain\n", now);
        let want = BTreeMap::from([
            (String::new(), b"plain\n".to_vec()),
            ("p".to_owned(), b"SIGQUIT: quit\n".to_vec()),
        ]);
        assert_eq!(seen.end_capture(), want);
        assert!(seen.end_capture().is_empty());
    }
}
