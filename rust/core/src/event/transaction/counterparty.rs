//! Who is on the other side of a movement.

use super::routine::Bill;
use super::{Movement, OWN_ISPB};
use crate::brazil::data::{Business, Company, Label, Party};
use crate::brazil::documents::cpf;
use crate::brazil::reference;
use crate::catalog::AccountType;
use crate::catalog::TransactionType::{Deposit, Ted, Withdrawal};
use crate::entity::account::Account;
use crate::rng::Word;

/// How many of 10 000 payments to somebody drawn are to or from a firm.
const FIRMS: u32 = 3_105;

static SPACE: Label = Label::new(" ");

/// Who is on the other side.
pub(super) enum Other {
    Company(&'static Company),
    /// Given name, what joins it, surname; and CPF.
    Person([&'static Label; 3], [u8; 11]),
    /// The holder.
    Own,
}

/// The other side of a movement.
pub(super) struct Counterparty {
    pub(super) other: Other,
    pub(super) ispb: [u8; 8],
}

impl Counterparty {
    /// Someone drawn.
    #[inline]
    fn new([who, given, last, document]: [Word; 4]) -> Self {
        let reference = reference();
        let (firm, kind) = who.halves();
        // With the bills 41% of Pix goes to firms (Banco Central).
        let other = if firm.chance(FIRMS) {
            // Shops more than others.
            Other::Company(if kind.chance(8_000) {
                reference.categories.pick(given).merchants.pick(last)
            } else {
                reference.companies[Business::Firm as usize].pick(given)
            })
        } else {
            Self::person(given, last, document)
        };
        Self { other, ispb: reference.banks.pick(document).ispb }
    }

    #[inline]
    fn person(given: Word, last: Word, document: Word) -> Other {
        let reference = reference();
        // Adults younger than most: born since the sixties.
        let (sex, decade) = (document.0 & 1, (document.0 >> 1) % 5);
        let names = &reference.given_names[sex as usize][decade as usize];
        let surname = reference.surnames.pick(last);
        let particle = last.0 % 100 < surname.particle_pct;
        let between = if particle { &surname.particle } else { &SPACE };
        let name = [&names.pick(given).label, between, &surname.label];
        Other::Person(name, cpf(document.below(999_999_998) as u32 + 1))
    }

    /// Who sends or gets what comes back every month.
    fn of_bill(account: &Account, bill: Bill, [who, given, last, document]: [Word; 4]) -> Self {
        let reference = reference();
        // Most landlords are people.
        let other = if bill == Bill::Rent && who.halves().0.chance(6_500) {
            Self::person(given, last, document)
        } else {
            Other::Company(reference.companies[bill.business(account.payer) as usize].pick(given))
        };
        let ispb = if bill.is_paid_in() { OWN_ISPB } else { reference.banks.pick(document).ispb };
        Self { other, ispb }
    }

    pub(super) const fn party(&self) -> Party {
        match self.other {
            Other::Company(_) => Party::Firm,
            Other::Person(..) => Party::Person,
            Other::Own => Party::Own,
        }
    }
}

/// The other side of a movement, if it has one.
#[expect(clippy::inline_always, reason = "what comes back through memory is waited for")]
#[inline(always)]
pub(super) fn counterparty(
    account: &Account,
    movement: &Movement,
    draws: [Word; 4],
) -> Option<Counterparty> {
    if let Some(bill) = movement.bill {
        return Some(Counterparty::of_bill(account, bill, draws));
    }
    if matches!(movement.kind, Deposit | Withdrawal) {
        return None;
    }
    let mut other = Counterparty::new(draws);
    let own_of_1024 = if account.kind == AccountType::Checking { 300 } else { 800 };
    if movement.kind == Ted && movement.draw.0 & 0x3FF < own_of_1024 {
        other.other = Other::Own;
    }
    Some(other)
}

/// `***.456.789-**`, as banks show a CPF to others.
pub(super) fn masked(cpf: &[u8; 11]) -> [u8; 14] {
    let mut masked = *b"***.000.000-**";
    masked[4..7].copy_from_slice(&cpf[3..6]);
    masked[8..11].copy_from_slice(&cpf[6..9]);
    masked
}
