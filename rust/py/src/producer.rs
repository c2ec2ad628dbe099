//! `Producer`: record batches to Kafka, and `Sending`: whole streams by several threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use datagen_core::batch::Bank;
use datagen_core::catalog::{ForeignKey, Relation};
use datagen_core::column::Batch;
use datagen_core::encode::Format;
use datagen_core::encode::kafka::{
    Codec, EventFormat, Events, Packed, Packer, partition, rows_by_partition,
};
use datagen_core::keys::KeySet;
use datagen_producer::{
    Acks, Address, Batching, Config, Error, Mechanism, Producer, Sasl, Tls, Topic,
};
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::batch::PyBatch;
use crate::border::Number;
use crate::error::{choice, option_error};
use crate::keys::PyKeySet;
use crate::plan::{PyPlan, relation};

pyo3::create_exception!(
    datagen._core,
    ProducerError,
    PyException,
    "The producer failed: `args` is the number of librdkafka's for it, and what happened."
);

/// How long Rust works or waits before signals are looked at.
const TURN: Duration = Duration::from_millis(100);
/// Customers whose events one thread makes at a time: their batches are full or nearly.
const CUSTOMERS_AT_ONCE: u64 = 1_000;
/// Rows made and encoded at a time, few enough to stay in the processor's cache.
const ROWS_AT_ONCE: usize = 8_192;

fn failed(error: Error) -> PyErr {
    ProducerError::new_err((error.code, error.text))
}

/// Sends record batches that are made without Python objects for each event.
#[pyclass(frozen, name = "Producer", module = "datagen._core")]
pub struct PyProducer {
    /// `None` once it is closed.
    producer: Mutex<Option<Producer>>,
    driver: Mutex<Option<thread::JoinHandle<()>>>,
    topics: Mutex<BTreeMap<String, Topic>>,
    batching: Batching,
    stamp: Stamp,
}

/// What is the same for all events.
#[derive(Clone, Copy)]
struct Stamp {
    cloudevents: bool,
    content_type: bool,
    /// Whether records bear the time of their event, or else that of their production.
    event_time: bool,
}

impl Stamp {
    fn format(self, schema_id: Option<u32>) -> EventFormat {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis() as i64
        };
        EventFormat {
            value: schema_id.map_or(Format::Json, |id| Format::Avro { schema_id: Some(id) }),
            cloudevents: self.cloudevents,
            content_type: self.content_type,
            timestamp: (!self.event_time).then(now),
        }
    }
}

#[pymethods]
impl PyProducer {
    #[new]
    #[pyo3(signature = (
        bootstrap, *, client_id, acks, idempotent, retries, retry_backoff_ms, request_timeout_ms,
        delivery_timeout_ms, linger_ms, max_in_flight, batch_size, compression, queue_records,
        queue_bytes, tls = None, sasl = None, cloudevents = true, content_type = false,
        event_time = false,
    ))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools, reason = "by keyword")]
    fn new(
        py: Python<'_>,
        bootstrap: Vec<(String, u16)>,
        client_id: String,
        acks: &str,
        idempotent: bool,
        retries: u32,
        retry_backoff_ms: (u64, u64),
        request_timeout_ms: u64,
        delivery_timeout_ms: u64,
        linger_ms: u64,
        max_in_flight: usize,
        batch_size: usize,
        compression: &str,
        queue_records: usize,
        queue_bytes: usize,
        tls: Option<&Bound<'_, PyDict>>,
        sasl: Option<(String, String, String)>,
        cloudevents: bool,
        content_type: bool,
        event_time: bool,
    ) -> PyResult<Self> {
        let acks = one_of(
            py,
            "acks",
            acks,
            &[("0", Acks::None), ("1", Acks::Leader), ("all", Acks::All)],
        )?;
        let codecs: Vec<_> = Codec::ALL.iter().map(|codec| (codec.name(), *codec)).collect();
        let codec = one_of(py, "compression", compression, &codecs)?;
        let millis = Duration::from_millis;
        let config = Config {
            bootstrap: bootstrap.into_iter().map(|(host, port)| Address { host, port }).collect(),
            client_id,
            acks,
            idempotent,
            retries,
            retry_backoff: (millis(retry_backoff_ms.0), millis(retry_backoff_ms.1)),
            request_timeout: millis(request_timeout_ms),
            delivery_timeout: millis(delivery_timeout_ms),
            linger: millis(linger_ms),
            max_in_flight,
            // A request with as much as a broker takes by itself; one event where that is asked for.
            max_request_bytes: if batch_size == 1 { 1 } else { 1 << 20 },
            queue_records,
            queue_bytes,
            tls: tls.map(read_tls).transpose()?,
            sasl: sasl.map(|sasl| read_sasl(py, sasl)).transpose()?,
        };
        let batching = Batching { size: batch_size, codec };
        let (producer, driver) = Producer::new(config, batching).map_err(failed)?;
        let driver = thread::Builder::new()
            .name("datagen-producer".to_owned())
            .spawn(move || driver.run().expect("a runtime for the network"))?;
        Ok(Self {
            producer: Mutex::new(Some(producer)),
            driver: Mutex::new(Some(driver)),
            topics: Mutex::default(),
            batching,
            stamp: Stamp { cloudevents, content_type, event_time },
        })
    }

    /// The number of partitions of a topic, or None if nobody says within so many seconds.
    fn partitions(&self, py: Python<'_>, topic: &str, timeout: f64) -> PyResult<Option<u32>> {
        let producer = self.producer()?;
        let found = in_turns(py, timeout, |turn| producer.topic(topic, turn).transpose())?;
        let Some(found) = found.transpose().map_err(failed)? else { return Ok(None) };
        let partitions = found.partitions();
        locked(&self.topics).insert(topic.to_owned(), found);
        Ok(Some(partitions))
    }

    /// Takes a stream's batch for a topic that was asked about, without waiting for room.
    #[pyo3(signature = (batch, topic, *, schema_id = None))]
    fn send(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyBatch>,
        topic: &str,
        schema_id: Option<u32>,
    ) -> PyResult<()> {
        let producer = self.producer()?;
        let topic = self.topic(topic)?;
        let batch = batch.get().get();
        if batch.relation().topic().is_none() {
            return Err(option_error(py, "batch", batch.relation().name, "a stream's batch"));
        }
        let format = self.stamp.format(schema_id);
        py.detach(|| producer.send(&topic, &Events::new(batch, format)));
        Ok(())
    }

    /// Waits until there is room in the queue; false if there is none within so many seconds.
    fn wait_for_room(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let producer = self.producer()?;
        let room = in_turns(py, timeout, |turn| producer.wait_for_room(turn).then_some(()))?;
        Ok(room.is_some())
    }

    /// Sends what is not full and waits until all is acknowledged or given up; false if it takes
    /// longer.
    fn flush(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let producer = self.producer()?;
        let done = in_turns(py, timeout, |turn| producer.flush(turn).then_some(()))?;
        Ok(done.is_some())
    }

    /// Keeps everything from here on until ``open``.
    fn hold(&self) -> PyResult<()> {
        self.producer()?.hold();
        Ok(())
    }

    /// Sends what was kept.
    fn open(&self) -> PyResult<()> {
        self.producer()?.open();
        Ok(())
    }

    /// Gives up what has not been sent, and with ``also_sent`` also what was not answered yet.
    fn give_up(&self, also_sent: bool) -> PyResult<()> {
        self.producer()?.give_up(also_sent);
        Ok(())
    }

    /// By topic and partition: attempted, acknowledged, of these perhaps there twice, failed by the
    /// number of the error, and of these perhaps there.
    #[allow(clippy::type_complexity, reason = "rows for Python to name")]
    fn report(&self) -> PyResult<Vec<(String, i32, u64, u64, u64, BTreeMap<i32, u64>, u64)>> {
        let rows = self.producer()?.report().into_iter().map(|(topic, partition, tally)| {
            let topic = (*topic).to_owned();
            let (sure, twice) = (tally.acknowledged, tally.perhaps_twice);
            (topic, partition, tally.attempted, sure, twice, tally.failed, tally.perhaps_arrived)
        });
        Ok(rows.collect())
    }

    /// Records and bytes in the queue.
    fn queued(&self) -> PyResult<(usize, usize)> {
        Ok(self.producer()?.queued())
    }

    /// Why nothing can be sent at all: a number of librdkafka's, and what happened.
    fn failure(&self) -> PyResult<Option<(i32, String)>> {
        Ok(self.producer()?.failure().map(|error| (error.code, error.text)))
    }

    /// What last went wrong and may pass.
    fn trouble(&self) -> PyResult<Option<String>> {
        Ok(self.producer()?.trouble())
    }

    /// Sends all events of streams by so many threads, in the order of the plan for each key.
    ///
    /// ``streams`` has for each: stream, topic that was asked about, schema id or None for JSON,
    /// and the key set of each foreign key in the catalogue's order. Every event is checked against
    /// these before its batch is handed over.
    fn send_plan(
        &self,
        py: Python<'_>,
        plan: &PyPlan,
        streams: Vec<(String, String, Option<u32>, Vec<Py<PyKeySet>>)>,
        workers: Number,
    ) -> PyResult<PySending> {
        let workers = workers.within(py, "workers", &(1..=1024_usize))?;
        let jobs: PyResult<Vec<_>> = streams
            .into_iter()
            .map(|(stream, topic, schema_id, parents)| {
                let relation = relation(py, &stream)?;
                if parents.len() != relation.foreign_keys.len() {
                    let wanted = "a key set for each foreign key of the stream";
                    return Err(option_error(py, "streams", stream, wanted));
                }
                let parents = parents.iter().map(|keys| keys.get().share());
                let parents = relation.foreign_keys.iter().zip(parents).collect();
                Ok(Job { relation, topic: self.topic(&topic)?, schema_id, parents })
            })
            .collect();
        let work = Arc::new(Work {
            bank: plan.bank(),
            producer: self.producer()?,
            batching: self.batching,
            stamp: self.stamp,
            jobs: jobs?,
            progress: Mutex::default(),
            changed: Condvar::new(),
        });
        locked(&work.progress).begin(work.jobs.len());
        let mut threads = Vec::with_capacity(workers);
        for number in 0..workers {
            let work = Arc::clone(&work);
            let name = format!("datagen-worker-{number}");
            threads.push(thread::Builder::new().name(name).spawn(move || work.run())?);
        }
        Ok(PySending { work, threads: Mutex::new(threads) })
    }

    /// Disconnects; what was not acknowledged by then is lost.
    fn close(&self, py: Python<'_>) {
        drop(locked(&self.producer).take());
        let driver = locked(&self.driver).take();
        if let Some(driver) = driver {
            // It ends as soon as the last producer is gone.
            let _ = py.detach(|| driver.join());
        }
    }
}

impl PyProducer {
    fn producer(&self) -> PyResult<Producer> {
        let closed = || PyRuntimeError::new_err("the producer is closed");
        locked(&self.producer).clone().ok_or_else(closed)
    }

    fn topic(&self, name: &str) -> PyResult<Topic> {
        let unknown = || PyRuntimeError::new_err(format!("ask for the partitions of {name} first"));
        locked(&self.topics).get(name).cloned().ok_or_else(unknown)
    }
}

/// Streams on their way.
#[pyclass(frozen, name = "Sending", module = "datagen._core")]
pub struct PySending {
    work: Arc<Work>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
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
        let threads = std::mem::take(&mut *locked(&self.threads));
        py.detach(|| threads.into_iter().for_each(|thread| drop(thread.join())));
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
        let threads = std::mem::take(&mut *locked(&self.threads));
        py.detach(|| threads.into_iter().for_each(|thread| drop(thread.join())));
    }
}

impl Drop for PySending {
    fn drop(&mut self) {
        self.work.stop(Stop::Cancelled);
    }
}

/// A stream to be sent.
struct Job {
    relation: &'static Relation,
    topic: Topic,
    schema_id: Option<u32>,
    parents: Vec<(&'static ForeignKey, Arc<RwLock<KeySet>>)>,
}

/// What the threads share. A task is a range of customers and a stream; they are handed out range by
/// range, and what comes of them is handed over in the order of the ranges.
struct Work {
    bank: Arc<Bank>,
    producer: Producer,
    batching: Batching,
    stamp: Stamp,
    jobs: Vec<Job>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    began: Option<Instant>,
    /// The next task to be handed out.
    next: u64,
    /// Threads that have ended, whichever way.
    running: usize,
    streams: Vec<StreamProgress>,
    stopped: Option<Stop>,
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

impl Progress {
    fn begin(&mut self, streams: usize) {
        self.began = Some(Instant::now());
        self.streams = vec![StreamProgress::default(); streams];
    }
}

impl Work {
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
        let size = self.batching.size;
        let mut packers: Vec<_> = self
            .jobs
            .iter()
            .map(|job| Packer::new(job.topic.partitions(), size, self.batching.codec))
            .collect();
        while let Some((range, stream)) = self.take_task() {
            match self.make(range, &self.jobs[stream], &mut packers[stream]) {
                Ok((batches, events)) => {
                    if !self.hand_over(range, stream, batches, events) {
                        return;
                    }
                }
                Err(orphan) => {
                    // Its turn comes, so that what is before it is sent whoever is faster.
                    if self.wait_for_turn(range, stream) {
                        self.stop(Stop::Orphan(orphan));
                    }
                    return;
                }
            }
        }
    }

    fn ranges(&self) -> u64 {
        self.bank.plan().customers().div_ceil(CUSTOMERS_AT_ONCE)
    }

    fn tasks(&self) -> u64 {
        self.ranges() * self.jobs.len() as u64
    }

    fn take_task(&self) -> Option<(u64, usize)> {
        let mut progress = locked(&self.progress);
        if progress.stopped.is_some() || progress.next >= self.tasks() {
            return None;
        }
        let (task, streams) = (progress.next, self.jobs.len() as u64);
        progress.next += 1;
        Some((task / streams, (task % streams) as usize))
    }

    /// The batches of a stream for a range of customers; they depend on nothing else.
    fn make(
        &self,
        range: u64,
        job: &Job,
        packer: &mut Packer,
    ) -> Result<(Vec<Packed>, u64), Orphan> {
        let customers = self.bank.plan().customers();
        let first = range * CUSTOMERS_AT_ONCE;
        let customers = first..customers.min(first + CUSTOMERS_AT_ONCE);
        let batches = self.bank.batches(job.relation, customers, ROWS_AT_ONCE);
        let (mut out, mut count) = (Vec::new(), 0);
        packer.restart();
        for batch in batches.expect("a range within the plan") {
            for (key, parents) in &job.parents {
                let column = batch.column(key.field).expect("a field of the stream");
                let parents = parents.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(row) = parents.first_missing(column) {
                    return Err(Orphan { batch: Arc::new(batch), row, key });
                }
            }
            let events = Events::new(&batch, self.stamp.format(job.schema_id));
            let partitions = job.topic.partitions();
            let rows = rows_by_partition(&partition(events.keys(), partitions), partitions);
            let records = events.records();
            for (number, rows) in (0..).zip(&rows) {
                packer.push(&records, number, rows, &mut out);
            }
            count += batch.rows() as u64;
        }
        for number in 0..job.topic.partitions() {
            packer.finish(number, &mut out);
        }
        Ok((out, count))
    }

    /// Hands over in turn, once there is room; false if the work was stopped meanwhile.
    fn hand_over(&self, range: u64, stream: usize, batches: Vec<Packed>, events: u64) -> bool {
        if !self.wait_for_turn(range, stream) {
            return false;
        }
        while !self.producer.wait_for_room(TURN) {
            if locked(&self.progress).stopped.is_some() {
                return false;
            }
        }
        self.producer.send_packed(&self.jobs[stream].topic, batches);
        let mut progress = locked(&self.progress);
        let since = progress.began.map(|began| began.elapsed()).unwrap_or_default();
        let one = &mut progress.streams[stream];
        (one.turn, one.events, one.last) = (range + 1, one.events + events, since);
        self.changed.notify_all();
        progress.stopped.is_none()
    }

    fn wait_for_turn(&self, range: u64, stream: usize) -> bool {
        let mut progress = locked(&self.progress);
        while progress.streams[stream].turn != range {
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

/// The lock, whoever has panicked with it: what it guards is counted anew or not used any more.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits without the GIL, in turns between which signals are heard.
fn in_turns<T: Send>(
    py: Python<'_>,
    timeout: f64,
    mut wait: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let timeout = Duration::try_from_secs_f64(timeout.max(0.0)).unwrap_or(Duration::MAX);
    let began = Instant::now();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let found = py.detach(|| wait(left.min(TURN)));
        py.check_signals()?;
        if found.is_some() || left.is_zero() {
            return Ok(found);
        }
    }
}

fn one_of<T: Copy>(py: Python<'_>, option: &str, given: &str, all: &[(&str, T)]) -> PyResult<T> {
    let found = all.iter().find(|(name, _)| *name == given).map(|(_, value)| *value);
    found.ok_or_else(|| option_error(py, option, given, &choice(all.iter().map(|(name, _)| *name))))
}

fn read_sasl(py: Python<'_>, given: (String, String, String)) -> PyResult<Sasl> {
    let (mechanism, user, password) = given;
    let all = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];
    let all = all.map(|mechanism| (mechanism.name(), mechanism));
    let mechanism = one_of(py, "sasl.mechanism", &mechanism, &all)?;
    Ok(Sasl { mechanism, user, password })
}

fn read_tls(given: &Bound<'_, PyDict>) -> PyResult<Tls> {
    let bytes = |name: &str| -> PyResult<Option<Vec<u8>>> {
        given.get_item(name)?.map(|value| value.extract()).transpose()
    };
    let flag = |name: &str| -> PyResult<bool> {
        Ok(given.get_item(name)?.map(|value| value.extract()).transpose()?.unwrap_or(true))
    };
    Ok(Tls {
        ca: bytes("ca")?,
        identity: bytes("certificate")?.zip(bytes("key")?),
        verify_name: flag("verify_name")?,
        verify_certificate: flag("verify_certificate")?,
    })
}
