//! The catalogue as plain Python data, from which Python derives DDL, checks and topics.

use datagen_core::catalog::{
    CATALOG_VERSION, Field, FieldType, ForeignKey, Kind, Relation, STREAMS, TABLES,
};
use datagen_core::encode::avro_schema;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The catalogue as plain data.
#[pyfunction]
pub fn catalogue(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("version", CATALOG_VERSION)?;
    dict.set_item("tables", list(py, &TABLES, |r| relation(py, r))?)?;
    dict.set_item("streams", list(py, &STREAMS, |r| relation(py, r))?)?;
    Ok(dict)
}

fn relation<'py>(py: Python<'py>, relation: &Relation) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", relation.name)?;
    dict.set_item("fields", list(py, relation.fields, |f| field(py, f))?)?;
    dict.set_item("foreign_keys", list(py, relation.foreign_keys, |k| foreign_key(py, k))?)?;
    dict.set_item("avro_schema", avro_schema(relation))?;
    match relation.kind {
        Kind::Table(keys) => {
            dict.set_item("unique", keys.unique)?;
            dict.set_item("checks", keys.checks)?;
        }
        Kind::Stream(topic) => {
            dict.set_item("key", topic.key)?;
            dict.set_item("time", topic.time)?;
            dict.set_item("ce_type", topic.ce_type)?;
        }
    }
    Ok(dict)
}

fn field<'py>(py: Python<'py>, field: &Field) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", field.name)?;
    dict.set_item("type", type_name(field.ty))?;
    dict.set_item("nullable", field.nullable)?;
    dict.set_item("doc", field.doc)?;
    match field.ty {
        FieldType::Char(length) => dict.set_item("length", length)?,
        FieldType::Decimal { precision, scale } => {
            dict.set_item("precision", precision)?;
            dict.set_item("scale", scale)?;
        }
        FieldType::Enum(symbols) => dict.set_item("symbols", symbols)?,
        _ => {}
    }
    Ok(dict)
}

const fn type_name(ty: FieldType) -> &'static str {
    match ty {
        FieldType::Uuid => "uuid",
        FieldType::Text => "text",
        FieldType::Char(_) => "char",
        FieldType::Decimal { .. } => "decimal",
        FieldType::SmallInt => "smallint",
        FieldType::Int => "int",
        FieldType::Bool => "bool",
        FieldType::Date => "date",
        FieldType::Instant => "instant",
        FieldType::Enum(_) => "enum",
    }
}

fn foreign_key<'py>(py: Python<'py>, key: &ForeignKey) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("field", key.field)?;
    dict.set_item("table", key.table)?;
    dict.set_item("only", key.only)?;
    Ok(dict)
}

fn list<'py, T>(
    py: Python<'py>,
    items: &[T],
    make: impl Fn(&T) -> PyResult<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyList>> {
    let dicts = items.iter().map(make).collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, dicts)
}
