//! Names, places, banks, companies and merchants, read once from the CSV files of `data/`.

pub(super) mod read;

pub(crate) use read::merchant_root;

use std::sync::LazyLock;

use serde::Deserialize;

use crate::catalog::enumerations;
use crate::rng::{Search, Weighted, Word};

/// Things to choose from by weight.
#[derive(Debug)]
pub struct Choice<T> {
    /// All of them, in the order of their file.
    pub items: Vec<T>,
    weights: Weighted,
}

impl<T> Choice<T> {
    fn new(items: Vec<T>, weight: impl Fn(&T) -> u64) -> Self {
        let weights = Weighted::new(items.iter().map(weight));
        Self { items, weights }
    }

    /// The position that `word` chooses.
    #[inline]
    pub fn pick_position(&self, word: Word) -> usize {
        self.weights.pick(word)
    }

    /// The one that `word` chooses.
    #[inline]
    pub fn pick(&self, word: Word) -> &T {
        &self.items[self.pick_position(word)]
    }
}

impl Choice<Purpose> {
    /// What anyone can pay the party of another purpose for, as long as there is a real.
    pub fn plain<'a>(&'a self, other: &'a Purpose) -> &'a Purpose {
        self.items.iter().find(|purpose| purpose.party == other.party).unwrap_or(other)
    }
}

impl Company {
    /// The first eight digits of its CNPJ.
    #[inline]
    pub fn root(&self) -> u32 {
        self.cnpj[..8].iter().fold(0, |root, digit| root * 10 + u32::from(digit - b'0'))
    }
}

impl<T> Default for Choice<T> {
    fn default() -> Self {
        Self { items: Vec::new(), weights: Weighted::default() }
    }
}

/// A text that is copied into many rows: as long as a few registers, so that no copy has to ask for
/// its length first.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(from = "&'static str")]
pub struct Label {
    /// The text.
    pub text: &'static str,
    padded: [u8; 48],
}

impl Label {
    /// The label of a text, which is not longer than it may be.
    pub const fn new(text: &'static str) -> Self {
        let mut padded = [0; 48];
        padded.split_at_mut(text.len()).0.copy_from_slice(text.as_bytes());
        Self { text, padded }
    }

    /// The text and zeros, and the length of the text.
    #[inline]
    pub const fn padded(&self) -> (&[u8; 48], usize) {
        (&self.padded, self.text.len())
    }
}

impl From<&'static str> for Label {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

/// A text with a weight.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub struct Name {
    /// The text.
    pub label: Label,
    weight: u64,
}

/// Women and men of 18 years and more in thousands (Census 2022): 18 and 19 (two fifths of the band of
/// 15 to 19), then bands of five years from 20; the last is 90 and more.
pub const ADULTS: [[u64; 16]; 2] = [
    [
        2_823, 7_699, 7_842, 7_936, 8_345, 8_291, 7_091, 6_584, 6_150, 5_339, 4_288, 3_243, 2_190,
        1_465, 836, 527,
    ],
    [
        2_927, 7_767, 7_627, 7_537, 7_827, 7_781, 6_549, 6_014, 5_420, 4_606, 3_588, 2_615, 1_658,
        1_010, 494, 255,
    ],
];

/// First age and number of years of a band of [`ADULTS`].
pub const fn band(index: usize) -> (u64, u64) {
    if index == 0 { (18, 2) } else { (15 + 5 * index as u64, 5) }
}

/// Decades of birth by which given names are known: from 2000, the 1990s, and so on back to before 1940.
pub const DECADES: usize = 8;

/// The decade of birth of a year.
pub const fn decade(year: i32) -> usize {
    match year {
        2_000.. => 0,
        1_940.. => (2_009 - year) as usize / 10,
        _ => DECADES - 1,
    }
}

/// A given name.
#[derive(Debug)]
pub struct GivenName {
    /// The text.
    pub label: Label,
    /// Second names that are joined to it, by their share; "" for those who have none.
    pub seconds: Choice<(&'static str, u64)>,
    weight: u64,
}

/// A surname.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub struct Surname {
    /// The text.
    pub label: Label,
    weight: u64,
    /// What may stand before it, with a space on either side: " da ".
    #[serde(deserialize_with = "read::particle")]
    pub particle: Label,
    /// Percentage of the names that have the particle.
    pub particle_pct: u64,
}

/// Ages from which people are taken for the next stage of life, of [`STAGES`] in all.
const STAGE_STARTS: [u32; STAGES - 1] = [22, 25, 35, 45, 55, 65];
/// Stages of life by which occupations are known.
pub const STAGES: usize = 7;

/// The stage of life of an age in years.
#[inline]
pub fn stage(age: u32) -> usize {
    STAGE_STARTS.iter().filter(|start| age >= **start).count()
}

/// Who pays an income, and so could deduct the installment of a payroll loan from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payer {
    /// Nobody who could.
    #[serde(rename = "none")]
    Nobody,
    /// A firm or household.
    Private,
    /// Union, state or municipality.
    Public,
    /// Social security.
    Inss,
}

/// A municipality.
#[derive(Debug)]
pub struct City {
    /// Name.
    pub name: Label,
    /// UF.
    pub state: [u8; 2],
    /// Ninth digit of the CPFs given out there.
    pub cpf_region: u32,
    /// Telephone area code.
    pub ddd: [u8; 2],
    /// First CEP of its range, as a number of eight digits.
    pub cep_first: u32,
    /// How many CEPs its range has.
    pub cep_count: u32,
    /// Position in the file.
    pub index: usize,
    /// Price of a square metre of a flat in centavos.
    pub square_metre: u64,
    /// Income per head of the state beside that of the country, times 2^16.
    pub income: u64,
    /// How many of 10 000 who earn little work without papers, and may earn less than the minimum wage.
    pub informal: u32,
    /// The first of the places of its telephone area code among the [`HOME_PLACES`], and their number.
    pub area: (u64, u64),
    /// Branches of the bank: one, and one more for every 100 000 people, up to 20.
    pub branches: u64,
}

/// Places among which homes are shared out: a bank of so many customers has each city by its exact share.
pub const HOME_PLACES: u64 = 1 << 16;
/// The same of surnames.
pub const SURNAME_PLACES: u64 = 1 << 14;

/// Places `0..total`, end to end, shared out by weight.
#[derive(Debug)]
pub struct Shares {
    cells: Search,
    /// Positions of what has the places, in their order.
    order: Vec<u16>,
}

/// What has a place.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Its position.
    pub position: usize,
    /// The first of its places.
    pub start: u64,
    /// How many it has.
    pub size: u64,
}

impl Shares {
    fn new(total: u64, order: Vec<u16>, weight: impl Fn(usize) -> u64) -> Self {
        let sum: u64 = order.iter().map(|&position| weight(position.into())).sum();
        let (mut before, mut start) = (0, 0);
        let sizes = order.iter().map(|&position| {
            before += weight(position.into());
            let end = (u128::from(before) * u128::from(total) / u128::from(sum)) as u64;
            let size = end - start;
            start = end;
            size
        });
        let cells = Search::new(sizes.collect::<Vec<_>>());
        Self { cells, order }
    }

    /// What has a place.
    #[inline]
    pub fn find(&self, place: u64) -> Share {
        let (cell, into) = self.cells.find(place);
        let start = place - into;
        let size = self.cells.start(cell + 1) - start;
        Share { position: self.order[cell].into(), start, size }
    }

    /// The places of what has a position.
    pub fn of(&self, position: usize) -> Share {
        let mut cells = self.order.iter();
        let cell = cells.position(|&one| usize::from(one) == position).expect("a position");
        let start = self.cells.start(cell);
        Share { position, start, size: self.cells.start(cell + 1) - start }
    }
}

/// A street name.
#[derive(Debug)]
pub struct Street {
    /// The text.
    pub label: Label,
    weight: u64,
    /// The first of its places among those of a neighbourhood, each with its own CEP.
    pub first: u64,
    /// How many it has: long ones have one for every thousand numbers.
    pub places: u64,
}

/// A bank or payment institution, seen as a counterparty.
#[derive(Debug)]
pub struct Bank {
    /// ISPB, eight digits.
    pub ispb: [u8; 8],
    weight: u64,
}

/// A company or merchant that pays and is paid.
#[derive(Debug)]
pub struct Company {
    /// Name.
    pub name: Label,
    /// CNPJ with its check digits.
    pub cnpj: [u8; 14],
    weight: u64,
}

/// Companies by what they do; the numbers are positions in [`Reference::companies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Business {
    /// Pays salaries, and trades with customers.
    Firm = 0,
    /// Lets homes.
    Realty = 1,
    /// Sells electricity.
    Energy = 2,
    /// Sells water.
    Water = 3,
    /// Telephone and Internet.
    Telecom = 4,
    /// Teaches.
    School = 5,
    /// Pays servants: Union, states and municipalities.
    Government = 6,
    /// Social security.
    Inss = 7,
}

enumerations! {
    /// Who is on the other side of a movement, as its description sees it: another person, a company or
    /// merchant, the same holder with an account elsewhere, or, of cash, nobody.
    Party { Person = "PERSON", Firm = "FIRM", Own = "OWN", Nobody = "NONE" }
}

/// How people choose a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sums {
    /// To the centavo.
    Free,
    /// Half of them in whole reais.
    Mixed,
    /// In whole reais, and round ones where they are large.
    Whole,
    /// As shops price: most end in ,90 and ,99.
    Shop,
    /// As notes make them: in tens, and in fifties from R$ 300 on.
    Notes,
}

/// What a movement is for.
#[derive(Debug)]
pub struct Purpose {
    /// Its description, if the payer gives one.
    pub label: Option<Label>,
    /// Who is on the other side.
    pub party: Party,
    /// Median in centavos at an income of R$ 3 000 a month.
    pub median: u64,
    /// Sigma of the log-normal amount, times 100.
    pub sigma_pct: u32,
    /// Least, in centavos.
    pub least: i64,
    /// Most, in centavos.
    pub most: i64,
    /// How the sum is chosen.
    pub sums: Sums,
    weight: u64,
}

/// An occupation with its range of income in centavos a month.
#[derive(Debug)]
pub struct Occupation {
    /// Name.
    pub name: &'static str,
    /// Lowest income.
    pub income_low: u64,
    /// Highest usual income.
    pub income_high: u64,
    /// Who pays.
    pub payer: Payer,
    /// Whether the pay is the same in every state.
    pub national: bool,
    /// By sex (F, M) and stage of life.
    weights: [[u64; STAGES]; 2],
}

/// A merchant category with its merchants.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub struct Category {
    /// Four digits.
    #[serde(deserialize_with = "read::code")]
    pub mcc: [u8; 4],
    /// Name.
    pub name: Label,
    /// Share of purchases, in thousandths.
    pub weight: u64,
    /// Median purchase in centavos.
    pub median: u64,
    /// Sigma of the log-normal amount, times 100.
    pub sigma_pct: u32,
    /// Smallest purchase.
    pub min: u64,
    /// Largest purchase.
    pub max: u64,
    /// Installments offered without interest.
    pub max_installments: u32,
    /// Percentage bought online.
    pub ecommerce_pct: u32,
    /// By which hours it sells: see [`Reference::hours`].
    pub profile: usize,
    /// How many of 100 of its sales come back every month.
    pub recurring_pct: u64,
    /// Whether what is bought online comes from anywhere, and not from near by.
    #[serde(deserialize_with = "read::flag")]
    pub far: bool,
    /// How its prices end.
    pub pricing: Pricing,
    /// How far its amounts follow what somebody spends in all, in percent.
    pub elastic_pct: u32,
    /// Whether people keep to one shop.
    #[serde(deserialize_with = "read::flag")]
    pub habit: bool,
    /// How many of 100 of its shops belong to chains.
    pub chain_pct: u32,
    /// Shops in a town of 100 000 people.
    pub shops: u32,
    /// Position in the file.
    #[serde(skip)]
    pub index: usize,
    /// What shops that belong to no chain are called, with a space behind.
    #[serde(skip)]
    pub words: Vec<Label>,
    /// Merchants that have many branches.
    #[serde(skip)]
    pub merchants: Choice<Company>,
}

/// How the prices of a category end; the order is that of the purchases' table of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pricing {
    /// By weight, or the sum of many things.
    Exact,
    /// ,90 and ,99.
    Shop,
    /// 50, 100, 200 at the pump.
    Pump,
    /// Fifty or ten centavos.
    Tenths,
    /// Whole reais.
    Whole,
}

/// A stock of the index.
#[derive(Debug, Deserialize)]
pub struct Stock {
    /// Ticker.
    pub ticker: &'static str,
    /// Company.
    pub company: &'static str,
    /// Sector.
    pub sector: &'static str,
    /// ISIN.
    pub isin: &'static str,
    weight: u64,
    /// Reference price in centavos.
    pub price: u64,
    /// Daily volatility in basis points.
    pub volatility: u32,
    /// Beta to the market in hundredths.
    pub beta: u32,
    /// What moves it beside market and sector: its issuer, or the one that it holds.
    pub factor: &'static str,
}

/// Everything that `data/` holds.
#[derive(Debug)]
pub struct Reference {
    /// Cities, in proportion to the population of state and city.
    pub cities: Choice<City>,
    /// The same, of places; the cities of a telephone area code are end to end.
    pub homes: Shares,
    /// Banks, by how often they are met.
    pub banks: Choice<Bank>,
    /// Companies by [`Business`].
    pub companies: [Choice<Company>; 8],
    /// Adults by sex and age: the bands of women, then those of men, as in [`ADULTS`].
    pub adults: Search,
    /// Given names by sex (F, M) and decade of birth; over all adults each comes as often as its
    /// weight says.
    pub given_names: [[Choice<GivenName>; DECADES]; 2],
    /// Surnames.
    pub surnames: Choice<Surname>,
    /// The same, of places.
    pub bearers: Shares,
    /// The same, end to end by weight.
    pub second_surnames: Search,
    /// Occupations.
    pub occupations: Vec<Occupation>,
    /// Choose an occupation by sex (F, M) and stage of life.
    pub work: [[Weighted; STAGES]; 2],
    /// Streets.
    pub streets: Choice<Street>,
    /// Places with a CEP of their own in a neighbourhood.
    pub street_places: u64,
    /// Neighbourhoods.
    pub neighborhoods: Choice<Name>,
    /// Merchant categories.
    pub categories: Choice<Category>,
    /// What shops that belong to no chain are called after: neighbourhoods and families.
    pub shop_names: Vec<Label>,
    /// When merchants sell, by [`Category::profile`]: weights by hour, on business days and on days off.
    pub hours: Vec<[[u64; 24]; 2]>,
    /// Stocks, in the catalogue's order.
    pub stocks: Choice<Stock>,
    /// What movements are for, by type and direction in the catalogue's order of symbols; empty where there are
    /// none.
    pub purposes: [[Choice<Purpose>; 2]; 4],
    /// Descriptions of movements that are known beforehand, in the order of their file.
    pub dues: Vec<Label>,
}

/// The reference data, read at first use.
pub fn reference() -> &'static Reference {
    static REFERENCE: LazyLock<Reference> = LazyLock::new(Reference::read);
    &REFERENCE
}
