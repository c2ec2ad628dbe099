//! What one customer has.

use std::ops::Range;

use crate::catalog::AccountType;
use crate::entity::Context;
use crate::entity::account::Account;
use crate::entity::card::{CreditCard, Issue};
use crate::entity::customer::Customer;
use crate::entity::layout::{Block, Product};
use crate::entity::loan::Loan;
use crate::entity::property::Property;
use crate::entity::skeleton::Skeleton;
use crate::event::History;
use crate::event::card_transaction::Purchases;
use crate::event::installment::Repayment;
use crate::event::trade::{Investor, funded_at};
use crate::event::transaction::{Feeds, Ledger};

/// One customer with what says who has what.
pub(super) struct Client<'a> {
    pub history: &'a History,
    pub block: &'a Block,
    pub row: u64,
    /// The instants of which events are wanted, and at whose end balances are.
    pub span: Range<i64>,
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
        Self { history, block, row, span }
    }

    /// The end of the span, or that of the plan.
    pub(super) fn until(&self) -> i64 {
        self.span.end.min(self.context().plan.as_of())
    }

    pub(super) const fn context(&self) -> &'a Context {
        &self.history.context
    }

    pub(super) fn customer(&self) -> Customer {
        Customer::new(self.context(), self.row)
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

    /// The ledgers of the customer's accounts, in the order of their rows, with the balances before the history.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = (Ledger, i64)> {
        let customer = self.customer();
        self.accounts().map(move |(row, kind)| {
            let (account, balance, feeds) = self.account(row, kind, &customer);
            (Ledger::new(self.history, account, balance, feeds), balance)
        })
    }

    /// The INVESTIMENTOS account of a row, and its balance before the history.
    pub(super) fn investments(&self, row: u64) -> (Account, i64) {
        Account::new(self.context(), row, AccountType::Investments, &self.customer())
    }

    /// An account, its balance before the history, and what moves it from outside.
    pub(super) fn account(
        &self,
        row: u64,
        kind: AccountType,
        customer: &Customer,
    ) -> (Account, i64, Feeds) {
        let (account, balance) = Account::new(self.context(), row, kind, customer);
        match kind {
            AccountType::Checking => {
                let balance = Ledger::opening_balance(self.history, &account);
                (account, balance, self.products(customer))
            }
            AccountType::Savings => (account, balance, Feeds::default()),
            AccountType::Investments => {
                let opening = (account.opened_at, balance);
                let investor = Investor::new(self.history, row, &account.life, opening);
                (account, balance, Feeds { investor: Some(investor), ..Feeds::default() })
            }
        }
    }

    /// What other products ask of the customer's CORRENTE account.
    fn products(&self, customer: &Customer) -> Feeds {
        let accounts = self.block.accounts(self.row);
        let open = |row: Option<u64>, kind| {
            row.map(|row| Account::new(self.context(), row, kind, customer))
        };
        let savings = open(accounts.savings, AccountType::Savings);
        let investments = open(accounts.investments, AccountType::Investments);
        let span = |account: &Option<(Account, i64)>, since: &dyn Fn(i64) -> i64| {
            let span = |(account, _): &(Account, i64)| since(account.opened_at)..account.closed_at;
            account.as_ref().map_or(0..0, span)
        };
        let funded = |opened_at| funded_at(self.history, opened_at) + 1;
        Feeds {
            pots: [span(&savings, &|opened_at| opened_at), span(&investments, &funded)],
            savings: savings.map(|(account, balance)| {
                Box::new(Ledger::new(self.history, account, balance, Feeds::default()))
            }),
            loan: self
                .loan_of(customer)
                .map(|loan| Repayment::since(self.history, loan, self.context().plan.start())),
            card: self.block.row_of(Product::Card, self.row).map(|row| {
                let (card, _) = CreditCard::new(self.context(), row, customer);
                Purchases::new(self.history, &card, &Skeleton::new(self.context(), customer))
            }),
            bill: None,
            investor: None,
        }
    }
    pub(super) fn card(&self) -> Option<(CreditCard, Issue, Customer)> {
        let row = self.block.row_of(Product::Card, self.row)?;
        let holder = self.customer();
        let (card, issue) = CreditCard::new(self.context(), row, &holder);
        Some((card, issue, holder))
    }

    pub(super) fn property(&self) -> Option<(Property, Customer)> {
        let row = self.block.row_of(Product::Property, self.row)?;
        let owner = self.customer();
        Some((Property::new(self.context(), row, &owner), owner))
    }

    pub(super) fn loan(&self) -> Option<(Loan, Customer)> {
        let borrower = self.customer();
        Some((self.loan_of(&borrower)?, borrower))
    }

    fn loan_of(&self, borrower: &Customer) -> Option<Loan> {
        let row = self.block.row_of(Product::Loan, self.row)?;
        let property = self.block.row_of(Product::Property, self.row);
        let property = property.map(|row| Property::new(self.context(), row, borrower));
        Some(Loan::new(self.context(), row, borrower, property.as_ref()))
    }
}
