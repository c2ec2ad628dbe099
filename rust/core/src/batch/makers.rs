//! How the rows of each relation are made and counted.

use super::Batches;
use super::client::Client;
use super::labels::LabelColumns;
use super::lanes::LaneMaker;
use super::versions::{Debt, Held, Person, Row, Security, Spending};
use crate::brazil::reference;
use crate::catalog::{AccountType, Relation};
use crate::column::{Batch, Columns};
use crate::entity::account::{Account, AccountColumns};
use crate::entity::card::CreditCardColumns;
use crate::entity::customer::CustomerColumns;
use crate::entity::layout::{Block, Product};
use crate::entity::loan::LoanColumns;
use crate::entity::property::PropertyColumns;
use crate::entity::stock::StockColumns;
use crate::event::card_transaction::{self, CardTransactionColumns, Purchases};
use crate::event::installment::{self, InstallmentColumns, Repayment};
use crate::event::trade::{self, TradeColumns, Trades};
use crate::event::transaction::{Ledger, TransactionColumns};
use crate::event::{Cursor, History};

/// What makes and counts the rows of a relation.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) relation: &'static Relation,
    pub(super) count: Count,
    pub(super) next_batch: fn(&mut Batches) -> Option<Batch>,
    /// The next rows as they are when they are born.
    pub(super) next_births: fn(&mut Batches) -> Option<Batch>,
    /// The next rows in all their versions from the beginning of the span on.
    pub(super) next_versions: fn(&mut Batches) -> Option<Batch>,
    /// The rows of one customer, none or more.
    pub(super) rows_of: fn(&Client<'_>) -> Batch,
    /// The versions of these rows, each with all that follow it; of a stream its events.
    pub(super) versions_of: fn(&Client<'_>) -> Batch,
    lane: Option<LaneMaker>,
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
static MAKERS: [Maker; 11] = [
    Maker::of::<CustomerColumns>(),
    Maker::of::<PropertyColumns>(),
    Maker::of_rows::<StockColumns>(),
    Maker::of::<AccountColumns>(),
    Maker::of::<CreditCardColumns>(),
    Maker::of::<LoanColumns>(),
    Maker::of::<TransactionColumns>(),
    Maker::of::<CardTransactionColumns>(),
    Maker::of::<TradeColumns>(),
    Maker::of::<InstallmentColumns>(),
    Maker::of_rows::<LabelColumns>(),
];

impl Maker {
    /// Of rows that are there from the beginning and never change.
    const fn of_rows<R: Rows>() -> Self {
        Self {
            relation: R::RELATION,
            count: R::COUNT,
            next_batch: Batches::fill::<R>,
            next_births: Batches::fill::<R>,
            next_versions: Batches::fill::<R>,
            rows_of: rows_of::<R>,
            versions_of: rows_of::<R>,
            lane: None,
        }
    }

    const fn of<R: Rows + Living>() -> Self {
        Self {
            lane: Some(LaneMaker::of::<R>()),
            next_births: Batches::fill_births::<R>,
            next_versions: Batches::fill_versions::<R>,
            versions_of: versions_of::<R>,
            ..Self::of_rows::<R>()
        }
    }

    /// How lanes of the relation are made; none of rows that never change.
    pub(super) const fn lane(&self) -> Option<&LaneMaker> {
        self.lane.as_ref()
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
    const STAGES: Stages = &[];

    fn push_client(&mut self, client: &Client<'_>);

    /// Adds the rows of some customers until there are so many rows, and says of how many customers.
    fn push_clients(&mut self, clients: &[Client<'_>], most: usize) -> usize {
        let mut pushed = 0;
        for client in clients {
            if self.rows() >= most {
                break;
            }
            self.push_client(client);
            pushed += 1;
        }
        pushed
    }
}

/// What is found of customers before their rows are made. Each stage is taken by some customers, one after the other: all
/// that makes their rows is more code than stays in the cache until the next customer.
pub(super) type Stages = &'static [fn(&Client<'_>)];

/// Takes some customers through stages.
pub(super) fn take_stages(stages: Stages, clients: &[Client<'_>]) {
    for stage in stages {
        clients.iter().for_each(stage);
    }
}

/// Who customers are and how they live.
const LIFE: fn(&Client<'_>) = |client| {
    client.life();
};
/// What they pay for their cards.
const BILLS: fn(&Client<'_>) = |client| {
    client.bills();
};
const PEOPLE: Stages = &[LIFE];
const PAYERS: Stages = &[LIFE, BILLS];
/// Events that are taken before they are written.
const AT_ONCE: usize = 256;

/// Columns to which the cursors of a customer's entities add rows: of a stream its events, of a table the
/// versions of its rows.
pub(crate) trait Living: Columns + Send + 'static {
    const STAGES: Stages = PEOPLE;

    type Cursor: Cursor<Columns = Self>;

    /// The cursors of a customer's entities, in the order of their rows.
    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Self::Cursor>;
}

/// Columns of a stream.
pub(crate) trait Events: Living {
    const COUNT: fn(&Client<'_>) -> u64;
}

impl<E: Events> Rows for E {
    const COUNT: Count = Count::Each(E::COUNT);
    const STAGES: Stages = <E as Living>::STAGES;

    fn push_client(&mut self, client: &Client<'_>) {
        self.push_clients(std::slice::from_ref(client), usize::MAX);
    }

    fn push_clients(&mut self, clients: &[Client<'_>], most: usize) -> usize {
        let Some(&Client { history, ref span, .. }) = clients.first() else { return 0 };
        let (mut cursors, mut of_client) = (Vec::new(), Vec::with_capacity(clients.len()));
        for client in clients {
            let before = cursors.len();
            cursors.extend(E::cursors(client));
            of_client.push(cursors.len() - before);
        }
        // What was taken of the first of those cursors that are left.
        let (mut left, mut taken, mut events) = (&mut cursors[..], Vec::new(), Vec::new());
        for (pushed, count) in of_client.into_iter().enumerate() {
            if self.rows() + events.len() >= most {
                write(history, left, &mut taken, &mut events, self);
                return pushed;
            }
            let first = taken.len();
            for cursor in &mut left[first..first + count] {
                let before = events.len();
                cursor.skip_until(history, span.start);
                cursor.take_until(history, span.end, &mut events);
                taken.push(events.len() - before);
            }
            if events.len() >= AT_ONCE {
                let passed = taken.len();
                write(history, left, &mut taken, &mut events, self);
                left = &mut left[passed..];
            }
        }
        write(history, left, &mut taken, &mut events, self);
        clients.len()
    }
}

/// Adds events of cursors: of each of the first so many as `taken` says.
fn write<C: Cursor>(
    history: &History,
    cursors: &[C],
    taken: &mut Vec<usize>,
    events: &mut Vec<C::Event>,
    columns: &mut C::Columns,
) {
    let mut events = events.drain(..);
    for (cursor, count) in cursors.iter().zip(taken.drain(..)) {
        for event in events.by_ref().take(count) {
            cursor.write(history, &event, columns);
        }
    }
}

fn rows_of<R: Rows>(client: &Client<'_>) -> Batch {
    let mut rows = R::with_capacity(0);
    rows.push_client(client);
    rows.finish()
}

fn versions_of<R: Living>(client: &Client<'_>) -> Batch {
    let mut rows = R::with_capacity(0);
    push_versions(&mut rows, client);
    rows.finish()
}

/// Adds the versions of a customer's rows in the span, and before these the one that each row has as it begins.
pub(super) fn push_versions<R: Living>(rows: &mut R, client: &Client<'_>) {
    let (history, since, until) = (client.history, client.span.start, client.until());
    for mut cursor in R::cursors(client) {
        if cursor.peek().is_some_and(|born| born < since) {
            let first = cursor.take_before(history, since);
            cursor.write(history, &first, rows);
        }
        while cursor.peek().is_some_and(|since| since < until) {
            cursor.next(history, rows);
        }
    }
}

/// Adds the rows of a customer that are born before the end of the span, each in its last version before it.
fn push_last<R: Living>(rows: &mut R, client: &Client<'_>) {
    let until = client.until();
    for mut cursor in R::cursors(client) {
        if cursor.peek().is_some_and(|born| born < until) {
            let last = cursor.take_before(client.history, until);
            cursor.write(client.history, &last, rows);
        }
    }
}

impl Rows for CustomerColumns {
    const COUNT: Count = Count::Before(|_, customer| customer);

    fn push_client(&mut self, client: &Client<'_>) {
        push_last(self, client);
    }
}

impl Living for CustomerColumns {
    type Cursor = Row<Person>;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Self::Cursor> {
        std::iter::once(Person::of(client))
    }
}

impl Rows for PropertyColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Property, customer));

    fn push_client(&mut self, client: &Client<'_>) {
        push_last(self, client);
    }
}

impl Living for PropertyColumns {
    type Cursor = Row<Security>;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Self::Cursor> {
        Security::of(client).into_iter()
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
    const STAGES: Stages = PAYERS;

    fn push_client(&mut self, client: &Client<'_>) {
        push_last(self, client);
    }
}

impl Living for AccountColumns {
    const STAGES: Stages = PAYERS;

    type Cursor = Row<Held>;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Self::Cursor> {
        client.ledgers().map(|ledger| Held::new(client, ledger))
    }
}

impl Rows for CreditCardColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Card, customer));
    const STAGES: Stages = PEOPLE;

    fn push_client(&mut self, client: &Client<'_>) {
        push_last(self, client);
    }
}

impl Living for CreditCardColumns {
    type Cursor = Row<Spending>;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Self::Cursor> {
        Spending::of(client).into_iter()
    }
}

impl Rows for LoanColumns {
    const COUNT: Count = Count::Before(|block, customer| block.row(Product::Loan, customer));

    fn push_client(&mut self, client: &Client<'_>) {
        push_last(self, client);
    }
}

impl Living for LoanColumns {
    type Cursor = Row<Debt>;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Self::Cursor> {
        Debt::of(client).into_iter()
    }
}

impl Living for TransactionColumns {
    const STAGES: Stages = PAYERS;

    type Cursor = Ledger;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Ledger> {
        client.ledgers()
    }
}

impl Events for TransactionColumns {
    const COUNT: fn(&Client<'_>) -> u64 = |client| {
        let count = |(row, kind)| {
            if kind == AccountType::Investments {
                let (Account { opened_at, life, .. }, _) = client.account(row, kind);
                return trade::cash_events(client.history, row, &life, opened_at).into();
            }
            let (account, feeds) = client.moved(row, kind);
            Ledger::count(client.history, account, feeds)
        };
        client.accounts().map(count).sum()
    };
}

impl Living for CardTransactionColumns {
    type Cursor = Purchases;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Purchases> {
        client.purchases().cloned().into_iter()
    }
}

impl Events for CardTransactionColumns {
    const COUNT: fn(&Client<'_>) -> u64 = |client| {
        client.card().map_or(0, |(card, _)| {
            card_transaction::count(client.history, &card, client.life()).into()
        })
    };
}

impl Living for TradeColumns {
    type Cursor = Trades;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Trades> {
        let row = client.block.accounts(client.row).investments;
        let trades = |row| {
            let (account, opening) = client.account(row, AccountType::Investments);
            Trades::new(client.history, row, account.life, (account.opened_at, opening))
        };
        row.map(trades).into_iter()
    }
}

impl Events for TradeColumns {
    const COUNT: fn(&Client<'_>) -> u64 = |client| {
        let row = client.block.accounts(client.row).investments;
        let count = |row| {
            let (account, _) = client.account(row, AccountType::Investments);
            trade::count(client.history, row, &account.life, account.opened_at).into()
        };
        row.map_or(0, count)
    };
}

impl Living for InstallmentColumns {
    type Cursor = Repayment;

    fn cursors(client: &Client<'_>) -> impl Iterator<Item = Repayment> {
        client.loan().map(|loan| Repayment::new(client.history, loan)).into_iter()
    }
}

impl Events for InstallmentColumns {
    const COUNT: fn(&Client<'_>) -> u64 =
        |client| client.loan().map_or(0, |loan| installment::count(client.history, &loan).into());
}
