//! What was seen of the command's output.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::golang::gotest::{self, Running, TestStream, Text};
use crate::run::evidence::{EndedTest, RunningTest, Tail, TestOutcome, Tests, nanoseconds};

/// Most bytes of a dump that are kept; ten thousand goroutines have some 5 MB.
const MAX_CAPTURE: usize = 64 << 20;
/// Bytes of the output's end that are kept.
const TAIL: usize = 256 << 10;

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
    total_bytes: u64,
    /// The end of the output, and perhaps as much again in front of it.
    tail: Vec<u8>,
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
            total_bytes: 0,
            tail: Vec::new(),
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
            total_bytes,
            tail,
            capture,
        } = &mut *state;
        *last_output = now;
        *total_bytes += bytes.len() as u64;
        tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        if tail.len() > 2 * TAIL {
            tail.drain(..tail.len() - TAIL);
        }
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

    /// Since when the test has run that has run longest, of those that are not paused.
    pub fn longest_running(&self) -> Option<Instant> {
        let state = self.lock();
        let books = [state.out.book(), state.err.book()];
        books.iter().filter_map(|book| book.longest_running()).min()
    }

    /// The tests, as of `now`.
    pub fn tests(&self, now: Instant) -> Tests {
        let running = self.running().into_iter().map(|running| RunningTest {
            package: running.package,
            test: running.test,
            ran_ns: nanoseconds(now.saturating_duration_since(running.since)),
            paused: running.paused,
        });
        let running: Vec<RunningTest> = running.collect();
        let state = self.lock();
        let books = [state.out.book(), state.err.book()];
        let output = running.iter().map(|running| {
            let mut books = books.iter();
            let text = books.find_map(|book| book.printed(&running.package, &running.test));
            text.map_or_else(String::new, Text::to_text)
        });
        let ended = books.iter().flat_map(|book| book.ended());
        let last = books.iter().filter_map(|book| book.last_event()).max();
        Tests {
            running_output: output.collect(),
            running,
            ended: ended.map(ended_test).collect(),
            ended_total: books.iter().map(|book| book.ended_total()).sum(),
            last_event_ago_ns: last.map(|at| nanoseconds(now.saturating_duration_since(at))),
        }
    }

    /// How many events of tests there were.
    pub fn test_events(&self) -> u64 {
        let state = self.lock();
        state.out.book().events() + state.err.book().events()
    }

    /// How many bytes of output were seen.
    pub fn total_bytes(&self) -> u64 {
        self.lock().total_bytes
    }

    /// The end of the output.
    pub fn tail(&self) -> Tail {
        let state = self.lock();
        let kept = &state.tail[state.tail.len().saturating_sub(TAIL)..];
        Tail {
            text: String::from_utf8_lossy(kept).into_owned(),
            total_bytes: state.total_bytes,
            left_out_bytes: state.total_bytes - kept.len() as u64,
        }
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

fn ended_test(ended: &gotest::Ended) -> EndedTest {
    EndedTest {
        package: ended.package.clone(),
        test: ended.test.clone(),
        outcome: match ended.result {
            gotest::Result::Pass => TestOutcome::Passed,
            gotest::Result::Fail => TestOutcome::Failed,
            gotest::Result::Skip => TestOutcome::Skipped,
        },
        took_ns: ended.took.map(nanoseconds),
        output: ended.printed.to_text(),
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
    fn the_test_that_has_run_longest_is_none_that_is_paused() {
        let begin = Instant::now();
        let at = |s| begin + Duration::from_secs(s);
        let seen = Seen::new(begin);
        assert_eq!(seen.longest_running(), None);
        seen.take(Stream::Out, b"=== RUN   TestA\n=== PAUSE TestA\n", at(1));
        assert_eq!(seen.longest_running(), None);
        seen.take(Stream::Out, b"=== RUN   TestB\n", at(2));
        seen.take(Stream::Out, b"=== RUN   TestB/part\n", at(3));
        assert_eq!(seen.longest_running(), Some(at(2)));
        let ended = b"    --- PASS: TestB/part (0.00s)\n--- PASS: TestB (0.00s)\n";
        seen.take(Stream::Out, ended, at(4));
        seen.take(Stream::Out, b"=== CONT  TestA\n", at(5));
        assert_eq!(seen.longest_running(), Some(at(5)));
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

    #[test]
    fn the_end_of_the_output_and_the_tests_are_kept() {
        let now = Instant::now();
        let seen = Seen::new(now);
        seen.take(Stream::Err, b"first\n", now);
        for _ in 0..5 {
            seen.take(Stream::Err, &[b'x'; TAIL / 2], now);
        }
        seen.take(
            Stream::Out,
            b"=== RUN   TestA\nwhy\n--- FAIL: TestA (1.50s)\n=== RUN   TestB\nso far\n",
            now,
        );
        let tail = seen.tail();
        assert_eq!(tail.text.len(), TAIL);
        assert!(tail.text.ends_with("TestB\nso far\n"));
        assert_eq!(tail.total_bytes, seen.total_bytes());
        assert_eq!(tail.left_out_bytes, tail.total_bytes - TAIL as u64);
        let tests = seen.tests(now + Duration::from_secs(2));
        assert_eq!(tests.running[0].test, "TestB");
        assert_eq!(tests.running[0].ran_ns, 2_000_000_000);
        assert_eq!(tests.ended[0].outcome, TestOutcome::Failed);
        assert_eq!(tests.running_output, ["so far\n"]);
        assert_eq!(tests.ended[0].output, "why\n");
        assert_eq!(tests.ended[0].took_ns, Some(1_500_000_000));
        assert_eq!((tests.ended_total, seen.test_events()), (1, 3));
    }
}
