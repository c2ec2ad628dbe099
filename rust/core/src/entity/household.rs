//! Households: customers near one another by row who live together.
//!
//! Every four rows are looked at together, so that a household needs no look-up and stays what it is when
//! the load grows. Sex and age of each are drawn alone, as the census counts them; a later row joins
//! an earlier one as its spouse or child where both fit, and takes its home and its surname.

use super::Context;
use crate::brazil::data::{ADULTS, band, stage};
use crate::brazil::reference;
use crate::catalog::MaritalStatus::{self, Divorced, Married, Single, StableUnion, Widowed};
use crate::rng::{Domain, Half, Word};

/// Rows among which there are households.
pub(super) const NEIGHBOURS: usize = 4;
/// Customers of a household at the most.
pub(super) const LARGEST: u64 = 3;

/// How somebody came into a household.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// It is theirs.
    Head,
    /// As the spouse of the head.
    Spouse,
    /// As a grown child of the head.
    Child,
}

/// The rows of those who live with a customer, who is among them, and how each came there. They may be beyond the
/// customers of a plan.
pub fn members(context: &Context, row: u64) -> Vec<(u64, Tie)> {
    let all = Neighbours::of(context, row);
    let head = all.head_of(row as usize % NEIGHBOURS);
    let same = (0..NEIGHBOURS).filter(|&place| all.head_of(place) == head);
    same.map(|place| (all.first + place as u64, all.tie_of(place))).collect()
}

/// What is known of somebody before the household.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    /// 0 for a woman, 1 for a man.
    pub sex: usize,
    /// Days at the beginning of the history.
    pub age: i32,
    /// Chooses the occupation.
    pub work: Word,
    /// Chooses the income.
    pub money: Word,
    kin: Word,
}

/// Days of so many years.
const fn years(count: i32) -> i32 {
    count * 1_461 / 4
}

impl Person {
    /// Four numbers are drawn for everybody, and these come first.
    #[inline]
    fn new([who, work, money, kin]: [Word; 4]) -> Self {
        let adults = &reference().adults;
        let (interval, _) = adults.find(who.below(adults.total()));
        let (sex, index) = (interval / ADULTS[0].len(), interval % ADULTS[0].len());
        let (first, count) = band(index);
        // 1 461 days are four years. The high bits chose the band.
        let into = ((who.0 & 0xFFFF_FFFF) * (count * 1_461 / 4)) >> 32;
        // Sixty days past eighteen, so that an adult can join and open accounts before the history.
        let age = (first * 1_461 / 4 + into) as i32 + 60;
        Self { sex, age, work, money, kin }
    }

    /// Whole years.
    pub const fn years(&self) -> i32 {
        self.age * 4 / 1_461
    }

    /// How many of 1 024 such pairs are couples. A husband is two and a half years older on average ≈; 0.7% of
    /// the couples of the census of 2022 are of one sex.
    const fn couples(&self, other: &Self) -> u32 {
        let youngest = if self.age < other.age { self.age } else { other.age };
        let older = match (self.sex, other.sex) {
            (1, 0) => self.age - other.age,
            (0, 1) => other.age - self.age,
            _ if youngest >= years(20) && (self.age - other.age).abs() < years(8) => return 10,
            _ => return 0,
        };
        let off = (older - 913).abs();
        if youngest < years(20) || off >= years(11) {
            0
        } else if off < years(4) {
            970
        } else if off < years(7) {
            600
        } else {
            200
        }
    }

    /// How many of 1 024 such pairs are a parent with a child at home. Children leave as they grow older ≈.
    const fn parents(&self, child: &Self) -> u32 {
        let older = self.age - child.age;
        if older < years(17) || older > years(42) {
            return 0;
        }
        match child.years() {
            ..25 => 820,
            25..30 => 510,
            30..40 => 260,
            40..50 => 100,
            _ => 0,
        }
    }
}

/// Who lives with whom among [`NEIGHBOURS`] rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbours {
    /// The first row.
    pub first: u64,
    /// Sex, age and draws.
    pub people: [Person; NEIGHBOURS],
    ties: [Tie; NEIGHBOURS],
    /// Whose home it is.
    heads: [u8; NEIGHBOURS],
    /// How many came into the household before.
    places: [u8; NEIGHBOURS],
    spouses: [Option<u8>; NEIGHBOURS],
}

impl Neighbours {
    /// Those of a row.
    #[inline]
    pub fn of(context: &Context, row: u64) -> Self {
        let first = row / NEIGHBOURS as u64 * NEIGHBOURS as u64;
        let draws = context.rng.rows::<NEIGHBOURS>(Domain::Customer, first, 0);
        let mut all = Self {
            first,
            people: draws.map(Person::new),
            ties: [Tie::Head; NEIGHBOURS],
            heads: [0, 1, 2, 3],
            places: [0; NEIGHBOURS],
            spouses: [None; NEIGHBOURS],
        };
        let mut joined = [0_u8; NEIGHBOURS];
        for place in 1..NEIGHBOURS {
            for (head, joined) in joined.iter_mut().enumerate().take(place) {
                if all.ties[head] == Tie::Head
                    && *joined + 1 < LARGEST as u8
                    && let Some(tie) = all.tie(head, place, *joined)
                {
                    *joined += 1;
                    all.ties[place] = tie;
                    all.heads[place] = head as u8;
                    all.places[place] = *joined;
                    if tie == Tie::Spouse {
                        all.spouses[head] = Some(place as u8);
                        all.spouses[place] = Some(head as u8);
                    }
                    break;
                }
            }
        }
        all
    }

    /// How somebody joins a household, if they do.
    #[inline]
    fn tie(&self, head: usize, place: usize, joined: u8) -> Option<Tie> {
        let (of, one) = (&self.people[head], &self.people[place]);
        let chance = (one.kin.0 >> 32 >> (10 * head)) as u32 & 0x3FF;
        if joined == 0 && chance < of.couples(one) {
            return Some(Tie::Spouse);
        }
        let both = self.spouses[head].is_none_or(|spouse| {
            // One of two fathers or mothers may be a stepfather or stepmother, but none is a sibling.
            self.people[usize::from(spouse)].age - one.age >= years(16)
        });
        (both && chance < of.parents(one)).then_some(Tie::Child)
    }

    /// Whether a row is among them.
    pub const fn contain(&self, row: u64) -> bool {
        row / NEIGHBOURS as u64 * NEIGHBOURS as u64 == self.first
    }

    /// How somebody came into their household.
    pub const fn tie_of(&self, place: usize) -> Tie {
        self.ties[place]
    }

    /// The place of the head of somebody's household.
    pub const fn head_of(&self, place: usize) -> usize {
        self.heads[place] as usize
    }

    /// How many of a household came into it before somebody.
    pub fn before(&self, place: usize) -> u64 {
        self.places[place].into()
    }

    /// The row of somebody's mother, if she is a customer of the same household.
    pub fn mother_of(&self, place: usize) -> Option<u64> {
        let head = self.head_of(place);
        let parents = [Some(head as u8), self.spouses[head]];
        let mothers = parents.into_iter().flatten().filter(|one| {
            self.ties[place] == Tie::Child && self.people[usize::from(*one)].sex == 0
        });
        mothers.map(|one| self.first + u64::from(one)).next()
    }

    /// Marital status: that of a couple by the age of the younger one, that of others by sex and age.
    pub fn status_of(&self, place: usize) -> MaritalStatus {
        let own = &self.people[place];
        let Some(spouse) = self.spouses[place] else {
            let status = alone(own.sex, own.years(), own.kin.halves().1);
            let moved_out = matches!(status, Married | StableUnion);
            return if self.ties[place] == Tie::Child && moved_out { Single } else { status };
        };
        let unmarried = match own.years().min(self.people[usize::from(spouse)].years()) {
            ..30 => 72,
            30..40 => 55,
            40..50 => 40,
            50..60 => 30,
            _ => 20,
        };
        let drawn = self.people[place.min(usize::from(spouse))].kin.halves().1;
        if drawn.below(100) < unmarried { StableUnion } else { Married }
    }
}

/// Single, married, divorced and widowed people of 100 by sex and stage of life, of those whose spouse is not of the
/// same household here; the others live in a union. With the couples, about as many live together as the
/// census of 2022 finds (51.3% from the age of 10 on, of whom 38.9% are not married); by age approximate.
const STATUSES: [[[u32; 4]; 7]; 2] = [
    [
        [88, 2, 0, 0],
        [75, 6, 0, 0],
        [48, 22, 3, 0],
        [27, 36, 9, 1],
        [20, 38, 15, 5],
        [16, 38, 16, 14],
        [10, 31, 12, 40],
    ],
    [
        [94, 1, 0, 0],
        [84, 4, 0, 0],
        [54, 20, 2, 0],
        [28, 37, 7, 0],
        [19, 43, 12, 1],
        [14, 48, 13, 4],
        [8, 58, 10, 12],
    ],
];

fn alone(sex: usize, years: i32, draw: Half) -> MaritalStatus {
    let mut place = draw.below(100);
    let parts = STATUSES[sex][stage(years as u32)];
    for (part, status) in parts.into_iter().zip([Single, Married, Divorced, Widowed]) {
        if place < part {
            return status;
        }
        place -= part;
    }
    StableUnion
}
