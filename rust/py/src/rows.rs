//! Rows as Python dicts, and from mappings or objects: for people and for tests, not for volume.

use std::fmt::Display;

use datagen_core::catalog::{Field, FieldType, Relation};
use datagen_core::column::{Batch, Column, Stored, Typed, Values};
use pyo3::exceptions::{PyAttributeError, PyKeyError, PyTypeError};
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
    match column.typed(field.ty) {
        Typed::Uuid(v) => values::uuid_to_python(py, v[row]),
        Typed::Text(v) => Ok(PyString::from_bytes(py, v.get(row))?.into_any()),
        Typed::Decimal { units, scale, .. } => values::decimal_to_python(py, units[row], scale),
        Typed::Instant(v) => values::instant_to_python(py, v[row]),
        Typed::Date(v) => values::date_to_python(py, v[row]),
        Typed::Int(v) => Ok(v[row].into_pyobject(py)?.into_any()),
        Typed::SmallInt(v) => Ok(v[row].into_pyobject(py)?.into_any()),
        Typed::Bool(v) => Ok(PyBool::new(py, v[row]).to_owned().into_any()),
        Typed::Enum(v, symbols) => {
            Ok(PyString::intern(py, symbols[usize::from(v[row])]).into_any())
        }
    }
}

/// A batch from an iterable of rows: mappings, or objects that have the fields as attributes.
pub fn from_python(relation: &'static Relation, rows: &Bound<'_, PyAny>) -> PyResult<Batch> {
    let py = rows.py();
    let mut builders: Vec<Builder> = relation.fields.iter().map(Builder::new).collect();
    for (number, row) in rows.try_iter()?.enumerate() {
        py.check_signals()?;
        let row = Row { relation, number, given: row? };
        row.check_keys()?;
        for builder in &mut builders {
            let value = row.value(builder.field.name)?;
            if !builder.push(&value)? {
                let option = format!("{}.{} row {number}", relation.name, builder.field.name);
                return Err(option_error(py, &option, value, &allowed(builder.field)));
            }
        }
    }
    let columns = builders.into_iter().map(|b| (b.field.name, b.column)).collect();
    Ok(Batch::new(relation, columns))
}

/// A row as it was given.
struct Row<'py> {
    relation: &'static Relation,
    number: usize,
    given: Bound<'py, PyAny>,
}

impl<'py> Row<'py> {
    fn mapping(&self) -> Option<&Bound<'py, PyMapping>> {
        self.given.cast::<PyMapping>().ok()
    }

    fn value(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.mapping() {
            Some(mapping) => mapping.get_item(name),
            None => self.given.getattr(name),
        }
    }

    /// Refuses a row that lacks a field, and a mapping that has another.
    fn check_keys(&self) -> PyResult<()> {
        let py = self.given.py();
        let Self { relation, number, given } = self;
        let option = || format!("{} row {number}", relation.name);
        let mapping = self.mapping();
        for (position, field) in relation.fields.iter().enumerate() {
            let Err(error) = self.value(field.name) else { continue };
            let wanted = format!("a row that has {}", field.name);
            if mapping.is_some() && error.is_instance_of::<PyKeyError>(py) {
                let keys = given.call_method0("keys")?;
                return Err(option_error(py, &option(), keys, &wanted));
            }
            if mapping.is_some() || !error.is_instance_of::<PyAttributeError>(py) {
                return Err(error);
            }
            if position == 0 {
                return Err(PyTypeError::new_err(format!(
                    "{}: neither a mapping nor an object that has the attribute {}",
                    option(),
                    field.name
                )));
            }
            return Err(option_error(py, &option(), given.get_type(), &wanted));
        }
        let Some(mapping) = mapping else { return Ok(()) };
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
}

/// A column that grows.
struct Builder {
    field: &'static Field,
    column: Column,
}

impl Builder {
    fn new(field: &'static Field) -> Self {
        let values = Values::empty(field.ty);
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
        let values = &mut self.column.values;
        Ok(match self.field.ty {
            FieldType::Uuid => push(values, values::uuid_from_python(value)?),
            // PostgreSQL has no NUL in its text.
            FieldType::Text => push_text(values, value, |text| !text.contains('\0')),
            FieldType::Char(len) => push_text(values, value, |text| {
                text.len() == usize::from(len) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
            }),
            FieldType::Decimal { precision, scale } => {
                push(values, values::decimal_from_python(value, precision, scale)?)
            }
            FieldType::SmallInt => push::<i16>(values, integer(value)?),
            FieldType::Int => push::<i32>(values, integer(value)?),
            FieldType::Bool => {
                push(values, value.cast::<PyBool>().ok().map(PyBoolMethods::is_true))
            }
            FieldType::Date => push(values, values::date_from_python(value)?),
            FieldType::Instant => push(values, values::instant_from_python(value)?),
            FieldType::Enum(symbols) => {
                let symbol = value.extract::<&str>().ok();
                let code = symbol.and_then(|symbol| symbols.iter().position(|s| *s == symbol));
                push(values, code.map(|code| code as u8))
            }
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

fn push<T: Stored>(values: &mut Values, value: Option<T>) -> bool {
    value.map(|value| values.stored_mut().push(value)).is_some()
}

fn push_text(
    values: &mut Values,
    value: &Bound<'_, PyAny>,
    fits: impl FnOnce(&str) -> bool,
) -> bool {
    let Values::Text(texts) = values else { unreachable!("the values of a text field") };
    let text = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok());
    text.filter(|text| fits(text)).map(|text| texts.push(text)).is_some()
}

fn integer<T: TryFrom<i64>>(value: &Bound<'_, PyAny>) -> PyResult<Option<T>> {
    Ok(values::integer_from_python(value)?.and_then(|number| number.try_into().ok()))
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
