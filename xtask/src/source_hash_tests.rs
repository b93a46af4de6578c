//! Tests of the hash that `build.rs` and xtask share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::source_hash::{source_files, source_hash};

const LOCK: &str = "version = 4

[[package]]
name = \"aya-ebpf\"
version = \"0.2.1\"

[[package]]
name = \"aya-log\"
version = \"0.3.0\"

[[package]]
name = \"aya-log-ebpf\"
version = \"0.2.0\"
";

/// A checkout's sources in a folder of their own, removed at the end.
struct Checkout(PathBuf);

impl Checkout {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("gohang-xtask-{}-{name}", process::id()));
        for package in ["gohang-common", "gohang-ebpf"] {
            fs::create_dir_all(root.join(package).join("src/deep")).expect("folder");
        }
        let checkout = Self(root);
        for file in [
            "gohang-common/Cargo.toml",
            "gohang-ebpf/Cargo.toml",
            "gohang-ebpf/src/main.rs",
        ] {
            checkout.write(file, file);
        }
        checkout.write("Cargo.lock", LOCK);
        checkout
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.join(path), text).expect("file");
    }

    fn hash(&self) -> String {
        source_hash(&self.0).expect("readable").sha256
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // The system clears its temporary folder anyway.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn the_place_of_the_checkout_does_not_count() {
    assert_eq!(Checkout::new("here").hash(), Checkout::new("there").hash());
}

#[test]
fn every_source_counts() {
    let checkout = Checkout::new("sources");
    let mut hashes = vec![checkout.hash()];
    checkout.write("gohang-common/src/deep/new.rs", "");
    hashes.push(checkout.hash());
    checkout.write("gohang-ebpf/src/main.rs", "changed");
    hashes.push(checkout.hash());
    checkout.write("gohang-common/Cargo.toml", "changed");
    hashes.push(checkout.hash());
    checkout.write("Cargo.lock", &LOCK.replace("0.2.1", "0.2.2"));
    hashes.push(checkout.hash());
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn nothing_else_counts() {
    let checkout = Checkout::new("else");
    let before = checkout.hash();
    checkout.write("gohang-ebpf/README.md", "text");
    checkout.write("gohang-ebpf/src/.main.rs.swp", "open in an editor");
    checkout.write("gohang-ebpf/src/main.rs~", "saved by an editor");
    checkout.write("Cargo.lock", &LOCK.replace("0.3.0", "0.4.0"));
    assert_eq!(checkout.hash(), before);
}

#[test]
fn files_stand_in_a_fixed_order_with_relative_paths() {
    let files = source_files(&Checkout::new("order").0).expect("readable");
    let expected = [
        "gohang-common/Cargo.toml",
        "gohang-ebpf/Cargo.toml",
        "gohang-ebpf/src/main.rs",
    ];
    assert_eq!(files, expected.map(Path::new));
}

#[test]
fn versions_of_kernel_side_crates_are_recorded() {
    let hash = source_hash(&Checkout::new("crates").0).expect("readable");
    let crates: Vec<_> = hash
        .crates
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    assert_eq!(crates, ["aya-ebpf 0.2.1", "aya-log-ebpf 0.2.0"]);
}

#[test]
fn a_missing_source_is_named() {
    let checkout = Checkout::new("missing");
    fs::remove_file(checkout.0.join("gohang-ebpf/Cargo.toml")).expect("file");
    let error = source_hash(&checkout.0)
        .expect_err("it is gone")
        .to_string();
    assert!(error.contains("gohang-ebpf/Cargo.toml"), "{error}");
}
