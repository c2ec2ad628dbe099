//! Credit cards and purchases.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use datagen_core::entity::Context;
use datagen_core::entity::customer::Customer;
use datagen_core::entity::skeleton::Skeleton;
use datagen_core::id::Ids;
use datagen_core::rng::{Domain, Rng};

use crate::common::{Id, Read, data, days};
use crate::customers::{city_is_known, plain, state_is_known};
use crate::worlds::{World, in_every_table, in_every_world};

/// First six digits of Elo cards.
const ELO: [RangeInclusive<u32>; 23] = [
    401_178..=401_179,
    431_274..=431_274,
    438_935..=438_935,
    451_416..=451_416,
    457_393..=457_393,
    457_631..=457_632,
    504_175..=504_175,
    506_699..=506_778,
    509_000..=509_999,
    627_780..=627_780,
    636_297..=636_297,
    636_368..=636_368,
    650_031..=650_033,
    650_035..=650_051,
    650_405..=650_439,
    650_485..=650_538,
    650_541..=650_598,
    650_700..=650_718,
    650_720..=650_727,
    650_901..=650_978,
    651_652..=651_679,
    655_000..=655_019,
    655_021..=655_058,
];

fn each_card(world: &World, mut check: impl FnMut(usize, Range<usize>)) {
    let mut groups: BTreeMap<Id, Range<usize>> =
        world.purchases.groups("card_id").into_iter().collect();
    for (row, id) in world.cards.ids("card_id").iter().enumerate() {
        check(row, groups.remove(id).unwrap_or(0..0));
    }
    assert!(groups.is_empty(), "purchases with no card");
}

#[test]
fn card_numbers_pass_luhn_and_are_of_their_brand() {
    in_every_table(|world| {
        let brands = world.cards.symbols("brand");
        for (number, brand) in world.cards.texts("card_number").into_iter().zip(brands) {
            let sum: u32 = number
                .chars()
                .rev()
                .map(|c| c.to_digit(10).expect("a digit"))
                .zip([1, 2].into_iter().cycle())
                .map(|(digit, weight)| digit * weight)
                .map(|product| if product > 9 { product - 9 } else { product })
                .sum();
            assert_eq!(sum % 10, 0, "{number}");
            assert_eq!(number.len(), if brand == "AMEX" { 15 } else { 16 }, "{number}");
            let prefix: u32 = number[..6].parse().expect("digits");
            let elo = ELO.iter().any(|range| range.contains(&prefix));
            let fits = match brand {
                "VISA" => number.starts_with('4') && !elo,
                "MASTERCARD" => matches!(prefix / 100, 5_100..=5_599 | 2_221..=2_720) && !elo,
                "AMEX" => matches!(prefix / 10_000, 34 | 37),
                "HIPERCARD" => prefix == 606_282,
                _ => elo,
            };
            assert!(fits, "{number} of {brand}");
        }
    });
}

#[test]
fn holders_are_embossed_in_capitals() {
    in_every_table(|world| {
        let (cards, customers) = (&world.cards, &world.customers);
        let by_customer = customers.rows_by_id("customer_id");
        let names = customers.texts("name");
        for (holder, id) in cards.texts("holder_name").into_iter().zip(cards.ids("customer_id")) {
            let name = names[by_customer[id]];
            // ISO/IEC 7813 leaves 26 characters.
            assert!(holder.len() <= 26, "{holder}");
            assert!(holder.bytes().all(|c| c == b' ' || c.is_ascii_uppercase()), "{holder}");
            assert!(holder.split(' ').all(|part| !part.is_empty()), "{holder:?}");
            assert!(is_embossed(name, holder), "{holder} of {name}");
        }
    });
}

/// The whole name if it fits; otherwise its main words, of which those behind some place but for the
/// last may be initials, and no more of them than it takes.
fn is_embossed(name: &str, holder: &str) -> bool {
    let words: Vec<&str> = name.split(' ').collect();
    let capitals = |words: &[&str]| -> Vec<String> {
        words.iter().map(|word| plain(word).to_uppercase()).collect()
    };
    let all = capitals(&words).join(" ");
    if all.len() <= 26 {
        return holder == all;
    }
    let main: Vec<&str> =
        words.into_iter().filter(|w| !matches!(*w, "da" | "das" | "de" | "do" | "dos")).collect();
    let main = capitals(&main);
    let shortened = |initials: usize| {
        let last = main.len() - 1;
        let written = main.iter().enumerate().map(|(place, word)| {
            if (last - initials..last).contains(&place) { &word[..1] } else { word }
        });
        written.collect::<Vec<&str>>().join(" ")
    };
    let fits: Vec<String> = (0..main.len() - 1).map(shortened).filter(|s| s.len() <= 26).collect();
    fits.first().is_some_and(|longest| longest == holder)
}

#[test]
fn embossed_names_are_told_from_others() {
    assert!(is_embossed("Maria Aparecida da Silva", "MARIA APARECIDA DA SILVA"));
    assert!(is_embossed(
        "Maria Aparecida de Souza e Silva".replace(" e ", " ").as_str(),
        "MARIA APARECIDA S SILVA"
    ));
    assert!(!is_embossed("João da Silva", "JOAO SILVA"));
    assert!(!is_embossed("João da Silva", "JOÃO DA SILVA"));
}

#[test]
fn cards_expire_after_the_history_and_close_on_days_of_every_month() {
    in_every_table(|world| {
        let cards = &world.cards;
        let (year, month, _) = days::ymd(days::local(world.plan.as_of()).0);
        for row in 0..cards.rows() {
            let expiry_month = cards.shorts("expiry_month")[row];
            assert!((1..=12).contains(&expiry_month));
            let expiry = (i32::from(cards.shorts("expiry_year")[row]), expiry_month as u32);
            assert!(expiry > (year, month) && expiry.0 < year + 9, "{expiry:?}");
            // Five to eight whole years from issue, and as many again if those were over.
            let (issue_year, issue_month, _) =
                days::ymd(days::local(cards.longs("issued_at")[row]).0);
            let months = |(year, month): (i32, u32)| year * 12 + month as i32;
            let since = |end| months(end) - months((issue_year, issue_month));
            let valid = |years: i32| {
                let validity = 12 * years;
                since(expiry) % validity == 0 && since(expiry) - validity <= since((year, month))
            };
            assert!((5..=8).any(valid), "{expiry:?}, {} months from issue", since(expiry));
            let (closing, due) = (cards.shorts("closing_day")[row], cards.shorts("due_day")[row]);
            assert!((1..=28).contains(&closing) && (1..=28).contains(&due) && closing != due);
            assert!(cards.longs("credit_limit")[row] > 0);
        }
    });
}

#[test]
fn approved_spending_of_a_cycle_stays_within_the_limit() {
    in_every_world(|world| {
        let (cards, events) = (&world.cards, &world.purchases);
        let statuses = events.symbols("status");
        let causes = cards.some_symbols("status_reason");
        each_card(world, |card, rows| {
            let closing = cards.shorts("closing_day")[card] as u32;
            let limit = cards.longs("credit_limit")[card];
            // A cycle is known by the month in which it closes; the closing day belongs to it.
            let cycle = |at: i64| {
                let (year, month, day) = days::ymd(days::local(at).0);
                year * 12 + month as i32 + i32::from(day > closing)
            };
            let mut spent: BTreeMap<i32, i64> = BTreeMap::new();
            for row in rows {
                let spent = spent.entry(cycle(events.longs("occurred_at")[row])).or_default();
                let amount = events.longs("amount")[row];
                assert!(amount > 0);
                if statuses[row] == "APPROVED" {
                    *spent += amount;
                    assert!(*spent <= limit, "row {row}: {spent} of {limit}");
                }
            }
            let available = cards.longs("available_limit")[card];
            let open = spent.get(&cycle(world.plan.as_of())).copied().unwrap_or_default();
            // Customers who leave have paid at once what was bought in the open cycle too.
            let is_settled = causes[card] == Some("HOLDER_REQUEST") && available == limit;
            let open = if is_settled { 0 } else { open };
            assert!((0..=limit - open).contains(&available), "card {card}: {available} of {limit}");
        });
    });
}

/// How long after a block a card is still tried.
const ATTEMPTS: i64 = 2 * days::DAY;

#[test]
fn nothing_is_approved_on_a_card_that_is_blocked_or_cancelled() {
    let mut stopped = 0;
    in_every_world(|world| {
        let (cards, events) = (&world.cards, &world.purchases);
        let (states, causes) = (cards.symbols("status"), cards.some_symbols("status_reason"));
        let (changed, dated) = (cards.longs("status_changed_at"), cards.valid("status_changed_at"));
        let (statuses, reasons) = (events.symbols("status"), events.some_texts("decline_reason"));
        let times = events.longs("occurred_at");
        each_card(world, |card, rows| {
            let issued = cards.longs("issued_at")[card];
            assert!(!dated[card] || (issued..world.plan.as_of()).contains(&changed[card]));
            assert!(rows.clone().all(|row| times[row] >= issued), "card {card} before its issue");
            match (states[card], causes[card]) {
                // It has never been blocked, or is no more.
                ("ACTIVE", None) => {
                    for row in rows {
                        let blocked = reasons[row] == Some("CARD_BLOCKED");
                        assert!(!blocked || dated[card] && times[row] < changed[card]);
                    }
                    return;
                }
                ("BLOCKED", Some("LOST" | "STOLEN" | "FRAUD_SUSPECTED" | "DEFAULT"))
                | ("CANCELLED", Some("HOLDER_REQUEST" | "DEFAULT")) => assert!(dated[card]),
                other => panic!("{other:?} of card {card}"),
            }
            for row in rows {
                if times[row] < changed[card] {
                    continue;
                }
                stopped += 1;
                assert_eq!(states[card], "BLOCKED", "row {row}");
                assert_eq!((statuses[row], reasons[row]), ("DECLINED", Some("CARD_BLOCKED")));
                assert!(times[row] < changed[card] + ATTEMPTS, "row {row}");
            }
        });
    });
    assert!(stopped > 0, "no card is tried after a block");
}

#[test]
fn status_reason_and_authorization_agree() {
    in_every_world(|world| {
        let events = &world.purchases;
        let (reasons, codes) =
            (events.some_texts("decline_reason"), events.some_texts("authorization_code"));
        for (row, status) in events.symbols("status").into_iter().enumerate() {
            match (status, reasons[row], codes[row]) {
                ("APPROVED", None, Some(code)) => {
                    assert!(code.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()));
                }
                ("DECLINED", Some(reason), None) => {
                    assert!(reason.bytes().all(|c| c == b'_' || c.is_ascii_uppercase()));
                }
                other => panic!("{other:?} at row {row}"),
            }
        }
    });
}

#[test]
fn purchases_follow_their_category() {
    let categories: BTreeMap<&str, Vec<&str>> = data(include_str!("../../data/mcc.csv"))
        .into_iter()
        .map(|fields| (fields[0], fields))
        .collect();
    in_every_world(|world| {
        let events = &world.purchases;
        let names = events.texts("merchant_category");
        let modes = events.symbols("entry_mode");
        for (row, mcc) in events.texts("mcc").into_iter().enumerate() {
            let category = &categories[mcc];
            let number = |field: usize| category[field].parse::<i64>().expect("a number");
            assert_eq!(names[row], category[1]);
            let amount = events.longs("amount")[row];
            assert!((number(5)..=number(6)).contains(&amount), "{amount} at {}", names[row]);
            let installments = i64::from(events.shorts("installments")[row]);
            assert!((1..=12).contains(&installments));
            assert!(installments == 1 || installments <= number(7), "{installments} of {mcc}");
            assert!(number(8) > 0 || modes[row] != "ECOMMERCE", "{mcc} online");
        }
    });
}

#[test]
fn subscriptions_come_on_one_day_for_one_amount() {
    let mut met = 0;
    in_every_world(|world| {
        let events = &world.purchases;
        let (mccs, shops) = (events.texts("mcc"), events.texts("merchant_name"));
        each_card(world, |card, rows| {
            // MCC 5968 is subscriptions and nothing else.
            let of: Vec<usize> = rows.filter(|row| mccs[*row] == "5968").collect();
            let distinct: BTreeSet<_> = of
                .iter()
                .map(|row| {
                    let (day, time) = days::local(events.longs("occurred_at")[*row]);
                    (days::ymd(day).2, time, shops[*row], events.longs("amount")[*row])
                })
                .collect();
            assert!(distinct.len() <= 1, "card {card}: {distinct:?}");
            met += of.len();
        });
    });
    assert!(met > 100, "only {met}");
}

#[test]
fn purchases_are_made_at_home_or_on_a_journey() {
    let mut away = 0;
    in_every_world(|world| {
        if world.plan.labels().is_some() {
            // Frauds buy where the holder is not.
            return;
        }
        let (cards, customers, events) = (&world.cards, &world.customers, &world.purchases);
        let context = Context::new(world.plan);
        let holders = customers.rows_by_id("customer_id");
        let homes = customers.texts("city");
        let (mccs, cities) = (events.texts("mcc"), events.texts("merchant_city"));
        let (modes, states) = (events.symbols("entry_mode"), events.texts("merchant_state"));
        let times = events.longs("occurred_at");
        each_card(world, |card, rows| {
            let holder = holders[&cards.ids("customer_id")[card]];
            let skeleton = Skeleton::new(&context, &Customer::new(&context, holder as u64));
            let mut last: Option<(i64, &str)> = None;
            for row in rows {
                let local = ["4121", "5814", "5541", "7997"].contains(&mccs[row]);
                let subscribed = mccs[row] == "7997";
                if modes[row] == "ECOMMERCE" && (!local || subscribed) {
                    continue;
                }
                let day = days::local(times[row]).0;
                let (year, month, _) = days::ymd(day);
                let trip = skeleton.trip(year * 12 + month as i32 - 1);
                let on_trip = trip.is_some_and(|trip| {
                    (trip.first..trip.end).contains(&day) && trip.city.name.text == cities[row]
                });
                assert!(cities[row] == homes[holder] || on_trip, "row {row} in {}", cities[row]);
                away += usize::from(on_trip);
                if modes[row] == "ECOMMERCE" {
                    continue;
                }
                // Nobody is in two states within three hours.
                let at = (times[row], states[row]);
                assert!(
                    last.is_none_or(|last| last.1 == at.1 || at.0 - last.0 >= 3 * days::HOUR),
                    "row {row}"
                );
                last = Some(at);
            }
        });
    });
    assert!(away > 100, "only {away}");
}

#[test]
fn merchants_have_one_name_and_document_each() {
    let chains: BTreeSet<(&str, &str)> = data(include_str!("../../data/merchants.csv"))
        .iter()
        .map(|fields| (fields[0], fields[1]))
        .collect();
    let words: Vec<Vec<&str>> = data(include_str!("../../data/shops.csv"));
    in_every_world(|world| {
        let events = &world.purchases;
        let ids = Ids::new(&Rng::new(world.plan.seed()));
        let (names, documents) = (events.texts("merchant_name"), events.texts("merchant_document"));
        let (mccs, cities) = (events.texts("mcc"), events.texts("merchant_city"));
        let states = events.texts("merchant_state");
        let mut merchants = BTreeMap::new();
        // By CNPJ, and by root: branches of a chain share it.
        let (mut by_document, mut by_root) = (BTreeMap::new(), BTreeMap::new());
        for (row, id) in events.ids("merchant_id").iter().enumerate() {
            let (name, mcc, document) = (names[row], mccs[row], documents[row]);
            let place = (cities[row], states[row]);
            let known = *merchants.entry(*id).or_insert((name, document, mcc, place));
            assert_eq!(known, (name, document, mcc, place), "row {row}");
            assert_eq!(*by_document.entry(document).or_insert(*id), *id, "{document}");
            assert_eq!(*by_root.entry(&document[..8]).or_insert((name, mcc)), (name, mcc));
            assert_eq!(ids.decode(*id).expect("an id of this seed").domain, Domain::Merchant);
            let chain = chains.contains(&(mcc, name));
            let own = || words.iter().any(|word| word[0] == mcc && name.starts_with(word[1]));
            assert!(chain || own() && document[8..12] == *"0001", "{name} of {mcc}");
        }
        // Of shops of their own, no two of a kind in a city have one name.
        let mut shops = BTreeMap::new();
        for (id, (name, _, mcc, place)) in merchants {
            if !chains.contains(&(mcc, name)) {
                assert_eq!(*shops.entry((mcc, place, name)).or_insert(id), id, "{name}");
            }
        }
        for document in by_document.keys() {
            let digits: Vec<u32> = document.bytes().map(|d| u32::from(d - b'0')).collect();
            for length in [12, 13] {
                let weights = (2..=9).cycle();
                let sum: u32 = digits[..length].iter().rev().zip(weights).map(|(d, w)| d * w).sum();
                let digit = if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
                assert_eq!(digits[length], digit, "{document}");
            }
        }
    });
}

#[test]
fn merchants_are_in_known_cities() {
    in_every_world(|world| {
        let states = world.purchases.texts("merchant_state");
        for (city, state) in world.purchases.texts("merchant_city").into_iter().zip(states) {
            assert!(state_is_known(state) && city_is_known(city, state), "{city}, {state}");
        }
    });
}
