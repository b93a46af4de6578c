//! The lines of a stack.

/// A function on a stack, and the line in it that is being executed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function with its package, as `example.com/a/b.(*T).Method.func1`.
    pub function: String,
    /// Its file; empty if it is not told.
    pub file: String,
    /// The line, from 1; 0 if it is not told.
    pub line: u32,
}

/// Who started a goroutine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CreatedBy {
    /// The place of the `go` statement.
    pub frame: Frame,
    /// The goroutine that executed it (Go 1.21).
    pub goroutine: Option<u64>,
}

/// A function's line, with its first argument, of a method the receiver; `None` where that is
/// not told for sure (a question mark: its register may hold something else by now).
pub(super) fn function(line: &str) -> Option<(String, Option<u64>)> {
    let inner = line.strip_suffix(')')?;
    let open = matching(inner)?;
    let (name, arguments) = (&line[..open], &inner[open + 1..]);
    // Not a sentence that ends with a bracket.
    let is_name = !name.is_empty() && !name.starts_with(['\t', ' ']) && !name.contains(": ");
    (is_name && (!name.contains(' ') || name.contains('[')))
        .then(|| (name.to_owned(), first_word(arguments)))
}

fn first_word(arguments: &str) -> Option<u64> {
    let first = arguments.split(',').next()?.strip_prefix("0x")?;
    u64::from_str_radix(first, 16).ok()
}

/// Where the bracket opens that a closing one behind `text` belongs to; type parameters and
/// receivers (`(*T)`) have brackets of their own.
fn matching(text: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (at, byte) in text.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' if depth == 0 => return Some(at),
            b'(' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `created by F in goroutine 7`, `created by F`.
pub(super) fn created_by(line: &str) -> Option<(String, Option<u64>)> {
    let rest = line.strip_prefix("created by ")?;
    let (name, goroutine) = match rest.rsplit_once(" in goroutine ") {
        Some((name, id)) => (name, Some(id.parse().ok()?)),
        None => (rest, None),
    };
    (!name.is_empty()).then(|| (name.to_owned(), goroutine))
}

/// The line below: a tab, `file:line`, and perhaps ` +0x1d fp=0x... sp=0x... pc=0x...`.
pub(super) fn place(line: &str) -> Option<(String, u32)> {
    let text = line.strip_prefix('\t')?;
    // The file's name may hold blanks and colons.
    let text = match text.find(" +0x").or_else(|| text.find(" fp=0x")) {
        Some(at) => &text[..at],
        None => text,
    };
    let (file, number) = text.rsplit_once(':')?;
    Some((file.to_owned(), number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn functions() {
        for (line, want) in [
            ("main.main()", Some("main.main")),
            ("main.spin(...)", Some("main.spin")),
            (
                "sync.(*Mutex).Lock(0xc000012080?)",
                Some("sync.(*Mutex).Lock"),
            ),
            ("main.f({0x1, 0x2}, 0x3)", Some("main.f")),
            ("main.(*T[...]).M(0x1)", Some("main.(*T[...]).M")),
            (
                "main.F[go.shape.struct { X int }](0x0)",
                Some("main.F[go.shape.struct { X int }]"),
            ),
            ("a/b%2ec.init.0.func1()", Some("a/b%2ec.init.0.func1")),
            ("runtime.goexit({})", Some("runtime.goexit")),
            ("", None),
            ("()", None),
            ("PC=0x1 m=0 sigcode=0", None),
            ("\tfile.go:5 (x)", None),
            ("panic: something (really)", None),
            ("exit status 2 (failed)", None),
        ] {
            let name = function(line).map(|(name, _)| name);
            assert_eq!(name.as_deref(), want, "{line}");
        }
        for (line, want) in [
            ("sync.(*Mutex).lockSlow(0xc000012080)", Some(0xc0_0001_2080)),
            ("main.(*T).M(0xc000012080, 0x5)", Some(0xc0_0001_2080)),
            ("sync.(*Mutex).Lock(0xc000012080?)", None),
            ("sync.(*Mutex).Lock(...)", None),
            ("main.f({0x1, 0x2})", None),
            ("main.main()", None),
        ] {
            assert_eq!(function(line).unwrap().1, want, "{line}");
        }
    }

    #[test]
    fn places_and_creators() {
        assert_eq!(place("\t/a/b.go:12 +0x1d"), Some(("/a/b.go".into(), 12)));
        assert_eq!(place("\t/a b/c:d.go:7"), Some(("/a b/c:d.go".into(), 7)));
        let full = "\t/a.go:9 +0x10 fp=0xc0 sp=0xc1 pc=0x40";
        assert_eq!(place(full), Some(("/a.go".into(), 9)));
        assert_eq!(
            place("\t/a.go:9 fp=0xc0 sp=0xc1 pc=0x40"),
            Some(("/a.go".into(), 9))
        );
        assert_eq!(
            place("\tgoroutine running on other thread; stack unavailable"),
            None
        );
        assert_eq!(place("/a.go:9"), None);
        assert_eq!(
            created_by("created by testing.(*T).Run in goroutine 1"),
            Some(("testing.(*T).Run".into(), Some(1)))
        );
        assert_eq!(
            created_by("created by main.main"),
            Some(("main.main".into(), None))
        );
        assert_eq!(created_by("created by "), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in "\\PC{0,40}|[a-z.(){}*\t :+0-9x]{0,40}") {
            let _ = (function(&line), place(&line), created_by(&line));
        }
    }
}
