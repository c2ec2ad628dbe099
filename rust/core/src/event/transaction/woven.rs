//! The movements of a scenario: as others in each column, and together what they are.

use super::amounts::{amount, round};
use super::month::{Due, Found, Prospect, What};
use super::movement::{Movement, NIGHT_CAP};
use super::{Cursor, Ledger};
use crate::brazil::calendar::{HOUR, local_time};
use crate::brazil::data::{Party, Purpose, Sums};
use crate::brazil::reference;
use crate::catalog::Direction::{self, Credit, Debit};
use crate::catalog::TransactionStatus::Completed;
use crate::catalog::TransactionType::{self, Deposit, Pix};
use crate::event::History;
use crate::event::scenario::{self, Act, Instance, Size};
use crate::id::mix;
use crate::rng::{Half, Word};

/// What is taken is at least so many centavos.
const LEAST: i64 = 2_000;
/// Within so many milliseconds after an account is emptied its holder sends money for what falls due.
const NOTICED: i64 = 20 * HOUR;

/// An event of an account that was passed.
#[derive(Debug)]
pub struct Passed {
    /// Its number.
    pub k: u32,
    /// Milliseconds.
    pub time: i64,
    /// Whether the account is closed by it.
    pub closes: bool,
    /// The occurrence of a scenario of which it is a step, and the step's number.
    pub woven: Option<(Instance, u8)>,
}

/// Where the draws of the other side are: at one place for all steps with one person.
pub(super) const fn place_of_other(place: u64) -> u64 {
    1 << 49 | place & !0xF
}

/// What a payment says that it is for, in as many cases as other payments are: a bill, or work.
const fn disguise(kind: TransactionType, direction: Direction, draw: Half) -> What {
    match (kind, direction, draw.below(100)) {
        (Pix, Credit, 0..28) => What::Earnings,
        (Pix, Debit, 0..11) => What::Internet,
        (Pix, Debit, 11..21) => What::Energy,
        (Pix, Debit, 21..29) => What::Water,
        (Pix, Debit, 29..33) => What::Rent,
        _ => What::Woven,
    }
}

/// What a movement like others is for, of so many centavos, if they are known.
fn purpose(kind: TransactionType, direction: Direction, sum: i64, draw: Word) -> &'static Purpose {
    let purposes = &reference().purposes[kind as usize][direction as usize];
    let fits = |purpose: &Purpose| {
        let party = purpose.party != Party::Own;
        let within = sum == 0 || (purpose.least..=purpose.most).contains(&sum);
        within && party && (kind != Deposit || purpose.sums == Sums::Notes)
    };
    let mut draws = (0..32).map(|n| Word(mix(draw.0, n)));
    let found = draws.find(|&draw| fits(purposes.pick(draw)));
    purposes.pick(found.unwrap_or(draw))
}

impl Ledger {
    /// Adds the steps of what befalls the account in a month.
    pub(super) fn find_woven(&self, history: &History, found: &mut Found, prospect: &Prospect<'_>) {
        let (life, month) = (&self.account().life, prospect.month);
        if prospect.standing.blocked || life.dormant {
            return;
        }
        let Some(instance) = scenario::of_account(history, life.row(), month) else { return };
        let mut emptied = None;
        for step in &instance.steps {
            found.add_numbered(What::Woven, step.number, step.time);
            if matches!(step.act, Act::Move(_, _, Size::Rest)) {
                emptied = Some(step.time);
            }
        }
        if let Some(at) = emptied {
            let dues = found.dues.iter().filter(|due| due.what.is_paid());
            let later = dues.map(|due| due.time(month)).filter(|&time| time > at);
            let next = later.min().unwrap_or(i64::MAX).min(at + NOTICED);
            found.add(What::Cover, at + (next - at) / 2, 0);
        }
    }

    /// The movement of a step; nothing if there is too little to take.
    pub(super) fn woven(
        &self,
        history: &History,
        due: &Due,
        time: i64,
        [_, what, money, looks]: [Word; 4],
    ) -> Option<Movement> {
        let month = &history.months[self.month as usize];
        let instance = scenario::of_account(history, self.account().life.row(), month)?;
        let Act::Move(kind, direction, size) = instance.step(due.number)?.act else { return None };
        let (exact, draw) = money.halves();
        let night = !(6 * HOUR..20 * HOUR).contains(&local_time(time));
        let most = if kind == Pix && night { NIGHT_CAP } else { i64::MAX };
        let sum = match size {
            Size::Usual(_) => 0,
            Size::Rest => (self.balance * i64::from(88 + draw.below(12)) / 100).min(most),
            Size::Sum(sum) => sum.min(most),
        };
        let purpose = purpose(kind, direction, sum, what);
        let wanted = match size {
            Size::Usual(percent) => {
                let scale = u64::from(self.habits.scale) * percent / 100;
                amount(purpose, scale, most, exact)
            }
            _ => sum.min(purpose.most),
        };
        let within = match (direction, size) {
            (Credit, _) => i64::MAX,
            (Debit, Size::Rest) => self.balance,
            (Debit, _) => self.available(),
        };
        let amount = if wanted <= within && !matches!(size, Size::Rest) {
            wanted
        } else {
            let part = wanted.min(within * i64::from(40 + draw.below(55)) / 100);
            let part = if matches!(size, Size::Rest) { wanted } else { part };
            if part < LEAST {
                return None;
            }
            // As people choose sums, and cash in notes.
            let sums = if purpose.party == Party::Nobody { Sums::Notes } else { Sums::Mixed };
            let chosen = round(sums, part, draw);
            if chosen <= within.min(purpose.most) { chosen } else { part / 1_000 * 1_000 }
        };
        let purposes = &reference().purposes[kind as usize][direction as usize];
        let purpose = if amount < purpose.least { purposes.plain(purpose) } else { purpose };
        let disguise = disguise(kind, direction, looks.halves().0);
        let signed = if direction == Debit { -amount } else { amount };
        Some(Movement {
            time,
            what: disguise,
            kind,
            direction,
            amount,
            status: Completed,
            balance: self.balance + signed,
            draw,
            purpose: (disguise == What::Woven).then_some(purpose),
            original: None,
        })
    }

    /// Passes the next event, and says what it is.
    pub fn pass_labelled(&mut self, history: &History) -> Passed {
        let (k, time) = (self.k, self.peek().expect("an event"));
        let (due, month) = (self.next_due(), self.month as usize);
        let movement = self.pass(history);
        // One that comes to nothing is something else.
        let woven = due.filter(|due| due.what == What::Woven && movement.what != What::Free);
        let woven = woven.and_then(|due| {
            let row = self.account().life.row();
            let instance = scenario::of_account(history, row, &history.months[month])?;
            Some((instance, due.number))
        });
        let closes = due.is_some_and(|due| due.what == What::Close);
        Passed { k, time, closes, woven }
    }
}
