//! Crossing between Python and Rust: work without the GIL, and integers and indices of any size.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use datagen_core::error::Error;
use pyo3::exceptions::{PyIndexError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::error::{from_core, option_error};

/// How long Rust waits before signals are looked at.
const PATIENCE: Duration = Duration::from_millis(100);

/// Does Rust work without the GIL, then lets Ctrl-C and other signals be heard.
///
/// The work must be short, a batch at most: a signal waits until it is done.
pub fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    let outcome = py.detach(work);
    py.check_signals()?;
    outcome.map_err(|error| from_core(py, error))
}

/// Waits without the GIL for so many seconds, in slices between which signals are heard.
pub fn wait<T: Send>(
    py: Python<'_>,
    seconds: f64,
    mut wait: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let timeout = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let began = Instant::now();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let found = py.detach(|| wait(left.min(PATIENCE)));
        py.check_signals()?;
        if found.is_some() || left.is_zero() {
            return Ok(found);
        }
    }
}

/// A Python index, which counts from the end where it is negative, as a position.
pub fn position(index: isize, len: usize) -> PyResult<usize> {
    let from_start = if index < 0 { index + len as isize } else { index };
    usize::try_from(from_start)
        .ok()
        .filter(|&row| row < len)
        .ok_or_else(|| PyIndexError::new_err(format!("row {index} of {len}")))
}

/// An integer argument of any size, so that one out of range is refused by name and value where
/// `PyO3` alone would raise `OverflowError`.
pub struct Number {
    /// What was given, or the nearest `i128`.
    value: i128,
    /// What was given, unless it is a default.
    given: Option<Py<PyAny>>,
}

impl Number {
    /// A default.
    pub const fn new(value: i128) -> Self {
        Self { value, given: None }
    }

    /// As an integer of the type of the range, if it lies within.
    pub fn within<T>(&self, py: Python<'_>, option: &str, range: &RangeInclusive<T>) -> PyResult<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        T::try_from(self.value).ok().filter(|value| range.contains(value)).ok_or_else(|| {
            let allowed = format!("{} to {}", range.start(), range.end());
            option_error(py, option, self.given(py), &allowed)
        })
    }

    /// The nearest integer of a narrower type, where the core is to judge the range.
    pub fn nearest<T: TryFrom<i128>>(&self, lowest: T, highest: T) -> T {
        T::try_from(self.value).unwrap_or(if self.value < 0 { lowest } else { highest })
    }

    /// The Python object, for an error to show.
    pub fn given<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.given.as_ref().map(|given| given.bind(py).clone())
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        // An int without the operators of its own that a subclass may have.
        let plain = if object.is_instance_of::<PyInt>() {
            py.get_type::<PyInt>().call_method1("__index__", (object,))?
        } else {
            object.to_owned()
        };
        let value = match plain.extract::<i128>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => {
                if plain.lt(0)? {
                    i128::MIN
                } else {
                    i128::MAX
                }
            }
            other => other?,
        };
        Ok(Self { value, given: Some(object.to_owned().unbind()) })
    }
}
