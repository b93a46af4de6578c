//! Which process of one run is which of the other.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::Process;

/// What two processes were matched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// Name, Go version and control group.
    NameGoCgroup,
    /// Name and control group: the Go version is another.
    NameCgroup,
    /// Name and Go version: the control group is another.
    NameGo,
    /// Name alone.
    Name,
    /// Nothing but their place in the order of importance.
    Order,
}

impl MatchedBy {
    const STAGES: [Self; 5] = [
        Self::NameGoCgroup,
        Self::NameCgroup,
        Self::NameGo,
        Self::Name,
        Self::Order,
    ];

    fn holds(self, a: &Process, b: &Process) -> bool {
        let name = a.comm == b.comm;
        match self {
            Self::NameGoCgroup => name && a.go == b.go && a.cgroup == b.cgroup,
            Self::NameCgroup => name && a.cgroup == b.cgroup,
            Self::NameGo => name && a.go == b.go,
            Self::Name => name,
            Self::Order => true,
        }
    }

    /// In words, for the ones that are not exact.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        match self {
            Self::NameGoCgroup => None,
            Self::NameCgroup => Some("matched by name and control group"),
            Self::NameGo => Some("matched by name and Go version"),
            Self::Name => Some("matched by name alone"),
            Self::Order => Some("matched by importance alone, they may have nothing in common"),
        }
    }
}

/// Processes of two runs, matched.
pub(super) struct Matched<'a> {
    /// Those in both, in the order of the first run.
    pub pairs: Vec<(&'a Process, &'a Process, MatchedBy)>,
    /// The rest of the first run.
    pub only_a: Vec<&'a Process>,
    /// The rest of the second run.
    pub only_b: Vec<&'a Process>,
}

/// Matches by the strictest of [`MatchedBy`] first, within each in the order of
/// importance.
pub(super) fn pairs<'a>(a: &'a [Process], b: &'a [Process]) -> Matched<'a> {
    let mut partner: Vec<Option<(&Process, MatchedBy)>> = vec![None; a.len()];
    let mut free: Vec<&Process> = b.iter().collect();
    for stage in MatchedBy::STAGES {
        for (process, partner) in a
            .iter()
            .zip(&mut partner)
            .filter(|(_, partner)| partner.is_none())
        {
            if let Some(index) = free.iter().position(|other| stage.holds(process, other)) {
                *partner = Some((free.remove(index), stage));
            }
        }
    }
    let mut matched = Matched {
        pairs: Vec::new(),
        only_a: Vec::new(),
        only_b: free,
    };
    for (process, partner) in a.iter().zip(partner) {
        match partner {
            Some((other, by)) => matched.pairs.push((process, other, by)),
            None => matched.only_a.push(process),
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    fn process(pid: u32, comm: &str, go: &str, cgroup: &str) -> Process {
        Process {
            pid,
            comm: comm.to_owned(),
            go: Some(go.to_owned()),
            cgroup: Some(cgroup.to_owned()),
            ..sample::process()
        }
    }

    #[test]
    fn the_strictest_match_wins() {
        let a = [
            process(1, "api", "go1.26", "/x"),
            process(2, "api", "go1.27", "/y"),
            process(3, "db", "go1.27", "/x"),
            process(4, "worker", "go1.27", "/x"),
            process(5, "other", "go1.27", "/x"),
            process(6, "left", "go1.27", "/x"),
        ];
        let b = [
            process(11, "api", "go1.27", "/y"),
            process(12, "api", "go1.27", "/x"),
            process(13, "db", "go1.27", "/z"),
            process(14, "worker", "go1.28", "/z"),
            process(15, "new", "go1.27", "/x"),
        ];
        let matched = pairs(&a, &b);
        let got: Vec<_> = matched
            .pairs
            .iter()
            .map(|(a, b, by)| (a.pid, b.pid, *by))
            .collect();
        assert_eq!(
            got,
            [
                (1, 12, MatchedBy::NameCgroup),
                (2, 11, MatchedBy::NameGoCgroup),
                (3, 13, MatchedBy::NameGo),
                (4, 14, MatchedBy::Name),
                (5, 15, MatchedBy::Order),
            ]
        );
        assert_eq!(
            matched.only_a.iter().map(|p| p.pid).collect::<Vec<_>>(),
            [6]
        );
        assert!(matched.only_b.is_empty());
        let swapped = pairs(&b, &a);
        assert_eq!(
            swapped.only_b.iter().map(|p| p.pid).collect::<Vec<_>>(),
            [6]
        );
    }

    #[test]
    fn the_same_key_twice_goes_by_importance() {
        let a = [process(1, "w", "g", "/"), process(2, "w", "g", "/")];
        let b = [process(3, "w", "g", "/"), process(4, "w", "g", "/")];
        let got: Vec<_> = pairs(&a, &b)
            .pairs
            .iter()
            .map(|(a, b, _)| (a.pid, b.pid))
            .collect();
        assert_eq!(got, [(1, 3), (2, 4)]);
    }
}
