//! Check digits of the numbers that Brazilians carry.

use crate::catalog::Brand;

/// Writes `number` as `digits.len()` ASCII digits.
#[inline]
pub fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The mod-11 digit of the Receita Federal: weighted sum mod 11, then 11 less that, or 0 below 2. A letter
/// has the value of its code less that of 0, as a digit has.
fn mod_11(digits: &[u8], weights: impl Iterator<Item = u32>) -> u8 {
    let sum: u32 = digits.iter().zip(weights).map(|(&d, w)| u32::from(d - b'0') * w).sum();
    match sum % 11 {
        0 | 1 => b'0',
        rest => b'0' + (11 - rest) as u8,
    }
}

/// The CPF with these nine digits: weights 10 to 2, then 11 to 2.
pub fn cpf(root: u32) -> [u8; 11] {
    let mut digits = [b'0'; 11];
    write_digits(&mut digits[..9], u64::from(root));
    digits[9] = mod_11(&digits[..9], (2..=10).rev());
    digits[10] = mod_11(&digits[..10], (2..=11).rev());
    digits
}

/// The CNPJ with this root of eight digits and branch of four: weights 5 to 2 and 9 to 2, then with
/// 6 in front. Numeric, as those given out before July 2026.
#[inline]
pub fn cnpj(root: u32, branch: u32) -> [u8; 14] {
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    const PLACES: [u32; 4] = [1_000, 100, 10, 1];
    // Each digit by a division of its own, so that none waits for another.
    let (high, low) = (root / 10_000, root % 10_000);
    let quads = [high, low, branch];
    let digits: [u32; 12] = std::array::from_fn(|i| quads[i / 4] / PLACES[i % 4] % 10);
    let digit = |sum: u32| match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    let sum = |first: usize| (0..12).map(|i| digits[i] * WEIGHTS[first + i]).sum::<u32>();
    let one = digit(sum(1));
    let two = digit(sum(0) + 2 * one);
    let mut text = [b'0'; 14];
    for (text, digit) in text.iter_mut().zip(digits.into_iter().chain([one, two])) {
        *text += digit as u8;
    }
    text
}

/// The CNPJ with this root of eight and branch of four digits and capital letters, which new ones may have since
/// July 2026: weights 5 to 2 and 9 to 2, then with 6 in front.
pub fn cnpj_of(base: &[u8; 12]) -> [u8; 14] {
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    let mut digits = [b'0'; 14];
    digits[..12].copy_from_slice(base);
    digits[12] = mod_11(&digits[..12], WEIGHTS[1..].iter().copied());
    digits[13] = mod_11(&digits[..13], WEIGHTS.iter().copied());
    digits
}

/// The Luhn digit that belongs behind these digits (ISO/IEC 7812-1, annex B).
pub fn luhn(digits: &[u8]) -> u8 {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| {
            let d = u32::from(d - b'0');
            if i % 2 == 0 { d * 2 / 10 + d * 2 % 10 } else { d }
        })
        .sum();
    b'0' + ((10 - sum % 10) % 10) as u8
}

/// The check digit of an account number: mod 11 with weights 2 to 9 from the right; 10 is written X.
pub fn account_digit(digits: &[u8]) -> u8 {
    let sum: u32 =
        digits.iter().rev().zip((2..=9).cycle()).map(|(&d, w)| u32::from(d - b'0') * w).sum();
    match (11 - sum % 11) % 11 {
        10 => b'X',
        digit => b'0' + digit as u8,
    }
}

/// First and last six digits of the ranges in which Elo issues cards.
const ELO: [(u32, u32); 23] = [
    (401_178, 401_179),
    (431_274, 431_274),
    (438_935, 438_935),
    (451_416, 451_416),
    (457_393, 457_393),
    (457_631, 457_632),
    (504_175, 504_175),
    (506_699, 506_778),
    (509_000, 509_999),
    (627_780, 627_780),
    (636_297, 636_297),
    (636_368, 636_368),
    (650_031, 650_033),
    (650_035, 650_051),
    (650_405, 650_439),
    (650_485, 650_538),
    (650_541, 650_598),
    (650_700, 650_718),
    (650_720, 650_727),
    (650_901, 650_978),
    (651_652, 651_679),
    (655_000, 655_019),
    (655_021, 655_058),
];

/// Whether a six-digit prefix is Elo's.
pub fn is_elo(prefix: u32) -> bool {
    ELO.iter().any(|&(first, last)| (first..=last).contains(&prefix))
}

/// A six-digit card prefix of a brand.
///
/// `choice` is any number; it picks among the brand's ranges.
pub fn card_prefix(brand: Brand, choice: u64) -> u32 {
    match brand {
        // 51–55 and 2221–2720, as Mastercard publishes.
        Brand::Mastercard if choice.is_multiple_of(4) => 222_100 + (choice / 4 % 50_000) as u32,
        Brand::Mastercard => not_elo(510_000 + (choice % 50_000) as u32),
        Brand::Visa => not_elo(400_000 + (choice % 100_000) as u32),
        Brand::Elo => {
            let (first, last) = ELO[(choice % ELO.len() as u64) as usize];
            first + (choice / 64 % u64::from(last - first + 1)) as u32
        }
        Brand::Hipercard => 606_282,
        Brand::Amex => {
            (if choice.is_multiple_of(2) { 340_000 } else { 370_000 })
                + (choice / 2 % 10_000) as u32
        }
    }
}

/// The first prefix from here on that Elo does not issue; Visa's and Mastercard's ranges surround
/// some of Elo's.
fn not_elo(prefix: u32) -> u32 {
    (prefix..1_000_000).find(|&p| !is_elo(p)).unwrap_or(prefix)
}
