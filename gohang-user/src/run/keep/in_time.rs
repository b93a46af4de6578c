//! A keeper in a thread of its own, that is waited for so long and no longer: a disk that does
//! not answer does not keep anybody from ending the command.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::run::evidence::{Evidence, Tests};
use crate::run::keeper::{Judged, Keeper};

/// How long a verdict may take, which is written before anything is ended.
const JUDGE: Duration = Duration::from_secs(3);
/// How long everything may take, once the command has been ended.
const KEEP: Duration = Duration::from_secs(60);

/// Something to do for the keeper.
enum Task {
    Judge(Box<Evidence>),
    Keep(Box<Evidence>),
    Ended(Box<Tests>),
}

/// What came of a task.
type Outcome = Result<Judged, String>;

/// Has another keeper do everything in time, or goes on without.
#[derive(Debug)]
pub struct InTime<K> {
    state: State<K>,
    judge: Duration,
    keep: Duration,
}

#[derive(Debug)]
enum State<K> {
    /// Its thread is not there yet: before the command is started there must not be any.
    Idle(Option<K>),
    At {
        tasks: Sender<Task>,
        outcomes: Receiver<Outcome>,
        /// Tasks that were not waited for to their end.
        open: usize,
    },
}

impl<K: Keeper + Send + 'static> InTime<K> {
    /// `keeper`, with the usual limits.
    #[must_use]
    pub fn new(keeper: K) -> Self {
        Self {
            state: State::Idle(Some(keeper)),
            judge: JUDGE,
            keep: KEEP,
        }
    }

    /// Has it do `task`, and what is still open before, within `limit`.
    fn within(&mut self, limit: Duration, task: Task) -> Outcome {
        if let State::Idle(keeper) = &mut self.state {
            let keeper = keeper.take().ok_or("there is no thread to write it")?;
            self.state = begin(keeper)?;
        }
        let State::At {
            tasks,
            outcomes,
            open,
        } = &mut self.state
        else {
            return Err("there is no thread to write it".to_owned());
        };
        if tasks.send(task).is_err() {
            return Err("the thread that writes it has ended".to_owned());
        }
        *open += 1;
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match outcomes.recv_timeout(left) {
                Ok(outcome) => {
                    *open -= 1;
                    if *open == 0 {
                        return outcome;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "what is known could not be written within {}: the disk does not answer \
                         (--bundle-dir names another one)",
                        crate::units::span(limit)
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the thread that writes it has ended".to_owned());
                }
            }
        }
    }
}

/// Starts the thread.
fn begin<K: Keeper + Send + 'static>(mut keeper: K) -> Result<State<K>, String> {
    let (tasks, asked) = channel();
    let (tell, outcomes) = channel();
    let work = move || {
        for task in asked {
            let outcome = match task {
                Task::Judge(evidence) => keeper.judge(&evidence),
                Task::Keep(evidence) => keeper.keep(&evidence),
                Task::Ended(tests) => keeper.ended(&tests).map(|()| Judged::default()),
            };
            // Nobody waits any more once gohang ends.
            let _ = tell.send(outcome);
        }
    };
    let thread = Builder::new().name("keeper".into()).spawn(work);
    thread.map_err(|error| format!("cannot start a thread to write it: {error}"))?;
    Ok(State::At {
        tasks,
        outcomes,
        open: 0,
    })
}

impl<K: Keeper + Send + 'static> Keeper for InTime<K> {
    fn judge(&mut self, evidence: &Evidence) -> Result<Judged, String> {
        self.within(self.judge, Task::Judge(Box::new(evidence.clone())))
    }

    fn keep(&mut self, evidence: &Evidence) -> Result<Judged, String> {
        self.within(self.keep, Task::Keep(Box::new(evidence.clone())))
    }

    fn ended(&mut self, tests: &Tests) -> Result<(), String> {
        let task = Task::Ended(Box::new(tests.clone()));
        self.within(self.keep, task).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes nothing until it is let.
    #[derive(Debug)]
    struct Slow(Receiver<&'static str>);

    impl Slow {
        fn next(&self) -> Outcome {
            let line = self.0.recv().map_err(|error| error.to_string())?;
            Ok(Judged {
                lines: vec![line.to_owned()],
                ..Judged::default()
            })
        }
    }

    impl Keeper for Slow {
        fn judge(&mut self, _: &Evidence) -> Outcome {
            self.next()
        }

        fn keep(&mut self, _: &Evidence) -> Outcome {
            self.next()
        }

        fn ended(&mut self, _: &Tests) -> Result<(), String> {
            self.next().map(drop)
        }
    }

    #[test]
    fn what_takes_too_long_is_not_waited_for() {
        let (write, disk) = channel();
        let mut keeper = InTime::new(Slow(disk));
        keeper.judge = Duration::from_millis(50);
        let evidence = Evidence::default();
        write.send("first").unwrap();
        assert_eq!(keeper.judge(&evidence).unwrap().lines, ["first"]);
        let begin = Instant::now();
        for _ in 0..2 {
            let why = keeper.judge(&evidence).unwrap_err();
            assert!(why.contains("does not answer"), "{why}");
        }
        assert!(begin.elapsed() >= keeper.judge * 2);
        // Once it answers again, the last is what counts.
        for line in ["second", "third", "kept", "ended"] {
            write.send(line).unwrap();
        }
        assert_eq!(keeper.keep(&evidence).unwrap().lines, ["kept"]);
        keeper.ended(&Tests::default()).unwrap();
        drop(write);
        assert!(keeper.keep(&evidence).is_err());
        assert!(begin.elapsed() < KEEP);
    }
}
