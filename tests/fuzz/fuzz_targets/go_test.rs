//! Output of `go test`, in two pieces: whatever comes, all of its lines are handed on, and the
//! pieces make no difference.
#![no_main]

use std::time::Instant;

use gohang::golang::gotest::TestStream;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let read = |pieces: &[&[u8]]| {
        let mut stream = TestStream::default();
        let mut printed = Vec::new();
        for piece in pieces {
            stream.feed(piece, now, |_, line| printed.extend_from_slice(line));
        }
        (printed, stream.book().running(), stream.book().tally())
    };
    let (a, b) = data.split_at(data.len() / 2);
    assert_eq!(read(&[data]), read(&[a, b]));
});
