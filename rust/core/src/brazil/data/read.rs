//! The files of `data/`, read.

use std::array::from_fn;

use csv::{ReaderBuilder, StringRecord};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::{
    ADULTS, Bank, Business, Category, Choice, City, Company, DECADES, GivenName, HOME_PLACES,
    Label, Name, Occupation, Party, Payer, Purpose, Reference, STAGES, SURNAME_PLACES, Shares,
    Stock, Street, Sums, Surname, band, decade,
};
use crate::brazil::documents::cnpj;
use crate::catalog::{Direction, Enumeration, TransactionType};
use crate::civil::to_days;
use crate::rng::{Search, Weighted, fit};

/// The rows of a file, whose columns are in the order of the fields of what they become.
macro_rules! rows {
    ($file:literal) => {
        read(include_str!(concat!("../../../data/", $file)))
    };
}

/// The records are kept for good, so that texts may be parts of them.
pub fn read<T: Deserialize<'static>>(csv: &'static str) -> impl Iterator<Item = T> {
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

/// A day as year, month and day: 2026-07-01.
pub fn date<'de, D: Deserializer<'de>>(text: D) -> Result<i32, D::Error> {
    let date = <&str>::deserialize(text)?;
    let mut parts = date.splitn(3, '-').map(str::parse::<u32>);
    match [parts.next(), parts.next(), parts.next()] {
        [Some(Ok(year)), Some(Ok(month)), Some(Ok(day))] => Ok(to_days(year as i32, month, day)),
        _ => Err(Error::custom(format_args!("no date: {date}"))),
    }
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
    #[serde(deserialize_with = "flag")]
    national: bool,
}

fn occupations() -> Vec<Occupation> {
    rows!("occupations.csv")
        .map(|Work { name, income_low, income_high, women, payer, weights, national }| {
            let weights = [women, 100 - women].map(|percent| weights.map(|part| part * percent));
            Occupation { name, income_low, income_high, payer, national, weights }
        })
        .collect()
}

/// A line of `states.csv`.
#[derive(Deserialize)]
struct State {
    uf: &'static str,
    /// Share of the population.
    weight: u64,
    cpf_region: u32,
    #[serde(rename = "ddds")]
    _ddds: &'static str,
    #[serde(rename = "cep_ranges")]
    _ceps: &'static str,
    income_per_head: u64,
    square_metre: u64,
}

/// Income per head of the country in R$ a month (IBGE, PNAD Contínua 2024).
const INCOME_PER_HEAD: u64 = 2_069;

/// How many of 10 000 who earn little work without papers: three in five where the income per head is half that of
/// the country, and few where it is half as much again (approximate; IBGE finds 57% of all who work in Maranhão and
/// 30% in the Federal District).
const fn informal(income_per_head: u64) -> u32 {
    let less = 6_200 * income_per_head / INCOME_PER_HEAD;
    9_500_u64.saturating_sub(less) as u32 + 300
}

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
    square_metre: u64,
}

fn cities() -> (Choice<City>, Shares) {
    let states: Vec<State> = rows!("states.csv").collect();
    let towns: Vec<Town> = rows!("cities.csv").collect();
    let (mut cities, mut weights) = (Vec::new(), Vec::new());
    for (index, town) in towns.iter().enumerate() {
        let state = states.iter().find(|state| state.uf == town.state);
        let state = state.expect("a state of states.csv");
        let listed = towns.iter().filter(|other| other.state == town.state);
        let listed: u64 = listed.map(|other| other.population).sum();
        // The share of a state is the state's own, split among its listed cities by population.
        weights.push(state.weight * town.population * 1_000_000 / listed);
        let square_metre =
            if town.square_metre > 0 { town.square_metre } else { state.square_metre };
        cities.push(City {
            name: town.name,
            state: town.state.as_bytes().try_into().expect("two letters"),
            cpf_region: state.cpf_region,
            ddd: town.ddd,
            cep_first: town.cep_first * 1000,
            cep_count: (town.cep_last - town.cep_first + 1) * 1000,
            index,
            square_metre: square_metre * 100,
            income: (state.income_per_head << 16) / INCOME_PER_HEAD,
            informal: informal(state.income_per_head),
            area: (0, 0),
            branches: (1 + town.population / 100_000).min(20),
        });
    }
    let mut order: Vec<u16> = (0..cities.len() as u16).collect();
    order.sort_by_key(|&index| cities[usize::from(index)].ddd);
    let homes = Shares::new(HOME_PLACES, order, |index| weights[index]);
    let mut first = 0;
    while first < homes.order.len() {
        let ddd = cities[usize::from(homes.order[first])].ddd;
        let own = homes.order[first..].iter().map(|index| usize::from(*index));
        let own: Vec<usize> = own.take_while(|index| cities[*index].ddd == ddd).collect();
        let start = homes.cells.start(first);
        first += own.len();
        for index in own {
            cities[index].area = (start, homes.cells.start(first) - start);
        }
    }
    (Choice::new(cities, |city: &City| weights[city.index]), homes)
}

/// A line of `streets.csv`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
struct Road {
    label: Label,
    weight: u64,
}

/// Streets, and how many places with a CEP they have in a neighbourhood.
fn streets() -> (Choice<Street>, u64) {
    let mut first = 0;
    let streets = rows!("streets.csv").map(|Road { label, weight }| {
        let long = ["Avenida ", "Estrada ", "Rodovia "];
        let places = if long.iter().any(|kind| label.text.starts_with(kind)) { 3 } else { 1 };
        first += places;
        Street { label, weight, first: first - places, places }
    });
    (Choice::new(streets.collect(), |street: &Street| street.weight), first)
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

/// A line of `movements.csv`.
#[derive(Deserialize)]
struct Line {
    kind: &'static str,
    direction: &'static str,
    party: &'static str,
    text: Label,
    weight: u64,
    median: u64,
    sigma_pct: u32,
    least: i64,
    most: i64,
    sums: Sums,
}

impl Line {
    fn purpose(&self) -> Purpose {
        let party = Party::SYMBOLS.iter().position(|symbol| *symbol == self.party);
        Purpose {
            label: (!self.text.text.is_empty()).then_some(self.text),
            party: [Party::Person, Party::Firm, Party::Own, Party::Nobody]
                [party.expect("a party of the catalogue")],
            median: self.median,
            sigma_pct: self.sigma_pct,
            least: self.least,
            most: self.most,
            sums: self.sums,
            weight: self.weight,
        }
    }
}

/// What movements of each type and direction are for; empty where there are none.
fn purposes() -> [[Choice<Purpose>; 2]; 4] {
    let lines: Vec<Line> = rows!("movements.csv").collect();
    from_fn(|kind| {
        from_fn(|direction| {
            let of_both = |line: &&Line| {
                line.kind == TransactionType::SYMBOLS[kind]
                    && line.direction == Direction::SYMBOLS[direction]
            };
            let purposes: Vec<_> = lines.iter().filter(of_both).map(Line::purpose).collect();
            if purposes.is_empty() {
                return Choice::default();
            }
            Choice::new(purposes, |purpose: &Purpose| purpose.weight)
        })
    })
}

impl Reference {
    pub(super) fn read() -> Self {
        let occupations = occupations();
        let (cities, homes) = cities();
        let (streets, street_places) = streets();
        let surnames: Vec<Surname> = rows!("surnames.csv").collect();
        let banks = rows!("banks.csv")
            .map(|(_, ispb, _, weight): (&str, &str, &str, u64)| Bank {
                ispb: ispb.as_bytes().try_into().expect("eight digits"),
                weight,
            })
            .collect();
        Self {
            cities,
            homes,
            banks: Choice::new(banks, |bank: &Bank| bank.weight),
            companies: companies(),
            adults: Search::new(ADULTS.into_iter().flatten()),
            given_names: [given_names(0), given_names(1)],
            shop_names: shop_names(),
            bearers: Shares::new(SURNAME_PLACES, (0..surnames.len() as u16).collect(), |index| {
                surnames[index].weight
            }),
            second_surnames: Search::new(surnames.iter().map(|surname| surname.weight)),
            surnames: Choice::new(surnames, |surname: &Surname| surname.weight),
            work: from_fn(|sex| {
                from_fn(|stage| Weighted::new(occupations.iter().map(|o| o.weights[sex][stage])))
            }),
            occupations,
            streets,
            street_places,
            neighborhoods: names(rows!("neighborhoods.csv")),
            categories: categories(),
            hours: hours(),
            stocks: Choice::new(rows!("stocks.csv").collect(), |stock: &Stock| stock.weight),
            purposes: purposes(),
            dues: rows!("dues.csv").map(|(text,): (Label,)| text).collect(),
        }
    }
}
