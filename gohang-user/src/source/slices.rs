//! Slices that were over before their process was probed.

use std::collections::HashMap;

use super::Item;
use crate::event::{Event, ProcessEvent};

/// Takes the lateness off requests whose slice may have been asked for before anybody
/// looked: the first request that is seen of such a slice need not be its first, and says
/// how long the slice has lasted, not how late sysmon was.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// Since when each process is probed, by process id, CLOCK_MONOTONIC ns.
    since: HashMap<u32, u64>,
}

impl Slices {
    /// Looks at an item on its way to everybody else, in order.
    pub fn look(&mut self, item: &mut Item) {
        match item {
            Item::Found(facts) => {
                // Recordings of before do not have it, and requests are of probed programs.
                let since = facts.probed_since_ns.unwrap_or(facts.traced_since_ns);
                self.since.insert(facts.pid, since);
            }
            Item::Event(Event::Process(record)) if record.event == ProcessEvent::Exit => {
                self.since.remove(&record.id.pid);
            }
            Item::Event(Event::Request(request)) => {
                let since = self.since.get(&request.process.pid).copied();
                // When sysmon would have asked, had it not been late.
                let due = |late| request.requested_ns.saturating_sub(late);
                let is_known = |late| since.is_some_and(|since| due(late) >= since);
                request.late_ns = request.late_ns.filter(|late| is_known(*late));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RequestEnd, sample};
    use crate::source::Facts;

    fn found(probed_since_ns: Option<u64>) -> Item {
        Item::Found(Box::new(Facts {
            pid: 7,
            probed_since_ns,
            ..Facts::default()
        }))
    }

    /// Of a request at 2000, 500 late.
    fn lateness(slices: &mut Slices) -> Option<u64> {
        let request = sample::request(2_000, RequestEnd::YieldedAsync);
        let mut item = Item::Event(Event::Request(request));
        slices.look(&mut item);
        match item {
            Item::Event(Event::Request(request)) => request.late_ns,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lateness_is_known_of_slices_that_were_over_after_the_probes_came() {
        let mut slices = Slices::default();
        assert_eq!(lateness(&mut slices), None);
        slices.look(&mut found(Some(1_501)));
        assert_eq!(lateness(&mut slices), None);
        slices.look(&mut found(Some(1_500)));
        assert_eq!(lateness(&mut slices), Some(500));
        slices.look(&mut found(None));
        assert_eq!(lateness(&mut slices), Some(500));
    }
}
