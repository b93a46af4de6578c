//! What the goroutines of a command that hangs tell, in words.

use crate::golang::dump::{Dump, Goroutine, group, parse};
use crate::process::escape;

/// Most goroutines that are named.
const NAMED: usize = 3;

/// What the dumps say: which tests do what, or where the most goroutines wait, and who did
/// not stop when it was asked to. A line each, the most telling first.
pub(super) fn told<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let dumps: Vec<Dump> = texts
        .map(|text| parse(&String::from_utf8_lossy(text)))
        .filter(|dump| !dump.goroutines.is_empty())
        .collect();
    if dumps.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for dump in &dumps {
        lines.extend(focus(dump));
    }
    lines.truncate(NAMED);
    let all = dumps.iter().flat_map(|dump| &dump.goroutines);
    let stuck = all
        .clone()
        .filter(|goroutine| goroutine.unavailable)
        .count();
    if stuck > 0 {
        let who = match stuck {
            1 => "a goroutine".to_owned(),
            many => format!("{many} goroutines"),
        };
        lines.push(format!("{who} did not stop when asked to"));
    }
    let count = all.filter(|goroutine| !goroutine.is_of_runtime()).count();
    lines.push(match count {
        1 => "1 goroutine in all".to_owned(),
        _ => format!("{count} goroutines in all"),
    });
    lines
}

/// The goroutines in focus, the same ones in one line.
fn focus(dump: &Dump) -> Vec<String> {
    let focus: Vec<Goroutine> = dump.focus().into_iter().cloned().collect();
    let groups = group(&focus);
    let words = groups.iter().filter_map(|group| {
        let first = focus
            .iter()
            .find(|goroutine| Some(&goroutine.header.id) == group.ids.first())?;
        let who = match (first.test(), group.ids.len()) {
            (Some(test), _) => escape(test),
            (None, 1) => format!("goroutine {}", group.ids[0]),
            (None, many) => format!("{many} goroutines"),
        };
        let place = first
            .place()
            .or_else(|| first.created_by.as_ref().map(|by| &by.frame));
        let place = place.map_or_else(String::new, |frame| {
            let file = frame.file.rsplit('/').next().unwrap_or_default();
            format!(
                " at {} ({}:{})",
                escape(&frame.function),
                escape(file),
                frame.line
            )
        });
        let time = group
            .minutes
            .map_or_else(String::new, |n| format!(" for {n} min"));
        Some(format!("{who}: {}{time}{place}", escape(&group.status)))
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn dump(name: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dumps");
        std::fs::read(folder.join(name)).unwrap()
    }

    #[test]
    fn the_test_that_hangs_comes_first() {
        let text = dump("go1.27.3-timeout.txt");
        let lines = told(std::iter::once(text.as_slice()));
        let want = "example.com/hang.TestHang.func1: chan receive at example.com/hang.wait \
                    (hang_test.go:5)";
        assert_eq!(lines[0], want);
        assert_eq!(lines.last().unwrap(), "4 goroutines in all");
    }

    #[test]
    fn without_tests_the_largest_group_does() {
        let text = dump("go1.26.6.txt");
        let lines = told(std::iter::once(text.as_slice()));
        assert!(
            lines[0].starts_with("3 goroutines: chan receive at main.(*holder).receive"),
            "{lines:?}"
        );
        assert_eq!(lines.len(), NAMED + 1);
        let text = dump("go1.27.3-asyncpreemptoff.txt");
        let lines = told(std::iter::once(text.as_slice()));
        assert!(lines.contains(&"a goroutine did not stop when asked to".to_owned()));
        assert!(told(std::iter::once(&b"no dump"[..])).is_empty());
    }
}
