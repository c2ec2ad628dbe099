//! `accounts`.

use super::Context;
use super::customer::Customer;
use super::skeleton::{self, Shock, Skeleton};
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::brazil::documents::{account_digit, write_digits};
use crate::catalog::{AccountPixKeyType, AccountStatus, AccountStatusReason, AccountType};
use crate::civil::{from_days, to_days};
use crate::column::{Nullable, Texts, columns};
use crate::rng::{Domain, Word, log_normal};

columns! {
    /// Columns of `accounts`.
    AccountColumns for ACCOUNTS {
        account_id: Vec<[u8; 16]>,
        customer_id: Vec<[u8; 16]>,
        account_type: Vec<AccountType>,
        branch: Texts,
        account_number: Texts,
        status: Vec<AccountStatus>,
        opening_balance: Vec<i64>,
        balance: Vec<i64>,
        overdraft_limit: Vec<i64>,
        pix_key_type: Nullable<Vec<AccountPixKeyType>>,
        pix_key: Nullable<Texts>,
        opened_at: Vec<i64>,
        status_reason: Nullable<Vec<AccountStatusReason>>,
        status_changed_at: Nullable<Vec<i64>>,
        updated_at: Vec<i64>,
    }
}

/// An account: what its events depend on. There are many in memory at a time.
#[derive(Debug, Clone)]
pub struct Account {
    /// Row in the table.
    pub row: u64,
    /// Id.
    pub id: [u8; 16],
    /// Centavos.
    pub overdraft_limit: i64,
    /// Kind.
    pub kind: AccountType,
    /// Kind of the registered key.
    pub pix_key: Option<AccountPixKeyType>,
    /// The life of its holder.
    pub life: Skeleton,
    /// When it is opened, in milliseconds.
    pub opened_at: i64,
    /// When it is closed, in milliseconds: at the latest when its holder leaves; at the end of time if never.
    pub closed_at: i64,
}

/// State of an account since an instant, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub status: AccountStatus,
    /// Why, unless it is as it was opened.
    pub reason: Option<AccountStatusReason>,
    /// Since when, in milliseconds; the same.
    pub since: Option<i64>,
}

/// Centavos of what somebody had that are left in want, at the least; no more than twice as many.
const LEFT_IN_WANT: i64 = 2_000;
/// Centavos with which an INVESTIMENTOS account begins at the least, but for who gives no order in the whole history.
pub const LEAST_INVESTED: i64 = 50_000;

fn text(ascii: &[u8]) -> String {
    String::from_utf8_lossy(ascii).into_owned()
}

/// A UUID in its usual 36 characters.
fn uuid_text(id: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in id.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0xF] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

/// The kind of a registered key, as frequent as among the keys that a person may register (Banco Central:
/// EVP 45.2%, phone 19.3%, CPF 19.0%, e-mail 14.9% of all keys).
fn pix_key_type(word: Word) -> AccountPixKeyType {
    match word.below(984) {
        0..452 => AccountPixKeyType::Evp,
        452..645 => AccountPixKeyType::Phone,
        645..835 => AccountPixKeyType::Cpf,
        _ => AccountPixKeyType::Email,
    }
}

/// The months in which accounts that are closed at some time are closed: fifteen years from 2019 on.
const CLOSINGS: (i32, u32) = (2_019 * 12, 180);
/// An account is not closed before this, in days.
const SHORTEST: i64 = 180;
/// How long before the CORRENTE account of who leaves the POUPANCA account is closed, in milliseconds.
const EMPTIED: i64 = HOUR / 4;

impl Account {
    /// The account of a row, and its balance before the history in centavos.
    pub fn new(
        context: &Context,
        row: u64,
        kind: AccountType,
        customer: &Customer,
        life: &Skeleton,
    ) -> (Self, i64) {
        let [[closing, money, overdraft, opened]] = context.rng.fours::<1>(Domain::Account, row, 0);
        let income = customer.income;
        let checking = kind == AccountType::Checking;
        // By the score, give or take 200 points: none below 450, from there 30% of the income and 1%
        // more for every four points, up to 150%.
        let standing = i64::from(customer.score) - 200 + i64::from(overdraft.halves().0.below(401));
        let percent = if standing < 450 { 0 } else { (30 + (standing - 450) / 4).min(150) };
        let overdraft_limit = income * percent as u64 / 100;
        let (start, end) = (context.plan.start(), context.plan.as_of());
        let has_joined = customer.created_at < start;
        let until = if has_joined { start } else { end };
        let days = ((until - customer.created_at) / DAY - 1).max(1) as u64;
        let opened_at = if checking {
            customer.created_at + (opened.0 & 0xF_FFFF) as i64
        } else {
            let later = DAY * opened.below(days) as i64;
            let at = customer.created_at + (opened.0 & 0xFF_FFFF) as i64;
            // None is opened while the others are blocked.
            let blocked = !has_joined && life.standing(month_of(at + later)).blocked;
            if blocked { at } else { at + later }
        };
        let (ends, when) = closing.halves();
        // Banks close what sleeps; people close savings that are used up.
        let of_10_000 = match kind {
            AccountType::Checking if life.dormant => 10_000,
            AccountType::Savings if !life.dormant => 2_500,
            _ => 0,
        };
        let month = CLOSINGS.0 + when.below(CLOSINGS.1) as i32;
        let first_day = to_days(month / 12, month as u32 % 12 + 1, 1);
        let closed_at = instant(
            first_day + 9 + (when.0 & 0xF) as i32,
            11 * HOUR + i64::from(ends.0 & 0xFF_FFFF) / 2,
        );
        let closes = ends.chance(of_10_000)
            && closed_at > opened_at + SHORTEST * DAY
            && life.episode(month).is_none();
        let leaves = life.leaves_at().map(|at| if checking { at } else { at - EMPTIED });
        let account = Self {
            row,
            id: context.id(Domain::Account, row),
            // Limits are rounded to R$ 100.
            overdraft_limit: if checking { (overdraft_limit / 10_000 * 10_000) as i64 } else { 0 },
            kind,
            pix_key: if checking { pix_key_kind(context, customer.row) } else { None },
            life: *life,
            opened_at,
            closed_at: if closes { closed_at } else { i64::MAX }.min(leaves.unwrap_or(i64::MAX)),
        };
        let usual = |of_income: u64, sigma, at_start: skeleton::Standing| {
            let usual = log_normal(money.halves().0, income * of_income, sigma) as i64;
            // In want what there was is used up.
            let spent = at_start.distress > 1 || at_start.shunned;
            if spent { usual.min(LEFT_IN_WANT + usual % LEFT_IN_WANT) } else { usual }
        };
        let balance = match kind {
            _ if account.opened_at >= start || account.closed_at <= start => 0,
            AccountType::Checking => 0,
            AccountType::Savings => usual(2, 110, life.standing(month_of(start))),
            AccountType::Investments => {
                // Enough for an order of an investor, whatever is drawn, if there may be any.
                let at_start = life.standing(month_of(start));
                let mut later = month_of(start) + 1..=month_of(end);
                let none = at_start.shunned && later.all(|month| life.is_shunned(month));
                (if none { 0 } else { LEAST_INVESTED }) + usual(6, 120, at_start)
            }
        };
        (account, balance)
    }

    /// Its states, from the last before an instant to the last before another.
    pub fn standings(&self, since: i64, until: i64) -> Vec<Standing> {
        let mut all = vec![Standing { status: AccountStatus::Active, reason: None, since: None }];
        let first = month_of(since) - 2;
        for episode in self.life.episodes(first, month_of(until) + 1) {
            if episode.shock == Shock::Blocked {
                let [from, to] = [episode.first, episode.end()].map(month_begins);
                let reason = self.life.block_reason(&episode);
                all.push(Standing {
                    status: AccountStatus::Blocked,
                    reason: Some(reason),
                    since: Some(from),
                });
                all.push(Standing {
                    status: AccountStatus::Active,
                    reason: Some(AccountStatusReason::BlockLifted),
                    since: Some(to),
                });
            }
        }
        all.retain(|one| {
            one.since
                .is_none_or(|since| since < self.closed_at.min(until) && since >= self.opened_at)
        });
        if self.closed_at < until {
            let reason = match self.kind {
                AccountType::Checking if self.life.dormant => AccountStatusReason::Inactivity,
                _ => AccountStatusReason::HolderRequest,
            };
            all.push(Standing {
                status: AccountStatus::Closed,
                reason: Some(reason),
                since: Some(self.closed_at),
            });
        }
        let before = all.iter().rposition(|one| one.since.is_none_or(|at| at < since)).unwrap_or(0);
        all.split_off(before)
    }
}

fn month_of(instant: i64) -> i32 {
    let (year, month, _) = from_days(local_day(instant));
    year * 12 + month as i32 - 1
}

fn month_begins(month: i32) -> i64 {
    instant(to_days(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1), 0)
}

/// The kind of the key that a customer has registered for the CORRENTE account: 85% have one.
pub fn pix_key_kind(context: &Context, customer: u64) -> Option<AccountPixKeyType> {
    let [key, has, ..] = context.rng.four(Domain::PixKey, customer, 0, 0);
    has.halves().0.chance(8_500).then(|| pix_key_type(key))
}

/// The registered key of a customer, of this kind.
pub fn pix_key(context: &Context, kind: AccountPixKeyType, customer: &Customer) -> String {
    match kind {
        AccountPixKeyType::Evp => uuid_text(context.id(Domain::PixKey, customer.row)),
        AccountPixKeyType::Phone => text(&customer.phone(context)),
        AccountPixKeyType::Cpf => text(&customer.cpf(context)),
        AccountPixKeyType::Email => customer.email(),
    }
}

/// Nine digits of a row, a hyphen and the check digit.
fn number(context: &Context, row: u64) -> [u8; 11] {
    let mut number = *b"000000000-0";
    write_digits(&mut number[..9], context.account_numbers.apply(row));
    number[10] = account_digit(&number[..9]);
    number
}

/// The row of the account with nine digits and a check digit, if they are a number that an account may have.
pub fn by_number(context: &Context, digits: &[u8; 10]) -> Option<u64> {
    let place = digits[..9].iter();
    let place = place.fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')));
    let row = context.account_numbers.invert(place)?;
    (number(context, row)[10] == digits[9]).then_some(row)
}

impl AccountColumns {
    /// Adds an account; `balance` is that since an instant.
    pub fn push(
        &mut self,
        context: &Context,
        account: &Account,
        opening_balance: i64,
        customer: &Customer,
        (updated_at, (balance, standing)): (i64, (i64, Standing)),
    ) {
        let mut branch = *b"0000";
        // All accounts of a customer are at one branch of the city.
        let place = 1 + customer.city.index as u64 * 20 + customer.row % customer.city.branches;
        write_digits(&mut branch, place % 10_000);
        self.account_id.push(account.id);
        self.customer_id.push(context.id(Domain::Customer, customer.row));
        self.account_type.push(account.kind);
        self.branch.push_ascii(&branch);
        self.account_number.push_ascii(&number(context, account.row));
        self.status.push(standing.status);
        self.status_reason.push(standing.reason);
        self.status_changed_at.push(standing.since);
        self.opening_balance.push(opening_balance);
        self.balance.push(balance);
        self.overdraft_limit.push(account.overdraft_limit);
        self.pix_key_type.push(account.pix_key);
        let key = account.pix_key.map(|kind| pix_key(context, kind, customer));
        self.pix_key.push(key.as_deref());
        self.opened_at.push(account.opened_at);
        self.updated_at.push(updated_at);
    }
}
