//! Customers and properties: documents, places, names, ages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::common::{Read, data, days};
use crate::worlds::in_every_table;

struct State {
    cpf_region: u8,
    ddds: Vec<&'static str>,
    /// First and last five digits of CEPs.
    ceps: Vec<(&'static str, &'static str)>,
    /// R$ a month.
    income_per_head: i64,
}

static STATES: LazyLock<BTreeMap<&str, State>> = LazyLock::new(|| {
    let states: BTreeMap<&str, State> = data(include_str!("../../data/states.csv"))
        .into_iter()
        .map(|fields| {
            let ranges = fields[4].split(' ');
            let state = State {
                cpf_region: fields[2].as_bytes()[0],
                ddds: fields[3].split(' ').collect(),
                ceps: ranges.map(|range| range.split_once('-').expect("a range")).collect(),
                income_per_head: fields[5].parse().expect("R$"),
            };
            (fields[0], state)
        })
        .collect();
    assert_eq!(states.len(), 27);
    states
});

/// DDD and CEP range of each city and state.
static CITIES: LazyLock<BTreeMap<(&str, &str), Vec<&'static str>>> = LazyLock::new(|| {
    let cities = data(include_str!("../../data/cities.csv"));
    cities.into_iter().map(|fields| ((fields[0], fields[1]), fields)).collect()
});

/// Both digits of a CPF: the sum of nine or ten digits with falling weights, times ten, mod 11, mod 10.
pub fn cpf_is_valid(cpf: &str) -> bool {
    let digits: Vec<u32> = cpf.chars().filter_map(|c| c.to_digit(10)).collect();
    let digit = |count: usize| {
        let sum: u32 =
            digits[..count].iter().zip((2..=count as u32 + 1).rev()).map(|(d, w)| d * w).sum();
        sum * 10 % 11 % 10
    };
    cpf.len() == 11
        && digits.len() == 11
        && digits[9] == digit(9)
        && digits[10] == digit(10)
        && digits.iter().any(|d| *d != digits[0])
}

/// Both digits of a CNPJ, by weights 2 to 9 from the right and again.
pub fn cnpj_is_valid(cnpj: &str) -> bool {
    let digits: Vec<u32> = cnpj.chars().filter_map(|c| c.to_digit(10)).collect();
    let digit = |count: usize| {
        let sum: u32 = digits[..count].iter().rev().zip((2..=9).cycle()).map(|(d, w)| d * w).sum();
        sum * 10 % 11 % 10
    };
    cnpj.len() == 14 && digits.len() == 14 && digits[12] == digit(12) && digits[13] == digit(13)
}

/// A mobile number in a state, or anywhere.
pub fn phone_is_valid(phone: &str, state: Option<&str>) -> bool {
    let Some(number) = phone.strip_prefix("+55") else { return false };
    let known = |state: &State| state.ddds.contains(&&number[..2]);
    number.len() == 11
        && number.bytes().all(|digit| digit.is_ascii_digit())
        && number.as_bytes()[2] == b'9'
        && state.map_or_else(|| STATES.values().any(known), |state| known(&STATES[state]))
}

/// An address at a domain that RFC 2606 reserves.
pub fn email_is_valid(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '_';
    matches!(domain, "example.com" | "example.org" | "example.net")
        && local.starts_with(|c: char| c.is_ascii_lowercase())
        && local.chars().all(letters)
}

pub fn evp_is_valid(key: &str) -> bool {
    key.len() == 36
        && key.char_indices().all(|(place, c)| match place {
            8 | 13 | 18 | 23 => c == '-',
            14 => c == '4',
            19 => matches!(c, '8' | '9' | 'a' | 'b'),
            _ => matches!(c, '0'..='9' | 'a'..='f'),
        })
}

/// A name in lower case without accents.
pub fn plain(name: &str) -> String {
    let from = "áàâãéêíóôõúüç";
    let to = "aaaaeeiooouuc";
    name.to_lowercase()
        .chars()
        .map(|c| from.chars().position(|f| f == c).map_or(c, |i| char::from(to.as_bytes()[i])))
        .filter(char::is_ascii_alphabetic)
        .collect()
}

pub fn state_is_known(state: &str) -> bool {
    STATES.contains_key(state)
}

pub fn city_is_known(city: &str, state: &str) -> bool {
    CITIES.contains_key(&(city, state))
}

#[test]
fn the_rules_of_this_file_know_valid_from_invalid() {
    assert!(cpf_is_valid("52998224725") && cpf_is_valid("11144477735"));
    assert!(!cpf_is_valid("52998224724") && !cpf_is_valid("11111111111"));
    assert!(cnpj_is_valid("60701190000104") && !cnpj_is_valid("60701190000114"));
    assert!(phone_is_valid("+5511987654321", Some("SP")));
    assert!(!phone_is_valid("+5521987654321", Some("SP")));
    assert!(!phone_is_valid("+5523987654321", None));
    assert!(email_is_valid("a.b1@example.org") && !email_is_valid("a.b1@gmail.com"));
    assert_eq!(plain("João d'Ávila Gonçalves"), "joaodavilagoncalves");
}

#[test]
fn listed_cities_fit_their_state_and_share_no_postal_code() {
    assert!(CITIES.len() >= 250);
    let mut ranges = Vec::new();
    for city in CITIES.values() {
        let state = &STATES[city[1]];
        assert!(state.ddds.contains(&city[2]), "{city:?}");
        let within = |&(first, last): &(&str, &str)| first <= city[4] && city[5] <= last;
        assert!(state.ceps.iter().any(within), "{city:?}");
        ranges.push((city[4], city[5]));
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
    let states: BTreeSet<&str> = CITIES.keys().map(|(_, state)| *state).collect();
    assert_eq!(states.len(), 27);
}

#[test]
fn cpfs_are_valid_and_of_the_region_of_the_state() {
    in_every_table(|world| {
        let states = world.customers.texts("state");
        for (cpf, state) in world.customers.texts("cpf").into_iter().zip(states) {
            assert!(cpf_is_valid(cpf), "{cpf}");
            assert_eq!(cpf.as_bytes()[8], STATES[state].cpf_region, "{cpf} in {state}");
        }
    });
}

#[test]
fn postal_codes_are_within_the_state_and_the_city() {
    in_every_table(|world| {
        for table in [&world.customers, &world.properties] {
            let (states, cities) = (table.texts("state"), table.texts("city"));
            for (row, cep) in table.texts("postal_code").into_iter().enumerate() {
                let (state, city) = (states[row], cities[row]);
                let start = &cep[..5];
                assert!(
                    STATES[state].ceps.iter().any(|&(first, last)| (first..=last).contains(&start)),
                    "{cep} in {state}"
                );
                let city = &CITIES[&(city, state)];
                assert!((city[4]..=city[5]).contains(&start), "{cep} in {city:?}");
            }
        }
    });
}

#[test]
fn phones_have_a_ddd_of_the_state_and_city() {
    in_every_table(|world| {
        let customers = &world.customers;
        let (states, cities) = (customers.texts("state"), customers.texts("city"));
        for (row, phone) in customers.texts("phone").into_iter().enumerate() {
            assert!(phone_is_valid(phone, Some(states[row])), "{phone} in {}", states[row]);
            assert_eq!(phone[3..5], *CITIES[&(cities[row], states[row])][2], "{phone}");
            // As those of mobile phones are (Anatel).
            assert!(matches!(phone.as_bytes()[6], b'6'..=b'9'), "{phone}");
        }
    });
}

#[test]
fn emails_are_made_from_the_name_at_reserved_domains() {
    in_every_table(|world| {
        let names = world.customers.texts("name");
        for (email, name) in world.customers.texts("email").into_iter().zip(names) {
            assert!(email_is_valid(email), "{email}");
            let (local, _) = email.split_once('@').expect("a domain");
            let letters: String = local.chars().filter(|c| !c.is_ascii_digit()).collect();
            // A year of birth may stand apart.
            let letters = letters.trim_end_matches('.');
            let mut words = name.split(' ').filter(|word| word.starts_with(char::is_uppercase));
            let given = plain(words.next().expect("a name"));
            let surnames: Vec<String> = words.map(plain).collect();
            let pair = |a: &String, b: &String| format!("{a}.{b}");
            let mut lasts: Vec<String> = surnames.clone();
            lasts.extend(surnames.windows(2).map(|two| pair(&two[0], &two[1])));
            let fits = |last: &String| {
                let initial = given[..1].to_owned();
                [&given, &initial].into_iter().any(|first| {
                    let dotted = pair(first, last);
                    letters.replace('_', ".") == dotted || letters == format!("{first}{last}")
                }) || letters == pair(last, &initial)
            };
            assert!(lasts.iter().any(fits), "{email} of {name}");
        }
    });
}

/// The year at the start of the decade in which names of a year of birth are listed.
fn decade(year: i32) -> i32 {
    (year / 10 * 10).clamp(1_930, 2_000)
}

/// Takes surnames off the end of a text, each with the particle that is listed for it, until nothing
/// is left; how many there were, if all were known.
fn surnames(text: &str, listed: &BTreeMap<&str, &str>) -> Option<usize> {
    let mut words: Vec<&str> = text.split(' ').collect();
    let mut found = BTreeSet::new();
    while let Some(surname) = words.pop() {
        let particle = listed.get(surname)?;
        if !particle.is_empty() && words.last() == Some(particle) {
            words.pop();
        }
        if !found.insert(surname) {
            return None;
        }
    }
    Some(found.len())
}

#[test]
fn names_are_given_names_and_surnames() {
    let given: BTreeSet<&str> =
        data(include_str!("../../data/given_names.csv")).iter().map(|fields| fields[0]).collect();
    let second = data(include_str!("../../data/second_names.csv"));
    let listed: BTreeMap<&str, &str> = data(include_str!("../../data/surnames.csv"))
        .iter()
        .map(|fields| (fields[0], fields[2]))
        .collect();
    assert!(given.len() >= 200 && listed.len() >= 150);
    assert_eq!(surnames("da Silva Santos", &listed), Some(2));
    assert_eq!(surnames("dos Silva", &listed), None);
    in_every_table(|world| {
        let births = world.customers.ints("birth_date");
        for (name, birth) in world.customers.texts("name").into_iter().zip(births) {
            let (first, rest) = name.split_once(' ').expect("two names");
            assert!(given.contains(first), "{name}");
            let born = decade(days::ymd(*birth).0);
            let year = |text: &str| text.parse::<i32>().expect("a year");
            let usual = |fields: &&Vec<&str>| {
                fields[0] == first && (year(fields[3])..=year(fields[4])).contains(&born)
            };
            let after = second
                .iter()
                .filter(usual)
                .filter_map(|fields| rest.strip_prefix(fields[1])?.strip_prefix(' '));
            let fits = |rest| surnames(rest, &listed).is_some_and(|count| (1..=3).contains(&count));
            assert!([rest].into_iter().chain(after).any(fits), "{name}, born in the {born}s");
        }
    });
}

/// Fields of each occupation.
static OCCUPATIONS: LazyLock<BTreeMap<&str, Vec<&'static str>>> = LazyLock::new(|| {
    data(include_str!("../../data/occupations.csv"))
        .into_iter()
        .map(|fields| (fields[0], fields))
        .collect()
});

/// Who pays an occupation.
pub fn paid_by(occupation: &str) -> &'static str {
    OCCUPATIONS[occupation][4]
}

#[test]
fn occupations_fit_the_age() {
    in_every_table(|world| {
        let start = world.plan.as_of() - i64::from(world.plan.days()) * days::DAY;
        let (today, _) = days::local(start);
        let births = world.customers.ints("birth_date");
        for (occupation, birth) in world.customers.texts("occupation").into_iter().zip(births) {
            let age = |day: i32| {
                let ((year, month, day), born) = (days::ymd(day), days::ymd(*birth));
                year - born.0 - i32::from((month, day) < (born.1, born.2))
            };
            let fields = &OCCUPATIONS[occupation];
            let has = |age: i32| {
                let stage = [22, 25, 35, 45, 55, 65].iter().filter(|start| age >= **start).count();
                fields[5 + stage] != "0"
            };
            // A year has 365.25 days there, so a birthday may be a day off.
            let ages = [age(today - 1), age(today), age(today + 1)];
            assert!(ages.into_iter().any(has), "{occupation} of {ages:?}");
            let (least, most) = match occupation {
                "Aposentado" => (55, 130),
                "Médico" | "Magistrado" => (25, 130),
                "Estudante" | "Estagiário" => (18, 34),
                "Jovem aprendiz" => (18, 24),
                _ => (18, 130),
            };
            assert!(ages[2] >= least && ages[0] <= most, "{occupation} of {ages:?}");
        }
    });
}

#[test]
fn incomes_are_those_of_the_occupation() {
    in_every_table(|world| {
        let incomes = world.customers.longs("monthly_income");
        let states = world.customers.texts("state");
        let work = world.customers.texts("occupation");
        // The minimum wage at the beginning of the history.
        let (year, month, day) = days::ymd(days::local(world.plan.start()).0);
        let today = format!("{year}-{month:02}-{day:02}");
        let wages = data(include_str!("../../data/minimum_wage.csv"));
        let wage = wages.iter().rfind(|fields| *fields[0] <= *today).expect("a wage")[1];
        let wage: i64 = wage.parse().expect("centavos");
        for ((occupation, income), state) in work.into_iter().zip(incomes).zip(states) {
            let fields = &OCCUPATIONS[occupation];
            let number = |field: usize| fields[field].parse::<i64>().expect("centavos");
            // Some of those who may earn much earn a multiple.
            let most = number(2) * if number(2) >= 1_500_000 { 8 } else { 1 };
            let (national, paid_by) = (fields[12] == "1", fields[4]);
            // By the income per head of the state beside that of the country (IBGE, PNAD 2024).
            let usual = |centavos: i64| {
                let scaled = (centavos * (STATES[state].income_per_head * 65_536 / 2_069)) >> 16;
                scaled.max(50_000)
            };
            // The ceiling of benefits is that of 2026. Who earns little may work without papers.
            let (least, most) = match paid_by {
                _ if national => (number(1), most),
                "inss" => (usual(number(1)).clamp(wage, 847_555), usual(most).clamp(wage, 847_555)),
                "none" => (usual(number(1)), usual(most)),
                "private" if number(1) < 200_000 => (usual(number(1)), usual(most).max(wage)),
                _ => (usual(number(1)).max(wage), usual(most).max(wage)),
            };
            assert!((least..=most).contains(income), "{income} of {occupation} in {state}");
        }
    });
}

#[test]
fn customers_are_adults_when_they_join() {
    in_every_table(|world| {
        let births = world.customers.ints("birth_date");
        for (birth, created) in births.iter().zip(world.customers.longs("created_at")) {
            let (year, month, day) = days::ymd(*birth);
            let joined = days::ymd(days::local(*created).0);
            assert!(
                (year + 18, month, day) <= joined,
                "born {year}-{month}-{day}, joined {joined:?}"
            );
            assert!(joined.0 - year < 110, "born {year}");
        }
    });
}

#[test]
fn incomes_and_scores_are_in_range() {
    in_every_table(|world| {
        let customers = &world.customers;
        assert!(customers.shorts("credit_score").iter().all(|score| (0..=1_000).contains(score)));
        // A richer segment never earns less than a plainer one.
        let mut ranges: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        let segments = customers.symbols("segment");
        for (segment, income) in segments.iter().zip(customers.longs("monthly_income")) {
            let range = ranges.entry(segment).or_insert((*income, *income));
            *range = (range.0.min(*income), range.1.max(*income));
        }
        let found: Vec<(i64, i64)> = ["VAREJO", "EXCLUSIVO", "PRIVATE"]
            .iter()
            .filter_map(|segment| ranges.get(segment).copied())
            .collect();
        assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
    });
}

#[test]
fn properties_are_whole_and_in_the_city_of_their_borrower() {
    in_every_table(|world| {
        let properties = &world.properties;
        let kinds = properties.symbols("property_type");
        let (built, has_year) = (properties.shorts("built_year"), properties.valid("built_year"));
        let (year, ..) = days::ymd(days::local(world.plan.as_of()).0);
        for row in 0..properties.rows() {
            assert_eq!(has_year[row], kinds[row] != "LAND");
            assert!(
                !has_year[row] || (1_900..=year).contains(&i32::from(built[row])),
                "{}",
                built[row]
            );
            assert!(properties.longs("area_m2")[row] > 0);
            assert!(properties.longs("appraised_value")[row] > 0);
        }
        let (by_property, by_customer) =
            (properties.rows_by_id("property_id"), world.customers.rows_by_id("customer_id"));
        let secured = world.loans.valid("property_id");
        let (homes, places) = (world.customers.texts("city"), properties.texts("city"));
        for loan in (0..world.loans.rows()).filter(|loan| secured[*loan]) {
            let property = by_property[&world.loans.ids("property_id")[loan]];
            let borrower = by_customer[&world.loans.ids("customer_id")[loan]];
            assert_eq!(places[property], homes[borrower]);
        }
    });
}
