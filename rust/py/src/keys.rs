//! `KeySet` and `KeyStore`: ids that were handed over, and the check against them.

use datagen_core::catalog::{FieldType, Relation};
use datagen_pipeline::{KeyStore, SharedKeySet};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;

use crate::batch::PyBatch;
use crate::border::{Number, detached};
use crate::error::{choice, field_position, option_error, relation, violated};
use crate::plan::PyPlan;
use crate::values;

/// A set of ids that were handed over, checked at vector speed.
#[pyclass(frozen, name = "KeySet", module = "datagen._core")]
pub struct PyKeySet {
    /// A thread that holds the lock never waits for the GIL, so that it may be taken with the GIL.
    ids: SharedKeySet,
}

impl From<SharedKeySet> for PyKeySet {
    fn from(ids: SharedKeySet) -> Self {
        Self { ids }
    }
}

#[pymethods]
impl PyKeySet {
    #[new]
    fn new() -> Self {
        SharedKeySet::default().into()
    }

    fn __len__(&self) -> usize {
        self.ids.read().len()
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(values::uuid_from_python(key)?.is_some_and(|id| self.ids.read().contains(&id)))
    }

    /// Adds one id (UUID, its text or 16 bytes); False if it was there.
    fn add(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        match values::uuid_from_python(key)? {
            Some(id) => Ok(self.ids.write().insert(&id)),
            None => Err(option_error(key.py(), "key", key, values::UUID)),
        }
    }

    /// Adds those of some ids, 16 bytes each, that by their form are of rows of a table or stream of the plan's
    /// customers from ``start`` on; how many were not there before, and the position of the first of these.
    #[pyo3(signature = (ids, plan, name, start = Number::new(0)), text_signature = "($self, ids, plan, name, start=0)")]
    #[allow(clippy::needless_pass_by_value, reason = "PyO3 hands over what it extracted")]
    fn add_owned(
        &self,
        py: Python<'_>,
        ids: PyBackedBytes,
        plan: &PyPlan,
        name: &str,
        start: Number,
    ) -> PyResult<(usize, Option<usize>)> {
        let (bank, wanted) = (plan.bank(), relation(py, name)?);
        let customers = plan.range(py, &start, None)?;
        detached(py, || {
            let (ids, _) = ids.as_chunks::<16>();
            let owned = ids.iter().enumerate().filter(|(_, id)| {
                let owner = bank.owner(**id);
                owner.is_some_and(|(of, row)| of == wanted && customers.contains(&row))
            });
            let mut known = self.ids.write();
            let mut new = owned.filter(|(_, id)| known.insert(id)).map(|(position, _)| position);
            let first = new.next();
            Ok((usize::from(first.is_some()) + new.count(), first))
        })
    }

    /// Adds a uuid column, or nothing and tells the first row whose id was there already.
    #[pyo3(signature = (batch, field, *, only = None))]
    fn add_batch(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyBatch>,
        field: &str,
        only: Option<(String, String)>,
    ) -> PyResult<Option<usize>> {
        let batch = batch.get().get();
        let column = &batch.columns()[uuid_position(py, batch.relation(), field)?];
        let mask = match only {
            Some((name, symbol)) => {
                let is_enum = |ty| matches!(ty, FieldType::Enum(_));
                let position = field_position(py, batch.relation(), "only", &name, is_enum)?;
                let FieldType::Enum(symbols) = batch.relation().fields[position].ty else {
                    unreachable!("an enumeration, as asked for")
                };
                let code = symbols.iter().position(|s| *s == symbol).ok_or_else(|| {
                    option_error(py, "only", &symbol, &choice(symbols.iter().copied()))
                })?;
                Some((&batch.columns()[position], code as u8))
            }
            None => None,
        };
        detached(py, || Ok(self.ids.write().insert_column(column, mask)))
    }

    /// The first row whose id is not in the set, or None. Rows without a value pass.
    fn first_missing(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyBatch>,
        field: &str,
    ) -> PyResult<Option<usize>> {
        let batch = batch.get().get();
        let column = &batch.columns()[uuid_position(py, batch.relation(), field)?];
        detached(py, || Ok(self.ids.read().first_missing(column)))
    }

    /// The rows whose primary key is not in the set.
    fn missing(&self, py: Python<'_>, batch: &Bound<'_, PyBatch>) -> PyResult<PyBatch> {
        let batch = batch.get();
        detached(py, || Ok(batch.changed(|batch| self.ids.read().without(batch))))
    }

    fn __repr__(&self) -> String {
        format!("<KeySet of {} ids>", self.__len__())
    }
}

impl PyKeySet {
    /// The set itself, for threads that check without the GIL.
    pub fn share(&self) -> SharedKeySet {
        self.ids.clone()
    }
}

/// The ids of all rows that were handed over, against which every batch is checked.
#[pyclass(frozen, name = "KeyStore", module = "datagen._core")]
pub struct PyKeyStore {
    store: KeyStore,
}

#[pymethods]
impl PyKeyStore {
    #[new]
    #[pyo3(signature = (*, unique_events = false))]
    fn new(unique_events: bool) -> Self {
        Self { store: KeyStore::new(unique_events) }
    }

    /// Rows handed over so far, by relation in catalogue order.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (relation, rows) in self.store.counts() {
            counts.set_item(relation.name, rows)?;
        }
        Ok(counts)
    }

    /// Checks all rows of a batch, then takes their ids; a refused batch changes nothing.
    fn add_batch(&self, py: Python<'_>, batch: &Bound<'_, PyBatch>) -> PyResult<()> {
        let batch = batch.get().get();
        let added = detached(py, || Ok(self.store.add_batch(batch)))?;
        added.map_err(|violation| violated(py, &violation))
    }

    /// The same, where a primary key that is there already is a later version of its row.
    fn add_versions(&self, py: Python<'_>, batch: &Bound<'_, PyBatch>) -> PyResult<()> {
        let batch = batch.get().get();
        let added = detached(py, || Ok(self.store.add_versions(batch)))?;
        added.map_err(|violation| violated(py, &violation))
    }

    /// The ids that the rows of a table or stream may point at, for each of its foreign keys.
    fn parents(&self, py: Python<'_>, name: &str) -> PyResult<Vec<PyKeySet>> {
        let parents = self.store.parents(relation(py, name)?);
        Ok(parents.keys().iter().cloned().map(PyKeySet::from).collect())
    }

    /// Checks the foreign keys of all rows of a batch, and takes nothing.
    fn check_batch(&self, py: Python<'_>, batch: &Bound<'_, PyBatch>) -> PyResult<()> {
        let batch = batch.get().get();
        let parents = self.store.parents(batch.relation());
        detached(py, || Ok(parents.check(batch)))?.map_err(|violation| violated(py, &violation))
    }

    /// Counts rows that were checked elsewhere.
    fn count(&self, py: Python<'_>, name: &str, rows: u64) -> PyResult<()> {
        self.store.count(relation(py, name)?, rows);
        Ok(())
    }
}

fn uuid_position(py: Python<'_>, relation: &'static Relation, field: &str) -> PyResult<usize> {
    field_position(py, relation, "field", field, |ty| ty == FieldType::Uuid)
}
