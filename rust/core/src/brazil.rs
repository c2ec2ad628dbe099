//! Brazilian rules and reference data: documents, calendar, places, names, merchants.

pub mod calendar;
pub mod data;
pub mod documents;
pub mod hours;
pub mod rates;

pub use data::{Reference, reference};
