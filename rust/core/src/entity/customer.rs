//! `customers`.

mod email;
mod found;

pub use found::{by_cpf, by_email, by_phone};

use super::Context;
use super::address::{Address, Home};
use super::household::{LARGEST, NEIGHBOURS, Neighbours, Tie};
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::brazil::data::{City, Occupation, Payer, STAGES, SURNAME_PLACES, decade, stage};
use crate::brazil::documents::{self, write_digits};
use crate::brazil::hours::{WAKING, time_between};
use crate::brazil::reference;
use crate::catalog::{MaritalStatus, Segment, Sex};
use crate::civil::from_days;
use crate::column::{Nullable, Texts, columns};
use crate::id::Permutation;
use crate::plan::Plan;
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
        sex: Vec<Sex>,
        marital_status: Vec<MaritalStatus>,
        mother_name: Texts,
        created_at: Vec<i64>,
        updated_at: Vec<i64>,
    }
}

/// CPF roots of eight digits, without the ten of one repeated digit: those pass the check digits and
/// are refused everywhere all the same.
pub const CPF_ROOTS: u64 = 9 * 11_111_110;
/// How long before the history the first customers joined.
pub(crate) const LONGEST_TENURE: i64 = 15 * 365 * DAY;
/// Of 10 000 customers, those who join in 30 days of the history, and in all of it at the most.
const JOINED_IN_30_DAYS: u32 = 100;
const MOST_JOINED: u32 = 5_000;
/// Days at the end of a history in which nobody joins, so that what they have begins within it.
const SETTLING: u32 = 10;
/// Of 10 000 households, those that move within their city in a year, and in a whole history at the most: two thirds
/// of the tenth of all households that move in a year ≈.
const MOVES_IN_A_YEAR: u32 = 650;
const MOST_MOVES: u32 = 5_000;
/// Minimum wage of 2026 in centavos, beside which incomes are looked at.
pub(super) const MINIMUM_WAGE: u64 = 162_100;
/// The most that social security pays in 2026, in centavos a month.
const BENEFIT_CEILING: u64 = 847_555;
/// Lowest pay of an occupation, in centavos a month, from which on nobody works in it without papers.
const PLAIN: u64 = 200_000;
/// Mobile numbers of an area code that begin with 6 to 9.
const NUMBERS: u64 = 40_000_000;
/// Lowest income of all.
const LEAST: u64 = 50_000;
/// Percentage of the range of its income that an occupation opens by stage of life.
const CAREER: [u64; STAGES] = [50, 60, 80, 95, 100, 100, 100];

/// What a customer earns, and who they are as far as products are for some more than for others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    /// 0 for a woman, 1 for a man.
    pub sex: usize,
    /// Days at the beginning of the history.
    pub age: i32,
    /// Whole years.
    pub years: i32,
    /// Centavos a month.
    pub income: u64,
    /// Who pays it, and could deduct an installment.
    pub payer: Payer,
    home: Home,
    occupation: &'static Occupation,
}

impl Means {
    /// Those of one of four neighbours.
    #[inline]
    pub fn of(context: &Context, neighbours: &Neighbours, place: usize) -> Self {
        let reference = reference();
        let person = &neighbours.people[place];
        let home = Home::of(context, neighbours.first + neighbours.head_of(place) as u64);
        let years = person.years();
        let stage = stage(years as u32);
        let occupation =
            &reference.occupations[reference.work[person.sex][stage].pick(person.work)];
        let least = context.minimum_wage;
        let (income, payer) = income(occupation, stage, home.city, person.money, least);
        Self { sex: person.sex, age: person.age, years, income, payer, home, occupation }
    }
}

/// Surnames as a name has them, the last first.
#[derive(Debug, Clone, Copy)]
struct Surnames {
    bearers: Permutation,
    /// Chooses what stands before the middle one, and whether it is in addresses.
    middle: Word,
    /// Chooses a third one.
    another: Word,
    count: usize,
    /// Row of the head of the household and whether the head is a woman, for who took the surname.
    taken: Option<(u64, Tie, bool)>,
}

/// A customer: what products and events depend on.
#[derive(Debug, Clone, Copy)]
pub struct Customer {
    /// Row in the table.
    pub row: u64,
    /// Home.
    pub city: &'static City,
    /// Row of the customer who has the home.
    head: u64,
    /// Chooses the digits of the phone.
    phone: u64,
    /// Row of the mother, if she is a customer and lives there.
    mother: Option<u64>,
    /// Choose the given names; like the surnames they are looked up when they are asked for, which for
    /// most events they are not.
    given: [Word; 2],
    sex: usize,
    marital_status: MaritalStatus,
    surnames: Surnames,
    /// Day of birth.
    pub(super) birth: i32,
    occupation: &'static Occupation,
    payer: Payer,
    /// Centavos a month.
    pub income: u64,
    /// 0 to 1000.
    pub score: i16,
    pep: bool,
    /// When they joined the bank.
    pub created_at: i64,
}

/// On which day of the history a customer joins, if they do so within it.
fn joined_within(plan: &Plan, lot: Word) -> Option<i32> {
    let (chance, day) = lot.halves();
    let days = plan.days();
    let of_10_000 = (days * JOINED_IN_30_DAYS / 30).min(MOST_JOINED);
    (days > 3 * SETTLING && chance.chance(of_10_000))
        .then(|| local_day(plan.start()) + 1 + day.below(days - SETTLING) as i32)
}

/// Lower-case ASCII letters of a name, for e-mail addresses and cards.
pub(super) fn fold(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.chars().filter_map(|c| {
        if c.is_ascii() {
            return c.is_ascii_alphabetic().then(|| c.to_ascii_lowercase() as u8);
        }
        Some(match c {
            'á' | 'à' | 'â' | 'ã' | 'Á' | 'Â' | 'Ã' => b'a',
            'é' | 'ê' | 'É' | 'Ê' => b'e',
            'í' | 'Í' => b'i',
            'ó' | 'ô' | 'õ' | 'Ó' | 'Ô' | 'Õ' => b'o',
            'ú' | 'ü' | 'Ú' => b'u',
            'ç' | 'Ç' => b'c',
            _ => return None,
        })
    })
}

/// An income in the range of an occupation: most earn near its low end, the young more so; 4% of those
/// who could earn R$ 15 000 earn a multiple. It goes with the income per head of the state; no employer
/// with papers and no benefit pays less than the minimum wage (Constitution, articles 7 and 201).
fn income(
    occupation: &Occupation,
    stage: usize,
    city: &City,
    word: Word,
    minimum_wage: u64,
) -> (u64, Payer) {
    let (place, tail) = word.halves();
    let range = (occupation.income_high - occupation.income_low) * CAREER[stage] / 100;
    let square = (u64::from(place.0) * u64::from(place.0)) >> 32;
    let income = occupation.income_low + ((range * square) >> 32);
    let multiple = occupation.income_high >= 1_500_000 && tail.chance(400);
    let income = income * if multiple { 2 + u64::from(tail.0 % 7) } else { 1 };
    if occupation.national {
        return (income, occupation.payer);
    }
    let income = ((income * city.income) >> 16).max(LEAST);
    match occupation.payer {
        // Bits that hardly chose anything else.
        Payer::Private
            if occupation.income_low < PLAIN
                && ((tail.0 >> 2 & 0xFFFF) * 10_000) >> 16 < city.informal =>
        {
            (income, Payer::Nobody)
        }
        Payer::Nobody => (income, Payer::Nobody),
        Payer::Inss => (income.clamp(minimum_wage, BENEFIT_CEILING), Payer::Inss),
        payer => (income.max(minimum_wage), payer),
    }
}

/// The binary logarithm of a positive number times 2^16, by straight lines between powers of two.
pub(crate) const fn log2_q16(n: u64) -> i64 {
    let whole = n.ilog2();
    ((whole as i64 - 1) << 16) + ((n << 16) >> whole) as i64
}

/// A surname with what stands before it.
#[derive(Debug, Clone, Copy)]
struct Bearer {
    /// Position among all surnames.
    position: usize,
    text: &'static str,
    particle: &'static str,
}

/// The surnames that a row was born with, and its numbers among all rows with the last, and with both.
///
/// Each [`SURNAME_PLACES`] rows are shuffled among as many places, of which every surname has its
/// share, so that surname and number tell the row; and the places of a surname are shared out among
/// the surnames before it in the same way, so that both and the other number tell it too.
#[derive(Debug, Clone, Copy)]
struct Family {
    last: Bearer,
    number: u64,
    middle: Bearer,
    number_of_both: u64,
}

impl Family {
    /// The first point of a surname's second surnames, whose first may be any.
    fn begin(turn: u64, position: usize) -> u64 {
        mixed(turn << 16 | position as u64) % reference().second_surnames.total()
    }

    /// How many rows of a turn may have a surname behind another, which has so many places, and where its weights
    /// begin.
    fn room(second: usize, size: u64) -> (u64, u64) {
        let seconds = &reference().second_surnames;
        let start = seconds.start(second);
        let weight = seconds.start(second + 1) - start;
        // Places of both are so many weights apart, and there is room for no more of them.
        ((weight * size - 1) / seconds.total() + 1, start)
    }

    /// That of a row; `draw` chooses what stands before the middle one.
    fn of(bearers: &Permutation, row: u64, draw: Word) -> Self {
        let (turn, row) = (row / SURNAME_PLACES, row % SURNAME_PLACES);
        let place = bearers.apply_of(row, turn);
        let share = reference().bearers.find(place);
        let into = place - share.start;
        let number = turn * share.size + into;
        let seconds = &reference().second_surnames;
        let all = seconds.total();
        // As if each place were as many as all weights together: the own ones begin anywhere among them.
        let begin = Self::begin(turn, share.position);
        let point = (into * all + begin * share.size) % (share.size * all);
        let (second, _) = seconds.find(point / share.size);
        let (room, start) = Self::room(second, share.size);
        Self {
            last: Bearer::new(share.position, mixed(number ^ place << 32)),
            number,
            middle: Bearer::new(second, draw.0 & 0xFFFF_FFFF),
            number_of_both: turn * room + (point - start * share.size) / all,
        }
    }
}

/// A number of 32 bits that looks drawn.
const fn mixed(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

impl Bearer {
    fn drawn(word: Word) -> Self {
        // The low bits hardly chose the surname.
        Self::new(reference().surnames.pick_position(word), word.0 & 0xFFFF_FFFF)
    }

    fn new(position: usize, draw: u64) -> Self {
        let surname = &reference().surnames.items[position];
        let particle = draw % 100 < surname.particle_pct;
        let particle = if particle { surname.particle.text } else { " " };
        Self { position, text: surname.label.text, particle }
    }
}

impl Surnames {
    fn family(&self, row: u64) -> Family {
        Family::of(&self.bearers, row, self.middle)
    }

    /// Whether the last surname and the one before are both those of birth, and an address has both.
    fn writes_both(&self, family: &Family) -> bool {
        self.taken.is_none()
            && self.count > 1
            && family.last.position != family.middle.position
            && self.middle.halves().0.below(10) < 6
    }

    /// All of them, the last first, and how many count.
    ///
    /// Who comes into a household takes the surname of its head, as its last one: a wife that of her husband, a child
    /// that of the father. A child whose mother is the head has hers before that of the father.
    fn list(&self, family: &Family) -> ([Bearer; 3], usize) {
        let Family { last: own, middle, .. } = *family;
        let Some((head, tie, is_mother)) = self.taken else {
            return ([own, middle, Bearer::drawn(self.another)], self.count);
        };
        let taken = self.family(head).last;
        let both = if tie == Tie::Child && is_mother { [own, taken] } else { [taken, own] };
        ([both[0], both[1], middle], self.count.max(2))
    }
}

/// The pieces of a name: two given names, then surnames with what stands before them.
pub type Pieces = [&'static str; 9];

fn pieces((given, second): (&'static str, &'static str), surnames: &[Bearer]) -> Pieces {
    let space = if second.is_empty() { "" } else { " " };
    let mut name = [given, space, second, "", "", "", "", "", ""];
    for (place, surname) in surnames.iter().enumerate() {
        // A name does not have the same surname twice.
        if !name[3..].contains(&surname.text) {
            name[7 - 2 * place] = surname.particle;
            name[8 - 2 * place] = surname.text;
        }
    }
    name
}

/// Given name and second name, as usual for the time of birth; the second may be empty.
fn given_names(sex: usize, year: i32, words: [Word; 2]) -> (&'static str, &'static str) {
    let given = reference().given_names[sex][decade(year)].pick(words[0]);
    (given.label.text, given.seconds.pick(words[1]).0)
}

impl Customer {
    /// The customer of a row.
    pub fn new(context: &Context, row: u64) -> Self {
        Self::among(context, &Neighbours::of(context, row), row)
    }

    /// The same, among its neighbours.
    pub(super) fn among(context: &Context, neighbours: &Neighbours, row: u64) -> Self {
        let place = row as usize % NEIGHBOURS;
        let [[given, second, shape, credit], [joined, middle, another, lot]] =
            context.rng.fours_at(Domain::Customer, row, [(0, 1), (0, 2)]);
        let Means { sex, age, years, income, payer, home, occupation } =
            Means::of(context, neighbours, place);
        let head = neighbours.head_of(place);
        let tie = neighbours.tie_of(place);

        let start = context.plan.start();
        let birth = local_day(start) - age;
        let (luck, exposed) = credit.halves();
        // 54 points for each doubling of the minimum wage, 3 for two years of age up to 60, and 105
        // points of luck either way.
        let doublings = log2_q16(income) - const { log2_q16(MINIMUM_WAGE) };
        let score = 470
            + 54 * doublings / 65_536
            + i64::from(years.min(60) - 18) * 3 / 2
            + i64::from(normal_q16(luck)) * 105 / 65_536;
        let earliest = (start - LONGEST_TENURE).max(instant(birth + 18 * 1_461 / 4 + 1, 0));
        let created_day = joined_within(&context.plan, lot).unwrap_or_else(|| {
            local_day(earliest) + joined.below(((start - earliest) / DAY - 4).max(1) as u64) as i32
        });
        Self {
            row,
            city: home.city,
            head: neighbours.first + head as u64,
            phone: home.rank * LARGEST + neighbours.before(place),
            mother: neighbours.mother_of(place),
            given: [given, second],
            sex,
            marital_status: neighbours.status_of(place),
            surnames: Surnames {
                bearers: context.bearers,
                middle,
                another,
                count: match shape.below(100) {
                    0..12 => 1,
                    12..85 => 2,
                    _ => 3,
                },
                taken: (tie != Tie::Head).then(|| {
                    (neighbours.first + head as u64, tie, neighbours.people[head].sex == 0)
                }),
            },
            birth,
            occupation,
            payer,
            income,
            score: score.clamp(0, 1000) as i16,
            pep: exposed.chance(30),
            created_at: instant(created_day, 9 * HOUR + (joined.0 & 0x1FF_FFFF) as i64),
        }
    }

    /// When the household moves to another home of its city within the history, if it does.
    pub fn moves_at(&self, context: &Context) -> Option<i64> {
        let plan = &context.plan;
        let [lot, time, ..] = context.rng.four(Domain::Customer, self.head, 3, 0);
        let (chance, day) = lot.halves();
        let of_10_000 = (plan.days() * MOVES_IN_A_YEAR / 365).min(MOST_MOVES);
        let day = local_day(plan.start()) + 1 + day.below(plan.days()) as i32;
        // The bank is told in the day.
        let at = instant(day, time_between(WAKING, time.halves().0));
        (chance.chance(of_10_000) && at < plan.as_of()).then_some(at)
    }

    fn birth_year(&self) -> i32 {
        from_days(self.birth).0
    }

    fn given_names(&self) -> (&'static str, &'static str) {
        given_names(self.sex, self.birth_year(), self.given)
    }

    /// The pieces of the name: two given names, then surnames with what stands before them.
    pub fn name(&self) -> Pieces {
        self.name_with(&self.family())
    }

    fn name_with(&self, family: &Family) -> Pieces {
        let (surnames, count) = self.surnames.list(family);
        pieces(self.given_names(), &surnames[..count])
    }

    /// The surnames of birth.
    fn family(&self) -> Family {
        self.surnames.family(self.row)
    }

    /// The name of the mother, whose surname the customer has too.
    fn mother(&self, context: &Context, family: &Family) -> Pieces {
        if let Some(row) = self.mother {
            return Self::new(context, row).name();
        }
        let [given, second, surname, shape] = context.rng.four(Domain::Customer, self.row, 2, 0);
        let (surnames, count) = self.surnames.list(family);
        // Her surname stands before that of the father; a single one is hers.
        let hers = surnames[1.min(count - 1)];
        let before = Bearer::drawn(surname);
        let names: &[Bearer] = match shape.below(100) {
            // With that of the father as a wife, or with one more of her own.
            0..35 if count > 1 => &[surnames[0], hers],
            0..80 => &[hers, before],
            _ => &[hers],
        };
        // Half of all mothers are from 22 to 31 years older ≈.
        let (one, another) = shape.halves();
        let older = 17 + (one.0 >> 8) % 13 + (another.0 >> 8) % 14;
        pieces(given_names(0, self.birth_year() - older as i32, [given, second]), names)
    }

    /// Who pays the income; nobody of those who work without papers.
    pub(super) const fn payer(&self) -> Payer {
        self.payer
    }

    /// CPF; its ninth digit is the region of the home state.
    pub fn cpf(&self, context: &Context) -> [u8; 11] {
        cpf(context, self.row, self.city)
    }

    /// `+55`, DDD, 9 and eight digits from 6 on, as those of mobile phones are (Anatel).
    ///
    /// The rank of the household among those of an area code and the place in the household tell the
    /// customer, and are shuffled. The area code of São Paulo has 40 million such numbers and a few
    /// more customers in the largest plan, who have numbers from 5 on, as there are in São Paulo.
    pub fn phone(&self, context: &Context) -> [u8; 14] {
        let mut phone = *b"+55DD900000000";
        let [tens, ones] = self.city.ddd;
        phone[3..5].copy_from_slice(&self.city.ddd);
        let area = u64::from(tens) << 8 | u64::from(ones);
        let number = match self.phone.checked_sub(NUMBERS) {
            None => 60_000_000 + context.phones.apply_of(self.phone, area),
            Some(more) => 50_000_000 + more,
        };
        write_digits(&mut phone[6..], number);
        phone
    }

    /// An address as people make it of their names.
    pub fn email(&self) -> String {
        self.email_with(&self.family())
    }

    fn email_with(&self, family: &Family) -> String {
        let given = self.given_names().0;
        if self.surnames.writes_both(family) {
            email::of_both(given, family)
        } else {
            email::of_last(given, family, self.birth_year())
        }
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

impl CustomerColumns {
    /// Adds a customer who lives in the first home, or has moved, since an instant.
    pub fn push(&mut self, context: &Context, customer: &Customer, (since, moved): (i64, bool)) {
        let home = context.rng.four(Domain::Customer, customer.head, 1, moved.into());
        let address = Address::new(customer.city, home);
        let family = customer.family();
        self.customer_id.push(context.id(Domain::Customer, customer.row));
        self.name.push_parts(&customer.name_with(&family));
        self.cpf.push_ascii(&customer.cpf(context));
        self.birth_date.push(customer.birth);
        self.email.push(&customer.email_with(&family));
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
        self.sex.push(if customer.sex == 0 { Sex::Female } else { Sex::Male });
        self.marital_status.push(customer.marital_status);
        self.mother_name.push_parts(&customer.mother(context, &family));
        self.created_at.push(customer.created_at);
        self.updated_at.push(since);
    }
}
