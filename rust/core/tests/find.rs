//! From what a row or an event is known by back to it, and one customer whole.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use common::{Id, Read, all, bank, bank_of, part, relations};
use datagen_core::batch::{Bank, Found, Lost};
use datagen_core::catalog::{CARD_TRANSACTIONS, Relation, STREAMS, TABLES};
use datagen_core::column::Batch;
use datagen_core::entity::household::Tie;
use datagen_core::plan::{DEFAULT_AS_OF, MAX_CUSTOMERS, Plan};
use proptest::prelude::*;

fn ids(batch: &Batch) -> &[Id] {
    batch.ids(batch.relation().fields[0].name)
}

/// The id that says whose a row is; of what belongs to nobody its own.
fn owner_field(relation: &Relation) -> &'static str {
    relation.foreign_keys.first().map_or(relation.fields[0].name, |key| key.field)
}

fn plans() -> impl Strategy<Value = Plan> {
    (any::<u64>(), 1_u64..60, 1_u32..300).prop_map(|(seed, customers, days)| {
        Plan::try_new(seed, customers, DEFAULT_AS_OF, days).expect("a plan")
    })
}

/// What a batch of one customer's has under a text.
fn found_by<'a>(bank: &Bank, batch: &'a Batch, column: &str) -> Vec<(&'a str, Found)> {
    let found = batch.some_texts(column).into_iter().flatten();
    found.map(|text| (text, bank.find_text(text).expect("what a row has"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_id_leads_back(plan in plans()) {
        let bank = bank_of(plan);
        for relation in relations() {
            let mut first_of_owner = 0;
            for customer in 0..plan.customers() {
                let batch = bank.of_customer(relation, customer).expect("a customer");
                let owners = batch.ids(owner_field(relation));
                // Every row of a table, and a few events of each entity.
                for row in (0..batch.rows()).filter(|row| relation.topic().is_none() || row % 41 == 0) {
                    let id = ids(&batch)[row];
                    let found = bank.find(id).expect("an id of the plan");
                    prop_assert_eq!(found.id, id);
                    prop_assert_eq!(found.relation.map(|one| one.name), Some(relation.name));
                    let owner = (!relation.is_reference()).then_some(customer);
                    prop_assert_eq!(found.customer, owner);
                    let by_form = bank.owner(id).map(|(of, customer)| (of.name, customer));
                    prop_assert_eq!(by_form, owner.map(|customer| (relation.name, customer)));
                    if relation.topic().is_none() {
                        let place = if relation.is_reference() { 0 } else { first_of_owner };
                        prop_assert_eq!((found.row, found.k), (place + row as u64, None));
                    } else {
                        let entity = bank.find(owners[row]).expect("the entity of an event");
                        let before = owners[..row].iter().filter(|one| **one == owners[row]);
                        prop_assert_eq!(found.row, entity.row);
                        prop_assert_eq!(found.k, Some(before.count() as u32));
                    }
                }
                first_of_owner += batch.rows() as u64;
            }
        }
    }

    #[test]
    fn numbers_and_addresses_lead_back(plan in plans()) {
        let bank = bank_of(plan);
        for customer in 0..plan.customers() {
            let of = |name: &str| part(&bank, name, customer..customer + 1, 1);
            for (table, columns) in [
                ("customers", &["cpf", "email", "phone"][..]),
                ("accounts", &["account_number"]),
                ("credit_cards", &["card_number"]),
                ("properties", &["registration_number"]),
            ] {
                let batch = of(table);
                for column in columns {
                    let found = found_by(&bank, &batch, column);
                    prop_assert_eq!(found.len(), batch.rows());
                    for ((text, found), id) in found.iter().zip(ids(&batch)) {
                        prop_assert_eq!(&found.id, id, "{} {}", column, text);
                        prop_assert_eq!(found.customer, Some(customer));
                        prop_assert_eq!(found.relation.map(|one| one.name), Some(table));
                    }
                }
            }
            // A registered key is the customer's document or address, or a random one of the account.
            let accounts = of("accounts");
            for key in accounts.some_texts("pix_key").into_iter().flatten() {
                let hex = key.replace('-', "");
                let found = match u128::from_str_radix(&hex, 16) {
                    Ok(id) if hex.len() == 32 => bank.find(id.to_be_bytes()),
                    _ => bank.find_text(key),
                };
                prop_assert_eq!(found.expect("a key").customer, Some(customer), "{}", key);
            }
        }
    }

    #[test]
    fn who_is_beyond_the_plan_is_told_from_strangers(plan in plans(), beyond in 1_u64..5_000) {
        let customers = plan.customers();
        let small = bank_of(plan);
        let larger = Plan::try_new(plan.seed(), customers + beyond, plan.as_of(), plan.days());
        let larger = bank_of(larger.expect("a plan"));
        let last = customers + beyond - 1;
        for relation in relations().filter(|relation| !relation.is_reference()) {
            let batch = part(&larger, relation.name, last..last + 1, 1);
            for id in ids(&batch).iter().take(3) {
                prop_assert_eq!(small.find(*id), Err(Lost::Beyond(last)));
            }
        }
        let person = part(&larger, "customers", last..last + 1, 1);
        for column in ["cpf", "email", "phone"] {
            prop_assert_eq!(small.find_text(person.texts(column)[0]), Err(Lost::Beyond(last)));
        }
        let other = Plan::try_new(plan.seed() ^ 1, customers, plan.as_of(), plan.days());
        let other = bank_of(other.expect("a plan"));
        for id in ids(&person) {
            prop_assert_eq!(other.find(*id), Err(Lost::Seed));
        }
    }

    #[test]
    fn a_customer_has_the_rows_and_their_versions(plan in plans(), one in any::<prop::sample::Index>()) {
        let bank = bank_of(plan);
        let row = one.index(plan.customers() as usize) as u64;
        for relation in relations() {
            let whole = part(&bank, relation.name, row..row + 1, 100);
            prop_assert!(bank.of_customer(relation, row).expect("a customer") == whole);
            let versions = bank.versions_of(relation, row).expect("a customer");
            if relation.topic().is_some() || relation.is_reference() {
                prop_assert!(versions == whole);
                continue;
            }
            // The last of each is the row.
            let times = versions.longs("updated_at");
            let groups = versions.groups(relation.fields[0].name);
            prop_assert_eq!(groups.len(), whole.rows());
            for (place, (_, rows)) in groups.iter().enumerate() {
                prop_assert!(times[rows.clone()].is_sorted());
                for column in 0..relation.fields.len() {
                    prop_assert_eq!(versions.cell(column, rows.end - 1), whole.cell(column, place));
                }
            }
        }
        prop_assert!(bank.of_customer(TABLES[0], plan.customers()).is_err());
        prop_assert!(bank.versions_of(STREAMS[0], plan.customers()).is_err());
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", digits in "[0-9.X/ +-]{0,24}", local in "[a-z0-9._]{0,30}") {
        let bank = bank(42, 20, 5);
        for text in [text, digits, format!("{local}@example.com")] {
            let _ = bank.find_text(&text);
        }
    }

    #[test]
    fn strangers_are_of_no_seed(id in any::<[u8; 16]>()) {
        prop_assert_eq!(bank(42, 20, 5).find(id), Err(Lost::Seed));
    }
}

#[test]
fn merchants_are_who_their_purchases_say() {
    let bank = bank(42, 300, 60);
    let bought = all(&bank, CARD_TRANSACTIONS.name);
    let columns = [
        "merchant_name",
        "merchant_document",
        "mcc",
        "merchant_category",
        "merchant_city",
        "merchant_state",
    ];
    let texts = columns.map(|column| bought.texts(column));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
    for (row, id) in bought.ids("merchant_id").iter().enumerate() {
        let found = bank.find(*id).expect("a merchant");
        assert_eq!((found.relation, found.customer, found.k), (None, None, None));
        let one = found.merchant.expect("a merchant");
        let told = [
            one.name.clone(),
            text(&one.document),
            text(&one.mcc),
            one.category.to_owned(),
            one.city.to_owned(),
            text(&one.state),
        ];
        assert_eq!(told.each_ref().map(String::as_str), texts.each_ref().map(|all| all[row]));
    }
}

#[test]
fn numbers_with_and_without_what_stands_between() {
    let bank = bank(42, 20, 5);
    let people = part(&bank, "customers", 7..8, 1);
    let cpf = people.texts("cpf")[0];
    let [a, b, c, d] = [&cpf[..3], &cpf[3..6], &cpf[6..9], &cpf[9..]];
    let email = people.texts("email")[0];
    let (country, number) = people.texts("phone")[0].split_at(5);
    for text in [
        format!("{a}.{b}.{c}-{d}"),
        format!(" {cpf} "),
        email.to_uppercase(),
        format!("{} ({}) {}-{}", &country[..3], &country[3..], &number[..5], &number[5..]),
    ] {
        assert_eq!(bank.find_text(&text).expect("a customer").row, 7, "{text}");
    }
    let accounts = part(&bank, "accounts", 0..20, 100);
    for (text, id) in accounts.texts("account_number").iter().zip(ids(&accounts)) {
        for text in [(*text).to_owned(), text.replace('-', ""), text.to_lowercase()] {
            assert_eq!(&bank.find_text(&text).expect("an account").id, id, "{text}");
        }
    }
    let cards = part(&bank, "credit_cards", 0..20, 100);
    for (text, id) in cards.texts("card_number").iter().zip(ids(&cards)) {
        let spaced = [&text[..4], &text[4..8], &text[8..]].join(" ");
        assert_eq!(&bank.find_text(&spaced).expect("a card").id, id);
    }
    assert_eq!(
        bank.find_text("PETR4").expect("a stock").relation.map(|one| one.name),
        Some("stocks")
    );
}

#[test]
fn what_cannot_be_found_says_why() {
    let bank = bank(42, 20, 5);
    let cpf = part(&bank, "customers", 7..8, 1).texts("cpf")[0].to_owned();
    let wrong = |text: &str| {
        let last = text.as_bytes()[text.len() - 1];
        format!("{}{}", &text[..text.len() - 1], char::from(b'0' + (last - b'0' + 1) % 10))
    };
    assert_eq!(bank.find_text(&wrong(&cpf)), Err(Lost::CheckDigits("CPF")));
    assert_eq!(bank.find_text("4111 1111 1111 1112"), Err(Lost::CheckDigits("card number")));
    assert_eq!(bank.find_text("000000000-1"), Err(Lost::CheckDigits("account number")));
    assert_eq!(bank.find_text("E99860010202606011230abcdef12345"), Err(Lost::EndToEnd));
    assert_eq!(bank.find_text("nobody@example.com"), Err(Lost::Seed));
    for text in ["", "17", "customer", "***.456.789-**", "+55", "١٢٣٤٥٦٧٨٩٠١"] {
        assert_eq!(bank.find_text(text), Err(Lost::Form), "{text}");
    }
    // An event of a longer history.
    let longer = common::bank(42, 20, 90);
    let events = part(&longer, "banking.transactions", 0..20, 10_000);
    let lost = ids(&events).iter().filter(|id| matches!(bank.find(**id), Err(Lost::Event(_))));
    assert!(lost.count() > 100);
}

#[test]
fn the_last_of_all_is_found_as_the_first() {
    let plan = Plan::try_new(42, MAX_CUSTOMERS, DEFAULT_AS_OF, 90).expect("a plan");
    let bank = bank_of(plan);
    let last = MAX_CUSTOMERS - 1;
    for relation in relations().filter(|relation| !relation.is_reference()) {
        let batch = bank.of_customer(relation, last).expect("the last");
        for id in ids(&batch) {
            assert_eq!(bank.find(*id).expect("an id").customer, Some(last));
        }
    }
}

#[test]
fn households_are_those_of_their_members() {
    let bank = bank(42, 400, 1);
    let people = all(&bank, "customers");
    let streets = people.texts("street");
    let mut couples = 0;
    for row in 0..400 {
        let members = bank.household(row);
        assert!(members.iter().any(|(one, _)| *one == row));
        assert_eq!(members[0].1, Tie::Head);
        for (other, tie) in &members {
            assert_eq!(bank.household(*other), members);
            assert_eq!(streets[*other as usize], streets[row as usize]);
            couples += u32::from(*tie == Tie::Spouse);
        }
    }
    assert!(couples > 50);
}

#[test]
fn both_sides_of_a_pix_inside_name_one_another() {
    let bank = bank(42, 256, 60);
    let (accounts, moved) = (all(&bank, "accounts"), all(&bank, "banking.transactions"));
    let owners: std::collections::BTreeMap<_, _> =
        ids(&accounts).iter().zip(accounts.ids("customer_id")).collect();
    let ends = moved.some_texts("end_to_end_id");
    let mut legs = std::collections::BTreeMap::<&str, Vec<usize>>::new();
    for (row, end) in ends.iter().enumerate() {
        legs.entry(end.unwrap_or_default()).or_default().push(row);
    }
    legs.remove("");
    let mut pairs = 0;
    for rows in legs.into_values().filter(|rows| rows.len() == 2) {
        let [one, other] = [rows[0], rows[1]].map(|row| {
            let owner = owners[&moved.ids("account_id")[row]];
            bank.find(*owner).expect("a customer").row
        });
        let time = moved.longs("occurred_at")[rows[0]];
        assert_eq!(bank.partner_at(one, time), Some(other));
        assert_eq!(bank.partner_at(other, time), Some(one));
        assert_eq!(bank.partner_at(one, time + 1), None);
        pairs += 1;
    }
    assert!(pairs > 30, "{pairs}");
}
