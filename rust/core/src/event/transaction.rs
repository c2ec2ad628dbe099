//! `banking.transactions`: the ledger of an account.
//!
//! The first four draws of an event decide its time and what it does to the balance; the rest (who,
//! which key) is drawn apart, so that a balance can be found without making them.

mod counterparty;
mod routine;

use counterparty::{Counterparty, Other, counterparty, masked};
use routine::{Bill, Routine};

use super::recurring::{Due, Dues};
use super::{Cursor, History, scaled};
use crate::brazil::calendar::{HOUR, local_day, local_time};
use crate::brazil::data::{Label, Party};
use crate::brazil::documents::write_digits;
use crate::brazil::reference;
use crate::catalog::Channel::{self, Atm, Branch, Internet, Mobile};
use crate::catalog::Direction::{self, Credit, Debit};
use crate::catalog::TransactionStatus::{self, Completed, Declined, Reversed};
use crate::catalog::TransactionType::{self, Deposit, Pix, Ted, Withdrawal};
use crate::catalog::{AccountPixKeyType, AccountType, Currency, PixKeyType};
use crate::civil::from_days;
use crate::column::{Nullable, Texts, columns};
use crate::entity::account::{Account, is_closed};
use crate::entity::customer::Customer;
use crate::rng::{Domain, Half, Word, log_normal};

columns! {
    /// Columns of `banking.transactions`.
    TransactionColumns for TRANSACTIONS {
        transaction_id: Vec<[u8; 16]>,
        account_id: Vec<[u8; 16]>,
        transaction_type: Vec<TransactionType>,
        direction: Vec<Direction>,
        amount: Vec<i64>,
        balance_after: Vec<i64>,
        currency: Vec<Currency>,
        channel: Vec<Channel>,
        status: Vec<TransactionStatus>,
        description: Nullable<Texts>,
        counterparty_name: Nullable<Texts>,
        counterparty_document: Nullable<Texts>,
        counterparty_ispb: Nullable<Texts>,
        pix_key_type: Nullable<Vec<PixKeyType>>,
        pix_key: Nullable<Texts>,
        end_to_end_id: Nullable<Texts>,
        occurred_at: Vec<i64>,
    }
}

/// ISPB of the bank whose data this is: none that the Banco Central has given out.
const OWN_ISPB: [u8; 8] = *b"99860010";
/// Most that a person may send by Pix between 20:00 and 06:00, in centavos (Banco Central ≈).
const NIGHT_CAP: i64 = 100_000;
/// More than a gift for a birthday, in centavos.
const LARGE_PIX: i64 = 200_000;
/// Movements in the default number of days, for each kind of account; drawn evenly.
/// Means 17.5, 4 and 6.25: 20.2 for a customer.
const CHECKING: [u32; 16] = [2, 4, 6, 8, 9, 10, 12, 13, 15, 17, 19, 22, 25, 30, 38, 50];
const SAVINGS: [u32; 8] = [1, 2, 2, 3, 4, 5, 6, 9];
const INVESTMENTS: [u32; 8] = [2, 3, 4, 5, 6, 8, 10, 12];
/// People and firms whom an account pays, and is paid by, again and again.
const CONTACTS: u64 = 6;

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
    scaled(usual_count(kind, place), &history.context.plan, lot)
}

/// Movements in the default number of days.
fn usual_count(kind: AccountType, place: Half) -> u32 {
    let events: &[u32] = match kind {
        AccountType::Checking => &CHECKING,
        AccountType::Savings => &SAVINGS,
        AccountType::Investments => &INVESTMENTS,
    };
    events[place.below(events.len() as u32) as usize]
}

/// The time of event `k` of the `n` of an account, in milliseconds; found without its
/// other fields.
pub fn time(history: &History, account: &Account, k: u32, n: u32) -> i64 {
    let parts = history.movements.parts(n);
    let mut dues = Routine::new(history, account).dues(history, &parts, n);
    dues.pass_until(k);
    if let Some(due) = dues.at(history, k) {
        return due.time;
    }
    parts.time(k, draws(history, account.row, k)[0])
}

/// What an event does to the account.
struct Movement {
    time: i64,
    bill: Option<Bill>,
    kind: TransactionType,
    direction: Direction,
    amount: i64,
    status: TransactionStatus,
    balance: i64,
    /// What is left of its draws.
    draw: Half,
}

fn kind(history: &History, account: &Account, time: i64, draw: Half) -> TransactionType {
    let (time, business) = (local_time(time), history.days.at(local_day(time)).business);
    // TED is ordered on business days, before 17:00; machines give no cash at night (Febraban).
    let ted = business && (7 * HOUR..17 * HOUR).contains(&time);
    let cash = (6 * HOUR..22 * HOUR).contains(&time);
    match (account.kind, draw.below(1000)) {
        (AccountType::Checking, 0..45) | (AccountType::Investments, 0..600) if ted => Ted,
        (AccountType::Checking, 45..70) | (AccountType::Savings, 0..250) if cash => Deposit,
        (AccountType::Checking, 70..125) | (AccountType::Savings, 250..400) if cash => Withdrawal,
        _ => Pix,
    }
}

fn amount(account: &Account, kind: TransactionType, draw: Half) -> i64 {
    let (median, sigma) = match (kind, account.kind) {
        // Cash comes in tens.
        (Deposit, _) => return (5 + i64::from(draw.below(296))) * 1_000,
        (Withdrawal, _) => return (2 + i64::from(draw.below(99))) * 1_000,
        // Means R$ 430 and R$ 40 600 (Banco Central).
        (Pix, AccountType::Checking) => (4_500, 212),
        (Pix, AccountType::Savings) => (15_000, 110),
        (Pix, _) => (40_000, 130),
        _ => (account.income as u64 * 5 / 3, 210),
    };
    (log_normal(draw, median, sigma) as i64).max(100)
}

impl Movement {
    fn new(
        history: &History,
        account: &Account,
        salaried: bool,
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
            b if b < account.income / 4 => [7_500, 5_500],
            b if b > account.income * 5 => [3_000, 1_500],
            b if b > account.income * 2 => [4_500, 2_000],
            _ => [4_500, 3_000],
        };
        let credits = credits[usize::from(salaried)];
        let direction = match kind {
            Deposit => Credit,
            Ted if side.chance(5_200) => Credit,
            Pix if side.chance(credits) => Credit,
            Withdrawal | Ted | Pix => Debit,
        };
        let mut amount = amount(account, kind, size);
        let available = balance + account.overdraft_limit;
        // What has piled up goes out at once: a home or a car by TED, a card's bill or an investment.
        if direction == Debit && balance > account.income * 2 {
            match kind {
                Ted => amount = balance / 100 * (20 + i64::from(portion.below(76))),
                Pix if fate.0 % 6 == 0 => {
                    let most = balance.min(account.income * 5);
                    amount = most / 100 * (10 + i64::from(portion.below(41)));
                }
                _ => {}
            }
        }
        let night = !(6 * HOUR..20 * HOUR).contains(&local_time(time));
        if kind == Pix && night {
            amount = amount.min(NIGHT_CAP);
        }
        // Most people look at their balance first and pay what they can.
        if direction == Debit && amount > available && available >= 5_000 && fate.chance(8_500) {
            amount = available * (10 + i64::from(portion.below(70))) / 100;
            if kind == Withdrawal {
                amount = (amount / 1_000 * 1_000).max(1_000);
            }
        }
        let status = match () {
            () if direction == Debit && amount > available => Declined,
            () if fate.0 % 200 == 0 => Reversed,
            () => Completed,
        };
        let moved = match (status, direction) {
            (Completed, Credit) => amount,
            (Completed, _) => -amount,
            _ => 0,
        };
        Self { time, bill: None, kind, direction, amount, status, balance: balance + moved, draw }
    }

    /// A movement that was due.
    fn of_bill(
        account: &Account,
        routine: &Routine,
        due: Due,
        [_, _, money, _]: [Word; 4],
        balance: i64,
    ) -> Self {
        let (size, draw) = money.halves();
        let bill = Bill::ALL[due.what];
        let (mut amount, ..) = routine.bills[due.what];
        if bill.is_metered() {
            amount = amount * i64::from(80 + size.below(41)) / 100;
        }
        let paid_in = bill.is_paid_in();
        let (kind, direction) = if paid_in { (Deposit, Credit) } else { (Pix, Debit) };
        let (status, moved) = match paid_in {
            true => (Completed, amount),
            false if amount > balance + account.overdraft_limit => (Declined, 0),
            false => (Completed, -amount),
        };
        let balance = balance + moved;
        Self { time: due.time, bill: Some(bill), kind, direction, amount, status, balance, draw }
    }
}

/// The movements of an account, one after the other.
#[derive(Debug, Clone)]
pub struct Ledger {
    account: Account,
    n: u32,
    k: u32,
    /// Of event `k`.
    time: i64,
    balance: i64,
    dues: Dues,
    /// Chooses which movements are with whom the account knows.
    habits: u64,
    /// Whether an income comes every month.
    salaried: bool,
}

impl Ledger {
    /// All movements in this history of an account with a balance, in centavos.
    pub fn new(history: &History, account: Account, balance: i64) -> Self {
        let n = count(history, &account);
        let routine = Routine::new(history, &account);
        let dues = routine.dues(history, &history.movements.parts(n), n);
        let mut ledger = Self {
            n,
            k: 0,
            time: 0,
            balance,
            dues,
            habits: routine.habits,
            salaried: routine.is_paid(),
            account,
        };
        let [when, ..] = draws(history, ledger.account.row, 0);
        ledger.time = ledger.time_of_next(history, when);
        ledger
    }

    /// The account.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The balance after the events so far.
    pub const fn balance(&self) -> i64 {
        self.balance
    }

    /// The time of event `k`, which `when` places within its part.
    fn time_of_next(&self, history: &History, when: Word) -> i64 {
        if self.k == self.n {
            return i64::MAX;
        }
        let due = self.dues.at(history, self.k);
        due.map_or_else(|| history.movements.parts(self.n).time(self.k, when), |due| due.time)
    }

    /// Where the draws of the other side are: for what comes back, and for every second of the other
    /// movements, at a place that many movements share.
    #[inline]
    fn place_of_other(&self, due: Option<Due>) -> u64 {
        if let Some(due) = due {
            return u64::MAX
                - 1
                - CONTACTS
                - Bill::ALL[due.what].business(self.account.payer) as u64;
        }
        // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
        let mut mixed = self.habits ^ u64::from(self.k);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let (one, another) = Word(mixed ^ mixed >> 31).halves();
        // The first contacts are met more often.
        let contact = one.below(CONTACTS as u32).min(another.below(CONTACTS as u32));
        std::hint::select_unpredictable(
            one.0 & 1 == 0,
            u64::MAX - 1 - u64::from(contact),
            1 << 32 | u64::from(self.k),
        )
    }

    /// Makes the next movement by its draws; `when` places the one after it.
    #[inline]
    fn step(
        &mut self,
        history: &History,
        due: Option<Due>,
        draws: [Word; 4],
        when: Word,
    ) -> Movement {
        let movement = if let Some(due) = due {
            self.dues.pass();
            let routine = Routine::new(history, &self.account);
            Movement::of_bill(&self.account, &routine, due, draws, self.balance)
        } else {
            let Self { time, salaried, balance, .. } = *self;
            Movement::new(history, &self.account, salaried, time, draws, balance)
        };
        self.balance = movement.balance;
        self.k += 1;
        self.time = self.time_of_next(history, when);
        movement
    }
}

/// The draws that decide what an event does to the balance.
fn draws(history: &History, row: u64, k: u32) -> [Word; 4] {
    history.context.rng.four(Domain::Transaction, row, u64::from(k), 0)
}

impl Cursor for Ledger {
    type Columns = TransactionColumns;

    fn id(&self) -> [u8; 16] {
        self.account.id
    }

    #[inline]
    fn peek(&self) -> Option<i64> {
        (self.k < self.n).then_some(self.time)
    }

    fn skip(&mut self, history: &History) {
        let due = self.dues.at(history, self.k);
        let places = [(u64::from(self.k), 0), (u64::from(self.k) + 1, 0)];
        let [draws, [when, ..]] =
            history.context.rng.fours_at(Domain::Transaction, self.account.row, places);
        self.step(history, due, draws, when);
    }

    #[inline]
    fn next(&mut self, history: &History, columns: &mut TransactionColumns) {
        let (k, row, rng) = (self.k, self.account.row, &history.context.rng);
        let due = self.dues.at(history, k);
        let place = self.place_of_other(due);
        let places = [(u64::from(k), 0), (u64::from(k) + 1, 0), (place, 0)];
        let [draws, [when, ..], who] = rng.fours_at(Domain::Transaction, row, places);
        let movement = self.step(history, due, draws, when);
        let account = &self.account;
        columns.transaction_id.push(history.context.event_id(Domain::Transaction, row, k));
        columns.account_id.push(account.id);
        columns.transaction_type.push(movement.kind);
        columns.direction.push(movement.direction);
        columns.amount.push(movement.amount);
        columns.balance_after.push(movement.balance);
        columns.currency.push(Currency::Brl);
        columns.channel.push(channel(history, &movement));
        columns.status.push(movement.status);
        columns.occurred_at.push(movement.time);
        let other = counterparty(account, &movement, who);
        columns.push_description(&movement, other.as_ref());
        let Some(other) = other else {
            columns.push_nobody();
            return;
        };
        columns.push_counterparty(&other, account, history);
        if movement.kind == Pix {
            let payer = if movement.direction == Debit { OWN_ISPB } else { other.ispb };
            if movement.direction == Debit {
                let [key, ..] = rng.fours_at(Domain::Transaction, row, [(place, 1)]);
                columns.push_key_of(&other, key);
            } else {
                columns.pix_key_type.push(account.pix_key.map(paid_to));
                columns.pix_key.push(account.pix_key(&history.context).as_deref());
            }
            columns.end_to_end_id.push_ascii(&end_to_end_id(payer, movement.time, draws[0]));
        } else {
            columns.push_no_pix();
        }
    }
}

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

fn channel(history: &History, movement: &Movement) -> Channel {
    let (draw, time) = (movement.draw.below(100), local_time(movement.time));
    // Branches are open from 10:00 to 16:00 on business days (Febraban).
    let open = (10 * HOUR..16 * HOUR).contains(&time)
        && history.days.at(local_day(movement.time)).business;
    match (movement.kind, movement.bill, draw) {
        // The employer's bank sends a file.
        (Deposit, Some(_), _) => Internet,
        (Withdrawal, _, 85..) | (Deposit, _, 55..) | (Ted, _, 94..) if open => Branch,
        (Withdrawal | Deposit, ..) => Atm,
        (Ted, _, 60..) | (_, _, 97..) => Internet,
        _ => Mobile,
    }
}

impl TransactionColumns {
    fn push_description(&mut self, movement: &Movement, other: Option<&Counterparty>) {
        let reference = reference();
        let text = if let Some(bill) = movement.bill {
            Some(&reference.bills[bill as usize])
        } else {
            let party = other.map_or(Party::Nobody, Counterparty::party);
            let of_kind = &reference.descriptions[movement.kind as usize];
            let texts = &of_kind[movement.direction as usize][party as usize];
            // A third say nothing; of a large Pix the first text says no more than what it is.
            let large = movement.kind == Pix && movement.amount > LARGE_PIX;
            texts.get(if large { 0 } else { movement.draw.0 as usize % (texts.len() * 3 / 2) })
        };
        match text {
            Some(text) => self.description.push_padded([text.padded()]),
            None => self.description.push(None),
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

    fn push_counterparty(&mut self, other: &Counterparty, account: &Account, history: &History) {
        match &other.other {
            Other::Company(company) => {
                self.counterparty_name.push_padded([company.name.padded()]);
                self.counterparty_document.push_ascii(&company.cnpj);
            }
            Other::Person(names, cpf) => {
                self.counterparty_name.push_padded(names.map(Label::padded));
                self.counterparty_document.push_ascii(&masked(cpf));
            }
            Other::Own => {
                let holder = Customer::new(&history.context, account.holder);
                self.counterparty_name.push(Some(&holder.name().concat()));
                self.counterparty_document.push_ascii(&masked(&holder.cpf(&history.context)));
            }
        }
        self.counterparty_ispb.push_ascii(&other.ispb);
    }

    /// Kinds of key as the Banco Central counts them (EVP 45.2%, phone 19.3%, CPF 19.0%, e-mail 14.9%, CNPJ
    /// 1.7%), between those that a person and a firm may have; firms show codes, which are EVP.
    fn push_key_of(&mut self, other: &Counterparty, [choice, high, low, _]: [Word; 4]) {
        let kind = match (&other.other, choice.below(1000)) {
            (Other::Company(_), 0..37) => PixKeyType::Cnpj,
            (_, 37..186) => PixKeyType::Email,
            (Other::Person(..), 186..539) => PixKeyType::Phone,
            (Other::Person(..), 539..886) => PixKeyType::Cpf,
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
