//! The purchases of a scenario: as others in each column, and together what they are.

use super::agenda::{Agenda, Place, WOVEN};
use super::facts::Facts;
use super::{Purchase, Purchases, Verdict};
use crate::brazil::calendar::local_day;
use crate::entity::card::CreditCard;
use crate::entity::skeleton::{ONE, Skeleton};
use crate::event::History;
use crate::event::scenario::{self, Act, Buying, Instance};
use crate::id::mix;
use crate::rng::{Half, Word};

/// Of 100 purchases by which a stolen number is tried, those that are declined.
const DECLINED: u32 = 30;
/// Of a draw modulo 100, from here on a purchase of any category is in person.
const IN_PERSON: u32 = 95;

impl Purchases {
    /// Makes the purchase of a step, by the number of its step, and passes it.
    #[cold]
    pub(super) fn buy_woven(&mut self, history: &History, place: u32) -> Purchase {
        let time = self.agenda.peek().expect("a purchase");
        self.catch_up(history, time);
        let (card, home) = (u64::from(self.facts.row), self.facts.home().index as u16);
        let instance = scenario::of_card(history, card, home, self.agenda.month());
        let step = instance.as_ref().and_then(|found| found.step((place - WOVEN) as u8));
        let Act::Buy(buying) = step.expect("the step that was found").act else {
            unreachable!("cards buy")
        };
        let key = self.facts.hash(history, time as u64 ^ 1 << 62 | u64::from(place));
        let [what, size, draw, rest] = [1, 2, 3, 4].map(|n| Word(mix(n, key)));
        let by_hour =
            |what| history.shopping.category(history.days.at(local_day(time)), time, what);
        let ((size, lot), (mut draw, fate)) = (size.halves(), draw.halves());
        let (category, scale, place) = match buying {
            Buying::Online(octaves) => {
                let category = history.shopping.on_the_way(what);
                (category, self.agenda.scale + octaves, Place::OnTheWay)
            }
            Buying::In(city) => {
                while draw.0 % 100 < IN_PERSON {
                    draw = Half(draw.0 + 1);
                }
                // What is hardly bought in person is not.
                let mut tried = (0..64).map(|n| by_hour(Word(mix(what.0, n))));
                let category = tried.find(|one| one.ecommerce_pct < 90);
                let category = category.unwrap_or_else(|| by_hour(what));
                (category, self.agenda.scale, Place::Away(city))
            }
            Buying::UpTheLimit(left) => {
                let budget = self.bills.available() / i64::from(left) * i64::from(left + 1);
                let scale = history.shopping.scale(budget, u64::from(left) * ONE);
                (by_hour(what), scale, Place::Home)
            }
        };
        let amount = category.amount(scale, size);
        let parcels = category.parcels(amount, lot);
        let tried = matches!(buying, Buying::Online(octaves) if octaves < 0);
        let verdict = match self.judge(amount, parcels, Half(draw.0.wrapping_mul(0x9E37_79B9))) {
            Verdict::Approved if tried && fate.below(100) < DECLINED => {
                self.bills.owe(-amount, 1);
                Verdict::Refused
            }
            verdict => verdict,
        };
        self.agenda.pass(history, &self.facts, Word(0));
        Purchase { category, amount, parcels, verdict, place, draw, rank: rest.halves().0 }
    }
}

/// A purchase of a scenario.
#[derive(Debug)]
pub struct Woven {
    /// Number of the event.
    pub k: u32,
    /// Milliseconds.
    pub time: i64,
    /// The occurrence of which it is a step, and the step's number.
    pub instance: Instance,
    /// The same.
    pub number: u8,
}

/// The purchases with a card that are steps of scenarios; found without amounts.
pub fn woven(history: &History, card: &CreditCard, skeleton: &Skeleton) -> Vec<Woven> {
    let facts = Facts::new(history, card, skeleton);
    let home = facts.home().index as u16;
    let mut found = Vec::new();
    if !history
        .months
        .iter()
        .any(|month| scenario::of_card(history, card.row, home, month.number).is_some())
    {
        return found;
    }
    let mut agenda = Agenda::new(history, &facts);
    while let Some(time) = agenda.peek() {
        if let super::Next::Recurring(place @ WOVEN..) = agenda.what() {
            let number = (place - WOVEN) as u8;
            let instance = scenario::of_card(history, card.row, home, agenda.month());
            let instance = instance.expect("what the step is of");
            found.push(Woven { k: agenda.k, time, instance, number });
        }
        let when = super::after(history, &facts, &agenda);
        agenda.pass(history, &facts, when);
    }
    found
}
