//! An episode as one line for people.

use super::jsonl::largest_kind;
use crate::event::Episode;
use crate::process::escape;
use crate::units::duration;

/// The line of an episode, without a newline. Times count from
/// `window_start_ns`; `cgroup` is the thread's group, if known.
#[must_use]
pub fn episode_line(episode: &Episode, window_start_ns: u64, cgroup: Option<&str>) -> String {
    // Episodes from before the window do not exist; were there one, its
    // absolute time shows it.
    let at = episode
        .sent_ns
        .checked_sub(window_start_ns)
        .unwrap_or(episode.sent_ns);
    let mut line = format!(
        "{:>5}.{:06}  {} (pid {} tid {})",
        at / 1_000_000_000,
        at / 1_000 % 1_000_000,
        escape(&episode.comm),
        episode.process.pid,
        episode.tid,
    );
    let age = duration(episode.end_ns.wrapping_sub(episode.sent_ns));
    line.push_str(&match episode.latency_ns() {
        Some(_) => format!(": {age}, {}", episode.cause.name()),
        None => format!(": {} after {age}", episode.outcome.name()),
    });
    if episode.outcome == gohang_common::cause::Outcome::DeliveredNoHandler {
        line.push_str(", no handler");
    }
    let parts = parts(episode);
    if !parts.is_empty() {
        line.push_str(&format!(" ({parts})"));
    }
    if let Some(goid) = episode.goid {
        line.push_str(&format!("; goroutine {goid}"));
    }
    if let Some(function) = episode
        .place
        .as_ref()
        .and_then(|place| place.function.as_ref())
    {
        line.push_str(&format!("; interrupted {}", escape(function)));
    }
    match episode.coalesced {
        0 => (),
        1 => line.push_str("; 1 more send absorbed"),
        n => line.push_str(&format!("; {n} more sends absorbed")),
    }
    let to = if episode.process_directed {
        " to the process"
    } else {
        ""
    };
    line.push_str(&match episode.sender_pid {
        Some(pid) if pid == episode.process.pid && to.is_empty() => String::new(),
        Some(pid) => format!("; sent by pid {pid}{to}"),
        None => format!("; sent by the kernel{to}"),
    });
    if let Some(path) = cgroup {
        line.push_str(&format!("; in {}", escape(path)));
    }
    line
}

/// Components that are not nothing, largest first.
fn parts(episode: &Episode) -> String {
    let sums = &episode.parts;
    let blocked = match largest_kind(&episode.blocked_kinds) {
        Some(kind) => format!("blocked ({kind})"),
        None => "blocked".to_owned(),
    };
    let throttled = if episode.estimate {
        "throttled about"
    } else {
        "throttled"
    };
    let mut parts = [
        (sums.throttled, throttled),
        (sums.masked, "masked"),
        (sums.blocked, blocked.as_str()),
        (sums.runqueue, "runqueue"),
        (sums.running, "running"),
    ];
    parts.sort_by_key(|part| std::cmp::Reverse(part.0));
    let said: Vec<String> = parts
        .iter()
        .filter(|part| part.0 > 0)
        .map(|(ns, name)| format!("{name} {}", duration(*ns)))
        .collect();
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BlockedKinds;
    use crate::sink::sample;
    use gohang_common::cause::{Cause, Outcome, Sums};

    #[test]
    fn lines_read_like_this() {
        let base = sample::episode();
        let quick = Episode {
            end_ns: base.sent_ns + 6_400,
            parts: Sums {
                running: 6_400,
                ..Sums::default()
            },
            blocked_kinds: BlockedKinds::default(),
            cause: Cause::Running,
            goid: None,
            place: None,
            handler: None,
            handler_place: None,
            sender_tid: None,
            coalesced: 0,
            ..base.clone()
        };
        for (episode, cgroup, want) in [
            (
                base.clone(),
                Some("/team/a"),
                "    3.200000  server (pid 1234 tid 1240): 88 ms, throttled (throttled 86 ms, runqueue \
                 1.0 ms, blocked (stopped) 600 us, running 400 us); goroutine 17; interrupted \
                 main.(*server).run; 3 more sends absorbed; in /team/a",
            ),
            (
                quick.clone(),
                None,
                "    3.200000  server (pid 1234 tid 1240): 6.4 us, running (running 6.4 us)",
            ),
            (
                Episode {
                    outcome: Outcome::PendingAtEnd,
                    sender_pid: None,
                    process_directed: true,
                    coalesced: 1,
                    estimate: true,
                    parts: Sums {
                        throttled: 6_400,
                        ..Sums::default()
                    },
                    ..quick.clone()
                },
                None,
                "    3.200000  server (pid 1234 tid 1240): pending_at_end after 6.4 us (throttled about \
                 6.4 us); 1 more send absorbed; sent by the kernel to the process",
            ),
            (
                Episode {
                    outcome: Outcome::DeliveredNoHandler,
                    comm: b"\x1b[2J\xff".to_vec(),
                    sender_pid: Some(9),
                    ..quick
                },
                Some("/\x07"),
                "    3.200000  \\x1b[2J\\xff (pid 1234 tid 1240): 6.4 us, running, no handler (running \
                 6.4 us); sent by pid 9; in /\\x07",
            ),
        ] {
            assert_eq!(episode_line(&episode, 1_800_000_000, cgroup), want);
        }
    }
}
