//! Boots machines side by side, as many as there are processors for.

use std::sync::{Condvar, Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::{Result, anyhow};

/// Processors of the host that are free.
struct Cores {
    all: usize,
    free: Mutex<usize>,
    freed: Condvar,
}

impl Cores {
    /// Runs `work` on so many of them, or on all if there are no more.
    fn with<T>(&self, wanted: usize, work: impl FnOnce() -> T) -> T {
        let wanted = wanted.min(self.all);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let few = |free: &mut usize| *free < wanted;
        let waited = self.freed.wait_while(free, few);
        *waited.unwrap_or_else(PoisonError::into_inner) -= wanted;
        let done = work();
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += wanted;
        self.freed.notify_all();
        done
    }
}

/// Runs `boot` for each job, in their order as far as there are processors free, each on as
/// many of `cores` as `wants` says, and hands the results over as they come.
///
/// # Errors
/// The first that `boot` returns.
pub fn boot_all<J: Sync, R: Send>(
    jobs: &[J],
    cores: usize,
    wants: impl Fn(&J) -> usize + Sync,
    boot: impl Fn(&J) -> Result<R> + Sync,
    mut take: impl FnMut(&J, R),
) -> Result<()> {
    let cores = Cores {
        all: cores,
        free: Mutex::new(cores),
        freed: Condvar::new(),
    };
    let next = Mutex::new(jobs.iter());
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..cores.all.clamp(1, jobs.len().max(1)) {
            let (sender, next, boot) = (sender.clone(), &next, &boot);
            let (cores, wants) = (&cores, &wants);
            scope.spawn(move || {
                loop {
                    let job = next.lock().ok().and_then(|mut jobs| jobs.next());
                    let Some(job) = job else { break };
                    let result = cores.with(wants(job), || boot(job));
                    if sender.send((job, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        for (job, result) in receiver {
            take(job, result?);
            done += 1;
        }
        if done == jobs.len() {
            Ok(())
        } else {
            Err(anyhow!("only {done} of {} machines booted", jobs.len()))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anyhow::bail;

    use super::*;

    #[test]
    fn every_machine_is_booted_and_heard_and_none_has_too_few_processors() {
        let jobs = [2, 1, 1, 5, 1, 2, 1];
        let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut heard = 0;
        let boot = |wanted: &usize| {
            let now = busy.fetch_add((*wanted).min(2), Ordering::SeqCst) + (*wanted).min(2);
            most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(std::time::Duration::from_millis(5));
            busy.fetch_sub((*wanted).min(2), Ordering::SeqCst);
            Ok(*wanted)
        };
        boot_all(&jobs, 2, |n| *n, boot, |_, wanted| heard += wanted).expect("all");
        assert_eq!(heard, jobs.iter().sum::<usize>());
        assert_eq!(most.into_inner(), 2);
    }

    #[test]
    fn an_error_ends_it() {
        let boot = |_: &()| -> Result<()> { bail!("no emulator") };
        assert!(boot_all(&[(); 5], 2, |()| 1, boot, |(), ()| {}).is_err());
    }
}
