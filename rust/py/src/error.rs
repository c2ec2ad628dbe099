//! The core's errors, and refused arguments, as the exceptions of `datagen.errors`.

use datagen_core::catalog::{FieldType, Relation};
use datagen_core::error::Error;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// `OptionError(option, value, allowed)`: an argument is out of its range.
pub fn option_error<'py>(
    py: Python<'py>,
    option: &str,
    value: impl IntoPyObject<'py>,
    allowed: &str,
) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS
        .import(py, "datagen.errors", "OptionError")
        .and_then(|class| {
            let value = value.into_bound_py_any(py)?;
            class.call1((option, value, allowed))
        })
        .map_or_else(|error| error, PyErr::from_value)
}

/// An error of the core, as Python knows it.
pub fn from_core(py: Python<'_>, error: Error) -> PyErr {
    match error {
        Error::OutOfRange { option, value, allowed } => {
            // The core writes numbers as text; Python users get the number back.
            match value.parse::<i128>() {
                Ok(number) => option_error(py, option, number, &allowed),
                Err(_) => option_error(py, option, value, &allowed),
            }
        }
        // The enumeration may grow; what Python does not know by class, it shows as text.
        other => PyRuntimeError::new_err(other.to_string()),
    }
}

/// The position of the field called `name`, if it is among `wanted`.
pub fn field_position(
    py: Python<'_>,
    relation: &'static Relation,
    option: &str,
    name: &str,
    wanted: impl Fn(FieldType) -> bool,
) -> PyResult<usize> {
    relation.position(name).filter(|&i| wanted(relation.fields[i].ty)).ok_or_else(|| {
        let names = relation.fields.iter().filter(|f| wanted(f.ty)).map(|f| f.name);
        option_error(py, option, name, &choice(names))
    })
}

/// `a, b or c`.
pub fn choice<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing: there is none".to_owned(),
    }
}
