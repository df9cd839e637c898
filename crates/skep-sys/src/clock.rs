//! Clocks, and what lies between them.

use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};
use std::time::Duration;

/// The clocks that events carry times of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clock {
    /// Time of day.
    Real,
    /// Since some point at boot, without time asleep.
    Monotonic,
    /// Since some point at boot, with time asleep.
    Boot,
    /// International atomic time: time of day without leap seconds.
    Tai,
}

impl Clock {
    /// The time now, in nanoseconds of this clock.
    pub fn now(self) -> i64 {
        let time = match self {
            Clock::Real => clock_gettime(ClockId::Realtime),
            Clock::Monotonic => clock_gettime(ClockId::Monotonic),
            Clock::Boot => clock_gettime(ClockId::Boottime),
            // Since 3.10; where it is refused, time of day is the nearest there is.
            Clock::Tai => clock_gettime_dynamic(DynamicClockId::Tai)
                .unwrap_or_else(|_| clock_gettime(ClockId::Realtime)),
        };
        let Timespec { tv_sec, tv_nsec } = time;
        tv_sec.wrapping_mul(1_000_000_000).wrapping_add(tv_nsec)
    }

    /// What to add to a time of this clock to get the same moment on the other, in nanoseconds; exact to
    /// about the time that reading a clock takes.
    pub fn offset_to(self, other: Clock) -> i64 {
        // The tightest of a few readings: one of them may be interrupted.
        let mut best = (i64::MAX, 0);
        for _ in 0..8 {
            let before = self.now();
            let there = other.now();
            let after = self.now();
            let width = after.wrapping_sub(before);
            if width < best.0 {
                best = (width, there.wrapping_sub(before.wrapping_add(width / 2)));
            }
        }
        best.1
    }
}

/// Time since boot, with time asleep.
pub fn uptime() -> Duration {
    Duration::from_nanos(u64::try_from(Clock::Boot.now()).unwrap_or(0))
}
