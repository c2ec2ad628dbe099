//! Names, places, banks, companies and merchants, read once from the CSV files of `data/`.

use std::sync::LazyLock;

use super::documents::cnpj;
use crate::rng::{Search, Weighted, Word, fit};

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

/// A text that is copied into many rows: as long as a few registers, so that no copy has to ask for
/// its length first.
#[derive(Debug, Clone, Copy)]
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

/// A text with a weight.
#[derive(Debug)]
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
#[derive(Debug)]
pub struct Surname {
    /// The text.
    pub label: Label,
    /// What may stand before it, with a space on either side: " da ".
    pub particle: Label,
    /// Percentage of the names that have the particle.
    pub particle_pct: u64,
    weight: u64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// Nobody who could.
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
    /// Price of a square metre in centavos, by state.
    pub square_metre: u64,
    /// Branches of the bank: one, and one more for every 100 000 people, up to 20.
    pub branches: u64,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Who is on the other side of a movement, as its description sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Party {
    /// Another person.
    Person = 0,
    /// A company or merchant.
    Firm = 1,
    /// The same holder, with an account elsewhere.
    Own = 2,
    /// Nobody: cash.
    Nobody = 3,
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
    /// By sex (F, M) and stage of life.
    weights: [[u64; STAGES]; 2],
}

/// A merchant category with its merchants.
#[derive(Debug)]
pub struct Category {
    /// Four digits.
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
    pub far: bool,
    /// Merchants.
    pub merchants: Choice<Company>,
}

/// A stock of the index.
#[derive(Debug)]
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
}

/// Everything that `data/` holds.
#[derive(Debug)]
pub struct Reference {
    /// Cities, in proportion to the population of state and city.
    pub cities: Choice<City>,
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
    /// Occupations.
    pub occupations: Vec<Occupation>,
    /// Choose an occupation by sex (F, M) and stage of life.
    pub work: [[Weighted; STAGES]; 2],
    /// Streets.
    pub streets: Choice<Name>,
    /// Neighbourhoods.
    pub neighborhoods: Choice<Name>,
    /// Merchant categories.
    pub categories: Choice<Category>,
    /// When merchants sell, by [`Category::profile`]: weights by hour, on business days and on days off.
    pub hours: Vec<[[u64; 24]; 2]>,
    /// Stocks, in the catalogue's order.
    pub stocks: Choice<Stock>,
    /// Descriptions by type and direction, in the catalogue's order of symbols, and by [`Party`].
    pub descriptions: [[[Vec<Label>; 4]; 2]; 4],
    /// Descriptions of what comes back every month, in the order of their file.
    pub bills: Vec<Label>,
}

/// The reference data, read at first use.
pub fn reference() -> &'static Reference {
    static REFERENCE: LazyLock<Reference> = LazyLock::new(Reference::read);
    &REFERENCE
}

/// The lines of a CSV file without quotes, split at commas; comments and the header are skipped.
fn lines(csv: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    csv.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| line.split(',').collect())
}

/// ASCII of a fixed length.
fn code<const N: usize>(text: &str) -> [u8; N] {
    text.as_bytes().try_into().expect("a code of its length in a data file")
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a number in a data file")
}

fn names(csv: &'static str) -> Choice<Name> {
    let names =
        lines(csv).map(|f| Name { label: Label::new(f[0]), weight: number(f[1]) }).collect();
    Choice::new(names, |name: &Name| name.weight)
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

/// The second names of a first one in a decade of birth, of all that are `listed`.
fn second_names(
    listed: &[Vec<&'static str>],
    first: &str,
    decade: usize,
) -> Choice<(&'static str, u64)> {
    let year = 2_000 - 10 * decade as i32;
    let mut seconds: Vec<(&str, u64)> = listed
        .iter()
        .filter(|f| f[0] == first && (number::<i32>(f[3])..=number(f[4])).contains(&year))
        .map(|f| (f[1], number(f[2])))
        .collect();
    let carried: u64 = seconds.iter().map(|(_, percent)| percent).sum();
    seconds.push(("", 100 - carried));
    Choice::new(seconds, |(_, percent)| *percent)
}

fn given_names(sex: usize) -> [Choice<GivenName>; DECADES] {
    let listed: Vec<_> = lines(include_str!("../../data/given_names.csv"))
        .filter(|f| f[1] == ["F", "M"][sex])
        .collect();
    let seconds: Vec<_> = lines(include_str!("../../data/second_names.csv")).collect();
    // A million to a thousand bearers, so that rounding down does not show.
    let weights: Vec<u64> = listed.iter().map(|f| number::<u64>(f[2]) * 1_000_000).collect();
    let mut bearers: Vec<Vec<u64>> = listed
        .iter()
        .map(|f| f[3..3 + DECADES].iter().map(|cell| number::<u64>(cell) * 1_000_000).collect())
        .collect();
    fit(&mut bearers, &weights, &adults_by_decade(sex));
    std::array::from_fn(|decade| {
        let names = listed.iter().zip(&bearers).map(|(f, bearers)| GivenName {
            label: Label::new(f[0]),
            seconds: second_names(&seconds, f[0], decade),
            weight: bearers[decade],
        });
        Choice::new(names.collect(), |name: &GivenName| name.weight)
    })
}

fn surnames() -> Choice<Surname> {
    let surnames = lines(include_str!("../../data/surnames.csv"))
        .map(|f| Surname {
            label: Label::new(f[0]),
            particle: match f[2] {
                "" => Label::new(" "),
                "da" => Label::new(" da "),
                "das" => Label::new(" das "),
                "de" => Label::new(" de "),
                "do" => Label::new(" do "),
                "dos" => Label::new(" dos "),
                other => panic!("a particle in a data file, not {other}"),
            },
            particle_pct: number(f[3]),
            weight: number(f[1]),
        })
        .collect();
    Choice::new(surnames, |surname: &Surname| surname.weight)
}

fn occupations() -> Vec<Occupation> {
    lines(include_str!("../../data/occupations.csv"))
        .map(|f| {
            let women: u64 = number(f[3]);
            Occupation {
                name: f[0],
                income_low: number(f[1]),
                income_high: number(f[2]),
                payer: match f[4] {
                    "none" => Payer::Nobody,
                    "private" => Payer::Private,
                    "public" => Payer::Public,
                    "inss" => Payer::Inss,
                    other => panic!("a payer in a data file, not {other}"),
                },
                weights: [women, 100 - women].map(|percent| {
                    std::array::from_fn(|stage| number::<u64>(f[5 + stage]) * percent)
                }),
            }
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

fn cities() -> Choice<City> {
    let states: Vec<_> = lines(include_str!("../../data/states.csv")).collect();
    let cities: Vec<_> = lines(include_str!("../../data/cities.csv")).collect();
    let listed = |state: &str| -> u64 {
        cities.iter().filter(|f| f[1] == state).map(|f| number::<u64>(f[3])).sum()
    };
    // The share of a state is the state's own, split among its listed cities by population.
    let weights: Vec<u64> = cities
        .iter()
        .map(|f| {
            let state = states.iter().find(|s| s[0] == f[1]).expect("a state of states.csv");
            number::<u64>(state[1]) * number::<u64>(f[3]) * 1_000_000 / listed(f[1])
        })
        .collect();
    let items = cities
        .iter()
        .enumerate()
        .map(|(index, f)| {
            let state = states.iter().find(|s| s[0] == f[1]).expect("a state of states.csv");
            let (first, last): (u32, u32) = (number(f[4]), number(f[5]));
            City {
                name: Label::new(f[0]),
                state: code(f[1]),
                cpf_region: number(state[2]),
                ddd: code(f[2]),
                cep_first: first * 1000,
                cep_count: (last - first + 1) * 1000,
                index,
                square_metre: square_metre(f[1]),
                branches: (1 + number::<u64>(f[3]) / 100_000).min(20),
            }
        })
        .collect();
    Choice::new(items, |city: &City| weights[city.index])
}

fn categories() -> Choice<Category> {
    let merchants: Vec<_> = (0..).zip(lines(include_str!("../../data/merchants.csv"))).collect();
    let categories = lines(include_str!("../../data/mcc.csv"))
        .map(|f| {
            let shops = merchants
                .iter()
                .filter(|(_, m)| m[0] == f[0])
                .map(|(position, m)| Company {
                    name: Label::new(m[1]),
                    cnpj: cnpj(merchant_root(*position), 1),
                    weight: number(m[2]),
                })
                .collect();
            Category {
                mcc: code(f[0]),
                name: Label::new(f[1]),
                weight: number(f[2]),
                median: number(f[3]),
                sigma_pct: number(f[4]),
                min: number(f[5]),
                max: number(f[6]),
                max_installments: number(f[7]),
                ecommerce_pct: number(f[8]),
                profile: number(f[9]),
                recurring_pct: number(f[10]),
                far: f[11] == "1",
                merchants: Choice::new(shops, |shop: &Company| shop.weight),
            }
        })
        .collect();
    Choice::new(categories, |category: &Category| category.weight)
}

fn hours() -> Vec<[[u64; 24]; 2]> {
    lines(include_str!("../../data/hours.csv"))
        .map(|f| {
            [100, number(f[1])]
                .map(|percent| std::array::from_fn(|hour| number::<u64>(f[2 + hour]) * percent))
        })
        .collect()
}

/// The first eight digits of a merchant's CNPJ: spread over numbers below those of the companies, each
/// only once.
const fn merchant_root(position: u32) -> u32 {
    10_000_000 + (position as u64 * 7_654_321 % 56_000_000) as u32
}

fn companies(business: &str) -> Choice<Company> {
    let companies = lines(include_str!("../../data/companies.csv"))
        .filter(|f| f[3] == business)
        .map(|f| Company {
            name: Label::new(f[0]),
            cnpj: cnpj(number(f[1]), 1),
            weight: number(f[2]),
        })
        .collect();
    Choice::new(companies, |company: &Company| company.weight)
}

fn descriptions(wanted: [&str; 3]) -> Vec<Label> {
    lines(include_str!("../../data/descriptions.csv"))
        .filter(|f| f[..3] == wanted)
        .map(|f| Label::new(f[3]))
        .collect()
}

fn bills() -> Vec<Label> {
    lines(include_str!("../../data/descriptions.csv"))
        .filter(|f| f[2] == "BILL")
        .map(|f| Label::new(f[3]))
        .collect()
}

impl Reference {
    fn read() -> Self {
        let occupations = occupations();
        let banks = lines(include_str!("../../data/banks.csv"))
            .map(|f| Bank { ispb: code(f[1]), weight: number(f[3]) })
            .collect();
        let stocks = lines(include_str!("../../data/stocks.csv"))
            .map(|f| Stock {
                ticker: f[0],
                company: f[1],
                sector: f[2],
                isin: f[3],
                weight: number(f[4]),
                price: number(f[5]),
                volatility: number(f[6]),
            })
            .collect();
        Self {
            cities: cities(),
            banks: Choice::new(banks, |bank: &Bank| bank.weight),
            companies: [
                "firm",
                "realty",
                "energy",
                "water",
                "telecom",
                "school",
                "government",
                "inss",
            ]
            .map(companies),
            adults: Search::new(ADULTS.into_iter().flatten()),
            given_names: [given_names(0), given_names(1)],
            surnames: surnames(),
            work: std::array::from_fn(|sex| {
                std::array::from_fn(|stage| {
                    Weighted::new(occupations.iter().map(|o| o.weights[sex][stage]))
                })
            }),
            occupations,
            streets: names(include_str!("../../data/streets.csv")),
            neighborhoods: names(include_str!("../../data/neighborhoods.csv")),
            categories: categories(),
            hours: hours(),
            stocks: Choice::new(stocks, |s: &Stock| s.weight),
            descriptions: ["PIX", "TED", "DEPOSIT", "WITHDRAWAL"].map(|kind| {
                ["CREDIT", "DEBIT"].map(|direction| {
                    ["PERSON", "FIRM", "OWN", "NONE"]
                        .map(|party| descriptions([kind, direction, party]))
                })
            }),
            bills: bills(),
        }
    }
}
