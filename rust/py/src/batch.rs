//! `Batch`, `Batches` that iterates those of a plan, and `TimeOrder` that iterates events in time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use datagen_core::batch::{Changes, InTime, MAX_BATCH_ROWS, Window};
use datagen_core::catalog::Relation;
use datagen_core::column::Batch;
use datagen_core::encode::{self, Format};
use datagen_core::order::TimeOrder;
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList, PySlice};

use crate::arrow::{self, Layout, Reader};
use crate::border::{Number, detached, position};
use crate::buffer::{PyColumn, PyEncodedRows, is_numeric};
use crate::error::{field_position, option_error, relation};
use crate::{rows, values};

/// Iterates batches, or is an Arrow stream: once.
#[pyclass(frozen, name = "Batches", module = "datagen._core")]
pub struct PyBatches {
    relation: &'static Relation,
    layout: Layout,
    /// Shared with the Arrow stream handed out.
    rest: Arc<Mutex<Window>>,
    /// The lock is held for a moment, with the GIL.
    usage: Mutex<Usage>,
}

/// What batches were used for so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Unused,
    Iterated,
    IteratedToTheEnd,
    Streamed,
}

impl PyBatches {
    pub fn new(relation: &'static Relation, layout: Layout, batches: Window) -> Self {
        let usage = Mutex::new(Usage::Unused);
        Self { relation, layout, rest: Arc::new(Mutex::new(batches)), usage }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().expect("no change has failed before")
    }

    /// The exception where batches are used that are gone, or going, another way.
    fn used(&self, usage: Usage) -> PyErr {
        let how = match usage {
            Usage::Streamed => "streamed",
            _ => "iterated",
        };
        let name = self.relation.name;
        PyRuntimeError::new_err(format!(
            "these batches of {name} were {how} before, and each comes once; \
             call plan.batches({name:?}) again"
        ))
    }
}

#[pymethods]
impl PyBatches {
    #[getter]
    const fn name(&self) -> &'static str {
        self.relation.name
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        let usage = *slf.usage();
        match usage {
            Usage::Unused | Usage::Iterated => Ok(slf),
            Usage::IteratedToTheEnd | Usage::Streamed => Err(slf.used(usage)),
        }
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyBatch>> {
        let usage = *self.usage();
        match usage {
            Usage::Unused => *self.usage() = Usage::Iterated,
            Usage::Iterated | Usage::IteratedToTheEnd => {}
            Usage::Streamed => return Err(self.used(usage)),
        }
        let next = next(py, &self.rest)?;
        if next.is_none() {
            *self.usage() = Usage::IteratedToTheEnd;
        }
        Ok(next.map(|batch| PyBatch::new(batch, self.layout)))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        arrow::schema_capsule(py, self.relation, self.layout)
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A request is a wish, which a producer of one layout may leave unmet.
        let _ = requested_schema;
        let before = std::mem::replace(&mut *self.usage(), Usage::Streamed);
        if before != Usage::Unused {
            *self.usage() = before;
            return Err(self.used(before));
        }
        let reader = Reader::new(self.relation, self.layout, Arc::clone(&self.rest));
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __repr__(&self) -> String {
        format!("<Batches of {}>", self.relation.name)
    }
}

/// Whether an iteration has come to its end. Another one would give nothing, in silence.
#[derive(Default)]
struct Ended(AtomicBool);

impl Ended {
    /// Takes note of what comes next.
    fn after<T>(&self, next: Option<T>) -> Option<T> {
        if next.is_none() {
            self.0.store(true, Ordering::Relaxed);
        }
        next
    }

    /// The exception where a second iteration begins; `again` is how to get one.
    fn refuse(&self, what: &str, again: &str) -> PyResult<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err(format!(
                "{what} was iterated before, and its batches come once; {again}"
            )));
        }
        Ok(())
    }
}

/// Iterates batches of several streams.
#[pyclass(frozen, name = "Window", module = "datagen._core")]
pub struct PyWindow {
    layout: Layout,
    rest: Mutex<Window>,
    ended: Ended,
}

#[pymethods]
impl PyWindow {
    fn __iter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.ended.refuse("this window", "call plan.window() again")?;
        Ok(slf)
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyBatch>> {
        let next = self.ended.after(next(py, &self.rest)?);
        Ok(next.map(|batch| PyBatch::new(batch, self.layout)))
    }

    /// The events before an instant that have not come yet.
    fn until(slf: Py<Self>, py: Python<'_>, instant: &Bound<'_, PyAny>) -> PyResult<PyUntil> {
        let found = values::instant_from_python(instant)?;
        let limit = found.ok_or_else(|| option_error(py, "instant", instant, values::INSTANT))?;
        slf.get().in_time(py, |_| ())?;
        Ok(PyUntil::new(Rest::Events(slf), limit))
    }

    /// When the next event happens; aware, in UTC. None after the last.
    fn peek<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        while detached(py, || Ok(self.rest().prepare_some()))? {}
        let time = self.in_time(py, InTime::peek)?;
        time.map(|time| values::instant_to_python(py, time)).transpose()
    }
}

impl PyWindow {
    pub fn new(layout: Layout, window: Window) -> Self {
        Self { layout, rest: Mutex::new(window), ended: Ended::default() }
    }

    fn rest(&self) -> MutexGuard<'_, Window> {
        self.rest.lock().expect("no batch has failed before")
    }

    /// What the events give, which have to be in order of time.
    fn in_time<T: Send>(
        &self,
        py: Python<'_>,
        get: impl FnOnce(&mut InTime) -> T + Send,
    ) -> PyResult<T> {
        let found = detached(py, || Ok(self.rest().in_time().map(get)))?;
        found
            .ok_or_else(|| option_error(py, "order", "entity", "time, for events until an instant"))
    }
}

/// The rows of tables that are born or change.
#[pyclass(frozen, name = "Changes", module = "datagen._core")]
pub struct PyChanges {
    rest: Mutex<Changes>,
}

impl From<Changes> for PyChanges {
    fn from(changes: Changes) -> Self {
        Self { rest: Mutex::new(changes) }
    }
}

#[pymethods]
impl PyChanges {
    /// The rows that are born or change before an instant and have not come yet, each as it is then.
    fn until(slf: Py<Self>, instant: &Bound<'_, PyAny>) -> PyResult<PyUntil> {
        let found = values::instant_from_python(instant)?;
        let limit =
            found.ok_or_else(|| option_error(instant.py(), "instant", instant, values::INSTANT))?;
        Ok(PyUntil::new(Rest::Changes(slf), limit))
    }

    /// When the next row is born or changes; aware, in UTC. None after the last.
    fn peek<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.prepare(py)?;
        let time = detached(py, || Ok(self.rest().peek()))?;
        time.map(|time| values::instant_to_python(py, time)).transpose()
    }
}

impl PyChanges {
    fn rest(&self) -> MutexGuard<'_, Changes> {
        self.rest.lock().expect("no batch has failed before")
    }

    /// Signals are heard meanwhile.
    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        while detached(py, || Ok(self.rest().prepare_some()))? {}
        Ok(())
    }
}

/// Iterates what a window or changes have before an instant.
#[pyclass(frozen, name = "Until", module = "datagen._core")]
pub struct PyUntil {
    rest: Rest,
    limit: i64,
    ended: Ended,
}

impl PyUntil {
    fn new(rest: Rest, limit: i64) -> Self {
        Self { rest, limit, ended: Ended::default() }
    }
}

enum Rest {
    Events(Py<PyWindow>),
    Changes(Py<PyChanges>),
}

#[pymethods]
impl PyUntil {
    fn __iter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.ended.refuse("what comes before this instant", "call until() with a later one")?;
        Ok(slf)
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyBatch>> {
        let (batch, layout) = match &self.rest {
            Rest::Events(window) => {
                let window = window.get();
                while detached(py, || Ok(window.rest().prepare_some()))? {}
                let batch = window.in_time(py, |events| events.next_before(self.limit))?;
                (batch, window.layout)
            }
            Rest::Changes(changes) => {
                let changes = changes.get();
                changes.prepare(py)?;
                let batch = detached(py, || Ok(changes.rest().next_before(self.limit)))?;
                (batch, Layout::default())
            }
        };
        Ok(self.ended.after(batch).map(|batch| PyBatch::new(batch, layout)))
    }
}

/// The next batch; signals are heard while it is prepared. The lock is taken without the GIL, so that two
/// threads cannot wait for each other.
fn next(py: Python<'_>, rest: &Mutex<Window>) -> PyResult<Option<Batch>> {
    let rest = || rest.lock().expect("no batch has failed before");
    while detached(py, || Ok(rest().prepare_some()))? {}
    detached(py, || Ok(rest().next()))
}

/// Iterates the events of batches in order of time, all streams side by side.
#[pyclass(frozen, name = "TimeOrder", module = "datagen._core")]
pub struct PyTimeOrder {
    rest: Mutex<TimeOrder>,
    ended: Ended,
}

#[pymethods]
impl PyTimeOrder {
    #[new]
    #[pyo3(
        signature = (batches, *, batch_rows = Number::new(8192)),
        text_signature = "(batches, *, batch_rows=8192)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn new(py: Python<'_>, batches: &Bound<'_, PyAny>, batch_rows: Number) -> PyResult<Self> {
        let batch_rows = batch_rows.within(py, "batch_rows", &(1..=MAX_BATCH_ROWS))?;
        let mut given = Vec::new();
        for batch in batches.try_iter()? {
            let batch = batch?.cast_into::<PyBatch>()?;
            let batch = &batch.get().batch;
            if batch.relation().topic().is_none() {
                let name = batch.relation().name;
                return Err(option_error(py, "batches", name, "batches of streams"));
            }
            given.push(Arc::clone(batch));
        }
        let rest = Mutex::new(TimeOrder::new(given, batch_rows));
        Ok(Self { rest, ended: Ended::default() })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.ended.refuse("this order of time", "make it anew from the same batches")?;
        Ok(slf)
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyBatch>> {
        let rest = || self.rest.lock().expect("no batch has failed before");
        while detached(py, || Ok(rest().sort_some()))? {}
        Ok(self.ended.after(detached(py, || Ok(rest().next()))?).map(PyBatch::from))
    }
}

/// Rows of one table or stream, by column. Immutable; readers share its memory.
#[pyclass(frozen, name = "Batch", module = "datagen._core")]
pub struct PyBatch {
    batch: Arc<Batch>,
    /// What Arrow readers get.
    layout: Layout,
}

impl From<Batch> for PyBatch {
    fn from(batch: Batch) -> Self {
        Self::new(batch, Layout::default())
    }
}

impl PyBatch {
    fn new(batch: Batch, layout: Layout) -> Self {
        Self { batch: Arc::new(batch), layout }
    }

    pub fn get(&self) -> &Batch {
        &self.batch
    }

    /// What is made of the rows, for the same readers.
    pub fn changed(&self, change: impl FnOnce(Arc<Batch>) -> Arc<Batch>) -> Self {
        Self { batch: change(Arc::clone(&self.batch)), layout: self.layout }
    }
}

#[pymethods]
impl PyBatch {
    /// A batch of a table or stream from rows as Python values; the inverse of ``row``.
    #[staticmethod]
    fn from_rows(py: Python<'_>, name: &str, rows: &Bound<'_, PyAny>) -> PyResult<Self> {
        rows::from_python(relation(py, name)?, rows).map(Self::from)
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.batch.relation().name
    }

    #[getter]
    fn num_rows(&self) -> usize {
        self.batch.rows()
    }

    /// Bytes of the values of all columns.
    #[getter]
    fn nbytes(&self) -> usize {
        self.batch.nbytes()
    }

    #[getter]
    fn column_names(&self) -> Vec<&'static str> {
        self.batch.relation().fields.iter().map(|field| field.name).collect()
    }

    fn __len__(&self) -> usize {
        self.batch.rows()
    }

    fn __iter__(&self) -> PyRows {
        PyRows { batch: Arc::clone(&self.batch), next: AtomicUsize::new(0) }
    }

    /// One row as ``row`` has it, or a list of those of a slice.
    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = index.cast::<PySlice>() {
            let chosen = slice.indices(self.batch.rows() as isize)?;
            let rows = PyList::empty(py);
            let mut row = chosen.start;
            for _ in 0..chosen.slicelength {
                py.check_signals()?;
                rows.append(rows::to_python(py, &self.batch, row as usize)?)?;
                row += chosen.step;
            }
            return Ok(rows.into_any());
        }
        let position = index.extract::<isize>().map_err(|error| {
            let rows = self.batch.rows();
            if error.is_instance_of::<PyOverflowError>(py) {
                return PyIndexError::new_err(format!("row {index} of {rows}"));
            }
            let given = index.get_type();
            PyTypeError::new_err(format!(
                "batches have rows by int or slice, not by {given}; column(name) gives a column"
            ))
        })?;
        Ok(self.row(py, position)?.into_any())
    }

    /// The same rows with another layout for Arrow readers.
    #[pyo3(signature = (*, uuids = "binary", enums = "dictionary"))]
    fn with_layout(&self, py: Python<'_>, uuids: &str, enums: &str) -> PyResult<Self> {
        let layout = Layout::new(py, uuids, enums)?;
        Ok(Self { batch: Arc::clone(&self.batch), layout })
    }

    /// The values of a numeric column, without a copy.
    fn column(&self, py: Python<'_>, name: &str) -> PyResult<PyColumn> {
        let position = field_position(py, self.batch.relation(), "name", name, is_numeric)?;
        Ok(PyColumn::of_batch(Arc::clone(&self.batch), position))
    }

    /// One row as Python values.
    fn row<'py>(&self, py: Python<'py>, index: isize) -> PyResult<Bound<'py, PyDict>> {
        let row = position(index, self.batch.rows())?;
        rows::to_python(py, &self.batch, row)
    }

    /// One encoded row each.
    #[pyo3(signature = (format, *, schema_id = None, avro_enums = "enum"))]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn encode(
        &self,
        py: Python<'_>,
        format: &str,
        schema_id: Option<Number>,
        avro_enums: &str,
    ) -> PyResult<PyEncodedRows> {
        let schema_id = match schema_id {
            Some(id) if format == "avro" => Some(id.within(py, "schema_id", &(0..=u32::MAX))?),
            Some(id) => {
                let allowed = format!("None where the format is {format}");
                return Err(option_error(py, "schema_id", id.given(py), &allowed));
            }
            None => None,
        };
        let strings = match avro_enums {
            "enum" => false,
            "string" => true,
            _ => return Err(option_error(py, "avro_enums", avro_enums, "enum or string")),
        };
        let format = match format {
            "avro" if strings => Format::AvroStrings { schema_id },
            "avro" => Format::Avro { schema_id },
            "json" => Format::Json,
            "jsonl" => Format::JsonLines,
            "pgcopy" => Format::PgCopy,
            _ => return Err(option_error(py, "format", format, "avro, json, jsonl or pgcopy")),
        };
        let encoded = detached(py, || Ok(encode::encode(&self.batch, format)))?;
        Ok(encoded.into())
    }

    /// Each value of a uuid, text, instant or enumeration column as UTF-8 text.
    fn text(&self, py: Python<'_>, name: &str) -> PyResult<PyEncodedRows> {
        let textual = |ty| encode::text_width(ty).is_some();
        let relation = self.batch.relation();
        let position = field_position(py, relation, "name", name, textual)?;
        let (column, field) = (&self.batch.columns()[position], &relation.fields[position]);
        let encoded = detached(py, || Ok(encode::text(column, field)))?;
        Ok(encoded.expect("a type that has a text").into())
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        arrow::schema_capsule(py, self.batch.relation(), self.layout)
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema;
        let array = detached(py, || Ok(arrow::export(&self.batch, self.layout)))?;
        let array = PyCapsule::new_with_value(py, array, c"arrow_array")?;
        Ok((arrow::schema_capsule(py, self.batch.relation(), self.layout)?, array))
    }

    fn __repr__(&self) -> String {
        format!("<Batch of {}, {} rows>", self.batch.relation().name, self.batch.rows())
    }
}

/// Makes each row a dict.
#[pyclass(frozen, name = "Rows", module = "datagen._core")]
pub struct PyRows {
    batch: Arc<Batch>,
    next: AtomicUsize,
}

#[pymethods]
impl PyRows {
    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let row = self.next.fetch_add(1, Ordering::Relaxed);
        if row >= self.batch.rows() {
            return Ok(None);
        }
        rows::to_python(py, &self.batch, row).map(Some)
    }

    fn __length_hint__(&self) -> usize {
        self.batch.rows().saturating_sub(self.next.load(Ordering::Relaxed))
    }
}
