//! `Reconciliation`: what a plan says of a table or topic, held against what is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use datagen_core::batch::{Bank, EVER};
use datagen_core::encode::Format;
use datagen_core::reconcile::{Judge, Kind, Reconciliation, Record, Row, Shape, Side, rows_of};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::batch::PyBatch;
use crate::border::{Number, detached};
use crate::error::{one_of, option_error, relation};
use crate::plan::{PyPlan, span};
use crate::values;

/// What a plan says of a table or topic, held against what is there.
#[pyclass(frozen, name = "Reconciliation", module = "datagen._core")]
pub struct PyReconciliation {
    bank: Arc<Bank>,
    judge: Arc<Judge>,
    /// A thread that holds the lock never waits for the GIL.
    inner: Mutex<Reconciliation>,
    /// Schema ids, and whether the schema is that of the catalogue.
    schemas: Mutex<HashMap<u32, bool>>,
}

#[pymethods]
impl PyReconciliation {
    #[new]
    #[pyo3(
        signature = (
            plan, name, start = Number::new(0), stop = None, *, since = None, until = None,
            show = 10, partitions = None, value = "avro", avro_enums = "enum", cloudevents = true,
            content_type = false, event_time = false, in_time = true, versions = false, copies = 1,
        ),
        text_signature = "(plan, name, start=0, stop=None, *, since=None, until=None, show=10, \
partitions=None, value='avro', avro_enums='enum', cloudevents=True, content_type=False, event_time=False, \
in_time=True, versions=False, copies=1)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    #[allow(clippy::too_many_arguments, reason = "most are given by keyword")]
    #[allow(clippy::fn_params_excessive_bools, reason = "these are the settings of a producer")]
    fn new(
        py: Python<'_>,
        plan: &Bound<'_, PyPlan>,
        name: &str,
        start: Number,
        stop: Option<Number>,
        since: Option<&Bound<'_, PyAny>>,
        until: Option<&Bound<'_, PyAny>>,
        show: usize,
        partitions: Option<Number>,
        value: &str,
        avro_enums: &str,
        cloudevents: bool,
        content_type: bool,
        event_time: bool,
        in_time: bool,
        versions: bool,
        copies: u32,
    ) -> PyResult<Self> {
        let plan = plan.get();
        let relation = relation(py, name)?;
        let customers = plan.range(py, &start, stop.as_ref())?;
        let has_span = relation.topic().is_some() || versions;
        let span = if has_span { span(since, until)? } else { EVER };
        let avro = one_of(
            py,
            "avro_enums",
            avro_enums,
            &[
                ("enum", Format::Avro { schema_id: None }),
                ("string", Format::AvroStrings { schema_id: None }),
            ],
        )?;
        let value = one_of(py, "value", value, &[("avro", avro), ("json", Format::Json)])?;
        let shape = match partitions {
            None => Shape::Tuples,
            Some(number) => Shape::Records {
                value,
                cloudevents,
                content_type,
                event_time,
                partitions: number.within(py, "partitions", &(1..=1 << 24))?,
                in_time,
            },
        };
        let bank = plan.bank();
        let inner =
            detached(py, || Reconciliation::new(&bank, relation, shape, customers, span, show))?;
        let inner = if versions { inner.of_versions() } else { inner }.in_copies(copies);
        let judge = Arc::clone(inner.judge());
        Ok(Self { bank, judge, inner: Mutex::new(inner), schemas: Mutex::default() })
    }

    /// Adds rows that the plan has.
    fn expect(&self, py: Python<'_>, batch: &Bound<'_, PyBatch>) -> PyResult<()> {
        self.expected_by(py, batch, |inner, rows, _| inner.expect(rows))
    }

    /// Adds versions of rows.
    fn expect_versions(&self, py: Python<'_>, batch: &Bound<'_, PyBatch>) -> PyResult<()> {
        self.expected_by(py, batch, Reconciliation::expect_versions)
    }

    /// Adds the last versions of rows.
    fn expect_last(&self, py: Python<'_>, batch: &Bound<'_, PyBatch>) -> PyResult<()> {
        self.expected_by(py, batch, Reconciliation::expect_last)
    }

    /// Takes messages of confluent-kafka's consumer, all of this topic, below the `ends` of their partitions. `accepts` says
    /// of the id of a schema whether it is the catalogue's. Returns how many were taken, the last offset that
    /// was seen of each partition, and the messages that are errors.
    #[allow(clippy::type_complexity, reason = "a tuple of Python's")]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn find<'py>(
        &self,
        py: Python<'py>,
        messages: &Bound<'py, PyList>,
        ends: HashMap<u32, i64>,
        accepts: &Bound<'py, PyAny>,
    ) -> PyResult<(usize, HashMap<u32, i64>, Bound<'py, PyList>)> {
        let errors = PyList::empty(py);
        let (mut taken, mut last, mut scratch) = (0, HashMap::new(), Vec::new());
        for message in messages {
            let get = |name| message.call_method0(name);
            if !get(intern!(py, "error"))?.is_none() {
                errors.append(&message)?;
                continue;
            }
            let partition: u32 = get(intern!(py, "partition"))?.extract()?;
            let offset: i64 = get(intern!(py, "offset"))?.extract()?;
            last.insert(partition, offset);
            if ends.get(&partition).is_none_or(|end| offset >= *end) {
                continue;
            }
            taken += 1;
            let (key, value) = (get(intern!(py, "key"))?, get(intern!(py, "value"))?);
            let headers = get(intern!(py, "headers"))?;
            let (_, timestamp): (i32, i64) = get(intern!(py, "timestamp"))?.extract()?;
            let is_ours = |schema| self.is_ours(schema, accepts);
            let value =
                bytes(&value)?.map(|value| self.judge.unframed(value, is_ours)).transpose()?;
            let mut pairs = Vec::new();
            if !headers.is_none() {
                for pair in headers.cast::<PyList>()? {
                    let pair = pair.cast_into::<PyTuple>()?;
                    let name = pair.get_item(0)?.cast_into::<PyString>()?;
                    pairs.push((name, pair.get_item(1)?));
                }
            }
            let mut texts = Vec::with_capacity(pairs.len());
            for (name, _) in &pairs {
                texts.push(name.to_cow()?);
            }
            let mut borrowed = Vec::with_capacity(pairs.len());
            for (name, (_, value)) in texts.iter().zip(&pairs) {
                borrowed.push((name.as_bytes(), bytes(value)?));
            }
            let key = bytes(&key)?;
            let headers = &borrowed[..];
            let record = Record { partition, offset, timestamp, key, value, headers };
            let judged = self.judge.record(&record, &mut scratch);
            self.inner().find(&judged, value.unwrap_or_default());
        }
        py.check_signals()?;
        Ok((taken, last, errors))
    }

    /// The customer whose row an id is; None of reference rows, and of ids of others.
    fn customer_of(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        let Some(id) = values::uuid_from_python(id)? else { return Ok(None) };
        detached(py, || self.judge.customer_of(&self.bank, id))
    }

    /// Takes bytes of a binary COPY, cut anywhere.
    fn find_copied(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        detached(py, || self.inner().find_copied(data))
    }

    /// The order of time is promised only below an offset of a partition.
    fn in_time_below(&self, partition: u32, offset: i64) {
        self.inner().in_time_below(partition, offset);
    }

    /// Chooses what to go through row by row; false where nothing is left.
    fn next_exact(&self, py: Python<'_>, rows: u64) -> PyResult<bool> {
        detached(py, || Ok(self.inner().next_exact(rows)))
    }

    /// Counts what was to come and has not.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || {
            self.inner().finish();
            Ok(())
        })
    }

    /// Rows that were found, by what is wrong with them.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for ((name, _), count) in Kind::ALL.iter().zip(self.inner().counts()) {
            counts.set_item(*name, *count)?;
        }
        Ok(counts)
    }

    /// Rows that the plan has, and the sum of their hashes.
    #[getter]
    fn expected(&self) -> (u64, String) {
        side(self.inner().sides().0)
    }

    /// Rows of the run that are there, and the sum of their hashes.
    #[getter]
    fn found(&self) -> (u64, String) {
        side(self.inner().sides().1)
    }

    /// Missing rows, by the partition where they should be.
    #[getter]
    fn missing(&self) -> Vec<u64> {
        self.inner().missing().to_vec()
    }

    /// Rows that differ, and were not gone through.
    #[getter]
    fn unexamined(&self) -> u64 {
        self.inner().unexamined()
    }

    /// Rows by name: kind, id, partition, offset, why, and what is there.
    #[getter]
    #[allow(clippy::type_complexity, reason = "a row of a list")]
    fn findings<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<
        Vec<(
            &'static str,
            Option<Bound<'py, PyAny>>,
            Option<u32>,
            Option<i64>,
            &'static str,
            Bound<'py, PyBytes>,
        )>,
    > {
        let findings = self.inner().findings().to_vec();
        let named = findings.into_iter().map(|one| {
            let (kind, _) = Kind::ALL[one.kind as usize];
            let id = one.id.map(|id| values::uuid_to_python(py, id)).transpose()?;
            Ok((kind, id, one.partition, one.offset, one.why, PyBytes::new(py, &one.found)))
        });
        named.collect()
    }
}

impl PyReconciliation {
    /// Hands over the rows of a batch, hashed, and their times.
    fn expected_by(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyBatch>,
        take: fn(&mut Reconciliation, &[Row], &[i64]),
    ) -> PyResult<()> {
        let batch = batch.get().get();
        let relation = self.judge.relation();
        if batch.relation().name != relation.name {
            let (given, name) = (batch.relation().name, relation.name);
            return Err(option_error(py, "batch", given, &format!("a batch of {name}")));
        }
        detached(py, || {
            let rows = rows_of(batch, self.judge.shape());
            let times = batch.column(relation.time()).expect("a field of the catalogue");
            take(&mut self.inner(), &rows, times.values.stored());
            Ok(())
        })
    }

    pub fn inner(&self) -> MutexGuard<'_, Reconciliation> {
        self.inner.lock().expect("no row has failed before")
    }

    pub const fn judge(&self) -> &Arc<Judge> {
        &self.judge
    }

    /// Whether a schema is the catalogue's: `accepts` is asked once.
    pub fn is_ours(&self, schema: u32, accepts: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Some(known) = self.known(schema) {
            return Ok(known);
        }
        let accepted: bool = accepts.call1((schema,))?.extract()?;
        self.schemas.lock().expect("no schema has failed before").insert(schema, accepted);
        Ok(accepted)
    }

    /// The same without the GIL, where it has been asked before.
    pub fn known(&self, schema: u32) -> Option<bool> {
        self.schemas.lock().expect("no schema has failed before").get(&schema).copied()
    }
}

fn bytes<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<Option<&'a [u8]>> {
    if object.is_none() {
        return Ok(None);
    }
    match object.cast::<PyBytes>() {
        Ok(bytes) => Ok(Some(bytes.as_bytes())),
        Err(_) => Err(PyTypeError::new_err("keys, values and headers of messages are bytes")),
    }
}

fn side(side: Side) -> (u64, String) {
    (side.rows, format!("{:032x}", side.sum))
}
