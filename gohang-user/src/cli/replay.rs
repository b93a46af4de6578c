//! `gohang replay`: a recording told as `trace` told it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;
use gohang::source::{Ending, Recorded, Source as _};

use super::args::ReplayArgs;
use super::report::{Display, Flow};
use super::{Exit, Failure};

/// Bytes read at once.
const CHUNK: usize = 1 << 18;

/// Reads the recording and prints its report.
///
/// # Errors
/// A file that is no recording of this version (usage); one that is not whole,
/// after its report; output that cannot be written.
pub(super) fn run(arguments: ReplayArgs) -> Result<Exit, Failure> {
    let display = Display::new(arguments.display)?;
    let file = arguments.file;
    let cannot = || format!("cannot replay {}", file.display());
    let mut source = File::open(&file)
        .map_err(anyhow::Error::new)
        .and_then(|from| Ok(Recorded::open(BufReader::with_capacity(CHUNK, from))?))
        .with_context(cannot)
        .map_err(Failure::usage)?;
    let mut flow = Flow::new(&display, display.open_output()?, true)?;
    flow.begin(source.begin().start);
    let mut items = Vec::new();
    while source.ending().is_none() && !flow.is_closed() {
        source.drain(&mut items).with_context(cannot)?;
        for item in items.drain(..) {
            flow.take(&item, &mut source);
        }
        // At the end they are the totals'.
        if source.ending().is_none() {
            for episode in source.pending(0)? {
                flow.raise(&episode);
            }
        }
    }
    let totals = source.totals();
    flow.pending_at_end(&totals.pending, totals.at.mono_ns, &mut source);
    let whole = source.ending() == Some(&Ending::Whole);
    // Of one that is not whole, counters and records are those of the totals.
    let taken = if whole { source.taken() } else { totals.taken };
    let begin = source.begin().clone();
    let at_ns = totals.at.mono_ns - begin.start.mono_ns;
    let report = flow.report(&begin, totals, taken, &mut source);
    let exit = flow.end(&report, whole)?;
    match source.ending() {
        None | Some(Ending::Whole) => Ok(exit),
        Some(ending) => Err(not_whole(&file, ending, at_ns).into()),
    }
}

fn not_whole(file: &Path, ending: &Ending, at_ns: u64) -> anyhow::Error {
    anyhow::anyhow!(
        "the recording {} is not whole: {ending}; the totals above are those of the first {:.1} s, \
         and its loss line need not add up; record again to have all of it",
        file.display(),
        at_ns as f64 / 1e9,
    )
}
