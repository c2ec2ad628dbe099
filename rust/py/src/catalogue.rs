//! The catalogue as frozen objects. There is one of each, so that equal is identical.

use datagen_core::catalog::{
    CATALOG_VERSION, Field, FieldType, Kind, LABELS, Relation, STREAMS, TABLES,
};
use datagen_core::encode::{avro_schema, avro_schema_of_strings};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyIterator, PyTuple};

use crate::error::option_error;

/// Every table and stream, with its fields and keys.
#[pyfunction]
pub fn catalogue(py: Python<'_>) -> PyResult<Py<PyCatalogue>> {
    static CATALOGUE: PyOnceLock<Py<PyCatalogue>> = PyOnceLock::new();
    let made = CATALOGUE.get_or_try_init(py, || {
        let [tables, streams] = [&TABLES[..], &STREAMS[..]].map(|relations| {
            let relations = relations.iter().map(|relation| PyRelation::new(py, relation));
            tuple(py, relations.collect::<PyResult<Vec<_>>>()?)
        });
        let labels = Py::new(py, PyRelation::new(py, &LABELS)?)?;
        let (tables, streams) = (tables?, streams?);
        Py::new(py, PyCatalogue { version: CATALOG_VERSION, tables, streams, labels })
    })?;
    Ok(made.clone_ref(py))
}

fn tuple<'py, T: IntoPyObject<'py>>(py: Python<'py>, items: Vec<T>) -> PyResult<Py<PyTuple>> {
    Ok(PyTuple::new(py, items)?.unbind())
}

/// The one of these objects that is called so, by an attribute of theirs.
fn named<'py>(
    objects: Bound<'py, PyIterator>,
    attribute: &str,
    option: &str,
    name: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut names = Vec::new();
    for object in objects {
        let object = object?;
        let found = object.getattr(attribute)?;
        if found.eq(name)? {
            return Ok(object);
        }
        names.push(found.to_string());
    }
    Err(option_error(name.py(), option, name, &format!("one of {}", names.join(", "))))
}

/// For pickle and copy: what finds the object that there is, and by which name.
type Reduced<'py> = PyResult<(Bound<'py, PyAny>, (&'static str,))>;

fn reduced<'py>(py: Python<'py>, relation: &str, method: &str, name: &'static str) -> Reduced<'py> {
    Ok((catalogue(py)?.bind(py).get_item(relation)?.getattr(method)?, (name,)))
}

/// Every table in the order of insertion, then every stream in the order of sending.
#[pyclass(frozen, get_all, name = "Catalogue", module = "datagen._core")]
pub struct PyCatalogue {
    version: u32,
    tables: Py<PyTuple>,
    streams: Py<PyTuple>,
    labels: Py<PyRelation>,
}

#[pymethods]
impl PyCatalogue {
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.tables.bind(py).add(&self.streams)?.try_iter()
    }

    fn __getitem__<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if name.eq(LABELS.name)? {
            return Ok(self.labels.bind(name.py()).clone().into_any());
        }
        named(self.__iter__(name.py())?, "name", "relation", name)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, ())> {
        Ok((slf.py().import("datagen._core")?.getattr("catalogue")?, ()))
    }

    fn __repr__(&self) -> String {
        format!("<Catalogue, version {}>", self.version)
    }
}

/// Partitions that the topic of a table is created with: as many as those of streams have.
const TABLE_PARTITIONS: u32 = 3;

/// A table or a stream.
#[pyclass(frozen, get_all, name = "Relation", module = "datagen._core")]
pub struct PyRelation {
    name: &'static str,
    singular: &'static str,
    fields: Py<PyTuple>,
    foreign_keys: Py<PyTuple>,
    primary_key: &'static str,
    avro_schema: String,
    avro_schema_of_strings: String,
    is_stream: bool,
    is_reference: bool,
    unique: Py<PyTuple>,
    checks: Py<PyTuple>,
    validation_rank: u8,
    topic: &'static str,
    keyed_as: Option<&'static str>,
    key: &'static str,
    time: &'static str,
    ce_type: Option<&'static str>,
    partitions: u32,
    parallel_partitions: u32,
    history_days: Option<u32>,
}

impl PyRelation {
    fn new(py: Python<'_>, relation: &'static Relation) -> PyResult<Self> {
        let &Relation { name, singular, kind, fields, foreign_keys } = relation;
        let keys = foreign_keys.iter().map(|key| PyForeignKey {
            relation: name,
            field: key.field,
            table: key.table,
            only: key.only,
        });
        let fields: PyResult<Vec<_>> = fields.iter().map(|f| PyField::new(py, name, f)).collect();
        let (table, topic) = match kind {
            Kind::Table(table) => (Some(table), None),
            Kind::Stream(topic) => (None, Some(topic)),
        };
        Ok(Self {
            name,
            singular,
            fields: tuple(py, fields?)?,
            foreign_keys: tuple(py, keys.collect())?,
            primary_key: relation.fields[0].name,
            avro_schema: avro_schema(relation),
            avro_schema_of_strings: avro_schema_of_strings(relation),
            is_stream: topic.is_some(),
            is_reference: relation.is_reference(),
            unique: tuple(py, table.map_or(vec![], |table| table.unique.to_vec()))?,
            checks: tuple(py, table.map_or(vec![], |table| table.checks.to_vec()))?,
            validation_rank: table.map_or(0, |table| table.validation_rank),
            topic: relation.topic_name(),
            keyed_as: table.and_then(|table| table.keyed_as),
            key: relation.key(),
            time: relation.time(),
            ce_type: topic.map(|topic| topic.ce_type),
            partitions: topic.map_or(TABLE_PARTITIONS, |topic| topic.partitions),
            parallel_partitions: topic.map_or(TABLE_PARTITIONS, |topic| topic.parallel_partitions),
            history_days: topic.and_then(|topic| topic.history_days),
        })
    }
}

#[pymethods]
impl PyRelation {
    /// The field of this name.
    fn field<'py>(&self, name: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        named(self.fields.bind(name.py()).try_iter()?, "name", "field", name)
    }

    /// The foreign key of this field.
    fn foreign_key<'py>(&self, field: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        named(self.foreign_keys.bind(field.py()).try_iter()?, "field", "field", field)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> Reduced<'py> {
        let found = catalogue(py)?.bind(py).getattr("__getitem__")?;
        Ok((found, (self.name,)))
    }

    fn __repr__(&self) -> String {
        format!("<Relation {}>", self.name)
    }
}

/// One column of a table, or one field of an event.
#[pyclass(frozen, get_all, name = "Field", module = "datagen._core")]
pub struct PyField {
    relation: &'static str,
    name: &'static str,
    r#type: &'static str,
    nullable: bool,
    doc: &'static str,
    precision: Option<u8>,
    scale: Option<u8>,
    length: Option<u8>,
    symbols: Py<PyTuple>,
}

impl PyField {
    fn new(py: Python<'_>, relation: &'static str, field: &Field) -> PyResult<Self> {
        let (mut precision, mut scale, mut length, mut symbols) = (None, None, None, &[][..]);
        let r#type = match field.ty {
            FieldType::Uuid => "uuid",
            FieldType::Text => "text",
            FieldType::Char(characters) => {
                length = Some(characters);
                "char"
            }
            FieldType::Decimal { precision: digits, scale: after } => {
                (precision, scale) = (Some(digits), Some(after));
                "decimal"
            }
            FieldType::SmallInt => "smallint",
            FieldType::Int => "int",
            FieldType::Bool => "bool",
            FieldType::Date => "date",
            FieldType::Instant => "instant",
            FieldType::Enum(all) => {
                symbols = all;
                "enum"
            }
        };
        let &Field { name, nullable, doc, .. } = field;
        let symbols = tuple(py, symbols.to_vec())?;
        Ok(Self { relation, name, r#type, nullable, doc, precision, scale, length, symbols })
    }
}

#[pymethods]
impl PyField {
    fn __reduce__<'py>(&self, py: Python<'py>) -> Reduced<'py> {
        reduced(py, self.relation, "field", self.name)
    }

    fn __repr__(&self) -> String {
        format!("<Field {} of {}>", self.name, self.relation)
    }
}

/// A field whose values must be primary keys of ``table``.
#[pyclass(frozen, get_all, name = "ForeignKey", module = "datagen._core")]
pub struct PyForeignKey {
    relation: &'static str,
    field: &'static str,
    table: &'static str,
    only: Option<(&'static str, &'static str)>,
}

#[pymethods]
impl PyForeignKey {
    fn __reduce__<'py>(&self, py: Python<'py>) -> Reduced<'py> {
        reduced(py, self.relation, "foreign_key", self.field)
    }

    fn __repr__(&self) -> String {
        format!("<ForeignKey {} of {}>", self.field, self.relation)
    }
}
