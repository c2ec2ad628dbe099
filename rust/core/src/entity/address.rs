//! Homes: cities, streets and their CEPs.

use super::Context;
use crate::brazil::data::{City, HOME_PLACES, Street};
use crate::brazil::documents::write_digits;
use crate::brazil::reference;
use crate::rng::Word;

/// Where somebody lives, and their number among those whose telephone area code is the same.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home {
    pub city: &'static City,
    pub rank: u64,
}

impl Home {
    /// The home of a row.
    ///
    /// Each [`HOME_PLACES`] rows are shuffled among as many places, of which every city has its share, so
    /// that row and place tell each other; those of an area code come end to end, which ranks its rows.
    #[inline]
    pub fn of(context: &Context, row: u64) -> Self {
        let (turn, row) = (row / HOME_PLACES, row % HOME_PLACES);
        let place = context.homes.apply_of(row, turn);
        let cities = reference();
        let city = &cities.cities.items[cities.homes.find(place).position];
        let (start, size) = city.area;
        Self { city, rank: turn * size + place - start }
    }

    /// The row of a home, by its telephone area code and rank; none for a code that is not given out.
    pub fn row(context: &Context, ddd: [u8; 2], rank: u64) -> Option<u64> {
        let city = reference().cities.items.iter().find(|city| city.ddd == ddd)?;
        let (start, size) = city.area;
        let turn = rank / size;
        let row = context.homes.invert_of(start + rank % size, turn)?;
        Some(turn * HOME_PLACES + row)
    }
}

/// An address in a city.
#[derive(Debug)]
pub(super) struct Address {
    pub street: &'static str,
    pub number: u64,
    pub neighborhood: &'static str,
    pub postal_code: [u8; 8],
    pub complement: Option<String>,
}

/// CEPs of a thousand that streets have: those from 900 on are of large users and post offices (Correios).
const STREETS_OF_THOUSAND: u64 = 900;
/// Numbers of a street that share a CEP.
const STRETCH: u64 = 1_000;

/// A neighbourhood of a city: its number there, and its name.
///
/// A city has as many as its CEPs have room for. Its centre is the first; the others are names in a row that
/// begins elsewhere in every city.
fn neighborhood(city: &City, word: Word) -> (u64, &'static str) {
    let names = &reference().neighborhoods;
    let others = names.items.len() as u64 - 1;
    let number = match names.pick_position(word) as u64 {
        0 => 0,
        position => 1 + (position - 1) % (neighborhoods(city) - 1),
    };
    let name = match number {
        0 => 0,
        _ => 1 + (number - 1 + city.index as u64 * 37) % others,
    };
    (number, names.items[name as usize].label.text)
}

/// CEPs that streets of a city may have.
const fn street_ceps(city: &City) -> u64 {
    city.cep_count as u64 / 1_000 * STREETS_OF_THOUSAND
}

fn neighborhoods(city: &City) -> u64 {
    let names = reference().neighborhoods.items.len() as u64;
    (street_ceps(city) / reference().street_places).min(names)
}

/// The CEP of a stretch of a street in a neighbourhood of a city, which no other has.
///
/// Each neighbourhood has its CEPs, and each place of a street there as many of these as any other, of
/// which it takes one.
fn postal_code(city: &City, neighborhood: u64, street: &Street, number: u64) -> u64 {
    let places = reference().street_places;
    let area = street_ceps(city) / neighborhoods(city);
    let stretch = ((number - 1) / STRETCH).min(street.places - 1);
    let seed = city.index as u64 * 1_009 + neighborhood;
    let scattered = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let place = (street.first + stretch + scattered) % places;
    let room = area / places;
    let one = (seed * 977 + place).wrapping_mul(0xD134_2543_DE82_EF95) >> 32;
    let cep = neighborhood * area + place * room + one % room;
    u64::from(city.cep_first) + cep / STREETS_OF_THOUSAND * 1_000 + cep % STREETS_OF_THOUSAND
}

impl Address {
    /// The address that these draws choose.
    pub fn new(city: &City, draws: [Word; 4]) -> Self {
        let [street, area, rest, _] = draws;
        let street = reference().streets.pick(street);
        let (place, neighborhood) = neighborhood(city, area);
        let (number, complement) = rest.halves();
        // Low house numbers are commoner: the square of a uniform draw.
        let square = (u64::from(number.0) * u64::from(number.0)) >> 32;
        let number = 1 + ((square * 2_999) >> 32);
        let mut digits = *b"00000000";
        write_digits(&mut digits, postal_code(city, place, street, number));
        Self {
            street: street.label.text,
            number,
            neighborhood,
            postal_code: digits,
            complement: match complement.below(100) {
                0..28 => Some(format!("Apto {}", 1 + complement.0 % 220)),
                28..34 => Some(format!("Casa {}", 1 + complement.0 % 9)),
                34..38 => {
                    let block = char::from(b'A' + (complement.0 % 6) as u8);
                    Some(format!("Bloco {block} Apto {}", 11 + complement.0 % 140))
                }
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_streets_of_the_country_share_a_cep() {
        let mut found = BTreeSet::new();
        let mut count = 0;
        for city in &reference().cities.items {
            assert!(neighborhoods(city) >= 5, "{city:?}");
            for neighborhood in 0..neighborhoods(city).min(9) {
                for street in &reference().streets.items {
                    for stretch in 0..street.places {
                        let number = 1 + stretch * STRETCH;
                        let cep = postal_code(city, neighborhood, street, number);
                        let (first, all) = (u64::from(city.cep_first), u64::from(city.cep_count));
                        assert!((first..first + all).contains(&cep), "{cep} in {city:?}");
                        assert!(cep % 1_000 < STREETS_OF_THOUSAND, "{cep}");
                        found.insert(cep);
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(found.len(), count);
    }
}
