//! How the rows of each relation are made and counted.

use super::Batches;
use super::client::Client;
use super::lanes::StreamMaker;
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
use crate::event::Cursor;
use crate::event::card_transaction::{self, CardTransactionColumns, Purchases};
use crate::event::installment::{self, InstallmentColumns, Repayment};
use crate::event::trade::{self, TradeColumns, Trader};
use crate::event::transaction::{self, Ledger, TransactionColumns};

/// What makes and counts the rows of a relation.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) relation: &'static Relation,
    pub(super) count: Count,
    pub(super) next_batch: fn(&mut Batches) -> Option<Batch>,
    stream: Option<StreamMaker>,
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
    Maker::of_stream::<TransactionColumns>(),
    Maker::of_stream::<CardTransactionColumns>(),
    Maker::of_stream::<TradeColumns>(),
    Maker::of_stream::<InstallmentColumns>(),
];

impl Maker {
    const fn of<R: Rows>() -> Self {
        let next_batch = Batches::fill::<R>;
        Self { relation: R::RELATION, count: R::COUNT, next_batch, stream: None }
    }

    const fn of_stream<E: Events>() -> Self {
        Self { stream: Some(StreamMaker::of::<E>()), ..Self::of::<E>() }
    }

    /// How lanes of the relation are made, which is a stream.
    pub(super) fn stream(&self) -> &StreamMaker {
        self.stream.as_ref().expect("a stream")
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

/// Columns of a stream, to which the cursors of a customer's entities add events.
pub(crate) trait Events: Columns + Send + 'static {
    type Cursor: Cursor<Columns = Self>;

    const COUNT: fn(&Client<'_>) -> u64;

    /// The cursors of a customer's entities, in the order of their rows.
    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Self::Cursor>;
}

impl<E: Events> Rows for E {
    const COUNT: Count = Count::Each(E::COUNT);

    fn push_client(&mut self, client: &Client<'_>) {
        let (history, span) = (client.history, &client.span);
        for mut cursor in E::cursors(client) {
            cursor.skip_until(history, span.start);
            while cursor.peek().is_some_and(|time| time < span.end) {
                cursor.next(history, self);
            }
        }
    }
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
            let (account, opening) = client.account(row, kind, &customer);
            let mut ledger = Ledger::new(client.history, account, opening.balance);
            ledger.skip_until(client.history, client.span.end);
            let (account, balance) = (ledger.account(), ledger.balance());
            self.push(client.context(), account, opening, &customer, balance);
        }
    }
}

impl Rows for CreditCardColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Card, customer));

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some((card, issue, holder)) = client.card() {
            let (history, at) = (client.history, client.span.end);
            let available = card_transaction::available_limit(history, card, at);
            self.push(client.context(), &card, &issue, &holder, available);
        }
    }
}

impl Rows for LoanColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Loan, customer));

    fn push_client(&mut self, client: &Client<'_>) {
        if let Some((loan, borrower)) = client.loan() {
            let mut repayment = Repayment::new(client.history, loan);
            repayment.skip_until(client.history, client.span.end);
            let (outstanding, status) = repayment.standing();
            self.push(client.context(), &loan, &borrower, outstanding, status);
        }
    }
}

impl Events for TransactionColumns {
    type Cursor = Ledger;

    const COUNT: fn(&Client<'_>) -> u64 = |client| {
        let count = |(row, kind)| transaction::count_of(client.history, row, kind);
        client.accounts().map(|account| u64::from(count(account))).sum()
    };

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Ledger> {
        let customer = client.customer();
        client.accounts().map(move |(row, kind)| {
            let (account, opening) = client.account(row, kind, &customer);
            Ledger::new(client.history, account, opening.balance)
        })
    }
}

impl Events for CardTransactionColumns {
    type Cursor = Purchases;

    const COUNT: fn(&Client<'_>) -> u64 = |client| {
        let row = client.block.row_of(Product::Card, client.row);
        row.map_or(0, |row| card_transaction::count_of(client.history, row).into())
    };

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Purchases> {
        client.card().map(|(card, ..)| Purchases::new(client.history, card)).into_iter()
    }
}

impl Events for TradeColumns {
    type Cursor = Trader;

    const COUNT: fn(&Client<'_>) -> u64 = |client| {
        let row = client.block.accounts(client.row).investments;
        row.map_or(0, |row| trade::count(client.history, row).into())
    };

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Trader> {
        let row = client.block.accounts(client.row).investments;
        row.map(|row| Trader::new(client.history, row)).into_iter()
    }
}

impl Events for InstallmentColumns {
    type Cursor = Repayment;

    const COUNT: fn(&Client<'_>) -> u64 = |client| {
        client.loan().map_or(0, |(loan, _)| installment::count(client.history, &loan).into())
    };

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Repayment> {
        client.loan().map(|(loan, _)| Repayment::new(client.history, loan)).into_iter()
    }
}
