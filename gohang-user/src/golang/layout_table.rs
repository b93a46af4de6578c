//! Offsets of the scheduler's structures by Go version, for programs without debug
//! information.
//!
//! Source: the debug information of programs built with 1.19.8, 1.20.6, 1.21.13,
//! 1.22.10, 1.23.1, 1.23.9, 1.24.3, 1.24.11, 1.25.0, 1.25.5, 1.26.0, 1.26.6, 1.27.0 and
//! 1.27.3, for amd64 and arm64; a test compares every row with that of each Go that it
//! is given.

use super::layout::Field;

/// The first and the last version with a row.
pub const OLDEST: u32 = 19;
pub const NEWEST: u32 = 27;

/// What differs between versions; the rest follows from it or is the same in all.
struct Row {
    /// `g.goid`; its neighbours move with it.
    goid: u32,
    /// `m.procid`, with `m.gsignal` and `m.curg`.
    procid: u32,
    /// `m.p`, with the members up to `m.incgo`.
    m_p: u32,
    /// `m.preemptGen`, with `m.signalPending`; `None` where it is not the same in all
    /// releases of a version.
    preempt_gen: Option<u32>,
    /// `p.m`.
    p_m: u32,
    /// `p.preempt`.
    p_preempt: u32,
}

impl Row {
    const fn new(goid: u32, procid: u32, m_p: u32, preempt_gen: Option<u32>, p: [u32; 2]) -> Self {
        Self {
            goid,
            procid,
            m_p,
            preempt_gen,
            p_m: p[0],
            p_preempt: p[1],
        }
    }

    const fn offset(&self, field: Field) -> Option<u32> {
        let offset = match field {
            Field::GStackLo | Field::MG0 | Field::PId => 0,
            Field::GStackHi => 8,
            Field::GStackguard0 => 16,
            Field::GM => 48,
            Field::GSchedPc => 64,
            Field::GAtomicstatus => self.goid - 8,
            Field::GGoid => self.goid,
            Field::GWaitreason => self.goid + 24,
            Field::GPreempt => self.goid + 25,
            Field::GPreemptStop => self.goid + 26,
            Field::GAsyncSafePoint => self.goid + 28,
            Field::MProcid => self.procid,
            Field::MGsignal => self.procid + 8,
            Field::MCurg => self.procid + 120,
            Field::MP => self.m_p,
            Field::MId => self.m_p + 24,
            Field::MMallocing => self.m_p + 32,
            Field::MPreemptoff => self.m_p + 40,
            Field::MLocks => self.m_p + 56,
            Field::MIncgo => self.m_p + 72,
            Field::MPreemptGen => return self.preempt_gen,
            Field::MSignalPending => match self.preempt_gen {
                Some(before) => before + 4,
                None => return None,
            },
            Field::PStatus => 4,
            Field::PSchedtick => 16,
            Field::PSysmontickSchedtick => 24,
            Field::PSysmontickSchedwhen => 32,
            Field::PM => self.p_m,
            Field::PPreempt => self.p_preempt,
        };
        Some(offset)
    }
}

/// From Go 1.[`OLDEST`] to Go 1.[`NEWEST`].
const ROWS: [Row; (NEWEST - OLDEST) as usize + 1] = [
    Row::new(152, 72, 208, Some(816), [56, 8904]),
    Row::new(152, 72, 208, Some(816), [56, 8896]),
    Row::new(152, 72, 208, Some(824), [56, 8904]),
    Row::new(152, 72, 208, Some(1136), [56, 8936]),
    Row::new(160, 72, 208, Some(872), [48, 8928]),
    // 896 in 1.24.3, 920 in 1.24.11.
    Row::new(160, 72, 208, None, [48, 8936]),
    Row::new(152, 64, 200, Some(912), [48, 9496]),
    Row::new(152, 64, 208, Some(912), [48, 13776]),
    Row::new(152, 64, 208, Some(912), [48, 13776]),
];

/// The offsets of [`Field::ALL`] in Go 1.`minor`; `None` when it has no row.
pub fn offsets(minor: u32) -> Option<[Option<u32>; Field::ALL.len()]> {
    let row = ROWS.get(minor.checked_sub(OLDEST)? as usize)?;
    Some(Field::ALL.map(|field| row.offset(field)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_outside_have_no_row() {
        assert!(offsets(OLDEST).is_some() && offsets(NEWEST).is_some());
        assert!(
            [0, OLDEST - 1, NEWEST + 1, u32::MAX]
                .iter()
                .all(|minor| offsets(*minor).is_none())
        );
    }
}
