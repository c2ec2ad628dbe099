//! Who the customers are and what they have: incomes by state, products by income, households.
//!
//! `cargo test --test people -- --nocapture` shows all figures.

#![allow(missing_docs, reason = "a test crate")]
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use common::figures::{check, mean, median, rank_correlation, share, where_is};
use common::{Id, Read, all, bank, bank_of, days};
use datagen_core::column::Batch;
use datagen_core::entity::Context;
use datagen_core::entity::customer::Customer;
use datagen_core::entity::skeleton::Skeleton;
use datagen_core::plan::{DEFAULT_AS_OF, Plan};

/// Seeds that every figure is tried on.
const SEEDS: [u64; 3] = [1, 42, 20_260_701];
const CUSTOMERS: u64 = 60_000;

/// What several tests ask of a seed, made by the test that comes first.
type Made<T> = [OnceLock<T>; SEEDS.len()];

fn of_seed<T>(made: &'static Made<T>, seed: u64, make: impl FnOnce() -> T) -> &'static T {
    let place = SEEDS.iter().position(|one| *one == seed).expect("one of the seeds");
    made[place].get_or_init(make)
}

/// The customers of a seed.
fn people(seed: u64) -> &'static Batch {
    static MADE: Made<Batch> = [const { OnceLock::new() }; SEEDS.len()];
    of_seed(&MADE, seed, || all(&bank(seed, CUSTOMERS, 90), "customers"))
}

#[test]
fn incomes_are_those_of_the_states() {
    for seed in SEEDS {
        let people = people(seed);
        let (states, incomes) = (people.texts("state"), people.longs("monthly_income"));
        let of = |state: &str| mean(&where_is(incomes, |row| states[row] == state)) / 100.0;
        // Income per head (IBGE, PNAD 2024): DF 3 444, SP 2 662, MA 1 077.
        check("income DF : MA", of("DF") / of("MA"), 2.5..=3.5);
        check("income SP : MA", of("SP") / of("MA"), 1.9..=2.9);
        check("income, R$", mean(incomes) / 100.0, 3_700.0..=4_500.0);
        let poor = |state: &str| {
            let of = where_is(incomes, |row| states[row] == state);
            share(of.len(), |row| of[row] < 162_100)
        };
        check("below the minimum wage in MA %", poor("MA"), 25.0..=45.0);
        check("below the minimum wage in DF %", poor("DF"), 1.0..=8.0);
        let scores: Vec<i64> = people.shorts("credit_score").iter().map(|s| (*s).into()).collect();
        let middle = mean(&scores);
        let squares = scores.iter().map(|s| (*s as f64 - middle).powi(2)).sum::<f64>();
        check("mean score", middle, 540.0..=600.0);
        check("sigma of scores", (squares / scores.len() as f64).sqrt(), 110.0..=150.0);
        let mut list: Vec<&str> = states.clone();
        list.sort_unstable();
        list.dedup();
        for state in list {
            println!("{state} {:.0}", of(state));
        }
    }
}

/// Customers with each product.
type Holders = BTreeMap<&'static str, Vec<bool>>;

fn holders(seed: u64) -> &'static Holders {
    static MADE: Made<Holders> = [const { OnceLock::new() }; SEEDS.len()];
    of_seed(&MADE, seed, || find_holders(seed))
}

fn find_holders(seed: u64) -> Holders {
    let (bank, people) = (bank(seed, CUSTOMERS, 90), people(seed));
    let rows = people.rows_by_id("customer_id");
    let mut holders: Holders = ["POUPANCA", "INVESTIMENTOS", "card", "loan", "HOUSING"]
        .into_iter()
        .map(|product| (product, vec![false; people.rows()]))
        .collect();
    let mut mark = |product: &'static str, id: &Id| {
        holders.get_mut(product).expect("a product")[rows[id]] = true;
    };
    let accounts = all(&bank, "accounts");
    for (id, kind) in accounts.ids("customer_id").iter().zip(accounts.symbols("account_type")) {
        if kind != "CORRENTE" {
            mark(kind, id);
        }
    }
    for id in all(&bank, "credit_cards").ids("customer_id") {
        mark("card", id);
    }
    let loans = all(&bank, "loans");
    for (id, kind) in loans.ids("customer_id").iter().zip(loans.symbols("loan_type")) {
        mark("loan", id);
        if kind == "HOUSING" {
            mark(kind, id);
        }
    }
    holders
}

#[test]
fn who_earns_more_has_more() {
    for seed in SEEDS {
        let people = people(seed);
        let incomes = people.longs("monthly_income");
        let mut sorted = incomes.to_vec();
        sorted.sort_unstable();
        let quintile =
            |income: i64| (1..5).filter(|part| income >= sorted[sorted.len() * part / 5]).count();
        let quintiles: Vec<usize> = incomes.iter().map(|income| quintile(*income)).collect();
        for (product, has) in holders(seed) {
            let shares: Vec<f64> = (0..5)
                .map(|part| {
                    let of = where_is(has, |row| quintiles[row] == part);
                    share(of.len(), |row| of[row])
                })
                .collect();
            println!("{product} % by quintile of income: {shares:.1?}");
            assert!(shares.windows(2).all(|pair| pair[0] < pair[1] + 0.5), "{product}: {shares:?}");
            let (least, most) = (shares[0], shares[4]);
            check(&format!("{product}: fifth to first"), most / least.max(0.1), 1.25..=400.0);
            if *product == "HOUSING" {
                let of: Vec<i64> = where_is(incomes, |row| has[row]);
                check("median income of HOUSING, R$", median(&of) / 100.0, 4_000.0..=9_000.0);
                let short = share(of.len(), |row| of[row] < 250_000);
                check("HOUSING with less than R$ 2 500 %", short, 0.0..=12.0);
            }
        }
    }
}

#[test]
fn investors_are_those_of_the_exchange() {
    for seed in SEEDS {
        let people = people(seed);
        let invests = &holders(seed)["INVESTIMENTOS"];
        let (end, _) = days::local(DEFAULT_AS_OF);
        let ages: Vec<i32> =
            people.ints("birth_date").iter().map(|b| (end - b) * 4 / 1_461).collect();
        let women = where_is(&people.symbols("sex"), |row| invests[row]);
        check("women among investors %", share(women.len(), |row| women[row] == "F"), 24.0..=28.0);
        let ages = where_is(&ages, |row| invests[row]);
        check("investors over 60 %", share(ages.len(), |row| ages[row] > 60), 5.5..=8.5);
        check(
            "investors from 25 to 39 %",
            share(ages.len(), |row| (25..40).contains(&ages[row])),
            40.0..=52.0,
        );
        check(
            "investors from 40 to 59 %",
            share(ages.len(), |row| (40..60).contains(&ages[row])),
            24.0..=36.0,
        );
    }
}

#[test]
fn families_live_together() {
    for seed in SEEDS {
        let people = people(seed);
        let names = people.texts("name");
        let mothers = people.texts("mother_name");
        let births = people.ints("birth_date");
        let (sexes, statuses) = (people.symbols("sex"), people.symbols("marital_status"));
        let addresses: Vec<[&str; 5]> = {
            let columns = ["street", "street_number", "neighborhood", "city", "state"];
            let columns = columns.map(|name| people.texts(name));
            (0..people.rows()).map(|row| columns.each_ref().map(|c| c[row])).collect()
        };
        let surnames = |name: &'_ str| -> Vec<String> {
            name.split(' ')
                .skip(1)
                .filter(|w| w.starts_with(char::is_uppercase))
                .map(str::to_owned)
                .collect()
        };
        let related = |a: &str, b: &str| surnames(a).iter().any(|name| surnames(b).contains(name));
        let mut shared = vec![false; people.rows()];
        let (mut couples, mut children, mut gaps) = (0, 0, Vec::new());
        for row in 0..people.rows() {
            for other in row / 4 * 4..row {
                if addresses[row] != addresses[other] {
                    continue;
                }
                assert!(related(names[row], names[other]), "{} and {}", names[row], names[other]);
                (shared[row], shared[other]) = (true, true);
                let gap = (births[row] - births[other]).abs() * 4 / 1_461;
                if gap < 14 && statuses[row] == statuses[other] && statuses[row] != "SINGLE" {
                    couples += 1;
                    gaps.push(i64::from(gap));
                    assert!(matches!(statuses[row], "MARRIED" | "STABLE_UNION") || gap > 0);
                }
                children += u32::from(mothers[row] == names[other]);
            }
        }
        check("share a home %", share(shared.len(), |row| shared[row]), 35.0..=45.0);
        check("couples %", 100.0 * f64::from(couples) / people.rows() as f64, 8.0..=13.0);
        check("median difference of age", median(&gaps), 1.0..=5.0);
        check(
            "children of a customer %",
            100.0 * f64::from(children) / people.rows() as f64,
            4.0..=9.0,
        );
        for row in 0..people.rows() {
            assert!(related(names[row], mothers[row]), "{} of {}", names[row], mothers[row]);
        }
        for status in ["SINGLE", "MARRIED", "STABLE_UNION", "DIVORCED", "WIDOWED"] {
            let women = where_is(&statuses, |row| sexes[row] == "F");
            println!(
                "{status} {:.1} women {:.1}",
                share(statuses.len(), |row| statuses[row] == status),
                share(women.len(), |row| women[row] == status)
            );
        }
        let united =
            share(statuses.len(), |row| matches!(statuses[row], "MARRIED" | "STABLE_UNION"));
        check("in a union %", united, 52.0..=60.0);
        let ages: Vec<i64> = births.iter().map(|b| i64::from(-b)).collect();
        let married: Vec<i64> = statuses.iter().map(|s| i64::from(*s != "SINGLE")).collect();
        check("not single to age", rank_correlation(&married, &ages), 0.3..=0.7);
    }
}

#[test]
fn streets_have_their_postal_codes() {
    for seed in SEEDS {
        let people = people(seed);
        let columns = ["city", "state", "street", "neighborhood", "postal_code"];
        let columns = columns.map(|name| people.texts(name));
        let numbers = people.texts("street_number");
        let mut found: BTreeMap<&str, [&str; 4]> = BTreeMap::new();
        let mut of_street: BTreeMap<([&str; 4], usize), &str> = BTreeMap::new();
        for (row, number) in numbers.iter().enumerate() {
            let [city, state, street, neighborhood, cep] = columns.each_ref().map(|c| c[row]);
            let place = [city, state, street, neighborhood];
            assert_eq!(*found.entry(cep).or_insert(place), place, "{cep}");
            let number: usize = number.parse().expect("a number");
            let stretch = (number - 1) / 1_000;
            assert_eq!(*of_street.entry((place, stretch)).or_insert(cep), cep);
        }
    }
}

#[test]
fn phones_and_addresses_look_issued() {
    for seed in SEEDS {
        let people = people(seed);
        let phones = people.texts("phone");
        let first = |digit: u8| share(phones.len(), |row| phones[row].as_bytes()[6] == digit);
        for digit in b'6'..=b'9' {
            check("first digit %", first(digit), 24.0..=26.0);
        }
        let emails = people.texts("email");
        let locals: Vec<&str> =
            emails.iter().map(|e| e.split('@').next().expect("a part")).collect();
        let digits = |row: usize| locals[row].bytes().filter(u8::is_ascii_digit).count() as i64;
        let counts: Vec<i64> = (0..locals.len()).map(digits).collect();
        println!("digits: {:.2} on average", mean(&counts));
        check(
            "e-mails with 4 digits or less %",
            share(counts.len(), |row| counts[row] <= 4),
            90.0..=100.0,
        );
        check(
            "e-mails without a digit %",
            share(counts.len(), |row| counts[row] == 0),
            12.0..=50.0,
        );
        let own = |row: usize| locals[row].ends_with(&(row + 1).to_string());
        check("e-mails with the number of the row %", share(locals.len(), own), 0.0..=1.0);
        for row in 0..10 {
            println!("{} {} {}", people.texts("name")[row], emails[row], phones[row]);
        }
    }
}

/// Default follows when nothing is left: hardly anybody who is in it has as much as its first installment in all
/// accounts together.
#[test]
fn who_is_in_default_could_not_pay() {
    let (mut defaulters, mut able) = (0_u32, 0_u32);
    for seed in SEEDS {
        let bank = bank(seed, 20_000, 90);
        let (accounts, loans) = (all(&bank, "accounts"), all(&bank, "loans"));
        let mut balances: BTreeMap<Id, i64> = BTreeMap::new();
        for (owner, balance) in accounts.ids("customer_id").iter().zip(accounts.longs("balance")) {
            *balances.entry(*owner).or_default() += balance;
        }
        let events = all(&bank, "banking.installments");
        let paid = events.valid("paid_at");
        let (principal, interest) =
            (events.longs("principal_amount"), events.longs("interest_amount"));
        let owed: BTreeMap<Id, i64> = events
            .groups("loan_id")
            .into_iter()
            .filter_map(|(loan, mut rows)| {
                rows.find(|&row| !paid[row]).map(|row| (loan, principal[row] + interest[row]))
            })
            .collect();
        let (ids, owners) = (loans.ids("loan_id"), loans.ids("customer_id"));
        for (row, status) in loans.symbols("status").into_iter().enumerate() {
            if status == "DEFAULTED" {
                defaulters += 1;
                able += u32::from(balances[&owners[row]] >= owed[&ids[row]]);
            }
        }
    }
    assert!(defaulters > 600, "{defaulters}");
    check("in default with money %", 100.0 * f64::from(able) / f64::from(defaulters), 0.0..=10.0);
}

/// Some join within the history, and all that they have begins after that: no balance, no event before, and the first
/// income in a later month.
#[test]
fn some_join_within_the_history() {
    let bank = bank(42, 20_000, 90);
    let people = all(&bank, "customers");
    let (ids, joined) = (people.ids("customer_id"), people.longs("created_at"));
    let start = bank.plan().start();
    let new: BTreeMap<Id, i64> =
        (0..people.rows()).filter(|&r| joined[r] >= start).map(|r| (ids[r], joined[r])).collect();
    check("join in 90 days %", 100.0 * new.len() as f64 / people.rows() as f64, 2.5..=3.5);
    for (table, time) in
        [("accounts", "opened_at"), ("credit_cards", "issued_at"), ("loans", "contracted_at")]
    {
        let rows = all(&bank, table);
        let (owners, times) = (rows.ids("customer_id"), rows.longs(time));
        let of_new = (0..rows.rows()).filter(|&row| new.contains_key(&owners[row]));
        let begun: Vec<bool> = of_new.map(|row| times[row] > new[&owners[row]]).collect();
        assert!(begun.len() > 50 && begun.iter().all(|begun| *begun), "{table}");
    }
    let accounts = all(&bank, "accounts");
    let (owners, opening) = (accounts.ids("customer_id"), accounts.longs("opening_balance"));
    let opened: BTreeMap<Id, i64> = (0..accounts.rows())
        .filter(|&row| new.contains_key(&owners[row]))
        .map(|row| {
            assert_eq!(opening[row], 0);
            (accounts.ids("account_id")[row], accounts.longs("opened_at")[row])
        })
        .collect();
    let movements = all(&bank, "banking.transactions");
    let (kinds, texts) = (movements.symbols("transaction_type"), movements.texts("description"));
    let times = movements.longs("occurred_at");
    let month = |at: i64| days::date_text(days::local(at).0)[..7].to_owned();
    let (mut paid, mut begun) = (0, 0);
    for (account, mut rows) in movements.groups("account_id") {
        let Some(opened) = opened.get(&account) else { continue };
        assert!(rows.clone().all(|row| times[row] > *opened));
        begun += u32::from(texts[rows.start] == "Depósito de abertura da conta");
        if let Some(first) = rows.find(|&row| kinds[row] == "SALARY") {
            assert!(month(times[first]) > month(*opened), "{}", texts[first]);
            paid += 1;
        }
    }
    assert!(begun > 400 && paid > 100, "{begun}, {paid}");
    let (ids, traded) = {
        let trades = all(&bank, "banking.trades");
        (trades.ids("account_id").to_vec(), trades.longs("executed_at").to_vec())
    };
    let of_new: Vec<usize> = (0..ids.len()).filter(|&row| opened.contains_key(&ids[row])).collect();
    assert!(of_new.len() > 100 && of_new.iter().all(|&row| traded[row] > opened[&ids[row]]));
}

/// Some leave within the history: their card is settled and given back before, then the POUPANCA account is emptied into
/// the CORRENTE and that into their account elsewhere, and nothing of them is open or moves after that.
#[test]
fn some_leave_within_the_history() {
    let bank = bank(42, 20_000, 90);
    let accounts = all(&bank, "accounts");
    let (owners, kinds) = (accounts.ids("customer_id"), accounts.symbols("account_type"));
    let (states, reasons) = (accounts.symbols("status"), accounts.some_symbols("status_reason"));
    let (changed, balances) = (accounts.some_longs("status_changed_at"), accounts.longs("balance"));
    let closed = |row: usize| (states[row], reasons[row]) == ("CLOSED", Some("HOLDER_REQUEST"));
    let gone: BTreeMap<Id, i64> = (0..accounts.rows())
        .filter(|&row| kinds[row] == "CORRENTE" && closed(row))
        .map(|row| (owners[row], changed[row].expect("a date")))
        .collect();
    let start = bank.plan().start() + 9 * days::DAY;
    assert!(gone.values().all(|at| *at > start));
    check("leave in 90 days %", 100.0 * gone.len() as f64 / 20_000.0, 0.75..=1.15);
    let mut ended: BTreeMap<Id, (&str, i64)> = BTreeMap::new();
    for row in (0..accounts.rows()).filter(|&row| gone.contains_key(&owners[row])) {
        let at = changed[row].expect("a date");
        assert!(closed(row) && balances[row] == 0 && kinds[row] != "INVESTIMENTOS");
        assert!(at <= gone[&owners[row]]);
        ended.insert(accounts.ids("account_id")[row], (kinds[row], at));
    }
    let loans = all(&bank, "loans");
    assert!(loans.ids("customer_id").iter().all(|owner| !gone.contains_key(owner)));
    let cards = all(&bank, "credit_cards");
    let mut given_back: BTreeMap<Id, i64> = BTreeMap::new();
    for (row, owner) in cards.ids("customer_id").iter().enumerate() {
        let Some(left) = gone.get(owner) else { continue };
        assert_eq!(cards.symbols("status")[row], "CANCELLED");
        assert_eq!(cards.some_symbols("status_reason")[row], Some("HOLDER_REQUEST"));
        assert_eq!(cards.longs("available_limit")[row], cards.longs("credit_limit")[row]);
        let at = cards.longs("status_changed_at")[row];
        assert!((left - 8 * days::DAY..*left).contains(&at));
        given_back.insert(*owner, at);
    }
    let movements = all(&bank, "banking.transactions");
    let (texts, times) = (movements.texts("description"), movements.longs("occurred_at"));
    let (kinds, after) = (movements.symbols("transaction_type"), movements.longs("balance_after"));
    let owner: BTreeMap<Id, Id> =
        accounts.ids("account_id").iter().copied().zip(owners.iter().copied()).collect();
    let (mut last, mut emptied, mut settled, mut inside) = (0, 0, 0, 0);
    for (account, rows) in movements.groups("account_id") {
        let Some((kind, at)) = ended.get(&account) else { continue };
        assert!(rows.clone().all(|row| times[row] <= *at));
        let end = rows.end - 1;
        assert_eq!(after[end], 0);
        let closes = texts[end] == "Encerramento da conta" && times[end] == *at;
        if *kind == "POUPANCA" {
            emptied += u32::from(closes);
            continue;
        }
        last += u32::from(closes);
        if let Some(card) = given_back.get(&owner[&account]) {
            let bill = |row: usize| kinds[row] == "CARD_BILL" && times[row] == *card;
            settled += u32::from(rows.clone().any(bill));
            assert!(rows.clone().all(|row| kinds[row] != "CARD_BILL" || times[row] <= *card));
        }
        inside += rows.filter(|&row| texts[row] == "Pix recebido").count();
    }
    let (all, cards) = (gone.len() as u32, given_back.len() as u32);
    assert!(last > all * 9 / 10 && emptied > 10, "{last} of {all}, {emptied}");
    assert!(settled > cards * 3 / 4 && inside > 20, "{settled} of {cards}, {inside}");
}

/// Who leaves, and when, stays so in a longer history that begins at the same instant.
#[test]
fn a_longer_history_adds_leavers() {
    let lives = |days: u32| {
        let as_of = DEFAULT_AS_OF + i64::from(days) * days::DAY;
        let context = Context::new(Plan::try_new(42, 20_000, as_of, days).expect("a plan"));
        let start = context.plan.start();
        let found = (0..20_000).map(|row| {
            let customer = Customer::new(&context, row);
            let left = Skeleton::new(&context, &customer).leaves_at();
            (customer.created_at < start).then_some(left.filter(|at| *at < as_of))
        });
        (as_of, found.collect::<Vec<_>>())
    };
    let ((until, few), (_, more)) = (lives(90), lives(400));
    let mut kept = 0;
    for (few, more) in few.iter().zip(&more).filter_map(|(few, more)| few.zip(*more)) {
        assert_eq!(few, more.filter(|at| *at < until));
        kept += u32::from(few.is_some());
    }
    let count = |all: &[Option<Option<i64>>]| all.iter().flatten().flatten().count();
    assert!(kept > 100 && count(&more) > 3 * count(&few), "{kept}");
}

/// Firms that were opened from July 2026 on may have letters in their CNPJ, and no others; its last two characters are
/// check digits all the same.
#[test]
fn new_firms_may_have_letters_in_their_documents() {
    for (as_of, letters) in
        [(DEFAULT_AS_OF, 0.0..=0.0), (days::utc((2029, 1, 1), 0, 0), 8.0..=30.0)]
    {
        let bank = bank_of(Plan::try_new(42, 600, as_of, 90).expect("a plan"));
        let purchases = all(&bank, "banking.card-transactions");
        let documents = purchases.texts("merchant_document");
        let has_letter = |row: usize| !documents[row].bytes().all(|d| d.is_ascii_digit());
        check("purchases at new firms %", share(documents.len(), has_letter), letters);
        for document in documents {
            let (base, digits) = document.split_at(12);
            assert!(base.bytes().all(|d| d.is_ascii_digit() || d.is_ascii_uppercase()));
            let values: Vec<u32> = document.bytes().map(|d| u32::from(d) - 48).collect();
            for (place, digit) in digits.bytes().enumerate() {
                let known = values[..12 + place].iter().rev();
                let sum: u32 =
                    known.zip((2..=9).cycle()).map(|(value, weight)| value * weight).sum();
                assert_eq!(u32::from(digit - b'0'), sum * 10 % 11 % 10, "{document}");
            }
        }
    }
}

/// Households move within their city, all of them on one day.
#[test]
fn some_move_within_a_year() {
    let bank = bank(42, 20_000, 365);
    let relation = datagen_core::catalog::relation("customers").expect("a relation");
    let start = bank.plan().start();
    let before = bank.batches(relation, 0..20_000, 10_000).expect("a range");
    let before = common::concat(relation, before.within(i64::MIN..start + 1));
    let after = all(&bank, "customers");
    let columns = ["street", "street_number", "neighborhood", "postal_code"];
    let [new, old] = [&after, &before].map(|of| columns.map(|name| of.texts(name)));
    let address = |of: &[Vec<&str>; 4], row: usize| of.each_ref().map(|c| c[row].to_owned());
    let rows = after.rows_by_id("customer_id");
    let (updated, joined) = (after.longs("updated_at"), after.longs("created_at"));
    let (cities, old_cities) = (after.texts("city"), before.texts("city"));
    let mut moved = 0;
    for (place, id) in before.ids("customer_id").iter().enumerate() {
        let row = rows[id];
        assert_eq!(cities[row], old_cities[place]);
        if updated[row] == joined[row] {
            continue;
        }
        moved += 1;
        assert!(updated[row] >= start && address(&new, row) != address(&old, place));
    }
    check("move in a year %", 100.0 * f64::from(moved) / before.rows() as f64, 5.0..=8.0);
}
