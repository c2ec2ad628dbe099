//! The versions of a table's rows: the first from when the row was born, and one more for each change of a value.

use super::client::Client;
use crate::catalog::LoanStatus;
use crate::column::Columns;
use crate::entity::account::{self, AccountColumns};
use crate::entity::card::{CreditCard, CreditCardColumns, Issue, Standing};
use crate::entity::customer::CustomerColumns;
use crate::entity::holder::Holder;
use crate::entity::loan::LoanColumns;
use crate::entity::property::{Property, PropertyColumns};
use crate::event::card_transaction::{Ahead, Purchases};
use crate::event::installment::Repayment;
use crate::event::transaction::Ledger;
use crate::event::{Cursor, History};

/// What a row is about, and how its values go on.
pub(crate) trait Life: Send {
    type Columns: Columns;
    /// The values that change.
    type State: Copy + PartialEq + Send;

    fn id(&self) -> [u8; 16];

    /// When the row is born, and its values then. Called before `advance`.
    fn birth(&self) -> (i64, Self::State);

    /// When something happens next, and the values from then on, the same or others.
    fn advance(&mut self, history: &History) -> Option<(i64, Self::State)>;

    /// Adds the row as it is since an instant.
    fn push(&self, history: &History, since: (i64, Self::State), columns: &mut Self::Columns);
}

/// The versions of a row, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Row<L: Life> {
    life: L,
    next: Option<(i64, L::State)>,
}

impl<L: Life> Row<L> {
    pub(super) fn new(life: L) -> Self {
        Self { next: Some(life.birth()), life }
    }
}

impl<L: Life> Cursor for Row<L> {
    type Columns = L::Columns;
    /// A version, and since when it is.
    type Event = (i64, L::State);

    fn id(&self) -> [u8; 16] {
        self.life.id()
    }

    fn peek(&self) -> Option<i64> {
        self.next.map(|(since, _)| since)
    }

    fn skip(&mut self, history: &History) {
        let (_, state) = self.next.expect("a version");
        self.next = loop {
            match self.life.advance(history) {
                Some((_, same)) if same == state => {}
                next => break next,
            }
        };
    }

    fn take(&mut self, history: &History) -> Self::Event {
        let version = self.next.expect("a version");
        self.skip(history);
        version
    }

    fn write(&self, history: &History, version: &Self::Event, columns: &mut L::Columns) {
        self.life.push(history, *version, columns);
    }

    fn take_before(&mut self, history: &History, until: i64) -> Self::Event {
        let mut last = self.next.expect("a version");
        self.next = loop {
            match self.life.advance(history) {
                Some((_, same)) if same == last.1 => {}
                Some(next) if next.0 < until => last = next,
                next => break next,
            }
        };
        last
    }
}

/// A customer: the address changes when they move.
#[derive(Debug)]
pub(crate) struct Person {
    row: u64,
    id: [u8; 16],
    created_at: i64,
    /// When that is still to come.
    moves_at: Option<i64>,
    /// The household had moved before the customer joined.
    moved: bool,
}

impl Person {
    pub(super) fn of(client: &Client<'_>) -> Row<Self> {
        let customer = client.customer();
        let id = client.context().id(crate::rng::Domain::Customer, customer.row);
        let (created_at, moves_at) = (customer.created_at, customer.moves_at(client.context()));
        let moved = moves_at.is_some_and(|at| at <= created_at);
        // The bank is told of no move after they have left.
        let is_told = |at: i64| client.life().leaves_at().is_none_or(|leaves| at < leaves);
        let moves_at = moves_at.filter(|&at| !moved && is_told(at));
        Row::new(Self { row: customer.row, id, created_at, moves_at, moved })
    }
}

impl Life for Person {
    type Columns = CustomerColumns;
    /// Whether they have moved.
    type State = bool;

    fn id(&self) -> [u8; 16] {
        self.id
    }

    fn birth(&self) -> (i64, bool) {
        (self.created_at, self.moved)
    }

    fn advance(&mut self, _: &History) -> Option<(i64, bool)> {
        self.moves_at.take().map(|at| (at, true))
    }

    fn push(&self, history: &History, since: (i64, bool), columns: &mut CustomerColumns) {
        let context = &history.context;
        Holder::with(context, self.row, |one| columns.push(context, &one.customer, since));
    }
}

/// A property, which is born with its loan.
#[derive(Debug)]
pub(crate) struct Security {
    property: Property,
    id: [u8; 16],
    owner: u64,
    contracted_at: i64,
}

impl Security {
    pub(super) fn of(client: &Client<'_>) -> Option<Row<Self>> {
        let property = client.property()?;
        let loan = client.loan().expect("a loan for each property");
        let id = client.context().id(crate::rng::Domain::Property, property.row);
        let contracted_at = loan.contracted_at;
        Some(Row::new(Self { property, id, owner: client.row, contracted_at }))
    }
}

impl Life for Security {
    type Columns = PropertyColumns;
    type State = ();

    fn id(&self) -> [u8; 16] {
        self.id
    }

    fn birth(&self) -> (i64, ()) {
        (self.contracted_at, ())
    }

    fn advance(&mut self, _: &History) -> Option<(i64, ())> {
        None
    }

    fn push(&self, history: &History, (since, ()): (i64, ()), columns: &mut PropertyColumns) {
        let owner = Holder::with(&history.context, self.owner, |one| one.customer);
        columns.push(&history.context, &self.property, &owner, since);
    }
}

/// An account: its balance changes with each movement, and its state now and then.
#[derive(Debug)]
pub(crate) struct Held {
    ledger: Ledger,
    opening_balance: i64,
    /// The first is that at its birth; the next that is to come.
    standings: Vec<account::Standing>,
    next: usize,
}

impl Held {
    pub(super) fn new(client: &Client<'_>, ledger: Ledger) -> Row<Self> {
        let plan = &client.context().plan;
        let standings = ledger.account().standings(plan.start(), plan.as_of());
        let opening_balance = ledger.balance();
        Row::new(Self { ledger, opening_balance, standings, next: 1 })
    }
}

impl Life for Held {
    type Columns = AccountColumns;
    type State = (i64, account::Standing);

    fn id(&self) -> [u8; 16] {
        self.ledger.id()
    }

    fn birth(&self) -> (i64, Self::State) {
        // What was before the last change of state that is older than the history is not known any more.
        let first = self.standings[0];
        let since = first.since.unwrap_or_default().max(self.ledger.account().opened_at);
        (since, (self.opening_balance, first))
    }

    fn advance(&mut self, history: &History) -> Option<(i64, Self::State)> {
        let changes = self.standings.get(self.next).and_then(|next| next.since);
        let moves = self.ledger.peek();
        let time = match (moves, changes) {
            (Some(moves), Some(changes)) => moves.min(changes),
            (moves, changes) => moves.or(changes)?,
        };
        // What happens at one instant is one change: a loan that pays for a home, what is left as an account closes.
        while self.ledger.peek() == Some(time) {
            self.ledger.skip(history);
        }
        if changes == Some(time) {
            self.next += 1;
        }
        Some((time, (self.ledger.balance(), self.standings[self.next - 1])))
    }

    fn push(&self, history: &History, since: (i64, Self::State), columns: &mut AccountColumns) {
        let account = self.ledger.account();
        let holder = Holder::with(&history.context, account.life.row(), |one| one.customer);
        columns.push(&history.context, account, self.opening_balance, &holder, since);
    }
}

/// A card: what is left of its limit changes with each purchase that is approved and each bill that is paid or charged
/// with interest, its limit when the bank looks at it, and its status when it is blocked or cancelled.
#[derive(Debug)]
pub(crate) struct Spending {
    purchases: Purchases,
    ahead: Ahead,
    card: CreditCard,
    issue: Issue,
    holder: u64,
}

impl Spending {
    pub(super) fn of(client: &Client<'_>) -> Option<Row<Self>> {
        let (card, issue) = client.card()?;
        let purchases = Purchases::since_issue(client.history, &card, client.life());
        let ahead = Ahead::default();
        Some(Row::new(Self { purchases, ahead, card, issue, holder: client.row }))
    }
}

impl Life for Spending {
    type Columns = CreditCardColumns;
    type State = Standing;

    fn id(&self) -> [u8; 16] {
        self.card.id
    }

    fn birth(&self) -> (i64, Standing) {
        (self.card.issued_at, self.purchases.standing())
    }

    fn advance(&mut self, history: &History) -> Option<(i64, Standing)> {
        let (purchase, beside) =
            (self.purchases.peek().unwrap_or(i64::MAX), self.purchases.next_beside());
        let time = purchase.min(beside);
        if time >= history.context.plan.as_of() {
            return None;
        }
        if beside <= purchase {
            self.purchases.pass_beside(history);
        } else {
            self.purchases.pass(history, &mut self.ahead);
        }
        Some((time, self.purchases.standing()))
    }

    fn push(&self, history: &History, since: (i64, Standing), columns: &mut CreditCardColumns) {
        let holder = Holder::with(&history.context, self.holder, |one| one.customer);
        columns.push(&history.context, &self.card, &self.issue, &holder, since);
    }
}

/// A loan: it changes with each installment that is paid, and when one is found to be overdue, or by more than
/// 90 days.
#[derive(Debug)]
pub(crate) struct Debt {
    repayment: Repayment,
    borrower: u64,
    /// When something happened last.
    at: i64,
}

impl Debt {
    pub(super) fn of(client: &Client<'_>) -> Option<Row<Self>> {
        let loan = client.loan()?;
        let repayment = Repayment::new(client.history, loan);
        let at = repayment.loan().contracted_at;
        Some(Row::new(Self { repayment, borrower: client.row, at }))
    }
}

impl Life for Debt {
    type Columns = LoanColumns;
    type State = (i64, LoanStatus);

    fn id(&self) -> [u8; 16] {
        self.repayment.id()
    }

    fn birth(&self) -> (i64, Self::State) {
        (self.at, (self.repayment.loan().principal, LoanStatus::Active))
    }

    fn advance(&mut self, history: &History) -> Option<(i64, Self::State)> {
        let event = self.repayment.peek()?;
        self.at = if let Some(run) = self.repayment.next_arrears(self.at) {
            run
        } else {
            self.repayment.skip(history);
            event
        };
        Some((self.at, self.repayment.standing(self.at)))
    }

    fn push(&self, history: &History, since: (i64, Self::State), columns: &mut LoanColumns) {
        let borrower = Holder::with(&history.context, self.borrower, |one| one.customer);
        columns.push(&history.context, self.repayment.loan(), &borrower, since);
    }
}
