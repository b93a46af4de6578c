//! A move to another group as text.

use super::{Page, known};
use crate::inspect::model::{Move, Place};
use crate::units::{cpus, duration};

/// One move.
#[must_use]
pub fn move_text(one: &Move, width: usize) -> String {
    let mut page = Page::new(width);
    add(&mut page, one);
    page.text
}

pub(super) fn add(page: &mut Page, one: &Move) {
    let what = match (one.done, one.ours) {
        (false, _) => "would be moved (give --yes to do it)",
        (true, true) => "was moved",
        (true, false) => "was moved by someone else",
    };
    page.head(&format!("process {} {what}", one.pid));
    place(page, "before", &one.before);
    place(page, "after", &one.after);
    for thread in &one.after.threads {
        let Some(before) = one.before.threads.iter().find(|own| own.tid == thread.tid) else {
            page.row("thread", &format!("{} is new", thread.tid));
            continue;
        };
        let grown = |before: u64, after: u64| after.saturating_sub(before);
        let place = |own: &Option<crate::inspect::Name>, of: &Place| match own.as_ref() {
            Some(own) => own.to_string(),
            None => group(of),
        };
        page.row(
            "thread",
            &format!(
                "{} ({}): {} -> {}, CPUs {} -> {}, switches +{} voluntary, +{} involuntary",
                thread.tid,
                thread.comm,
                place(&before.cgroup, &one.before),
                place(&thread.cgroup, &one.after),
                before.cpus_allowed,
                thread.cpus_allowed,
                grown(before.voluntary_switches, thread.voluntary_switches),
                grown(before.involuntary_switches, thread.involuntary_switches)
            ),
        );
    }
    if one.done {
        let periods = one
            .throttled_periods
            .map_or("unknown".to_owned(), |periods| periods.to_string());
        page.row(
            "throttled since",
            &format!(
                "{periods} periods, {} over its run queues, in {}",
                known(one.throttled_ns),
                duration(one.watched_ns)
            ),
        );
    }
    page.row("runtime", &one.runtime);
    page.row("verdict", &one.verdict);
}

fn group(place: &Place) -> String {
    let group = place.cgroup.as_ref();
    group.map_or("unknown".to_owned(), ToString::to_string)
}

fn place(page: &mut Page, label: &str, own: &Place) {
    let limit = own.limit.as_ref().map_or("no limit".to_owned(), |limit| {
        format!("{} CPUs by {}", cpus(limit.cpus), limit.path)
    });
    let number = |value: Option<u32>| value.map_or("unknown".to_owned(), |value| value.to_string());
    page.row(
        label,
        &format!(
            "{}, {limit}, CPUs {}, GOMAXPROCS {} (computed {})",
            group(own),
            own.cpus_allowed,
            number(own.gomaxprocs),
            number(own.computed)
        ),
    );
}
