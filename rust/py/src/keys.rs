//! `KeySet`: ids that were handed over.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use datagen_core::catalog::{FieldType, Relation};
use datagen_core::keys::KeySet;
use pyo3::prelude::*;

use crate::batch::PyBatch;
use crate::border::detached;
use crate::error::{choice, field_position, option_error};
use crate::values;

/// A set of ids that were handed over, checked at vector speed.
#[pyclass(frozen, name = "KeySet", module = "datagen._core")]
pub struct PyKeySet {
    /// Whoever holds the lock does not wait for the GIL, so that it may be taken with the GIL.
    ids: Arc<RwLock<KeySet>>,
}

#[pymethods]
impl PyKeySet {
    #[new]
    fn new() -> Self {
        Self { ids: Arc::default() }
    }

    fn __len__(&self) -> usize {
        self.ids().len()
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(values::uuid_from_python(key)?.is_some_and(|id| self.ids().contains(&id)))
    }

    /// Adds one id (UUID, its text or 16 bytes); False if it was there.
    fn add(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        match values::uuid_from_python(key)? {
            Some(id) => Ok(self.ids_mut().insert(&id)),
            None => Err(option_error(key.py(), "key", key, values::UUID)),
        }
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
        detached(py, || Ok(self.ids_mut().insert_column(column, mask)))
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
        detached(py, || Ok(self.ids().first_missing(column)))
    }

    fn __repr__(&self) -> String {
        format!("<KeySet of {} ids>", self.__len__())
    }
}

impl PyKeySet {
    /// The set itself, for threads that check without the GIL.
    pub fn share(&self) -> Arc<RwLock<KeySet>> {
        Arc::clone(&self.ids)
    }

    fn ids(&self) -> RwLockReadGuard<'_, KeySet> {
        self.ids.read().expect("no change has failed before")
    }

    fn ids_mut(&self) -> RwLockWriteGuard<'_, KeySet> {
        self.ids.write().expect("no change has failed before")
    }
}

fn uuid_position(py: Python<'_>, relation: &'static Relation, field: &str) -> PyResult<usize> {
    field_position(py, relation, "field", field, |ty| ty == FieldType::Uuid)
}
