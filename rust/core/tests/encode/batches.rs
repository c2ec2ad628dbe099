//! Batches made from the catalogue alone, with any values that its types can hold.

use datagen_core::catalog::{Field, FieldType, Relation, STREAMS, TABLES, relation};
use datagen_core::column::{Batch, Column, Texts, Values};
use proptest::collection::vec;
use proptest::prelude::*;

/// One value, as every reader below gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Uuid([u8; 16]),
    Text(String),
    /// Any integer: units of a decimal, milliseconds, days, plain numbers.
    Number(i64),
    Bool(bool),
    Symbol(&'static str),
}

pub type Cell = Option<Value>;

pub fn relations() -> impl Iterator<Item = &'static Relation> {
    TABLES.into_iter().chain(STREAMS)
}

fn extremes(low: i64, high: i64) -> BoxedStrategy<Value> {
    let edges = prop_oneof![Just(low), Just(high), Just(0.clamp(low, high)), -200_i64..200];
    prop_oneof![3 => low..=high, 1 => edges.prop_map(move |n| n.clamp(low, high))]
        .prop_map(Value::Number)
        .boxed()
}

fn values(ty: FieldType) -> BoxedStrategy<Value> {
    /// 1900-01-01 and 2200-12-31.
    const DAYS: (i64, i64) = (-25_567, 84_370);
    match ty {
        FieldType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        FieldType::Text => prop_oneof![
            "[ a-zçãé]{0,40}",
            "[\u{0}-\u{7f}\"\\\\é漢😀]{0,12}",
            vec(any::<char>(), 0..90).prop_map(String::from_iter),
        ]
        .prop_map(Value::Text)
        .boxed(),
        FieldType::Char(n) => {
            vec(0x20_u8..0x7f, usize::from(n)).prop_map(|v| Value::Text(ascii(v))).boxed()
        }
        FieldType::Decimal { precision, .. } => {
            let top = 10_i64.pow(precision.into()) - 1;
            extremes(-top, top)
        }
        FieldType::SmallInt => extremes(i16::MIN.into(), i16::MAX.into()),
        FieldType::Int => extremes(i32::MIN.into(), i32::MAX.into()),
        FieldType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        FieldType::Date => extremes(DAYS.0, DAYS.1),
        FieldType::Instant => extremes(DAYS.0 * 86_400_000, (DAYS.1 + 1) * 86_400_000 - 1),
        FieldType::Enum(symbols) => {
            proptest::sample::select(symbols).prop_map(Value::Symbol).boxed()
        }
    }
}

fn ascii(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("ASCII")
}

fn cells(field: &Field) -> BoxedStrategy<Cell> {
    if field.nullable {
        proptest::option::of(values(field.ty)).boxed()
    } else {
        values(field.ty).prop_map(Some).boxed()
    }
}

/// Columns of up to 12 rows.
pub fn table(relation: &'static Relation) -> impl Strategy<Value = Vec<Vec<Cell>>> {
    (0_usize..12).prop_flat_map(|rows| {
        relation.fields.iter().map(|f| vec(cells(f), rows).boxed()).collect::<Vec<_>>()
    })
}

fn column(field: &Field, cells: &[Cell]) -> Column {
    let number = |c: &Cell| match c {
        Some(Value::Number(n)) => *n,
        _ => 0,
    };
    let values = match field.ty {
        FieldType::Uuid => Values::Uuid(
            cells
                .iter()
                .map(|c| if let Some(Value::Uuid(id)) = c { *id } else { [0; 16] })
                .collect(),
        ),
        FieldType::Text | FieldType::Char(_) => {
            let mut texts = Texts::default();
            for cell in cells {
                texts.push(if let Some(Value::Text(text)) = cell { text } else { "" });
            }
            Values::Text(texts)
        }
        FieldType::Decimal { .. } | FieldType::Instant => {
            Values::I64(cells.iter().map(number).collect())
        }
        FieldType::Int | FieldType::Date => {
            Values::I32(cells.iter().map(|c| number(c) as i32).collect())
        }
        FieldType::SmallInt => Values::I16(cells.iter().map(|c| number(c) as i16).collect()),
        FieldType::Bool => {
            Values::Bool(cells.iter().map(|c| *c == Some(Value::Bool(true))).collect())
        }
        FieldType::Enum(symbols) => {
            let code = |c: &Cell| {
                symbols.iter().position(|s| *c == Some(Value::Symbol(s))).unwrap_or_default() as u8
            };
            Values::Code(cells.iter().map(code).collect())
        }
    };
    let validity = field.nullable.then(|| cells.iter().map(Option::is_some).collect());
    Column { values, validity }
}

pub fn batch(relation: &'static Relation, columns: &[Vec<Cell>]) -> Batch {
    let named = relation.fields.iter().zip(columns).map(|(f, c)| (f.name, column(f, c))).collect();
    Batch::new(relation, named)
}

/// A row of zeros, empty texts and missing values, but for those given.
pub fn one_row(name: &str, given: &[(&str, Value)]) -> Batch {
    let relation = relation(name).expect("a relation");
    assert!(given.iter().all(|(name, _)| relation.position(name).is_some()));
    let columns: Vec<Vec<Cell>> = relation
        .fields
        .iter()
        .map(|f| vec![given.iter().find(|(name, _)| *name == f.name).map(|(_, v)| v.clone())])
        .collect();
    batch(relation, &columns)
}
