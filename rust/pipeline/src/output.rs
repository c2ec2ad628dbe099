//! What a pipeline is generic over: how batches become pieces, and where the pieces go.

use std::iter::Sum;
use std::ops::{AddAssign, SubAssign};
use std::time::Duration;

use datagen_core::column::Batch;

/// How much there is of pieces.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Number of records.
    pub records: usize,
    /// Bytes as the output takes them.
    pub bytes: usize,
}

impl AddAssign for Size {
    fn add_assign(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
    }
}

impl SubAssign for Size {
    fn sub_assign(&mut self, less: Self) {
        self.records -= less.records;
        self.bytes -= less.bytes;
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), |mut sum, size| {
            sum += size;
            sum
        })
    }
}

/// Of which stream rows are, and of which partition alone, where they are of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// The position of the stream in the window.
    pub stream: usize,
    /// The partition of its topic.
    pub partition: Option<u32>,
}

/// What an output takes: a record batch, the rows of a COPY, a part of a file.
pub trait Piece: Send {
    /// How much it is.
    fn size(&self) -> Size;
}

/// Turns batches into pieces. Every worker has one of its own, with what it keeps between tasks.
pub trait Encode: Send {
    /// What it makes.
    type Piece: Piece;

    /// Begins a task of a lane. A piece should not be longer than `longest` bytes. What was made before
    /// must not show in the pieces.
    fn begin(&mut self, lane: Lane, longest: usize);

    /// Encodes a batch; pieces that are complete are added to `pieces`.
    fn push(&mut self, batch: &Batch, pieces: &mut Vec<Self::Piece>);

    /// Ends the task; all that is left of it is added to `pieces`.
    fn finish(&mut self, pieces: &mut Vec<Self::Piece>);
}

/// Takes the pieces of all streams. Called by all workers, for each lane by one at a time.
pub trait Output: Send + Sync {
    /// What it takes.
    type Piece: Piece;

    /// The bytes of the longest piece that it wants of a stream.
    fn longest(&self, stream: usize) -> usize {
        let _ = stream;
        usize::MAX
    }

    /// Whether it had capacity for more if it had taken so much already.
    fn has_capacity_beside(&self, held: Size) -> bool;

    /// Waits until it has capacity for more, or has failed; false if neither is so in time.
    fn wait_for_capacity(&self, timeout: Duration) -> bool;

    /// Whether it takes nothing any more.
    fn has_failed(&self) -> bool;

    /// Takes the next pieces of a stream, without waiting for capacity.
    fn hand_over(&self, stream: usize, pieces: Vec<Self::Piece>);
}
