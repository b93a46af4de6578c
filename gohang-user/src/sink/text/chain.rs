//! The preemption chain of a process: a row a link, what came of requests, stops.

use super::TextOptions;
use super::block::{INDENT, by_cause, cause_words};
use super::layout::{Align, Table, wrap};
use crate::process::escape;
use crate::report::{Chain, LongStop, Process, Stops};
use crate::units::{duration, duration_or_dash, percent};

/// Everything of a process that has any; nothing else.
pub(super) fn lines(process: &Process, options: &TextOptions) -> Vec<String> {
    let Some(chain) = &process.chain else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    if chain.requests > 0 {
        lines.extend(counts(chain, options));
        lines.extend(links(process, chain, options));
        lines.extend(ends(chain, options));
    }
    lines.extend(stops(&chain.stops, options));
    lines
}

/// How many came how far.
fn counts(chain: &Chain, options: &TextOptions) -> Vec<String> {
    let text = format!(
        "asked to yield {} times ({}): {} signals sent, {} reached the runtime, {} made a goroutine yield",
        chain.requests,
        ranked(&chain.askers, asker),
        chain.sent,
        chain.delivered,
        chain.yielded,
    );
    wrap(&text, "  ", INDENT + 2, options.width)
}

/// The links, and what the time of those went to that is known.
fn links(process: &Process, chain: &Chain, options: &TextOptions) -> Vec<String> {
    let mut table = Table::new(&[
        ("step", Align::Left),
        ("times", Align::Right),
        ("median", Align::Right),
        ("p99", Align::Right),
        ("longest", Align::Right),
    ]);
    for (name, link) in chain.links.named() {
        if link.count == 0 {
            continue;
        }
        table.row([
            words(name).to_owned(),
            link.count.to_string(),
            duration_or_dash(link.p50_ns),
            duration_or_dash(link.p99_ns),
            duration_or_dash(link.max_ns),
        ]);
    }
    let mut lines = table.lines(INDENT, options.width, options.style());
    for (name, causes) in [("late", late(chain)), ("sent_delivered", delivery(process))] {
        if !causes.is_empty() {
            let text = format!("{}: {causes}", words(name));
            lines.extend(wrap(&text, "  ", INDENT + 2, options.width));
        }
    }
    lines
}

/// What a link is.
fn words(link: &str) -> &str {
    match link {
        "late" => "slice over -> request (at least)",
        "request_sent" => "request -> sent",
        "sent_delivered" => "sent -> delivered",
        "delivered_yielded" => "delivered -> yielded",
        "yielded_running" => "yielded -> running again",
        "request_yielded" => "first request -> yielded",
        other => other,
    }
}

/// `throttled 60 %, runqueue 10 %, other 30 %` of what made sysmon late.
fn late(chain: &Chain) -> String {
    let causes = &chain.late_causes;
    shares(&[
        ("throttled", causes.throttled_ns),
        ("runqueue", causes.runqueue_ns),
        ("sysmon asleep", causes.other_ns),
    ])
}

/// The same of the signals' way, from the kernel's account.
fn delivery(process: &Process) -> String {
    let causes = by_cause(&process.causes);
    let parts: Vec<(&str, u64)> = causes
        .iter()
        .map(|(name, share)| (name.as_str(), share.total_ns))
        .collect();
    shares(&parts)
}

/// Parts with their shares, those of 1 % and more.
fn shares(parts: &[(&str, u64)]) -> String {
    let all: u64 = parts.iter().map(|(_, ns)| ns).sum();
    if all == 0 {
        return String::new();
    }
    let words: Vec<String> = parts
        .iter()
        .map(|(name, ns)| (name, *ns as f64 / all as f64))
        .filter(|(_, share)| *share >= 0.01)
        .map(|(name, share)| format!("{} {}", escape(name), percent(share)))
        .collect();
    words.join(", ")
}

/// Names with their counts, the largest first.
fn ranked(
    counts: &std::collections::BTreeMap<String, u64>,
    words: impl Fn(&str) -> String,
) -> String {
    let mut some: Vec<(&String, &u64)> = counts.iter().filter(|(_, count)| **count > 0).collect();
    some.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<String> = some
        .iter()
        .map(|(name, count)| format!("{} {count}", words(name)))
        .collect();
    words.join(", ")
}

/// Who asks, in a word or two.
fn asker(name: &str) -> String {
    match name {
        "retake" => "sysmon",
        "stop_the_world" => "stop of the world",
        "for_each_p" => "every P",
        "freeze" => "fatal error or dump",
        "enlist_worker" => "GC wants a worker",
        "suspend" => "GC scans a stack",
        other => return escape(other),
    }
    .to_owned()
}

/// What came of the requests, and what of that has no reason.
fn ends(chain: &Chain, options: &TextOptions) -> Vec<String> {
    let mut text = format!(
        "what came of them: {}",
        ranked(&chain.ends, |name| escape(name.replace('_', " ")))
    );
    let classes = ranked(&chain.unsafe_points, |name| escape(name.replace('_', " ")));
    if !classes.is_empty() {
        text.push_str(&format!(" (unsafe points: {classes})"));
    }
    let share = |part: u64, whole: u64| percent(part as f64 / whole.max(1) as f64);
    text.push_str(&format!(
        "; unexplained: {} requests without a signal ({}), {} deliveries without a yield ({})",
        chain.unexplained_sends,
        share(chain.unexplained_sends, chain.requests),
        chain.unexplained_yields,
        share(chain.unexplained_yields, chain.delivered),
    ));
    let open = &chain.open;
    if open.requests > 0 {
        text.push_str(&format!(
            "; open at the end: {} ({} sent, {} reached the runtime, {} yielded)",
            open.requests, open.sent, open.delivered, open.yielded,
        ));
    }
    wrap(&text, "  ", INDENT + 2, options.width)
}

/// Stops of the world: how long, and who was last.
fn stops(stops: &Stops, options: &TextOptions) -> Vec<String> {
    if stops.count == 0 {
        return Vec::new();
    }
    let mut text = format!("world stopped {} times", stops.count);
    for (what, times) in [
        ("until all had stopped", &stops.stopping),
        ("until they ran again", &stops.total),
    ] {
        text.push_str(&format!(
            "; {what}: median {}, p99 {}, longest {}",
            duration_or_dash(times.p50_ns),
            duration_or_dash(times.p99_ns),
            duration_or_dash(times.max_ns),
        ));
    }
    if let Some(longest) = stops.longest.first() {
        text.push_str(&last(longest));
    }
    wrap(&text, "  ", INDENT + 2, options.width)
}

/// Whom the longest stop waited for, and what that one did.
fn last(stop: &LongStop) -> String {
    let Some(tid) = stop.last_tid else {
        return String::new();
    };
    let goroutine = stop
        .last_goid
        .map_or_else(String::new, |goid| format!(" (goroutine {goid})"));
    let mut text = format!("; last to stop in the longest: thread {tid}{goroutine}");
    let parts: Vec<String> = by_cause(&stop.last_ns)
        .into_iter()
        .filter(|(_, ns)| **ns > 0)
        .map(|(name, ns)| format!("{} {}", cause_words(name), duration(*ns)))
        .collect();
    if !parts.is_empty() {
        text.push_str(&format!(": {}", parts.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    #[test]
    fn the_chain_has_a_row_a_link_and_says_what_is_not_explained() {
        let process = sample::process();
        let lines = lines(&process, &TextOptions::default());
        assert_eq!(
            lines,
            [
                "  asked to yield 97 times (sysmon 95, GC scans a stack 2): 94 signals sent, 93 reached the runtime,",
                "    90 made a goroutine yield",
                "  step                              times  median     p99  longest",
                "  slice over -> request (at least)     95  3.2 ms   67 ms    67 ms",
                "  request -> sent                      94  412 ns  412 ns   412 ns",
                "  sent -> delivered                    93  6.9 us   88 ms    88 ms",
                "  delivered -> yielded                 90  3.0 us  3.0 us   3.0 us",
                "  yielded -> running again             90  9.0 us  9.0 us   9.0 us",
                "  first request -> yielded             90   11 us   88 ms    88 ms",
                "  slice over -> request (at least): throttled 80 %, runqueue 10 %, sysmon asleep 10 %",
                "  sent -> delivered: throttled 98 %, runqueue 1 %, running 1 %",
                "  what came of them: yielded async 90, unsafe point 3, already pending 2, not sent 1, superseded 1",
                "    (unsafe points: assembly 3); unexplained: 1 requests without a signal (1 %), 0 deliveries",
                "    without a yield (0 %); open at the end: 2 (1 sent, 1 reached the runtime, 0 yielded)",
                "  world stopped 2 times; until all had stopped: median 21 us, p99 71 ms, longest 71 ms; until they",
                "    ran again: median 51 us, p99 71 ms, longest 71 ms; last to stop in the longest: thread 1241",
                "    (goroutine 18): throttled (out of quota) 70 ms, running (on a CPU) 1.0 ms",
            ]
        );
    }

    #[test]
    fn without_a_chain_there_is_nothing_and_names_are_escaped() {
        let mut process = sample::process();
        let chain = process.chain.as_mut().expect("there");
        chain.ends.insert("a\x1b[2J".to_owned(), 7);
        chain.askers.insert("b\x1b[2J".to_owned(), 7);
        let text = lines(&process, &TextOptions::default()).join("\n");
        assert!(!text.contains('\x1b'), "{text}");
        process.chain = None;
        assert!(lines(&process, &TextOptions::default()).is_empty());
    }
}
