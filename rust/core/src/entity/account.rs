//! `accounts`.

use super::Context;
use super::customer::{Customer, cpf};
use crate::brazil::calendar::DAY;
use crate::brazil::data::{City, Payer};
use crate::brazil::documents::{account_digit, write_digits};
use crate::catalog::{AccountPixKeyType, AccountStatus, AccountType};
use crate::column::{Nullable, Texts, columns};
use crate::rng::{Domain, Half, Word, log_normal};

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
    /// Income of its customer, in centavos a month.
    pub income: i64,
    /// Centavos.
    pub overdraft_limit: i64,
    /// Row of its customer.
    pub holder: u64,
    /// Where the customer lives.
    home: &'static City,
    /// Kind.
    pub kind: AccountType,
    /// Who pays the income.
    pub payer: Payer,
    /// Kind of the registered key.
    pub pix_key: Option<AccountPixKeyType>,
}

/// What an account has besides.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    status: AccountStatus,
    /// Balance before the first event, in centavos.
    pub balance: i64,
    /// Milliseconds.
    pub opened_at: i64,
}

fn text(ascii: &[u8]) -> String {
    String::from_utf8_lossy(ascii).into_owned()
}

/// A UUID in its usual 36 characters.
fn uuid_text(id: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(id));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
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

fn status(kind: AccountType, state: Half) -> AccountStatus {
    match state.below(1000) {
        0..15 => AccountStatus::Blocked,
        // Only savings close, with nothing in them and nothing happening in the history.
        15..45 if kind == AccountType::Savings => AccountStatus::Closed,
        _ => AccountStatus::Active,
    }
}

/// Whether nothing happens any more in the account of a row; found without its other fields.
pub fn is_closed(context: &Context, row: u64, kind: AccountType) -> bool {
    let [state, ..] = context.rng.four(Domain::Account, row, 0, 0);
    status(kind, state.halves().0) == AccountStatus::Closed
}

impl Account {
    /// The account of a row.
    pub fn new(
        context: &Context,
        row: u64,
        kind: AccountType,
        customer: &Customer,
    ) -> (Self, Opening) {
        let [state, money, key, opened] = context.rng.four(Domain::Account, row, 0, 0);
        let (state, overdraft) = state.halves();
        let income = customer.income;
        let (median, sigma) = match kind {
            AccountType::Checking => (income * 6 / 10, 80),
            AccountType::Savings => (income * 2, 110),
            AccountType::Investments => (income * 6, 120),
        };
        let checking = kind == AccountType::Checking;
        let status = status(kind, state);
        // By the score, give or take 200 points: none below 450, from there 30% of the income and 1%
        // more for every four points, up to 150%.
        let standing = i64::from(customer.score) - 200 + i64::from(overdraft.below(401));
        let percent = if standing < 450 { 0 } else { (30 + (standing - 450) / 4).min(150) };
        let overdraft_limit = income * percent as u64 / 100;
        let opening_balance = log_normal(money.halves().0, median, sigma) as i64;
        let days = ((context.plan.start() - customer.created_at) / DAY - 1).max(1) as u64;
        let account = Self {
            row,
            id: context.id(Domain::Account, row),
            income: income as i64,
            // Limits are rounded to R$ 100.
            overdraft_limit: if checking { (overdraft_limit / 10_000 * 10_000) as i64 } else { 0 },
            holder: customer.row,
            home: customer.city,
            kind,
            payer: customer.payer(),
            pix_key: (checking && key.halves().1.chance(8_500)).then(|| pix_key_type(key)),
        };
        let opened_at = if checking {
            customer.created_at + (opened.0 & 0xF_FFFF) as i64
        } else {
            customer.created_at + DAY * opened.below(days) as i64 + (opened.0 & 0xFF_FFFF) as i64
        };
        let balance = if status == AccountStatus::Closed { 0 } else { opening_balance };
        (account, Opening { status, balance, opened_at })
    }
}

impl Account {
    /// The registered key.
    pub fn pix_key(&self, context: &Context) -> Option<String> {
        Some(match self.pix_key? {
            AccountPixKeyType::Evp => uuid_text(context.id(Domain::PixKey, self.row)),
            AccountPixKeyType::Cpf => text(&cpf(context, self.holder, self.home)),
            AccountPixKeyType::Phone => text(&Customer::new(context, self.holder).phone(context)),
            AccountPixKeyType::Email => Customer::new(context, self.holder).email(),
        })
    }
}

impl AccountColumns {
    /// Adds an account; `balance` is that since an instant.
    pub fn push(
        &mut self,
        context: &Context,
        account: &Account,
        opening: Opening,
        customer: &Customer,
        (updated_at, balance): (i64, i64),
    ) {
        let mut branch = *b"0000";
        // All accounts of a customer are at one branch of the city.
        let number = 1 + customer.city.index as u64 * 20 + customer.row % customer.city.branches;
        write_digits(&mut branch, number % 10_000);
        let mut number = *b"000000000-0";
        write_digits(&mut number[..9], context.account_numbers.apply(account.row));
        number[10] = account_digit(&number[..9]);
        self.account_id.push(account.id);
        self.customer_id.push(context.id(Domain::Customer, customer.row));
        self.account_type.push(account.kind);
        self.branch.push_ascii(&branch);
        self.account_number.push_ascii(&number);
        self.status.push(opening.status);
        self.opening_balance.push(opening.balance);
        self.balance.push(balance);
        self.overdraft_limit.push(account.overdraft_limit);
        self.pix_key_type.push(account.pix_key);
        self.pix_key.push(account.pix_key(context).as_deref());
        self.opened_at.push(opening.opened_at);
        self.updated_at.push(updated_at);
    }
}
