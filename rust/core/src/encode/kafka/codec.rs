//! Compression of the records of a batch, at the levels that are Kafka's defaults.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer};

use super::lz4::{self, Lz4};

/// How records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip (RFC 1952), level 6.
    Gzip,
    /// Snappy, in the framing of snappy-java.
    Snappy,
    /// LZ4 frames, the fast compressor.
    Lz4,
    /// Zstandard (RFC 8878), level 3.
    Zstd,
}

impl Codec {
    /// All codecs.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The name in Kafka's option `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The number in the attributes of a batch.
    pub(super) const fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// Undoes any codec, and keeps its memory from one batch to the next.
#[derive(Debug, Default)]
pub struct Decompressor {
    /// Room for what is decompressed: it is cleared when it grows, and not again.
    room: Vec<u8>,
}

/// More records than any batch has: bytes that say so lie.
pub(super) const MOST: usize = 1 << 30;

impl Decompressor {
    /// The records of a batch, whatever client has compressed them; `None` if they are not by this codec.
    pub(super) fn decompress<'a>(&'a mut self, codec: Codec, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let room = &mut self.room;
        let len = match codec {
            Codec::None => return Some(bytes),
            Codec::Snappy => unsnap(bytes, room)?,
            Codec::Lz4 => lz4::decompress(bytes, room)?,
            Codec::Gzip => gunzip(bytes, room)?,
            Codec::Zstd => unzstd(bytes, room)?,
        };
        Some(&room[..len])
    }
}

/// Compresses by one codec, and keeps its memory from one batch to the next.
pub struct Compressor {
    state: State,
    /// Room for what is compressed: it is cleared when it grows, and not again.
    room: Vec<u8>,
}

enum State {
    None,
    Gzip(Compress),
    Snappy(Box<Encoder>),
    Lz4(Lz4),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    /// A compressor with Kafka's level for `codec`.
    pub fn new(codec: Codec) -> Self {
        const GZIP_LEVEL: Compression = Compression::new(6);
        const ZSTD_LEVEL: i32 = 3;
        let state = match codec {
            Codec::None => State::None,
            Codec::Gzip => State::Gzip(Compress::new_gzip(GZIP_LEVEL, GZIP_WINDOW_BITS)),
            Codec::Snappy => State::Snappy(Box::new(Encoder::new())),
            Codec::Lz4 => State::Lz4(Lz4::new()),
            Codec::Zstd => {
                State::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("a level of zstd"))
            }
        };
        Self { state, room: Vec::new() }
    }

    /// What it compresses by.
    pub const fn codec(&self) -> Codec {
        match self.state {
            State::None => Codec::None,
            State::Gzip(_) => Codec::Gzip,
            State::Snappy(_) => Codec::Snappy,
            State::Lz4(_) => Codec::Lz4,
            State::Zstd(_) => Codec::Zstd,
        }
    }

    /// Appends `bytes`, compressed, to `out`.
    pub(super) fn compress(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let room = &mut self.room;
        match &mut self.state {
            State::None => out.extend_from_slice(bytes),
            State::Gzip(state) => gzip(state, bytes, out),
            State::Snappy(state) => snappy(state, bytes, room, out),
            State::Lz4(state) => state.compress(bytes, out),
            State::Zstd(state) => {
                let room = at_least(room, zstd::zstd_safe::compress_bound(bytes.len()));
                let len = state.compress_to_buffer(bytes, room).expect(ROOM);
                out.extend_from_slice(&room[..len]);
            }
        }
    }
}

/// The greatest, and what zlib calls by itself.
const GZIP_WINDOW_BITS: u8 = 15;
/// snappy-java: a name, the version of the format, and the least version that reads it.
const SNAPPY_HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Readers of Snappy take blocks of any length (Kafka writes 32 KiB): in these, which are as far as Snappy
/// looks back, our events come to a twentieth less.
const BLOCK: usize = 64 * 1024;

const ROOM: &str = "room for bytes that do not compress";

pub(super) fn at_least(room: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if room.len() < len {
        room.resize(len, 0);
    }
    room
}

fn gzip(state: &mut Compress, bytes: &[u8], out: &mut Vec<u8>) {
    state.reset();
    loop {
        let read = state.total_in() as usize;
        // Our records shrink to less than a quarter; whatever does not comes back for more.
        out.reserve((bytes.len() - read) / 4 + 64);
        let status = state.compress_vec(&bytes[read..], out, FlushCompress::Finish);
        if status.expect("a stream that goes on") == Status::StreamEnd {
            return;
        }
    }
}

/// snappy-java, `SnappyOutputStream`: a header, and blocks with their length before them. Kafka
/// takes bare Snappy too, as librdkafka writes it, but then has to hold a batch in memory as one.
fn snappy(state: &mut Encoder, bytes: &[u8], room: &mut Vec<u8>, out: &mut Vec<u8>) {
    out.extend_from_slice(SNAPPY_HEADER);
    for block in bytes.chunks(BLOCK) {
        let room = at_least(room, max_compress_len(BLOCK));
        let len = state.compress(block, room).expect(ROOM);
        out.extend_from_slice(&(len as u32).to_be_bytes());
        out.extend_from_slice(&room[..len]);
    }
}

/// Blocks behind the header of snappy-java, of any of its versions, or else bare Snappy.
fn unsnap(bytes: &[u8], room: &mut Vec<u8>) -> Option<usize> {
    const NAME_LEN: usize = 8;
    if !bytes.starts_with(&SNAPPY_HEADER[..NAME_LEN]) {
        return unsnap_block(bytes, room, 0);
    }
    let (mut left, mut end) = (bytes.get(SNAPPY_HEADER.len()..)?, 0);
    while !left.is_empty() {
        let (len, rest) = left.split_first_chunk()?;
        let (block, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        end = unsnap_block(block, room, end)?;
        left = rest;
    }
    Some(end)
}

fn unsnap_block(block: &[u8], room: &mut Vec<u8>, at: usize) -> Option<usize> {
    let end = at + decompress_len(block).ok()?;
    // Snappy has no more than 64 bytes for three.
    if end > MOST || end - at > 32 * (block.len() + 1) {
        return None;
    }
    Decoder::new().decompress(block, &mut at_least(room, end)[at..end]).ok()?;
    Some(end)
}

/// Members of gzip, one after the other.
fn gunzip(bytes: &[u8], room: &mut Vec<u8>) -> Option<usize> {
    let (mut left, mut end) = (bytes, 0);
    while !left.is_empty() {
        let mut state = Decompress::new_gzip(GZIP_WINDOW_BITS);
        loop {
            let out = more(room, end, bytes.len())?;
            let before = (state.total_in(), state.total_out());
            let status = state.decompress(left, out, FlushDecompress::None).ok()?;
            let (read, written) = (state.total_in() - before.0, state.total_out() - before.1);
            left = &left[read as usize..];
            end += written as usize;
            match status {
                Status::StreamEnd => break,
                // Cut off.
                _ if (read, written) == (0, 0) => return None,
                _ => {}
            }
        }
    }
    Some(end)
}

/// Frames of Zstandard, one after the other.
fn unzstd(bytes: &[u8], room: &mut Vec<u8>) -> Option<usize> {
    let (mut state, mut input, mut end) = (DCtx::create(), InBuffer::around(bytes), 0);
    loop {
        let read = input.pos();
        let mut output = OutBuffer::around(more(room, end, bytes.len())?);
        let left = state.decompress_stream(&mut output, &mut input).ok()?;
        let written = output.pos();
        end += written;
        match (left, input.pos() == bytes.len()) {
            (0, true) => return Some(end),
            // Cut off.
            _ if written == 0 && input.pos() == read => return None,
            _ => {}
        }
    }
}

/// Room behind what is there: as much again, and four times what is compressed at first.
fn more(room: &mut Vec<u8>, end: usize, compressed: usize) -> Option<&mut [u8]> {
    if end >= MOST {
        return None;
    }
    if room.len() == end {
        room.resize((2 * end).max(4 * compressed).max(64), 0);
    }
    Some(&mut room[end..])
}
