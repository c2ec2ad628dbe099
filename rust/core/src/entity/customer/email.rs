//! E-mail addresses, made from names in the ways people do.
//!
//! The surname that a row was born with and the number of its bearer tell the row, and so do both surnames
//! with their number ([`Family`]). An address has the surname or both in full, and its form, its domain and its
//! digits tell the number: so two customers never have one address, however many there are. A form
//! tells itself by letters and separators, where the digits stand, and how many of them are those of
//! the year of birth.

use super::{Family, fold};

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::brazil::reference;

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
