//! Who is on the other side of a movement.

use super::OWN_ISPB;
use super::month::What;
use super::movement::Movement;
use super::routine::Habits;
use crate::brazil::data::{Business, Company, Label, Party};
use crate::brazil::documents::cpf;
use crate::brazil::reference;
use crate::catalog::AccountType;
use crate::entity::account::Account;
use crate::rng::Word;

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
    fn new(party: Party, habits: &Habits, [who, given, last, document]: [Word; 4]) -> Self {
        let reference = reference();
        let other = match party {
            // Shops more than others.
            Party::Firm => Other::Company(if who.halves().1.chance(8_000) {
                reference.categories.pick(given).merchants.pick(last)
            } else {
                reference.companies[Business::Firm as usize].pick(given)
            }),
            Party::Own => return Self::elsewhere(habits),
            Party::Person | Party::Nobody => Self::person(given, last, document),
        };
        Self { other, ispb: reference.banks.pick(document).ispb }
    }

    /// The holder's account at another bank, always the same.
    fn elsewhere(habits: &Habits) -> Self {
        Self { other: Other::Own, ispb: reference().banks.pick(Word(habits.contacts)).ispb }
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

    /// Who sends or gets what was known beforehand.
    fn of_due(
        account: &Account,
        habits: &Habits,
        what: What,
        [who, given, last, document]: [Word; 4],
    ) -> Option<Self> {
        let reference = reference();
        let company = |business: Business| {
            Some(Self {
                other: Other::Company(reference.companies[business as usize].pick(given)),
                ispb: reference.banks.pick(document).ispb,
            })
        };
        match what {
            What::Salary | What::Advance | What::Thirteenth | What::Benefit => {
                let payers = &reference.companies[account.life.business_of_payer() as usize];
                let other = Other::Company(&payers.items[account.life.employer()]);
                Some(Self { other, ispb: OWN_ISPB })
            }
            // Most landlords are people.
            What::Rent if who.halves().0.chance(6_500) => Some(Self {
                other: Self::person(given, last, document),
                ispb: reference.banks.pick(document).ispb,
            }),
            What::Rent => company(Business::Realty),
            What::Purchase => company(Business::Firm),
            What::Energy => company(Business::Energy),
            What::Water => company(Business::Water),
            What::Internet => company(Business::Telecom),
            What::School => company(Business::School),
            What::Earnings if who.halves().0.chance(4_000) => company(Business::Firm),
            What::Earnings => Some(Self {
                other: Self::person(given, last, document),
                ispb: reference.banks.pick(document).ispb,
            }),
            // The firm that was paid, whose draws these are.
            What::Refund => Some(Self::new(Party::Firm, habits, [who, given, last, document])),
            What::Cover | What::Sweep | What::ToElsewhere | What::Opening => {
                Some(Self::elsewhere(habits))
            }
            What::Close if account.kind == AccountType::Checking => Some(Self::elsewhere(habits)),
            What::ToSavings
            | What::FromSavings
            | What::ToInvestments
            | What::FromChecking
            | What::Close => Some(Self { other: Other::Own, ispb: OWN_ISPB }),
            _ => None,
        }
    }
}

/// The other side of a movement, if it has one.
#[expect(clippy::inline_always, reason = "what comes back through memory is waited for")]
#[inline(always)]
pub(super) fn counterparty(
    account: &Account,
    habits: &Habits,
    movement: &Movement,
    draws: [Word; 4],
) -> Option<Counterparty> {
    match movement.purpose {
        None => Counterparty::of_due(account, habits, movement.what, draws),
        Some(purpose) if purpose.party == Party::Nobody => None,
        Some(purpose) => Some(Counterparty::new(purpose.party, habits, draws)),
    }
}

/// `***.456.789-**`, as banks show a CPF to others.
pub(super) fn masked(cpf: &[u8; 11]) -> [u8; 14] {
    let mut masked = *b"***.000.000-**";
    masked[4..7].copy_from_slice(&cpf[3..6]);
    masked[8..11].copy_from_slice(&cpf[6..9]);
    masked
}
