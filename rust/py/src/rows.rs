//! Rows as Python mappings: for people and for tests, not for volume.

use std::fmt::Display;

use datagen_core::catalog::{Field, FieldType, Relation};
use datagen_core::column::{Batch, Column, Texts, Values};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBoolMethods, PyDict, PyMapping, PyString};

use crate::error::{choice, option_error};
use crate::values;

/// One row as a dict, in catalogue order.
pub fn to_python<'py>(py: Python<'py>, batch: &Batch, row: usize) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (field, column) in batch.relation().fields.iter().zip(batch.columns()) {
        dict.set_item(field.name, value(py, field, column, row)?)?;
    }
    Ok(dict)
}

fn value<'py>(
    py: Python<'py>,
    field: &Field,
    column: &Column,
    row: usize,
) -> PyResult<Bound<'py, PyAny>> {
    if !column.is_valid(row) {
        return Ok(py.None().into_bound(py));
    }
    match (&column.values, field.ty) {
        (Values::Uuid(v), _) => values::uuid_to_python(py, v[row]),
        (Values::Text(v), _) => Ok(PyString::from_bytes(py, v.get(row))?.into_any()),
        (Values::I64(v), FieldType::Decimal { scale, .. }) => {
            values::decimal_to_python(py, v[row], scale)
        }
        (Values::I64(v), _) => values::instant_to_python(py, v[row]),
        (Values::I32(v), FieldType::Date) => values::date_to_python(py, v[row]),
        (Values::I32(v), _) => Ok(v[row].into_pyobject(py)?.into_any()),
        (Values::I16(v), _) => Ok(v[row].into_pyobject(py)?.into_any()),
        (Values::Bool(v), _) => Ok(PyBool::new(py, v[row]).to_owned().into_any()),
        (Values::Code(v), FieldType::Enum(symbols)) => {
            Ok(PyString::intern(py, symbols[usize::from(v[row])]).into_any())
        }
        (Values::Code(_), _) => unreachable!("only enumerations have positions"),
    }
}

/// A batch from an iterable of mappings.
pub fn from_python(relation: &'static Relation, rows: &Bound<'_, PyAny>) -> PyResult<Batch> {
    let py = rows.py();
    let mut builders: Vec<Builder> = relation.fields.iter().map(Builder::new).collect();
    for (row, mapping) in rows.try_iter()?.enumerate() {
        py.check_signals()?;
        let mapping = mapping?;
        let mapping = mapping.cast::<PyMapping>().map_err(|_| {
            PyTypeError::new_err(format!("{} row {row}: not a mapping", relation.name))
        })?;
        check_keys(relation, row, mapping)?;
        for builder in &mut builders {
            let name = builder.field.name;
            let value = mapping.get_item(name)?;
            if !builder.push(&value)? {
                let option = format!("{}.{name} row {row}", relation.name);
                return Err(option_error(py, &option, value, &allowed(builder.field)));
            }
        }
    }
    let columns = builders.into_iter().map(|b| (b.field.name, b.column)).collect();
    Ok(Batch::new(relation, columns))
}

/// Refuses a row that lacks a field or has another.
fn check_keys(
    relation: &'static Relation,
    row: usize,
    mapping: &Bound<'_, PyMapping>,
) -> PyResult<()> {
    let py = mapping.py();
    let option = || format!("{} row {row}", relation.name);
    for field in relation.fields {
        match mapping.get_item(field.name) {
            Err(error) if error.is_instance_of::<PyKeyError>(py) => {
                let keys = mapping.keys()?;
                let wanted = format!("a row that has {}", field.name);
                return Err(option_error(py, &option(), keys, &wanted));
            }
            other => other?,
        };
    }
    if mapping.len()? != relation.fields.len() {
        for key in mapping.keys()? {
            let known = key.extract::<&str>().is_ok_and(|key| relation.position(key).is_some());
            if !known {
                let names = choice(relation.fields.iter().map(|field| field.name));
                return Err(option_error(py, &option(), key, &names));
            }
        }
    }
    Ok(())
}

/// A column that grows.
struct Builder {
    field: &'static Field,
    column: Column,
}

impl Builder {
    fn new(field: &'static Field) -> Self {
        let values = match field.ty {
            FieldType::Uuid => Values::Uuid(Vec::new()),
            FieldType::Text | FieldType::Char(_) => {
                Values::Text(Texts { offsets: vec![0], bytes: Vec::new() })
            }
            FieldType::Decimal { .. } | FieldType::Instant => Values::I64(Vec::new()),
            FieldType::Int | FieldType::Date => Values::I32(Vec::new()),
            FieldType::SmallInt => Values::I16(Vec::new()),
            FieldType::Bool => Values::Bool(Vec::new()),
            FieldType::Enum(_) => Values::Code(Vec::new()),
        };
        Self { field, column: Column { values, validity: field.nullable.then(Vec::new) } }
    }

    /// Adds a row; false if the field does not accept the value.
    fn push(&mut self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let missing = value.is_none();
        match &mut self.column.validity {
            Some(validity) => validity.push(!missing),
            None if missing => return Ok(false),
            None => {}
        }
        if missing {
            self.push_zero();
            return Ok(true);
        }
        Ok(match (&mut self.column.values, self.field.ty) {
            (Values::Uuid(v), _) => push(v, values::uuid_from_python(value)?),
            (Values::Text(v), ty) => {
                let text = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok());
                let text = text.filter(|text| text_fits(text, ty));
                text.map(|text| v.push(text)).is_some()
            }
            (Values::I64(v), FieldType::Decimal { precision, scale }) => {
                push(v, values::decimal_from_python(value, precision, scale)?)
            }
            (Values::I64(v), _) => push(v, values::instant_from_python(value)?),
            (Values::I32(v), FieldType::Date) => push(v, values::date_from_python(value)?),
            (Values::I32(v), _) => {
                push(v, values::integer_from_python(value)?.and_then(|n| n.try_into().ok()))
            }
            (Values::I16(v), _) => {
                push(v, values::integer_from_python(value)?.and_then(|n| n.try_into().ok()))
            }
            (Values::Bool(v), _) => {
                push(v, value.cast::<PyBool>().ok().map(PyBoolMethods::is_true))
            }
            (Values::Code(v), FieldType::Enum(symbols)) => {
                let symbol = value.extract::<&str>().ok();
                let code = symbol.and_then(|symbol| symbols.iter().position(|s| *s == symbol));
                push(v, code.map(|code| code as u8))
            }
            (Values::Code(_), _) => unreachable!("only enumerations have positions"),
        })
    }

    /// What a row without a value holds.
    fn push_zero(&mut self) {
        match &mut self.column.values {
            Values::Uuid(v) => v.push([0; 16]),
            Values::Text(v) => v.push(""),
            Values::I64(v) => v.push(0),
            Values::I32(v) => v.push(0),
            Values::I16(v) => v.push(0),
            Values::Bool(v) => v.push(false),
            Values::Code(v) => v.push(0),
        }
    }
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    value.map(|value| values.push(value)).is_some()
}

fn text_fits(text: &str, ty: FieldType) -> bool {
    match ty {
        FieldType::Char(len) => {
            text.len() == usize::from(len) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        }
        // PostgreSQL has no NUL in its text.
        _ => !text.contains('\0'),
    }
}

/// What a field accepts.
fn allowed(field: &Field) -> String {
    let values = match field.ty {
        FieldType::Uuid => values::UUID.to_owned(),
        FieldType::Text => "text without NUL".to_owned(),
        FieldType::Char(len) => format!("text of {len} printable ASCII characters"),
        FieldType::Decimal { precision, scale } => format!(
            "a Decimal, int or text with at most {} digits before the point and {scale} after",
            precision - scale
        ),
        FieldType::SmallInt => integers(i16::MIN, i16::MAX),
        FieldType::Int => integers(i32::MIN, i32::MAX),
        FieldType::Bool => "True or False".to_owned(),
        FieldType::Date => values::DATE.to_owned(),
        FieldType::Instant => values::INSTANT.to_owned(),
        FieldType::Enum(symbols) => choice(symbols.iter().copied()),
    };
    if field.nullable { format!("{values}, or None") } else { values }
}

fn integers<T: Display>(lowest: T, highest: T) -> String {
    format!("an int from {lowest} to {highest}")
}
