//! E-mail addresses, made from names in the ways people do.
//!
//! The surname that a row was born with and the number of its bearer tell the row, and so do both surnames
//! with their number ([`Family`]). An address has the surname or both in full, and its form, its domain and its
//! digits tell the number: so two customers never have one address, however many there are. A form
//! tells itself by letters and separators, where the digits stand, and how many of them are those of
//! the year of birth.

use super::{Family, fold};
use crate::brazil::reference;

const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
/// Forms with the last surname: `ana.silva`, `ana_silva`, `a.silva`, `asilva`, `anasilva84`, `ana.silva.84`,
/// `ana84.silva`, `silva.a`.
const FORMS: u64 = 8;
/// Forms with both: `ana.souza.silva`, `ana_souza_silva`, `a.souza.silva`.
const FORMS_OF_BOTH: u64 = 3;

/// An address that is being written.
struct Address(Vec<u8>);

impl Address {
    fn new() -> Self {
        Self(Vec::with_capacity(64))
    }

    fn name(mut self, name: &str) -> Self {
        self.0.extend(fold(name));
        self
    }

    fn initial(mut self, name: &str) -> Self {
        self.0.extend(fold(name).take(1));
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn year(mut self, born: i32) -> Self {
        let year = born.rem_euclid(100) as u8;
        self.0.extend([b'0' + year / 10, b'0' + year % 10]);
        self
    }

    /// Digits that tell so much, and nothing for 0.
    fn digits(mut self, more: u64) -> Self {
        if more > 0 {
            self.0.extend_from_slice(more.to_string().as_bytes());
        }
        self
    }

    fn at(self, domain: &str) -> String {
        String::from_utf8(self.text("@").text(domain).0).expect("ASCII")
    }
}

/// A domain, a form and the number that its digits have, which tell a number.
///
/// They are turned by surname, so that rare ones, of which only the first numbers are taken, are not all
/// written in one form.
fn parts(number: u64, turn: u64, forms: u64) -> (&'static str, u64, u64) {
    let domains = DOMAINS.len() as u64;
    let domain = DOMAINS[((number + turn) % domains) as usize];
    let left = number / domains;
    (domain, (left + turn / domains) % forms, left / forms)
}

/// The address of somebody with the last surname.
pub(super) fn of_last(given: &str, family: &Family, born: i32) -> String {
    let own = family.last.text;
    let (domain, form, more) = parts(family.number, family.last.position as u64, FORMS);
    let start = Address::new();
    let address = match form {
        0 => start.name(given).text(".").name(own).digits(more),
        1 => start.name(given).text("_").name(own).digits(more),
        2 => start.initial(given).text(".").name(own).digits(more),
        3 => start.initial(given).name(own).digits(more),
        4 => start.name(given).name(own).digits(more).year(born),
        5 => start.name(given).text(".").name(own).digits(more).text(".").year(born),
        6 => start.name(given).year(born).text(".").name(own).digits(more),
        _ => start.name(own).text(".").initial(given).digits(more),
    };
    address.at(domain)
}

/// The address of somebody with both surnames.
pub(super) fn of_both(given: &str, family: &Family) -> String {
    let (middle, own) = (family.middle.text, family.last.text);
    let turn = (family.last.position + family.middle.position) as u64;
    let (domain, form, more) = parts(family.number_of_both, turn, FORMS_OF_BOTH);
    let start = Address::new();
    let address = match form {
        0 => start.name(given).text(".").name(middle).text(".").name(own),
        1 => start.name(given).text("_").name(middle).text("_").name(own),
        _ => start.initial(given).text(".").name(middle).text(".").name(own),
    };
    address.digits(more).at(domain)
}

/// What an address may have been made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Position of the last surname.
    pub last: usize,
    /// That of the one before, if the address has both.
    pub middle: Option<usize>,
    /// Number of the bearer among those with the one, or both.
    pub number: u64,
}

/// The number that a domain, a form and digits tell: the inverse of [`parts`].
fn number(domain: usize, form: u64, more: u64, turn: u64, forms: u64) -> Option<u64> {
    let domains = DOMAINS.len() as u64;
    let left = more.checked_mul(forms)? + (form + forms - turn / domains % forms) % forms;
    Some(left.checked_mul(domains)? + (domain as u64 + domains - turn % domains) % domains)
}

/// Letters and the digits behind them.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.trim_end_matches(|c: char| c.is_ascii_digit()).len())
}

/// What an address may have been made of: each form in which it can be read, with each surname that fits.
///
/// A reading may be wrong: a given name is not looked at, nor whether a number is written as it would be.
pub(super) fn candidates(address: &str) -> Vec<Candidate> {
    let mut all = Vec::new();
    let Some((local, domain)) = address.split_once('@') else { return all };
    let Some(domain) = DOMAINS.iter().position(|one| *one == domain) else { return all };
    let letters = |name| fold(name).map(char::from).collect::<String>();
    let surnames: Vec<String> =
        reference().surnames.items.iter().map(|one| letters(one.label.text)).collect();
    let named = |text: &str| surnames.iter().position(|one| one == text);
    let mut last_only = |form: u64, last: Option<usize>, digits: &str| {
        let more = if digits.is_empty() { Some(0) } else { digits.parse().ok() };
        let found = last.zip(more).and_then(|(last, more)| {
            let number = number(domain, form, more, last as u64, FORMS)?;
            Some(Candidate { last, middle: None, number })
        });
        all.extend(found);
    };
    let mut words = local.split(['.', '_']);
    let pieces = [words.next(), words.next(), words.next()].map(Option::unwrap_or_default);
    let (own, digits) = split(pieces[1]);
    match local.split(['.', '_']).count() {
        1 => {
            let (stem, digits) = split(local);
            let without_year = digits.len().checked_sub(2).map(|end| &digits[..end]);
            for (last, surname) in surnames.iter().enumerate() {
                let Some(before) = stem.strip_suffix(surname.as_str()) else { continue };
                if before.len() == 1 {
                    last_only(3, Some(last), digits);
                } else if let Some(digits) = without_year {
                    last_only(4, Some(last), digits);
                }
            }
        }
        2 if local.contains('_') => last_only(1, named(own), digits),
        2 => {
            let form = match split(pieces[0]) {
                (_, year) if !year.is_empty() => 6,
                (given, _) if given.len() == 1 => 2,
                _ => 0,
            };
            last_only(form, named(own), digits);
            last_only(7, named(pieces[0]), digits);
        }
        3 if pieces[2].bytes().all(|one| one.is_ascii_digit()) => last_only(5, named(own), digits),
        3 => {
            let (own, digits) = split(pieces[2]);
            let form = match (local.contains('_'), pieces[0].len()) {
                (true, _) => 1,
                (_, 1) => 2,
                _ => 0,
            };
            let more = if digits.is_empty() { Some(0) } else { digits.parse().ok() };
            let both = named(own).zip(named(pieces[1])).zip(more);
            all.extend(both.and_then(|((last, middle), more)| {
                let number = number(domain, form, more, (last + middle) as u64, FORMS_OF_BOTH)?;
                Some(Candidate { last, middle: Some(middle), number })
            }));
        }
        _ => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Without a separator, letters alone tell initial or given name and surname apart.
    #[test]
    fn letters_tell_the_surname() {
        let names = &reference().given_names;
        let given = names.iter().flatten().flat_map(|names| &names.items);
        let given: Vec<Vec<u8>> = given.map(|name| fold(name.label.text).collect()).collect();
        assert!(given.iter().all(|name| name.len() > 1));
        let mut told: BTreeMap<Vec<u8>, (usize, bool)> = BTreeMap::new();
        for (position, surname) in reference().surnames.items.iter().enumerate() {
            let surname: Vec<u8> = fold(surname.label.text).collect();
            assert!(surname.len() > 1);
            for name in &given {
                for (start, initial) in [(&name[..1], true), (&name[..], false)] {
                    let stem = [start, &surname].concat();
                    let known = *told.entry(stem).or_insert((position, initial));
                    assert_eq!(known, (position, initial), "{name:?} {surname:?}");
                }
            }
        }
    }
}
