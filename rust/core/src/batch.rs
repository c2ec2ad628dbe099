//! From a plan to batches: whole relations, or the part that belongs to a range of customers.

use std::ops::Range;
use std::sync::Arc;

use crate::brazil::reference;
use crate::catalog::Relation;
use crate::column::Batch;
use crate::entity::account::{Account, AccountColumns, AccountType};
use crate::entity::card::{CreditCard, CreditCardColumns};
use crate::entity::customer::{Customer, CustomerColumns};
use crate::entity::layout::{Block, Product};
use crate::entity::loan::{Loan, LoanColumns};
use crate::entity::property::{Property, PropertyColumns};
use crate::entity::stock::StockColumns;
use crate::error::Error;
use crate::event::History;
use crate::event::card_transaction::{self, CardTransactionColumns};
use crate::event::installment::{self, InstallmentColumns};
use crate::event::trade::{self, TradeColumns};
use crate::event::transaction::{self, TransactionColumns};
use crate::plan::Plan;

/// Most rows that a batch may be asked to have.
pub const MAX_BATCH_ROWS: usize = 1 << 20;

/// A plan made ready: what the rows of all relations share is computed once, here.
#[derive(Debug)]
pub struct Bank {
    history: History,
}

/// One customer with what says who has what.
struct Client<'a> {
    history: &'a History,
    block: &'a Block,
    row: u64,
}

impl<'a> Client<'a> {
    /// The customer of a row; `block` is kept from customer to customer and drawn when it ends.
    fn new(history: &'a History, block: &'a mut Block, row: u64) -> Self {
        if !block.customers().contains(&row) {
            *block = Block::of(&history.context.rng, row);
        }
        Self { history, block, row }
    }

    fn customer(&self) -> Customer {
        Customer::new(&self.history.context, self.row)
    }

    fn accounts(&self) -> impl Iterator<Item = (u64, AccountType)> {
        let accounts = self.block.accounts(self.row);
        [
            (Some(accounts.checking), AccountType::Checking),
            (accounts.savings, AccountType::Savings),
            (accounts.investments, AccountType::Investments),
        ]
        .into_iter()
        .filter_map(|(row, kind)| Some((row?, kind)))
    }

    fn account(&self, row: u64, kind: AccountType, customer: &Customer) -> Account {
        Account::new(&self.history.context, row, kind, customer)
    }

    fn card(&self) -> Option<(CreditCard, Customer)> {
        let row = self.block.row_of(Product::Card, self.row)?;
        let holder = self.customer();
        Some((CreditCard::new(&self.history.context, row, &holder), holder))
    }

    fn property(&self) -> Option<(Property, Customer)> {
        let row = self.block.row_of(Product::Property, self.row)?;
        let owner = self.customer();
        Some((Property::new(&self.history.context, row, &owner), owner))
    }

    fn loan(&self) -> Option<(Loan, Customer)> {
        let row = self.block.row_of(Product::Loan, self.row)?;
        let borrower = self.customer();
        let property = self.block.row_of(Product::Property, self.row);
        let property = property.map(|row| Property::new(&self.history.context, row, &borrower));
        Some((Loan::new(&self.history.context, row, &borrower, property.as_ref()), borrower))
    }
}

/// Columns that take the rows of one customer after the other.
trait Rows {
    fn with_room_for(rows: usize) -> Self;
    fn push_client(&mut self, client: &Client<'_>);
    fn len(&self) -> usize;
    fn into_batch(self) -> Batch;
}

macro_rules! rows {
    ($($columns:ident: |$into:ident, $client:ident| $push:block)*) => {$(
        impl Rows for $columns {
            fn with_room_for(rows: usize) -> Self {
                Self::with_capacity(rows)
            }

            fn push_client(&mut self, $client: &Client<'_>) {
                let $into = self;
                $push
            }

            fn len(&self) -> usize {
                self.rows()
            }

            fn into_batch(self) -> Batch {
                self.finish()
            }
        }
    )*};
}

rows! {
    CustomerColumns: |into, client| {
        into.push(&client.history.context, &client.customer());
    }
    PropertyColumns: |into, client| {
        if let Some((property, owner)) = client.property() {
            into.push(&client.history.context, &property, &owner);
        }
    }
    AccountColumns: |into, client| {
        let customer = client.customer();
        for (row, kind) in client.accounts() {
            let account = client.account(row, kind, &customer);
            let balance = transaction::closing_balance(client.history, &account);
            into.push(&client.history.context, &account, &customer, balance);
        }
    }
    CreditCardColumns: |into, client| {
        if let Some((card, holder)) = client.card() {
            let available = card_transaction::available_limit(client.history, &card);
            into.push(&client.history.context, &card, &holder, available);
        }
    }
    LoanColumns: |into, client| {
        if let Some((loan, borrower)) = client.loan() {
            let (outstanding, standing) = installment::standing(client.history, &loan);
            into.push(&client.history.context, &loan, &borrower, outstanding, standing);
        }
    }
    TransactionColumns: |into, client| {
        let customer = client.customer();
        for (row, kind) in client.accounts() {
            into.push(client.history, &client.account(row, kind, &customer), &customer);
        }
    }
    CardTransactionColumns: |into, client| {
        if let Some((card, holder)) = client.card() {
            into.push(client.history, &card, holder.city);
        }
    }
    TradeColumns: |into, client| {
        if let Some(row) = client.block.accounts(client.row).investments {
            into.push(client.history, row);
        }
    }
    InstallmentColumns: |into, client| {
        if let Some((loan, _)) = client.loan() {
            into.push(client.history, &loan);
        }
    }
}

impl Bank {
    /// Prepares a plan.
    pub fn new(plan: Plan) -> Self {
        Self { history: History::new(plan) }
    }

    /// The plan.
    pub const fn plan(&self) -> &Plan {
        &self.history.context.plan
    }

    fn check(&self, customers: &Range<u64>) -> Result<(), Error> {
        let all = self.plan().customers();
        if customers.start <= customers.end && customers.end <= all {
            return Ok(());
        }
        Err(Error::OutOfRange {
            option: "start, stop",
            value: format!("{}, {}", customers.start, customers.end),
            allowed: format!("0 <= start <= stop <= {all}"),
        })
    }

    fn clients(&self, customers: Range<u64>, mut each: impl FnMut(&Client<'_>)) {
        let mut block = Block::of(&self.history.context.rng, customers.start);
        for row in customers {
            each(&Client::new(&self.history, &mut block, row));
        }
    }

    /// How many rows of `relation` belong to these customers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a range that is not within the plan's customers.
    pub fn rows(&self, relation: &'static Relation, customers: Range<u64>) -> Result<u64, Error> {
        self.check(&customers)?;
        let rng = &self.history.context.rng;
        let (first, last) = (Block::of(rng, customers.start), Block::of(rng, customers.end));
        let held = |product| last.row(product, customers.end) - first.row(product, customers.start);
        let mut events = 0;
        let mut add = |count: u32| events += u64::from(count);
        Ok(match relation.name {
            "customers" => customers.end - customers.start,
            "properties" => held(Product::Property),
            "stocks" => reference().stocks.items.len() as u64,
            "accounts" => last.first_account(customers.end) - first.first_account(customers.start),
            "credit_cards" => held(Product::Card),
            "loans" => held(Product::Loan),
            "banking.trades" => {
                self.clients(customers, |client| {
                    if let Some(row) = client.block.accounts(client.row).investments {
                        add(trade::count(&self.history, row));
                    }
                });
                events
            }
            _ => {
                self.clients(customers, |client| match relation.name {
                    "banking.transactions" => {
                        for (row, kind) in client.accounts() {
                            add(transaction::count_of(&self.history, row, kind));
                        }
                    }
                    "banking.card-transactions" => {
                        if let Some(row) = client.block.row_of(Product::Card, client.row) {
                            add(card_transaction::count_of(&self.history, row));
                        }
                    }
                    _ => {
                        if let Some((loan, _)) = client.loan() {
                            add(installment::count(&self.history, &loan));
                        }
                    }
                });
                events
            }
        })
    }

    /// The rows of `relation` that belong to these customers, in batches of about `batch_rows`.
    ///
    /// All events of an entity are in one batch. The stocks belong to nobody: they always come whole.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a range that is not within the plan's customers, or a batch size that
    /// is not within 1 to 1 048 576.
    pub fn batches(
        self: &Arc<Self>,
        relation: &'static Relation,
        customers: Range<u64>,
        batch_rows: usize,
    ) -> Result<Batches, Error> {
        self.check(&customers)?;
        if !(1..=MAX_BATCH_ROWS).contains(&batch_rows) {
            return Err(Error::OutOfRange {
                option: "batch_rows",
                value: batch_rows.to_string(),
                allowed: format!("1 to {MAX_BATCH_ROWS}"),
            });
        }
        let stocks_left = relation.name == "stocks";
        Ok(Batches { bank: Arc::clone(self), relation, customers, batch_rows, stocks_left })
    }
}

/// Iterates the batches of one relation.
#[derive(Debug)]
pub struct Batches {
    bank: Arc<Bank>,
    relation: &'static Relation,
    customers: Range<u64>,
    batch_rows: usize,
    stocks_left: bool,
}

impl Batches {
    /// What the batches hold.
    pub const fn relation(&self) -> &'static Relation {
        self.relation
    }

    fn fill<R: Rows>(&mut self) -> Option<Batch> {
        // The last customer may take the batch over its size.
        let mut rows = R::with_room_for(self.batch_rows + self.batch_rows / 16);
        let history = &self.bank.history;
        let mut block = Block::of(&history.context.rng, self.customers.start);
        while rows.len() < self.batch_rows {
            let Some(row) = self.customers.next() else { break };
            rows.push_client(&Client::new(history, &mut block, row));
        }
        (rows.len() > 0).then(|| rows.into_batch())
    }

    fn stocks(&mut self) -> Option<Batch> {
        std::mem::take(&mut self.stocks_left).then(|| {
            let mut stocks = StockColumns::with_capacity(64);
            stocks.push_all();
            stocks.finish()
        })
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        match self.relation.name {
            "customers" => self.fill::<CustomerColumns>(),
            "properties" => self.fill::<PropertyColumns>(),
            "stocks" => self.stocks(),
            "accounts" => self.fill::<AccountColumns>(),
            "credit_cards" => self.fill::<CreditCardColumns>(),
            "loans" => self.fill::<LoanColumns>(),
            "banking.transactions" => self.fill::<TransactionColumns>(),
            "banking.card-transactions" => self.fill::<CardTransactionColumns>(),
            "banking.trades" => self.fill::<TradeColumns>(),
            "banking.installments" => self.fill::<InstallmentColumns>(),
            other => unreachable!("{other} is not in the catalogue"),
        }
    }
}
