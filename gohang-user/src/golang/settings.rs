//! What each `GODEBUG` setting of a process does in its Go version.
//!
//! Which version knows which name: `dbgvars` in runtime/runtime1.go of 1.21 to 1.27;
//! what they do: runtime/extern.go of the same.

use super::godebug::{Origin, variable};
use super::modinfo::ModInfo;
use super::number::runtime_int;
use super::version::GoVersion;

/// Most settings that are looked at; the rest of a longer list is left out.
const MAX_SETTINGS: usize = 256;

/// A `GODEBUG` setting of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name. Text of the process.
    pub name: String,
    /// Its value. Text of the process.
    pub value: String,
    /// Where it stands.
    pub origin: Origin,
    /// What it does in this version.
    pub effect: String,
    /// Why it changes nothing, if it does not.
    pub ineffective: Option<String>,
}

/// What is said of a setting that changes nothing about scheduler and memory.
pub(crate) const NOT_OURS: &str = "not one of the runtime's scheduler or memory settings";

/// A setting of the runtime.
struct Known {
    name: &'static str,
    /// First and last minor version that were found to have it; 0: in all that were looked at.
    first: u32,
    last: Option<u32>,
    effect: fn(i32) -> &'static str,
    /// The value that is the default on Linux, by version.
    default: fn(u32) -> Option<i32>,
}

const fn known(
    name: &'static str,
    first: u32,
    effect: fn(i32) -> &'static str,
    default: fn(u32) -> Option<i32>,
) -> Known {
    Known {
        name,
        first,
        last: None,
        effect,
        default,
    }
}

const fn until(mut known: Known, last: u32) -> Known {
    known.last = Some(last);
    known
}

const ZERO: fn(u32) -> Option<i32> = |_| Some(0);
const ONE: fn(u32) -> Option<i32> = |_| Some(1);

/// The settings that matter for how long goroutines wait, and those that print.
const KNOWN: [Known; 27] = [
    known(
        "asyncpreemptoff",
        14,
        |on| {
            if on == 0 {
                "asynchronous preemption is on"
            } else {
                "no preemption signals: a loop without calls cannot be stopped"
            }
        },
        ZERO,
    ),
    known(
        "containermaxprocs",
        25,
        |on| {
            if on > 0 {
                "the default GOMAXPROCS respects the CPU quota of the process's own control group"
            } else {
                "the default GOMAXPROCS ignores CPU quotas"
            }
        },
        |_| None,
    ),
    known(
        "updatemaxprocs",
        25,
        |on| {
            if on > 0 {
                "the default GOMAXPROCS follows changes of quota and affinity, about once a second"
            } else {
                "GOMAXPROCS stays what it was at the start"
            }
        },
        |_| None,
    ),
    known(
        "madvdontneed",
        12,
        |on| {
            if on == 0 {
                "freed memory is given back with MADV_FREE: the resident size falls only under pressure"
            } else {
                "freed memory is given back with MADV_DONTNEED"
            }
        },
        |minor| Some(i32::from(minor >= 16)),
    ),
    known(
        "gctrace",
        0,
        |on| {
            if on > 0 {
                "a line on stderr for each collection"
            } else {
                "no line for collections"
            }
        },
        ZERO,
    ),
    known(
        "gcstoptheworld",
        0,
        |on| {
            if on > 0 {
                "each collection stops all goroutines from begin to end"
            } else {
                "collections run beside the program"
            }
        },
        ZERO,
    ),
    known(
        "gccheckmark",
        0,
        |on| {
            if on > 0 {
                "each collection marks a second time with everything stopped; from Go 1.25 on also no preemption signals"
            } else {
                "no second marking"
            }
        },
        ZERO,
    ),
    known(
        "gcpacertrace",
        0,
        |on| {
            if on > 0 {
                "prints the state of the collector's pacer"
            } else {
                "prints nothing"
            }
        },
        ZERO,
    ),
    known(
        "gcshrinkstackoff",
        0,
        |on| {
            if on > 0 {
                "stacks never shrink"
            } else {
                "stacks may shrink"
            }
        },
        ZERO,
    ),
    known(
        "schedtrace",
        0,
        |ms| {
            if ms > 0 {
                "a line on stderr on the state of the scheduler, every so many milliseconds"
            } else {
                "no line on the scheduler"
            }
        },
        ZERO,
    ),
    known(
        "scheddetail",
        0,
        |on| {
            if on > 0 {
                "with schedtrace: every P, M and G in it"
            } else {
                "with schedtrace: one line"
            }
        },
        ZERO,
    ),
    known(
        "scavtrace",
        0,
        |on| {
            if on > 0 {
                "a line on stderr for each round of giving memory back"
            } else {
                "no line on giving memory back"
            }
        },
        ZERO,
    ),
    known(
        "inittrace",
        16,
        |on| {
            if on > 0 {
                "a line on stderr for each package's initialization"
            } else {
                "no line for initialization"
            }
        },
        ZERO,
    ),
    known(
        "invalidptr",
        0,
        |on| {
            if on > 0 {
                "an invalid pointer that the collector meets ends the program"
            } else {
                "the collector passes over invalid pointers"
            }
        },
        ONE,
    ),
    known(
        "sbrk",
        0,
        |on| {
            if on > 0 {
                "memory is never given back nor collected"
            } else {
                "the usual allocator"
            }
        },
        ZERO,
    ),
    known(
        "efence",
        0,
        |on| {
            if on > 0 {
                "every object on a page of its own, never reused"
            } else {
                "the usual allocator"
            }
        },
        ZERO,
    ),
    known(
        "clobberfree",
        0,
        |on| {
            if on > 0 {
                "freed objects are overwritten"
            } else {
                "freed objects are left alone"
            }
        },
        ZERO,
    ),
    known(
        "cgocheck",
        0,
        |on| {
            if on > 0 {
                "checks of pointers that go to C"
            } else {
                "no checks of pointers that go to C"
            }
        },
        ONE,
    ),
    known(
        "harddecommit",
        0,
        |on| {
            if on > 0 {
                "memory given back is made inaccessible"
            } else {
                "memory given back stays accessible"
            }
        },
        ZERO,
    ),
    known(
        "disablethp",
        21,
        |on| {
            if on > 0 {
                "no transparent huge pages for the heap"
            } else {
                "huge pages as the system has them"
            }
        },
        ZERO,
    ),
    known(
        "dontfreezetheworld",
        21,
        |on| {
            if on > 0 {
                "a fatal panic does not stop the other goroutines first"
            } else {
                "a fatal panic stops the other goroutines first"
            }
        },
        ZERO,
    ),
    known(
        "tracebackancestors",
        0,
        |n| {
            if n > 0 {
                "tracebacks show the goroutines that created one"
            } else {
                "tracebacks without ancestors"
            }
        },
        ZERO,
    ),
    known(
        "adaptivestackstart",
        0,
        |on| {
            if on > 0 {
                "new goroutines start with a stack of the average size"
            } else {
                "new goroutines start with the smallest stack"
            }
        },
        ZERO,
    ),
    known(
        "decoratemappings",
        25,
        |on| {
            if on > 0 {
                "memory mappings carry the runtime's names"
            } else {
                "memory mappings carry no names"
            }
        },
        ONE,
    ),
    known(
        "checkfinalizers",
        25,
        |on| {
            if on > 0 {
                "each collection runs several more with everything stopped, to check finalizers"
            } else {
                "finalizers are not checked"
            }
        },
        ZERO,
    ),
    until(
        known(
            "asynctimerchan",
            23,
            |on| {
                if on > 0 {
                    "channels of timers are buffered, as before Go 1.23"
                } else {
                    "channels of timers are unbuffered"
                }
            },
            ZERO,
        ),
        26,
    ),
    until(
        known(
            "allocfreetrace",
            0,
            |on| {
                if on > 0 {
                    "prints a stack for each allocation"
                } else {
                    "prints nothing"
                }
            },
            ZERO,
        ),
        22,
    ),
];

/// The settings of a process of this program, built in first, then those of the
/// environment, in their order. `environ` is its `/proc/PID/environ`.
#[must_use]
pub fn settings(version: &GoVersion, info: &ModInfo, environ: &[u8]) -> Vec<Setting> {
    let built_in = info.setting("DefaultGODEBUG").unwrap_or("").as_bytes();
    let given = variable(environ, b"GODEBUG");
    let lists = [(Origin::BuiltIn, built_in), (Origin::Environment, given)];
    let items: Vec<(Origin, &[u8])> = lists
        .into_iter()
        .flat_map(|(origin, list)| {
            let items = list.split(|byte| *byte == b',');
            items.map(move |item| (origin, item))
        })
        .filter(|(_, item)| !item.is_empty())
        .take(MAX_SETTINGS)
        .collect();
    let name = |item: &[u8]| {
        let end = item.iter().position(|byte| *byte == b'=');
        String::from_utf8_lossy(&item[..end.unwrap_or(item.len())]).into_owned()
    };
    let mut all = Vec::new();
    for (index, (origin, item)) in items.iter().enumerate() {
        let text = String::from_utf8_lossy(item);
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        let later = items[index + 1..]
            .iter()
            .find(|(_, other)| name(other) == key)
            .map(|(_, other)| String::from_utf8_lossy(other).into_owned());
        all.push(setting(version, (key, value), *origin, later));
    }
    all
}

fn setting(
    version: &GoVersion,
    (name, value): (&str, &str),
    origin: Origin,
    later: Option<String>,
) -> Setting {
    let done = |effect: &str, ineffective: Option<String>| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        origin,
        effect: effect.to_owned(),
        ineffective,
    };
    let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
        return done(NOT_OURS, None);
    };
    let Some(number) = runtime_int(version, value.as_bytes()) else {
        let why = "its value is not a number, so the runtime passes over it";
        return done("nothing", Some(why.to_owned()));
    };
    let effect = (known.effect)(number);
    // A development version without a number is taken for the newest.
    let minor = version.minor().unwrap_or(u32::MAX);
    let ineffective = if minor < known.first {
        Some(format!("{name} is known from Go 1.{} on", known.first))
    } else if let Some(last) = known.last.filter(|last| minor > *last) {
        Some(format!("{name} was removed after Go 1.{last}"))
    } else if let Some(later) = later {
        Some(format!("a later setting wins: {later}"))
    } else if (known.default)(minor) == Some(number) && origin == Origin::Environment {
        Some(format!("it is the default of Go 1.{minor} on Linux"))
    } else {
        None
    };
    done(effect, ineffective)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(version: &str, built_in: &str, given: &str) -> Vec<Setting> {
        let version = GoVersion::parse(version).expect("a version");
        let info = ModInfo {
            settings: vec![("DefaultGODEBUG".to_owned(), built_in.to_owned())],
            ..ModInfo::default()
        };
        settings(&version, &info, format!("GODEBUG={given}").as_bytes())
    }

    fn why(version: &str, given: &str) -> Option<String> {
        of(version, "", given).remove(0).ineffective
    }

    #[test]
    fn what_does_nothing_in_which_version() {
        for (version, given, part) in [
            ("go1.27.3", "madvdontneed=1", Some("the default")),
            ("go1.16", "madvdontneed=1", Some("the default")),
            ("go1.14.1", "madvdontneed=1", None),
            ("go1.27.3", "madvdontneed=0", None),
            ("go1.24.11", "containermaxprocs=0", Some("from Go 1.25 on")),
            ("go1.25.5", "containermaxprocs=0", None),
            ("go1.24.11", "updatemaxprocs=1", Some("from Go 1.25 on")),
            (
                "go1.27.3",
                "asynctimerchan=1",
                Some("removed after Go 1.26"),
            ),
            ("go1.26.6", "asynctimerchan=1", None),
            ("go1.27.3", "allocfreetrace=1", Some("removed")),
            ("go1.27.3", "asyncpreemptoff=1", None),
            ("go1.27.3", "asyncpreemptoff=0", Some("the default")),
            ("go1.27.3", "asyncpreemptoff=yes", Some("not a number")),
            ("go1.13.1", "asyncpreemptoff=1", Some("from Go 1.14 on")),
            (
                "go1.27.3",
                "gctrace=1,gctrace=2",
                Some("a later setting wins: gctrace=2"),
            ),
            ("go1.27.3", "gctrace", Some("not a number")),
            ("go1.27.3", "netdns=go", None),
        ] {
            let found = why(version, given);
            match part {
                None => assert_eq!(found, None, "{version} {given}"),
                Some(part) => assert!(
                    found.as_deref().is_some_and(|why| why.contains(part)),
                    "{version} {given}: {found:?}"
                ),
            }
        }
    }

    #[test]
    fn the_environment_wins_over_what_is_built_in() {
        let all = of(
            "go1.27.3",
            "containermaxprocs=0,updatemaxprocs=0",
            "containermaxprocs=1",
        );
        assert_eq!(all.len(), 3);
        assert!(
            all[0]
                .ineffective
                .as_deref()
                .is_some_and(|why| why.contains("later"))
        );
        assert!(all[0].effect.contains("ignores"));
        assert_eq!(
            (all[1].origin, &all[1].ineffective),
            (Origin::BuiltIn, &None)
        );
        assert!(all[2].effect.contains("respects") && all[2].ineffective.is_none());
    }

    #[test]
    fn names_are_known_once() {
        let mut names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KNOWN.len());
    }

    proptest! {
        #[test]
        fn any_list_is_taken(given in "([a-z]{0,16}=?-?[0-9]{0,12},?){0,20}|\\PC{0,60}") {
            prop_assert!(of("go1.27.3", "", &given).len() <= MAX_SETTINGS);
        }
    }
}
