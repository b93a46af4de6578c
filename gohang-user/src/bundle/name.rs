//! Names of bundles and of what is in them.

/// Longest name of a member, in bytes; what the oldest tar format has room for.
const MAX_MEMBER: usize = 100;
/// Longest part of a bundle's name that is the command's.
const MAX_STEM: usize = 60;

/// Whether a member may have this name: a relative path without `.` and `..`, of letters,
/// digits and `._+@-`, fit for every file system.
#[must_use]
pub fn is_member_name(name: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._+@-".contains(&byte))
    };
    name.len() <= MAX_MEMBER && name.split('/').all(is_plain)
}

/// The part of a bundle's name that tells the command: its program, and for `go test` the word
/// behind it.
#[must_use]
pub fn file_stem(command: &[String]) -> String {
    let words = command.iter().map(|word| {
        let base = word.rsplit('/').next().unwrap_or_default();
        let plain = base.chars().map(|c| {
            let keeps = c.is_ascii_alphanumeric() || "._+-".contains(c);
            if keeps { c } else { '_' }
        });
        let plain: String = plain.collect();
        plain.trim_matches(['.', '-']).to_owned()
    });
    let mut words = words.filter(|word| !word.is_empty());
    let mut stem = words.next().unwrap_or_else(|| "command".to_owned());
    if stem == "go"
        && let Some(verb) = command.get(1).filter(|verb| !verb.starts_with('-'))
        && verb.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        stem = format!("go-{verb}");
    }
    stem.truncate(MAX_STEM);
    stem
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_members() {
        for name in [
            "VERDICT.md",
            "proc/77/status",
            "cgroup/0/cpu.stat",
            "a/b-c_d.e",
        ] {
            assert!(is_member_name(name), "{name}");
        }
        let long = "x".repeat(101);
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            ".ssh",
            "a\\b",
            "a b",
            "a\u{1b}",
            "./a",
            "C:a",
            "ä",
            &long,
        ] {
            assert!(!is_member_name(name), "{name}");
        }
    }

    #[test]
    fn stems_tell_the_command() {
        let stem = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            file_stem(&words)
        };
        assert_eq!(stem(&["/usr/bin/go", "test", "./..."]), "go-test");
        assert_eq!(stem(&["go", "-C", "x", "test"]), "go");
        assert_eq!(stem(&["./my prog"]), "my_prog");
        assert_eq!(stem(&["../.."]), "command");
        assert_eq!(stem(&[]), "command");
    }

    proptest! {
        #[test]
        fn stems_are_fit_for_a_file(words in proptest::collection::vec(".{0,80}", 0..4)) {
            let stem = file_stem(&words);
            prop_assert!(stem.len() <= MAX_STEM + 10);
            let name = format!("{stem}-x");
            prop_assert!(!name.starts_with('.') && is_member_name(&name), "{stem:?}");
        }
    }
}
