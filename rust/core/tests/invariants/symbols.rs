//! Every symbol of every enumeration is used.

use datagen_core::catalog::FieldType;

use crate::common::{Read, all, bank, relations};

#[test]
fn twenty_thousand_customers_use_every_symbol() {
    let bank = bank(42, 20_000, 90);
    for relation in relations() {
        let rows = all(&bank, relation.name);
        for field in relation.fields {
            let FieldType::Enum(symbols) = field.ty else { continue };
            let mut used = rows.some_symbols(field.name);
            used.sort_unstable();
            used.dedup();
            for symbol in symbols {
                assert!(used.contains(&Some(symbol)), "{}.{} {symbol}", relation.name, field.name);
            }
            assert_eq!(used.contains(&None), field.nullable, "{}.{}", relation.name, field.name);
        }
    }
}
