//! LZ4 frames of records, by a compressor that knows what repeats in a record.
//!
//! A record has its key again in its value and in a header, another part of its value in another header,
//! and names and most values of headers as the record before it has them. These are matches by what a
//! record is, written without a search; for the rest of the value there is one, which is short. Every
//! match is compared before it is written, so records of any other kind only get longer.

mod block;
mod guided;
#[cfg(test)]
mod tests;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict,
};

use block::{BLOCK, ROOM};
use guided::{Guided, record_len};

use super::codec::MOST;

/// A magic number; version 1, independent blocks without checksums, neither the length nor a checksum
/// of the content; blocks of up to 64 KiB; and the second byte of the xxHash-32 of both.
const DESCRIPTOR: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
/// Marks a block as it was, because it would not get shorter.
const PLAIN: u32 = 1 << 31;
/// Where the next block would have its length.
const END: u32 = 0;

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

/// The magic number of a frame.
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Of the flags: which version, whether blocks know nothing of those before them, and what there is besides.
const VERSION: (u8, u8) = (0xc0, 0x40);
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const DICTIONARY: u8 = 1 << 0;
/// How far back a block may look.
const WINDOW: usize = 64 * 1024;

/// What is in a frame of anyone: how many bytes at the front of `room`; `None` if it is none.
///
/// Checksums are not looked at, since the batch has one.
pub(super) fn decompress(bytes: &[u8], room: &mut Vec<u8>) -> Option<usize> {
    let ([flags, size], left) = bytes.strip_prefix(&MAGIC)?.split_first_chunk()?;
    if flags & VERSION.0 != VERSION.1 || flags & DICTIONARY != 0 {
        return None;
    }
    let longest = match size >> 4 {
        code @ 4..=7 => 1 << (8 + 2 * code),
        _ => return None,
    };
    let sum = if flags & BLOCK_CHECKSUMS != 0 { 4 } else { 0 };
    let mut left = left.get(if flags & CONTENT_SIZE != 0 { 9 } else { 1 }..)?;
    let mut end = 0;
    loop {
        let (len, rest) = left.split_first_chunk()?;
        let len = u32::from_le_bytes(*len);
        if len == END {
            return Some(end);
        }
        let (block, rest) = rest.split_at_checked((len & !PLAIN) as usize)?;
        if end + longest > MOST {
            return None;
        }
        if room.len() < end + longest {
            room.resize(2 * end + longest, 0);
        }
        let (before, out) = room.split_at_mut(end);
        let out = &mut out[..longest];
        end += if len & PLAIN != 0 {
            out.get_mut(..block.len())?.copy_from_slice(block);
            block.len()
        } else if flags & INDEPENDENT != 0 {
            decompress_into(block, out).ok()?
        } else {
            let window = &before[before.len().saturating_sub(WINDOW)..];
            decompress_into_with_dict(block, out, window).ok()?
        };
        left = rest.get(sum..)?;
    }
}
