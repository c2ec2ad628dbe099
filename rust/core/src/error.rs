//! What the core refuses.

use std::fmt;

/// A refusal, before any row is made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A number outside its range.
    OutOfRange {
        /// Name of the option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { option, value, allowed } => {
                write!(f, "{option}: {value} is not allowed; use {allowed}")
            }
        }
    }
}

impl std::error::Error for Error {}
