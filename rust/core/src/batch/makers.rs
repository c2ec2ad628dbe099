//! How the rows of each relation are made and counted.

use super::Batches;
use super::client::Client;
use crate::brazil::reference;
use crate::catalog::Relation;
use crate::column::{Batch, Columns};
use crate::entity::account::AccountColumns;
use crate::entity::card::CreditCardColumns;
use crate::entity::customer::CustomerColumns;
use crate::entity::layout::{Block, Product};
use crate::entity::loan::LoanColumns;
use crate::entity::property::PropertyColumns;
use crate::entity::stock::StockColumns;
use crate::event::card_transaction::{self, CardTransactionColumns};
use crate::event::installment::{self, InstallmentColumns};
use crate::event::trade::{self, TradeColumns};
use crate::event::transaction::{self, TransactionColumns};

/// What makes and counts the rows of a relation.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) relation: &'static Relation,
    pub(super) count: Count,
    pub(super) next_batch: fn(&mut Batches) -> Option<Batch>,
}

/// How many rows belong to some customers.
#[derive(Debug)]
pub(super) enum Count {
    /// What belongs to the customers before one, who is of that block: rows are numbered.
    Before(fn(&Block, u64) -> u64),
    /// What belongs to one customer.
    Each(fn(&Client<'_>) -> u64),
}

/// One for each relation.
static MAKERS: [Maker; 10] = [
    Maker::of::<CustomerColumns>(),
    Maker::of::<PropertyColumns>(),
    Maker::of::<StockColumns>(),
    Maker::of::<AccountColumns>(),
    Maker::of::<CreditCardColumns>(),
    Maker::of::<LoanColumns>(),
    Maker::of::<TransactionColumns>(),
    Maker::of::<CardTransactionColumns>(),
    Maker::of::<TradeColumns>(),
    Maker::of::<InstallmentColumns>(),
];

impl Maker {
    const fn of<R: Rows>() -> Self {
        Self { relation: R::RELATION, count: R::COUNT, next_batch: Batches::fill::<R> }
    }

    /// The one of a relation.
    pub(super) fn find(relation: &'static Relation) -> &'static Self {
        let mut makers = MAKERS.iter();
        makers
            .find(|maker| maker.relation.name == relation.name)
            .expect("a relation of the catalogue")
    }
}

/// Columns that take the rows of one customer after the other.
pub(super) trait Rows: Columns {
    const COUNT: Count;

    fn push_client(&mut self, client: &Client<'_>);
}

impl Rows for CustomerColumns {
    const COUNT: Count = Count::Before(|_, customer| customer);

    fn push_client(&mut self, client: &Client<'_>) {
        self.push(client.context(), &client.customer());
    }
}

impl Rows for PropertyColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Property, customer));

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some((property, owner)) = client.property() {
            self.push(client.context(), &property, &owner);
        }
    }
}

impl Rows for StockColumns {
    const COUNT: Count = Count::Each(|_| reference().stocks.items.len() as u64);

    fn push_client(&mut self, _: &Client<'_>) {
        self.push_all();
    }
}

impl Rows for AccountColumns {
    const COUNT: Count = Count::Before(Block::first_account);

    fn push_client(&mut self, client: &Client<'_>) {
        let customer = client.customer();
        for (row, kind) in client.accounts() {
            let account = client.account(row, kind, &customer);
            let balance = transaction::closing_balance(client.history, &account);
            self.push(client.context(), &account, &customer, balance);
        }
    }
}

impl Rows for CreditCardColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Card, customer));

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some((card, holder)) = client.card() {
            let available = card_transaction::available_limit(client.history, &card);
            self.push(client.context(), &card, &holder, available);
        }
    }
}

impl Rows for LoanColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Loan, customer));

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some((loan, borrower)) = client.loan() {
            let (outstanding, status) = installment::standing(client.history, &loan);
            self.push(client.context(), &loan, &borrower, outstanding, status);
        }
    }
}

impl Rows for TransactionColumns {
    const COUNT: Count = Count::Each(|client| {
        let count = |(row, kind)| transaction::count_of(client.history, row, kind);
        client.accounts().map(|account| u64::from(count(account))).sum()
    });

    fn push_client(&mut self, client: &Client<'_>) {
        let customer = client.customer();
        for (row, kind) in client.accounts() {
            self.push(client.history, &client.account(row, kind, &customer), &customer);
        }
    }
}

impl Rows for CardTransactionColumns {
    const COUNT: Count = Count::Each(|client| {
        let row = client.block.row_of(Product::Card, client.row);
        row.map_or(0, |row| card_transaction::count_of(client.history, row).into())
    });

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some((card, holder)) = client.card() {
            self.push(client.history, &card, holder.city);
        }
    }
}

impl Rows for TradeColumns {
    const COUNT: Count = Count::Each(|client| {
        let row = client.block.accounts(client.row).investments;
        row.map_or(0, |row| trade::count(client.history, row).into())
    });

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some(row) = client.block.accounts(client.row).investments {
            self.push(client.history, row);
        }
    }
}

impl Rows for InstallmentColumns {
    const COUNT: Count = Count::Each(|client| {
        client.loan().map_or(0, |(loan, _)| installment::count(client.history, &loan).into())
    });

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some((loan, _)) = client.loan() {
            self.push(client.history, &loan);
        }
    }
}
