//! Which tests are running.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::line::{Event, Result, parse};
use super::printed::{Printed, Text};

/// Most tests that are remembered as running; more are counted and forgotten.
const MAX_RUNNING: usize = 10_000;
/// Most that are remembered as ended; more are only counted.
const MAX_ENDED: usize = 100_000;

/// A test that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its package; empty where the output does not tell it.
    pub package: String,
    /// Its name, with those of the tests that it is a part of.
    pub test: String,
    /// When it began, or went on after a pause.
    pub since: Instant,
    /// It waits for its turn among parallel tests.
    pub paused: bool,
}

/// How many tests have ended, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// That passed.
    pub passed: u64,
    /// That failed.
    pub failed: u64,
    /// That were skipped.
    pub skipped: u64,
}

impl Tally {
    fn count(&mut self, result: Result) {
        match result {
            Result::Pass => self.passed += 1,
            Result::Fail => self.failed += 1,
            Result::Skip => self.skipped += 1,
        }
    }
}

/// A test or package that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its package; empty where the output does not tell it.
    pub package: String,
    /// Its name; empty for the package as a whole.
    pub test: String,
    /// How it ended.
    pub result: Result,
    /// How long it took, where that is told.
    pub took: Option<Duration>,
    /// What it printed, unless it passed.
    pub printed: Text,
}

/// Whose the next line is, where lines do not tell.
#[derive(Debug, Clone, Default)]
enum Speaker {
    /// The package's own.
    #[default]
    Package,
    /// A test's that runs.
    Running((String, String)),
    /// A test's that has ended: plain output has what it printed behind its result.
    Ended(usize),
}

/// The tests of a `go test`, as its output tells of them.
#[derive(Debug, Clone, Default)]
pub struct Book {
    running: BTreeMap<(String, String), (Instant, bool)>,
    ended: Vec<Ended>,
    ended_total: u64,
    /// From here on tests have ended whose package is not told yet.
    without_package: usize,
    printed: Printed,
    speaker: Speaker,
    tally: Tally,
    last_event: Option<Instant>,
    events: u64,
}

impl Book {
    /// Takes an event, which was read at `now`.
    pub fn take(&mut self, event: &Event<'_>, now: Instant) {
        let key = |package: &str, test: &str| (package.to_owned(), test.to_owned());
        if let Event::Name(package, test) = *event {
            self.speaker = Speaker::Running(key(package, test));
            return;
        }
        self.last_event = Some(now);
        self.events += 1;
        match *event {
            Event::PackageStart(_) | Event::Name(..) => {}
            Event::Run(package, test) | Event::Cont(package, test) => {
                let key = key(package, test);
                self.speaker = Speaker::Running(key.clone());
                if self.running.len() < MAX_RUNNING {
                    self.running.insert(key, (now, false));
                }
            }
            Event::Pause(package, test) => {
                self.speaker = Speaker::Package;
                if let Some(state) = self.running.get_mut(&key(package, test)) {
                    state.1 = true;
                }
            }
            Event::End(package, test, result, took) => {
                let key = key(package, test);
                self.running.remove(&key);
                self.speaker = match (result, test.rsplit_once('/')) {
                    (Result::Pass, Some((whole, _))) => {
                        Speaker::Running((package.to_owned(), whole.to_owned()))
                    }
                    (Result::Pass, None) => Speaker::Package,
                    (Result::Fail | Result::Skip, _) => Speaker::Ended(self.ended.len()),
                };
                self.has_ended(key, result, took);
                self.tally.count(result);
            }
            Event::PackageEnd(package, result) => self.package_has_ended(package, result),
        }
    }

    /// Takes what `package`, or a test of it, printed.
    pub fn says(&mut self, (package, test): (&str, &str), text: &[u8]) {
        if !is_of_framework(text) {
            self.printed
                .add((package.to_owned(), test.to_owned()), text);
        }
    }

    /// Takes a line that is no event, of output that does not tell whose it is: that of whom
    /// the framework named last.
    pub fn says_next(&mut self, line: &[u8]) {
        if is_of_framework(line) {
            self.speaker = Speaker::Package;
            return;
        }
        match &self.speaker {
            Speaker::Package => self.printed.add((String::new(), String::new()), line),
            Speaker::Running(of) => self.printed.add(of.clone(), line),
            Speaker::Ended(index) => {
                if let Some(ended) = self.ended.get_mut(*index) {
                    self.printed.add_to(&mut ended.printed, line);
                }
            }
        }
    }

    /// Notes that `package` could not be built, and what printed why.
    pub fn failed_build(&mut self, package: &str, build: &str) {
        let why = self.printed.take(&(build.to_owned(), String::new()));
        self.printed.put((package.to_owned(), String::new()), why);
    }

    /// What a test that runs has printed so far.
    #[must_use]
    pub fn printed(&self, package: &str, test: &str) -> Option<&Text> {
        self.printed.of(&(package.to_owned(), test.to_owned()))
    }

    /// What did not end by then never will. Without packages, `-v` has one after the other.
    fn package_has_ended(&mut self, package: &str, result: Result) {
        self.speaker = Speaker::Package;
        let is_of_it = |of: &str| of == package || of.is_empty();
        if result == Result::Fail {
            // A panic elsewhere, an exit, `-timeout`: what ran then has failed as well.
            let running = self.running.iter();
            let cut_off = running.filter(|((of, _), (_, paused))| is_of_it(of) && !paused);
            let cut_off: Vec<_> = cut_off.map(|(key, _)| key.clone()).collect();
            for key in cut_off {
                self.has_ended(key, Result::Fail, None);
                self.tally.count(Result::Fail);
            }
        }
        // Text names it behind its tests.
        for ended in &mut self.ended[self.without_package..] {
            if ended.package.is_empty() {
                package.clone_into(&mut ended.package);
            }
        }
        let nameless = (String::new(), String::new());
        let own = (package.to_owned(), String::new());
        if self.printed.of(&own).is_none() {
            let printed = self.printed.take(&nameless);
            self.printed.put(own.clone(), printed);
        }
        self.has_ended(own, result, None);
        self.without_package = self.ended.len();
        self.running.retain(|(of, _), _| !is_of_it(of));
        self.printed.retain(|(of, _)| !is_of_it(of));
    }

    /// The tests that are running, those that have run longest first; a test is left out as
    /// long as a part of it runs, and paused ones as long as others run.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        let is_part = |(package, test): &(String, String)| {
            let within = format!("{test}/");
            self.running
                .range((package.clone(), within.clone())..)
                .next()
                .is_some_and(|((of, part), _)| of == package && part.starts_with(&within))
        };
        let leaves = self.running.iter().filter(|(key, _)| !is_part(key));
        let mut all: Vec<Running> = leaves
            .map(|((package, test), &(since, paused))| Running {
                package: package.clone(),
                test: test.clone(),
                since,
                paused,
            })
            .collect();
        if all.iter().any(|running| !running.paused) {
            all.retain(|running| !running.paused);
        }
        all.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.test.cmp(&b.test)));
        all
    }

    /// Since when the test has run that has run longest, with those that have parts, and
    /// without those that are paused.
    #[must_use]
    pub fn longest_running(&self) -> Option<Instant> {
        let all = self.running.values().filter(|(_, paused)| !paused);
        all.map(|&(since, _)| since).min()
    }

    fn has_ended(&mut self, key: (String, String), result: Result, took: Option<Duration>) {
        self.ended_total += 1;
        if result == Result::Pass || self.ended.len() >= MAX_ENDED {
            self.printed.forget(&key);
        }
        if self.ended.len() < MAX_ENDED {
            let printed = self.printed.take(&key);
            let (package, test) = key;
            self.ended.push(Ended {
                package,
                test,
                result,
                took,
                printed,
            });
        }
    }

    /// The tests and packages that have ended, in that order, the first hundred thousand.
    #[must_use]
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// How many tests and packages have ended.
    #[must_use]
    pub fn ended_total(&self) -> u64 {
        self.ended_total
    }

    /// How many events were read.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many have ended.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// When the last event was read.
    #[must_use]
    pub fn last_event(&self) -> Option<Instant> {
        self.last_event
    }
}

/// Whether the framework printed a line: that is told otherwise.
fn is_of_framework(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    matches!(line, b"PASS" | b"FAIL") || std::str::from_utf8(line).is_ok_and(|l| parse(l).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(book: &Book) -> Vec<String> {
        let running = book.running();
        running.iter().map(|running| running.test.clone()).collect()
    }

    #[test]
    fn parts_stand_for_their_whole_and_paused_ones_come_last() {
        let mut book = Book::default();
        let mut now = Instant::now();
        let mut take = |book: &mut Book, event: Event<'_>| {
            now += Duration::from_secs(1);
            book.take(&event, now);
        };
        take(&mut book, Event::PackageStart("p"));
        take(&mut book, Event::Run("p", "TestA"));
        take(&mut book, Event::Run("p", "TestA/x"));
        take(&mut book, Event::Run("p", "TestAbc"));
        take(&mut book, Event::Run("q", "TestA"));
        assert_eq!(names(&book), ["TestA/x", "TestAbc", "TestA"]);
        take(&mut book, Event::Pause("p", "TestAbc"));
        assert_eq!(names(&book), ["TestA/x", "TestA"]);
        take(&mut book, Event::End("p", "TestA/x", Result::Pass, None));
        take(&mut book, Event::End("p", "TestA", Result::Fail, None));
        take(&mut book, Event::End("q", "TestA", Result::Skip, None));
        assert_eq!(names(&book), ["TestAbc"]);
        assert!(book.running()[0].paused);
        take(&mut book, Event::Cont("p", "TestAbc"));
        assert!(!book.running()[0].paused);
        take(&mut book, Event::PackageEnd("p", Result::Fail));
        assert_eq!(names(&book), [""; 0]);
        let tally = Tally {
            passed: 1,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(book.tally(), tally);
        assert_eq!(book.last_event(), Some(now));
        let ended: Vec<_> = book
            .ended()
            .iter()
            .map(|ended| (ended.test.as_str(), ended.result))
            .collect();
        let want = [
            ("TestA/x", Result::Pass),
            ("TestA", Result::Fail),
            ("TestA", Result::Skip),
            ("TestAbc", Result::Fail),
            ("", Result::Fail),
        ];
        assert_eq!(ended, want);
        assert_eq!((book.ended_total(), book.events()), (5, 11));
    }

    #[test]
    fn what_has_ended_is_remembered_with_its_package() {
        let mut book = Book::default();
        let now = Instant::now();
        let took = Some(Duration::from_millis(250));
        for event in [
            Event::Run("", "TestA"),
            Event::End("", "TestA", Result::Pass, took),
            Event::PackageEnd("p", Result::Pass),
            Event::End("", "TestB", Result::Fail, None),
            Event::PackageEnd("q", Result::Fail),
            Event::End("r", "TestC", Result::Skip, None),
        ] {
            book.take(&event, now);
        }
        let ended = |package: &str, test: &str, result, took| Ended {
            package: package.into(),
            test: test.into(),
            result,
            took,
            printed: Text::default(),
        };
        let want = [
            ended("p", "TestA", Result::Pass, took),
            ended("p", "", Result::Pass, None),
            ended("q", "TestB", Result::Fail, None),
            ended("q", "", Result::Fail, None),
            ended("r", "TestC", Result::Skip, None),
        ];
        assert_eq!((book.ended(), book.ended_total()), (&want[..], 5));
    }

    #[test]
    fn without_packages_the_end_of_one_ends_them_all() {
        let mut book = Book::default();
        let now = Instant::now();
        book.take(&Event::Run("", "TestA"), now);
        book.take(&Event::Run("other", "TestB"), now);
        book.take(&Event::PackageEnd("p", Result::Fail), now);
        assert_eq!(names(&book), ["TestB"]);
    }
}
