//! Functions that a process's signals interrupted.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::golang::{Place, SafePoint};
use crate::process::escape;
use crate::report::Interrupted;

/// Most functions with figures of their own.
const MAX_FUNCTIONS: usize = 1024;
/// Most functions in a report.
const TOP: usize = 10;

/// Figures by function; of those without a name, together.
#[derive(Debug, Default)]
pub(super) struct InterruptedData(HashMap<Option<String>, Figures>);

#[derive(Debug, Default)]
struct Figures {
    count: u64,
    total_ns: u64,
    classes: [u64; SafePoint::ALL.len()],
}

impl InterruptedData {
    /// Adds a delivered episode. Of new functions beyond [`MAX_FUNCTIONS`] it does not
    /// count any.
    pub fn add(&mut self, place: &Place, latency_ns: u64) {
        if !self.0.contains_key(&place.function) {
            if self.0.len() >= MAX_FUNCTIONS {
                return;
            }
            self.0.insert(place.function.clone(), Figures::default());
        }
        let Some(figures) = self.0.get_mut(&place.function) else {
            return;
        };
        figures.count += 1;
        figures.total_ns = figures.total_ns.saturating_add(latency_ns);
        if let Some(class) = place.safe_point {
            figures.classes[class as usize] += 1;
        }
    }

    /// The functions interrupted most often, at most [`TOP`].
    pub fn top(&self) -> Vec<Interrupted> {
        let mut ranked: Vec<_> = self.0.iter().collect();
        ranked.sort_unstable_by_key(|(function, figures)| (Reverse(figures.count), *function));
        ranked
            .into_iter()
            .take(TOP)
            .map(|(function, figures)| Interrupted {
                function: function.as_deref().map(escape),
                count: figures.count,
                total_ns: figures.total_ns,
                safe_points: SafePoint::ALL
                    .iter()
                    .zip(figures.classes)
                    .map(|(class, count)| (class.name().to_owned(), count))
                    .collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str, safe_point: SafePoint) -> Place {
        Place {
            function: Some(function.to_owned()),
            safe_point: Some(safe_point),
        }
    }

    #[test]
    fn the_most_frequent_come_first() {
        let mut data = InterruptedData::default();
        let mut unnamed = place("", SafePoint::NotGo);
        unnamed.function = None;
        for (place, count) in [
            (place("main.\x1bb", SafePoint::Marked), 1),
            (place("main.a", SafePoint::Safe), 2),
            (unnamed, 4),
            (place("main.a", SafePoint::Runtime), 3),
        ] {
            for _ in 0..count {
                data.add(&place, 10);
            }
        }
        let top = data.top();
        let names: Vec<_> = top.iter().map(|one| one.function.as_deref()).collect();
        assert_eq!(names, [Some("main.a"), None, Some("main.\\x1bb")]);
        assert_eq!((top[0].count, top[0].total_ns), (5, 50));
        let classes: Vec<_> = top[0].safe_points.iter().collect();
        let want = [
            ("assembly", 0),
            ("marked", 0),
            ("not_go", 0),
            ("runtime", 3),
            ("safe", 2),
        ];
        assert!(
            classes
                .iter()
                .zip(want)
                .all(|((name, count), want)| (name.as_str(), **count) == want)
        );
        assert_eq!(top[1].safe_points["not_go"], 4);
        assert_eq!(top[2].safe_points["marked"], 1);
    }

    #[test]
    fn their_number_is_bounded() {
        let mut data = InterruptedData::default();
        for number in 0..2 * MAX_FUNCTIONS {
            data.add(&place(&number.to_string(), SafePoint::Safe), 1);
        }
        data.add(&place("1", SafePoint::Safe), 1);
        assert_eq!(data.0.len(), MAX_FUNCTIONS);
        let top = data.top();
        assert_eq!((top.len(), top[0].count), (TOP, 2));
    }
}
