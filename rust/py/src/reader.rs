//! `Reading`: partitions that are read without a Python object for each record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use datagen_core::encode::kafka::{Decompressor, Flaw, StoredBatch};
use datagen_core::reconcile::{Record, id_of};
use datagen_producer::{Asked, Block, Next, Reading, Span, Unread, Why, flawed};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::relation;
use crate::producer::{client, failed};
use crate::reconcile::PyReconciliation;

/// How long records are taken before signals are looked at.
const PATIENCE: Duration = Duration::from_millis(50);

/// Partitions that are being read, each from one offset to another.
#[pyclass(frozen, name = "Reading", module = "datagen._core")]
pub struct PyReading {
    spans: Vec<Span>,
    /// A thread that holds the lock waits for the GIL, and so has to be the only one.
    state: Mutex<State>,
}

struct State {
    /// None once it is closed.
    reading: Option<Reading>,
    driver: Option<thread::JoinHandle<()>>,
    unread: Vec<Unread>,
    room: Decompressor,
    scratch: Vec<u8>,
}

#[pymethods]
impl PyReading {
    #[new]
    #[pyo3(signature = (
        spans, bootstrap, *, client_id, retry_backoff_ms, request_timeout_ms, tls = None, sasl = None,
        committed = true, silence = 10.0,
    ))]
    #[allow(clippy::too_many_arguments, reason = "most are given by keyword")]
    fn new(
        py: Python<'_>,
        spans: Vec<(String, u32, i64, i64)>,
        bootstrap: Vec<(String, u16)>,
        client_id: String,
        retry_backoff_ms: (u64, u64),
        request_timeout_ms: u64,
        tls: Option<&Bound<'_, PyDict>>,
        sasl: Option<(String, String, String)>,
        committed: bool,
        silence: f64,
    ) -> PyResult<Self> {
        let backoff = retry_backoff_ms;
        let client = client(py, bootstrap, client_id, backoff, request_timeout_ms, tls, sasl)?;
        let mut names: HashMap<String, Arc<str>> = HashMap::new();
        let spans: Vec<_> = spans
            .into_iter()
            .map(|(topic, partition, begin, end)| {
                let topic = names.entry(topic).or_insert_with_key(|name| Arc::from(name.as_str()));
                Span { topic: Arc::clone(topic), partition, offsets: begin..end }
            })
            .collect();
        let silence = Duration::try_from_secs_f64(silence).unwrap_or(Duration::MAX);
        let asked = Asked { spans: spans.clone(), committed, silence };
        let (reading, driver) = Reading::new(client, asked).map_err(failed)?;
        let driver =
            thread::Builder::new().name("datagen-reader".to_owned()).spawn(driver.ready()?)?;
        let state = State {
            reading: Some(reading),
            driver: Some(driver),
            unread: Vec::new(),
            room: Decompressor::default(),
            scratch: Vec::new(),
        };
        Ok(Self { spans, state: Mutex::new(state) })
    }

    /// Hands records over to a reconciliation for a moment. `accepts` says of the id of a schema whether it is the
    /// catalogue's. Returns how many records were taken; None once all have been.
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn reconcile(
        &self,
        py: Python<'_>,
        found: Bound<'_, PyReconciliation>,
        accepts: Py<PyAny>,
    ) -> PyResult<Option<usize>> {
        let held = found.get();
        let is_ours = |schema| match held.known(schema) {
            Some(known) => Ok(known),
            None => Python::attach(|py| held.is_ours(schema, accepts.bind(py))),
        };
        let mut taken = 0;
        let more = self.take(py, |block, batch, offsets, state| {
            let partition = self.spans[block.span()].partition;
            let records = match batch.records(&mut state.room) {
                Ok(records) => records,
                Err(flaw) => return Ok(Err(flaw)),
            };
            let scratch = &mut state.scratch;
            let judged = held.judge().batch(records, partition, offsets, is_ours, scratch)?;
            Ok(judged.map(|judged| {
                taken += judged.len();
                let mut inner = held.inner();
                for (judged, value) in &judged {
                    inner.find(judged, value);
                }
            }))
        })?;
        Ok((more || taken > 0).then_some(taken))
    }

    /// The ids of the next records, 16 bytes each, one after the other, and their offsets, 8 bytes each, by topic and
    /// partition; None once all have come. `names` has the relation of each topic. Records without an id are passed over.
    #[allow(clippy::type_complexity, reason = "a row of a list")]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn ids<'py>(
        &self,
        py: Python<'py>,
        names: HashMap<String, String>,
    ) -> PyResult<Option<Vec<(&str, u32, Bound<'py, PyBytes>, Bound<'py, PyBytes>)>>> {
        let relations: Vec<_> = self
            .spans
            .iter()
            .map(|span| relation(py, names.get(&*span.topic).map_or("", String::as_str)))
            .collect::<PyResult<_>>()?;
        let mut parts: Vec<(usize, Vec<u8>, Vec<u8>)> = Vec::new();
        let more = self.take(py, |block, batch, offsets, state| {
            let span = block.span();
            if parts.last().is_none_or(|(last, ..)| *last != span) {
                parts.push((span, Vec::new(), Vec::new()));
            }
            let (_, ids, places) = parts.last_mut().expect("one was added");
            Ok(each(batch, offsets, self.spans[span].partition, &mut state.room, |record| {
                if let Some(id) = id_of(relations[span], record) {
                    ids.extend_from_slice(&id.to_be_bytes());
                    places.extend_from_slice(&record.offset.to_ne_bytes());
                }
            }))
        })?;
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(span, ids, places)| {
                let Span { topic, partition, .. } = &self.spans[span];
                (&**topic, *partition, PyBytes::new(py, &ids), PyBytes::new(py, &places))
            })
            .collect();
        Ok((more || !parts.is_empty()).then_some(parts))
    }

    /// The topic, the key and the timestamp of the next records; None once all have come.
    #[allow(clippy::type_complexity, reason = "a row of a list")]
    fn keys<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<Vec<(&str, Bound<'py, PyBytes>, i64)>>> {
        let mut keys = Vec::new();
        let more = self.take(py, |block, batch, offsets, state| {
            let Span { topic, partition, .. } = &self.spans[block.span()];
            Ok(each(batch, offsets, *partition, &mut state.room, |record| {
                keys.push((&**topic, record.key.unwrap_or_default().to_vec(), record.timestamp));
            }))
        })?;
        let keys: Vec<_> = keys
            .into_iter()
            .map(|(topic, key, timestamp)| (topic, PyBytes::new(py, &key), timestamp))
            .collect();
        Ok((more || !keys.is_empty()).then_some(keys))
    }

    /// What has not been read so far: topic, partition, number of offsets, and why not.
    #[getter]
    fn unread(&self) -> Vec<(&str, u32, i64, String)> {
        let unread = self.state().unread.clone();
        let named = unread.into_iter().map(|one| {
            let Span { topic, partition, .. } = &self.spans[one.span];
            let why = match one.why {
                Why::BelowLogStart => "below the log start".to_owned(),
                Why::OpenTransaction => "behind a transaction that is open".to_owned(),
                Why::Flaw(flaw) => format!("in a batch of which {flaw}"),
            };
            (&**topic, *partition, one.offsets.end - one.offsets.start, why)
        });
        named.collect()
    }

    /// Ends it, whatever is left.
    fn close(&self, py: Python<'_>) {
        let mut state = self.state();
        let (reading, driver) = (state.reading.take(), state.driver.take());
        drop(state);
        py.detach(|| {
            drop(reading);
            // If it has panicked, it has told no end, and that was raised.
            driver.map(thread::JoinHandle::join)
        });
    }
}

impl PyReading {
    /// Goes through batches as they come, for a moment, without the GIL; false once all have come. What `work` cannot read is
    /// noted.
    fn take(
        &self,
        py: Python<'_>,
        mut work: impl FnMut(
            &Block,
            &StoredBatch<'_>,
            &std::ops::Range<i64>,
            &mut State,
        ) -> PyResult<Result<(), Flaw>>
        + Send,
    ) -> PyResult<bool> {
        let more = py.detach(|| {
            let state = &mut *self.state();
            let mut reading = state
                .reading
                .take()
                .ok_or_else(|| PyRuntimeError::new_err("the reading is closed"))?;
            let more = Self::taken(&mut reading, state, &mut work);
            state.reading = Some(reading);
            more
        })?;
        py.check_signals()?;
        Ok(more)
    }

    fn taken(
        reading: &mut Reading,
        state: &mut State,
        work: &mut impl FnMut(
            &Block,
            &StoredBatch<'_>,
            &std::ops::Range<i64>,
            &mut State,
        ) -> PyResult<Result<(), Flaw>>,
    ) -> PyResult<bool> {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            match reading.next(left).map_err(failed)? {
                Next::Done => return Ok(false),
                Next::Nothing => return Ok(true),
                Next::Unread(unread) => state.unread.push(unread),
                Next::Block(block) => {
                    for (batch, offsets) in block.batches() {
                        if let Err(flaw) = work(&block, &batch, &offsets, state)? {
                            state.unread.push(flawed(&block, &batch, flaw));
                        }
                    }
                    if began.elapsed() >= PATIENCE {
                        return Ok(true);
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands over the records of a batch that have these offsets.
fn each(
    batch: &StoredBatch<'_>,
    offsets: &std::ops::Range<i64>,
    partition: u32,
    room: &mut Decompressor,
    mut take: impl FnMut(&Record<'_>),
) -> Result<(), Flaw> {
    let mut records = batch.records(room)?;
    while let Some(one) = records.next()? {
        if offsets.contains(&one.offset) {
            take(&Record {
                partition,
                offset: one.offset,
                timestamp: one.timestamp,
                key: one.key,
                value: one.value,
                headers: records.headers(),
            });
        }
    }
    Ok(())
}
