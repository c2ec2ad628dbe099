//! Single values between Rust and Python, exactly or not at all.
//!
//! The readers return `None` for what they do not accept; the caller knows the name to blame and
//! says what would do.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBytes, PyDate, PyDateTime, PyDelta, PyDeltaAccess, PyString, PyType, PyTzInfo,
};

/// What [`uuid_from_python`] accepts.
pub const UUID: &str = "a UUID, its text or 16 bytes";
/// What [`date_from_python`] accepts.
pub const DATE: &str = "a date or its ISO-8601 text";
/// What [`instant_from_python`] accepts.
pub const INSTANT: &str =
    "an aware datetime or ISO-8601 text with an offset, in whole milliseconds";

/// `date(1970, 1, 1).toordinal()`.
const EPOCH_ORDINAL: i32 = 719_163;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Years 1 to 9999, as in Python.
const INSTANTS: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

pub fn uuid_to_python(py: Python<'_>, id: [u8; 16]) -> PyResult<Bound<'_, PyAny>> {
    uuid_class(py)?.call1((py.None(), id.as_slice()))
}

pub fn uuid_from_python(object: &Bound<'_, PyAny>) -> PyResult<Option<[u8; 16]>> {
    if let Ok(text) = object.cast::<PyString>() {
        Ok(text.to_str().ok().and_then(parse_uuid))
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        Ok(bytes.as_bytes().try_into().ok())
    } else if object.is_instance(uuid_class(object.py())?)? {
        Ok(Some(object.getattr("bytes")?.extract()?))
    } else {
        Ok(None)
    }
}

fn uuid_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "uuid", "UUID")
}

/// RFC 9562: 32 hexadecimal digits in groups of 8-4-4-4-12.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut groups = text.split('-');
    let mut digits = String::with_capacity(32);
    for len in [8, 4, 4, 4, 12] {
        let group = groups.next().filter(|group| group.len() == len)?;
        digits.push_str(group);
    }
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if groups.next().is_some() || !hexadecimal {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

pub fn decimal_to_python(py: Python<'_>, units: i64, scale: u8) -> PyResult<Bound<'_, PyAny>> {
    let sign = if units < 0 { "-" } else { "" };
    let one = 10_u64.pow(scale.into());
    let (whole, rest) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
    let text = match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:0width$}", width = scale.into()),
    };
    decimal_class(py)?.call1((text,))
}

pub fn decimal_from_python(
    object: &Bound<'_, PyAny>,
    precision: u8,
    scale: u8,
) -> PyResult<Option<i64>> {
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(text.to_str().ok().and_then(|text| parse_decimal(text, precision, scale)));
    }
    if object.is_instance(decimal_class(object.py())?)? {
        // Written out, 1E+1000000 would have a million digits.
        let magnitude: i64 = object.call_method0("adjusted")?.extract()?;
        if !(-40..=40).contains(&magnitude) {
            return Ok(None);
        }
        let text: String = object.call_method1("__format__", ("f",))?.extract()?;
        return Ok(parse_decimal(&text, precision, scale));
    }
    let whole = integer_from_python(object)?;
    let units = whole.and_then(|whole| whole.checked_mul(10_i64.pow(scale.into())));
    Ok(units.filter(|units| fits(*units, precision)))
}

fn decimal_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "decimal", "Decimal")
}

/// Sign, digits, and perhaps a point and more digits. Zeros beyond `scale` change nothing and pass.
fn parse_decimal(text: &str, precision: u8, scale: u8) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let decimals = decimals.trim_end_matches('0');
    let missing = usize::from(scale).checked_sub(decimals.len())?;
    let units = format!("{whole}{decimals}{:0<missing$}", "").parse::<i64>().ok()?;
    let units = if text.starts_with('-') { -units } else { units };
    fits(units, precision).then_some(units)
}

const fn fits(units: i64, precision: u8) -> bool {
    units.unsigned_abs() < 10_u64.pow(precision as u32)
}

/// An integer, but not a bool.
pub fn integer_from_python(object: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if object.is_instance_of::<PyBool>() {
        return Ok(None);
    }
    let py = object.py();
    match object.extract() {
        Ok(number) => Ok(Some(number)),
        Err(error)
            if error.is_instance_of::<PyTypeError>(py)
                || error.is_instance_of::<PyOverflowError>(py) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub fn date_to_python(py: Python<'_>, days: i32) -> PyResult<Bound<'_, PyAny>> {
    py.get_type::<PyDate>().call_method1("fromordinal", (days + EPOCH_ORDINAL,))
}

pub fn date_from_python(object: &Bound<'_, PyAny>) -> PyResult<Option<i32>> {
    // A datetime is a date to Python, but one with a time to lose.
    if object.is_instance_of::<PyDateTime>() {
        return Ok(None);
    }
    let date = if object.is_instance_of::<PyString>() {
        match parse_iso(&object.py().get_type::<PyDate>(), object)? {
            Some(date) => date,
            None => return Ok(None),
        }
    } else if object.is_instance_of::<PyDate>() {
        object.clone()
    } else {
        return Ok(None);
    };
    // By the class: a subclass may say what it likes of itself.
    let class = object.py().get_type::<PyDate>();
    let ordinal: i32 = class.call_method1("toordinal", (date,))?.extract()?;
    Ok(ordinal.checked_sub(EPOCH_ORDINAL))
}

pub fn instant_to_python(py: Python<'_>, millis: i64) -> PyResult<Bound<'_, PyAny>> {
    let micros = millis * 1000;
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let delta = PyDelta::new(
        py,
        micros.div_euclid(MICROS_PER_DAY) as i32,
        (of_day / 1_000_000) as i32,
        (of_day % 1_000_000) as i32,
        false,
    )?;
    epoch(py)?.add(delta)
}

pub fn instant_from_python(object: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    let datetime = if object.is_instance_of::<PyString>() {
        match parse_iso(&object.py().get_type::<PyDateTime>(), object)? {
            Some(datetime) => datetime,
            None => return Ok(None),
        }
    } else if object.is_instance_of::<PyDateTime>() {
        object.clone()
    } else {
        return Ok(None);
    };
    // By the class, as for dates.
    let class = object.py().get_type::<PyDateTime>();
    if class.call_method1("utcoffset", (&datetime,))?.is_none() {
        return Ok(None);
    }
    let since = class.call_method1("__sub__", (&datetime, epoch(object.py())?))?;
    let since = since.cast_into::<PyDelta>()?;
    let micros = i64::from(since.get_days()) * MICROS_PER_DAY
        + i64::from(since.get_seconds()) * 1_000_000
        + i64::from(since.get_microseconds());
    let millis = micros.div_euclid(1000);
    Ok((micros % 1000 == 0 && INSTANTS.contains(&millis)).then_some(millis))
}

fn epoch(py: Python<'_>) -> PyResult<&Bound<'_, PyDateTime>> {
    static EPOCH: PyOnceLock<Py<PyDateTime>> = PyOnceLock::new();
    let epoch = EPOCH.get_or_try_init(py, || {
        let utc = PyTzInfo::utc(py)?;
        PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&utc)).map(Bound::unbind)
    })?;
    Ok(epoch.bind(py))
}

fn parse_iso<'py>(
    class: &Bound<'py, PyType>,
    text: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    match class.call_method1("fromisoformat", (text,)) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_instance_of::<PyValueError>(text.py()) => Ok(None),
        Err(error) => Err(error),
    }
}
