//! The core's errors, violated keys and refused arguments, as the exceptions of `datagen.errors`.

use datagen_core::catalog::{self, FieldType, Relation, STREAMS, TABLES};
use datagen_core::error::Error;
use datagen_pipeline::{Violation, parent_word};
use pyo3::IntoPyObjectExt;
use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::values;

/// An exception of `datagen.errors`.
fn exception<'py>(py: Python<'py>, class: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    py.import("datagen.errors")
        .and_then(|errors| errors.getattr(class)?.call1(arguments))
        .map_or_else(|error| error, PyErr::from_value)
}

/// `OptionError(option, value, allowed)`: an argument is out of its range.
pub fn option_error<'py>(
    py: Python<'py>,
    option: &str,
    value: impl IntoPyObject<'py>,
    allowed: &str,
) -> PyErr {
    match value.into_bound_py_any(py) {
        Ok(value) => exception(py, "OptionError", (option, value, allowed)),
        Err(error) => error,
    }
}

/// `UnknownIdError(reason, customer)`: nothing of a plan has an id.
pub fn unknown_id(py: Python<'_>, reason: &str, customer: Option<u64>) -> PyErr {
    exception(py, "UnknownIdError", (reason, customer))
}

/// A row that cannot be taken, as Python knows it.
pub fn violated(py: Python<'_>, violation: &Violation) -> PyErr {
    let text = |id| values::uuid_to_python(py, id).and_then(|id| id.str());
    match *violation {
        Violation::Orphan { relation, key, id, row } => match text(id) {
            Ok(id) => {
                let arguments = (relation.name, key.field, id, row, parent_word(key));
                exception(py, "ReferentialIntegrityError", arguments)
            }
            Err(error) => error,
        },
        Violation::Duplicate { relation, id, row } => match text(id) {
            Ok(id) => {
                let (name, field) = (relation.name, relation.fields[0].name);
                let twice = "was handed over before; hand over each row once";
                exception(
                    py,
                    "RejectedError",
                    (format!("{name} row {row}: {field} = {id} {twice}"),),
                )
            }
            Err(error) => error,
        },
    }
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

/// The table or stream called `name`.
pub fn relation(py: Python<'_>, name: &str) -> PyResult<&'static Relation> {
    catalog::relation(name).ok_or_else(|| {
        let names = TABLES.iter().chain(STREAMS.iter()).map(|relation| relation.name);
        option_error(py, "name", name, &choice(names))
    })
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

/// One of the values that have these names.
pub fn one_of<T: Copy>(
    py: Python<'_>,
    option: &str,
    given: &str,
    all: &[(&str, T)],
) -> PyResult<T> {
    let found = all.iter().find(|(name, _)| *name == given).map(|(_, value)| *value);
    found.ok_or_else(|| option_error(py, option, given, &choice(all.iter().map(|(name, _)| *name))))
}
