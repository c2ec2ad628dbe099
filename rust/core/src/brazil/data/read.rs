//! The files of `data/`, read.

use std::array::from_fn;

use csv::{ReaderBuilder, StringRecord};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{
    ADULTS, Bank, Business, Category, Choice, City, Company, DECADES, GivenName, Label, Name,
    Occupation, Party, Payer, Reference, STAGES, Stock, Surname, band, decade,
};
use crate::brazil::documents::cnpj;
use crate::catalog::{Direction, Enumeration, TransactionType};
use crate::rng::{Search, Weighted, fit};

/// The rows of a file, whose columns are in the order of the fields of what they become.
macro_rules! rows {
    ($file:literal) => {
        read(include_str!(concat!("../../../data/", $file)))
    };
}

/// The records are kept for good, so that texts may be parts of them.
fn read<T: Deserialize<'static>>(csv: &'static str) -> impl Iterator<Item = T> {
    let mut reader = ReaderBuilder::new().comment(Some(b'#')).from_reader(csv.as_bytes());
    let records: Result<Vec<StringRecord>, _> = reader.records().collect();
    let records = records.expect("a data file of equally many columns a row").leak();
    records.iter().map(|record| record.deserialize(None).expect("a row of a data file"))
}

/// ASCII of a fixed length.
pub(super) fn code<'de, D: Deserializer<'de>, const N: usize>(
    text: D,
) -> Result<[u8; N], D::Error> {
    <&str>::deserialize(text)?.as_bytes().try_into().map_err(Error::custom)
}

pub(super) fn flag<'de, D: Deserializer<'de>>(digit: D) -> Result<bool, D::Error> {
    Ok(u8::deserialize(digit)? == 1)
}

pub(super) fn particle<'de, D: Deserializer<'de>>(text: D) -> Result<Label, D::Error> {
    Ok(Label::new(match <&str>::deserialize(text)? {
        "" => " ",
        "da" => " da ",
        "das" => " das ",
        "de" => " de ",
        "do" => " do ",
        "dos" => " dos ",
        other => return Err(Error::custom(format_args!("no particle: {other}"))),
    }))
}

fn names(names: impl Iterator<Item = Name>) -> Choice<Name> {
    Choice::new(names.collect(), |name| name.weight)
}

/// Adults of 2026 in thousands by decade of birth.
fn adults_by_decade(sex: usize) -> [u64; DECADES] {
    let mut born = [0; DECADES];
    for (index, people) in ADULTS[sex].iter().enumerate() {
        let (first, years) = band(index);
        for age in first..first + years {
            born[decade(2_026 - age as i32)] += people * 1_000 / years;
        }
    }
    born
}

/// A line of `given_names.csv`.
#[derive(Deserialize)]
struct Given {
    name: &'static str,
    sex: char,
    weight: u64,
    popularity: [u64; DECADES],
}

/// A line of `second_names.csv`.
#[derive(Deserialize)]
struct Pair {
    first: &'static str,
    second: &'static str,
    percent: u64,
    /// Years of birth.
    from: i32,
    to: i32,
}

/// The second names of a first one in a decade of birth, of all that are `listed`.
fn second_names(listed: &[Pair], first: &str, decade: usize) -> Choice<(&'static str, u64)> {
    let year = 2_000 - 10 * decade as i32;
    let mut seconds: Vec<(&str, u64)> = listed
        .iter()
        .filter(|pair| pair.first == first && (pair.from..=pair.to).contains(&year))
        .map(|pair| (pair.second, pair.percent))
        .collect();
    let carried: u64 = seconds.iter().map(|(_, percent)| percent).sum();
    seconds.push(("", 100 - carried));
    Choice::new(seconds, |(_, percent)| *percent)
}

fn given_names(sex: usize) -> [Choice<GivenName>; DECADES] {
    let listed: Vec<Given> =
        rows!("given_names.csv").filter(|given: &Given| given.sex == ['F', 'M'][sex]).collect();
    let seconds: Vec<Pair> = rows!("second_names.csv").collect();
    // A million to a thousand bearers, so that rounding down does not show.
    let weights: Vec<u64> = listed.iter().map(|given| given.weight * 1_000_000).collect();
    let mut bearers: Vec<Vec<u64>> =
        listed.iter().map(|given| given.popularity.map(|part| part * 1_000_000).to_vec()).collect();
    fit(&mut bearers, &weights, &adults_by_decade(sex));
    from_fn(|decade| {
        let names = listed.iter().zip(&bearers).map(|(given, bearers)| GivenName {
            label: Label::new(given.name),
            seconds: second_names(&seconds, given.name, decade),
            weight: bearers[decade],
        });
        Choice::new(names.collect(), |name: &GivenName| name.weight)
    })
}

/// A line of `occupations.csv`.
#[derive(Deserialize)]
struct Work {
    name: &'static str,
    income_low: u64,
    income_high: u64,
    women: u64,
    payer: Payer,
    weights: [u64; STAGES],
}

fn occupations() -> Vec<Occupation> {
    rows!("occupations.csv")
        .map(|Work { name, income_low, income_high, women, payer, weights }| {
            let weights = [women, 100 - women].map(|percent| weights.map(|part| part * percent));
            Occupation { name, income_low, income_high, payer, weights }
        })
        .collect()
}

/// Average price of a square metre by state, in centavos (rounded; order of magnitude of published
/// price indices).
const fn square_metre(state: &str) -> u64 {
    match state.as_bytes() {
        b"SP" | b"SC" | b"RJ" | b"DF" => 980_000,
        b"PR" | b"ES" | b"MG" | b"GO" => 780_000,
        b"PE" | b"CE" | b"BA" | b"RS" | b"AL" => 690_000,
        _ => 560_000,
    }
}

/// A line of `states.csv`: UF, share of the population, and region of its CPFs.
type State = (&'static str, u64, u32);

/// A line of `cities.csv`.
#[derive(Deserialize)]
struct Town {
    name: Label,
    state: &'static str,
    #[serde(deserialize_with = "code")]
    ddd: [u8; 2],
    population: u64,
    cep_first: u32,
    cep_last: u32,
}

fn cities() -> Choice<City> {
    let states: Vec<State> = rows!("states.csv").collect();
    let towns: Vec<Town> = rows!("cities.csv").collect();
    let (mut cities, mut weights) = (Vec::new(), Vec::new());
    for (index, town) in towns.iter().enumerate() {
        let state =
            states.iter().find(|state| state.0 == town.state).expect("a state of states.csv");
        let listed = towns.iter().filter(|other| other.state == town.state);
        let listed: u64 = listed.map(|other| other.population).sum();
        // The share of a state is the state's own, split among its listed cities by population.
        weights.push(state.1 * town.population * 1_000_000 / listed);
        cities.push(City {
            name: town.name,
            state: town.state.as_bytes().try_into().expect("two letters"),
            cpf_region: state.2,
            ddd: town.ddd,
            cep_first: town.cep_first * 1000,
            cep_count: (town.cep_last - town.cep_first + 1) * 1000,
            index,
            square_metre: square_metre(town.state),
            branches: (1 + town.population / 100_000).min(20),
        });
    }
    Choice::new(cities, |city: &City| weights[city.index])
}

fn categories() -> Choice<Category> {
    let merchants: Vec<(u32, (&str, Label, u64))> = (0..).zip(rows!("merchants.csv")).collect();
    let words: Vec<(&str, &str)> = rows!("shops.csv").collect();
    let mut categories: Vec<Category> = rows!("mcc.csv").collect();
    for (index, category) in categories.iter_mut().enumerate() {
        category.index = index;
        let own = words.iter().filter(|(mcc, _)| mcc.as_bytes() == category.mcc);
        category.words = own.map(|(_, word)| label(word, " ")).collect();
        assert!(!category.words.is_empty(), "a word for each category in shops.csv");
        let own = merchants.iter().filter(|(_, (mcc, ..))| mcc.as_bytes() == category.mcc);
        let shops = own.map(|&(position, (_, name, weight))| Company {
            name,
            cnpj: cnpj(merchant_root(position), 1),
            weight,
        });
        category.merchants = Choice::new(shops.collect(), |shop: &Company| shop.weight);
    }
    Choice::new(categories, |category: &Category| category.weight)
}

fn hours() -> Vec<[[u64; 24]; 2]> {
    rows!("hours.csv")
        .map(|(_, days_off, weights): (&str, u64, [u64; 24])| {
            [100, days_off].map(|percent| weights.map(|weight| weight * percent))
        })
        .collect()
}

/// A text of two parts, for good.
fn label(one: &str, other: &str) -> Label {
    Label::new(format!("{one}{other}").leak())
}

/// The first eight digits of a merchant's CNPJ: spread over numbers below those of the companies, each
/// only once.
pub(crate) const fn merchant_root(position: u32) -> u32 {
    10_000_000 + (position as u64 * 7_654_321 % 56_000_000) as u32
}

fn companies() -> [Choice<Company>; 8] {
    let all: Vec<(Label, u32, u64, Business)> = rows!("companies.csv").collect();
    from_fn(|business| {
        let own = all.iter().filter(|(.., kind)| *kind as usize == business);
        let companies =
            own.map(|&(name, root, weight, _)| Company { name, cnpj: cnpj(root, 1), weight });
        Choice::new(companies.collect(), |company: &Company| company.weight)
    })
}

/// Neighbourhoods, and the most frequent families.
fn shop_names() -> Vec<Label> {
    let places = rows!("neighborhoods.csv").map(|name: Name| name.label);
    let families = rows!("surnames.csv").map(|surname: Surname| surname.label);
    places.chain(families.take(60)).collect()
}

/// A line of `descriptions.csv`.
#[derive(Deserialize)]
struct Description {
    kind: &'static str,
    direction: &'static str,
    party: &'static str,
    text: Label,
}

impl Reference {
    pub(super) fn read() -> Self {
        let occupations = occupations();
        let banks = rows!("banks.csv")
            .map(|(_, ispb, _, weight): (&str, &str, &str, u64)| Bank {
                ispb: ispb.as_bytes().try_into().expect("eight digits"),
                weight,
            })
            .collect();
        let described: Vec<Description> = rows!("descriptions.csv").collect();
        let texts = |wanted: &dyn Fn(&Description) -> bool| -> Vec<Label> {
            described.iter().filter(|one| wanted(one)).map(|one| one.text).collect()
        };
        Self {
            cities: cities(),
            banks: Choice::new(banks, |bank: &Bank| bank.weight),
            companies: companies(),
            adults: Search::new(ADULTS.into_iter().flatten()),
            given_names: [given_names(0), given_names(1)],
            shop_names: shop_names(),
            surnames: Choice::new(rows!("surnames.csv").collect(), |surname: &Surname| {
                surname.weight
            }),
            work: from_fn(|sex| {
                from_fn(|stage| Weighted::new(occupations.iter().map(|o| o.weights[sex][stage])))
            }),
            occupations,
            streets: names(rows!("streets.csv")),
            neighborhoods: names(rows!("neighborhoods.csv")),
            categories: categories(),
            hours: hours(),
            stocks: Choice::new(rows!("stocks.csv").collect(), |stock: &Stock| stock.weight),
            descriptions: from_fn(|kind| {
                from_fn(|direction| {
                    from_fn(|party| {
                        texts(&|one| {
                            one.kind == TransactionType::SYMBOLS[kind]
                                && one.direction == Direction::SYMBOLS[direction]
                                && one.party == Party::SYMBOLS[party]
                        })
                    })
                })
            }),
            bills: texts(&|one| one.party == "BILL"),
        }
    }
}
