//! `labels`: which events belong to which scenario, found by passing the events of those who have one.

use super::client::Client;
use super::makers::{Count, Rows};
use crate::brazil::calendar::{DAY, HOUR};
use crate::catalog::{AccountType, Relation, Role, Scenario};
use crate::catalog::{CARD_TRANSACTIONS, INSTALLMENTS, TRANSACTIONS};
use crate::column::{Texts, columns};
use crate::event::Cursor;
use crate::event::card_transaction::{self, Woven};
use crate::event::installment;
use crate::event::scenario::{self, Instance, Subject};
use crate::rng::Domain;

/// How long before it is closed an account's events are its farewell, in milliseconds.
const FAREWELL: i64 = 90 * DAY;

columns! {
    /// Columns of `labels`.
    LabelColumns for LABELS {
        event_id: Vec<[u8; 16]>,
        stream: Texts,
        entity_id: Vec<[u8; 16]>,
        customer_id: Vec<[u8; 16]>,
        scenario: Vec<Scenario>,
        instance: Vec<[u8; 16]>,
        role: Vec<Role>,
        started_at: Vec<i64>,
        known_at: Vec<i64>,
    }
}

/// An event that has a label.
struct Label {
    stream: &'static Relation,
    event: [u8; 16],
    entity: [u8; 16],
    scenario: Scenario,
    instance: [u8; 16],
    role: Role,
    started_at: i64,
    known_at: i64,
}

impl Label {
    fn of_step(
        stream: &'static Relation,
        [event, entity]: [[u8; 16]; 2],
        instance: &Instance,
        number: u8,
    ) -> Self {
        Self {
            stream,
            event,
            entity,
            scenario: instance.scenario,
            instance: instance.id,
            role: instance.step(number).expect("a step of its instance").role,
            started_at: instance.started_at(),
            known_at: instance.known_at(),
        }
    }
}

/// Hands over the labels of a customer's events before the end of the span, stream by stream.
fn each(client: &Client<'_>, mut found: impl FnMut(Label)) {
    if client.context().plan.labels().is_some() {
        movements(client, &mut found);
        purchases(client, &mut found);
        installments(client, &mut found);
    }
}

fn movements(client: &Client<'_>, found: &mut impl FnMut(Label)) {
    let (history, context) = (client.history, client.context());
    let plan = &context.plan;
    for (row, kind) in client.accounts() {
        let mut months = history.months.iter();
        let has = kind == AccountType::Checking
            && months.any(|month| scenario::of_account(history, client.row, month).is_some());
        let (account, _) = client.account(row, kind);
        let closed_at = account.closed_at;
        let leaves = (plan.start()..plan.as_of()).contains(&closed_at);
        if !has && !leaves {
            continue;
        }
        let churn = scenario::id(history, Subject::Closed, row, 0);
        let mut ledger = client.ledger(row, kind);
        while ledger.peek().is_some_and(|time| time < client.until()) {
            let passed = ledger.pass_labelled(history);
            let ids = [context.event_id(Domain::Transaction, row, passed.k), ledger.id()];
            if let Some((instance, number)) = passed.woven {
                found(Label::of_step(&TRANSACTIONS, ids, &instance, number));
            } else if leaves && passed.time >= closed_at - FAREWELL {
                found(Label {
                    stream: &TRANSACTIONS,
                    event: ids[0],
                    entity: ids[1],
                    scenario: Scenario::Churn,
                    instance: churn,
                    role: if passed.closes { Role::Closing } else { Role::Leaving },
                    started_at: closed_at - FAREWELL,
                    known_at: closed_at + DAY,
                });
            }
        }
    }
}

fn installments(client: &Client<'_>, found: &mut impl FnMut(Label)) {
    let Some(loan) = client.loan() else { return };
    let (history, context) = (client.history, client.context());
    let Some(lost) = installment::lost(history, &loan) else { return };
    let instance = scenario::id(history, Subject::Loan, loan.row, 0);
    for (k, time, role) in lost.events {
        if time < client.until() {
            found(Label {
                stream: &INSTALLMENTS,
                event: context.event_id(Domain::Installment, loan.row, k),
                entity: loan.id,
                scenario: Scenario::DefaultPath,
                instance,
                role,
                started_at: lost.started_at,
                // What is missed is told of again and again.
                known_at: lost.known_at.max(time + HOUR),
            });
        }
    }
}

fn purchases(client: &Client<'_>, found: &mut impl FnMut(Label)) {
    let Some((card, _)) = client.card() else { return };
    let context = client.context();
    let woven = card_transaction::woven(client.history, &card, client.life());
    for Woven { k, time, instance, number } in woven {
        if time < client.until() {
            let ids = [context.event_id(Domain::CardTransaction, card.row, k), card.id];
            found(Label::of_step(&CARD_TRANSACTIONS, ids, &instance, number));
        }
    }
}

impl Rows for LabelColumns {
    const COUNT: Count = Count::Each(|client| {
        let mut count = 0;
        each(client, |_| count += 1);
        count
    });

    fn push_client(&mut self, client: &Client<'_>) {
        let customer = client.context().id(Domain::Customer, client.row);
        each(client, |label| {
            self.event_id.push(label.event);
            self.stream.push(label.stream.name);
            self.entity_id.push(label.entity);
            self.customer_id.push(customer);
            self.scenario.push(label.scenario);
            self.instance.push(label.instance);
            self.role.push(label.role);
            self.started_at.push(label.started_at);
            self.known_at.push(label.known_at);
        });
    }
}
