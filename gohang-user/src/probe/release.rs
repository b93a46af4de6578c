//! Takes probes off Go programs in the background: each waits for the kernel to be sure
//! that no CPU is in it any more, a tenth of a second (6.18), in which nothing else would be
//! done.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use aya::programs::uprobe::UProbeLink;

/// Probes taken off at a time: the waits are shared.
const WORKERS: usize = 16;

/// The workers; those are done when it is dropped.
#[derive(Default)]
pub(super) struct Releaser {
    queue: Option<Sender<UProbeLink>>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Releaser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Releaser")
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

impl Releaser {
    /// Takes a probe off, some time from now.
    pub fn release(&mut self, link: UProbeLink) {
        if self.queue.is_none() {
            self.start();
        }
        if let Some(queue) = &self.queue {
            // Without workers the link comes back, and is dropped here.
            let _ = queue.send(link);
        }
    }

    fn start(&mut self) {
        let (queue, links) = channel();
        let links = Arc::new(Mutex::new(links));
        for _ in 0..WORKERS {
            let links = Arc::clone(&links);
            let worker = Builder::new().name("gohang-release".to_owned());
            match worker.spawn(move || work(&links)) {
                Ok(worker) => self.workers.push(worker),
                Err(error) => log::info!("a thread that takes probes off: {error}"),
            }
        }
        self.queue = Some(queue);
    }
}

/// Drops links until no more can come.
fn work(links: &Mutex<Receiver<UProbeLink>>) {
    loop {
        // Held while waiting: who gets it waits next, the others behind it.
        let next = links.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(link) = next else { return };
        drop(link);
    }
}

impl Drop for Releaser {
    fn drop(&mut self) {
        self.queue = None;
        for worker in self.workers.drain(..) {
            // A panic there is printed; what it held is off.
            let _ = worker.join();
        }
    }
}
