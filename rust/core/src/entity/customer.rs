//! `customers`.

use super::Context;
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::brazil::data::{City, Occupation};
use crate::brazil::documents::{cpf, write_digits};
use crate::brazil::reference;
use crate::civil::from_days;
use crate::column::{Nullable, Texts, columns};
use crate::rng::{Domain, Half, Search, Word, normal_q16};

columns! {
    /// Columns of `customers`.
    CustomerColumns for "customers" {
        customer_id: Vec<[u8; 16]>,
        name: Texts,
        cpf: Texts,
        birth_date: Vec<i32>,
        email: Texts,
        phone: Texts,
        street: Texts,
        street_number: Texts,
        complement: Nullable<Texts>,
        neighborhood: Texts,
        city: Texts,
        state: Texts,
        postal_code: Texts,
        occupation: Texts,
        monthly_income: Vec<i64>,
        credit_score: Vec<i16>,
        segment: Vec<u8>,
        pep: Vec<bool>,
        created_at: Vec<i64>,
    }
}

/// CPF roots of eight digits, without the ten of one repeated digit: those pass the check digits and
/// are refused everywhere all the same.
pub const CPF_ROOTS: u64 = 9 * 11_111_110;
/// How long before the history the first customers joined.
const LONGEST_TENURE: i64 = 15 * 365 * DAY;
/// Adults by age in thousands (Census 2022, rounded): 18–19, then bands of five years from 20.
const ADULTS: [u64; 16] = [
    6_000, 15_300, 15_700, 15_900, 16_400, 16_000, 13_700, 12_700, 11_700, 10_000, 8_100, 6_100,
    3_900, 2_500, 1_300, 500,
];
/// Minimum wage in centavos.
const MINIMUM_WAGE: u64 = 151_800;
const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// A customer: what products and events depend on.
#[derive(Debug)]
pub struct Customer {
    /// Row in the table.
    pub row: u64,
    /// Home.
    pub city: &'static City,
    /// Chooses the given name; like the other names it is looked up when it is asked for, which for
    /// most events it is not.
    given: Word,
    sex: Half,
    /// Choose the surnames; the first `surname_count` count.
    surnames: [Word; 3],
    surname_count: usize,
    birth: i32,
    occupation: &'static Occupation,
    /// Centavos a month.
    pub income: u64,
    /// 0 to 1000.
    pub score: i16,
    pep: bool,
    /// When they joined the bank.
    pub created_at: i64,
}

/// Lower-case ASCII letters of a name, for e-mail addresses and cards.
pub(super) fn fold(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.chars().filter_map(|c| {
        Some(match c {
            'á' | 'à' | 'â' | 'ã' | 'Á' | 'Â' | 'Ã' => b'a',
            'é' | 'ê' | 'É' | 'Ê' => b'e',
            'í' | 'Í' => b'i',
            'ó' | 'ô' | 'õ' | 'Ó' | 'Ô' | 'Õ' => b'o',
            'ú' | 'ü' | 'Ú' => b'u',
            'ç' | 'Ç' => b'c',
            c if c.is_ascii_alphabetic() => c.to_ascii_lowercase() as u8,
            _ => return None,
        })
    })
}

fn age_in_days(word: Word) -> i64 {
    use std::sync::LazyLock;
    static AGES: LazyLock<Search> = LazyLock::new(|| Search::new(ADULTS));
    let (band, into) = AGES.find(word.below(AGES.total()));
    let (first, years) = if band == 0 { (18, 2) } else { (15 + 5 * band as u64, 5) };
    // 1 461 days are four years.
    (first * 1_461 / 4 + into * (years * 1_461 / 4) / ADULTS[band]) as i64
}

/// A middle value of the income of an occupation: most earn near the low end, a few far above.
fn income(occupation: &Occupation, word: Word) -> u64 {
    let (place, tail) = word.halves();
    let range = occupation.income_high - occupation.income_low;
    let square = (u64::from(place.0) * u64::from(place.0)) >> 32;
    let income = occupation.income_low + ((range * square) >> 32);
    let factor = if tail.chance(120) { 2 + u64::from(tail.0 % 7) } else { 1 };
    (income * factor).max(MINIMUM_WAGE)
}

impl Customer {
    /// The customer of a row.
    pub fn new(context: &Context, row: u64) -> Self {
        let reference = reference();
        let [[place, given, last, middle], [another, shape, age, work], [money, credit, joined, _]] =
            context.rng.fours(Domain::Customer, row, 0);

        let (sex, surnames) = shape.halves();
        let start = context.plan.start();
        // Sixty days past eighteen, so that an adult can join and open accounts before the history.
        let birth = local_day(start) - (age_in_days(age) + 60) as i32;
        let occupation = reference.occupations.pick(work);
        let income = income(occupation, money);
        let (luck, exposed) = credit.halves();
        // 40 points for each doubling above the minimum wage, and 110 points of luck either way.
        let doublings = i64::from((income / MINIMUM_WAGE).ilog2());
        let score = 520 + 40 * doublings + i64::from(normal_q16(luck)) * 110 / 65_536;
        let earliest = (start - LONGEST_TENURE).max(instant(birth + 18 * 1_461 / 4 + 1, 0));
        let created_day =
            local_day(earliest) + joined.below(((start - earliest) / DAY - 4).max(1) as u64) as i32;
        Self {
            row,
            city: reference.cities.pick(place),
            given,
            sex,
            surnames: [last, middle, another],
            surname_count: match surnames.below(100) {
                0..12 => 1,
                12..85 => 2,
                _ => 3,
            },
            birth,
            occupation,
            income,
            score: score.clamp(0, 1000) as i16,
            pep: exposed.chance(30),
            created_at: instant(created_day, 9 * HOUR + (joined.0 & 0x1FF_FFFF) as i64),
        }
    }

    /// Given name, as usual for the time of birth.
    fn given_name(&self) -> &'static str {
        let era = match from_days(self.birth).0 {
            ..1965 => 0,
            1965..=1995 => 1,
            _ => 2,
        };
        // 51.5% of Brazilians are women (Census 2022).
        let of_sex = &reference().given_names[usize::from(!self.sex.chance(5_150))];
        of_sex[era].pick(self.given).label.text
    }

    /// Given name and surnames, in order, with spaces between.
    pub fn name_parts(&self) -> ([&'static str; 7], usize) {
        let given = self.given_name();
        let [last, middle, another] =
            self.surnames.map(|word| reference().surnames.pick(word).label.text);
        match self.surname_count {
            1 => ([given, " ", last, "", "", "", ""], 3),
            2 => ([given, " ", middle, " ", last, "", ""], 5),
            _ => ([given, " ", another, " ", middle, " ", last], 7),
        }
    }

    /// The last surname.
    pub fn last_surname(&self) -> &'static str {
        reference().surnames.pick(self.surnames[0]).label.text
    }

    /// CPF; its ninth digit is the region of the home state.
    pub fn cpf(&self, context: &Context) -> [u8; 11] {
        let place = context.cpf_roots.apply(self.row);
        let root = place / 11_111_110 * 11_111_111 + place % 11_111_110 + 1;
        cpf(root as u32 * 10 + self.city.cpf_region)
    }

    /// `+55`, DDD, 9 and eight digits.
    pub fn phone(&self, context: &Context) -> [u8; 14] {
        let mut phone = *b"+55DD900000000";
        phone[3..5].copy_from_slice(&self.city.ddd);
        write_digits(&mut phone[6..], context.phones.apply(self.row));
        phone
    }

    /// Name, row and a reserved domain.
    pub fn email(&self) -> String {
        let mut local: Vec<u8> = fold(self.given_name()).collect();
        local.push(b'.');
        local.extend(fold(self.last_surname()));
        let local = String::from_utf8(local).expect("ASCII letters");
        format!("{local}{}@{}", self.row + 1, DOMAINS[(self.row % 3) as usize])
    }

    /// Position in the list of segments, by income.
    pub const fn segment(&self) -> u8 {
        match self.income {
            0..1_000_000 => 0,
            1_000_000..3_000_000 => 1,
            _ => 2,
        }
    }
}

/// An address in a city.
pub(super) struct Address {
    pub street: &'static str,
    pub number: u64,
    pub neighborhood: &'static str,
    pub postal_code: [u8; 8],
    pub complement: Option<String>,
}

impl Address {
    pub(super) fn new(city: &City, draws: [Word; 4]) -> Self {
        let reference = reference();
        let [street, neighborhood, cep, rest] = draws;
        let (number, complement) = rest.halves();
        let mut postal_code = *b"00000000";
        let cep = u64::from(city.cep_first) + cep.below(u64::from(city.cep_count));
        write_digits(&mut postal_code, cep);
        // Low house numbers are commoner: the square of a uniform draw.
        let square = (u64::from(number.0) * u64::from(number.0)) >> 32;
        Self {
            street: reference.streets.pick(street).label.text,
            number: 1 + ((square * 2_999) >> 32),
            neighborhood: reference.neighborhoods.pick(neighborhood).label.text,
            postal_code,
            complement: match complement.below(100) {
                0..28 => Some(format!("Apto {}", 1 + complement.0 % 220)),
                28..34 => Some(format!("Casa {}", 1 + complement.0 % 9)),
                34..38 => {
                    let block = char::from(b'A' + (complement.0 % 6) as u8);
                    Some(format!("Bloco {block} Apto {}", 11 + complement.0 % 140))
                }
                _ => None,
            },
        }
    }
}

impl CustomerColumns {
    /// Adds a customer.
    pub fn push(&mut self, context: &Context, customer: &Customer) {
        let (name, parts) = customer.name_parts();
        let address =
            Address::new(customer.city, context.rng.four(Domain::Customer, customer.row, 1, 0));
        self.customer_id.push(context.id(Domain::Customer, customer.row));
        self.name.push_parts(&name[..parts]);
        self.cpf.push_ascii(&customer.cpf(context));
        self.birth_date.push(customer.birth);
        self.email.push(&customer.email());
        self.phone.push_ascii(&customer.phone(context));
        self.street.push(address.street);
        self.street_number.push(&address.number.to_string());
        self.complement.push(address.complement.as_deref());
        self.neighborhood.push(address.neighborhood);
        self.city.push(customer.city.name.text);
        self.state.push_ascii(&customer.city.state);
        self.postal_code.push_ascii(&address.postal_code);
        self.occupation.push(customer.occupation.name);
        self.monthly_income.push(customer.income as i64);
        self.credit_score.push(customer.score);
        self.segment.push(customer.segment());
        self.pep.push(customer.pep);
        self.created_at.push(customer.created_at);
    }
}
