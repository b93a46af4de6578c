//! Ending what runs in groups of gohang's own, and removing them.

use std::time::Duration;

use super::own::OwnError;

/// How long groups that go out of scope are given to empty.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Groups of gohang's own.
pub(super) trait Close {
    /// Ends every process inside.
    fn kill(&self, timeout: Duration) -> Result<(), OwnError>;

    /// Removes them, once they are empty.
    fn remove(&mut self, timeout: Duration) -> Result<(), OwnError>;

    /// Whether that has been done.
    fn is_removed(&self) -> bool;

    /// Both, each with `timeout`.
    fn close_within(&mut self, timeout: Duration) -> Result<(), OwnError> {
        self.kill(timeout)?;
        self.remove(timeout)
    }

    /// The same when they go out of scope; what cannot be removed is logged.
    fn close_at_last(&mut self) {
        if self.is_removed() {
            return;
        }
        if let Err(error) = self.close_within(DROP_TIMEOUT) {
            log::warn!("a group is left behind: {error}; `gohang clean` removes it");
        }
    }
}
