//! The time that counts toward the delivery timeout of a partition.

use std::time::Duration;

use tokio::time::Instant;

/// Runs while its partition gets no acknowledgement, and stands still while the broker has other
/// partitions to answer or has asked for a pause.
#[derive(Debug)]
pub(super) struct DeliveryClock {
    since: Instant,
    /// Until when waits for the broker have been taken into account.
    excused: Instant,
}

impl DeliveryClock {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, excused: now }
    }

    /// Excuses nothing before that moment.
    pub(super) fn count_until(&mut self, moment: Instant) {
        self.excused = self.excused.max(moment);
    }

    /// Excuses the time that has passed since it was last excused.
    pub(super) fn excuse(&mut self, now: Instant) {
        if self.excused < now {
            (self.since, self.excused) = (self.since + (now - self.excused), now);
        }
    }

    /// When a batch runs out of time.
    pub(super) fn deadline(&self, queued_at: Instant, timeout: Duration) -> Instant {
        queued_at.max(self.since) + timeout
    }
}
