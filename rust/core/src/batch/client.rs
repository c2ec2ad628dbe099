//! What one customer has.

use std::ops::Range;

use crate::catalog::AccountType;
use crate::entity::Context;
use crate::entity::account::{Account, Opening};
use crate::entity::card::{CreditCard, Issue};
use crate::entity::customer::Customer;
use crate::entity::layout::{Block, Product};
use crate::entity::loan::Loan;
use crate::entity::property::Property;
use crate::event::History;

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

    pub(super) fn account(
        &self,
        row: u64,
        kind: AccountType,
        customer: &Customer,
    ) -> (Account, Opening) {
        Account::new(self.context(), row, kind, customer)
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
        let row = self.block.row_of(Product::Loan, self.row)?;
        let borrower = self.customer();
        let property = self.block.row_of(Product::Property, self.row);
        let property = property.map(|row| Property::new(self.context(), row, &borrower));
        Some((Loan::new(self.context(), row, &borrower, property.as_ref()), borrower))
    }
}
