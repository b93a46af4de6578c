//! The module information the linker writes beside the version.

/// Module and build settings of a program; all empty when it was built without modules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModInfo {
    /// Import path of the main package.
    pub path: Option<String>,
    /// The main module's path.
    pub module: Option<String>,
    /// The main module's version; `(devel)` when built from a work tree.
    pub module_version: Option<String>,
    /// Build settings in the file's order: `-buildmode`, `CGO_ENABLED`, `vcs.revision` ...
    pub settings: Vec<(String, String)>,
}

impl ModInfo {
    /// Parses the text between the markers; lines of unknown kinds are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            let mut fields = line.split('\t');
            match fields.next() {
                Some("path") => info.path = fields.next().map(Into::into),
                Some("mod") => {
                    info.module = fields.next().map(Into::into);
                    info.module_version = fields.next().map(Into::into);
                }
                Some("build") => {
                    let setting = line.split_once('\t').and_then(|(_, rest)| setting(rest));
                    info.settings.extend(setting);
                }
                _ => {}
            }
        }
        info
    }

    /// The value of a build setting.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        let found = self.settings.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// One value of the program's built-in `GODEBUG`, e.g. of `containermaxprocs`.
    #[must_use]
    pub fn default_godebug(&self, key: &str) -> Option<&str> {
        let list = self.setting("DefaultGODEBUG")?;
        // As in the runtime, the last one counts.
        list.split(',')
            .rev()
            .find_map(|item| match item.split_once('=') {
                Some((name, value)) if name == key => Some(value),
                _ => None,
            })
    }

    /// Whether it was built with cgo; `None` when the program does not say.
    #[must_use]
    pub fn cgo(&self) -> Option<bool> {
        match self.setting("CGO_ENABLED")? {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        }
    }

    /// `exe`, `pie`, `c-shared` ...; `None` when the program does not say.
    #[must_use]
    pub fn build_mode(&self) -> Option<&str> {
        self.setting("-buildmode")
    }
}

/// `KEY=VALUE`, each perhaps quoted as in Go source.
fn setting(text: &str) -> Option<(String, String)> {
    let (key, rest) = if text.starts_with(['"', '`']) {
        unquote(text)?
    } else {
        let at = text.find('=')?;
        (text[..at].to_owned(), &text[at..])
    };
    let value = rest.strip_prefix('=')?;
    let value = match unquote(value) {
        Some((value, "")) => value,
        _ => value.to_owned(),
    };
    Some((key, value))
}

/// Reads a Go string literal at the start of `text`; the value and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let (value, rest) = rest.split_once('`')?;
        return Some((value.to_owned(), rest));
    }
    let rest = text.strip_prefix('"')?;
    // Escapes such as \xff may name bytes that are not UTF-8.
    let mut value = Vec::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let value = String::from_utf8_lossy(&value).into_owned();
                return Some((value, &rest[at + 1..]));
            }
            '\\' => {
                let (_, kind) = chars.next()?;
                let mut digits = |count: usize, radix: u32| {
                    (0..count).try_fold(0_u32, |sum, _| {
                        let digit = chars.next()?.1.to_digit(radix)?;
                        sum.checked_mul(radix)?.checked_add(digit)
                    })
                };
                match kind {
                    'x' => value.push(u8::try_from(digits(2, 16)?).ok()?),
                    'u' => push_char(&mut value, digits(4, 16)?)?,
                    'U' => push_char(&mut value, digits(8, 16)?)?,
                    '0'..='3' => {
                        let high = kind.to_digit(8)?;
                        value.push(u8::try_from(high * 64 + digits(2, 8)?).ok()?);
                    }
                    'a' => value.push(7),
                    'b' => value.push(8),
                    't' => value.push(b'\t'),
                    'n' => value.push(b'\n'),
                    'v' => value.push(11),
                    'f' => value.push(12),
                    'r' => value.push(b'\r'),
                    '\\' | '"' | '\'' => value.push(kind as u8),
                    _ => return None,
                }
            }
            c => push_char(&mut value, u32::from(c))?,
        }
    }
    None
}

fn push_char(value: &mut Vec<u8>, code: u32) -> Option<()> {
    let c = char::from_u32(code)?;
    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "path\texample.org/hello\nmod\texample.org/hello\t(devel)\t\n\
        dep\texample.org/x\tv1.2.3\th1:abc=\n=>\texample.org/y\tv1.0.0\th1:def=\n\
        build\t-buildmode=pie\nbuild\t-compiler=gc\nbuild\t-ldflags=\"-s -w -X 'a.b=c d'\"\n\
        build\tDefaultGODEBUG=containermaxprocs=0,updatemaxprocs=0,x=1,x=2\n\
        build\tCGO_ENABLED=1\nbuild\tCGO_CFLAGS=\nbuild\t\"odd key\"=`raw \"value\"`\n";

    #[test]
    fn settings_and_module() {
        let info = ModInfo::parse(SAMPLE);
        assert_eq!(info.path.as_deref(), Some("example.org/hello"));
        assert_eq!(info.module.as_deref(), Some("example.org/hello"));
        assert_eq!(info.module_version.as_deref(), Some("(devel)"));
        assert_eq!(info.build_mode(), Some("pie"));
        assert_eq!(info.cgo(), Some(true));
        assert_eq!(info.setting("-ldflags"), Some("-s -w -X 'a.b=c d'"));
        assert_eq!(info.setting("CGO_CFLAGS"), Some(""));
        assert_eq!(info.setting("odd key"), Some("raw \"value\""));
        assert_eq!(info.setting("absent"), None);
        assert_eq!(info.default_godebug("containermaxprocs"), Some("0"));
        assert_eq!(info.default_godebug("x"), Some("2"));
        assert_eq!(info.default_godebug("maxprocs"), None);
    }

    #[test]
    fn quoted_text_is_read_as_go_reads_it() {
        for (text, want) in [
            (r#""a\tb\n\"\\""#, Some("a\tb\n\"\\")),
            (r#""\x41\u00e9\U0001F600\101""#, Some("Aé😀A")),
            (r#""\xc3\xa9""#, Some("é")),
            (r#""open"#, None),
            (r#""\q""#, None),
            (r#""\u12""#, None),
            (r#""\ud800""#, None),
            ("", None),
        ] {
            assert_eq!(
                unquote(text).map(|(value, _)| value).as_deref(),
                want,
                "{text}"
            );
        }
        // What cannot be unquoted stays as it is.
        assert_eq!(setting("k=\"open"), Some(("k".into(), "\"open".into())));
        assert_eq!(setting("no value"), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "((path|mod|build)\t.{0,40}\n){0,4}") {
            let _ = ModInfo::parse(&text);
        }

        #[test]
        fn unquoting_never_panics(text in "\"[\\\\xuU0-9a-f\"é]{0,20}\"?") {
            let _ = unquote(&text);
        }
    }
}
