//! A stream of output, in pieces of any size, as lines.

use std::time::Instant;

use super::book::Book;
use super::line::{Json, parse};

/// Longest line that is looked into; of a longer one its beginning is.
const MAX_LINE: usize = 64 << 10;

/// The form that the output has, as far as it has shown itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Nothing of a `go test` was seen.
    #[default]
    Unknown,
    /// `go test -json`.
    Json,
    /// `go test -v`, or plain.
    Text,
}

/// Reads what a command prints, and tells of its tests if it is a `go test`.
#[derive(Debug, Default)]
pub struct TestStream {
    line: Vec<u8>,
    /// The rest of the line is passed over.
    skipping: bool,
    form: Form,
    book: Book,
}

impl TestStream {
    /// Takes the next piece, read at `now`. `printed` is given what the command's tests (or
    /// the command) printed, line by line with its line break, and the package where it is
    /// told.
    pub fn feed(&mut self, piece: &[u8], now: Instant, mut printed: impl FnMut(&str, &[u8])) {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            let room = MAX_LINE - self.line.len();
            if !self.skipping {
                self.line.extend_from_slice(&part[..part.len().min(room)]);
                self.skipping = part.len() > room;
            }
            if part.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                self.take(&line, now, &mut printed);
                self.line = line;
                self.line.clear();
                self.skipping = false;
            }
        }
    }

    /// The tests.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The form of the output.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    fn take(&mut self, line: &[u8], now: Instant, printed: &mut impl FnMut(&str, &[u8])) {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some(json) = Json::read(bare) {
            if let Some(event) = json.event() {
                self.form = Form::Json;
                if let Some(build) = json.failed_build() {
                    self.book.failed_build(json.package(), build);
                }
                self.book.take(&event, now);
            }
            match json.output() {
                Some(output) => {
                    self.book.says(json.speaker(), output.as_bytes());
                    printed(json.package(), output.as_bytes());
                }
                None if self.form == Form::Json => {}
                None => printed("", line),
            }
            return;
        }
        printed("", line);
        // In JSON, tests speak through its lines alone.
        if self.form == Form::Json {
            return;
        }
        match std::str::from_utf8(bare).ok().and_then(parse) {
            Some(event) => {
                self.form = Form::Text;
                self.book.take(&event, now);
            }
            None => self.book.says_next(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "=== RUN   TestA\nhello\n=== RUN   TestA/b\n    a_test.go:5: x\n\
        --- PASS: TestA (0.00s)\n=== RUN   TestC\n";
    const JSON: &str = r#"{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestZ (0.00s)\n"}
not of it
"#;

    fn read(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<String>, Form, Vec<u8>) {
        let mut stream = TestStream::default();
        let mut all = Vec::new();
        let now = Instant::now();
        for piece in pieces {
            stream.feed(&piece, now, |_, text| all.extend_from_slice(text));
        }
        let running = stream.book().running();
        let names = running.iter().map(|r| format!("{} {}", r.package, r.test));
        (names.collect(), stream.form(), all)
    }

    #[test]
    fn text_and_json() {
        let (running, form, printed) = read(std::iter::once(TEXT.as_bytes().to_vec()));
        assert_eq!(running, [" TestA/b", " TestC"]);
        assert_eq!((form, printed.as_slice()), (Form::Text, TEXT.as_bytes()));
        let (running, form, printed) = read(std::iter::once(JSON.as_bytes().to_vec()));
        assert_eq!((running, form), (vec!["p TestA".to_owned()], Form::Json));
        let text = String::from_utf8(printed).unwrap();
        assert_eq!(
            text,
            "=== RUN   TestA\n--- PASS: TestZ (0.00s)\nnot of it\n"
        );
    }

    /// What those that have ended printed, and what those that run have so far.
    fn printed(text: &str) -> Vec<(String, String)> {
        let mut stream = TestStream::default();
        stream.feed(text.as_bytes(), Instant::now(), |_, _| ());
        let book = stream.book();
        let ended = book.ended().iter().map(|ended| {
            let name = format!("{} {}", ended.package, ended.test);
            (name, ended.printed.to_text())
        });
        let running = book.running().into_iter().map(|running| {
            let text = book.printed(&running.package, &running.test);
            let text = text.map_or_else(String::new, |text| text.to_text());
            (format!("{} {}", running.package, running.test), text)
        });
        let all = ended.chain(running);
        all.filter(|(_, text)| !text.is_empty()).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn what_tests_print_while_they_run() {
        let text = "=== RUN   TestA\nfine\n--- PASS: TestA (0.00s)\n=== RUN   TestB\n\
            a line\n=== RUN   TestB/sub\n    b_test.go:5: sub\n=== NAME  TestB\n    \
            b_test.go:9: whole\n--- FAIL: TestB (0.00s)\n    --- FAIL: TestB/sub (0.00s)\n\
            === RUN   TestC\n    c_test.go:3: not here\n--- SKIP: TestC (0.00s)\n\
            === RUN   TestD\nlast words\nFAIL\nexit status 3\nFAIL\tp\t0.01s\n\
            === RUN   TestE\nso far\n";
        let want = [
            ("p TestB", "a line\n    b_test.go:9: whole\n"),
            ("p TestB/sub", "    b_test.go:5: sub\n"),
            ("p TestC", "    c_test.go:3: not here\n"),
            ("p TestD", "last words\n"),
            ("p ", "exit status 3\n"),
            (" TestE", "so far\n"),
        ];
        assert_eq!(printed(text), pairs(&want));
    }

    #[test]
    fn what_tests_print_behind_their_results() {
        let text = "--- FAIL: TestA (0.00s)\n    a_test.go:5: x\n    --- FAIL: TestA/b (0.00s)\n\
            \ta_test.go:7: y\npanic: oops\n\ngoroutine 7 [running]:\nFAIL\tp\t0.01s\nFAIL\n\
            # q\n./q.go:3: undefined: x\nFAIL\tq [build failed]\nhello\nok  \tr\t0.01s\n";
        let want = [
            ("p TestA", "    a_test.go:5: x\n"),
            (
                "p TestA/b",
                "\ta_test.go:7: y\npanic: oops\n\ngoroutine 7 [running]:\n",
            ),
            ("q ", "# q\n./q.go:3: undefined: x\n"),
        ];
        assert_eq!(printed(text), pairs(&want));
    }

    #[test]
    fn what_tests_print_in_json() {
        let text = r##"{"ImportPath":"q [q.test]","Action":"build-output","Output":"# q\n"}
{"ImportPath":"q [q.test]","Action":"build-fail"}
{"Action":"fail","Package":"q","Elapsed":0,"FailedBuild":"q [q.test]"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"b"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:5: x\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Test":"TestC","Output":"fine\n"}
{"Action":"pass","Package":"p","Test":"TestC","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestB","Output":" and more\n"}
"##;
        let want = [
            ("q ", "# q\n"),
            ("p TestA", "    a_test.go:5: x\n"),
            ("p TestB", "b and more\n"),
        ];
        assert_eq!(printed(text), pairs(&want));
    }

    #[test]
    fn json_of_another_kind_is_what_it_is() {
        let text = b"{\"level\":\"info\",\"Action\":\"open\"}\n".to_vec();
        let (running, form, printed) = read(std::iter::once(text.clone()));
        assert!(running.is_empty());
        assert_eq!((form, printed), (Form::Unknown, text));
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_room() {
        let mut stream = TestStream::default();
        let now = Instant::now();
        let mut longest = 0;
        for _ in 0..100 {
            stream.feed(&[b'x'; 10_000], now, |_, _| ());
            assert!(stream.line.len() <= MAX_LINE);
        }
        stream.feed(b"\n=== RUN   TestA\n", now, |_, text| {
            longest = longest.max(text.len())
        });
        assert_eq!(longest, MAX_LINE);
        assert_eq!(stream.book().running().len(), 1);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            cuts in proptest::collection::vec(1usize..20, 1..60),
            json: bool,
        ) {
            let whole = if json { JSON } else { TEXT }.as_bytes();
            let mut at = 0;
            let mut cuts = cuts.into_iter().cycle();
            let pieces = std::iter::from_fn(|| {
                let from = at;
                at = whole.len().min(at + cuts.next()?);
                (from < at).then(|| whole[from..at].to_vec())
            });
            prop_assert_eq!(read(pieces), read(std::iter::once(whole.to_vec())));
        }

        #[test]
        fn anything_is_taken(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..100), 0..10)) {
            let whole: Vec<u8> = pieces.concat();
            let (_, _, printed) = read(pieces.into_iter());
            // Nothing but an unfinished line is held back.
            let complete = whole.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            prop_assert_eq!(&printed[..], &whole[..complete]);
        }
    }
}
