//! Encoded rows, read back by readers that share nothing with the encoders: `apache-avro`,
//! `serde_json`, and a small parser of binary COPY.

mod batches;
mod readers;

use std::collections::BTreeSet;

use apache_avro::Schema;
use datagen_core::catalog::{Relation, relation};
use datagen_core::column::Batch;
use datagen_core::encode::{
    Encoded, Format, avro_schema, avro_schema_of_strings, encode, pgcopy, text,
};
use proptest::prelude::*;
use serde_json::Value as Json;

use batches::{Cell, Value, batch, one_row, relations, table};
use readers::{parse_date, parse_instant, parse_uuid, read_avro, read_json, read_pgcopy, tuple};

fn assert_rows(columns: &[Vec<Cell>], rows: &Encoded, read: impl Fn(&[u8]) -> Vec<Cell>) {
    assert_eq!(rows.len(), columns[0].len());
    assert_eq!(rows.offsets.last().copied(), Some(rows.bytes.len() as i64));
    for row in 0..rows.len() {
        let expected: Vec<Cell> = columns.iter().map(|c| c[row].clone()).collect();
        assert_eq!(read(rows.get(row)), expected);
    }
}

/// Runs `check` on random batches of every relation.
fn every_relation(check: impl Fn(&'static Relation, &[Vec<Cell>], &Batch)) {
    for relation in relations() {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let outcome = runner.run(&table(relation), |columns| {
            check(relation, &columns, &batch(relation, &columns));
            Ok(())
        });
        outcome.unwrap_or_else(|e| panic!("{}: {e}", relation.name));
    }
}

#[test]
fn avro_round_trip() {
    every_relation(|relation, columns, batch| {
        let schema = Schema::parse_str(&avro_schema(relation)).expect("a schema");
        let rows = encode(batch, Format::Avro { schema_id: None });
        assert_rows(columns, &rows, |row| read_avro(&schema, relation, row));

        let framed = encode(batch, Format::Avro { schema_id: Some(0x0102_0304) });
        for row in 0..batch.rows() {
            let (frame, body) = framed.get(row).split_at(5);
            assert_eq!((frame, body), (&[0, 1, 2, 3, 4][..], rows.get(row)));
        }
    });
}

#[test]
fn avro_round_trip_without_enumerations() {
    every_relation(|relation, columns, batch| {
        let text = avro_schema_of_strings(relation);
        assert!(!text.contains(r#""enum""#));
        let schema = Schema::parse_str(&text).expect("a schema");
        let rows = encode(batch, Format::AvroStrings { schema_id: None });
        assert_rows(columns, &rows, |row| read_avro(&schema, relation, row));

        let framed = encode(batch, Format::AvroStrings { schema_id: Some(0x0102_0304) });
        for row in 0..batch.rows() {
            let (frame, body) = framed.get(row).split_at(5);
            assert_eq!((frame, body), (&[0, 1, 2, 3, 4][..], rows.get(row)));
        }
    });
}

#[test]
fn json_round_trip() {
    every_relation(|relation, columns, batch| {
        assert_rows(columns, &encode(batch, Format::Json), |row| read_json(relation, row));
    });
}

#[test]
fn pgcopy_round_trip() {
    every_relation(|relation, columns, batch| {
        assert_rows(columns, &encode(batch, Format::PgCopy), |row| read_pgcopy(relation, row));
    });
}

#[test]
fn text_of_a_column() {
    every_relation(|relation, columns, batch| {
        for ((field, cells), column) in relation.fields.iter().zip(columns).zip(batch.columns()) {
            let Some(texts) = text(column, field) else {
                assert!(
                    cells
                        .iter()
                        .all(|c| matches!(c, Some(Value::Number(_) | Value::Bool(_)) | None))
                );
                continue;
            };
            assert_eq!(texts.len(), cells.len());
            for (row, cell) in cells.iter().enumerate() {
                let text = std::str::from_utf8(texts.get(row)).expect("UTF-8");
                match cell {
                    None => assert_eq!(text, ""),
                    Some(Value::Uuid(id)) => assert_eq!(parse_uuid(text), *id),
                    Some(Value::Text(expected)) => assert_eq!(text, expected),
                    Some(Value::Number(millis)) => assert_eq!(parse_instant(text), *millis),
                    Some(Value::Symbol(symbol)) => assert_eq!(text, *symbol),
                    Some(Value::Bool(_)) => panic!("{}: text of a bool", field.name),
                }
            }
        }
    });
}

#[test]
fn avro_schema_of_trades() {
    let schema = avro_schema(relation("banking.trades").expect("a stream"));
    for part in [
        r#"{"type":"record","name":"Trade","namespace":"banking","fields":[{"name":"trade_id","#,
        r#"{"name":"account_id","type":{"type":"string","logicalType":"uuid"},"doc":"INVEST"#,
        r#"{"name":"ticker","type":"string","doc":"#,
        r#"{"type":"enum","name":"Side","namespace":"banking.trade","symbols":["BUY","SELL"]}"#,
        r#"{"name":"quantity","type":"int","#,
        r#"{"type":"bytes","logicalType":"decimal","precision":15,"scale":2}"#,
        r#"{"type":"int","logicalType":"date"}"#,
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    ] {
        assert!(schema.contains(part), "{part} in {schema}");
    }
    let installments = avro_schema(relation("banking.installments").expect("a stream"));
    let nullable = r#""type":["null",{"type":"long","logicalType":"timestamp-millis"}],"doc":"When it was paid","default":null}"#;
    assert!(installments.contains(nullable));
}

/// Classes made from all schemas together must not collide.
#[test]
fn avro_names_are_unique() {
    fn collect(schema: &Json, names: &mut Vec<String>) {
        match schema {
            Json::Object(object) => {
                if let (Some(Json::String(space)), Some(Json::String(name))) =
                    (object.get("namespace"), object.get("name"))
                {
                    names.push(format!("{space}.{name}"));
                }
                object.values().for_each(|v| collect(v, names));
            }
            Json::Array(items) => items.iter().for_each(|v| collect(v, names)),
            _ => {}
        }
    }
    let mut names = Vec::new();
    for relation in relations() {
        collect(&serde_json::from_str(&avro_schema(relation)).expect("JSON"), &mut names);
    }
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    let tables = ["Customer", "Property", "Stock", "Account", "CreditCard", "Loan"];
    let streams = ["Transaction", "CardTransaction", "Trade", "Installment"];
    for record in tables.into_iter().chain(streams) {
        assert!(distinct.contains(&format!("banking.{record}")), "{record}");
    }
}

/// The field's value in each format, with the rest of the row at zero.
fn written(table: &str, field: &str, units: i64) -> (Vec<u8>, String) {
    let batch = one_row(table, &[(field, Value::Number(units))]);
    let position = batch.relation().position(field).expect("a field");
    let rows = encode(&batch, Format::PgCopy);
    let copied = tuple(rows.get(0))[position].expect("a value").to_vec();
    let json = String::from_utf8(encode(&batch, Format::Json).bytes).expect("UTF-8");
    let (_, after) = json.split_once(&format!("\"{field}\":")).expect("a key");
    (copied, after.split([',', '}']).next().expect("a number").to_owned())
}

/// As `numeric_send` of `PostgreSQL` gives them.
#[test]
fn decimals_literally() {
    let money = |units| written("stocks", "reference_price", units);
    for (units, copied, json) in [
        (0, &[0, 0, 0, 2][..], "0.00"),
        (1, &[1, 0xffff, 0, 2, 100], "0.01"),
        (-5, &[1, 0xffff, 0x4000, 2, 500], "-0.05"),
        (1230, &[2, 0, 0, 2, 12, 3000], "12.30"),
        (-1_234_567, &[3, 1, 0x4000, 2, 1, 2345, 6700], "-12345.67"),
        (1_000_000, &[1, 1, 0, 2, 1], "10000.00"),
        (9_999_999_999, &[3, 1, 0, 2, 9999, 9999, 9900], "99999999.99"),
        (999_999_999_999_999, &[5, 3, 0, 2, 9, 9999, 9999, 9999, 9900], "9999999999999.99"),
    ] {
        assert_eq!(money(units), (words(copied), json.to_owned()));
    }
    let rate = |units| written("loans", "monthly_rate", units);
    assert_eq!(rate(19_700), (words(&[1, 0xffff, 0, 6, 197]), "0.019700".to_owned()));
    assert_eq!(rate(1), (words(&[1, 0xfffe, 0, 6, 100]), "0.000001".to_owned()));
    assert_eq!(rate(-1_000_000), (words(&[1, 0, 0x4000, 6, 1]), "-1.000000".to_owned()));
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_be_bytes()).collect()
}

#[test]
fn avro_decimals_are_minimal() {
    for (units, bytes) in [
        (0, &[0][..]),
        (1, &[1]),
        (-1, &[0xff]),
        (127, &[0x7f]),
        (128, &[0, 0x80]),
        (-128, &[0x80]),
        (-129, &[0xff, 0x7f]),
        (1 << 40, &[1, 0, 0, 0, 0, 0]),
        (i64::MAX, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (i64::MIN, &[0x80, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let batch = one_row("stocks", &[("reference_price", Value::Number(units))]);
        let row = encode(&batch, Format::Avro { schema_id: None }).bytes;
        // Before the last field of the row, which is a byte: its length, then the bytes.
        let (before, value) = row[..row.len() - 1].split_at(row.len() - 1 - bytes.len());
        assert_eq!((value, before.last()), (bytes, Some(&(2 * bytes.len() as u8))));
    }
}

#[test]
fn a_row_literally() {
    let id = 0x0f8f_ad5b_d9cb_469f_a165_7086_7728_950e_u128.to_be_bytes();
    let batch = one_row(
        "banking.installments",
        &[
            ("installment_event_id", Value::Uuid(id)),
            ("installment_number", Value::Number(3)),
            ("due_date", Value::Number(parse_date("2026-03-15"))),
            ("amount_paid", Value::Number(123_456)),
            ("payment_status", Value::Symbol("PAID_LATE")),
            ("occurred_at", Value::Number(1_773_584_625_123)),
        ],
    );
    let json = concat!(
        r#"{"installment_event_id":"0f8fad5b-d9cb-469f-a165-70867728950e","#,
        r#""loan_id":"00000000-0000-0000-0000-000000000000","installment_number":3,"#,
        r#""due_date":"2026-03-15","principal_amount":0.00,"interest_amount":0.00,"late_fee":0.00,"#,
        r#""amount_paid":1234.56,"remaining_balance":0.00,"days_late":0,"#,
        r#""payment_status":"PAID_LATE","paid_at":null,"occurred_at":"2026-03-15T14:23:45.123Z"}"#,
    );
    assert_eq!(String::from_utf8(encode(&batch, Format::Json).bytes).expect("UTF-8"), json);
}

#[test]
fn copy_stream_ends() {
    assert_eq!(&pgcopy::HEADER, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    assert_eq!(pgcopy::TRAILER, [0xff, 0xff]);
}
