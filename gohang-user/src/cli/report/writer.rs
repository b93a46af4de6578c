//! Writing to a reader that may be slow, without holding up the drain.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Chunks that may wait for the reader.
const QUEUE: usize = 256;

/// A thread that writes what it is given.
#[derive(Debug)]
pub struct Writer {
    queue: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    failed: Arc<AtomicBool>,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is written, or will be.
    Yes,
    /// The reader is too slow, or gone.
    Dropped,
}

impl Writer {
    /// Starts the thread.
    pub fn new(mut to: Box<dyn Write + Send>) -> io::Result<Self> {
        let (queue, chunks) = sync_channel::<Vec<u8>>(QUEUE);
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let thread = std::thread::Builder::new()
            .name("gohang-writer".into())
            .spawn(move || {
                for chunk in chunks {
                    if let Err(error) = to.write_all(&chunk).and_then(|()| to.flush()) {
                        flag.store(true, Ordering::Release);
                        return Err(error);
                    }
                }
                Ok(())
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            failed,
        })
    }

    /// Whether nothing can be written any more.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Hands a chunk over if there is room.
    pub fn offer(&self, chunk: Vec<u8>) -> Sent {
        match self.queue.as_ref().map(|queue| queue.try_send(chunk)) {
            Some(Ok(())) => Sent::Yes,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                Sent::Dropped
            }
        }
    }

    /// Hands a chunk over, waiting for room: for what must not be dropped.
    pub fn insist(&self, chunk: Vec<u8>) -> Sent {
        match self.queue.as_ref().map(|queue| queue.send(chunk)) {
            Some(Ok(())) => Sent::Yes,
            Some(Err(_)) | None => Sent::Dropped,
        }
    }

    /// Waits until everything is written.
    pub fn finish(mut self) -> io::Result<()> {
        drop(self.queue.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the writer thread panicked")),
            None => Ok(()),
        }
    }
}
