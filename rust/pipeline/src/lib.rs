//! The events of a window, made by threads and handed to an output in order.
//!
//! ```text
//! window → tasks → workers: make → check → leave out → encode → hand over → output
//! ```
//!
//! A [`Window`] is some streams and a range of customers, in one of two orders. It is cut into tasks, each
//! a part of a *lane*:
//!
//! - By entity, a lane is a stream, and a task is about a thousand customers of it; a task depends on nothing
//!   but the plan.
//! - In time, a lane is a partition of a stream's topic, and a task is a slice of time of it. The cursors of all
//!   entities are prepared first, by all workers. Then a lane is at one slice at a time, and the worker
//!   leaves it where the next slice begins.
//!
//! Workers are threads; each takes the next task, makes its batches, checks each against the ids that its
//! foreign keys may hold ([`Parents`]), leaves out what the output had before, has an encoder of its own turn it into pieces ([`Encode`]), and
//! hands the pieces to the [`Output`]. This crate knows no Python and no network, and starts the only
//! threads that make or count events.
//!
//! For any number of workers:
//!
//! - **Order.** The output gets the pieces of a lane in the order of the tasks, and those of a task in
//!   the order in which they were made. Lanes are handed over side by side; in time none is more than a
//!   slice before another. A piece does not depend on the number of workers.
//! - **Back-pressure.** What workers hold counts as if the output had it: a worker waits while both
//!   together fill the capacity of the output. A worker whose task is the next one of its lane
//!   hands over what it has instead, once the output itself has capacity, so that one can always
//!   go on. So workers hold at most the capacity, and besides it one batch each and the last pieces of
//!   a task each.
//! - **Integrity.** A batch with a foreign key that points nowhere is a [`Violation`], a value. The
//!   output gets every task of the lane before it, nothing after it, and of its own task only what
//!   back-pressure has already asked for.
//! - **End.** A pipeline ends when everything is handed over, or with the first [`Halt`]: a violation, a
//!   failed output, a panic, or a cancellation. Its workers then end within a batch.
//!
//! [`KeyStore`] is the one check of foreign keys and primary keys: it remembers the ids that were
//! handed over, and the workers read the same sets. [`count()`] counts events by several threads.

mod check;
mod count;
mod handover;
pub mod kafka;
mod output;
mod pipeline;
mod sync;
mod window;

pub use check::{KeyStore, Parents, SharedKeySet, Violation, parent_word};
pub use count::count;
pub use handover::Halt;
pub use output::{Encode, Lane, Output, Piece, Size};
pub use pipeline::{Pipeline, Progress};
pub use window::Window;
