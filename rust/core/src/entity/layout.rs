//! Who has what: customers come in blocks of 20, and each block has its exact share of everything.
//!
//! A block has 14 cards, 7 loans of which 2 are for housing, and 6 or 7 INVESTIMENTOS and 3 or 4
//! POUPANCA accounts, so that 40 and 100 customers have exactly 32.5% and 17%. Which of the 20 is
//! drawn. Rows are numbered in the order of their customers, so a longer run only adds rows.

use std::ops::Range;

use crate::rng::{Domain, Half, Rng, Word};

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

/// Draws `count` (at most 8) of the bits of `from`.
fn choose(words: [Word; 4], count: u64, mut from: u32) -> u32 {
    let halves: [Half; 8] = std::array::from_fn(|i| {
        let (high, low) = words[i / 2].halves();
        if i % 2 == 0 { high } else { low }
    });
    let mut chosen = 0;
    for half in &halves[..count as usize] {
        let mut rest = from;
        for _ in 0..half.below(from.count_ones()) {
            rest &= rest - 1;
        }
        let bit = rest & rest.wrapping_neg();
        chosen |= bit;
        from ^= bit;
    }
    chosen
}

impl Block {
    /// The block with this number.
    pub fn new(rng: &Rng, index: u64) -> Self {
        const ALL: u32 = (1 << BLOCK) - 1;
        let draws = |k| rng.four(Domain::Layout, index, k, 0);
        let (investments, savings) = extra_accounts(index);
        let (next_investments, next_savings) = extra_accounts(index + 1);
        let loans = choose(draws(3), LOANS, ALL);
        Self {
            index,
            holders: [
                choose(draws(0), next_savings - savings, ALL),
                choose(draws(1), next_investments - investments, ALL),
                // Fewer draws for the 6 without a card than for the 14 with one.
                ALL ^ choose(draws(2), BLOCK - CARDS, ALL),
                loans,
                choose(draws(4), PROPERTIES, loans),
            ],
        }
    }

    /// The block of a customer.
    pub fn of(rng: &Rng, customer: u64) -> Self {
        Self::new(rng, customer / BLOCK)
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
pub fn customer_of_account(rng: &Rng, row: u64) -> u64 {
    let accounts_before = |index| index * BLOCK + extra_accounts(index).0 + extra_accounts(index).1;
    // 299 accounts for 10 blocks, give or take one by rounding.
    let mut index = row * 10 / 299 + 1;
    while accounts_before(index) > row {
        index -= 1;
    }
    let block = Block::new(rng, index);
    let later = block.customers().find(|&customer| block.first_account(customer) > row);
    later.unwrap_or(block.customers().end) - 1
}

/// The customer to whom row `row` of the table of a product other than an account belongs.
pub fn customer_of(rng: &Rng, product: Product, row: u64) -> u64 {
    let share = match product {
        Product::Card => CARDS,
        Product::Loan => LOANS,
        Product::Property => PROPERTIES,
        Product::Savings | Product::Investments => panic!("accounts share one table"),
    };
    let block = Block::new(rng, row / share);
    block
        .customers()
        .find(|&customer| block.row_of(product, customer) == Some(row))
        .expect("every block has its share")
}
