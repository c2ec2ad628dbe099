//! Where purchases are made: a merchant is a function of its category, its city and its number there.

use super::agenda::city;
use super::facts::Facts;
use crate::brazil::calendar::local_day;
use crate::brazil::data::{Category, City, Label, merchant_root};
use crate::brazil::documents::{cnpj, cnpj_of};
use crate::brazil::reference;
use crate::civil::to_days;
use crate::event::History;
use crate::id::mix;
use crate::rng::{Domain, Half, Word};

/// The city of those that sell everywhere.
const EVERYWHERE: u64 = 0xFFFF;
/// Bit of the number of a branch of a chain; below it are the chain and the branch.
const OF_CHAIN: u32 = 1 << 31;
const BRANCH_BITS: u32 = 8;
/// Branches of a chain in a city at the most, numbered in its CNPJ from 2 on, city by city.
const BRANCHES: u32 = 20;
/// Shops of a category in a city that belong to no chain, at the most.
const SHOPS: u64 = 512;
/// Roots of shops that belong to no chain come after those of the chains.
const FIRST_SHOP: u64 = 1_000;
/// From when on the CNPJ of a new firm may have letters.
const LETTERS_SINCE: i32 = to_days(2026, 7, 1);
/// Of 1 000 shops, those that a new firm with such a CNPJ takes over in 30 days ≈, and at the most.
const TAKEN_OVER: u64 = 10;
const MOST_TAKEN_OVER: u64 = 600;

/// A merchant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merchant {
    pub city: &'static City,
    /// The name, and what is behind it.
    pub name: [&'static Label; 2],
    pub document: [u8; 14],
    /// Where its id comes from.
    row: u64,
    number: u32,
}

/// Who a merchant is, as its purchases say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerchantFacts {
    /// Name.
    pub name: String,
    /// CNPJ.
    pub document: [u8; 14],
    /// Category code.
    pub mcc: [u8; 4],
    /// What the code stands for.
    pub category: &'static str,
    /// City.
    pub city: &'static str,
    /// Its state.
    pub state: [u8; 2],
}

/// The merchant of an id, by where it comes from.
pub fn merchant(history: &History, row: u64, number: u32) -> Option<MerchantFacts> {
    let (category, found) = Merchant::of(history, row, number)?;
    Some(MerchantFacts {
        name: found.name.map(|label| label.text).concat(),
        document: found.document,
        mcc: category.mcc,
        category: category.name.text,
        city: found.city.name.text,
        state: found.city.state,
    })
}

static NOTHING: Label = Label::new("");

impl Merchant {
    /// Its id.
    #[inline]
    pub(super) fn id(&self, history: &History) -> [u8; 16] {
        history.context.event_id(Domain::Merchant, self.row, self.number)
    }

    /// A branch of a chain.
    #[inline]
    fn branch(category: &'static Category, chain: usize, city: &'static City, branch: u32) -> Self {
        let company = &category.merchants.items[chain];
        Self {
            city,
            name: [&company.name, &NOTHING],
            document: cnpj(company.root(), 2 + city.index as u32 * BRANCHES + branch),
            row: (category.index as u64) << 16 | city.index as u64,
            number: OF_CHAIN | (chain as u32) << BRANCH_BITS | branch,
        }
    }

    /// The head office of a chain, which sells everywhere.
    pub(super) fn head_office(category: &'static Category, chain: usize) -> Self {
        let company = &category.merchants.items[chain];
        let place = mix((category.index as u64) << 16 | chain as u64, 1);
        Self {
            city: reference().cities.pick(Word(place)),
            name: [&company.name, &NOTHING],
            document: company.cnpj,
            row: (category.index as u64) << 16 | EVERYWHERE,
            number: OF_CHAIN | (chain as u32) << BRANCH_BITS,
        }
    }

    /// The CNPJ of a shop whose firm was opened some days after the first that may have letters: of those of the
    /// history's beginning, as a firm stays through it.
    fn document_of(root: u64, days: i32) -> [u8; 14] {
        const BASE_36: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let lot = mix(root, 4);
        let digits = merchant_root(root as u32);
        let of_1000 = (days.max(0) as u64 * TAKEN_OVER / 30).min(MOST_TAKEN_OVER);
        if lot % 1_000 >= of_1000 {
            return cnpj(digits, 1);
        }
        // A letter first, so that it is no other's; then what it was before, in fewer characters.
        let mut base = *b"A00000000001";
        base[0] += (lot >> 32) as u8 % 26;
        base[1] = BASE_36[(lot >> 40) as usize % 36];
        let mut rest = digits;
        for character in base[2..8].iter_mut().rev() {
            *character = BASE_36[rest as usize % 36];
            rest /= 36;
        }
        cnpj_of(&base)
    }

    /// A shop that belongs to no chain, by its number in the city.
    #[inline]
    fn shop(
        history: &History,
        category: &'static Category,
        city: &'static City,
        number: u64,
    ) -> Self {
        let families = &reference().shop_names;
        let since = local_day(history.context.plan.start()) - LETTERS_SINCE;
        let row = (category.index as u64) << 16 | city.index as u64;
        let place = (number + mix(row, 2) % SHOPS) as usize;
        let root =
            FIRST_SHOP + ((category.index as u64) << 10 | city.index as u64) * SHOPS + number;
        Self {
            city,
            name: [
                &category.words[place / families.len() % category.words.len()],
                &families[place % families.len()],
            ],
            document: Self::document_of(root, since),
            row,
            number: number as u32,
        }
    }

    /// The merchant of an id, by where it comes from; none where nobody can buy.
    fn of(history: &History, row: u64, number: u32) -> Option<(&'static Category, Self)> {
        let reference = reference();
        let category = reference.categories.items.get((row >> 16) as usize)?;
        let city = reference.cities.items.get((row & 0xFFFF) as usize);
        let (chain, branch) =
            ((number & !OF_CHAIN) >> BRANCH_BITS, number & ((1 << BRANCH_BITS) - 1));
        let is_chain = number & OF_CHAIN != 0;
        if is_chain && chain as usize >= category.merchants.items.len() {
            return None;
        }
        let found = match city {
            None if row & 0xFFFF == EVERYWHERE && is_chain && branch == 0 => {
                Self::head_office(category, chain as usize)
            }
            Some(city) if is_chain && branch < Self::branches(category, city) => {
                Self::branch(category, chain as usize, city, branch)
            }
            Some(city) if !is_chain && number < Self::shops(category, city) => {
                Self::shop(history, category, city, number.into())
            }
            _ => return None,
        };
        Some((category, found))
    }

    /// How many branches a chain has in a city.
    fn branches(category: &Category, city: &City) -> u32 {
        (city.branches as u32 * category.shops).div_ceil(8).min(BRANCHES)
    }

    /// How many shops of a category that belong to no chain a city has.
    fn shops(category: &Category, city: &City) -> u32 {
        let names = reference().shop_names.len() * category.words.len();
        (city.branches as u32 * category.shops).min(SHOPS as u32).min(names as u32)
    }

    /// One of the favourites of a card's holder in a city: the shops that are met often are the favourites of many.
    #[inline]
    pub(super) fn favourite(
        history: &History,
        facts: &Facts,
        category: &'static Category,
        at: u16,
        rank: usize,
    ) -> Self {
        let what = (category.index as u64) << 32 | u64::from(at) << 8 | rank as u64;
        let draw = facts.hash(history, what | 1 << 48);
        let (kind, place) = Word(draw).halves();
        let at = city(at);
        if kind.below(100) < category.chain_pct {
            let chain = category.merchants.pick_position(Word(mix(draw, 3)));
            let most = Self::branches(category, at);
            return Self::branch(category, chain, at, place.below(most));
        }
        let shops = Self::shops(category, at);
        // Half of all are met at a quarter of the shops.
        let square = (u64::from(place.0) * u64::from(place.0)) >> 32;
        Self::shop(history, category, at, u64::from(Half(square as u32).below(shops)))
    }

    /// One that sells from afar.
    #[inline]
    pub(super) fn from_afar(
        history: &History,
        facts: &Facts,
        category: &'static Category,
        rank: usize,
    ) -> Self {
        let what = (category.index as u64) << 32 | EVERYWHERE << 8 | rank as u64;
        let draw = facts.hash(history, what | 1 << 48);
        Self::head_office(category, category.merchants.pick_position(Word(draw)))
    }
}
