//! A thread that runs on a CPU for a moment, when asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, Result, bail};

use crate::page::Page;
use crate::sys;

/// What a witness runs before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// As much as the thread that starts it.
    Same,
    /// Before nobody: it runs only while hardly anybody else wants the CPU.
    Last,
}

/// How often to look whether it has run, ns at pace 1.
const LOOK_NS: u64 = 50_000;

/// It looks when asked and is asleep otherwise, so that the CPU is idle when the target wants
/// it again: up to 6.17 the kernel lets a thread that gets its quota back wait for the next
/// tick if anything at all runs.
pub struct Witness {
    ask: Sender<()>,
    asked: u64,
    nap_ns: u64,
    /// When it ran last, and for which question.
    ran_ns: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
}

impl Witness {
    /// Starts one on this CPU.
    pub fn start(cpu: usize, rank: Rank, page: &Page) -> Result<Self> {
        let (ask, questions) = channel();
        let (ran_ns, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (ran, answer) = (Arc::clone(&ran_ns), Arc::clone(&answered));
        let (tell, ready) = channel();
        let work = move || {
            sys::pin(0, cpu);
            let yielded = match rank {
                Rank::Same => Ok(()),
                Rank::Last => sys::yield_to_all(),
            };
            let go_on = yielded.is_ok();
            // Whoever asked waits for this.
            let _ = tell.send(yielded);
            while go_on && questions.recv().is_ok() {
                ran.store(sys::mono_ns(), Ordering::Relaxed);
                answer.fetch_add(1, Ordering::Release);
            }
        };
        std::thread::Builder::new()
            .name("witness".to_owned())
            .spawn(work)?;
        ready
            .recv()?
            .context("the kernel does not let a thread be idle")?;
        Ok(Self {
            ask,
            asked: 0,
            nap_ns: page.paced(LOOK_NS),
            ran_ns,
            answered,
        })
    }

    /// Has it run once; when, if that was while `still` held.
    pub fn look(&mut self, still: impl Fn() -> bool) -> Result<Option<u64>> {
        // An answer that nobody waited for any more must not be taken for the next one.
        while self.answered.load(Ordering::Acquire) != self.asked {
            if !still() {
                return Ok(None);
            }
            sys::sleep_ns(self.nap_ns);
        }
        if self.ask.send(()).is_err() {
            bail!("the witness is gone");
        }
        self.asked += 1;
        while still() {
            if self.answered.load(Ordering::Acquire) == self.asked {
                let ran_ns = self.ran_ns.load(Ordering::Acquire);
                return Ok(still().then_some(ran_ns));
            }
            sys::sleep_ns(self.nap_ns);
        }
        Ok(None)
    }
}
