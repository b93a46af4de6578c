//! Ticks of a timer of the kernel's.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::session::readiness;

/// Ticks at equal distances. Tokio's own timers wake the process a second time for a tick that
/// is more than 64 ms away, and once more through its event descriptor when the next one is
/// set: beside a busy program each of those costs more than what is done at the tick.
pub(super) struct Ticks(AsyncFd<OwnedFd>);

impl Ticks {
    /// The first comes after one period.
    ///
    /// # Errors
    /// The kernel refuses a timer, or to watch it.
    pub fn every(period: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let period = Timespec::try_from(period).map_err(io::Error::other)?;
        let setting = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        readiness(timer).map(Self)
    }

    /// Waits for the next one; those that were missed are one.
    ///
    /// # Errors
    /// The timer cannot be read.
    pub async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let ticks = read(self.0.get_ref(), &mut [0u8; 8]);
            // Of what was there before: a tick that comes now makes it ready again.
            ready.clear_ready();
            match ticks {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn ticks_come_one_period_after_the_other() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let begin = Instant::now();
        runtime.block_on(async {
            let ticks = Ticks::every(Duration::from_millis(20)).expect("a timer");
            for n in 1..=3 {
                ticks.next().await.expect("a tick");
                assert!(begin.elapsed() >= Duration::from_millis(20 * n));
            }
            // Two are missed, and come as one.
            std::thread::sleep(Duration::from_millis(45));
            ticks.next().await.expect("those missed");
            ticks.next().await.expect("the next");
        });
        assert!(begin.elapsed() >= Duration::from_millis(120));
    }
}
