//! From an id, a document, a number or an address back to what has it; and one customer whole. All of it takes the time
//! of one customer's own rows, wherever in the plan they are.

use super::client::Client;
use super::makers::Maker;
use super::{Bank, EVER};
use crate::brazil::documents::{account_digit, cpf, luhn};
use crate::brazil::reference;
use crate::catalog::{
    ACCOUNTS, AccountPixKeyType, AccountType, CARD_TRANSACTIONS, CREDIT_CARDS, CUSTOMERS,
    INSTALLMENTS, LOANS, PROPERTIES, Relation, STOCKS, TRADES, TRANSACTIONS,
};
use crate::column::Batch;
use crate::entity::account::{self, pix_key_kind};
use crate::entity::customer::{by_cpf, by_email, by_phone};
use crate::entity::household::{Tie, members};
use crate::entity::layout::{Block, Product, customer_of, customer_of_account};
use crate::entity::{card, property};
use crate::error::Error;
use crate::event::card_transaction::{MerchantFacts, merchant};
use crate::event::transaction::partner_at;
use crate::id::Origin;
use crate::keys::uuids;
use crate::plan::MAX_CUSTOMERS;
use crate::rng::Domain;

/// What has an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: [u8; 16],
    /// Its table or stream; none of a merchant.
    pub relation: Option<&'static Relation>,
    /// Row of the customer that it belongs to; none of a stock or merchant.
    pub customer: Option<u64>,
    /// Row of the table; of an event that of its account, card or loan.
    pub row: u64,
    /// Which event of that account, card or loan.
    pub k: Option<u32>,
    /// Who the merchant is.
    pub merchant: Option<MerchantFacts>,
}

/// Why nothing has an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It has the form of nothing that could be looked for.
    Form,
    /// It is a number of this kind with other check digits than it would have.
    CheckDigits(&'static str),
    /// An end-to-end id, which tells a bank and a minute but no account.
    EndToEnd,
    /// Nothing of the plan's seed, with any number of customers, has it.
    Seed,
    /// It belongs to the customer of this row, and the plan has fewer.
    Beyond(u64),
    /// It is of an event of the customer of this row that the history does not have.
    Event(u64),
}

/// The digits of a text in which only the characters of `between` stand among them.
fn digits_of(text: &str, between: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
    let others = text.chars().filter(|c| !c.is_ascii_digit());
    (!digits.is_empty() && others.clone().all(|c| between.contains(c))).then_some(digits)
}

impl Bank {
    /// What has an id: of a row, an event or a merchant, or the random Pix key of an account.
    ///
    /// # Errors
    /// [`Lost`] where nothing of the plan has it.
    pub fn find(&self, id: [u8; 16]) -> Result<Found, Lost> {
        let history = &self.history;
        let context = &history.context;
        if let Some(stock) = history.stock_ids.iter().position(|one| *one == id) {
            return Ok(Self::stock(id, stock));
        }
        let Origin { domain, row, k } = context.ids.decode(id).ok_or(Lost::Seed)?;
        let of_table = |relation, product| {
            self.row_of(relation, domain, row, customer_of(context, product, row))
        };
        let event = |relation, customer| self.event(relation, id, (customer, row, k));
        match domain {
            Domain::Transaction => event(&TRANSACTIONS, customer_of_account(context, row)),
            Domain::Trade => event(&TRADES, customer_of_account(context, row)),
            Domain::CardTransaction => {
                event(&CARD_TRANSACTIONS, customer_of(context, Product::Card, row))
            }
            Domain::Installment => event(&INSTALLMENTS, customer_of(context, Product::Loan, row)),
            Domain::Merchant => {
                let merchant = Some(merchant(&self.history, row, k).ok_or(Lost::Seed)?);
                Ok(Found { id, relation: None, customer: None, row, k: None, merchant })
            }
            _ if k != 0 => Err(Lost::Seed),
            Domain::Customer => self.row_of(&CUSTOMERS, domain, row, row),
            Domain::Account => {
                self.row_of(&ACCOUNTS, domain, row, customer_of_account(context, row))
            }
            Domain::CreditCard => of_table(&CREDIT_CARDS, Product::Card),
            Domain::Loan => of_table(&LOANS, Product::Loan),
            Domain::Property => of_table(&PROPERTIES, Product::Property),
            Domain::PixKey if pix_key_kind(context, row) == Some(AccountPixKeyType::Evp) => {
                let account = Block::of(context, row).accounts(row).checking;
                self.row_of(&ACCOUNTS, Domain::Account, account, row)
            }
            _ => Err(Lost::Seed),
        }
    }

    /// The table or stream that an id is of, and the customer's row, by the form of the id alone: whether the history
    /// has such an event is not looked at. None for an id of another seed, and of reference rows.
    pub fn owner(&self, id: [u8; 16]) -> Option<(&'static Relation, u64)> {
        let context = &self.history.context;
        let Origin { domain, row, k } = context.ids.decode(id)?;
        let of_product = |product| customer_of(context, product, row);
        Some(match domain {
            Domain::Transaction => (&TRANSACTIONS, customer_of_account(context, row)),
            Domain::Trade => (&TRADES, customer_of_account(context, row)),
            Domain::CardTransaction => (&CARD_TRANSACTIONS, of_product(Product::Card)),
            Domain::Installment => (&INSTALLMENTS, of_product(Product::Loan)),
            _ if k != 0 => return None,
            Domain::Customer => (&CUSTOMERS, row),
            Domain::Account => (&ACCOUNTS, customer_of_account(context, row)),
            Domain::CreditCard => (&CREDIT_CARDS, of_product(Product::Card)),
            Domain::Loan => (&LOANS, of_product(Product::Loan)),
            Domain::Property => (&PROPERTIES, of_product(Product::Property)),
            _ => return None,
        })
    }

    /// What has a document, a number or an address: a CPF, an e-mail address, a telephone, the number of an account or a
    /// card, the registration of a property, or a ticker; with or without what usually stands between the digits.
    ///
    /// # Errors
    /// As `find`.
    pub fn find_text(&self, text: &str) -> Result<Found, Lost> {
        let context = &self.history.context;
        let text = text.trim();
        if text.contains('@') {
            let row = by_email(context, &text.to_ascii_lowercase()).ok_or(Lost::Seed)?;
            return self.row_of(&CUSTOMERS, Domain::Customer, row, row);
        }
        if let Some(stock) = reference().stocks.items.iter().position(|one| one.ticker == text) {
            return Ok(Self::stock(self.history.stock_ids[stock], stock));
        }
        let rest = text.strip_prefix('E').unwrap_or_default();
        if rest.len() == 31 && rest.bytes().all(|one| one.is_ascii_alphanumeric()) {
            return Err(Lost::EndToEnd);
        }
        if let Some(digits) = text.strip_prefix('+').and_then(|text| digits_of(text, " -()")) {
            let phone = [b"+", &digits[..]].concat().try_into().map_err(|_| Lost::Form)?;
            let row = by_phone(context, &phone).ok_or(Lost::Seed)?;
            return self.row_of(&CUSTOMERS, Domain::Customer, row, row);
        }
        // The check digit of an account may be a letter.
        let (main, letter) = match text.strip_suffix(['X', 'x']) {
            Some(main) => (main, &b"X"[..]),
            None => (text, &b""[..]),
        };
        let digits = digits_of(main, ".- ").ok_or(Lost::Form)?;
        let digits = [&digits, letter].concat();
        match digits.len() {
            7 if letter.is_empty() => {
                let number = digits.iter().fold(0, |all, one| all * 10 + u64::from(one - b'0'));
                let row = property::by_registration(context, number).ok_or(Lost::Seed)?;
                let owner = customer_of(context, Product::Property, row);
                self.row_of(&PROPERTIES, Domain::Property, row, owner)
            }
            10 => {
                let number = digits.try_into().expect("ten digits");
                let row = account::by_number(context, &number);
                if row.is_none() && account_digit(&number[..9]) != number[9] {
                    return Err(Lost::CheckDigits("account number"));
                }
                let row = row.ok_or(Lost::Seed)?;
                self.row_of(&ACCOUNTS, Domain::Account, row, customer_of_account(context, row))
            }
            11 if letter.is_empty() => {
                let number: [u8; 11] = digits.try_into().expect("eleven digits");
                let root = number[..9].iter().fold(0, |all, one| all * 10 + u32::from(one - b'0'));
                if cpf(root) != number {
                    return Err(Lost::CheckDigits("CPF"));
                }
                let row = by_cpf(context, &number).ok_or(Lost::Seed)?;
                self.row_of(&CUSTOMERS, Domain::Customer, row, row)
            }
            15 | 16 if letter.is_empty() => {
                let (last, others) = digits.split_last().expect("digits");
                if luhn(others) != *last {
                    return Err(Lost::CheckDigits("card number"));
                }
                let row = card::by_number(context, &digits).ok_or(Lost::Seed)?;
                let holder = customer_of(context, Product::Card, row);
                self.row_of(&CREDIT_CARDS, Domain::CreditCard, row, holder)
            }
            _ => Err(Lost::Form),
        }
    }

    fn stock(id: [u8; 16], row: usize) -> Found {
        let (relation, row) = (Some(&STOCKS), row as u64);
        Found { id, relation, customer: None, row, k: None, merchant: None }
    }

    fn check_owner(&self, customer: u64) -> Result<(), Lost> {
        match customer {
            _ if customer < self.plan().customers() => Ok(()),
            _ if customer < MAX_CUSTOMERS => Err(Lost::Beyond(customer)),
            _ => Err(Lost::Seed),
        }
    }

    fn row_of(
        &self,
        relation: &'static Relation,
        domain: Domain,
        row: u64,
        customer: u64,
    ) -> Result<Found, Lost> {
        self.check_owner(customer)?;
        let (id, customer) = (self.history.context.id(domain, row), Some(customer));
        Ok(Found { id, relation: Some(relation), customer, row, k: None, merchant: None })
    }

    fn event(
        &self,
        relation: &'static Relation,
        id: [u8; 16],
        (customer, row, k): (u64, u64, u32),
    ) -> Result<Found, Lost> {
        self.check_owner(customer)?;
        let events = self.of_customer(relation, customer).expect("a customer of the plan");
        if !uuids(&events.columns()[0]).contains(&id) {
            return Err(Lost::Event(customer));
        }
        let (relation, customer) = (Some(relation), Some(customer));
        Ok(Found { id, relation, customer, row, k: Some(k), merchant: None })
    }

    /// The rows of a relation that belong to one customer, none or more, as one batch.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a customer that the plan has not.
    pub fn of_customer(&self, relation: &'static Relation, row: u64) -> Result<Batch, Error> {
        self.one(row, Maker::find(relation).rows_of)
    }

    /// The versions of one customer's rows in a table, row by row from its birth on, each as it is since its
    /// `updated_at`; of a stream its events.
    ///
    /// # Errors
    /// As `of_customer`.
    pub fn versions_of(&self, relation: &'static Relation, row: u64) -> Result<Batch, Error> {
        self.one(row, Maker::find(relation).versions_of)
    }

    fn one(&self, row: u64, make: fn(&Client<'_>) -> Batch) -> Result<Batch, Error> {
        self.check_customer(row)?;
        let mut block = Block::of(&self.history.context, row);
        Ok(make(&Client::new(&self.history, &mut block, row, EVER)))
    }

    /// Refuses the row of a customer that the plan has not.
    ///
    /// # Errors
    /// As `of_customer`.
    pub fn check_customer(&self, row: u64) -> Result<(), Error> {
        let last = self.plan().customers() - 1;
        if row <= last {
            return Ok(());
        }
        let (value, allowed) = (row.to_string(), format!("0 to {last}"));
        Err(Error::OutOfRange { option: "row", value, allowed })
    }

    /// The rows of those who live with a customer, who is among them, and how each came there; rows may be
    /// beyond the plan.
    pub fn household(&self, row: u64) -> Vec<(u64, Tie)> {
        members(&self.history.context, row)
    }

    /// The row of the customer on the other side of a Pix within the bank, by its instant; it may be beyond
    /// the plan.
    pub fn partner_at(&self, row: u64, time: i64) -> Option<u64> {
        let history = &self.history;
        let mut block = Block::of(&history.context, row);
        let client = Client::new(history, &mut block, row, EVER);
        let checking = client.block.accounts(row).checking;
        let (account, _) = client.account(checking, AccountType::Checking);
        partner_at(history, &account.life, account.opened_at, time)
    }
}
