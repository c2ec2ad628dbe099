//! Distributions of the master tables, within what chance may do to 100 000 customers.
//!
//! `cargo test --test masters -- --nocapture` shows them all.

#![allow(missing_docs, reason = "a test crate")]
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use common::figures::{check, mean, median, rank_correlation, share, shares, where_is};
use common::{Read, all, bank, data, days};
use datagen_core::column::Batch;
use datagen_core::plan::DEFAULT_AS_OF;

const CUSTOMERS: u64 = 100_000;
/// Customers whose accounts, cards and loans are looked at: these take longer to make.
const CLIENTS: u64 = 40_000;

macro_rules! table {
    ($static:ident, $name:literal, $customers:expr) => {
        static $static: LazyLock<Batch> = LazyLock::new(|| all(&bank(42, $customers, 90), $name));
    };
}
table!(PEOPLE, "customers", CUSTOMERS);
table!(PROPERTIES, "properties", CUSTOMERS);
table!(ACCOUNTS, "accounts", CLIENTS);
table!(CARDS, "credit_cards", CLIENTS);
table!(LOANS, "loans", CUSTOMERS);

/// Checks how often each value comes against its part of a total: four standard deviations either way.
fn check_parts(what: &str, found: &BTreeMap<&str, usize>, parts: &[(&str, f64)], total: f64) {
    let n = found.values().sum::<usize>() as f64;
    for (value, part) in parts {
        let p = part / total;
        let (percent, deviation) = (100.0 * p, 100.0 * (p * (1.0 - p) / n).sqrt());
        let count = found.get(value).copied().unwrap_or_default() as f64;
        let promised = percent - 4.0 * deviation..=percent + 4.0 * deviation;
        check(&format!("{what} {value} %"), 100.0 * count / n, promised);
    }
}

fn counts<'a>(values: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

fn given_name(name: &str) -> &str {
    name.split(' ').next().expect("a name")
}

/// Share of the population in 1/100 % (Census 2022).
const STATES: [(&str, f64); 27] = [
    ("SP", 21.87),
    ("MG", 10.11),
    ("RJ", 7.91),
    ("BA", 6.96),
    ("PR", 5.64),
    ("RS", 5.36),
    ("PE", 4.46),
    ("CE", 4.33),
    ("PA", 4.00),
    ("SC", 3.75),
    ("GO", 3.47),
    ("MA", 3.34),
    ("PB", 1.96),
    ("AM", 1.94),
    ("ES", 1.89),
    ("MT", 1.80),
    ("RN", 1.63),
    ("PI", 1.61),
    ("AL", 1.54),
    ("DF", 1.39),
    ("MS", 1.36),
    ("SE", 1.09),
    ("RO", 0.78),
    ("TO", 0.74),
    ("AC", 0.41),
    ("AP", 0.36),
    ("RR", 0.31),
];

#[test]
fn people_live_where_the_census_found_them() {
    let total = STATES.iter().map(|(_, share)| share).sum();
    check_parts("state", &counts(PEOPLE.texts("state")), &STATES, total);
    assert!(counts(PEOPLE.texts("city")).len() >= 250);
    // São Paulo and Campinas among the listed cities of their state.
    let cities = data(include_str!("../data/cities.csv"));
    let population = |fields: &Vec<&str>| fields[3].parse::<f64>().expect("a number");
    let paulista: Vec<_> = cities.iter().filter(|fields| fields[1] == "SP").collect();
    let total = paulista.iter().map(|fields| population(fields)).sum();
    let states = PEOPLE.texts("state");
    let homes = where_is(&PEOPLE.texts("city"), |row| states[row] == "SP");
    let parts: Vec<_> = paulista.iter().take(5).map(|f| (f[0], population(f))).collect();
    check_parts("city in SP", &counts(homes), &parts, total);
}

/// People by age in thousands (Census 2022): 18 and 19, by two fifths of those from 15 to 19, bands of
/// five years, and 90 and more.
const AGES: [f64; 16] = [
    5_750.4, 15_466.5, 15_469.7, 15_473.1, 16_172.8, 16_072.2, 13_640.1, 12_598.6, 11_569.1,
    9_944.4, 7_876.2, 5_858.5, 3_847.4, 2_475.0, 1_329.2, 782.7,
];

#[test]
fn ages_are_those_of_the_census() {
    // The youngest turned eighteen sixty days before the history, so that they could join.
    let (then, _) = days::local(DEFAULT_AS_OF - (90 + 60) * days::DAY);
    let band = |birth: &i32| {
        let ((year, month, day), born) = (days::ymd(then), days::ymd(*birth));
        let age = year - born.0 - i32::from((month, day) < (born.1, born.2));
        assert!(age >= 17, "{age}");
        if age < 20 { 0 } else { ((age - 15) / 5).min(15) as usize }
    };
    let found: Vec<usize> = PEOPLE.ints("birth_date").iter().map(band).collect();
    let total: f64 = AGES.iter().sum();
    for (band, people) in AGES.iter().enumerate() {
        let percent = 100.0 * people / total;
        check(
            &format!("band {band} %"),
            share(found.len(), |row| found[row] == band),
            percent - 0.4..=percent + 0.4,
        );
    }
}

/// Bearers (Census 2022).
const WOMEN: [(&str, f64); 10] = [
    ("Maria", 12_224_470.0),
    ("Ana", 3_929_951.0),
    ("Francisca", 661_582.0),
    ("Júlia", 646_239.0),
    ("Antônia", 552_951.0),
    ("Juliana", 536_687.0),
    ("Adriana", 533_801.0),
    ("Fernanda", 520_705.0),
    ("Márcia", 520_013.0),
    ("Patrícia", 499_140.0),
];
const MEN: [(&str, f64); 18] = [
    ("José", 5_141_822.0),
    ("João", 3_410_873.0),
    ("Antônio", 2_231_019.0),
    ("Francisco", 1_659_196.0),
    ("Pedro", 1_613_671.0),
    ("Carlos", 1_468_116.0),
    ("Lucas", 1_332_182.0),
    ("Paulo", 1_331_639.0),
    ("Luiz", 1_326_222.0),
    ("Gabriel", 1_201_030.0),
    ("Marcos", 1_082_739.0),
    ("Davi", 876_593.0),
    ("Rafael", 873_321.0),
    ("Luís", 838_237.0),
    ("Daniel", 770_743.0),
    ("Miguel", 715_241.0),
    ("Gustavo", 680_738.0),
    ("Felipe", 676_680.0),
];

#[test]
fn given_names_weigh_as_in_the_census() {
    let listed = data(include_str!("../data/given_names.csv"));
    let sex_of: BTreeMap<&str, &str> = listed.iter().map(|f| (f[0], f[1])).collect();
    let names: Vec<&str> = PEOPLE.texts("name").into_iter().map(given_name).collect();
    // Of adults, 52.3% are women (Census 2022).
    let women = share(names.len(), |row| sex_of[names[row]] == "F");
    check("women %", women, 51.8..=52.9);
    for (sex, census) in [("F", &WOMEN[..]), ("M", &MEN[..])] {
        let of_sex = |fields: &&Vec<&str>| fields[1] == sex;
        let weight = |fields: &Vec<&str>| fields[2].parse::<f64>().expect("thousands");
        let total: f64 = listed.iter().filter(of_sex).map(weight).sum();
        let found = counts(names.iter().copied().filter(|name| sex_of[name] == sex));
        let parts: Vec<(&str, f64)> = census.iter().map(|(n, count)| (*n, count / 1e3)).collect();
        for (name, thousands) in &parts {
            let listed = listed.iter().find(|f| f[0] == *name).map(weight).expect("a listed name");
            assert!((listed - thousands).abs() <= 0.51, "{name}: {listed}, not {thousands}");
        }
        check_parts("name", &found, &parts, total);
        // The commoner one comes first wherever chance could not turn them round, and no name that is
        // not listed above comes before the most common ones.
        for (k, (name, count)) in census.iter().enumerate() {
            for (rarer, less) in &census[k + 1..] {
                let (a, b) = (found[name] as f64, found[rarer] as f64);
                let clear = count - less > 4.0 * ((count + less) * total * 1e3 / 5e4).sqrt();
                assert!(!clear || a > b, "{name} {a}, {rarer} {b}");
            }
        }
        let mut ranked: Vec<(&str, usize)> = found.into_iter().collect();
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let first: Vec<&str> = ranked[..2].iter().map(|(name, _)| *name).collect();
        assert_eq!(first, census[..2].iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}

#[test]
fn given_names_are_of_their_decades() {
    let years: Vec<i64> =
        PEOPLE.ints("birth_date").iter().map(|birth| i64::from(days::ymd(*birth).0)).collect();
    let names = PEOPLE.texts("name");
    let born = |name: &str| median(&where_is(&years, |row| given_name(names[row]) == name));
    for name in ["Enzo", "Miguel", "Davi", "Helena", "Valentina", "Júlia"] {
        check(name, born(name), 1_990.0..=2_008.0);
    }
    for name in ["Sebastião", "Raimundo", "Francisca", "Antônia", "Terezinha", "José"] {
        check(name, born(name), 1_930.0..=1_975.0);
    }
    for (name, from) in [
        ("Juliana", 1_983.0),
        ("Fernanda", 1_983.0),
        ("Patrícia", 1_976.0),
        ("Adriana", 1_973.0),
        ("Márcia", 1_966.0),
        ("Lucas", 1_992.0),
    ] {
        check(name, born(name), from..=from + 10.0);
    }
    // Maria Eduarda is the daughter's name, Maria Aparecida the mother's or grandmother's.
    let born = |start: &str| median(&where_is(&years, |row| names[row].starts_with(start)));
    check("Maria Eduarda", born("Maria Eduarda "), 1_995.0..=2_008.0);
    check("Maria Aparecida", born("Maria Aparecida "), 1_945.0..=1_972.0);
    let second = ["Maria ", "João ", "Ana "].map(|start| {
        let of = where_is(&names, |row| names[row].starts_with(start));
        let surnames: Vec<&str> =
            data(include_str!("../data/surnames.csv")).iter().map(|f| f[0]).collect();
        let pair = |row: usize| {
            let rest = of[row].split(' ').nth(1).expect("a second word");
            rest.starts_with(char::is_uppercase) && !surnames.contains(&rest)
        };
        share(of.len(), pair)
    });
    // Without those by a particle ("das Graças").
    for (name, percent) in ["Maria", "João", "Ana"].into_iter().zip(second) {
        check(&format!("{name} with a second name %"), percent, 25.0..=85.0);
    }
}

/// Bearers in thousands (Census 2022).
const SURNAMES: [(&str, f64); 30] = [
    ("Silva", 34_030.0),
    ("Santos", 21_367.0),
    ("Oliveira", 11_709.0),
    ("Souza", 9_197.0),
    ("Pereira", 6_888.0),
    ("Ferreira", 6_226.0),
    ("Lima", 6_095.0),
    ("Alves", 5_757.0),
    ("Rodrigues", 5_429.0),
    ("Costa", 4_861.0),
    ("Sousa", 4_797.0),
    ("Gomes", 4_047.0),
    ("Nascimento", 3_609.0),
    ("Araújo", 3_461.0),
    ("Ribeiro", 3_127.0),
    ("Almeida", 3_069.0),
    ("Jesus", 2_859.0),
    ("Barbosa", 2_738.0),
    ("Soares", 2_615.0),
    ("Carvalho", 2_600.0),
    ("Martins", 2_577.0),
    ("Lopes", 2_338.0),
    ("Vieira", 2_102.0),
    ("Rocha", 2_044.0),
    ("Dias", 2_035.0),
    ("Gonçalves", 2_028.0),
    ("Fernandes", 1_836.0),
    ("Santana", 1_816.0),
    ("Andrade", 1_707.0),
    ("Batista", 1_703.0),
];

#[test]
fn surnames_weigh_as_in_the_census() {
    let names = PEOPLE.texts("name");
    let last = counts(names.iter().map(|name| name.split(' ').next_back().expect("a surname")));
    let listed = data(include_str!("../data/surnames.csv"));
    let total = listed.iter().map(|f| f[1].parse::<f64>().expect("thousands")).sum();
    check_parts("surname", &last, &SURNAMES, total);
    let of_silva = where_is(&names, |row| names[row].ends_with(" Silva"));
    let da = share(of_silva.len(), |row| of_silva[row].ends_with(" da Silva"));
    check("da Silva among Silva %", da, 69.0..=75.0);
}

#[test]
fn score_limits_and_segment_follow_the_income() {
    let income = PEOPLE.longs("monthly_income");
    let score: Vec<i64> = PEOPLE.shorts("credit_score").iter().map(|s| i64::from(*s)).collect();
    check("score to income", rank_correlation(&score, income), 0.37..=0.47);
    check("median score", median(&score), 520.0..=580.0);
    check("median income, R$", median(income) / 100.0, 2_000.0..=3_200.0);
    check("mean income, R$", mean(income) / 100.0, 3_300.0..=4_800.0);
    shares(
        "segment",
        &PEOPLE.symbols("segment"),
        &[("VAREJO", 91.4, 1.0), ("EXCLUSIVO", 7.8, 1.0), ("PRIVATE", 0.8, 0.2)],
    );
    let pep = PEOPLE.relation().position("pep").expect("a field");
    let exposed = share(PEOPLE.rows(), |row| PEOPLE.cell(pep, row).as_deref() == Some("true"));
    check("politically exposed %", exposed, 0.23..=0.37);

    let holders = PEOPLE.rows_by_id("customer_id");
    let of = |table: &Batch, values: &[i64]| -> Vec<i64> {
        table.ids("customer_id").iter().map(|id| values[holders[id]]).collect()
    };
    let limits = CARDS.longs("credit_limit");
    let incomes = of(&CARDS, income);
    check("card limit to income", rank_correlation(limits, &incomes), 0.75..=0.95);
    let relative: Vec<i64> = limits.iter().zip(&incomes).map(|(l, i)| l * 1_000 / i).collect();
    check(
        "card limit in incomes to score",
        rank_correlation(&relative, &of(&CARDS, &score)),
        0.5..=0.85,
    );
    check("median card limit in incomes", median(&relative) / 1_000.0, 1.4..=2.1);

    let kinds = ACCOUNTS.symbols("account_type");
    let checking = |values: &[i64]| where_is(values, |row| kinds[row] == "CORRENTE");
    let overdrafts = checking(ACCOUNTS.longs("overdraft_limit"));
    let (incomes, scores) = (checking(&of(&ACCOUNTS, income)), checking(&of(&ACCOUNTS, &score)));
    check("no overdraft %", share(overdrafts.len(), |row| overdrafts[row] == 0), 24.0..=36.0);
    check("overdraft to income", rank_correlation(&overdrafts, &incomes), 0.5..=0.8);
    check("overdraft to score", rank_correlation(&overdrafts, &scores), 0.5..=0.85);
    let opening = checking(ACCOUNTS.longs("opening_balance"));
    check("opening balance to income", rank_correlation(&opening, &incomes), 0.25..=0.8);
}

#[test]
fn occupations_change_with_age_and_sex() {
    let sex_of: BTreeMap<&str, &str> =
        data(include_str!("../data/given_names.csv")).iter().map(|f| (f[0], f[1])).collect();
    let (end, _) = days::local(DEFAULT_AS_OF);
    let ages: Vec<i32> =
        PEOPLE.ints("birth_date").iter().map(|birth| (end - birth) * 4 / 1_461).collect();
    let work = PEOPLE.texts("occupation");
    let names = PEOPLE.texts("name");
    let among = |ages_of: std::ops::Range<i32>, occupation: &str| {
        let of = where_is(&work, |row| ages_of.contains(&ages[row]));
        share(of.len(), |row| of[row] == occupation)
    };
    check("retired from 66 on %", among(66..120, "Aposentado"), 70.0..=85.0);
    check("retired from 56 to 64 %", among(56..65, "Aposentado"), 22.0..=42.0);
    check("students to 21 %", among(18..21, "Estudante"), 25.0..=45.0);
    check("students from 26 to 34 %", among(26..35, "Estudante"), 0.3..=4.0);
    let women = |occupation: &str| {
        let of = where_is(&names, |row| work[row] == occupation);
        share(of.len(), |row| sex_of[given_name(of[row])] == "F")
    };
    check("women among builders %", women("Pedreiro"), 0.0..=4.0);
    check("women among household workers %", women("Empregado doméstico"), 86.0..=96.0);
    check("women among physicians %", women("Médico"), 40.0..=58.0);
}

#[test]
fn keys_statuses_and_brands_have_their_shares() {
    let kinds = ACCOUNTS.symbols("account_type");
    let keys = ACCOUNTS.some_symbols("pix_key_type");
    let registered = where_is(&keys, |row| keys[row].is_some());
    // 45.2, 19.3, 19.0 and 14.9 of the 98.4% that are not of firms (Banco Central).
    shares(
        "key",
        &registered,
        &[
            (Some("EVP"), 45.9, 1.1),
            (Some("PHONE"), 19.6, 0.9),
            (Some("CPF"), 19.3, 0.9),
            (Some("EMAIL"), 15.1, 0.8),
        ],
    );
    let checking = kinds.iter().filter(|kind| **kind == "CORRENTE").count();
    check("with a key %", 100.0 * registered.len() as f64 / checking as f64, 84.0..=86.0);
    let statuses = ACCOUNTS.symbols("status");
    shares("account", &statuses, &[("ACTIVE", 96.8, 0.6), ("BLOCKED", 0.2, 0.2)]);
    let savings = where_is(&statuses, |row| kinds[row] == "POUPANCA");
    shares("savings", &savings, &[("CLOSED", 6.0, 4.0)]);
    shares(
        "brand",
        &CARDS.symbols("brand"),
        &[
            ("MASTERCARD", 61.1, 1.2),
            ("VISA", 32.1, 1.2),
            ("ELO", 4.3, 0.5),
            ("HIPERCARD", 2.1, 0.4),
            ("AMEX", 0.4, 0.15),
        ],
    );
    // Of those blocked or cancelled, about half have not paid.
    shares("card", &CARDS.symbols("status"), &[("BLOCKED", 3.1, 0.7), ("CANCELLED", 5.7, 1.2)]);
    shares(
        "why",
        &CARDS.some_symbols("status_reason"),
        &[
            (None, 91.8, 1.8),
            (Some("LOST"), 0.7, 0.25),
            (Some("STOLEN"), 0.5, 0.2),
            (Some("FRAUD_SUSPECTED"), 0.75, 0.25),
            (Some("HOLDER_REQUEST"), 2.6, 0.4),
            (Some("DEFAULT"), 4.4, 1.2),
        ],
    );
}

#[test]
fn loans_have_their_kinds_and_arrears() {
    let kinds = LOANS.symbols("loan_type");
    shares(
        "loan",
        &kinds,
        &[
            ("HOUSING", 28.6, 0.1),
            ("PAYROLL", 33.0, 5.0),
            ("VEHICLE", 15.0, 5.0),
            ("PERSONAL", 23.0, 5.0),
        ],
    );
    let rates = LOANS.longs("monthly_rate");
    let rate_of = |kind: &str| mean(&where_is(rates, |row| kinds[row] == kind)) / 10_000.0;
    check("housing % a month", rate_of("HOUSING"), 0.955..=0.965);
    check("vehicle % a month", rate_of("VEHICLE"), 1.96..=1.98);
    check("personal % a month", rate_of("PERSONAL"), 6.15..=6.25);
    let servants = where_is(rates, |row| kinds[row] == "PAYROLL" && rates[row] < 27_000);
    let others = where_is(rates, |row| kinds[row] == "PAYROLL" && rates[row] >= 27_000);
    check("payroll of servants and the retired % a month", mean(&servants) / 10_000.0, 1.79..=1.81);
    check("payroll of others % a month", mean(&others) / 10_000.0, 3.78..=3.82);

    let sac = where_is(&LOANS.symbols("amortization"), |row| kinds[row] == "HOUSING");
    check("SAC % of housing", share(sac.len(), |row| sac[row] == "SAC"), 83.0..=87.0);

    let standings = LOANS.symbols("status");
    let holders = PEOPLE.rows_by_id("customer_id");
    let scores: Vec<i16> = LOANS
        .ids("customer_id")
        .iter()
        .map(|id| PEOPLE.shorts("credit_score")[holders[id]])
        .collect();
    // As the Banco Central counts: what is owed on loans that are more than 90 days late, of all that is owed.
    let owed = LOANS.longs("outstanding_balance");
    let in_default = |is: &dyn Fn(usize) -> bool| {
        let balance = |row: &usize| owed[*row] as f64;
        let of = (0..LOANS.rows()).filter(|row| is(*row));
        let late = of.clone().filter(|row| standings[*row] == "DEFAULTED");
        100.0 * late.map(|row| balance(&row)).sum::<f64>()
            / of.map(|row| balance(&row)).sum::<f64>()
    };
    let of_kind = |kind: &str| in_default(&|row| kinds[row] == kind);
    // 6.8% and 2.0% (August 2025).
    check(
        "free credit more than 90 days late %",
        in_default(&|row| kinds[row] != "HOUSING"),
        5.8..=7.6,
    );
    // Of few loans, so that one more or less is seen.
    check("directed credit more than 90 days late %", of_kind("HOUSING"), 1.0..=2.9);
    check("payroll %", of_kind("PAYROLL"), 4.0..=7.0);
    check("vehicle %", of_kind("VEHICLE"), 6.0..=10.5);
    check("personal %", of_kind("PERSONAL"), 7.0..=11.0);
    // How often one that is in default has a lower score than one that is not.
    let mut ranked: Vec<(i16, bool)> =
        standings.iter().zip(&scores).map(|(is, score)| (*score, *is == "DEFAULTED")).collect();
    ranked.sort_unstable();
    let (mut bad, mut pairs) = (0, 0);
    for (_, is_bad) in &ranked {
        bad += i64::from(*is_bad);
        pairs += if *is_bad { 0 } else { bad };
    }
    let area = pairs as f64 / (bad as f64 * (ranked.len() as f64 - bad as f64));
    check("area under the curve of the score", area, 0.70..=0.80);
}

#[test]
fn homes_are_of_their_state_and_owner() {
    let holders = PEOPLE.rows_by_id("customer_id");
    let owners: BTreeMap<_, _> = LOANS
        .ids("property_id")
        .iter()
        .zip(LOANS.ids("customer_id"))
        .map(|(property, customer)| (property, holders[customer]))
        .collect();
    let values = PROPERTIES.longs("appraised_value");
    let areas = PROPERTIES.longs("area_m2");
    let kinds = PROPERTIES.symbols("property_type");
    let states = PROPERTIES.texts("state");
    let incomes: Vec<i64> = PROPERTIES
        .ids("property_id")
        .iter()
        .map(|id| PEOPLE.longs("monthly_income")[owners[id]])
        .collect();
    check("value to income", rank_correlation(values, &incomes), 0.4..=0.8);
    // Areas are in hundredths.
    let metre: Vec<i64> =
        values.iter().zip(areas).map(|(value, area)| value * 100 / area).collect();
    let flats = |state: &str| {
        median(&where_is(&metre, |row| states[row] == state && kinds[row] == "APARTMENT")) / 100.0
    };
    check("R$ for a square metre of a flat in SP", flats("SP"), 5_000.0..=8_000.0);
    check("R$ for a square metre of a flat in PA", flats("PA"), 3_300.0..=5_300.0);
    let size = |kind: &str| median(&where_is(areas, |row| kinds[row] == kind)) / 100.0;
    check("flat, m2", size("APARTMENT"), 52.0..=68.0);
    check("house, m2", size("HOUSE"), 98.0..=118.0);
    check("value, R$ thousand", median(values) / 100_000.0, 300.0..=420.0);

    let by_property = PROPERTIES.rows_by_id("property_id");
    let valid = LOANS.valid("property_id");
    let ltv: Vec<i64> = (0..LOANS.rows())
        .filter(|row| valid[*row])
        .map(|row| {
            let property = by_property[&LOANS.ids("property_id")[row]];
            LOANS.longs("principal")[row] * 1_000 / values[property]
        })
        .collect();
    check("median loan to value %", median(&ltv) / 10.0, 40.0..=60.0);
    check("loan to value of at least half %", share(ltv.len(), |row| ltv[row] >= 495), 50.0..=80.0);
}
