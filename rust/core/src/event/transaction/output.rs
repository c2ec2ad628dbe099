//! The columns of a movement.

use super::counterparty::{Counterparty, Other, counterparty, masked};
use super::inside::leg_at;
use super::month::What;
use super::movement::Movement;
use super::{Ledger, Moved, OWN_ISPB, TransactionColumns};
use crate::brazil::calendar::{HOUR, local_day, local_time};
use crate::brazil::data::Label;
use crate::brazil::documents::{digits, write_digits};
use crate::brazil::reference;
use crate::catalog::Channel::{self, Atm, Branch, Internet, Mobile};
use crate::catalog::Direction::Debit;
use crate::catalog::TransactionType::{Deposit, Pix, Ted, Transfer, Withdrawal};
use crate::catalog::{AccountPixKeyType, Currency, PixKeyType};
use crate::civil::from_days;
use crate::entity::Context;
use crate::entity::account::pix_key_kind;
use crate::entity::holder::Holder;
use crate::event::History;
use crate::rng::{Domain, Word};

const BASE_36: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The kind of key of a payment to an account with such a key.
const fn paid_to(key: AccountPixKeyType) -> PixKeyType {
    match key {
        AccountPixKeyType::Cpf => PixKeyType::Cpf,
        AccountPixKeyType::Phone => PixKeyType::Phone,
        AccountPixKeyType::Email => PixKeyType::Email,
        AccountPixKeyType::Evp => PixKeyType::Evp,
    }
}

/// `E`, ISPB of the payer's bank, minute in UTC, eleven letters or digits (Banco Central, Pix).
fn end_to_end_id(ispb: [u8; 8], time: i64, draw: Word) -> [u8; 32] {
    /// Letters of which a word of 32 bits has as many numbers: divisions of halves are faster.
    const FIRST: usize = 5;
    let mut id = *b"E00000000yyyyMMddHHmm00000000000";
    id[1..9].copy_from_slice(&ispb);
    let minutes = time.div_euclid(60_000);
    let (year, month, day) = from_days(minutes.div_euclid(1_440) as i32);
    let minute = minutes.rem_euclid(1_440) as u32;
    id[9..17].copy_from_slice(&digits(year as u32 * 10_000 + month * 100 + day));
    id[17..21].copy_from_slice(&digits(minute / 60 * 100 + minute % 60)[4..]);
    let (first, rest) = id[21..].split_at_mut(FIRST);
    let parts = [draw.0 % 36_u64.pow(5), draw.0 / 36_u64.pow(5) % 36_u64.pow(6)];
    for (letters, part) in [first, rest].into_iter().zip(parts) {
        let mut part = part as u32;
        for letter in letters {
            *letter = BASE_36[(part % 36) as usize];
            part /= 36;
        }
    }
    id
}

fn channel(history: &History, movement: &Movement) -> Channel {
    let (draw, time) = (movement.draw.below(100), local_time(movement.time));
    // Branches are open from 10:00 to 16:00 on business days (Febraban).
    let open = (10 * HOUR..16 * HOUR).contains(&time)
        && history.days.at(local_day(movement.time)).business;
    match (movement.kind, draw) {
        (Withdrawal, 85..) | (Deposit, 55..) | (Ted, 94..) if open => Branch,
        (Withdrawal | Deposit, _) => Atm,
        (Pix, 97..) | (Ted, 60..) => Internet,
        (Pix | Ted, _) => Mobile,
        // What banks and employers run themselves.
        _ => match movement.what {
            What::CardBill if draw < 40 => Mobile,
            _ if movement.kind == Transfer => Mobile,
            _ => Internet,
        },
    }
}

/// The draws of the other side of a movement, and where they are.
pub(super) struct OtherSide {
    pub(super) place: u64,
    pub(super) draws: [Word; 4],
    /// For the end-to-end id.
    pub(super) id: Word,
}

impl Ledger {
    /// Adds an event.
    #[inline]
    pub(super) fn write_movement(
        &self,
        history: &History,
        &Moved { k, month, ref movement, ref side }: &Moved,
        columns: &mut TransactionColumns,
    ) {
        let &OtherSide { place, draws: who, id } = side;
        let (row, context) = (self.account().row, &history.context);
        columns.transaction_id.push(context.event_id(Domain::Transaction, row, k));
        columns.account_id.push(self.account().id);
        columns.transaction_type.push(movement.kind);
        columns.direction.push(movement.direction);
        columns.amount.push(movement.amount);
        columns.balance_after.push(movement.balance);
        columns.currency.push(Currency::Brl);
        columns.channel.push(channel(history, movement));
        columns.status.push(movement.status);
        columns.occurred_at.push(movement.time);
        let original = movement.original;
        columns
            .original_transaction_id
            .push(original.map(|k| context.event_id(Domain::Transaction, row, k)));
        let label = match movement.purpose {
            Some(purpose) => purpose.label.as_ref(),
            None => Some(&reference().dues[movement.what as usize]),
        };
        match label {
            Some(label) => columns.description.push_padded([label.padded()]),
            None => columns.description.push(None),
        }
        if matches!(movement.what, What::InsideIn | What::InsideOut) {
            self.write_inside(history, columns, movement, month);
            return;
        }
        let Some(other) = counterparty(self.account(), &self.habits, movement, who) else {
            columns.push_nobody();
            return;
        };
        self.write_counterparty(history, columns, &other);
        if movement.kind == Pix {
            let account = self.account();
            let payer = if movement.direction == Debit { OWN_ISPB } else { other.ispb };
            if movement.direction == Debit {
                let [key, ..] = context.rng.fours_at(Domain::Transaction, row, [(place, 1)]);
                columns.push_key_of(&other, key);
            } else {
                columns.pix_key_type.push(account.pix_key.map(paid_to));
                columns.push_registered_key(context, account.pix_key, account.life.row());
            }
            columns.end_to_end_id.push_ascii(&end_to_end_id(payer, movement.time, id));
        } else {
            columns.push_no_pix();
        }
    }

    /// A payment between customers: the other leg has the same key and end-to-end id.
    #[cold]
    fn write_inside(
        &self,
        history: &History,
        columns: &mut TransactionColumns,
        movement: &Movement,
        month: u16,
    ) {
        let (context, account) = (&history.context, self.account());
        let month = &history.months[month as usize];
        let leg = leg_at(history, &account.life, account.opened_at, month, movement.time)
            .expect("the leg that was found when the month was planned");
        Holder::with(context, leg.partner, |other| {
            columns.counterparty_name.push_parts(other.name());
            columns.counterparty_document.push_ascii(&masked(other.cpf(context)));
        });
        columns.counterparty_ispb.push_ascii(&OWN_ISPB);
        let payee = if leg.pays { leg.partner } else { account.life.row() };
        let kind = pix_key_kind(context, payee);
        columns.pix_key_type.push(kind.map(paid_to));
        columns.push_registered_key(context, kind, payee);
        columns.end_to_end_id.push_ascii(&end_to_end_id(OWN_ISPB, movement.time, leg.id));
    }

    fn write_counterparty(
        &self,
        history: &History,
        columns: &mut TransactionColumns,
        other: &Counterparty,
    ) {
        match &other.other {
            Other::Company(company) => {
                columns.counterparty_name.push_padded([company.name.padded()]);
                columns.counterparty_document.push_ascii(&company.cnpj);
            }
            Other::Person(names, cpf) => {
                columns.counterparty_name.push_padded(names.map(Label::padded));
                columns.counterparty_document.push_ascii(&masked(cpf));
            }
            Other::Own => {
                let context = &history.context;
                Holder::with(context, self.account().life.row(), |holder| {
                    columns.counterparty_name.push_parts(holder.name());
                    columns.counterparty_document.push_ascii(&masked(holder.cpf(context)));
                });
            }
        }
        columns.counterparty_ispb.push_ascii(&other.ispb);
    }
}

impl TransactionColumns {
    fn push_no_pix(&mut self) {
        self.pix_key_type.push(None);
        self.pix_key.push(None);
        self.end_to_end_id.push(None);
    }

    /// The key of a customer, if they have registered one of a kind.
    fn push_registered_key(
        &mut self,
        context: &Context,
        kind: Option<AccountPixKeyType>,
        customer: u64,
    ) {
        match kind {
            Some(kind) => Holder::with(context, customer, |holder| {
                self.pix_key.push(Some(holder.pix_key(context, kind)));
            }),
            None => self.pix_key.push(None),
        }
    }

    fn push_nobody(&mut self) {
        self.counterparty_name.push(None);
        self.counterparty_document.push(None);
        self.counterparty_ispb.push(None);
        self.push_no_pix();
    }

    /// Kinds of key as the Banco Central counts them (EVP 45.2%, phone 19.3%, CPF 19.0%, e-mail 14.9%, CNPJ
    /// 1.7%), between those that a person and a firm may have; firms show codes, which are EVP.
    fn push_key_of(&mut self, other: &Counterparty, [choice, high, low, _]: [Word; 4]) {
        let kind = match (&other.other, choice.below(1000)) {
            (Other::Company(_), 0..28) => PixKeyType::Cnpj,
            (_, 37..186) => PixKeyType::Email,
            (Other::Company(_), 186..309) | (Other::Person(..), 186..450) => PixKeyType::Phone,
            (Other::Person(..), 450..957) => PixKeyType::Cpf,
            _ => PixKeyType::Evp,
        };
        self.pix_key_type.push(Some(kind));
        match (kind, &other.other) {
            (PixKeyType::Cpf, Other::Person(_, cpf)) => self.pix_key.push_ascii(cpf),
            (PixKeyType::Cnpj, Other::Company(company)) => self.pix_key.push_ascii(&company.cnpj),
            (PixKeyType::Phone, _) => {
                let cities = &reference().cities;
                let mut phone = *b"+55DD900000000";
                phone[3..5].copy_from_slice(&cities.pick(high).ddd);
                write_digits(&mut phone[6..], low.below(100_000_000));
                self.pix_key.push_ascii(&phone);
            }
            (PixKeyType::Email, _) => {
                let mut email = *b"pix00000000@example.com";
                write_digits(&mut email[3..11], high.below(100_000_000));
                self.pix_key.push_ascii(&email);
            }
            _ => {
                let mut evp = *b"00000000-0000-4000-8000-000000000000";
                let mut bits = u128::from(high.0) << 64 | u128::from(low.0);
                for (place, digit) in evp.iter_mut().enumerate() {
                    // Hyphens, version and variant stay.
                    if !matches!(place, 8 | 13 | 14 | 18 | 19 | 23) {
                        *digit = b"0123456789abcdef"[(bits & 0xF) as usize];
                        bits >>= 4;
                    }
                }
                self.pix_key.push_ascii(&evp);
            }
        }
    }
}
