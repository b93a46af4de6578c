//! `gohang version`: the program's, and with `--bpf` that of the embedded kernel
//! object.

use anyhow::Context as _;
use gohang::sink::pipe;

use super::args::VersionArgs;
use super::{Exit, Failure};

/// Prints the version.
///
/// # Errors
/// Output that cannot be written.
pub(super) fn run(arguments: VersionArgs) -> Result<Exit, Failure> {
    pipe::print(text(arguments.bpf).as_bytes()).context("cannot write the version to stdout")?;
    Ok(Exit::Ok)
}

fn text(bpf: bool) -> String {
    let mut text = format!("gohang {}\n", env!("CARGO_PKG_VERSION"));
    if bpf {
        text.push_str(&format!(
            "kernel object sha256 {}\n",
            env!("GOHANG_BPF_SHA256")
        ));
        text.push_str(gohang::probe::object::MANIFEST.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_one_line_and_the_object_is_named_on_request() {
        assert_eq!(
            text(false),
            format!("gohang {}\n", env!("CARGO_PKG_VERSION"))
        );
        let text = text(true);
        let sha256 = env!("GOHANG_BPF_SHA256");
        assert!(
            text.contains(&format!("\nkernel object sha256 {sha256}\n{{")),
            "{text}"
        );
        assert!(text.ends_with("}\n"));
        // The line and the manifest.
        assert!(text.matches(sha256).count() >= 2 || env!("GOHANG_BPF_ORIGIN") == "override");
    }
}
