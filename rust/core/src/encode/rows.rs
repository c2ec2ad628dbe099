//! The buffer that rows are written to.
//!
//! Before each row the buffer is made long enough for any row of the batch. A row is then written
//! through a slice that shrinks from the front, so that each value costs one comparison and no
//! call; appending to a `Vec` takes a fifth longer.

use std::mem::take;
use std::ops::Range;

use super::{Cells, Encoded};
use crate::column::{Texts, Typed};

/// The buffer grows by this much: small enough to be in the nearest cache when it is written.
const BLOCK: usize = 16 * 1024;

/// Short texts are copied by this many bytes.
const CHUNK: usize = 2 * HALF;
const HALF: usize = 16;

/// Rows written so far, and room for more.
pub(super) struct Rows {
    /// The rows, then zeros.
    bytes: Vec<u8>,
    offsets: Vec<i64>,
    used: usize,
    /// Most bytes of a row.
    row_len: usize,
}

impl Rows {
    /// Room for `rows` rows of these columns, where a row takes at most `per_row` bytes, `width` of
    /// each column, and the texts themselves.
    pub(super) fn new(
        rows: usize,
        columns: &[Cells],
        per_row: usize,
        width: impl Fn(&Cells) -> usize,
    ) -> Self {
        let fixed = per_row + columns.iter().map(width).sum::<usize>() + CHUNK;
        let (mut longest, mut total) = (0, 0);
        for column in columns {
            if let Typed::Text(texts) = column.data {
                longest += longest_text(texts);
                total += texts.bytes.len();
            }
        }
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let row_len = fixed + longest;
        // Too much does no harm: memory that is never written is never paged in.
        let bytes = Vec::with_capacity(rows * fixed + total + row_len + BLOCK);
        Self { bytes, offsets, used: 0, row_len }
    }

    /// Adds the row that `write` writes.
    #[inline]
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Row)) {
        if self.bytes.len() - self.used < self.row_len {
            self.bytes.resize(self.used + self.row_len + BLOCK, 0);
        }
        let room = &mut self.bytes[self.used..];
        let len = room.len();
        let mut row = Row { rest: room };
        write(&mut row);
        self.used += len - row.rest.len();
        self.offsets.push(self.used as i64);
    }

    /// All rows.
    pub(super) fn finish(mut self) -> Encoded {
        self.bytes.truncate(self.used);
        Encoded { bytes: self.bytes, offsets: self.offsets }
    }
}

fn longest_text(texts: &Texts) -> usize {
    let ends = texts.offsets.iter().skip(1);
    ends.zip(&texts.offsets).map(|(end, start)| end - start).max().unwrap_or(0) as usize
}

/// The row being written: what is left of the room for it.
pub(super) struct Row<'a> {
    rest: &'a mut [u8],
}

impl Row<'_> {
    /// Writes `N` bytes.
    #[inline]
    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        *self.ahead() = bytes;
        self.advance(N);
    }

    /// The next `N` bytes, to be written in place and then passed over, all or some, by `advance`.
    #[inline]
    pub(super) fn ahead<const N: usize>(&mut self) -> &mut [u8; N] {
        self.rest.first_chunk_mut().expect("room for a row")
    }

    /// Passes over bytes that were written.
    #[inline]
    pub(super) fn advance(&mut self, len: usize) {
        self.rest = &mut take(&mut self.rest)[len..];
    }

    /// Writes a part of `bytes`. A short one takes what follows it along, to be overwritten: a
    /// copy of known size is an instruction or two, and one of unknown size a call.
    #[expect(clippy::inline_always, reason = "a call takes longer than the copy")]
    #[inline(always)]
    pub(super) fn copy(&mut self, bytes: &[u8], part: Range<usize>) {
        // Its length by `Range::len` is an instruction or two more, for every text.
        let len = part.end - part.start;
        match bytes.get(part.start..).and_then(|b| b.first_chunk::<CHUNK>()) {
            // As numbers: two copies of bytes would be made one, of unknown size.
            Some(chunk) if len <= CHUNK => {
                let (low, high) = chunk.split_first_chunk::<HALF>().expect("half a chunk");
                let high = high.first_chunk::<HALF>().expect("the other half");
                let (low, high) = (u128::from_ne_bytes(*low), u128::from_ne_bytes(*high));
                let room = self.ahead::<CHUNK>();
                room[..HALF].copy_from_slice(&low.to_ne_bytes());
                room[HALF..].copy_from_slice(&high.to_ne_bytes());
            }
            _ => self.rest[..len].copy_from_slice(&bytes[part]),
        }
        self.advance(len);
    }
}

/// Where the text of row `row` is in `texts.bytes`.
#[inline]
pub(super) fn part(texts: &Texts, row: usize) -> Range<usize> {
    texts.offsets[row] as usize..texts.offsets[row + 1] as usize
}
