//! The section on cost: the main figures of `docs/cost-peers.md`.

use std::fmt::Write as _;

use anyhow::Result;

use super::page::plain;
use crate::bench::peers::{Document, costs, ratios};

/// The section.
///
/// # Errors
/// As the page that it is taken from.
pub fn section(document: &Document) -> Result<String> {
    let versions: Vec<String> = document.versions.iter().map(|text| plain(text)).collect();
    let rounds = document.settings.first().map_or(0, |runs| runs.runs.len());
    let mut out = String::new();
    writeln!(
        out,
        "\n## Cost\n\n\
         `cargo xtask bench peers` measures it again (as root). CPU time that is added to a context \
         switch, by threads\nof a process that is not traced and of one that is, and to a SIGURG \
         that a traced thread sends itself; medians\nof {rounds} rounds, quartiles in brackets. On \
         {}, kernel {}, {} CPUs; {}.\n\n\
         More of it, and what a Go service loses, is in [cost-peers.md](cost-peers.md); each kernel \
         program, start, memory\nand Go programs by themselves in [cost.md](cost.md).\n",
        plain(&document.date),
        plain(&document.kernel),
        document.cpus,
        versions.join(", "),
    )?;
    costs(&mut out, document)?;
    ratios(&mut out, document)?;
    Ok(out)
}
