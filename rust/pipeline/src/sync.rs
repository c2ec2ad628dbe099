//! A lock with its condition variable; in unit tests that of a model, which tries many schedules.

use std::sync::PoisonError;
use std::time::Duration;

#[cfg(test)]
use shuttle::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(test))]
use std::sync::{Condvar, Mutex, MutexGuard};

/// A state that threads share, and wait for changes of. A thread that panicked leaves it usable.
pub struct Monitor<T> {
    state: Mutex<T>,
    changed: Condvar,
}

impl<T> Monitor<T> {
    pub fn new(state: T) -> Self {
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all threads that wait.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change.
    pub fn wait<'a>(&self, state: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, or until the time is over.
    #[cfg(not(test))]
    pub fn wait_for<'a>(&'a self, state: MutexGuard<'a, T>, time: Duration) -> MutexGuard<'a, T> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// In a model the time is over as soon as the scheduler comes back.
    #[cfg(test)]
    pub fn wait_for<'a>(&'a self, state: MutexGuard<'a, T>, _: Duration) -> MutexGuard<'a, T> {
        drop(state);
        shuttle::thread::yield_now();
        self.lock()
    }
}
