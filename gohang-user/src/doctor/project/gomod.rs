//! The lines of `go.mod` and `go.work` that say which Go is asked for.

/// What a `go.mod` or `go.work` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GoMod {
    /// The module's path.
    pub module: Option<String>,
    /// As `1.24` or `1.25.3`.
    pub go: Option<String>,
    /// As `go1.25.3`.
    pub toolchain: Option<String>,
    /// `godebug` settings, as `key=value`, in the file's order.
    pub godebug: Vec<String>,
    /// Whether it requires other modules.
    pub requires: bool,
}

impl GoMod {
    /// Parses a file; lines of other kinds are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut block = None;
        for line in text.lines() {
            let line = line.split("//").next().unwrap_or_default();
            let mut words = line.split_whitespace().map(unquote);
            let Some(first) = words.next() else { continue };
            let second = words.next();
            match (block, first, second) {
                (Some(_), ")", _) => block = None,
                (Some("godebug"), setting, _) => found.godebug.push(setting.to_owned()),
                (Some("require"), ..) => found.requires = true,
                (None, kind, Some("(")) => block = Some(kind),
                (None, "module", Some(path)) => found.module = Some(path.to_owned()),
                (None, "go", Some(version)) => found.go = Some(version.to_owned()),
                (None, "toolchain", Some(name)) => found.toolchain = Some(name.to_owned()),
                (None, "godebug", Some(setting)) => found.godebug.push(setting.to_owned()),
                (None, "require", Some(_)) => found.requires = true,
                _ => {}
            }
        }
        found
    }

    /// What of `GODEBUG` the go command builds into the programs of this module that has to
    /// do with `GOMAXPROCS`: settings of before 1.25 unless `go` or `godebug default=` asks
    /// for 1.25 or later, then the `godebug` lines (cmd/go/internal/load/godebug.go).
    pub(super) fn default_godebug(&self) -> String {
        let default = self
            .godebug
            .iter()
            .rev()
            .find_map(|setting| setting.strip_prefix("default=go"));
        let asked = default.or(self.go.as_deref());
        // Without a line it is 1.16.
        let minor = asked.and_then(|version| {
            let minor = version.strip_prefix("1.")?;
            let digits = minor.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u32>().ok()
        });
        let old = minor.is_none_or(|minor| minor < 25);
        let of_old = ["containermaxprocs=0", "updatemaxprocs=0"];
        let base = of_old.into_iter().filter(|_| old);
        let own = self.godebug.iter().map(String::as_str);
        let own = own.filter(|setting| !setting.starts_with("default="));
        base.chain(own).collect::<Vec<_>>().join(",")
    }
}

fn unquote(word: &str) -> &str {
    ['"', '`']
        .into_iter()
        .find_map(|quote| word.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_blocks() {
        let text = "module \"example.org/x\" // comment\n\ngo 1.24\n\ntoolchain go1.25.3\n\
            godebug default=go1.21\ngodebug (\n\tpanicnil=1\n\tcontainermaxprocs=1 // on\n)\n\
            require (\n\texample.org/y v1.0.0\n)\nreplace example.org/y => ../y\n";
        let found = GoMod::parse(text);
        assert_eq!(found.module.as_deref(), Some("example.org/x"));
        assert_eq!(found.go.as_deref(), Some("1.24"));
        assert_eq!(found.toolchain.as_deref(), Some("go1.25.3"));
        assert!(found.requires);
        assert_eq!(
            found.default_godebug(),
            "containermaxprocs=0,updatemaxprocs=0,panicnil=1,containermaxprocs=1"
        );
        assert_eq!(GoMod::parse("use ./a\nuse (\n./b\n)\n"), GoMod::default());
        assert!(GoMod::parse("require example.org/y v1.0.0\n").requires);
        assert!(!GoMod::parse("// require example.org/y v1\n").requires);
    }

    #[test]
    fn which_programs_heed_their_quota() {
        for (text, old) in [
            ("", true),
            ("go 1.24.11", true),
            ("go 1.25", false),
            ("go 1.25rc1", false),
            ("go 1.27.3", false),
            ("go 1.24\ngodebug default=go1.25", false),
            ("go 1.26\ngodebug default=go1.20", true),
            ("go x", true),
        ] {
            let built_in = GoMod::parse(text).default_godebug();
            assert_eq!(built_in.contains("containermaxprocs=0"), old, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "((go|module|require|godebug|\\(|\\)|\"|//|\n|1\\.2|.) ?){0,20}") {
            let _ = GoMod::parse(&text).default_godebug();
        }
    }
}
