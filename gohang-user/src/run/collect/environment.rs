//! The environment of a process, as far as it matters to a hang.

use std::collections::BTreeMap;

/// Most bytes of a value.
const MAX_VALUE: usize = 4096;

/// The variables that Go and what it starts go by.
pub(super) fn of_interest(environ: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in environ.split(|&byte| byte == 0) {
        let Some(equals) = entry.iter().position(|&byte| byte == b'=') else {
            continue;
        };
        let (name, value) = (&entry[..equals], &entry[equals + 1..]);
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let is_of_interest = name.starts_with("GO")
            || name.starts_with("CGO_")
            || name.to_ascii_uppercase().ends_with("_PROXY")
            || name == "CI";
        if is_of_interest {
            let value = &value[..value.len().min(MAX_VALUE)];
            // The first one counts.
            found
                .entry(name.to_owned())
                .or_insert_with(|| String::from_utf8_lossy(value).into_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_matter() {
        let environ = b"HOME=/root\0GOMAXPROCS=4\0https_proxy=x\0SECRET=1\0GOFLAGS=-mod=mod\0\
            GOMAXPROCS=5\0broken";
        let found = of_interest(environ);
        let want = [
            ("GOFLAGS", "-mod=mod"),
            ("GOMAXPROCS", "4"),
            ("https_proxy", "x"),
        ];
        let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, BTreeMap::from(want));
    }

    proptest! {
        #[test]
        fn reading_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = of_interest(&raw);
        }
    }
}
