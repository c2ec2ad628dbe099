//! `properties`: each secures one HOUSING loan, in the city of its borrower.

use super::Context;
use super::address::Address;
use super::customer::{Customer, log2_q16};
use crate::brazil::calendar::local_day;
use crate::brazil::documents::write_digits;
use crate::catalog::PropertyType;
use crate::civil::from_days;
use crate::column::{Nullable, Texts, columns};
use crate::rng::{Domain, exp2_q16, log_normal};

columns! {
    /// Columns of `properties`.
    PropertyColumns for PROPERTIES {
        property_id: Vec<[u8; 16]>,
        property_type: Vec<PropertyType>,
        street: Texts,
        street_number: Texts,
        neighborhood: Texts,
        city: Texts,
        state: Texts,
        postal_code: Texts,
        area_m2: Vec<i64>,
        appraised_value: Vec<i64>,
        registration_number: Texts,
        built_year: Nullable<Vec<i16>>,
        updated_at: Vec<i64>,
    }
}

/// A property: what its loan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Property {
    /// Row in the table.
    pub row: u64,
    kind: PropertyType,
    /// Hundredths of a square metre.
    area: u64,
    /// Centavos.
    pub value: u64,
    built_year: Option<i16>,
}

/// Income in centavos a month at which people live in homes of usual size at their state's price.
const USUAL_INCOME: u64 = 1_200_000;

impl Property {
    /// The property of a row, in the city of its owner and such as their income allows: size grows with
    /// its power of 0.4, and the price of a square metre, around that of the state, with that of 0.45.
    pub fn new(context: &Context, row: u64, owner: &Customer) -> Self {
        let [shape, size, price, year] = context.rng.four(Domain::Property, row, 0, 0);
        // Kind, median area in square metres, sigma of the area, price as a percentage of the state's.
        let (kind, area, sigma, percent) = match shape.below(100) {
            0..52 => (PropertyType::Apartment, 72, 30, 100),
            52..90 => (PropertyType::House, 130, 40, 70),
            90..95 => (PropertyType::Commercial, 80, 60, 110),
            _ => (PropertyType::Land, 300, 40, 12),
        };
        let means = log2_q16(owner.income) - const { log2_q16(USUAL_INCOME) };
        let usual = |middle, hundredths| exp2_q16(middle, (means * hundredths / 100) as i32);
        // None below 20 square metres.
        let area = log_normal(size.halves().0, usual(area * 100, 40), sigma).max(2_000);
        let square_metre =
            log_normal(price.halves().0, usual(owner.city.square_metre, 45), 25) * percent / 100;
        let last_year = i64::from(from_days(local_day(context.plan.start())).0) - 12;
        Self {
            row,
            kind,
            area,
            // Appraisals are rounded to R$ 1 000.
            value: (area * square_metre / 100 / 100_000 * 100_000).max(4_000_000),
            built_year: (kind != PropertyType::Land)
                .then(|| year.between(last_year - 48, last_year) as i16),
        }
    }
}

/// The row of the property with a registration number of seven digits, if there may be one.
pub fn by_registration(context: &Context, number: u64) -> Option<u64> {
    context.registrations.invert(number)
}

impl PropertyColumns {
    /// Adds a property; it is known to the bank since its loan was contracted.
    pub fn push(
        &mut self,
        context: &Context,
        property: &Property,
        owner: &Customer,
        contracted_at: i64,
    ) {
        let draws = context.rng.four(Domain::Property, property.row, 0, 1);
        let address = Address::new(owner.city, draws);
        let mut registration = *b"0000000";
        write_digits(&mut registration, context.registrations.apply(property.row));
        self.property_id.push(context.id(Domain::Property, property.row));
        self.property_type.push(property.kind);
        self.street.push(address.street);
        self.street_number.push(&address.number.to_string());
        self.neighborhood.push(address.neighborhood);
        self.city.push(owner.city.name.text);
        self.state.push_ascii(&owner.city.state);
        self.postal_code.push_ascii(&address.postal_code);
        self.area_m2.push(property.area as i64);
        self.appraised_value.push(property.value as i64);
        self.registration_number.push_ascii(&registration);
        self.built_year.push(property.built_year);
        self.updated_at.push(contracted_at);
    }
}
