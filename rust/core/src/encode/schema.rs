//! The Avro schema of a relation (Avro 1.11, "Schema Declaration" and "Logical Types").

use std::fmt::Write;

use crate::catalog::{Field, FieldType, Relation};

/// The schema of the relation's rows, as compact JSON. The record is named for one row.
pub fn avro_schema(relation: &Relation) -> String {
    schema(relation, type_schema)
}

/// The same with strings in place of enumerations.
pub fn avro_schema_of_strings(relation: &Relation) -> String {
    schema(relation, |field, record| match field.ty {
        FieldType::Enum(_) => type_schema(&Field { ty: FieldType::Text, ..*field }, record),
        _ => type_schema(field, record),
    })
}

fn schema(relation: &Relation, type_schema: fn(&Field, &str) -> String) -> String {
    let record = pascal_case(relation.singular);
    let fields: Vec<String> = relation
        .fields
        .iter()
        .map(|field| field_schema(field, type_schema(field, &record)))
        .collect();
    format!(
        r#"{{"type":"record","name":"{record}","namespace":"banking","fields":[{}]}}"#,
        fields.join(",")
    )
}

fn field_schema(field: &Field, ty: String) -> String {
    let (ty, default) =
        if field.nullable { (format!(r#"["null",{ty}]"#), r#","default":null"#) } else { (ty, "") };
    let doc = quoted(field.doc);
    format!(r#"{{"name":"{}","type":{ty},"doc":{doc}{default}}}"#, field.name)
}

fn type_schema(field: &Field, record: &str) -> String {
    match field.ty {
        FieldType::Uuid => r#"{"type":"string","logicalType":"uuid"}"#.to_owned(),
        FieldType::Text | FieldType::Char(_) => r#""string""#.to_owned(),
        FieldType::Decimal { precision, scale } => format!(
            r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#
        ),
        FieldType::SmallInt | FieldType::Int => r#""int""#.to_owned(),
        FieldType::Bool => r#""boolean""#.to_owned(),
        FieldType::Date => r#"{"type":"int","logicalType":"date"}"#.to_owned(),
        FieldType::Instant => r#"{"type":"long","logicalType":"timestamp-millis"}"#.to_owned(),
        // A namespace for each record: several have a `status`, each with symbols of its own, and
        // classes generated from two schemas must not collide.
        FieldType::Enum(symbols) => format!(
            r#"{{"type":"enum","name":"{}","namespace":"banking.{}","symbols":["{}"]}}"#,
            pascal_case(field.name),
            record.to_ascii_lowercase(),
            symbols.join(r#"",""#)
        ),
    }
}

/// `credit card` and `credit_card` as `CreditCard`.
fn pascal_case(name: &str) -> String {
    name.split([' ', '_'])
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => write!(out, "\\u{:04x}", c as u32).expect("a string grows"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
