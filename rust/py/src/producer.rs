//! `Producer`: record batches to Kafka.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use datagen_core::batch::Order;
use datagen_core::encode::kafka::{Codec, Events};
use datagen_pipeline::kafka::{self, RecordBatches, Stamp};
use datagen_pipeline::{Parents, Pipeline, Window};
use datagen_producer::{
    Acks, Address, Batching, Client, Config, Error, Mechanism, Producer, Sasl, Tls, Topic,
};
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::batch::PyBatch;
use crate::border::{self, Number, detached};
use crate::error::{one_of, option_error, relation};
use crate::keys::PyKeySet;
use crate::plan::PyPlan;
use crate::sending::{PySending, Topics};

pyo3::create_exception!(
    datagen._core,
    ProducerError,
    PyException,
    "A producer or a reader failed: `args` is the number of librdkafka's for it, and what happened."
);

/// How long the name of a host may stay unknown.
const UNKNOWN_NAME: Duration = Duration::from_secs(3);

/// Stream, topic, schema id, and the key set of each foreign key.
type StreamArguments = (String, String, Option<u32>, Vec<Py<PyKeySet>>);

pub fn failed(error: Error) -> PyErr {
    ProducerError::new_err((error.code, error.text))
}

/// Sends record batches that are made without Python objects for each event.
#[pyclass(frozen, name = "Producer", module = "datagen._core")]
pub struct PyProducer {
    /// `None` once it is closed.
    producer: Mutex<Option<Producer>>,
    driver: Mutex<Option<thread::JoinHandle<()>>>,
    batching: Batching,
    stamp: Stamp,
}

#[pymethods]
impl PyProducer {
    #[new]
    #[pyo3(signature = (
        bootstrap, *, client_id, acks, idempotent, retries, retry_backoff_ms, request_timeout_ms,
        delivery_timeout_ms, linger_ms, max_in_flight, batch_size, compression, queue_records,
        queue_bytes, tls = None, sasl = None, cloudevents = true, content_type = false,
        event_time = false, avro_strings = false,
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
        avro_strings: bool,
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
            client: client(
                py,
                bootstrap,
                client_id,
                retry_backoff_ms,
                request_timeout_ms,
                tls,
                sasl,
            )?,
            acks,
            idempotent,
            retries,
            delivery_timeout: millis(delivery_timeout_ms),
            linger: millis(linger_ms),
            max_in_flight,
            // A request with as much as a broker takes by itself; one event where that is asked for.
            max_request_bytes: if batch_size == 1 { 1 } else { 1 << 20 },
            queue_records,
            queue_bytes,
        };
        let batching = Batching { size: batch_size, codec };
        let (producer, driver) = Producer::new(config, batching).map_err(failed)?;
        let driver =
            thread::Builder::new().name("datagen-producer".to_owned()).spawn(driver.ready()?)?;
        Ok(Self {
            producer: Mutex::new(Some(producer)),
            driver: Mutex::new(Some(driver)),
            batching,
            stamp: Stamp { cloudevents, content_type, event_time, avro_strings },
        })
    }

    /// The number of partitions of each topic, or None if no broker says that of all within so many seconds.
    fn partitions(
        &self,
        py: Python<'_>,
        topics: Vec<String>,
        timeout: f64,
    ) -> PyResult<Option<Vec<u32>>> {
        let producer = self.producer()?;
        let names: Vec<Arc<str>> = topics.into_iter().map(Arc::from).collect();
        let found = border::wait(py, timeout, |slice| producer.find(&names, slice).transpose())?;
        let found = found.transpose().map_err(failed)?;
        Ok(found.map(|topics| topics.iter().map(Topic::partitions).collect()))
    }

    /// Connects to the leaders of topics; a number of librdkafka's and what happened for each that was
    /// not reached within so many seconds. A name that stays unknown is reported sooner.
    fn reach(
        &self,
        py: Python<'_>,
        topics: Vec<String>,
        timeout: f64,
    ) -> PyResult<Vec<(i32, String)>> {
        let producer = self.producer()?;
        let names: Vec<Arc<str>> = topics.into_iter().map(Arc::from).collect();
        let (began, mut unreached) = (Instant::now(), Vec::new());
        let found = border::wait(py, timeout, |slice| match producer.reach(&names, slice) {
            Ok(left) => {
                let resolved = left.iter().all(|error| !error.is_unknown_name());
                let done = left.is_empty() || (!resolved && began.elapsed() >= UNKNOWN_NAME);
                unreached = left;
                done.then_some(Ok(()))
            }
            Err(error) => Some(Err(error)),
        })?;
        found.transpose().map_err(failed)?;
        Ok(unreached.into_iter().map(|error| (error.code, error.text)).collect())
    }

    /// Sends no batch of a topic that is longer, unless it is a single event.
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn limit(&self, py: Python<'_>, topic: &str, max_message_bytes: Number) -> PyResult<()> {
        let bytes = max_message_bytes.within(py, "max_message_bytes", &(0..=i32::MAX as usize))?;
        self.producer()?.limit(&self.topic(topic)?, bytes);
        Ok(())
    }

    /// Takes a batch for a topic that was asked about, without waiting for capacity.
    #[pyo3(signature = (batch, topic, *, schema_id = None, timestamp = None))]
    fn send(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyBatch>,
        topic: &str,
        schema_id: Option<u32>,
        timestamp: Option<i64>,
    ) -> PyResult<()> {
        let producer = self.producer()?;
        let topic = self.topic(topic)?;
        let batch = batch.get().get();
        let mut format = self.stamp.format(schema_id);
        if timestamp.is_some() || batch.relation().topic().is_none() {
            format.timestamp = timestamp;
        }
        py.detach(|| producer.send(&topic, &Events::new(batch, format)));
        Ok(())
    }

    /// Waits until the queue has capacity; false if it has none within so many seconds.
    fn wait_for_capacity(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let producer = self.producer()?;
        let has =
            border::wait(py, timeout, |slice| producer.wait_for_capacity(slice).then_some(()))?;
        Ok(has.is_some())
    }

    /// Sends what is not full and waits until all is acknowledged or given up; false if it takes
    /// longer.
    fn flush(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let producer = self.producer()?;
        let done = border::wait(py, timeout, |slice| producer.flush(slice).then_some(()))?;
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

    /// Seconds since the last acknowledgement, or None before the first; negative during a pause that
    /// a broker has asked for, which counts from its end.
    fn idle(&self) -> PyResult<Option<f64>> {
        let now = Instant::now();
        Ok(self.producer()?.progress().map(|moment| {
            let ahead = moment.saturating_duration_since(now).as_secs_f64();
            now.saturating_duration_since(moment).as_secs_f64() - ahead
        }))
    }

    /// Why nothing can be sent at all: a number of librdkafka's, and what happened.
    fn failure(&self) -> PyResult<Option<(i32, String)>> {
        Ok(self.producer()?.failure().map(|error| (error.code, error.text)))
    }

    /// Whether an event has failed, or nothing can be sent at all.
    fn has_failures(&self) -> PyResult<bool> {
        Ok(self.producer()?.has_failures())
    }

    /// The last error that may pass.
    fn last_error(&self) -> PyResult<Option<String>> {
        Ok(self.producer()?.last_error())
    }

    /// Sends all events of streams by so many threads: those of customers ``start`` to ``stop``, by default
    /// all.
    ///
    /// ``streams`` has for each: stream, topic that was asked about, schema id or None for JSON,
    /// and the key set of each foreign key in the catalogue's order. Every event is checked against
    /// these before its batch is handed over; those whose ids are in ``there`` are not.
    #[allow(clippy::too_many_arguments, reason = "as Python has them")]
    #[pyo3(
        signature = (plan, streams, workers, start = Number::new(0), stop = None, *, order = "time", there = None),
        text_signature = "($self, plan, streams, workers, start=0, stop=None, *, order='time', there=None)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn send_plan(
        &self,
        py: Python<'_>,
        plan: &PyPlan,
        streams: Vec<StreamArguments>,
        workers: Number,
        start: Number,
        stop: Option<Number>,
        order: &str,
        there: Option<&PyKeySet>,
    ) -> PyResult<PySending> {
        let order = one_of(py, "order", order, &Order::ALL)?;
        let customers = plan.range(py, &start, stop.as_ref())?;
        let workers = workers.within(py, "workers", &(1..=1024_usize))?;
        let (mut parents, mut topics, mut formats) = (Vec::new(), Vec::new(), Vec::new());
        for (stream, topic, schema_id, keys) in streams {
            let sets = keys.iter().map(|keys| keys.get().share()).collect();
            let wanted = "a key set for each foreign key of the stream";
            let checked = Parents::new(relation(py, &stream)?, sets);
            parents.push(checked.ok_or_else(|| option_error(py, "streams", stream, wanted))?);
            let topic = self.topic(&topic)?;
            formats.push(kafka::Topic { partitions: topic.partitions(), schema_id });
            topics.push(topic);
        }
        let window = detached(py, || {
            if order == Order::Entity {
                return Window::by_entity(plan.bank(), customers, parents);
            }
            let partitions: Vec<_> = formats.iter().map(|topic| topic.partitions).collect();
            Window::in_time(plan.bank(), customers, parents, &partitions)
        })?;
        let window = match there {
            Some(ids) => window.leaving_out(ids.share()),
            None => window,
        };
        let (Batching { size, codec }, stamp) = (self.batching, self.stamp);
        let output = Topics { producer: self.producer()?, topics };
        let encoder = || RecordBatches::new(formats.clone(), size, codec, stamp);
        Ok(Pipeline::start(window, output, workers, encoder)?.into())
    }

    /// Disconnects; what was not acknowledged by then is lost.
    fn close(&self, py: Python<'_>) {
        if let Some(producer) = locked(&self.producer).take() {
            producer.close();
        }
        // The lock is not held while the driver ends: a caller that waits for it has the GIL.
        let driver = locked(&self.driver).take();
        if let Some(driver) = driver {
            // If it has panicked, its batches were never acknowledged, and are reported so already.
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
        self.producer()?.topic(name).map_err(failed)?.ok_or_else(unknown)
    }
}

/// The lock, also after a panic: what it guards is counted anew or not used any more.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every client has.
pub fn client(
    py: Python<'_>,
    bootstrap: Vec<(String, u16)>,
    client_id: String,
    retry_backoff_ms: (u64, u64),
    request_timeout_ms: u64,
    tls: Option<&Bound<'_, PyDict>>,
    sasl: Option<(String, String, String)>,
) -> PyResult<Client> {
    let millis = Duration::from_millis;
    Ok(Client {
        bootstrap: bootstrap.into_iter().map(|(host, port)| Address { host, port }).collect(),
        client_id,
        retry_backoff: (millis(retry_backoff_ms.0), millis(retry_backoff_ms.1)),
        request_timeout: millis(request_timeout_ms),
        tls: tls.map(read_tls).transpose()?,
        sasl: sasl.map(|sasl| read_sasl(py, sasl)).transpose()?,
    })
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
