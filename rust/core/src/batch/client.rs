//! What one customer has.

use std::cell::OnceCell;
use std::ops::Range;

use crate::catalog::AccountType;
use crate::entity::Context;
use crate::entity::account::Account;
use crate::entity::card::{CreditCard, Issue};
use crate::entity::customer::Customer;
use crate::entity::holder::Holder;
use crate::entity::layout::{Block, Product};
use crate::entity::loan::Loan;
use crate::entity::property::Property;
use crate::entity::skeleton::{Pot, Skeleton};
use crate::event::History;
use crate::event::card_transaction::{self, Payment, Purchases};
use crate::event::trade::{Investor, funded_at};
use crate::event::transaction::{Claims, Feeds, Ledger};

/// One customer with what says who has what.
pub(super) struct Client<'a> {
    pub history: &'a History,
    pub block: &'a Block,
    pub row: u64,
    /// The instants of which events are wanted, and at whose end balances are.
    pub span: Range<i64>,
    /// Who they are and how they live, found when it is asked for.
    customer: OnceCell<Customer>,
    life: OnceCell<Skeleton>,
    purchases: OnceCell<Option<Purchases>>,
    bills: OnceCell<Vec<Payment>>,
}

impl<'a> Client<'a> {
    /// The customer of a row; `block` is kept from customer to customer and drawn when it ends.
    pub(super) fn new(
        history: &'a History,
        block: &'a mut Block,
        row: u64,
        span: Range<i64>,
    ) -> Self {
        if !block.customers().contains(&row) {
            *block = Block::of(&history.context, row);
        }
        Self::of(history, block, row, span)
    }

    /// Some customers of one block.
    pub(super) fn some(
        history: &'a History,
        block: &'a Block,
        rows: Range<u64>,
        span: &Range<i64>,
    ) -> Vec<Self> {
        rows.map(|row| Self::of(history, block, row, span.clone())).collect()
    }

    fn of(history: &'a History, block: &'a Block, row: u64, span: Range<i64>) -> Self {
        let (customer, life) = (OnceCell::new(), OnceCell::new());
        let (purchases, bills) = (OnceCell::new(), OnceCell::new());
        Self { history, block, row, span, customer, life, purchases, bills }
    }

    /// The end of the span, or that of the plan.
    pub(super) fn until(&self) -> i64 {
        self.span.end.min(self.context().plan.as_of())
    }

    pub(super) const fn context(&self) -> &'a Context {
        &self.history.context
    }

    pub(super) fn customer(&self) -> &Customer {
        self.customer
            .get_or_init(|| Holder::with(self.context(), self.row, |holder| holder.customer))
    }

    pub(super) fn life(&self) -> &Skeleton {
        let life = |holder: &Holder| *holder.life(self.context());
        self.life.get_or_init(|| Holder::with(self.context(), self.row, life))
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (u64, AccountType)> {
        let accounts = self.block.accounts(self.row);
        [
            (Some(accounts.checking), AccountType::Checking),
            (accounts.savings, AccountType::Savings),
            (accounts.investments, AccountType::Investments),
        ]
        .into_iter()
        .filter_map(|(row, kind)| Some((row?, kind)))
    }

    /// An account, and its balance before the history; that of a CORRENTE account follows from its ledger.
    pub(super) fn account(&self, row: u64, kind: AccountType) -> (Account, i64) {
        Account::new(self.context(), row, kind, self.customer(), self.life())
    }

    /// The ledgers of the customer's accounts, in the order of their rows; no movement is passed.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = Ledger> {
        self.accounts().map(|(row, kind)| self.ledger(row, kind))
    }

    /// The ledger of one of the accounts.
    pub(super) fn ledger(&self, row: u64, kind: AccountType) -> Ledger {
        let (account, balance) = self.account(row, kind);
        let feeds = match kind {
            AccountType::Checking => {
                return Ledger::checking(self.history, account, self.claims());
            }
            AccountType::Savings => Feeds::default(),
            AccountType::Investments => self.investor(&account, balance),
        };
        Ledger::new(self.history, account, balance, feeds)
    }

    /// An account with what moves it from outside in the whole history, as far as times are asked for, and no amounts.
    pub(super) fn moved(&self, row: u64, kind: AccountType) -> (Account, Feeds) {
        let (account, balance) = self.account(row, kind);
        let feeds = match kind {
            AccountType::Checking => self.claim_times(),
            AccountType::Savings => Feeds::default(),
            AccountType::Investments => self.investor(&account, balance),
        };
        (account, feeds)
    }

    fn savings(&self) -> Option<(Account, i64)> {
        let row = self.block.accounts(self.row).savings?;
        Some(self.account(row, AccountType::Savings))
    }

    fn investor(&self, account: &Account, balance: i64) -> Feeds {
        let opening = (account.opened_at, balance);
        let investor = Investor::new(self.history, account.row, &account.life, opening);
        Feeds::Investor(Box::new(investor))
    }

    /// What other products ask of the customer's CORRENTE account, as far as its movements in the span depend on it.
    fn claims(&self) -> Feeds {
        let mut claims = Claims::new(self.history, self.until());
        if !self.life().dormant {
            if let Some((account, balance)) = self.savings() {
                let ledger = Ledger::new(self.history, account, balance, Feeds::default());
                claims.add_savings(ledger);
            }
            claims.add_bills(self.bills());
            self.claim_of_others(&mut claims);
        }
        claims.into_feeds()
    }

    /// The payments of the card's bills, as far as the CORRENTE account's movements in the span depend on them.
    pub(super) fn bills(&self) -> &[Payment] {
        self.bills.get_or_init(|| {
            if self.life().dormant {
                return Vec::new();
            }
            let Some(mut purchases) = self.purchases().cloned() else { return Vec::new() };
            let until = Claims::end(self.history, self.until());
            let next = || purchases.next_payment(self.history, until);
            std::iter::from_fn(next).collect()
        })
    }

    /// The same of the whole history, if no amounts are asked for.
    fn claim_times(&self) -> Feeds {
        let mut claims = Claims::new(self.history, self.context().plan.as_of());
        if !self.life().dormant {
            if let Some((account, _)) = self.savings() {
                claims.add_savings_times(account);
            }
            if let Some((card, _)) = self.card() {
                let times = card_transaction::payments(self.history, &card, self.life());
                claims.add_bill_times(&times);
            }
            self.claim_of_others(&mut claims);
        }
        claims.into_feeds()
    }

    /// Adds what the loan asks for, and when money is put by.
    fn claim_of_others(&self, claims: &mut Claims<'_>) {
        if let Some(loan) = self.loan() {
            claims.add_loan(loan);
        }
        if let Some((account, _)) = self.savings() {
            claims.add_pot(Pot::Savings, account.opened_at..account.closed_at);
        }
        if let Some(row) = self.block.accounts(self.row).investments {
            let (account, _) = self.account(row, AccountType::Investments);
            let funded = funded_at(self.history, account.opened_at) + 1;
            claims.add_pot(Pot::Investments, funded..account.closed_at);
        }
    }

    pub(super) fn card(&self) -> Option<(CreditCard, Issue)> {
        let row = self.block.row_of(Product::Card, self.row)?;
        Some(CreditCard::new(self.context(), row, self.customer(), self.life()))
    }

    /// The purchases with the card, as at the start of the history.
    pub(super) fn purchases(&self) -> Option<&Purchases> {
        let purchases = self.purchases.get_or_init(|| {
            self.card().map(|(card, _)| Purchases::new(self.history, &card, self.life()))
        });
        purchases.as_ref()
    }

    pub(super) fn property(&self) -> Option<Property> {
        let row = self.block.row_of(Product::Property, self.row)?;
        Some(Property::new(self.context(), row, self.customer()))
    }

    pub(super) fn loan(&self) -> Option<Loan> {
        let row = self.block.row_of(Product::Loan, self.row)?;
        let property = self.property();
        Some(Loan::new(self.context(), row, self.customer(), property.as_ref()))
    }
}
