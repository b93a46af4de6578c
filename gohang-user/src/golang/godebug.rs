//! A process's `GODEBUG` settings, and whether they turn asynchronous preemption off.
//!
//! As `parsedebugvars` in Go's runtime/runtime1.go reads them (1.14 to 1.27): the
//! settings built into the program first, then those of the environment, from
//! left to right, so that the last one counts. Only the environment that the
//! process was started with does: most settings, `asyncpreemptoff` and those of
//! `GOMAXPROCS` among them, cannot be changed later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::modinfo::ModInfo;
use super::number::runtime_int;
use super::version::GoVersion;

/// First minor version with asynchronous preemption.
const ASYNC_PREEMPTION: u32 = 14;
/// From this minor version on `gccheckmark` turns it off, too.
const CHECKMARK_TURNS_OFF: u32 = 25;

/// A setting and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreemptionOff {
    /// As `asyncpreemptoff=1`.
    pub setting: String,
    /// Where.
    pub origin: Origin,
}

/// Where a `GODEBUG` setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `GODEBUG` in the environment that the process was started with.
    Environment,
    /// `DefaultGODEBUG`, built into the program.
    BuiltIn,
}

/// What turns asynchronous preemption off in a process of this program, if
/// anything does. `environ` is its `/proc/PID/environ`.
#[must_use]
pub fn preemption_off(
    version: &GoVersion,
    info: &ModInfo,
    environ: &[u8],
) -> Option<PreemptionOff> {
    let minor = version.minor();
    if minor.is_some_and(|minor| minor < ASYNC_PREEMPTION) {
        return None;
    }
    let last = |key: &str| godebug(version, info, environ, key);
    let off = |key: &str, (origin, value): (Origin, i32)| PreemptionOff {
        setting: format!("{key}={value}"),
        origin,
    };
    if minor.is_some_and(|minor| minor >= CHECKMARK_TURNS_OFF)
        && let Some(found) = last("gccheckmark").filter(|(_, value)| *value > 0)
    {
        return Some(off("gccheckmark", found));
    }
    last("asyncpreemptoff")
        .filter(|(_, value)| *value != 0)
        .map(|found| off("asyncpreemptoff", found))
}

/// The value that the runtime takes for the setting `key`, and where it stands; `None`
/// when nobody set it, so that the runtime's own default holds. `environ` is the
/// process's `/proc/PID/environ`.
#[must_use]
pub fn godebug(
    version: &GoVersion,
    info: &ModInfo,
    environ: &[u8],
    key: &str,
) -> Option<(Origin, i32)> {
    let built_in = info.setting("DefaultGODEBUG").unwrap_or("").as_bytes();
    let given = [
        (Origin::Environment, variable(environ, b"GODEBUG")),
        (Origin::BuiltIn, built_in),
    ];
    given
        .iter()
        .find_map(|(origin, list)| Some((*origin, value(version, list, key)?)))
}

/// The value of a variable in the text of `/proc/PID/environ`, the first of this name as
/// `gogetenv` takes it.
#[must_use]
pub fn environment_variable<'a>(environ: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    environ
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}

/// The same; empty if there is none.
pub(super) fn variable<'a>(environ: &'a [u8], name: &[u8]) -> &'a [u8] {
    environment_variable(environ, name).unwrap_or(b"")
}

/// The last value of a setting that the runtime takes.
fn value(version: &GoVersion, list: &[u8], key: &str) -> Option<i32> {
    list.rsplit(|byte| *byte == b',').find_map(|item| {
        let value = item.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
        runtime_int(version, value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Off = Option<(String, Origin)>;

    fn off(version: &str, built_in: &str, environ: &[u8]) -> Off {
        let version = GoVersion::parse(version).expect("a version");
        let info = ModInfo {
            settings: vec![("DefaultGODEBUG".to_owned(), built_in.to_owned())],
            ..ModInfo::default()
        };
        preemption_off(&version, &info, environ).map(|off| (off.setting, off.origin))
    }

    #[test]
    fn settings_that_turn_it_off_and_others() {
        let environment = |setting: &str| Some((setting.to_owned(), Origin::Environment));
        let built_in = |setting: &str| Some((setting.to_owned(), Origin::BuiltIn));
        let table: [(&str, &str, &[u8], Off); 20] = [
            ("go1.27.3", "", b"", None),
            ("go1.27.3", "", b"A=1\0GODEBUG=\0", None),
            (
                "go1.27.3",
                "",
                b"A=1\0GODEBUG=asyncpreemptoff=1\0B=\0",
                environment("asyncpreemptoff=1"),
            ),
            ("go1.27.3", "", b"GODEBUG=asyncpreemptoff=0", None),
            // The last one counts, of those that are numbers.
            (
                "go1.21.13",
                "",
                b"GODEBUG=asyncpreemptoff=0,gctrace=1,asyncpreemptoff=2,asyncpreemptoff=x",
                environment("asyncpreemptoff=2"),
            ),
            (
                "go1.21.13",
                "",
                b"GODEBUG=asyncpreemptoff=1,asyncpreemptoff=0",
                None,
            ),
            // The first variable of the name counts.
            (
                "go1.21.13",
                "",
                b"GODEBUG=gctrace=1\0GODEBUG=asyncpreemptoff=1\0",
                None,
            ),
            ("go1.27.3", "", b"XGODEBUG=asyncpreemptoff=1", None),
            ("go1.27.3", "", b"GODEBUG=xasyncpreemptoff=1", None),
            ("go1.27.3", "", b"GODEBUG=asyncpreemptoff", None),
            // A plus sign is read from 1.26 on.
            ("go1.25.5", "", b"GODEBUG=asyncpreemptoff=+1", None),
            (
                "go1.27.3",
                "",
                b"GODEBUG=asyncpreemptoff=+1",
                environment("asyncpreemptoff=1"),
            ),
            ("go1.27.3", "", b"GODEBUG=asyncpreemptoff= 1", None),
            ("go1.27.3", "", b"GODEBUG=asyncpreemptoff=99999999999", None),
            (
                "go1.27.3",
                "",
                b"GODEBUG=asyncpreemptoff=-1",
                environment("asyncpreemptoff=-1"),
            ),
            (
                "go1.27.3",
                "asyncpreemptoff=1",
                b"",
                built_in("asyncpreemptoff=1"),
            ),
            (
                "go1.27.3",
                "asyncpreemptoff=1",
                b"GODEBUG=asyncpreemptoff=0",
                None,
            ),
            ("go1.13.15", "", b"GODEBUG=asyncpreemptoff=1", None),
            (
                "go1.25.5",
                "",
                b"GODEBUG=gccheckmark=1,asyncpreemptoff=0",
                environment("gccheckmark=1"),
            ),
            ("go1.24.11", "", b"GODEBUG=gccheckmark=1", None),
        ];
        for (version, default, environ, want) in table {
            let text = String::from_utf8_lossy(environ);
            assert_eq!(off(version, default, environ), want, "{version} {text}");
        }
        // A development version that names no release has it.
        assert_eq!(
            off("devel +0a1b2c3", "", b"GODEBUG=asyncpreemptoff=1"),
            environment("asyncpreemptoff=1")
        );
    }

    proptest! {
        #[test]
        fn any_environment_gives_a_harmless_setting(
            environ in proptest::collection::vec(any::<u8>(), 0..200),
            list in "(asyncpreemptoff|gccheckmark|x)?=?-?[0-9]{0,12}(,[a-z=0-9-]{0,20}){0,3}",
        ) {
            for environ in [environ.clone(), [b"GODEBUG=", list.as_bytes()].concat()] {
                if let Some((setting, _)) = off("go1.27.3", "", &environ) {
                    prop_assert!(setting.bytes().all(|byte| byte.is_ascii_graphic()));
                }
            }
        }
    }
}
