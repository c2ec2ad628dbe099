//! LZ4 frames of records, by a compressor that knows what repeats in a record.
//!
//! A record has its key again in its value and in a header, another part of its value in another header,
//! and names and most values of headers as the record before it has them. These are matches by what a
//! record is, written without a search; for the rest of the value there is one, which is short. Every
//! match is compared before it is written, so records of any other kind only get longer.

use std::mem::replace;
use std::ops::Range;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::varint::{self, unzigzag};

/// A magic number; version 1, independent blocks without checksums, neither the length nor a checksum
/// of the content; blocks of up to 64 KiB; and the second byte of the xxHash-32 of both.
const DESCRIPTOR: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
/// Marks a block as it was, because it would not get shorter.
const PLAIN: u32 = 1 << 31;
/// Where the next block would have its length.
const END: u32 = 0;
/// The longest block by the descriptor.
const BLOCK: usize = 64 * 1024;

/// LZ4 Frame Format 1.6, as Kafka's `Lz4BlockOutputStream` writes it: a descriptor, blocks with
/// their length before them, and a length of 0. Kafka reads blocks that are independent, and no other.
pub(super) struct Lz4 {
    guided: Guided,
    table: CompressTable,
}

impl Lz4 {
    pub(super) fn new() -> Self {
        Self { guided: Guided::new(), table: CompressTable::large() }
    }

    /// Appends these records, compressed, to `out`.
    pub(super) fn compress(&mut self, records: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&DESCRIPTOR);
        let mut left = records;
        while !left.is_empty() {
            // A block of whole records, or one that is too long for that in blocks of its own.
            if let Some((read, block)) = self.guided.compress(left) {
                put_block(&left[..read], block, out);
                left = &left[read..];
            } else {
                let (record, rest) = left.split_at(record_len(left));
                for plain in record.chunks(BLOCK) {
                    let room = &mut self.guided.room[..];
                    let len = compress_into_with_table(plain, room, &mut self.table).expect(ROOM);
                    put_block(plain, &room[..len], out);
                }
                left = rest;
            }
        }
        out.extend_from_slice(&END.to_le_bytes());
    }
}

fn put_block(plain: &[u8], compressed: &[u8], out: &mut Vec<u8>) {
    if compressed.len() < plain.len() {
        out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
        out.extend_from_slice(compressed);
    } else {
        out.extend_from_slice(&(plain.len() as u32 | PLAIN).to_le_bytes());
        out.extend_from_slice(plain);
    }
}

/// What [`Lz4::compress`] was given; `None` if this is not what it made of it.
pub(super) fn decompress(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut left = bytes.strip_prefix(&DESCRIPTOR)?;
    loop {
        let (len, rest) = left.split_first_chunk()?;
        let len = u32::from_le_bytes(*len);
        if len == END {
            return Some(());
        }
        let (block, rest) = rest.split_at_checked((len & !PLAIN) as usize)?;
        if len & PLAIN == 0 {
            out.extend(lz4_flex::block::decompress(block, BLOCK).ok()?);
        } else {
            out.extend_from_slice(block);
        }
        left = rest;
    }
}

/// The least match of the format; ...
const MIN_MATCH: usize = 4;
/// ... the least number of literals at the end of a block; ...
const LAST_LITERALS: usize = 5;
/// ... and how far before the end the last match begins.
const LAST_MATCH: usize = 12;

/// What is this short is neither a match by itself nor looked for.
const SHORT: usize = 8;
/// The search looks at every `STEP`th byte, ...
const STEP: usize = 5;
/// ... and notes where these are that follow it, so that few are passed over, ...
const ALSO: [usize; 2] = [1, 3];
/// ... for as many bytes as this or more, ...
const FOUND: usize = 6;
/// ... in a table of where such bytes were seen last.
const TABLE_BITS: u32 = 12;

/// Bytes are read and written by this many at a time.
const CHUNK: usize = 32;
/// A block, and what is read beyond it.
type Window = [u8; BLOCK + CHUNK];
/// A compressed block, and what is written beyond it: no position in it needs a comparison.
type Room = [u8; 2 * BLOCK + CHUNK];
const _: () = assert!(get_maximum_output_size(BLOCK) <= 2 * BLOCK);

const ROOM: &str = "room for a block";

/// Compresses whole records to a block.
struct Guided {
    table: Box<Table>,
    layout: Layout,
    /// The last records of a batch: the others are read where they are.
    window: Vec<u8>,
    room: Vec<u8>,
}

impl Guided {
    fn new() -> Self {
        Self {
            table: Box::new([0; 1 << TABLE_BITS]),
            layout: Layout::default(),
            window: vec![0; size_of::<Window>()],
            room: vec![0; size_of::<Room>()],
        }
    }

    /// Compresses as many records as are in a block: how long they are, and the block. `None` if it
    /// is not one.
    fn compress<'a>(&'a mut self, records: &'a [u8]) -> Option<(usize, &'a [u8])> {
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
fn record_len(records: &[u8]) -> usize {
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

type Table = [u16; 1 << TABLE_BITS];

/// A block being written.
struct Block<'a, 'b> {
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
    fn new(window: &'a Window, room: &'b mut Room) -> Self {
        let (last_start, last_end) = (BLOCK, BLOCK);
        Self { window, room, len: 0, at: 0, last_start, last_end }
    }

    /// Says where the block ends, before what is there is added.
    fn ends_at(&mut self, end: usize) {
        self.last_start = end.saturating_sub(LAST_MATCH);
        self.last_end = end.saturating_sub(LAST_LITERALS);
    }

    /// A match of all these bytes with those `offset` before, if they are equal; and of what is equal
    /// before them.
    #[inline]
    fn copy(&mut self, offset: usize, range: Range<usize>) -> bool {
        let equal = range.len() >= MIN_MATCH && equal(self.window, offset, range.clone());
        if equal {
            self.put_longer(offset, range);
        }
        equal
    }

    /// The same, of as many as are equal.
    #[inline]
    fn copy_beginning(&mut self, offset: usize, range: Range<usize>) {
        let end = common_end(self.window, offset, range.clone());
        if end - range.start >= MIN_MATCH {
            self.put_longer(offset, range.start..end);
        }
    }

    /// Matches of these bytes with what was looked for before.
    #[inline]
    fn search(&mut self, table: &mut Table, range: Range<usize>) {
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
    fn find(&mut self, table: &mut Table, range: Range<usize>) -> Option<usize> {
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

    fn finish(mut self, end: usize) -> &'b [u8] {
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::varint::zigzag;
    use super::*;

    /// Compresses, checks every block by the rules of the format, and returns the length.
    fn check(lz4: &mut Lz4, records: &[u8]) -> usize {
        let mut out = Vec::new();
        lz4.compress(records, &mut out);
        let mut again = Vec::new();
        decompress(&out, &mut again).expect("a frame");
        assert!(again == records, "{} bytes", records.len());
        let mut left = &out[DESCRIPTOR.len()..];
        loop {
            let (len, rest) = left.split_first_chunk().expect("a length");
            let len = u32::from_le_bytes(*len);
            let (block, rest) = rest.split_at((len & !PLAIN) as usize);
            if len == END {
                assert!(rest.is_empty());
                return out.len();
            }
            if len & PLAIN == 0 {
                check_block(block);
            }
            left = rest;
        }
    }

    /// LZ4 Block Format, "End of block conditions", and what is said there of offsets.
    fn check_block(mut block: &[u8]) {
        let (mut len, mut last) = (0, None);
        loop {
            let token = take(&mut block);
            let literals = whole_len(token >> 4, &mut block);
            len += literals;
            block = &block[literals..];
            if block.is_empty() {
                assert!(len <= BLOCK);
                if let Some(start) = last {
                    assert!(literals >= 5 && len - start >= 12, "{literals}, {}", len - start);
                }
                return;
            }
            let offset = usize::from(take(&mut block)) | usize::from(take(&mut block)) << 8;
            assert!((1..=len).contains(&offset), "{offset} at {len}");
            last = Some(len);
            len += whole_len(token & 15, &mut block) + 4;
        }
    }

    fn take(block: &mut &[u8]) -> u8 {
        let (byte, rest) = block.split_first().expect("another byte");
        *block = rest;
        *byte
    }

    fn whole_len(short: u8, block: &mut &[u8]) -> usize {
        let mut len = usize::from(short);
        let mut more = short == 15;
        while more {
            let byte = take(block);
            len += usize::from(byte);
            more = byte == 255;
        }
        len
    }

    fn put(out: &mut Vec<u8>, bytes: &[u8]) {
        varint::put(out, zigzag(bytes.len() as i64));
        out.extend_from_slice(bytes);
    }

    /// A record of a key, a value, and headers.
    fn record(key: &[u8], value: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut body = vec![0, 0, 0];
        put(&mut body, key);
        put(&mut body, value);
        varint::put(&mut body, zigzag(headers.len() as i64));
        for (name, value) in headers {
            put(&mut body, name);
            put(&mut body, value);
        }
        let mut out = Vec::new();
        put(&mut out, &body);
        out
    }

    /// Bytes that do not repeat, others for each `n`.
    fn noise(n: u64, len: usize) -> Vec<u8> {
        let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| byte()).collect()
    }

    /// What is known of a record is all that repeats here, and it is found.
    #[test]
    fn what_repeats_in_a_record_is_written_once() {
        let records: Vec<u8> = (0..100)
            .flat_map(|n| {
                let (key, id) = (noise(3 * n, 36), noise(3 * n + 1, 36));
                let value = [b"\0\0\0\0\x01H", &id[..], b"H", &key, &noise(3 * n + 2, 20)].concat();
                let constant = noise(1_000, 60);
                let headers: [(&[u8], &[u8]); 3] =
                    [(b"source", &constant), (b"id", &id), (b"subject", &key)];
                record(&key, &value, &headers)
            })
            .collect();
        // Of each record: key, id and the rest of its value, 92 bytes; its numbers; and six matches.
        let len = check(&mut Lz4::new(), &records);
        assert!((92 * 100..130 * 100).contains(&len), "{len} of {}", records.len());
    }

    #[test]
    fn a_block_ends_by_the_rules_wherever_it_does() {
        let mut lz4 = Lz4::new();
        for len in 0..80 {
            for tail in 0..40 {
                let (value, header) = (vec![b'v'; len], vec![b'h'; tail]);
                let one = record(b"a key of some length", &value, &[(b"name", &header)]);
                check(&mut lz4, &one);
                check(&mut lz4, &one.repeat(2));
                check(&mut lz4, &one.repeat(3));
            }
        }
        for n in 0..12 {
            // A block that is full to its last bytes, and one that is not.
            for short in 0..40 {
                let value = noise(n, BLOCK - 200 - short);
                let last = record(b"key", &[b'v'; 150], &[(b"name", b"value")]);
                check(&mut lz4, &[record(b"key", &value, &[]), last.clone(), last].concat());
            }
        }
    }

    #[test]
    fn a_record_longer_than_a_block() {
        let mut lz4 = Lz4::new();
        for len in [BLOCK - 20, BLOCK - 1, BLOCK, 3 * BLOCK + 17] {
            let long = record(b"key", &vec![b'v'; len], &[(b"name", b"value")]);
            let short = record(b"key", b"value", &[(b"name", b"value")]);
            let all = [&short[..], &long, &short, &short, &long].concat();
            assert!(check(&mut lz4, &all) < len / 50 + 200);
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..60),
            vec(97_u8..99, 0..60),
            (any::<u8>(), 0_usize..400).prop_map(|(byte, len)| vec![byte; len]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn records_that_have_their_parts_again(
            parts in vec((bytes(), bytes(), bytes(), 0_usize..6, any::<bool>()), 1..80),
            name in bytes(),
            cut in 0_usize..100,
        ) {
            let records: Vec<u8> = parts
                .iter()
                .flat_map(|(key, id, rest, order, headers)| {
                    let value = match order {
                        0 => [id, key, rest].map(Vec::as_slice).concat(),
                        1 => [key, id, rest].map(Vec::as_slice).concat(),
                        2 => [rest, key, id].map(Vec::as_slice).concat(),
                        3 => [rest, id].map(Vec::as_slice).concat(),
                        4 => key.clone(),
                        _ => Vec::new(),
                    };
                    let all: [(&[u8], &[u8]); 3] = [(&name, b"1.0"), (b"id", id), (b"key", key)];
                    record(key, &value, if *headers { &all } else { &[] })
                })
                .collect();
            let mut lz4 = Lz4::new();
            let mut first = Vec::new();
            lz4.compress(&records, &mut first);
            check(&mut lz4, &records);
            // No trace of what came before.
            let mut second = Vec::new();
            lz4.compress(&records, &mut second);
            prop_assert_eq!(first, second);
            // Of records, a part; and nothing like them.
            check(&mut lz4, &records[cut.min(records.len())..]);
            check(&mut lz4, &records[..records.len() - cut.min(records.len())]);
        }

        #[test]
        fn bytes_that_are_no_records(bytes in vec(any::<u8>(), 0..300), times in 1_usize..300) {
            check(&mut Lz4::new(), &bytes.repeat(times));
        }
    }
}
