//! The kernel's types, read three times: by this crate, by aya, and by aya's loader for itself.
//! Each takes tens of milliseconds.

use std::cell::{Cell, OnceCell};
use std::path::Path;
use std::thread::{self, JoinHandle};

use aya::{BtfError, EbpfLoader};

use super::ProbeError;
use crate::btf::Btf;

/// aya's, which only loading programs takes: read on a thread of its own while maps are made.
pub(super) struct Theirs {
    under_way: Cell<Option<JoinHandle<Result<aya::Btf, BtfError>>>>,
    read: OnceCell<aya::Btf>,
}

impl Theirs {
    fn of(path: &Path) -> Self {
        let path = path.to_owned();
        let reading = thread::spawn(move || aya::Btf::parse_file(path, aya::Endianness::default()));
        Self {
            under_way: Cell::new(Some(reading)),
            read: OnceCell::new(),
        }
    }

    /// Waits until they are read.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn get(&self) -> Result<&aya::Btf, ProbeError> {
        if let Some(reading) = self.under_way.take() {
            let types = join(reading.join())?;
            let types = types.map_err(|error| ProbeError::Object(error.to_string()))?;
            // It is empty: this comes here once.
            let _ = self.read.set(types);
        }
        self.read.get().ok_or_else(failed)
    }
}

/// Reads them: ours and a loader, and begins with aya's.
///
/// # Errors
/// They cannot be read.
pub(super) fn read(path: &Path) -> Result<(Btf, Theirs, EbpfLoader<'static>), ProbeError> {
    thread::scope(|scope| {
        let loader = scope.spawn(EbpfLoader::new);
        let ours = Btf::from_file(path)?;
        let theirs = Theirs::of(path);
        Ok((ours, theirs, join(loader.join())?))
    })
}

/// A thread's result; a panic in it is the library's, and told as one.
fn join<T>(result: thread::Result<T>) -> Result<T, ProbeError> {
    result.map_err(|_| failed())
}

fn failed() -> ProbeError {
    ProbeError::Object("reading the kernel's types failed".to_owned())
}
