//! Words of the preemption chain: who asks a goroutine to yield, and what comes of it.

macro_rules! words {
    ($(#[doc = $of:literal])* $name:ident { $($(#[doc = $doc:literal])* $word:ident = $number:literal, $text:literal;)* }) => {
        $(#[doc = $of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])* $word = $number,)* }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// Name as in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$word => $text,)* }
            }

            /// The one with this number.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$word),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// Who asks a goroutine to yield: the functions of the runtime that call
    /// `preemptone` or `signalM` (the same from Go 1.19 to 1.27).
    Asker {
        /// Not known.
        Other = 0, "other";
        /// `retake`: sysmon, because a slice of 10 ms is over.
        Retake = 1, "retake";
        /// `stopTheWorldWithSema`.
        StopTheWorld = 2, "stop_the_world";
        /// `forEachP`, from Go 1.22 `forEachPInternal`: something is to be done on every P.
        ForEachP = 3, "for_each_p";
        /// `freezetheworld`: the program is about to end with a dump.
        Freeze = 4, "freeze";
        /// `gcControllerState.enlistWorker`: garbage collection wants a worker.
        EnlistWorker = 5, "enlist_worker";
        /// `suspendG`: a stack is to be scanned, or a trace's generation ends.
        Suspend = 6, "suspend";
    }
}

words! {
    /// What came of a request to yield.
    RequestEnd {
        /// The signal's handler made the goroutine yield.
        YieldedAsync = 0, "yielded_async";
        /// It yielded by itself, at a call or because it had to wait.
        YieldedCooperatively = 1, "yielded_cooperatively";
        /// The P was not running, or not a goroutine: nothing was sent.
        NotRunning = 2, "not_running";
        /// A signal is under way to that thread: none was sent.
        AlreadyPending = 3, "already_pending";
        /// Asynchronous preemption is off: nothing was sent.
        Disabled = 4, "disabled";
        /// Delivered, but the request was over by then.
        NotWanted = 5, "not_wanted";
        /// Delivered while the thread ran something else, as the scheduler.
        WrongGoroutine = 6, "wrong_goroutine";
        /// Delivered while the thread held locks, allocated, or must not be preempted.
        ThreadState = 7, "thread_state";
        /// Delivered where the goroutine cannot be preempted.
        UnsafePoint = 8, "unsafe_point";
        /// The handler's end was not seen before the next request.
        Superseded = 9, "superseded";
        /// The thread ended.
        Exited = 10, "exited";
        /// The kernel delivered it, but the runtime's handler did not run.
        NoHandler = 11, "no_handler";
        /// Nothing was sent, for a reason that was not seen.
        NotSent = 12, "not_sent";
    }
}

impl RequestEnd {
    /// Whether the goroutine left its P.
    #[must_use]
    pub const fn is_yield(self) -> bool {
        matches!(self, Self::YieldedAsync | Self::YieldedCooperatively)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_their_own() {
        for (number, end) in RequestEnd::ALL.iter().enumerate() {
            assert_eq!(*end as usize, number);
            assert_eq!(RequestEnd::from_u8(number as u8), Some(*end));
        }
        for (number, asker) in Asker::ALL.iter().enumerate() {
            assert_eq!(*asker as usize, number);
            assert_eq!(Asker::from_u8(number as u8), Some(*asker));
        }
        assert_eq!(RequestEnd::from_u8(RequestEnd::ALL.len() as u8), None);
        assert_eq!(Asker::from_u8(u8::MAX), None);
        let mut names: Vec<_> = RequestEnd::ALL.iter().map(|end| end.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RequestEnd::ALL.len());
    }
}
