//! Takes probes off Go programs in the background. Each makes the kernel wait for every CPU to
//! have left the probe, perf events under its one lock of trace events: 85 ms have been
//! measured (6.18), in which nothing else would be done.

use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::uprobes::Link;

/// The thread that does it; what it was given is off when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Releaser {
    queue: Option<Sender<Link>>,
    thread: Option<JoinHandle<()>>,
}

impl Releaser {
    /// Takes a probe off, some time from now.
    pub fn release(&mut self, link: Link) {
        if self.queue.is_none() {
            let (queue, links) = channel::<Link>();
            let thread = Builder::new().name("gohang-release".to_owned());
            match thread.spawn(move || links.into_iter().for_each(drop)) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => log::info!("a thread that takes probes off: {error}"),
            }
            self.queue = Some(queue);
        }
        if let Some(queue) = &self.queue {
            // Without the thread the link comes back, and is dropped here.
            let _ = queue.send(link);
        }
    }
}

impl Drop for Releaser {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; what it held is off.
            let _ = thread.join();
        }
    }
}
