//! `Plan`: the arguments of every value, checked.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;
use std::thread::available_parallelism;

use datagen_core::batch::{Bank, Changes, EVER, MAX_BATCH_ROWS, Order, Window};
use datagen_core::catalog::{LABELS, Relation, STREAMS, TABLES};
use datagen_core::error::Error;
use datagen_core::plan::{DEFAULT_AS_OF, DEFAULT_DAYS, MOST_LABELLED, Plan, Rates, SCENARIOS};
use datagen_pipeline::count;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDateTime, PyDict, PyMapping, PyString, PyTuple};

use crate::arrow::Layout;
use crate::batch::{PyBatches, PyChanges, PyWindow};
use crate::border::{Number, detached};
use crate::error::{choice, from_core, one_of, option_error, relation};
use crate::find::{PyCustomer, PyFound};
use crate::values;

/// How many customers' events each thread counts between two looks for signals: some 50 ms of work.
const COUNTED_AT_ONCE: usize = 10_000;

/// What to generate. Equal plans give equal bytes on any machine, in any process.
#[pyclass(frozen, eq, name = "Plan", module = "datagen._core")]
pub struct PyPlan {
    bank: Arc<Bank>,
}

impl PartialEq for PyPlan {
    fn eq(&self, other: &Self) -> bool {
        self.bank.plan() == other.bank.plan()
    }
}

#[pymethods]
impl PyPlan {
    #[new]
    #[pyo3(
        signature = (
            seed = Number::new(42),
            customers = Number::new(100),
            *,
            as_of = AsOf::default(),
            days = Number::new(DEFAULT_DAYS.into()),
            labels = Labels(None),
        ),
        text_signature = "(seed=42, customers=100, *, as_of='2026-07-01T00:00:00Z', days=90, \
labels=False)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn new(
        py: Python<'_>,
        seed: Number,
        customers: Number,
        as_of: AsOf,
        days: Number,
        labels: Labels,
    ) -> PyResult<Self> {
        let seed = seed.within(py, "seed", &(0..=u64::MAX))?;
        let plan = Plan::try_new(
            seed,
            customers.nearest(0, u64::MAX),
            as_of.millis,
            days.nearest(0, u32::MAX),
        )
        .map_err(|error| match error {
            Error::OutOfRange { option: option @ "customers", allowed, .. } => {
                option_error(py, option, customers.given(py), &allowed)
            }
            Error::OutOfRange { option: option @ "days", allowed, .. } => {
                option_error(py, option, days.given(py), &allowed)
            }
            Error::OutOfRange { option: option @ "as_of", allowed, .. } => {
                option_error(py, option, as_of.given, &allowed)
            }
            other => from_core(py, other),
        })?;
        let plan = plan.with_labels(labels.0);
        let bank = detached(py, || Ok(Arc::new(Bank::new(plan))))?;
        Ok(Self { bank })
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.bank.plan().seed()
    }

    #[getter]
    fn customers(&self) -> u64 {
        self.bank.plan().customers()
    }

    /// Aware, in UTC.
    #[getter]
    fn as_of<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::instant_to_python(py, self.bank.plan().as_of())
    }

    #[getter]
    fn days(&self) -> u32 {
        self.bank.plan().days()
    }

    /// The rates of the scenarios that are woven into events, by their names; None without labels.
    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(rates) = self.bank.plan().labels() else { return Ok(None) };
        let found = PyDict::new(py);
        for (place, (name, _)) in SCENARIOS.into_iter().enumerate() {
            found.set_item(name, f64::from(rates.of(place)) / MILLION)?;
        }
        Ok(Some(found))
    }

    /// The names of all tables, then of all streams.
    #[getter]
    #[allow(clippy::unused_self, reason = "plans have the same tables and streams")]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let names: Vec<_> = TABLES.iter().chain(STREAMS.iter()).map(|one| one.name).collect();
        PyTuple::new(py, names)
    }

    /// How many rows of a table or stream belong to customers ``start`` to ``stop``; with ``until`` those of a
    /// table that are born before it.
    #[pyo3(
        signature = (name, start = Number::new(0), stop = None, *, until = None),
        text_signature = "($self, name, start=0, stop=None, *, until=None)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn rows(
        &self,
        py: Python<'_>,
        name: &str,
        start: Number,
        stop: Option<Number>,
        until: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<u64> {
        let relation = self.relation(py, name)?;
        let customers = self.range(py, &start, stop.as_ref())?;
        if relation.topic().is_none() {
            let until = span(None, until)?.end;
            return detached(py, || self.bank.rows_before(relation, customers, until));
        }
        if let Some(until) = until {
            return Err(option_error(py, "until", until, "none for a stream"));
        }
        let mut rows = 0;
        let threads = available_parallelism().map_or(1, NonZero::get);
        let at_once = COUNTED_AT_ONCE * threads;
        for first in customers.clone().step_by(at_once) {
            let part = first..customers.end.min(first + at_once as u64);
            rows += detached(py, || count(&self.bank, relation, part, threads))?;
        }
        Ok(rows)
    }

    /// The rows of a table or stream that belong to customers ``start`` to ``stop``.
    #[pyo3(
        signature = (
            name, start = Number::new(0), stop = None, *, batch_rows = Number::new(16384),
            order = "entity", since = None, until = None, uuids = "binary", enums = "dictionary",
        ),
        text_signature = "($self, name, start=0, stop=None, *, batch_rows=16384, order='entity', \
since=None, until=None, uuids='binary', enums='dictionary')"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    #[allow(clippy::too_many_arguments, reason = "most are given by keyword")]
    fn batches(
        &self,
        py: Python<'_>,
        name: &str,
        start: Number,
        stop: Option<Number>,
        batch_rows: Number,
        order: &str,
        since: Option<&Bound<'_, PyAny>>,
        until: Option<&Bound<'_, PyAny>>,
        uuids: &str,
        enums: &str,
    ) -> PyResult<PyBatches> {
        let relation = self.relation(py, name)?;
        let layout = Layout::new(py, uuids, enums)?;
        let customers = self.range(py, &start, stop.as_ref())?;
        let span = span(since, until)?;
        let window = self.open(py, &[relation], customers, span, order, &batch_rows)?;
        Ok(PyBatches::new(relation, layout, window))
    }

    /// The rows of a table, each as it is when it is born.
    #[pyo3(
        signature = (name, start = Number::new(0), stop = None, *, batch_rows = Number::new(16384)),
        text_signature = "($self, name, start=0, stop=None, *, batch_rows=16384)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn births(
        &self,
        py: Python<'_>,
        name: &str,
        start: Number,
        stop: Option<Number>,
        batch_rows: Number,
    ) -> PyResult<PyBatches> {
        let relation = self.table(py, name)?;
        let customers = self.range(py, &start, stop.as_ref())?;
        let batch_rows = batch_rows.within(py, "batch_rows", &(1..=MAX_BATCH_ROWS))?;
        let births = detached(py, || self.bank.births(relation, customers, batch_rows))?;
        Ok(PyBatches::new(relation, Layout::new(py, "binary", "dictionary")?, births.into()))
    }

    /// The rows of a table in all their versions.
    #[pyo3(
        signature = (
            name, start = Number::new(0), stop = None, *, since = None,
            batch_rows = Number::new(16384),
        ),
        text_signature = "($self, name, start=0, stop=None, *, since=None, batch_rows=16384)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn versions(
        &self,
        py: Python<'_>,
        name: &str,
        start: Number,
        stop: Option<Number>,
        since: Option<&Bound<'_, PyAny>>,
        batch_rows: Number,
    ) -> PyResult<PyBatches> {
        let table = self.table(py, name)?;
        let customers = self.range(py, &start, stop.as_ref())?;
        let since = span(since, None)?.start;
        let batch_rows = batch_rows.within(py, "batch_rows", &(1..=MAX_BATCH_ROWS))?;
        let versions = detached(py, || self.bank.versions(table, customers, since, batch_rows))?;
        Ok(PyBatches::new(table, Layout::new(py, "binary", "dictionary")?, versions.into()))
    }

    /// The events of streams, by default of all, that belong to customers ``start`` to ``stop``.
    #[pyo3(
        signature = (
            streams = None, start = Number::new(0), stop = None, *, since = None, until = None,
            order = "time", batch_rows = Number::new(8192), uuids = "binary", enums = "dictionary",
        ),
        text_signature = "($self, streams=None, start=0, stop=None, *, since=None, until=None, \
order='time', batch_rows=8192, uuids='binary', enums='dictionary')"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    #[allow(clippy::too_many_arguments, reason = "most are given by keyword")]
    fn window(
        &self,
        py: Python<'_>,
        streams: Option<Vec<String>>,
        start: Number,
        stop: Option<Number>,
        since: Option<&Bound<'_, PyAny>>,
        until: Option<&Bound<'_, PyAny>>,
        order: &str,
        batch_rows: Number,
        uuids: &str,
        enums: &str,
    ) -> PyResult<PyWindow> {
        let layout = Layout::new(py, uuids, enums)?;
        let names = || choice(STREAMS.iter().map(|stream| stream.name));
        let mut wanted = vec![false; STREAMS.len()];
        for name in streams.iter().flatten() {
            let found = STREAMS.iter().position(|stream| stream.name == *name);
            wanted[found.ok_or_else(|| option_error(py, "streams", name, &names()))?] = true;
        }
        let all = STREAMS.into_iter().zip(wanted);
        let relations: Vec<_> = all
            .filter(|(_, wanted)| streams.is_none() || *wanted)
            .map(|(stream, _)| stream)
            .collect();
        let customers = self.range(py, &start, stop.as_ref())?;
        let span = span(since, until)?;
        let window = self.open(py, &relations, customers, span, order, &batch_rows)?;
        Ok(PyWindow::new(layout, window))
    }

    /// The rows of tables that belong to customers ``start`` to ``stop`` and are born or change from ``since`` on.
    #[pyo3(
        signature = (
            start = Number::new(0), stop = None, *, since, until = None, batch_rows = Number::new(8192),
        ),
        text_signature = "($self, start=0, stop=None, *, since, until=None, batch_rows=8192)"
    )]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn changes(
        &self,
        py: Python<'_>,
        start: Number,
        stop: Option<Number>,
        since: &Bound<'_, PyAny>,
        until: Option<&Bound<'_, PyAny>>,
        batch_rows: Number,
    ) -> PyResult<PyChanges> {
        let customers = self.range(py, &start, stop.as_ref())?;
        let span = span(Some(since), until)?;
        let batch_rows = batch_rows.within(py, "batch_rows", &(1..=MAX_BATCH_ROWS))?;
        let changes = detached(py, || Changes::new(&self.bank, customers, span, batch_rows))?;
        Ok(changes.into())
    }

    /// What is known by an id, a document, a number or an address.
    fn find(&self, py: Python<'_>, id: &Bound<'_, PyAny>) -> PyResult<PyFound> {
        PyFound::of(py, &self.bank, id)
    }

    /// One customer with all that belongs to it.
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn customer(&self, py: Python<'_>, row: Number) -> PyResult<PyCustomer> {
        PyCustomer::of(py, self.bank(), &row)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (seed, customers, days) = (self.seed(), self.customers(), self.days());
        let as_of = self.as_of_text(py)?;
        let labels = match self.labels(py)? {
            Some(rates) => format!(", labels={}", rates.repr()?),
            None => String::new(),
        };
        Ok(format!(
            "Plan(seed={seed}, customers={customers}, as_of='{as_of}', days={days}{labels})"
        ))
    }

    fn __hash__(&self) -> u64 {
        let plan = self.bank.plan();
        let mut hasher = DefaultHasher::new();
        (plan.seed(), plan.customers(), plan.as_of(), plan.days(), plan.labels()).hash(&mut hasher);
        hasher.finish()
    }

    /// For pickle: the arguments that make an equal plan.
    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("as_of", self.as_of_text(py)?)?;
        keywords.set_item("days", self.days())?;
        if let Some(rates) = self.labels(py)? {
            keywords.set_item("labels", rates)?;
        }
        Ok(((self.seed(), self.customers()).into_pyobject(py)?, keywords))
    }
}

impl PyPlan {
    /// What makes the rows.
    pub fn bank(&self) -> Arc<Bank> {
        Arc::clone(&self.bank)
    }

    /// The table or stream called `name`, or the labels of a plan that has some.
    fn relation(&self, py: Python<'_>, name: &str) -> PyResult<&'static Relation> {
        if name == LABELS.name && self.bank.plan().labels().is_none() {
            let allowed = "only for a plan that has them: Plan(..., labels=True)";
            return Err(option_error(py, "name", name, allowed));
        }
        relation(py, name)
    }

    fn table(&self, py: Python<'_>, name: &str) -> PyResult<&'static Relation> {
        if TABLES.iter().any(|table| table.name == name) {
            return self.relation(py, name);
        }
        Err(option_error(py, "name", name, &choice(TABLES.iter().map(|one| one.name))))
    }

    fn open(
        &self,
        py: Python<'_>,
        relations: &[&'static Relation],
        customers: Range<u64>,
        span: Range<i64>,
        order: &str,
        batch_rows: &Number,
    ) -> PyResult<Window> {
        let order = one_of(py, "order", order, &Order::ALL)?;
        let batch_rows = batch_rows.within(py, "batch_rows", &(1..=MAX_BATCH_ROWS))?;
        detached(py, || Window::new(&self.bank, relations, customers, span, order, batch_rows))
    }

    fn as_of_text(&self, py: Python<'_>) -> PyResult<String> {
        let text: String = self.as_of(py)?.call_method0("isoformat")?.extract()?;
        Ok(text.replace("+00:00", "Z"))
    }

    /// Customers ``start`` to ``stop``, by default to the last.
    pub fn range(
        &self,
        py: Python<'_>,
        start: &Number,
        stop: Option<&Number>,
    ) -> PyResult<Range<u64>> {
        let customers = self.bank.plan().customers();
        let start = start.within(py, "start", &(0..=customers))?;
        let stop = match stop {
            Some(stop) => stop.within(py, "stop", &(start..=customers))?,
            None => customers,
        };
        Ok(start..stop)
    }
}

/// The instants from `since` to before `until`; without them all.
pub fn span(
    since: Option<&Bound<'_, PyAny>>,
    until: Option<&Bound<'_, PyAny>>,
) -> PyResult<Range<i64>> {
    let instant = |option, given: Option<&Bound<'_, PyAny>>, default| {
        given.map_or(Ok(default), |given| {
            let found = values::instant_from_python(given)?;
            found.ok_or_else(|| option_error(given.py(), option, given, values::INSTANT))
        })
    };
    let (start, end) = (instant("since", since, EVER.start)?, instant("until", until, EVER.end)?);
    match until {
        Some(given) if end < start => {
            Err(option_error(given.py(), "until", given, "no instant before since"))
        }
        _ => Ok(start..end),
    }
}

/// The argument `as_of`.
struct AsOf {
    millis: i64,
    given: Option<Py<PyAny>>,
}

impl Default for AsOf {
    fn default() -> Self {
        Self { millis: DEFAULT_AS_OF, given: None }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for AsOf {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if !object.is_instance_of::<PyDateTime>() && !object.is_instance_of::<PyString>() {
            let given = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!("expected datetime or str, not {given}")));
        }
        match values::instant_from_python(&object)? {
            Some(millis) => Ok(Self { millis, given: Some(object.to_owned().unbind()) }),
            None => Err(option_error(object.py(), "as_of", object, values::INSTANT)),
        }
    }
}

/// Rates are in parts of as many.
const MILLION: f64 = 1_000_000.0;

/// The argument `labels`: whether there are scenarios, or how often.
struct Labels(Option<Rates>);

impl<'a, 'py> FromPyObject<'a, 'py> for Labels {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if object.is_none() {
            return Ok(Self(None));
        }
        if let Ok(wanted) = object.cast::<PyBool>() {
            return Ok(Self(wanted.is_true().then(Rates::default)));
        }
        let given = object.cast::<PyMapping>().map_err(|_| {
            let given = object.get_type();
            PyTypeError::new_err(format!("labels are bool or a mapping of rates, not {given}"))
        })?;
        let mut rates = Rates::default();
        for item in given.items()?.iter() {
            let (name, share): (String, Bound<'py, PyAny>) = item.extract()?;
            let most = f64::from(MOST_LABELLED) / MILLION;
            let found = share.extract::<f64>().ok().filter(|share| (0.0..=most).contains(share));
            let Some(found) = found.filter(|_| !share.is_instance_of::<PyBool>()) else {
                let allowed = format!("a share of 0 to {most} for {name}");
                return Err(option_error(py, "labels", share, &allowed));
            };
            let of_million = (found * MILLION).round() as u32;
            rates = rates.with(&name, of_million).map_err(|error| from_core(py, error))?;
        }
        Ok(Self(Some(rates)))
    }
}
