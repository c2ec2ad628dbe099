//! `banking.transactions`: the ledger of an account.
//!
//! The first four draws of an event decide its time and what it does to the balance; the rest (who,
//! which key) is drawn apart, so that a balance can be found without making them.

use super::{History, scaled};
use crate::brazil::calendar::{HOUR, local_day, local_time};
use crate::brazil::data::{Bank, Company, Label};
use crate::brazil::documents::{cpf, write_digits};
use crate::brazil::reference;
use crate::civil::from_days;
use crate::column::{Nullable, Texts, columns};
use crate::entity::account::{Account, AccountType, is_closed};
use crate::rng::{Domain, Half, Word, log_normal};

columns! {
    /// Columns of `banking.transactions`.
    TransactionColumns for "banking.transactions" {
        transaction_id: Vec<[u8; 16]>,
        account_id: Vec<[u8; 16]>,
        transaction_type: Vec<u8>,
        direction: Vec<u8>,
        amount: Vec<i64>,
        balance_after: Vec<i64>,
        currency: Vec<u8>,
        channel: Vec<u8>,
        status: Vec<u8>,
        description: Nullable<Texts>,
        counterparty_name: Nullable<Texts>,
        counterparty_document: Nullable<Texts>,
        counterparty_ispb: Nullable<Texts>,
        pix_key_type: Nullable<Vec<u8>>,
        pix_key: Nullable<Texts>,
        end_to_end_id: Nullable<Texts>,
        occurred_at: Vec<i64>,
    }
}

// Positions in the catalogue's lists.
const PIX: u8 = 0;
const TED: u8 = 1;
const DEPOSIT: u8 = 2;
const WITHDRAWAL: u8 = 3;
const CREDIT: u8 = 0;
const DEBIT: u8 = 1;
const COMPLETED: u8 = 0;
const REVERSED: u8 = 1;
const DECLINED: u8 = 2;
const MOBILE: u8 = 0;
const INTERNET: u8 = 1;
const ATM: u8 = 2;
const BRANCH: u8 = 3;
const KEY_CPF: u8 = 0;
const KEY_CNPJ: u8 = 1;
const KEY_PHONE: u8 = 2;
const KEY_EMAIL: u8 = 3;
const KEY_EVP: u8 = 4;
/// Kinds of key of an account, as kinds of key of a payment.
const ACCOUNT_KEYS: [u8; 4] = [KEY_CPF, KEY_PHONE, KEY_EMAIL, KEY_EVP];

/// ISPB of the bank whose data this is: none that the Banco Central has given out.
const OWN_ISPB: [u8; 8] = *b"99860010";
/// Most that a person may send by Pix between 20:00 and 06:00, in centavos (Banco Central ≈).
const NIGHT_CAP: i64 = 100_000;
/// Movements in the default number of days, for each kind of account; drawn evenly.
/// Means 17.5, 4 and 6.25: 20.2 for a customer.
const CHECKING: [u32; 16] = [2, 4, 6, 8, 9, 10, 12, 13, 15, 17, 19, 22, 25, 30, 38, 50];
const SAVINGS: [u32; 8] = [1, 2, 2, 3, 4, 5, 6, 9];
const INVESTMENTS: [u32; 8] = [2, 3, 4, 5, 6, 8, 10, 12];

/// How many movements an account has.
pub fn count(history: &History, account: &Account) -> u32 {
    count_of(history, account.row, account.kind)
}

/// The same by its row.
pub fn count_of(history: &History, row: u64, kind: AccountType) -> u32 {
    if is_closed(&history.context, row, kind) {
        return 0;
    }
    let [draw, ..] = history.context.rng.four(Domain::Transaction, row, u64::MAX, 0);
    let (place, lot) = draw.halves();
    let events: &[u32] = match kind {
        AccountType::Checking => &CHECKING,
        AccountType::Savings => &SAVINGS,
        AccountType::Investments => &INVESTMENTS,
    };
    scaled(events[place.below(events.len() as u32) as usize], &history.context.plan, lot)
}

/// The time of event `k` of the `n` of an account, in milliseconds; found without its
/// other fields.
pub fn time(history: &History, account: &Account, k: u32, n: u32) -> i64 {
    let [when, ..] = history.context.rng.four(Domain::Transaction, account.row, u64::from(k), 0);
    history.movements.parts(n).time(k, when)
}

/// What an event does to the account.
struct Movement {
    time: i64,
    kind: u8,
    direction: u8,
    amount: i64,
    status: u8,
    balance: i64,
    /// What is left of its draws.
    draw: Half,
}

fn kind(history: &History, account: &Account, time: i64, draw: Half) -> u8 {
    // TED is ordered on business days, before 17:00.
    let ted = history.days.is_business_day(local_day(time))
        && (7 * HOUR..17 * HOUR).contains(&local_time(time));
    match (account.kind, draw.below(1000)) {
        (AccountType::Checking, 0..45) | (AccountType::Investments, 0..600) if ted => TED,
        (AccountType::Checking, 45..105) | (AccountType::Savings, 0..250) => DEPOSIT,
        (AccountType::Checking, 105..180) | (AccountType::Savings, 250..400) => WITHDRAWAL,
        _ => PIX,
    }
}

fn amount(account: &Account, kind: u8, draw: Half) -> i64 {
    let (median, sigma) = match (kind, account.kind) {
        // Cash comes in tens.
        (DEPOSIT, _) => return (5 + i64::from(draw.below(296))) * 1_000,
        (WITHDRAWAL, _) => return (2 + i64::from(draw.below(99))) * 1_000,
        // Means R$ 430 and R$ 40 600 (Banco Central).
        (PIX, AccountType::Checking) => (8_500, 188),
        (TED, AccountType::Checking) => (800_000, 180),
        (PIX, AccountType::Savings) => (15_000, 110),
        (PIX, _) => (40_000, 130),
        _ => (300_000, 150),
    };
    (log_normal(draw, median, sigma) as i64).max(100)
}

impl Movement {
    fn new(
        history: &History,
        account: &Account,
        time: i64,
        [_, what, money, fate]: [Word; 4],
        balance: i64,
    ) -> Self {
        let (which, side) = what.halves();
        let (size, draw) = money.halves();
        let (portion, fate) = fate.halves();
        let kind = kind(history, account, time, which);
        // Money comes in when there is little, and goes out when there is much.
        let credits = match balance {
            b if b < account.income / 4 => 7_500,
            b if b > account.income * 5 => 3_000,
            _ => 4_500,
        };
        let direction = match kind {
            DEPOSIT => CREDIT,
            WITHDRAWAL => DEBIT,
            _ => u8::from(!side.chance(credits)),
        };
        let mut amount = amount(account, kind, size);
        let night = !(6 * HOUR..20 * HOUR).contains(&local_time(time));
        if kind == PIX && night {
            amount = amount.min(NIGHT_CAP);
        }
        let available = balance + account.overdraft_limit;
        // Most people look at their balance first and pay what they can.
        if direction == DEBIT && amount > available && available >= 5_000 && fate.chance(8_500) {
            amount = available * (10 + i64::from(portion.below(70))) / 100;
            if kind == WITHDRAWAL {
                amount = (amount / 1_000 * 1_000).max(1_000);
            }
        }
        let status = match () {
            () if direction == DEBIT && amount > available => DECLINED,
            () if fate.0 % 200 == 0 => REVERSED,
            () => COMPLETED,
        };
        let moved = match (status, direction) {
            (COMPLETED, CREDIT) => amount,
            (COMPLETED, _) => -amount,
            _ => 0,
        };
        Self { time, kind, direction, amount, status, balance: balance + moved, draw }
    }
}

/// The balance of an account after its last event.
pub fn closing_balance(history: &History, account: &Account) -> i64 {
    let n = count(history, account);
    let parts = history.movements.parts(n);
    (0..n).fold(account.opening_balance, |balance, k| {
        let draws = history.context.rng.four(Domain::Transaction, account.row, u64::from(k), 0);
        Movement::new(history, account, parts.time(k, draws[0]), draws, balance).balance
    })
}

/// The other side of a Pix or TED.
struct Counterparty {
    company: Option<&'static Company>,
    names: [&'static Label; 2],
    /// Chooses the CPF.
    document: Word,
    bank: &'static Bank,
}

impl Counterparty {
    fn new(who: Word, given: Word, last: Word, document: Word) -> Self {
        let reference = reference();
        let (firm, bank) = who.halves();
        let names = &reference.given_names[(document.0 & 1) as usize][1];
        Self {
            // 41% of Pix goes to firms (Banco Central).
            company: firm.chance(4_100).then(|| reference.companies.pick(given)),
            names: [&names.pick(given).label, &reference.surnames.pick(last).label],
            document,
            bank: &reference.banks[bank.below(reference.banks.len() as u32) as usize],
        }
    }
}

impl Counterparty {
    fn cpf(&self) -> [u8; 11] {
        cpf(self.document.below(999_999_998) as u32 + 1)
    }
}

const BASE_36: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// `E`, ISPB of the payer's bank, minute in UTC, eleven letters or digits (Banco Central, Pix).
fn end_to_end_id(ispb: [u8; 8], time: i64, draw: Word) -> [u8; 32] {
    let mut id = *b"E00000000yyyyMMddHHmm00000000000";
    id[1..9].copy_from_slice(&ispb);
    let minutes = time.div_euclid(60_000);
    let (year, month, day) = from_days(minutes.div_euclid(1_440) as i32);
    let minute_of_day = minutes.rem_euclid(1_440) as u64;
    write_digits(&mut id[9..13], year as u64);
    write_digits(&mut id[13..15], u64::from(month));
    write_digits(&mut id[15..17], u64::from(day));
    write_digits(&mut id[17..19], minute_of_day / 60);
    write_digits(&mut id[19..21], minute_of_day % 60);
    let mut rest = draw.0;
    for letter in &mut id[21..] {
        *letter = BASE_36[(rest % 36) as usize];
        rest /= 36;
    }
    id
}

fn channel(kind: u8, draw: Half) -> u8 {
    match (kind, draw.below(100)) {
        (WITHDRAWAL, 0..95) | (DEPOSIT, 0..60) => ATM,
        (WITHDRAWAL | DEPOSIT, _) | (TED, 95..) => BRANCH,
        (TED, 60..) | (_, 92..) => INTERNET,
        _ => MOBILE,
    }
}

impl TransactionColumns {
    /// Adds all movements of an account.
    pub fn push(&mut self, history: &History, account: &Account) {
        let reference = reference();
        let n = count(history, account);
        let parts = history.movements.parts(n);
        let mut balance = account.opening_balance;
        for k in 0..n {
            let [draws, [who, given, last, document], pix] =
                history.context.rng.fours(Domain::Transaction, account.row, u64::from(k));
            let movement = Movement::new(history, account, parts.time(k, draws[0]), draws, balance);
            balance = movement.balance;
            let (kind, direction) = (movement.kind, movement.direction);
            self.transaction_id.push(history.context.event_id(Domain::Transaction, account.row, k));
            self.account_id.push(account.id);
            self.transaction_type.push(kind);
            self.direction.push(direction);
            self.amount.push(movement.amount);
            self.balance_after.push(balance);
            self.currency.push(0);
            self.channel.push(channel(kind, movement.draw));
            self.status.push(movement.status);
            let texts = &reference.descriptions[kind as usize][direction as usize];
            let text = texts.get(movement.draw.0 as usize % (texts.len() * 3 / 2));
            match text {
                Some(text) => self.description.push_padded([text.padded()]),
                None => self.description.push(None),
            }
            self.occurred_at.push(movement.time);
            if matches!(kind, DEPOSIT | WITHDRAWAL) {
                self.push_nobody();
                continue;
            }
            let other = Counterparty::new(who, given, last, document);
            self.push_counterparty(&other);
            if kind == PIX {
                let payer = if direction == DEBIT { OWN_ISPB } else { other.bank.ispb };
                if direction == DEBIT {
                    self.push_key_of(&other, pix);
                } else {
                    let key = account.pix_key.as_ref();
                    self.pix_key_type.push(key.map(|key| ACCOUNT_KEYS[key.kind as usize]));
                    self.pix_key.push(key.map(|key| key.key.as_str()));
                }
                let id = end_to_end_id(payer, movement.time, pix[3]);
                self.end_to_end_id.push_ascii(&id);
            } else {
                self.push_no_pix();
            }
        }
    }

    fn push_no_pix(&mut self) {
        self.pix_key_type.push(None);
        self.pix_key.push(None);
        self.end_to_end_id.push(None);
    }

    fn push_nobody(&mut self) {
        self.counterparty_name.push(None);
        self.counterparty_document.push(None);
        self.counterparty_ispb.push(None);
        self.push_no_pix();
    }

    fn push_counterparty(&mut self, other: &Counterparty) {
        if let Some(company) = other.company {
            self.counterparty_name.push_padded([company.name.padded()]);
            self.counterparty_document.push_ascii(&company.cnpj);
        } else {
            const SPACE: Label = Label::new(" ");
            let [given, last] = other.names.map(Label::padded);
            self.counterparty_name.push_padded([given, SPACE.padded(), last]);
            let cpf = other.cpf();
            let mut masked = *b"***.000.000-**";
            masked[4..7].copy_from_slice(&cpf[3..6]);
            masked[8..11].copy_from_slice(&cpf[6..9]);
            self.counterparty_document.push_ascii(&masked);
        }
        self.counterparty_ispb.push_ascii(&other.bank.ispb);
    }

    /// Kinds of key as the Banco Central counts them, between those that a person and a firm may have.
    fn push_key_of(&mut self, other: &Counterparty, [choice, high, low, _]: [Word; 4]) {
        let kind = match (other.company, choice.below(1000)) {
            (_, 0..452) => KEY_EVP,
            (None, 452..690) => KEY_PHONE,
            (None, 690..880) => KEY_CPF,
            (Some(_), 452..860) => KEY_CNPJ,
            _ => KEY_EMAIL,
        };
        self.pix_key_type.push(Some(kind));
        match (kind, other.company) {
            (KEY_CPF, _) => self.pix_key.push_ascii(&other.cpf()),
            (KEY_CNPJ, Some(company)) => self.pix_key.push_ascii(&company.cnpj),
            (KEY_PHONE, _) => {
                let cities = &reference().cities;
                let mut phone = *b"+55DD900000000";
                phone[3..5].copy_from_slice(&cities.pick(high).ddd);
                write_digits(&mut phone[6..], low.below(100_000_000));
                self.pix_key.push_ascii(&phone);
            }
            (KEY_EMAIL, _) => {
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
