//! `Sending`: all events of whole streams, made by the threads of a pipeline and sent by a producer.

use std::collections::BTreeMap;
use std::time::Duration;

use datagen_core::encode::kafka::Packed;
use datagen_pipeline::{Halt, Output, Pipeline, Size};
use datagen_producer::{Producer, Topic};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::border;
use crate::error::violated;

/// A producer as an output, and the topic of each stream.
pub struct Topics {
    pub producer: Producer,
    pub topics: Vec<Topic>,
}

impl Output for Topics {
    type Piece = Packed;

    fn longest(&self, stream: usize) -> usize {
        self.producer.max_batch_bytes(&self.topics[stream])
    }

    fn has_capacity_beside(&self, held: Size) -> bool {
        self.producer.has_capacity_beside(held.records, held.bytes)
    }

    fn wait_for_capacity(&self, timeout: Duration) -> bool {
        self.producer.wait_for_capacity(timeout)
    }

    fn has_failed(&self) -> bool {
        self.producer.failure().is_some()
    }

    fn hand_over(&self, stream: usize, batches: Vec<Packed>) {
        self.producer.send_packed(&self.topics[stream], batches);
    }
}

/// Streams that are being made and sent.
#[pyclass(frozen, name = "Sending", module = "datagen._core")]
pub struct PySending {
    pipeline: Pipeline<Topics>,
}

impl From<Pipeline<Topics>> for PySending {
    fn from(pipeline: Pipeline<Topics>) -> Self {
        Self { pipeline }
    }
}

#[pymethods]
impl PySending {
    /// Waits until every event is handed over; false if it takes longer than so many seconds.
    ///
    /// Raises ``ReferentialIntegrityError`` for the first event whose parent is not known: nothing
    /// that comes after it in its stream is sent.
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        match border::wait(py, timeout, |slice| self.pipeline.wait(slice))? {
            None => Ok(false),
            Some(Err(Halt::Violated(violation))) => Err(violated(py, &violation)),
            Some(Err(Halt::Panicked)) => Err(PyRuntimeError::new_err("a worker thread failed")),
            // The caller has cancelled, or asks the producer.
            Some(Ok(()) | Err(Halt::Cancelled | Halt::OutputFailed)) => Ok(true),
        }
    }

    /// Events handed over so far, by stream.
    fn sent(&self) -> BTreeMap<&'static str, u64> {
        let progress = self.pipeline.progress().into_iter();
        progress.map(|stream| (stream.relation.name, stream.events)).collect()
    }

    /// Events that were made and checked so far and left out, by stream.
    fn left_out(&self) -> BTreeMap<&'static str, u64> {
        let progress = self.pipeline.progress().into_iter();
        progress.map(|stream| (stream.relation.name, stream.there)).collect()
    }

    /// By stream, the seconds until its last event was handed over.
    fn seconds(&self) -> BTreeMap<&'static str, f64> {
        let progress = self.pipeline.progress().into_iter();
        progress.map(|stream| (stream.relation.name, stream.last.as_secs_f64())).collect()
    }

    /// Makes no more events, and waits for the threads.
    fn cancel(&self, py: Python<'_>) {
        py.detach(|| self.pipeline.cancel());
    }
}
