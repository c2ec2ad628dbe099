//! `customers`.

use super::Context;
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::brazil::data::{ADULTS, City, Occupation, Payer, STAGES, Surname, band, decade, stage};
use crate::brazil::documents::{self, write_digits};
use crate::brazil::reference;
use crate::catalog::Segment;
use crate::civil::from_days;
use crate::column::{Nullable, Texts, columns};
use crate::rng::{Domain, Word, normal_q16};

columns! {
    /// Columns of `customers`.
    CustomerColumns for CUSTOMERS {
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
        segment: Vec<Segment>,
        pep: Vec<bool>,
        created_at: Vec<i64>,
        updated_at: Vec<i64>,
    }
}

/// CPF roots of eight digits, without the ten of one repeated digit: those pass the check digits and
/// are refused everywhere all the same.
pub const CPF_ROOTS: u64 = 9 * 11_111_110;
/// How long before the history the first customers joined.
pub(crate) const LONGEST_TENURE: i64 = 15 * 365 * DAY;
/// Minimum wage of 2026 in centavos.
pub(super) const MINIMUM_WAGE: u64 = 162_100;
/// Percentage of the range of its income that an occupation opens by stage of life.
const CAREER: [u64; STAGES] = [50, 60, 80, 95, 100, 100, 100];
const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// A customer: what products and events depend on.
#[derive(Debug)]
pub struct Customer {
    /// Row in the table.
    pub row: u64,
    /// Home.
    pub city: &'static City,
    /// Choose the given names; like the surnames they are looked up when they are asked for, which for
    /// most events they are not.
    given: [Word; 2],
    /// 0 for a woman, 1 for a man.
    sex: usize,
    /// Choose the surnames, from the last to the first; the first `surname_count` count.
    surnames: [Word; 3],
    surname_count: usize,
    /// Day of birth.
    pub(super) birth: i32,
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

/// Sex and age in days.
fn sex_and_age(word: Word) -> (usize, i32) {
    let adults = &reference().adults;
    let (interval, into) = adults.find(word.below(adults.total()));
    let (sex, index) = (interval / ADULTS[0].len(), interval % ADULTS[0].len());
    let (first, years) = band(index);
    // 1 461 days are four years.
    (sex, (first * 1_461 / 4 + into * (years * 1_461 / 4) / ADULTS[sex][index]) as i32)
}

/// An income in the range of an occupation: most earn near its low end, the young more so; 4% of those
/// who could earn R$ 15 000 earn a multiple.
fn income(occupation: &Occupation, stage: usize, word: Word) -> u64 {
    let (place, tail) = word.halves();
    let range = (occupation.income_high - occupation.income_low) * CAREER[stage] / 100;
    let square = (u64::from(place.0) * u64::from(place.0)) >> 32;
    let income = occupation.income_low + ((range * square) >> 32);
    let multiple = occupation.income_high >= 1_500_000 && tail.chance(400);
    income * if multiple { 2 + u64::from(tail.0 % 7) } else { 1 }
}

/// The binary logarithm of a positive number times 2^16, by straight lines between powers of two.
pub(crate) const fn log2_q16(n: u64) -> i64 {
    let whole = n.ilog2();
    ((whole as i64 - 1) << 16) + ((n << 16) >> whole) as i64
}

impl Customer {
    /// The customer of a row.
    pub fn new(context: &Context, row: u64) -> Self {
        let reference = reference();
        let [
            [place, given, last, middle],
            [another, shape, who, work],
            [money, credit, joined, second],
        ] = context.rng.fours(Domain::Customer, row, 0);

        let start = context.plan.start();
        let (sex, age) = sex_and_age(who);
        // Sixty days past eighteen, so that an adult can join and open accounts before the history.
        let age = age + 60;
        let birth = local_day(start) - age;
        let years = age * 4 / 1_461;
        let stage = stage(years as u32);
        let occupation = &reference.occupations[reference.work[sex][stage].pick(work)];
        let income = income(occupation, stage, money);
        let (luck, exposed) = credit.halves();
        // 54 points for each doubling of the minimum wage, 3 for two years of age up to 60, and 105
        // points of luck either way.
        let doublings = log2_q16(income) - const { log2_q16(MINIMUM_WAGE) };
        let score = 470
            + 54 * doublings / 65_536
            + i64::from(years.min(60) - 18) * 3 / 2
            + i64::from(normal_q16(luck)) * 105 / 65_536;
        let earliest = (start - LONGEST_TENURE).max(instant(birth + 18 * 1_461 / 4 + 1, 0));
        let created_day =
            local_day(earliest) + joined.below(((start - earliest) / DAY - 4).max(1) as u64) as i32;
        Self {
            row,
            city: reference.cities.pick(place),
            given: [given, second],
            sex,
            surnames: [last, middle, another],
            surname_count: match shape.below(100) {
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

    /// Given name and second name, as usual for the time of birth; the second may be empty.
    fn given_names(&self) -> (&'static str, &'static str) {
        let names = &reference().given_names[self.sex][decade(from_days(self.birth).0)];
        let given = names.pick(self.given[0]);
        (given.label.text, given.seconds.pick(self.given[1]).0)
    }

    fn surname(&self, place: usize) -> (&'static str, &'static Surname) {
        let word = self.surnames[place];
        let surname = reference().surnames.pick(word);
        // The low bits hardly chose the surname.
        let particle = word.0 % 100 < surname.particle_pct;
        (if particle { surname.particle.text } else { " " }, surname)
    }

    /// The pieces of the name: two given names, then surnames with what stands before them.
    pub fn name(&self) -> [&'static str; 9] {
        let (given, second) = self.given_names();
        let space = if second.is_empty() { "" } else { " " };
        let mut name = [given, space, second, "", "", "", "", "", ""];
        for place in 0..self.surname_count {
            let (particle, surname) = self.surname(place);
            // A name does not have the same surname twice.
            if !name[3..].contains(&surname.label.text) {
                name[7 - 2 * place] = particle;
                name[8 - 2 * place] = surname.label.text;
            }
        }
        name
    }

    /// The last surname.
    fn last_surname(&self) -> &'static str {
        self.surname(0).1.label.text
    }

    /// Who pays the income.
    pub(super) const fn payer(&self) -> Payer {
        self.occupation.payer
    }

    /// CPF; its ninth digit is the region of the home state.
    pub fn cpf(&self, context: &Context) -> [u8; 11] {
        cpf(context, self.row, self.city)
    }

    /// `+55`, DDD, 9 and eight digits.
    pub fn phone(&self, context: &Context) -> [u8; 14] {
        phone(context, self.row, self.city)
    }

    /// Name, row and a reserved domain.
    pub fn email(&self) -> String {
        let mut local: Vec<u8> = fold(self.given_names().0).collect();
        local.push(b'.');
        local.extend(fold(self.last_surname()));
        let local = String::from_utf8(local).expect("ASCII letters");
        format!("{local}{}@{}", self.row + 1, DOMAINS[(self.row % 3) as usize])
    }

    /// EXCLUSIVO from R$ 8 000 a month, PRIVATE from R$ 30 000.
    pub const fn segment(&self) -> Segment {
        match self.income {
            0..800_000 => Segment::Varejo,
            800_000..3_000_000 => Segment::Exclusivo,
            _ => Segment::Private,
        }
    }
}

/// The CPF of the customer of a row; found without the other fields.
pub(crate) fn cpf(context: &Context, row: u64, city: &City) -> [u8; 11] {
    let place = context.cpf_roots.apply(row);
    let root = place / 11_111_110 * 11_111_111 + place % 11_111_110 + 1;
    documents::cpf(root as u32 * 10 + city.cpf_region)
}

/// The phone of the customer of a row; found without the other fields.
pub(super) fn phone(context: &Context, row: u64, city: &City) -> [u8; 14] {
    let mut phone = *b"+55DD900000000";
    phone[3..5].copy_from_slice(&city.ddd);
    write_digits(&mut phone[6..], context.phones.apply(row));
    phone
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
        let address =
            Address::new(customer.city, context.rng.four(Domain::Customer, customer.row, 1, 0));
        self.customer_id.push(context.id(Domain::Customer, customer.row));
        self.name.push_parts(&customer.name());
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
        self.updated_at.push(customer.created_at);
    }
}
