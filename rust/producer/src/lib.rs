//! A Kafka producer for batches that are encoded already, and a reader that hands them out as they are: [`Reading`].
//!
//! [`Producer`] is what callers hold, from any number of threads; [`Driver`] is the other half, to be
//! run on a thread of its own. Topics are found by name, leaders by metadata, and each batch ends as
//! acknowledged or failed: [`Producer::report`] counts both. Requests and answers are coded by
//! `kafka-protocol`; versions of the protocol are agreed upon with each broker (Kafka 2.8 to 4.x).
//!
//! Order within a partition always holds. With [`Config::idempotent`] every record is there once, as
//! long as the producer lives; otherwise a batch whose answer got lost is sent again and may be there
//! twice, which is counted too.

mod accumulator;
mod answer;
mod cluster;
mod config;
mod connection;
mod delivery;
mod error;
mod queue;
mod reader;
mod scram;
mod sender;
mod shared;
mod tls;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use datagen_core::encode::kafka::{Codec, Events, Packed};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

pub use config::{Acks, Address, Client, Config, Mechanism, Sasl, Tls};
pub use delivery::Tally;
pub use error::Error;
pub use reader::{Asked, Block, Next, Reading, ReadingDriver, Span, Unread, Why, flawed};

use sender::{Command, Sender};
use shared::Shared;
use transport::{Network, Transport};

/// How records are put into batches.
#[derive(Debug, Clone, Copy)]
pub struct Batching {
    /// Bytes of a batch as it is sent.
    pub size: usize,
    /// Compression.
    pub codec: Codec,
}

/// A producer; cheap to clone.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    commands: UnboundedSender<Command>,
}

/// The half that sends.
pub struct Driver(Sender<Network>);

/// A topic that was found.
#[derive(Debug, Clone)]
pub struct Topic {
    name: Arc<str>,
    partitions: u32,
}

impl Topic {
    /// Its number of partitions.
    pub const fn partitions(&self) -> u32 {
        self.partitions
    }
}

impl Producer {
    /// Makes both halves; connects to nothing yet.
    ///
    /// # Errors
    /// For certificates and keys that cannot be used.
    pub fn new(config: Config, batching: Batching) -> Result<(Self, Driver), Error> {
        let network = Network::new(&config.client)?;
        let (producer, sender) = Self::over(network, config, batching);
        Ok((producer, Driver(sender)))
    }

    fn over<T: Transport>(transport: T, config: Config, batching: Batching) -> (Self, Sender<T>) {
        let shared = Arc::new(Shared::new(&config, batching));
        let (commands, received) = unbounded_channel();
        let commands_of_sender = (commands.downgrade(), received);
        let sender = Sender::new(transport, config, Arc::clone(&shared), commands_of_sender);
        (Self { shared, commands }, sender)
    }

    /// Finds topics, or nothing yet if the time is over before all of them are found.
    ///
    /// # Errors
    /// Where the brokers refuse a topic or us.
    pub fn find(&self, names: &[Arc<str>], timeout: Duration) -> Result<Option<Vec<Topic>>, Error> {
        let until = Instant::now() + timeout;
        let known = |name: &_| self.shared.partitions(name, Instant::now()).is_some();
        let unknown: Vec<_> = names.iter().filter(|name| !known(name)).cloned().collect();
        if !unknown.is_empty() {
            // Together, so that one answer has them all.
            self.order(Command::Topics(unknown));
        }
        let found = |name: &Arc<str>| self.found(Arc::clone(name), until).transpose();
        names.iter().map(found).collect::<Option<_>>().transpose()
    }

    /// A topic, if it was found before.
    ///
    /// # Errors
    /// Where the brokers refused it or us.
    pub fn topic(&self, name: &str) -> Result<Option<Topic>, Error> {
        self.found(name.into(), Instant::now())
    }

    fn found(&self, name: Arc<str>, until: Instant) -> Result<Option<Topic>, Error> {
        let found = self.shared.partitions(&name, until).transpose()?;
        Ok(found.map(|partitions| Topic { name, partitions }))
    }

    /// Connects to the leaders of topics, over the connections that batches will take; those that are
    /// not reached in time, and why. None of them is given up.
    ///
    /// # Errors
    /// Where the brokers refuse us.
    pub fn reach(&self, names: &[Arc<str>], timeout: Duration) -> Result<Vec<Error>, Error> {
        self.shared.forget_unreached();
        self.order(Command::Reach(names.to_vec()));
        self.shared.wait_until_reached(Instant::now() + timeout)
    }

    /// Sends no batch of a topic that is longer, where records can be parted, and aims below that.
    pub fn limit(&self, topic: &Topic, bytes: usize) {
        self.shared.limit(&topic.name, bytes);
    }

    /// The longest batch that a topic takes, in bytes: as configured, or learned from a refusal.
    pub fn max_batch_bytes(&self, topic: &Topic) -> usize {
        self.shared.max_batch_bytes(&topic.name)
    }

    /// When something was acknowledged last; the end of the pause that a broker has asked for if that
    /// is later.
    pub fn progress(&self) -> Option<std::time::Instant> {
        self.shared.last_progress().map(Instant::into_std)
    }

    /// Waits until the queue takes more; false if the time is over first.
    pub fn wait_for_capacity(&self, timeout: Duration) -> bool {
        self.shared.wait_for_capacity(Instant::now() + timeout)
    }

    /// Whether the queue would take more even with so many records and bytes besides. These are made and
    /// not handed over.
    pub fn has_capacity_beside(&self, records: usize, bytes: usize) -> bool {
        self.shared.has_capacity_beside(records, bytes)
    }

    /// Takes events, each for the partition of its key, without waiting for capacity.
    ///
    /// A batch is sent when it is full, or has waited for [`Config::linger`].
    pub fn send(&self, topic: &Topic, events: &Events) {
        let lingers = self.shared.accumulator.pack(
            &topic.name,
            topic.partitions,
            self.max_batch_bytes(topic),
            |packer, out| {
                let counts = (0..).zip(packer.push(events, out));
                self.shared.attempt(&topic.name, counts.filter(|(_, records)| *records > 0));
            },
            |batches| self.hand_over(&topic.name, batches),
        );
        if lingers {
            self.order(Command::Linger);
        }
    }

    /// Takes batches that are packed already, in their order, without waiting for capacity.
    pub fn send_packed(&self, topic: &Topic, batches: Vec<Packed>) {
        let counts = batches.iter().map(|packed| (packed.partition, packed.records));
        self.shared.attempt(&topic.name, counts);
        self.hand_over(&topic.name, batches);
    }

    fn hand_over(&self, topic: &Arc<str>, batches: Vec<Packed>) {
        if !batches.is_empty() {
            self.shared.queue(&batches);
            self.order(Command::Batches(Arc::clone(topic), batches));
        }
    }

    /// Sends what is not full, and waits until all deliveries have ended; false if the time is over
    /// first.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shared.accumulator.finish_all(|topic, batches| self.hand_over(topic, batches));
        self.shared.wait_until_settled(Instant::now() + timeout)
    }

    /// Keeps everything that comes from here on until [`Producer::open`].
    pub fn hold(&self) {
        self.order(Command::Hold);
    }

    /// Sends what was kept, and goes on.
    pub fn open(&self) {
        self.order(Command::Open);
    }

    /// Gives up what has not been sent, and with `also_sent` also what was not answered yet.
    pub fn give_up(&self, also_sent: bool) {
        self.shared.accumulator.finish_all(|topic, batches| self.hand_over(topic, batches));
        self.order(Command::GiveUp(also_sent));
    }

    /// Ends the driver, whatever is left.
    pub fn close(&self) {
        self.order(Command::Close);
    }

    /// What became of the records, by topic and partition.
    pub fn report(&self) -> Vec<(Arc<str>, i32, Tally)> {
        self.shared.report()
    }

    /// Why nothing can be sent at all, if so.
    pub fn failure(&self) -> Option<Error> {
        self.shared.failure()
    }

    /// Whether a record has failed, or nothing can be sent at all.
    pub fn has_failures(&self) -> bool {
        self.shared.has_failures()
    }

    /// The last error that may pass.
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error()
    }

    fn order(&self, command: Command) {
        // Without a driver there is no answer, and the caller's own time limit says so.
        let _ = self.commands.send(command);
    }
}

impl Driver {
    /// What sends until it is closed, or the last [`Producer`] is gone.
    ///
    /// # Errors
    /// If the system has no means for it, such as descriptors.
    pub fn ready(self) -> std::io::Result<impl FnOnce() + Send> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(move || {
            runtime.block_on(self.0.run());
            // A name that is still being looked up would hold up the end.
            runtime.shutdown_background();
        })
    }
}

#[cfg(test)]
mod tests;
