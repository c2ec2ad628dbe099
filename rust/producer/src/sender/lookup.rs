//! When to ask the cluster for something, in the background and once at a time.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Client;

pub(super) struct Lookup {
    pub(super) wanted: bool,
    running: bool,
    not_before: Instant,
    failures: u32,
}

impl Lookup {
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, running: false, not_before: Instant::now(), failures: 0 }
    }

    /// When it is to be started, unless it runs already or is not wanted.
    pub(super) fn starts_at(&self) -> Option<Instant> {
        (self.wanted && !self.running).then_some(self.not_before)
    }

    /// Whether it starts now.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        let starts = self.starts_at().is_some_and(|moment| moment <= now);
        if starts {
            (self.running, self.wanted) = (true, false);
        }
        starts
    }

    /// It has ended, with the pause that the cluster asks for if it has answered.
    pub(super) fn end(&mut self, throttle: Option<Duration>, client: &Client) {
        self.running = false;
        self.wanted |= throttle.is_none();
        self.failures = throttle.map_or(self.failures + 1, |_| 0);
        // What is wanted within this time would get the same answer.
        let wait = client.backoff(self.failures).max(throttle.unwrap_or_default());
        self.not_before = Instant::now() + wait;
    }
}
