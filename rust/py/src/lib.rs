//! `datagen._core`: the core's plans, batches and key sets as Python classes.
//!
//! What crosses the border: integers, literal strings and ranges in; a batch or an encoded buffer
//! out. `python/datagen/_core.pyi` is the interface, and `mypy.stubtest` compares the two.

mod arrow;
mod batch;
mod border;
mod buffer;
mod catalogue;
mod error;
mod find;
mod keys;
mod plan;
mod producer;
mod reader;
mod reconcile;
mod rows;
mod sending;
mod values;

use pyo3::prelude::*;

/// The compiled core: plans, columnar batches, encoded rows and key sets.
#[pymodule]
mod _core {
    use super::{Bound, PyModule, PyModuleMethods, PyResult, pyfunction};

    #[pymodule_export]
    use crate::batch::{PyBatch, PyBatches, PyChanges, PyTimeOrder, PyUntil, PyWindow};
    #[pymodule_export]
    use crate::buffer::{PyColumn, PyEncodedRows};
    #[pymodule_export]
    use crate::catalogue::{PyCatalogue, PyField, PyForeignKey, PyRelation, catalogue};
    #[pymodule_export]
    use crate::find::{PyCustomer, PyFound};
    #[pymodule_export]
    use crate::keys::{PyKeySet, PyKeyStore};
    #[pymodule_export]
    use crate::plan::PyPlan;
    #[pymodule_export]
    use crate::producer::{ProducerError, PyProducer};
    #[pymodule_export]
    use crate::reader::PyReading;
    #[pymodule_export]
    use crate::reconcile::PyReconciliation;
    #[pymodule_export]
    use crate::sending::PySending;

    #[pymodule_init]
    fn version(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// Whether the extension was compiled without optimisation.
    #[pyfunction]
    const fn is_debug_build() -> bool {
        cfg!(debug_assertions)
    }
}
