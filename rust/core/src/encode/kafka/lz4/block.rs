//! A block of the format while it is written: literals, and matches by offsets.

use std::mem::replace;
use std::ops::Range;

use lz4_flex::block::get_maximum_output_size;

/// The longest block by the descriptor of the frame.
pub(super) const BLOCK: usize = 64 * 1024;

/// The least match of the format; ...
pub(super) const MIN_MATCH: usize = 4;
/// ... the least number of literals at the end of a block; ...
const LAST_LITERALS: usize = 5;
/// ... and how far before the end the last match begins.
const LAST_MATCH: usize = 12;

/// What is this short is neither a match by itself nor looked for.
pub(super) const SHORT: usize = 8;
/// The search looks at every `STEP`th byte, ...
const STEP: usize = 4;
/// ... and notes where these are that follow it, so that few are passed over, ...
const ALSO: [usize; 2] = [1, 2];
/// ... for as many bytes as this or more, ...
const FOUND: usize = 6;
/// ... in a table of where such bytes were seen last.
pub(super) const TABLE_BITS: u32 = 12;

/// Bytes are read and written by this many at a time.
const CHUNK: usize = 32;
/// A block, and what is read beyond it.
pub(super) type Window = [u8; BLOCK + CHUNK];
/// A compressed block, and what is written beyond it: no position in it needs a comparison.
pub(super) type Room = [u8; 2 * BLOCK + CHUNK];
const _: () = assert!(get_maximum_output_size(BLOCK) <= 2 * BLOCK);

pub(super) const ROOM: &str = "room for a block";

pub(super) type Table = [u16; 1 << TABLE_BITS];

/// A block being written.
pub(super) struct Block<'a, 'b> {
    window: &'a Window,
    room: &'b mut Room,
    /// Bytes of the block.
    len: usize,
    /// Where in the window the block has come to.
    at: usize,
    /// Where the last match begins at the latest, and ends.
    last_start: usize,
    last_end: usize,
}

impl<'a, 'b> Block<'a, 'b> {
    pub(super) fn new(window: &'a Window, room: &'b mut Room) -> Self {
        let (last_start, last_end) = (BLOCK, BLOCK);
        Self { window, room, len: 0, at: 0, last_start, last_end }
    }

    /// Says where the block ends, before what is there is added.
    pub(super) fn ends_at(&mut self, end: usize) {
        self.last_start = end.saturating_sub(LAST_MATCH);
        self.last_end = end.saturating_sub(LAST_LITERALS);
    }

    /// A match of all these bytes with those `offset` before, if they are equal; and of what is equal
    /// before them.
    #[inline]
    pub(super) fn copy(&mut self, offset: usize, range: Range<usize>) -> bool {
        let equal = range.len() >= MIN_MATCH && equal(self.window, offset, range.clone());
        if equal {
            self.put_longer(offset, range);
        }
        equal
    }

    /// The same, of as many as are equal.
    #[inline]
    pub(super) fn copy_beginning(&mut self, offset: usize, range: Range<usize>) {
        let end = common_end(self.window, offset, range.clone());
        if end - range.start >= MIN_MATCH {
            self.put_longer(offset, range.start..end);
        }
    }

    /// Matches of these bytes with what was looked for before.
    #[inline]
    pub(super) fn search(&mut self, table: &mut Table, range: Range<usize>) {
        let mut at = range.start;
        while at + SHORT <= range.end {
            at = self.find(table, at..range.end).unwrap_or_else(|| {
                for more in ALSO {
                    table[hash(word(self.window, at + more))] = (at + more) as u16;
                }
                at + STEP
            });
        }
    }

    /// A match of the beginning of these bytes, and where it ends.
    #[inline]
    pub(super) fn find(&mut self, table: &mut Table, range: Range<usize>) -> Option<usize> {
        let (window, at) = (self.window, range.start);
        let here = word(window, at);
        let found = usize::from(replace(&mut table[hash(here)], at as u16));
        let different = (word(window, found) ^ here) << (64 - 8 * FOUND) != 0;
        if different || found >= at {
            return None;
        }
        let end = common_end(window, at - found, at + FOUND..range.end);
        self.put_longer(at - found, at..end);
        Some(end)
    }

    #[inline]
    fn put_longer(&mut self, offset: usize, range: Range<usize>) {
        const WORD: usize = size_of::<u64>();
        let Range { start, end } = range;
        let mut more = 0;
        if start >= offset + WORD {
            let before = word(self.window, start - WORD) ^ word(self.window, start - WORD - offset);
            more = (before.leading_zeros() as usize / 8).min(start - self.at);
        }
        self.put(offset, start - more..end);
    }

    /// A sequence: the literals that are left, and a match.
    #[inline]
    fn put(&mut self, offset: usize, range: Range<usize>) {
        let Range { start, mut end } = range;
        if start > self.last_start {
            return;
        }
        // Long enough still, for the last match begins that long before.
        end = end.min(self.last_end);
        let more = end - start - MIN_MATCH;
        self.put_literals(start, more.min(15) as u8);
        set(self.room, self.len, (offset as u16).to_le_bytes());
        self.len += 2;
        self.put_len(more);
        self.at = end;
    }

    /// The bytes up to `end` as they are, and before them the lengths of theirs and of the match.
    #[inline]
    fn put_literals(&mut self, end: usize, match_len: u8) {
        let len = end - self.at;
        set(self.room, self.len, [(len.min(15) as u8) << 4 | match_len]);
        self.len += 1;
        self.put_len(len);
        let mut done = 0;
        while done < len {
            set::<CHUNK>(self.room, self.len + done, get(self.window, self.at + done));
            done += CHUNK;
        }
        self.len += len;
    }

    /// What of a length the four bits for it do not hold. A branch for those that they do is taken or
    /// not as it happens, and costs more than a byte that the next one overwrites.
    #[inline]
    fn put_len(&mut self, len: usize) {
        let mut rest = len.wrapping_sub(15);
        if len >= 15 + 255 {
            while rest >= 255 {
                set(self.room, self.len, [255]);
                self.len += 1;
                rest -= 255;
            }
        }
        set(self.room, self.len, [rest as u8]);
        self.len += usize::from(len >= 15);
    }

    pub(super) fn finish(mut self, end: usize) -> &'b [u8] {
        self.put_literals(end, 0);
        &self.room[..self.len]
    }
}

/// Whether these bytes and those `offset` before are equal.
#[inline]
fn equal(window: &Window, offset: usize, range: Range<usize>) -> bool {
    let here = &window[range.clone()];
    let there = &window[range.start - offset..range.end - offset];
    // A call for each comparison takes longer.
    let ((here_chunks, _), (there_chunks, _)) = (here.as_chunks::<16>(), there.as_chunks::<16>());
    match (here.last_chunk::<16>(), there.last_chunk::<16>()) {
        (Some(last), Some(other)) => {
            here_chunks.iter().zip(there_chunks).all(|(one, other)| one == other) && last == other
        }
        _ => common_end(window, offset, range.clone()) == range.end,
    }
}

/// Where these bytes and those `offset` before are not equal any more.
#[inline]
fn common_end(window: &Window, offset: usize, range: Range<usize>) -> usize {
    let mut at = range.start;
    while at < range.end {
        let diff = |at| word(window, at) ^ word(window, at - offset);
        let (first, second) = (diff(at), diff(at + 8));
        if first | second != 0 {
            let (equal, diff) = if first == 0 { (8, second) } else { (0, first) };
            at += equal + diff.trailing_zeros() as usize / 8;
            break;
        }
        at += 16;
    }
    at.min(range.end)
}

#[inline]
fn hash(word: u64) -> usize {
    const FACTOR: u64 = 0x9e37_79b1_85eb_ca87;
    ((word << (64 - 8 * FOUND)).wrapping_mul(FACTOR) >> (64 - TABLE_BITS)) as usize
}

#[inline]
fn word(window: &Window, at: usize) -> u64 {
    u64::from_le_bytes(get(window, at))
}

/// Bytes of a window. Positions are below [`BLOCK`]: to make them so is faster than to ask.
#[inline]
fn get<const N: usize>(window: &Window, at: usize) -> [u8; N] {
    let at = at % BLOCK;
    window[at..at + N].try_into().expect("as long as it is")
}

/// Sets bytes of a room in the same way.
#[inline]
fn set<const N: usize>(room: &mut Room, at: usize, bytes: [u8; N]) {
    let at = at % (2 * BLOCK);
    room[at..at + N].copy_from_slice(&bytes);
}
