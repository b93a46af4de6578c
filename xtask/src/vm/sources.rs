//! The machine's own apt sources, and the same mirror with another suite.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// A binary package source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Options in brackets, as `signed-by=...`.
    options: Vec<String>,
    uri: String,
    suite: String,
    components: Vec<String>,
}

impl Source {
    /// The line of a `sources.list`.
    pub fn line(&self) -> String {
        let options = match self.options.as_slice() {
            [] => String::new(),
            options => format!("[{}] ", options.join(" ")),
        };
        let components = self.components.join(" ");
        format!("deb {options}{} {} {components}\n", self.uri, self.suite)
    }
}

/// The sources of this Debian release on this machine.
#[derive(Debug, Clone)]
pub struct Sources {
    codename: String,
    all: Vec<Source>,
}

impl Sources {
    /// Reads `/etc/os-release` and the files that apt reads.
    ///
    /// # Errors
    /// When this is not Debian or it names no source of its own release.
    pub fn of_this_machine() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
        let codename = codename(&release)
            .context("the test machines need Debian's apt, and this is not Debian")?;
        let mut all = Vec::new();
        let folder = Path::new("/etc/apt/sources.list.d");
        let mut paths = vec![Path::new("/etc/apt/sources.list").to_owned()];
        if let Ok(entries) = fs::read_dir(folder) {
            paths.extend(entries.flatten().map(|entry| entry.path()));
        }
        for path in paths {
            let Ok(text) = fs::read_to_string(&path) else {
                continue;
            };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("list") => all.extend(of_lines(&text)),
                Some("sources") => all.extend(of_stanzas(&text)),
                _ => {}
            }
        }
        Ok(Self { codename, all })
    }

    /// The release's own sources: what this machine installs from.
    ///
    /// # Errors
    /// When there is none.
    pub fn own(&self) -> Result<Vec<Source>> {
        let base = |suite: &str| suite == self.codename || self.extra(suite).is_some();
        let own = self.all.iter().filter(|source| base(&source.suite));
        let own: Vec<Source> = own.cloned().collect();
        if own.is_empty() {
            bail!("apt has no source of {} on this machine", self.codename);
        }
        Ok(own)
    }

    /// What follows the codename in `bookworm-security`.
    fn extra<'a>(&self, suite: &'a str) -> Option<&'a str> {
        suite
            .strip_prefix(self.codename.as_str())?
            .strip_prefix('-')
    }

    /// The source of another release's suite, `main` only, at the mirror from which
    /// this release's suite of the same kind comes: security updates lie apart.
    ///
    /// # Errors
    /// When this machine has no source of that kind.
    pub fn of_suite(&self, suite: &str) -> Result<Source> {
        let security = suite.ends_with("-security");
        let alike = |source: &&Source| {
            if security {
                self.extra(&source.suite) == Some("security")
            } else {
                source.suite == self.codename
            }
        };
        let source = self.all.iter().find(alike).with_context(|| {
            let kind = if security { "-security" } else { "" };
            format!(
                "apt has no source of {}{kind} on this machine, whose mirror would have {suite}",
                self.codename
            )
        })?;
        Ok(Source {
            suite: suite.to_owned(),
            components: vec!["main".to_owned()],
            ..source.clone()
        })
    }
}

/// Debian's codename in `/etc/os-release`.
fn codename(text: &str) -> Option<String> {
    let value = |key: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == key);
        values.next().map(|(_, value)| value.trim_matches('"'))
    };
    (value("ID") == Some("debian"))
        .then(|| value("VERSION_CODENAME"))
        .flatten()
        .map(str::to_owned)
}

/// The lines `deb [options] URI suite component...` of a `.list` file.
fn of_lines(text: &str) -> Vec<Source> {
    let source = |line: &str| {
        let mut rest = line.split('#').next()?.trim().strip_prefix("deb")?;
        rest = rest.strip_prefix([' ', '\t'])?.trim_start();
        let mut options = Vec::new();
        if let Some(inner) = rest.strip_prefix('[') {
            let (inside, after) = inner.split_once(']')?;
            options.extend(inside.split_whitespace().map(str::to_owned));
            rest = after;
        }
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (uri, suite) = (words.next()?, words.next()?);
        Some(Source {
            options,
            uri,
            suite,
            components: words.collect(),
        })
    };
    text.lines().filter_map(source).collect()
}

/// The stanzas of a `.sources` file (deb822).
fn of_stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for stanza in text.split("\n\n") {
        let value = |key: &str| {
            stanza.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(key).then(|| value.trim())
            })
        };
        let words = |key: &str| -> Vec<&str> {
            value(key).map_or(Vec::new(), |value| value.split_whitespace().collect())
        };
        if !words("Types").contains(&"deb") || value("Enabled") == Some("no") {
            continue;
        }
        // A key that stands in the stanza itself has no name to pass on; apt's own
        // trusted keys must do then.
        let options = value("Signed-By").filter(|path| path.starts_with('/'));
        for uri in words("URIs") {
            for suite in words("Suites") {
                sources.push(Source {
                    options: options
                        .map(|path| format!("signed-by={path}"))
                        .into_iter()
                        .collect(),
                    uri: uri.to_owned(),
                    suite: suite.to_owned(),
                    components: words("Components").into_iter().map(str::to_owned).collect(),
                });
            }
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/k.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://other.example/
Suites: bookworm
Components: main
";

    fn machine(all: Vec<Source>) -> Sources {
        Sources {
            codename: "bookworm".into(),
            all,
        }
    }

    #[test]
    fn another_suite_comes_from_the_same_mirror() {
        let machine = machine(of_stanzas(STANZAS));
        let backports = machine.of_suite("trixie-backports").expect("has bookworm");
        assert_eq!(
            backports.line(),
            "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian \
             trixie-backports main\n"
        );
        let security = machine.of_suite("bullseye-security").expect("has security");
        assert_eq!(
            security.line(),
            "deb http://mirror.example/debian-security bullseye-security main\n"
        );
        assert_eq!(machine.own().expect("three").len(), 3);
    }

    #[test]
    fn lines_have_options_and_comments() {
        let text = "# deb http://a/ bookworm main\n\
                    deb [arch=amd64 signed-by=/k] http://b/debian bookworm main # here\n\
                    deb-src http://c/ bookworm main\ndeb http://d/ nodistro main\n";
        let sources = of_lines(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(
            sources[0].line(),
            "deb [arch=amd64 signed-by=/k] http://b/debian bookworm main\n"
        );
        let machine = machine(sources);
        assert_eq!(machine.own().expect("one").len(), 1);
        let error = machine
            .of_suite("trixie-security")
            .expect_err("no security");
        assert!(error.to_string().contains("bookworm-security"), "{error}");
    }

    #[test]
    fn only_debian_has_a_codename() {
        let text = "NAME=\"x\"\nID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(codename(text).as_deref(), Some("bookworm"));
        assert_eq!(codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }
}
