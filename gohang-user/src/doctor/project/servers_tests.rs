use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// The samples of a folder.
fn samples(folder: &str) -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor/project/samples");
    let entries = fs::read_dir(dir.join(folder)).expect("the samples");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a sample");
        (path.display().to_string(), text)
    };
    let all: Vec<_> = entries.map(read).collect();
    assert!(!all.is_empty());
    all
}

#[test]
fn every_server_of_the_firing_samples_is_found() {
    for (name, source) in samples("firing") {
        let marked = source.lines().zip(1_u32..).filter_map(|(line, number)| {
            let want = line.split_once("// want \"")?.1.strip_suffix('"')?;
            Some((number, want.to_owned()))
        });
        let found = servers(source.as_bytes()).into_iter();
        let found: Vec<_> = found.map(|own| (own.line, own.address)).collect();
        assert_eq!(found, marked.collect::<Vec<_>>(), "{name}");
        assert!(!found.is_empty(), "{name} marks nothing");
    }
}

#[test]
fn nothing_is_found_in_the_healthy_samples() {
    for (name, source) in samples("healthy") {
        assert!(source.contains("ListenAndServe") || source.contains("httptest"));
        assert_eq!(servers(source.as_bytes()), [], "{name}");
    }
}

/// What one change makes of a sound file.
#[test]
fn without_its_shutdown_a_sound_server_is_found() {
    let all = samples("healthy");
    let (_, source) = all
        .iter()
        .find(|(name, _)| name.ends_with("shut_down_test.go"))
        .expect("the sample");
    for (end, address) in [
        ("defer server.Shutdown(context.Background())", ":18080"),
        ("t.Cleanup(func() { closed.Close() })", ":18081"),
        ("defer stop(handed)", ":18082"),
        ("return returned", ":18083"),
    ] {
        let changed = source.replace(end, "");
        assert_ne!(&changed, source);
        let found = servers(changed.as_bytes());
        let found: Vec<&str> = found.iter().map(|own| &*own.address).collect();
        assert_eq!(found, [address]);
    }
}

#[test]
fn ports_that_are_the_same_each_time() {
    for (address, fixed) in [
        (":8080", true),
        ("localhost:80", true),
        ("[::1]:8080", true),
        (":http", true),
        (":0", false),
        ("127.0.0.1:0", false),
        ("127.0.0.1:", false),
        ("", false),
        ("localhost", false),
        ("{{.Addr}}:{{.Port}}", false),
        (":%d", false),
    ] {
        assert_eq!(is_fixed(address), fixed, "{address}");
    }
}

proptest! {
    #[test]
    fn any_text_is_searched_without_panic(
        source in "(import \"net/http\"\n)?(go|func|http|s|\\.|ListenAndServe|Server|Addr|:|=|\\(|\\)|\\{|\\}|&|\":1\"|\n| ){0,60}",
    ) {
        let _ = servers(source.as_bytes());
    }

    #[test]
    fn samples_cut_anywhere_never_panic(cut: prop::sample::Index, pick: prop::sample::Index) {
        let all = samples("firing");
        let (_, source) = &all[pick.index(all.len())];
        let at = cut.index(source.len());
        let _ = servers(&source.as_bytes()[..at]);
        let _ = servers(&source.as_bytes()[at..]);
    }
}
