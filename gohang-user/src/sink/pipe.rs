//! Output that may be closed by its reader at any time.

use std::io::{self, Write as _};

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It went out.
    Yes,
    /// Nobody reads any more: stop writing, it is no error.
    Closed,
}

/// Takes a closed pipe for an end, not for an error.
///
/// # Errors
/// Every other failure.
pub fn tolerate_closed(result: io::Result<()>) -> io::Result<Written> {
    match result {
        Ok(()) => Ok(Written::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Written::Closed),
        Err(error) => Err(error),
    }
}

/// Writes to stdout and flushes.
///
/// # Errors
/// Anything but a closed pipe.
pub fn print(bytes: &[u8]) -> io::Result<Written> {
    let mut stdout = io::stdout().lock();
    tolerate_closed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_forgiven() {
        let error = |kind| Err(io::Error::from(kind));
        assert_eq!(tolerate_closed(Ok(())).expect("fine"), Written::Yes);
        assert_eq!(
            tolerate_closed(error(io::ErrorKind::BrokenPipe)).expect("fine"),
            Written::Closed
        );
        assert!(tolerate_closed(error(io::ErrorKind::StorageFull)).is_err());
    }

    #[test]
    fn a_real_closed_pipe_is_recognised() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(
            tolerate_closed(writer.write_all(b"x")).expect("fine"),
            Written::Closed
        );
    }
}
