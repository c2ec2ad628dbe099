//! Who has what: customers come in blocks of 20, and each block has its exact share of everything.
//!
//! A block has 14 cards, 7 loans of which 2 are for housing, and 6 or 7 INVESTIMENTOS and 3 or 4
//! POUPANCA accounts, so that 40 and 100 customers have exactly 32.5% and 17%. Which of the 20 is a
//! draw in which income, age and sex count. Rows are numbered in the order of their customers, so a longer
//! run only adds rows.

use std::ops::Range;

use super::Context;
use super::customer::{MINIMUM_WAGE, Means, log2_q16};
use super::household::{NEIGHBOURS, Neighbours};
use super::skeleton;
use crate::brazil::data::Payer;
use crate::rng::{Domain, Half, normal_q16};

/// Customers in a block.
pub const BLOCK: u64 = 20;
const CARDS: u64 = 14;
const LOANS: u64 = 7;
const PROPERTIES: u64 = 2;

/// A product that some customers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// A POUPANCA account.
    Savings,
    /// An INVESTIMENTOS account.
    Investments,
    /// A credit card.
    Card,
    /// A loan.
    Loan,
    /// A property, with the HOUSING loan that it secures.
    Property,
}

/// Holdings of the customers of one block, as sets of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    index: u64,
    holders: [u32; 5],
}

/// Accounts of one customer: their rows, CORRENTE first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounts {
    /// Row of the CORRENTE account.
    pub checking: u64,
    /// Row of the POUPANCA account.
    pub savings: Option<u64>,
    /// Row of the INVESTIMENTOS account.
    pub investments: Option<u64>,
}

/// INVESTIMENTOS and POUPANCA accounts of the blocks before block `index`.
const fn extra_accounts(index: u64) -> (u64, u64) {
    (index * 13 / 2, index * 17 / 5)
}

/// Leanings towards the products of a block, times 2^16: the greatest have it.
type Leanings = [i32; BLOCK as usize];
/// Of who must not have it.
const NEVER: i32 = -(1 << 24);

/// The `count` with the greatest leanings, as a set of bits.
fn choose(leanings: &Leanings, count: u64) -> u32 {
    // No two are the same.
    let keys: Leanings = std::array::from_fn(|place| leanings[place] << 5 | place as i32);
    let mut chosen = 0;
    for (place, key) in keys.iter().enumerate() {
        let above: u32 = keys.iter().map(|other| u32::from(other > key)).sum();
        chosen |= u32::from(u64::from(above) < count) << place;
    }
    chosen
}

/// A part of a leaning in hundredths.
const fn hundredths(count: i32) -> i32 {
    count * 65_536 / 100
}

/// What counts besides chance.
#[derive(Debug, Clone, Copy)]
struct Client {
    /// Binary logarithm of the income in minimum wages, times 2^16.
    income: i32,
    years: i32,
    is_woman: bool,
    payer: Payer,
    dormant: bool,
}

impl Client {
    fn new(means: &Means, dormant: bool) -> Self {
        let income = log2_q16(means.income) - const { log2_q16(MINIMUM_WAGE) };
        Self {
            income: income as i32,
            years: means.years,
            is_woman: means.sex == 0,
            payer: means.payer,
            dormant,
        }
    }

    /// How much speaks for a product, times 2^16; chance adds a normal draw of one.
    ///
    /// Of the investors of the exchange, 26% are women and 7% are older than 60 (B3, 2025); the rest is
    /// approximate.
    #[inline]
    fn leaning(&self, product: Product) -> i32 {
        let of_income = |part: i32| self.income * part / 100;
        match product {
            Product::Savings => {
                of_income(22)
                    + hundredths(match self.years {
                        ..25 => -20,
                        25..45 => 0,
                        45..60 => 15,
                        _ => 35,
                    })
            }
            Product::Investments => {
                of_income(55)
                    + hundredths(if self.is_woman { -62 } else { 62 })
                    + hundredths(match self.years {
                        ..25 => 75,
                        25..40 => 64,
                        40..50 => 2,
                        50..60 => -38,
                        _ => -110,
                    })
            }
            Product::Card => {
                of_income(45)
                    + hundredths(match self.years {
                        ..22 => -45,
                        22..60 => 15,
                        60..75 => -5,
                        _ => -50,
                    })
            }
            Product::Loan | Product::Property if self.dormant => NEVER,
            Product::Loan => {
                of_income(30)
                    + hundredths(match self.payer {
                        Payer::Nobody => -25,
                        Payer::Private => 0,
                        Payer::Public | Payer::Inss => 10,
                    })
                    + hundredths(match self.years {
                        ..22 => -20,
                        22..30 => 50,
                        30..45 => 15,
                        45..60 => -5,
                        60..70 => -25,
                        _ => -75,
                    })
            }
            Product::Property => {
                // Few carry one with less than R$ 2 500, which is 0.6 of a doubling of the minimum wage.
                of_income(110) - if self.income < hundredths(62) { hundredths(150) } else { 0 }
                    + hundredths(match self.years {
                        ..24 => -250,
                        24..30 => 90,
                        30..36 => 50,
                        36..50 => 10,
                        50..60 => -30,
                        60..66 => -120,
                        // Insurers ask that it end before the age of 80 years and six months.
                        _ => -400,
                    })
            }
        }
    }
}

impl Block {
    /// The block with this number.
    pub fn new(context: &Context, index: u64) -> Self {
        let clients = Self::clients(context, index * BLOCK);
        let leanings = |product: Product| -> Leanings {
            // Three fours for each product: two of their twelve draws are more than it takes.
            let k = product as u64;
            let fours = context.rng.fours_at(Domain::Layout, index, [(k, 0), (k, 1), (k, 2)]);
            let draws: [Half; 24] = std::array::from_fn(|i| {
                let (high, low) = fours[i / 8][i % 8 / 2].halves();
                if i % 2 == 0 { high } else { low }
            });
            std::array::from_fn(|place| clients[place].leaning(product) + normal_q16(draws[place]))
        };
        let (investments, savings) = extra_accounts(index);
        let (next_investments, next_savings) = extra_accounts(index + 1);
        // A home first, and what else there is to borrow among all the others.
        let homes = choose(&leanings(Product::Property), PROPERTIES);
        let mut borrowers = leanings(Product::Loan);
        for (place, leaning) in borrowers.iter_mut().enumerate() {
            *leaning = if homes >> place & 1 == 1 { NEVER - 1 } else { *leaning };
        }
        Self {
            index,
            holders: [
                choose(&leanings(Product::Savings), next_savings - savings),
                choose(&leanings(Product::Investments), next_investments - investments),
                choose(&leanings(Product::Card), CARDS),
                homes | choose(&borrowers, LOANS - PROPERTIES),
                homes,
            ],
        }
    }

    /// What counts of the customers of a block.
    fn clients(context: &Context, first: u64) -> [Client; BLOCK as usize] {
        let groups: [[Client; NEIGHBOURS]; BLOCK as usize / NEIGHBOURS] =
            std::array::from_fn(|group| {
                let first = first + (group * NEIGHBOURS) as u64;
                let neighbours = Neighbours::of(context, first);
                let asleep = skeleton::dormant::<NEIGHBOURS>(context.rng, first);
                std::array::from_fn(|place| {
                    Client::new(&Means::of(context, &neighbours, place), asleep[place])
                })
            });
        std::array::from_fn(|place| groups[place / NEIGHBOURS][place % NEIGHBOURS])
    }

    /// The block of a customer.
    pub fn of(context: &Context, customer: u64) -> Self {
        Self::new(context, customer / BLOCK)
    }

    /// Whether a customer of this block has the product.
    pub const fn has(&self, product: Product, customer: u64) -> bool {
        self.holders[product as usize] >> (customer % BLOCK) & 1 == 1
    }

    const fn holders_before(&self, product: Product, customer: u64) -> u64 {
        let below = (1 << (customer % BLOCK)) - 1;
        (self.holders[product as usize] & below).count_ones() as u64
    }

    /// How many of the product belong to the customers before this one of the block; for a holder,
    /// the row of theirs.
    pub const fn row(&self, product: Product, customer: u64) -> u64 {
        let (investments, savings) = extra_accounts(self.index);
        let before = match product {
            Product::Savings => savings,
            Product::Investments => investments,
            Product::Card => self.index * CARDS,
            Product::Loan => self.index * LOANS,
            Product::Property => self.index * PROPERTIES,
        };
        before + self.holders_before(product, customer)
    }

    /// The row of a customer's product, if they have it.
    pub fn row_of(&self, product: Product, customer: u64) -> Option<u64> {
        self.has(product, customer).then(|| self.row(product, customer))
    }

    /// The accounts of a customer of this block.
    pub fn accounts(&self, customer: u64) -> Accounts {
        let checking = customer
            + self.row(Product::Savings, customer)
            + self.row(Product::Investments, customer);
        let savings = self.has(Product::Savings, customer).then_some(checking + 1);
        let investments = self
            .has(Product::Investments, customer)
            .then_some(checking + 1 + u64::from(savings.is_some()));
        Accounts { checking, savings, investments }
    }

    /// The first row of `accounts` that belongs to this customer or a later one.
    pub fn first_account(&self, customer: u64) -> u64 {
        self.accounts(customer).checking
    }

    /// The customers of this block.
    pub const fn customers(&self) -> Range<u64> {
        self.index * BLOCK..(self.index + 1) * BLOCK
    }
}

/// The customer to whom row `row` of `accounts` belongs.
pub fn customer_of_account(context: &Context, row: u64) -> u64 {
    let accounts_before = |index| index * BLOCK + extra_accounts(index).0 + extra_accounts(index).1;
    // 299 accounts for 10 blocks, give or take one by rounding.
    let mut index = row * 10 / 299 + 1;
    while accounts_before(index) > row {
        index -= 1;
    }
    let block = Block::new(context, index);
    let later = block.customers().find(|&customer| block.first_account(customer) > row);
    later.unwrap_or(block.customers().end) - 1
}

/// The customer to whom row `row` of the table of a product other than an account belongs.
pub fn customer_of(context: &Context, product: Product, row: u64) -> u64 {
    let share = match product {
        Product::Card => CARDS,
        Product::Loan => LOANS,
        Product::Property => PROPERTIES,
        Product::Savings | Product::Investments => panic!("accounts share one table"),
    };
    let block = Block::new(context, row / share);
    block
        .customers()
        .find(|&customer| block.row_of(product, customer) == Some(row))
        .expect("every block has its share")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::customer::Customer;
    use crate::entity::skeleton::Skeleton;
    use crate::plan::{DEFAULT_AS_OF, Plan};

    #[test]
    fn who_sleeps_owes_nothing() {
        for seed in 0..4 {
            let plan = Plan::try_new(seed, 10_000, DEFAULT_AS_OF, 90).expect("a plan");
            let context = Context::new(plan);
            for index in 0..500 {
                let block = Block::new(&context, index);
                for customer in block.customers() {
                    if block.has(Product::Loan, customer) {
                        let holder = Customer::new(&context, customer);
                        assert!(!Skeleton::new(&context, &holder).dormant, "{customer}");
                    } else {
                        assert!(!block.has(Product::Property, customer), "{customer}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_greatest_leanings_are_chosen() {
        let leanings = std::array::from_fn(|place| [3, -5, 8, NEVER][place % 4]);
        // Of the same leaning, who comes last.
        assert_eq!(choose(&leanings, 2), 1 << 18 | 1 << 14);
        assert_eq!(choose(&leanings, 5), 0b0100_0100_0100_0100_0100);
        for count in 0..=BLOCK {
            assert_eq!(u64::from(choose(&leanings, count).count_ones()), count);
        }
    }
}
