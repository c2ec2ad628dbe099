//! From a CPF, a telephone or an e-mail address back to the row of the customer who has it.
//!
//! Each turns back what made it, which leads to a row or to a few, and asks the customer of that row, so that nothing is
//! found that a customer does not have.

use super::{CPF_ROOTS, Customer, Family, NUMBERS, email};
use crate::brazil::data::SURNAME_PLACES;
use crate::brazil::reference;
use crate::entity::Context;
use crate::entity::address::Home;
use crate::entity::household::{LARGEST, NEIGHBOURS};
use crate::plan::MAX_CUSTOMERS;

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn customer(context: &Context, row: u64) -> Option<Customer> {
    (row < MAX_CUSTOMERS).then(|| Customer::new(context, row))
}

/// The row of the customer with these eleven digits.
pub fn by_cpf(context: &Context, digits: &[u8; 11]) -> Option<u64> {
    let root = number(&digits[..8]).checked_sub(1)?;
    let (repeated, rest) = (root / 11_111_111, root % 11_111_111);
    if rest == 11_111_110 {
        return None;
    }
    let place = repeated * 11_111_110 + rest;
    debug_assert!(place < CPF_ROOTS);
    let row = context.cpf_roots.invert(place)?;
    (customer(context, row)?.cpf(context) == *digits).then_some(row)
}

/// The row of the customer with this number, in the form of [`Customer::phone`].
pub fn by_phone(context: &Context, phone: &[u8; 14]) -> Option<u64> {
    if !phone.starts_with(b"+55") || !phone[3..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let ddd = [phone[3], phone[4]];
    let area = u64::from(ddd[0]) << 8 | u64::from(ddd[1]);
    let digits = number(&phone[6..]);
    let place = match digits.checked_sub(60_000_000) {
        Some(shuffled) => context.phones.invert_of(shuffled, area)?,
        None => NUMBERS + digits.checked_sub(50_000_000)?,
    };
    let head = Home::row(context, ddd, place / LARGEST)?;
    let first = head / NEIGHBOURS as u64 * NEIGHBOURS as u64;
    let mut rows = first..first + NEIGHBOURS as u64;
    rows.find(|&row| customer(context, row).is_some_and(|one| one.phone(context) == *phone))
}

/// The row of the customer with this address.
pub fn by_email(context: &Context, address: &str) -> Option<u64> {
    let mut rows = email::candidates(address).into_iter().filter_map(|one| one.row(context));
    rows.find(|&row| customer(context, row).is_some_and(|one| one.email() == address))
}

impl email::Candidate {
    fn row(&self, context: &Context) -> Option<u64> {
        let share = reference().bearers.of(self.last);
        let (turn, into) = match self.middle {
            None => (self.number / share.size, self.number % share.size),
            Some(second) => {
                let all = reference().second_surnames.total();
                let (room, start) = Family::room(second, share.size);
                let (turn, apart) = (self.number / room, self.number % room);
                // The multiple of all weights that is so many steps behind the first place of both.
                let begin = Family::begin(turn, self.last) * share.size;
                let circle = share.size * all;
                let from = (start * share.size + apart * all + circle - begin) % circle;
                (turn, from.div_ceil(all) % share.size)
            }
        };
        let row = context.bearers.invert_of(share.start + into, turn)?;
        turn.checked_mul(SURNAME_PLACES)?.checked_add(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{DEFAULT_AS_OF, Plan};

    /// Rows of any size, the first and the last among them.
    fn rows() -> impl Iterator<Item = u64> {
        let spread = (0..2_000).map(|n| n * 7_919 * 6_301 % MAX_CUSTOMERS);
        (0..600).chain(spread).chain(MAX_CUSTOMERS - 400..MAX_CUSTOMERS)
    }

    #[test]
    fn what_a_customer_has_leads_back() {
        for seed in [0, 42, u64::MAX] {
            let plan = Plan::try_new(seed, 100, DEFAULT_AS_OF, 90).expect("a plan");
            let context = Context::new(plan);
            for row in rows() {
                let one = Customer::new(&context, row);
                assert_eq!(by_cpf(&context, &one.cpf(&context)), Some(row));
                assert_eq!(by_phone(&context, &one.phone(&context)), Some(row));
                assert_eq!(by_email(&context, &one.email()), Some(row), "{}", one.email());
            }
        }
    }

    #[test]
    fn what_nobody_has_leads_nowhere() {
        let context = Context::new(Plan::try_new(42, 100, DEFAULT_AS_OF, 90).expect("a plan"));
        for cpf in [b"00000000000", b"11111111111", b"99999999999"] {
            assert_eq!(by_cpf(&context, cpf), None);
        }
        for phone in [b"+5500961111111", b"+5511949999999", b"+5511xxxxxxxxx"] {
            assert_eq!(by_phone(&context, phone), None);
        }
        let one = Customer::new(&context, 5).email();
        let far = format!("{}99999999999999999999@example.com", &one[..one.len() - 12]);
        for address in ["", "@", "a@example.com", ".@example.org", "ana.silva@example.de", &far] {
            assert_eq!(by_email(&context, address), None, "{address}");
        }
        // The last digits of a CPF are those of the region and two that follow from it.
        let mut cpf = Customer::new(&context, 5).cpf(&context);
        cpf[8] = b'0' + (cpf[8] - b'0' + 1) % 10;
        assert_eq!(by_cpf(&context, &cpf), None);
    }
}
