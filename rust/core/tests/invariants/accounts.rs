//! Accounts and their ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::common::{Id, Read, data, days};
use crate::customers::{cnpj_is_valid, cpf_is_valid, email_is_valid, evp_is_valid, phone_is_valid};
use crate::worlds::{World, in_every_table, in_every_world};

/// Calls `check` with the row of each account and the rows of its transactions, which may be none.
fn each_account(world: &World, mut check: impl FnMut(usize, std::ops::Range<usize>)) {
    let mut groups: BTreeMap<Id, std::ops::Range<usize>> =
        world.transactions.groups("account_id").into_iter().collect();
    for (row, id) in world.accounts.ids("account_id").iter().enumerate() {
        check(row, groups.remove(id).unwrap_or(0..0));
    }
    assert!(groups.is_empty(), "transactions of no account");
}

#[test]
fn account_numbers_have_their_check_digit() {
    in_every_table(|world| {
        for number in world.accounts.texts("account_number") {
            let (body, digit) = number.split_once('-').expect("a hyphen");
            // With the check digit at weight 1, the whole is a multiple of 11; X is ten.
            let values = body.chars().chain(digit.chars()).rev();
            let weights = [1].into_iter().chain([2, 3, 4, 5, 6, 7, 8, 9].into_iter().cycle());
            let sum: u32 = values
                .zip(weights)
                .map(|(c, weight)| if c == 'X' { 10 } else { c.to_digit(10).expect("a digit") } * weight)
                .sum();
            assert_eq!(sum % 11, 0, "{number}");
        }
    });
}

#[test]
fn branches_belong_to_a_city_and_customers_to_a_branch() {
    in_every_table(|world| {
        let (accounts, customers) = (&world.accounts, &world.customers);
        let holders = customers.rows_by_id("customer_id");
        let (cities, states) = (customers.texts("city"), customers.texts("state"));
        let mut cities_of_branches = BTreeMap::new();
        let mut branches_of_customers = BTreeMap::new();
        for (branch, id) in accounts.texts("branch").into_iter().zip(accounts.ids("customer_id")) {
            assert!(branch.bytes().all(|digit| digit.is_ascii_digit()), "{branch}");
            let holder = holders[id];
            let city = (cities[holder], states[holder]);
            assert_eq!(*cities_of_branches.entry(branch).or_insert(city), city, "{branch}");
            assert_eq!(*branches_of_customers.entry(id).or_insert(branch), branch);
        }
    });
}

#[test]
fn every_customer_has_one_checking_account_and_at_most_one_of_each_other() {
    in_every_table(|world| {
        let kinds = world.accounts.symbols("account_type");
        let held: BTreeSet<(Id, &str)> =
            world.accounts.ids("customer_id").iter().copied().zip(kinds.iter().copied()).collect();
        assert_eq!(held.len(), world.accounts.rows());
        let checking = kinds.iter().filter(|kind| **kind == "CORRENTE").count();
        assert_eq!(checking, world.customers.rows());
    });
}

#[test]
fn pix_keys_of_accounts_are_their_holders() {
    in_every_table(|world| {
        let holders = world.customers.rows_by_id("customer_id");
        let customers = &world.customers;
        let (cpfs, phones, emails) =
            (customers.texts("cpf"), customers.texts("phone"), customers.texts("email"));
        let accounts = &world.accounts;
        let (kinds, keys) = (accounts.some_symbols("pix_key_type"), accounts.some_texts("pix_key"));
        let account_types = accounts.symbols("account_type");
        for row in 0..accounts.rows() {
            let holder = holders[&accounts.ids("customer_id")[row]];
            match (kinds[row], keys[row]) {
                (None, None) => continue,
                (Some("CPF"), Some(key)) => assert_eq!(key, cpfs[holder]),
                (Some("PHONE"), Some(key)) => assert_eq!(key, phones[holder]),
                (Some("EMAIL"), Some(key)) => assert_eq!(key, emails[holder]),
                (Some("EVP"), Some(key)) => assert!(evp_is_valid(key), "{key}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(account_types[row], "CORRENTE");
        }
        let keys: Vec<&str> = keys.into_iter().flatten().collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "a key comes twice");
    });
}

#[test]
fn overdrafts_follow_from_income_and_score() {
    in_every_table(|world| {
        let (accounts, customers) = (&world.accounts, &world.customers);
        let holders = customers.rows_by_id("customer_id");
        let kinds = accounts.symbols("account_type");
        for (row, id) in accounts.ids("customer_id").iter().enumerate() {
            let holder = holders[id];
            let (income, score) = (
                customers.longs("monthly_income")[holder],
                customers.shorts("credit_score")[holder],
            );
            let limit = accounts.longs("overdraft_limit")[row];
            // 1.5 incomes at most, whole hundreds of reais, and none for those below 250 points.
            assert!(2 * limit <= 3 * income && limit % 10_000 == 0, "{limit} with {income}");
            assert!(limit == 0 || (kinds[row] == "CORRENTE" && score >= 250), "{limit}, {score}");
            // From 650 points on everybody has one who earns enough for it to be R$ 100.
            let sure = kinds[row] == "CORRENTE" && score >= 650 && income >= 40_000;
            assert!(limit > 0 || !sure, "no overdraft with {score}");
        }
    });
}

#[test]
fn movements_lead_from_the_opening_balance_to_the_balance() {
    in_every_world(|world| {
        let (accounts, events) = (&world.accounts, &world.transactions);
        let (statuses, directions) = (events.symbols("status"), events.symbols("direction"));
        let (amounts, after) = (events.longs("amount"), events.longs("balance_after"));
        each_account(world, |account, rows| {
            let floor = -accounts.longs("overdraft_limit")[account];
            let mut balance = accounts.longs("opening_balance")[account];
            assert!(balance >= floor);
            for row in rows {
                assert!(amounts[row] > 0);
                let moved = match (statuses[row], directions[row]) {
                    ("COMPLETED", "CREDIT") => amounts[row],
                    ("COMPLETED", "DEBIT") => -amounts[row],
                    ("REVERSED", _) => 0,
                    // Only what would pass the limit is declined.
                    ("DECLINED", "DEBIT") if balance - amounts[row] < floor => 0,
                    other => panic!("{other:?} at row {row}"),
                };
                balance += moved;
                assert_eq!(balance, after[row], "row {row}");
                assert!(balance >= floor, "row {row}");
            }
            assert_eq!(balance, accounts.longs("balance")[account], "account {account}");
        });
    });
}

#[test]
fn only_checking_accounts_have_an_overdraft() {
    in_every_world(|world| {
        let accounts = &world.accounts;
        let kinds = accounts.symbols("account_type");
        for (kind, overdraft) in kinds.iter().zip(accounts.longs("overdraft_limit")) {
            assert!(*overdraft >= 0 && (*overdraft == 0 || *kind == "CORRENTE"));
        }
    });
}

#[test]
fn accounts_move_neither_before_they_open_nor_after_they_are_blocked_or_closed() {
    let mut stopped = 0;
    in_every_world(|world| {
        let accounts = &world.accounts;
        let statuses = accounts.symbols("status");
        let (reasons, changed) =
            (accounts.some_symbols("status_reason"), accounts.some_longs("status_changed_at"));
        let times = world.transactions.longs("occurred_at");
        each_account(world, |account, rows| {
            let opened = accounts.longs("opened_at")[account];
            assert!(rows.clone().all(|row| times[row] >= opened));
            assert_eq!(reasons[account].is_some(), changed[account].is_some());
            let Some(since) = changed[account] else {
                assert_eq!(statuses[account], "ACTIVE");
                return;
            };
            assert!((opened..world.plan.as_of()).contains(&since));
            match statuses[account] {
                "BLOCKED" => assert!(rows.clone().all(|row| times[row] < since)),
                "CLOSED" => {
                    assert!(rows.clone().all(|row| times[row] <= since));
                    assert_eq!(accounts.longs("balance")[account], 0);
                }
                _ => return,
            }
            stopped += 1;
        });
    });
    assert!(stopped > 20, "only {stopped}");
}

#[test]
fn teds_are_ordered_on_business_days_before_five() {
    in_every_world(|world| {
        let kinds = world.transactions.symbols("transaction_type");
        for (kind, at) in kinds.iter().zip(world.transactions.longs("occurred_at")) {
            let (day, time) = days::local(*at);
            assert!(
                *kind != "TED" || (days::is_business_day(day) && time < 17 * days::HOUR),
                "a TED at {}",
                days::instant_text(*at)
            );
        }
    });
}

#[test]
fn pix_at_night_is_capped() {
    in_every_world(|world| {
        let events = &world.transactions;
        let (kinds, directions) = (events.symbols("transaction_type"), events.symbols("direction"));
        for row in 0..events.rows() {
            let (_, time) = days::local(events.longs("occurred_at")[row]);
            let night = !(6 * days::HOUR..20 * days::HOUR).contains(&time);
            if (kinds[row], directions[row], night) == ("PIX", "DEBIT", true) {
                assert!(events.longs("amount")[row] <= 100_000, "row {row}");
            }
        }
    });
}

#[test]
fn cash_moves_in_tens_and_in_one_direction() {
    in_every_world(|world| {
        let events = &world.transactions;
        let (kinds, directions) = (events.symbols("transaction_type"), events.symbols("direction"));
        let texts = events.some_texts("description");
        for row in 0..events.rows() {
            let cash = match kinds[row] {
                "DEPOSIT" => "CREDIT",
                "WITHDRAWAL" => "DEBIT",
                _ => continue,
            };
            assert_eq!(directions[row], cash);
            // A cheque and a boleto are of any sum.
            let notes = !matches!(texts[row], Some("Depósito em cheque" | "Depósito via boleto"));
            let tens = events.longs("amount")[row] % 1_000 == 0;
            assert!(tens || !notes, "row {row}");
        }
    });
}

#[test]
fn incomes_come_on_the_paydays_of_one_payer() {
    let (mut paid, mut halves) = (0, 0);
    in_every_world(|world| {
        let events = &world.transactions;
        let texts = events.some_texts("description");
        let (kinds, names) =
            (events.symbols("transaction_type"), events.some_texts("counterparty_name"));
        let (times, amounts) = (events.longs("occurred_at"), events.longs("amount"));
        let types = world.accounts.symbols("account_type");
        let holders = world.customers.rows_by_id("customer_id");
        let incomes = world.customers.longs("monthly_income");
        each_account(world, |account, rows| {
            let holder = holders[&world.accounts.ids("customer_id")[account]];
            let mut payers = BTreeSet::new();
            let mut months: BTreeMap<(i32, u32), i64> = BTreeMap::new();
            for row in rows.filter(|row| kinds[*row] == "SALARY") {
                let (day, time) = days::local(times[row]);
                let (year, month, day_of_month) = days::ymd(day);
                assert_eq!(types[account], "CORRENTE");
                assert!(days::is_business_day(day) && time < 8 * days::HOUR);
                payers.insert(names[row].expect("who pays"));
                if texts[row] == Some("Décimo terceiro salário") {
                    assert!(matches!(month, 11 | 12));
                    assert!(day_of_month <= if month == 11 { 30 } else { 20 });
                    halves += 1;
                } else {
                    *months.entry((year, month)).or_default() += amounts[row];
                    paid += 1;
                }
            }
            assert!(payers.len() <= 1, "{payers:?}");
            // What is left after tax at the most, and a part of it in months of want or at an end of the history.
            for month in months.values() {
                assert!(*month <= incomes[holder], "{month} of {}", incomes[holder]);
            }
        });
    });
    assert!(paid > 200, "only {paid} incomes");
    assert!(halves > 10, "only {halves} halves of a thirteenth");
}

fn is_salary(description: Option<&str>) -> bool {
    matches!(
        description,
        Some(
            "Salário" | "Adiantamento de salário" | "Décimo terceiro salário" | "Benefício do INSS"
        )
    )
}

#[test]
fn bills_come_once_a_month_from_one_biller() {
    let mut met = 0;
    in_every_world(|world| {
        if world.plan.labels().is_some() {
            // Frauds say that they are bills.
            return;
        }
        let events = &world.transactions;
        let texts = events.some_texts("description");
        let names = events.some_texts("counterparty_name");
        each_account(world, |_, rows| {
            for bill in [
                "Aluguel",
                "Conta de luz",
                "Conta de água",
                "Internet e telefone",
                "Mensalidade escolar",
            ] {
                let found: Vec<_> = rows.clone().filter(|row| texts[*row] == Some(bill)).collect();
                let billers: BTreeSet<_> = found.iter().map(|row| names[*row]).collect();
                assert!(billers.len() <= 1, "{bill}: {billers:?}");
                let months: BTreeSet<_> = found
                    .iter()
                    .map(|row| {
                        let (day, _) = days::local(events.longs("occurred_at")[*row]);
                        let (year, month, _) = days::ymd(day);
                        (year, month)
                    })
                    .collect();
                assert_eq!(months.len(), found.len(), "{bill} twice a month");
                met += found.len();
            }
        });
    });
    assert!(met > 300, "only {met} bills");
}

#[test]
fn branches_and_machines_keep_their_hours() {
    in_every_world(|world| {
        let events = &world.transactions;
        let (kinds, channels) = (events.symbols("transaction_type"), events.symbols("channel"));
        for row in 0..events.rows() {
            let (day, time) = days::local(events.longs("occurred_at")[row]);
            let hour = time / days::HOUR;
            match channels[row] {
                "BRANCH" => assert!(days::is_business_day(day) && (10..16).contains(&hour)),
                "ATM" => assert!((6..22).contains(&hour)),
                _ => assert!(kinds[row] != "WITHDRAWAL", "row {row}"),
            }
        }
    });
}

#[test]
fn end_to_end_ids_are_of_pix_and_name_bank_and_minute() {
    let banks: BTreeSet<&str> =
        data(include_str!("../../data/banks.csv")).iter().map(|fields| fields[1]).collect();
    in_every_world(|world| {
        let events = &world.transactions;
        let (kinds, directions) = (events.symbols("transaction_type"), events.symbols("direction"));
        let others = events.some_texts("counterparty_ispb");
        let (mut own, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for (row, id) in events.some_texts("end_to_end_id").into_iter().enumerate() {
            assert_eq!(id.is_some(), kinds[row] == "PIX");
            let Some(id) = id else { continue };
            // Both legs of a payment between customers have one.
            let inside = others[row] == Some("99860010");
            assert!(seen.insert((id, inside.then(|| directions[row]))), "{id} comes twice");
            let utc = days::instant_text(events.longs("occurred_at")[row]);
            let minute: String = utc[..16].chars().filter(char::is_ascii_digit).collect();
            assert_eq!((id.len(), &id[..1], &id[9..21]), (32, "E", minute.as_str()), "{utc}");
            assert!(id[21..].bytes().all(|c| c.is_ascii_alphanumeric()), "{id}");
            // The payer's bank: the other one if money comes in.
            if directions[row] == "CREDIT" {
                assert_eq!(Some(&id[1..9]), others[row]);
            } else {
                own.insert(&id[1..9]);
            }
        }
        assert!(own.len() <= 1, "one bank's customers pay from {own:?}");
        let digits = |ispb: &&str| ispb.bytes().all(|digit| digit.is_ascii_digit());
        assert!(own.iter().all(|ispb| digits(ispb) && !banks.contains(ispb)), "{own:?}");
    });
}

#[test]
fn counterparties_are_those_of_pix_and_ted() {
    let banks: BTreeSet<&str> =
        data(include_str!("../../data/banks.csv")).iter().map(|fields| fields[1]).collect();
    in_every_world(|world| {
        let events = &world.transactions;
        let kinds = events.symbols("transaction_type");
        let names = events.some_texts("counterparty_name");
        let documents = events.some_texts("counterparty_document");
        let ispbs = events.some_texts("counterparty_ispb");
        for row in 0..events.rows() {
            let alone = !matches!(kinds[row], "PIX" | "TED" | "SALARY" | "TRANSFER");
            match (names[row], documents[row], ispbs[row]) {
                (None, None, None) => assert!(alone, "row {row}"),
                (Some(name), Some(document), Some(ispb)) => {
                    assert!(!alone && name.contains(' '), "row {row}: {name}");
                    assert!(banks.contains(ispb) || ispb == "99860010", "{ispb}");
                    assert!(is_masked_cpf(document) || cnpj_is_valid(document), "{document}");
                }
                other => panic!("{other:?} at row {row}"),
            }
        }
    });
}

/// `***.456.789-**`.
fn is_masked_cpf(document: &str) -> bool {
    document.len() == 14
        && document.char_indices().all(|(place, c)| match place {
            0..3 | 12..14 => c == '*',
            3 | 7 => c == '.',
            11 => c == '-',
            _ => c.is_ascii_digit(),
        })
}

#[test]
fn pix_keys_of_payments_have_their_format() {
    in_every_world(|world| {
        let (accounts, events) = (&world.accounts, &world.transactions);
        let by_account = accounts.rows_by_id("account_id");
        let (own_kinds, own_keys) =
            (accounts.some_symbols("pix_key_type"), accounts.some_texts("pix_key"));
        let kinds = events.symbols("transaction_type");
        let directions = events.symbols("direction");
        let documents = events.some_texts("counterparty_document");
        let others = events.some_texts("counterparty_ispb");
        let (key_kinds, keys) = (events.some_symbols("pix_key_type"), events.some_texts("pix_key"));
        for row in 0..events.rows() {
            if kinds[row] == "PIX" && directions[row] == "CREDIT" {
                // Paid to the account's own key, if it has one.
                let account = by_account[&events.ids("account_id")[row]];
                assert_eq!((key_kinds[row], keys[row]), (own_kinds[account], own_keys[account]));
                continue;
            }
            // A customer of the bank may be paid without a key.
            let inside = kinds[row] == "PIX" && others[row] == Some("99860010");
            assert!(keys[row].is_some() == (kinds[row] == "PIX") || inside, "row {row}");
            match (key_kinds[row], keys[row]) {
                (None, None) => {}
                (Some("CPF"), Some(key)) => {
                    assert!(cpf_is_valid(key), "{key}");
                    let masked = format!("***.{}.{}-**", &key[3..6], &key[6..9]);
                    assert_eq!(documents[row], Some(masked.as_str()));
                }
                (Some("CNPJ"), Some(key)) => assert_eq!(documents[row], Some(key)),
                (Some("PHONE"), Some(key)) => assert!(phone_is_valid(key, None), "{key}"),
                (Some("EMAIL"), Some(key)) => assert!(email_is_valid(key), "{key}"),
                (Some("EVP"), Some(key)) => assert!(evp_is_valid(key), "{key}"),
                other => panic!("{other:?} at row {row}"),
            }
        }
    });
}

#[test]
fn descriptions_and_sums_are_those_that_are_listed() {
    let mut met = BTreeSet::new();
    let listed: BTreeMap<[&str; 4], RangeInclusive<i64>> =
        data(include_str!("../../data/movements.csv"))
            .iter()
            .map(|fields| {
                let bound = |place: usize| fields[place].parse().expect("centavos");
                ([fields[0], fields[1], fields[2], fields[3]], bound(7)..=bound(8))
            })
            .collect();
    let dues: BTreeSet<&str> =
        data(include_str!("../../data/dues.csv")).iter().map(|fields| fields[0]).collect();
    in_every_world(|world| {
        let events = &world.transactions;
        let (kinds, directions) = (events.symbols("transaction_type"), events.symbols("direction"));
        let documents = events.some_texts("counterparty_document");
        for (row, text) in events.some_texts("description").into_iter().enumerate() {
            let amount = events.longs("amount")[row];
            let parties = match documents[row] {
                None => ["NONE", "NONE"],
                Some(document) if document.starts_with('*') => ["PERSON", "OWN"],
                Some(_) => ["FIRM", "FIRM"],
            };
            let bounds = parties.iter().find_map(|party| {
                listed.get(&[kinds[row], directions[row], party, text.unwrap_or_default()])
            });
            match bounds {
                Some(bounds) => {
                    let within = bounds.contains(&amount);
                    assert!(
                        within || dues.contains(text.unwrap_or_default()),
                        "{text:?}: {amount}"
                    );
                }
                None => assert!(dues.contains(text.expect("a text")), "{text:?} at row {row}"),
            }
            met.insert(text.map(str::to_owned));
        }
    });
    assert!(met.len() > 60, "only {} descriptions", met.len());
}

#[test]
fn incomes_come_from_who_pays_the_occupation() {
    let payers: BTreeMap<&str, &str> = data(include_str!("../../data/occupations.csv"))
        .iter()
        .map(|fields| (fields[0], fields[4]))
        .collect();
    let businesses: BTreeMap<&str, &str> = data(include_str!("../../data/companies.csv"))
        .iter()
        .map(|fields| (fields[0], fields[3]))
        .collect();
    let mut met = BTreeSet::new();
    in_every_world(|world| {
        let (events, customers) = (&world.transactions, &world.customers);
        let holders = customers.rows_by_id("customer_id");
        let accounts = world.accounts.rows_by_id("account_id");
        let occupations = customers.texts("occupation");
        let (texts, names) =
            (events.some_texts("description"), events.some_texts("counterparty_name"));
        for row in (0..events.rows()).filter(|row| is_salary(texts[*row])) {
            let account = accounts[&events.ids("account_id")[row]];
            let holder = holders[&world.accounts.ids("customer_id")[account]];
            let payer = payers[occupations[holder]];
            let business = businesses[names[row].expect("an employer")];
            let fits = [("private", "firm"), ("public", "government"), ("inss", "inss")];
            assert!(fits.contains(&(payer, business)), "{business} pays {}", occupations[holder]);
            met.insert(payer);
        }
    });
    assert_eq!(met.len(), 3, "only {met:?}");
}

/// Rows of both legs by the end-to-end id.
type Legs<'a> = BTreeMap<&'a str, Vec<usize>>;

#[test]
fn both_legs_of_a_payment_between_customers_agree() {
    let (mut pairs, mut alone) = (0, 0);
    in_every_world(|world| {
        let events = &world.transactions;
        let others = events.some_texts("counterparty_ispb");
        let ids = events.some_texts("end_to_end_id");
        let mut legs = Legs::new();
        for row in (0..events.rows()).filter(|row| others[*row] == Some("99860010")) {
            if let Some(id) = ids[row] {
                legs.entry(id).or_default().push(row);
            }
        }
        let (keys, times) = (events.some_texts("pix_key"), events.longs("occurred_at"));
        let accounts = world.accounts.rows_by_id("account_id");
        let holders = world.customers.rows_by_id("customer_id");
        let cpf = |row: usize| {
            let account = accounts[&events.ids("account_id")[row]];
            let cpf =
                world.customers.texts("cpf")[holders[&world.accounts.ids("customer_id")[account]]];
            format!("***.{}.{}-**", &cpf[3..6], &cpf[6..9])
        };
        let documents = events.some_texts("counterparty_document");
        for (id, rows) in legs {
            let [one, other] = rows[..] else {
                // The partner is beyond the customers of the plan.
                assert_eq!(rows.len(), 1, "{id}");
                alone += 1;
                continue;
            };
            assert_ne!(events.symbols("direction")[one], events.symbols("direction")[other]);
            assert_eq!(events.longs("amount")[one], events.longs("amount")[other]);
            assert_eq!((times[one], keys[one]), (times[other], keys[other]));
            assert_eq!(documents[one], Some(cpf(other).as_str()));
            assert_eq!(documents[other], Some(cpf(one).as_str()));
            pairs += 1;
        }
    });
    assert!(pairs > 200 && alone < pairs, "{pairs} pairs, {alone} legs alone");
}

#[test]
fn what_is_given_back_names_what_was_paid() {
    let mut met = 0;
    in_every_world(|world| {
        let events = &world.transactions;
        let rows = events.rows_by_id("transaction_id");
        let texts = events.some_texts("description");
        let (names, amounts) = (events.some_texts("counterparty_name"), events.longs("amount"));
        for (row, original) in events.some_ids("original_transaction_id").into_iter().enumerate() {
            assert_eq!(original.is_some(), texts[row] == Some("Devolução de Pix"));
            let Some(paid) = original.map(|id| rows[&id]) else { continue };
            assert!(paid < row && amounts[paid] == amounts[row]);
            assert_eq!(events.ids("account_id")[paid], events.ids("account_id")[row]);
            assert_eq!(events.symbols("direction")[paid], "DEBIT");
            assert_eq!(events.symbols("direction")[row], "CREDIT");
            assert_eq!(names[paid], names[row]);
            met += 1;
        }
    });
    assert!(met > 20, "only {met}");
}
