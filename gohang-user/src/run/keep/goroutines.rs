//! Goroutines by what they do, for people.

use std::fmt::Write as _;

use crate::golang::dump::{Dump, Goroutine, group};
use crate::process::escape;

/// Most ids that are listed of a group.
const IDS: usize = 20;

/// The goroutines of a dump, those that do the same together, the largest group first, those
/// of the runtime last.
pub(super) fn grouped(dump: &Dump) -> String {
    let mut text = String::new();
    if let Some(reason) = &dump.reason {
        let _ = writeln!(text, "{}\n", escape(reason));
    }
    let (runtime, own): (Vec<&Goroutine>, Vec<&Goroutine>) = dump
        .goroutines
        .iter()
        .partition(|goroutine| goroutine.is_of_runtime());
    for (title, goroutines) in [("goroutines", own), ("goroutines of the runtime", runtime)] {
        let _ = writeln!(text, "{} {title}", goroutines.len());
        let goroutines: Vec<Goroutine> = goroutines.into_iter().cloned().collect();
        for group in group(&goroutines) {
            let mut ids: Vec<String> = group.ids.iter().take(IDS).map(u64::to_string).collect();
            if group.ids.len() > IDS {
                ids.push("...".to_owned());
            }
            let minutes = group
                .minutes
                .map_or_else(String::new, |minutes| format!(", up to {minutes} min"));
            let _ = writeln!(
                text,
                "\n{} x {}{minutes}: {}",
                group.ids.len(),
                escape(&group.status),
                ids.join(", ")
            );
            if group.unavailable {
                let _ = writeln!(text, "    did not stop when asked to: no stack");
            }
            for frame in &group.frames {
                let _ = writeln!(
                    text,
                    "    {}\n        {}:{}",
                    escape(&frame.function),
                    escape(&frame.file),
                    frame.line
                );
            }
        }
        let _ = writeln!(text);
    }
    text
}
