//! `Sending`: all events of whole streams, made and handed over by several threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use datagen_core::batch::Bank;
use datagen_core::catalog::{ForeignKey, Relation};
use datagen_core::column::Batch;
use datagen_core::encode::kafka::{Events, Packed, Packer};
use datagen_core::keys::KeySet;
use datagen_core::plan::DEFAULT_DAYS;
use datagen_producer::{Batching, Producer, Topic};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::producer::{Stamp, TURN, in_turns, locked};

/// Customers whose events of so many days one thread makes at a time: each range ends with batches that
/// are not full, and with as many customers those are few.
const CUSTOMERS_AT_ONCE: u64 = 1_000;

/// Rows made and encoded at a time, few enough to stay in the processor's cache.
const ROWS_AT_ONCE: usize = 8_192;

/// How long a thread that has made too much sleeps before it looks again whether it may go on.
const PAUSE: Duration = Duration::from_millis(20);

/// Streams on their way.
#[pyclass(frozen, name = "Sending", module = "datagen._core")]
pub struct PySending {
    work: Arc<Work>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl PySending {
    /// Starts the threads.
    pub fn start(work: Work, workers: usize) -> PyResult<Self> {
        let work = Arc::new(work);
        let mut threads = Vec::with_capacity(workers);
        for number in 0..workers {
            let thread = thread::Builder::new().name(format!("datagen-worker-{number}"));
            let its = Arc::clone(&work);
            match thread.spawn(move || its.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    // Those that have been started must not go on alone.
                    work.stop(Stop::Cancelled);
                    return Err(error.into());
                }
            }
        }
        Ok(Self { work, threads: Mutex::new(threads) })
    }

    fn join(&self, py: Python<'_>) {
        let threads = std::mem::take(&mut *locked(&self.threads));
        // A thread that panicked has said so in the progress.
        py.detach(|| threads.into_iter().for_each(|thread| drop(thread.join())));
    }
}

#[pymethods]
impl PySending {
    /// Waits until every event is handed over; false if it takes longer than so many seconds.
    ///
    /// Raises ``ReferentialIntegrityError`` for the first event whose parent is not known: nothing
    /// that comes after it in its stream is sent.
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let ended = in_turns(py, timeout, |turn| self.work.wait(turn).then_some(()))?;
        if ended.is_none() {
            return Ok(false);
        }
        self.join(py);
        match locked(&self.work.progress).stopped.clone() {
            Some(Stop::Orphan(orphan)) => Err(orphan.raise(py)),
            Some(Stop::Panicked) => Err(PyRuntimeError::new_err("a worker thread failed")),
            Some(Stop::Cancelled) | None => Ok(true),
        }
    }

    /// Events handed over so far, by stream.
    fn sent(&self) -> BTreeMap<&'static str, u64> {
        let progress = locked(&self.work.progress);
        let names = self.work.jobs.iter().map(|job| job.relation.name);
        names.zip(progress.streams.iter().map(|stream| stream.events)).collect()
    }

    /// By stream, the seconds until its last event was handed over.
    fn seconds(&self) -> BTreeMap<&'static str, f64> {
        let progress = locked(&self.work.progress);
        let names = self.work.jobs.iter().map(|job| job.relation.name);
        names.zip(progress.streams.iter().map(|stream| stream.last.as_secs_f64())).collect()
    }

    /// Makes no more events, and waits for the threads.
    fn cancel(&self, py: Python<'_>) {
        self.work.stop(Stop::Cancelled);
        self.join(py);
    }
}

impl Drop for PySending {
    fn drop(&mut self) {
        self.work.stop(Stop::Cancelled);
    }
}

/// A stream to be sent.
pub struct Job {
    /// The stream.
    pub relation: &'static Relation,
    /// Where to.
    pub topic: Topic,
    /// The id of its Avro schema; JSON without.
    pub schema_id: Option<u32>,
    /// What its events are checked against.
    pub parents: Vec<(&'static ForeignKey, Arc<RwLock<KeySet>>)>,
}

/// What the threads share. A task is a range of customers and a stream; they are handed out range by
/// range, and what comes of them is handed over in the order of the ranges.
pub struct Work {
    bank: Arc<Bank>,
    customers: Range<u64>,
    producer: Producer,
    batching: Batching,
    stamp: Stamp,
    jobs: Vec<Job>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

struct Progress {
    began: Instant,
    /// The next task to be handed out.
    next: u64,
    /// Threads that have not ended.
    running: usize,
    streams: Vec<StreamProgress>,
    /// What threads have made and not handed over.
    held: Size,
    stopped: Option<Stop>,
}

/// How much there is of batches.
#[derive(Default, Clone, Copy)]
struct Size {
    records: usize,
    bytes: usize,
}

impl Size {
    fn of(batches: &[Packed]) -> Self {
        let records = batches.iter().map(|packed| packed.records).sum();
        Self { records, bytes: batches.iter().map(|packed| packed.bytes.len()).sum() }
    }
}

/// A range of customers, and the number of a stream.
#[derive(Clone, Copy)]
struct Task {
    range: u64,
    stream: usize,
}

/// Why a task is not done.
enum Halt {
    Orphan(Orphan),
    Stopped,
}

/// Batches of a task that are not handed over, of which so many have been counted as held.
#[derive(Default)]
struct Made {
    batches: Vec<Packed>,
    counted: usize,
}

#[derive(Default, Clone)]
struct StreamProgress {
    /// The range whose turn it is to be handed over.
    turn: u64,
    events: u64,
    last: Duration,
}

#[derive(Clone)]
enum Stop {
    Cancelled,
    Panicked,
    Orphan(Orphan),
}

/// An event whose parent was never handed over.
#[derive(Clone)]
struct Orphan {
    batch: Arc<Batch>,
    row: usize,
    key: &'static ForeignKey,
}

impl Orphan {
    fn raise(&self, py: Python<'_>) -> PyErr {
        let raise = || {
            let row = crate::rows::to_python(py, &self.batch, self.row)?;
            let value = row.get_item(self.key.field)?;
            let orphan = py.import("datagen.check")?.getattr("orphan")?;
            let (name, field) = (self.batch.relation().name, self.key.field);
            orphan.call1((name, field, value, self.row))
        };
        raise().map_or_else(|error| error, PyErr::from_value)
    }
}

impl Work {
    /// The events of these customers of a plan, in batches and with headers as it is said.
    ///
    /// # Panics
    /// Later, if the customers are not those of the plan.
    pub fn new(
        bank: Arc<Bank>,
        customers: Range<u64>,
        producer: Producer,
        (batching, stamp): (Batching, Stamp),
        jobs: Vec<Job>,
    ) -> Self {
        let progress = Progress {
            began: Instant::now(),
            next: 0,
            running: 0,
            streams: vec![StreamProgress::default(); jobs.len()],
            held: Size::default(),
            stopped: None,
        };
        Self {
            bank,
            customers,
            producer,
            batching,
            stamp,
            jobs,
            progress: Mutex::new(progress),
            changed: Condvar::new(),
        }
    }

    fn run(&self) {
        locked(&self.progress).running += 1;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run_tasks()));
        if ended.is_err() {
            self.stop(Stop::Panicked);
        }
        locked(&self.progress).running -= 1;
        self.changed.notify_all();
    }

    fn run_tasks(&self) {
        let Batching { size, codec } = self.batching;
        // A task leaves nothing in its packer, so that one does for all topics of a size.
        let mut packers = BTreeMap::new();
        while let Some(task) = self.take_task() {
            let partitions = self.jobs[task.stream].topic.partitions();
            let packer =
                packers.entry(partitions).or_insert_with(|| Packer::new(partitions, size, codec));
            let made = self.make(task, packer).and_then(|made| self.hand_over(task, made, true));
            match made {
                Ok(()) => {}
                Err(Halt::Orphan(orphan)) => {
                    // Its turn comes, so that what is before it is sent whoever is faster.
                    if self.wait_for_turn(task) {
                        self.stop(Stop::Orphan(orphan));
                    }
                    return;
                }
                Err(Halt::Stopped) => return,
            }
        }
    }

    /// So many that their events are about as many whatever the days.
    fn customers_at_once(&self) -> u64 {
        let days = u64::from(self.bank.plan().days().max(DEFAULT_DAYS));
        (CUSTOMERS_AT_ONCE * u64::from(DEFAULT_DAYS) / days).max(1)
    }

    fn ranges(&self) -> u64 {
        (self.customers.end - self.customers.start).div_ceil(self.customers_at_once())
    }

    fn tasks(&self) -> u64 {
        self.ranges() * self.jobs.len() as u64
    }

    fn take_task(&self) -> Option<Task> {
        let mut progress = locked(&self.progress);
        if progress.stopped.is_some() || progress.next >= self.tasks() {
            return None;
        }
        let (task, streams) = (progress.next, self.jobs.len() as u64);
        progress.next += 1;
        Some(Task { range: task / streams, stream: (task % streams) as usize })
    }

    /// The batches of a stream for a range of customers; they depend on nothing else. Where there are
    /// more than may wait, the first of them are handed over already.
    fn make(&self, task: Task, packer: &mut Packer) -> Result<Made, Halt> {
        let (job, at_once) = (&self.jobs[task.stream], self.customers_at_once());
        let first = self.customers.start + task.range * at_once;
        let customers = first..self.customers.end.min(first + at_once);
        let batches = self.bank.batches(job.relation, customers, ROWS_AT_ONCE);
        let mut made = Made::default();
        packer.restart();
        packer.set_most(self.producer.most(&job.topic));
        for batch in batches.expect("a range within the plan") {
            for (key, parents) in &job.parents {
                let column = batch.column(key.field).expect("a field of the stream");
                let parents = parents.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(row) = parents.first_missing(column) {
                    self.release(&made);
                    return Err(Halt::Orphan(Orphan { batch: Arc::new(batch), row, key }));
                }
            }
            let events = Events::new(&batch, self.stamp.format(job.schema_id));
            packer.push(&events, &mut made.batches);
            made = self.hold(task, made)?;
        }
        for number in 0..job.topic.partitions() {
            packer.finish(number, &mut made.batches);
        }
        Ok(made)
    }

    /// Counts what a thread has made, and waits while that is more than may wait; whose turn it is
    /// hands over instead, so that there is always one that goes on.
    fn hold(&self, task: Task, mut made: Made) -> Result<Made, Halt> {
        let more = Size::of(&made.batches[made.counted..]);
        made.counted = made.batches.len();
        let mut progress = locked(&self.progress);
        progress.held.records += more.records;
        progress.held.bytes += more.bytes;
        loop {
            let Size { records, bytes } = progress.held;
            if self.producer.has_room_beside(records, bytes) {
                return Ok(made);
            }
            if progress.stopped.is_some() {
                return Err(Halt::Stopped);
            }
            if progress.streams[task.stream].turn == task.range {
                drop(progress);
                self.hand_over(task, made, false)?;
                return Ok(Made::default());
            }
            let waited = self.changed.wait_timeout(progress, PAUSE);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn release(&self, made: &Made) {
        let gone = Size::of(&made.batches[..made.counted]);
        let mut progress = locked(&self.progress);
        progress.held.records -= gone.records;
        progress.held.bytes -= gone.bytes;
    }

    /// Hands over in turn, once there is room; with the last batches the turn ends.
    fn hand_over(&self, task: Task, made: Made, last: bool) -> Result<(), Halt> {
        let Task { range, stream } = task;
        if !self.wait_for_turn(task) {
            return Err(Halt::Stopped);
        }
        while !self.producer.wait_for_room(TURN) {
            if locked(&self.progress).stopped.is_some() {
                return Err(Halt::Stopped);
            }
        }
        if self.producer.failure().is_some() {
            // There is room because nothing can be sent any more; whoever waits is told why.
            self.stop(Stop::Cancelled);
            return Err(Halt::Stopped);
        }
        let events = Size::of(&made.batches).records as u64;
        self.release(&made);
        self.producer.send_packed(&self.jobs[stream].topic, made.batches);
        let mut progress = locked(&self.progress);
        let since = progress.began.elapsed();
        let one = &mut progress.streams[stream];
        (one.events, one.last) = (one.events + events, since);
        one.turn += u64::from(last);
        debug_assert_eq!(one.turn, range + u64::from(last));
        self.changed.notify_all();
        if progress.stopped.is_some() { Err(Halt::Stopped) } else { Ok(()) }
    }

    fn wait_for_turn(&self, task: Task) -> bool {
        let mut progress = locked(&self.progress);
        while progress.streams[task.stream].turn != task.range {
            if progress.stopped.is_some() {
                return false;
            }
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.stopped.is_none()
    }

    fn wait(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let ranges = self.ranges();
        let mut progress = locked(&self.progress);
        loop {
            let done = progress.streams.iter().all(|stream| stream.turn == ranges);
            if done || (progress.stopped.is_some() && progress.running == 0) {
                return true;
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            let waited = self.changed.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn stop(&self, stop: Stop) {
        locked(&self.progress).stopped.get_or_insert(stop);
        self.changed.notify_all();
    }
}
