//! Sentences that several rules need.

use std::time::{Duration, UNIX_EPOCH};

use crate::golang::dump::{Frame, Goroutine};
use crate::units::span;

/// A time in nanoseconds, as a person says it.
pub(in crate::run) fn time(ns: u64) -> String {
    span(Duration::from_nanos(ns))
}

/// A wall-clock time in nanoseconds since 1970, as RFC 3339 has it.
pub(in crate::run) fn wall(ns: u64) -> String {
    // 2554 at most: within what the form has room for.
    let time = UNIX_EPOCH + Duration::from_nanos(ns);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Bytes, as a person says them.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

/// CPUs as a share of one: `5 %`, `200 %`.
pub(super) fn share(cpus: f64) -> String {
    let percent = cpus * 100.0;
    if percent < 10.0 && (percent - percent.round()).abs() > 0.05 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// `main.wait (main.go:12)`.
pub(super) fn place(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    if file.is_empty() {
        return frame.function.clone();
    }
    format!("{} ({file}:{})", frame.function, frame.line)
}

/// Where a goroutine is: its innermost own place, or else where it was started.
pub(super) fn at(goroutine: &Goroutine) -> String {
    if let Some(frame) = goroutine.place() {
        return place(frame);
    }
    match &goroutine.created_by {
        Some(by) => format!("a goroutine started in {}", place(&by.frame)),
        None => "a place that is not known".to_owned(),
    }
}

/// `goroutine 7 (TestX): chan receive for 3 min at main.wait (main.go:12)`.
pub(super) fn goroutine(goroutine: &Goroutine) -> String {
    let header = &goroutine.header;
    let test = goroutine.test().map_or_else(String::new, |test| {
        format!(" ({})", test.rsplit('/').next().unwrap_or(test))
    });
    let status = if goroutine.unavailable {
        "did not stop when asked to"
    } else {
        &header.status
    };
    let minutes = header
        .minutes
        .map_or_else(String::new, |minutes| format!(" for {minutes} min"));
    format!(
        "goroutine {}{test}: {status}{minutes} at {}",
        header.id,
        at(goroutine)
    )
}

/// A word for a shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A command for a shell, not all too long.
pub(super) fn command(words: &[String]) -> String {
    const MOST: usize = 200;
    let text = words.iter().map(|word| quoted(word)).collect::<Vec<_>>();
    let mut text = text.join(" ");
    if let Some((at, _)) = text.char_indices().nth(MOST) {
        text.truncate(at);
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people_and_shells() {
        assert_eq!(share(0.05), "5 %");
        assert_eq!(share(0.025), "2.5 %");
        assert_eq!(share(2.0), "200 %");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        let words = ["go", "test", "-run", "^TestA$", "it's"].map(str::to_owned);
        assert_eq!(command(&words), r"go test -run '^TestA$' 'it'\''s'");
        assert!(command(&["x".repeat(500)]).len() < 210);
    }
}
