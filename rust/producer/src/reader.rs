//! Reads partitions from one offset to another: batches as the log has them, not yet decompressed.
//!
//! [`Reading`] is what the caller holds; [`ReadingDriver`], to be run on a thread of its own, asks the leaders of all partitions at once, each for as
//! much as a request may have, as long as the caller keeps up. Leaders that change, brokers that restart and
//! connections that break are gone on from, until nothing new has come for as long as the caller allows.

mod fetcher;
mod log;

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use datagen_core::encode::kafka::{Flaw, StoredBatch};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::config::Client;
use crate::error::{Error, Local};
use crate::transport::Network;
pub(crate) use fetcher::Fetcher;

/// What of a partition is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: u32,
    /// Offsets.
    pub offsets: Range<i64>,
}

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Each of another partition.
    pub spans: Vec<Span>,
    /// Whether records count only once their transaction is committed.
    pub committed: bool,
    /// How long nothing may come before it is given up.
    pub silence: Duration,
}

/// Offsets of a partition that are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The place of its span among those that were asked for.
    pub span: usize,
    /// Offsets.
    pub offsets: Range<i64>,
    /// Why not.
    pub why: Why,
}

/// Why offsets are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The log begins after them.
    BelowLogStart,
    /// A transaction that comes before them has not ended.
    OpenTransaction,
    /// Their batch is not as it was written, or of a format that is not known.
    Flaw(Flaw),
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// Batches of a partition.
    Block(Block),
    /// Something that is passed over.
    Unread(Unread),
    /// Nothing yet.
    Nothing,
    /// All has come.
    Done,
}

/// Batches of a partition, one after the other.
#[derive(Debug)]
pub struct Block {
    span: usize,
    offsets: Range<i64>,
    batches: Vec<Bytes>,
    /// Bytes that may be read ahead of the caller, for as long as this is kept.
    _permit: OwnedSemaphorePermit,
}

impl Block {
    /// The place of its span among those that were asked for.
    pub const fn span(&self) -> usize {
        self.span
    }

    /// Its batches, each with the offsets that were asked for: it may have others.
    pub fn batches(&self) -> impl Iterator<Item = (StoredBatch<'_>, Range<i64>)> {
        self.batches.iter().filter_map(|bytes| {
            let batch = StoredBatch::take(&mut &bytes[..]).ok().flatten()?;
            Some((batch, self.offsets.clone()))
        })
    }
}

/// Says that a batch could not be read.
pub fn flawed(block: &Block, batch: &StoredBatch<'_>, flaw: Flaw) -> Unread {
    let begin = batch.base_offset().max(block.offsets.start);
    let end = (batch.last_offset() + 1).min(block.offsets.end);
    Unread { span: block.span, offsets: begin..end, why: Why::Flaw(flaw) }
}

#[derive(Debug)]
pub(crate) enum Event {
    Block(Block),
    Unread(Unread),
    Ended(Result<(), Error>),
}

/// Partitions that are being read; dropped, it ends the driver.
#[derive(Debug)]
pub struct Reading {
    events: Receiver<Event>,
    _stop: oneshot::Sender<()>,
    ended: bool,
}

/// The half that reads.
pub struct ReadingDriver {
    fetcher: Fetcher<Network>,
    stopped: oneshot::Receiver<()>,
}

impl ReadingDriver {
    /// What reads until all has come, or its [`Reading`] is gone.
    ///
    /// # Errors
    /// If the system has no means for it, such as descriptors.
    pub fn ready(self) -> std::io::Result<impl FnOnce() + Send> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(move || {
            runtime.block_on(self.fetcher.run(self.stopped));
            // A name that is still being looked up would hold up the end.
            runtime.shutdown_background();
        })
    }
}

impl Reading {
    /// Makes both halves; connects to nothing yet.
    ///
    /// # Errors
    /// For certificates and keys that cannot be used.
    pub fn new(client: Client, asked: Asked) -> Result<(Self, ReadingDriver), Error> {
        let network = Network::new(&client)?;
        let (fetcher, events) = Fetcher::new(network, client, asked);
        let (stop, stopped) = oneshot::channel();
        Ok((Self { events, _stop: stop, ended: false }, ReadingDriver { fetcher, stopped }))
    }

    /// Waits for what comes next, so long at most.
    ///
    /// # Errors
    /// Where the brokers refuse us, or nothing has come for as long as is allowed: nothing comes afterwards.
    pub fn next(&mut self, limit: Duration) -> Result<Next, Error> {
        if self.ended {
            return Ok(Next::Done);
        }
        let event = match self.events.recv_timeout(limit) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return Ok(Next::Nothing),
            Err(RecvTimeoutError::Disconnected) => {
                Event::Ended(Err(Error::new(Local::Transport, "the reader has failed")))
            }
        };
        match event {
            Event::Block(block) => Ok(Next::Block(block)),
            Event::Unread(unread) => Ok(Next::Unread(unread)),
            Event::Ended(outcome) => {
                self.ended = true;
                outcome.map(|()| Next::Done)
            }
        }
    }
}
