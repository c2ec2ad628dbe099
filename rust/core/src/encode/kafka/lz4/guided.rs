//! Records as blocks: where what repeats is in a record, and in which order a record is written.

use std::ops::Range;

use super::block::{BLOCK, Block, MIN_MATCH, ROOM, Room, SHORT, TABLE_BITS, Table, Window};
use crate::encode::kafka::varint::{self, unzigzag};

/// Compresses whole records to a block.
pub(super) struct Guided {
    table: Box<Table>,
    layout: Layout,
    /// The last records of a batch: the others are read where they are.
    window: Vec<u8>,
    pub(super) room: Vec<u8>,
}

impl Guided {
    pub(super) fn new() -> Self {
        Self {
            table: Box::new([0; 1 << TABLE_BITS]),
            layout: Layout::default(),
            window: vec![0; size_of::<Window>()],
            room: vec![0; size_of::<Room>()],
        }
    }

    /// Compresses as many records as are in a block: how long they are, and the block. `None` if it
    /// is not one.
    pub(super) fn compress<'a>(&'a mut self, records: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let len = records.len().min(BLOCK);
        let window: &Window = if let Some(window) = records.first_chunk() {
            window
        } else {
            self.window[..records.len()].copy_from_slice(records);
            self.window.first_chunk().expect(ROOM)
        };
        let mut record = Record::read(&window[..len], 0)?;
        self.table.fill(0);
        self.layout.forget();
        let table = &mut *self.table;
        let mut block = Block::new(window, self.room.first_chunk_mut().expect(ROOM));
        let mut last = None;
        loop {
            let next = Record::read(&window[..len], record.end);
            if next.is_none() {
                block.ends_at(record.end);
            }
            if let Some(last) = &last {
                self.layout.learn(window, last, &record);
                self.layout.put(&mut block, table, last, &record);
            } else {
                block.search(table, record.value.start..record.end);
            }
            let end = record.end;
            last = Some(record);
            match next {
                Some(next) => record = next,
                None => return Some((end, block.finish(end))),
            }
        }
    }
}

/// Bytes of the first record.
pub(super) fn record_len(records: &[u8]) -> usize {
    part(records, &mut 0).map_or(records.len(), |record| record.end)
}

/// Where the parts of a record are.
struct Record {
    key: Range<usize>,
    /// From its end to that of the record are the headers.
    value: Range<usize>,
    end: usize,
}

impl Record {
    /// The record that begins at `start`, if all of it is there.
    #[inline]
    fn read(bytes: &[u8], start: usize) -> Option<Self> {
        let mut at = start;
        let record = part(bytes, &mut at)?;
        at = record.start + 1; // attributes
        number(bytes, &mut at)?; // timestamp
        number(bytes, &mut at)?; // place in the batch
        let key = part(bytes, &mut at)?;
        let value = part(bytes, &mut at)?;
        (value.end <= record.end).then_some(Self { key, value, end: record.end })
    }

    /// Bytes after the value.
    const fn tail(&self) -> usize {
        self.end - self.value.end
    }
}

#[inline]
fn number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut rest = bytes.get(*at..)?;
    let number = varint::take(&mut rest)?;
    *at = bytes.len() - rest.len();
    Some(number)
}

/// A length, and so many bytes.
#[inline]
fn part(bytes: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let len = usize::try_from(unzigzag(number(bytes, at)?)).ok()?;
    let part = *at..at.checked_add(len)?;
    *at = part.end;
    (part.end <= bytes.len()).then_some(part)
}

/// Where what repeats is in records that are alike: found in two of them, and looked for there in
/// those that follow.
#[derive(Default)]
struct Layout {
    /// Bytes after the value; `None` as long as nothing is known.
    tail: Option<usize>,
    /// Those bytes, by their distance from the value: of records with another key than the record
    /// before, and with the same.
    pieces: [Vec<Piece>; 2],
    /// Where in a value the key is.
    key: Option<usize>,
    /// The part of a value that a header has too: nothing is looked for in it.
    id: Range<usize>,
    /// How often there was something to learn.
    learned: usize,
}

struct Piece {
    range: Range<usize>,
    /// Where these bytes are before: so far from the beginning of that.
    source: Source,
    from: usize,
    /// Whether all of them are there, or some that differ from record to record.
    whole: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// What follows the value of the record before.
    Before,
    Key,
    Value,
}

/// Parts are looked for in so many bytes of a value.
const HEAD: usize = 256;
/// Headers that are looked at.
const HEADERS: i64 = 16;
/// Records of a block that have parts of ever other lengths are not worth more than this.
const LESSONS: usize = 4;

impl Layout {
    fn forget(&mut self) {
        self.tail = None;
        self.learned = 0;
    }

    /// Finds what repeats, unless it is known already.
    #[inline]
    fn learn(&mut self, window: &Window, last: &Record, record: &Record) {
        let tail = Some(record.tail());
        if self.tail != tail && Some(last.tail()) == tail && self.learned < LESSONS {
            self.learned += 1;
            self.tail = self.find(window, last, record);
        }
    }

    #[cold]
    fn find(&mut self, window: &Window, last: &Record, record: &Record) -> Option<usize> {
        let bytes = &window[..record.end];
        let head = &bytes[record.value.clone()];
        let head = &head[..head.len().min(HEAD)];
        let in_value = |part: &[u8]| {
            let long = (SHORT..HEAD / 4).contains(&part.len());
            long.then(|| head.windows(part.len()).position(|found| found == part)).flatten()
        };
        let key = &bytes[record.key.clone()];
        (self.key, self.id) = (in_value(key), 0..0);

        let offset = record.value.end - last.value.end;
        let mut tails = [Tail::new(record.value.end), Tail::new(record.value.end)];
        let mut at = record.value.end;
        for _ in 0..unzigzag(number(bytes, &mut at)?).min(HEADERS) {
            part(bytes, &mut at)?; // name
            let range = part(bytes, &mut at)?;
            let value = &bytes[range.clone()];
            let source = if value.len() >= SHORT && value == key {
                Some((Source::Key, 0))
            } else if *value == window[range.start - offset..range.end - offset] {
                continue;
            } else if let Some(place) = in_value(value) {
                self.id = place..place + value.len();
                Some((Source::Value, place))
            } else {
                None
            };
            let [other, same] = &mut tails;
            other.push(range.clone(), source);
            if source != Some((Source::Key, 0)) {
                same.push(range, source);
            }
        }
        for (pieces, mut tail) in self.pieces.iter_mut().zip(tails) {
            tail.before(record.end, true);
            *pieces = tail.pieces;
        }
        Some(record.tail())
    }

    /// Adds a record to a block.
    #[inline]
    fn put(&self, block: &mut Block, table: &mut Table, last: &Record, record: &Record) {
        let Record { key, value, .. } = record;
        let known = self.tail == Some(record.tail()) && self.tail == Some(last.tail());
        if !known {
            return block.search(table, value.start..record.end);
        }
        let same_key = key.len() >= SHORT
            && key.len() == last.key.len()
            && block.copy(key.start - last.key.start, key.clone());
        if !same_key && key.len() >= SHORT {
            block.find(table, key.clone());
        }
        let mut from = value.start;
        if (1..=value.len()).contains(&self.id.end) {
            let frame = value.start..value.start + self.id.start;
            if !block.copy(value.start - last.value.start, frame.clone()) {
                block.search(table, frame);
            }
            from += self.id.end;
        }
        if let Some(place) = self.key {
            let again = value.start + place..value.start + place + key.len();
            if again.start >= from && again.end <= value.end {
                if again.start - from >= SHORT {
                    block.search(table, from..again.start);
                }
                block.copy(again.start - key.start, again.clone());
                from = again.end;
            }
        }
        block.search(table, from..value.end);

        let sources = [last.value.end, key.start, value.start];
        for piece in &self.pieces[usize::from(same_key)] {
            let range = value.end + piece.range.start..value.end + piece.range.end;
            let offset = range.start - sources[piece.source as usize] - piece.from;
            if piece.whole {
                block.copy(offset, range);
            } else {
                block.copy_beginning(offset, range);
            }
        }
    }
}

/// The pieces of the bytes after a value, of which those up to `done` are there.
struct Tail {
    value_end: usize,
    done: usize,
    pieces: Vec<Piece>,
}

impl Tail {
    const fn new(value_end: usize) -> Self {
        Self { value_end, done: value_end, pieces: Vec::new() }
    }

    /// Goes on with a header's value, and what is before it. A value without a source may begin as the
    /// one of the record before.
    fn push(&mut self, value: Range<usize>, source: Option<(Source, usize)>) {
        let end = value.end;
        if let Some((source, from)) = source {
            self.before(value.start, true);
            self.piece(value, source, from, true);
        } else {
            self.before(end, false);
        }
        self.done = end;
    }

    /// Goes on as the record before.
    fn before(&mut self, end: usize, whole: bool) {
        self.piece(self.done..end, Source::Before, self.done - self.value_end, whole);
    }

    fn piece(&mut self, range: Range<usize>, source: Source, from: usize, whole: bool) {
        if range.len() >= MIN_MATCH {
            let range = range.start - self.value_end..range.end - self.value_end;
            self.pieces.push(Piece { range, source, from, whole });
        }
    }
}
