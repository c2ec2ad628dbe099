//! `Found`, what an id leads back to, and `Customer`, one customer whole.

use std::sync::Arc;

use datagen_core::batch::{Bank, Found, Lost};
use datagen_core::entity::household::Tie;
use datagen_core::plan::Plan;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::batch::PyBatch;
use crate::border::{Number, detached};
use crate::catalogue::catalogue;
use crate::error::{option_error, relation, unknown_id};
use crate::values;

/// What [`PyFound::of`] accepts.
const KNOWN_BY: &str = "an id (UUID), a CPF, an e-mail address, a telephone from +55 on, the number of an account or \
                        of a card, the registration of a property, or a ticker";

/// What an id, a document, a number or an address of a plan leads back to.
#[pyclass(frozen, get_all, name = "Found", module = "datagen._core")]
pub struct PyFound {
    id: Py<PyAny>,
    relation: Option<Py<PyAny>>,
    customer: Option<u64>,
    row: u64,
    k: Option<u32>,
    merchant: Option<Py<PyDict>>,
}

#[pymethods]
impl PyFound {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let singular = match &self.relation {
            Some(relation) => relation.bind(py).getattr("singular")?.extract()?,
            None => "merchant".to_owned(),
        };
        Ok(format!("<Found {singular} {}>", self.id.bind(py).str()?))
    }
}

impl PyFound {
    /// What is known by a UUID, its text or 16 bytes, or by another text.
    pub fn of(py: Python<'_>, bank: &Arc<Bank>, given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (found, is_id, shown) = if let Some(id) = values::uuid_from_python(given)? {
            let shown = values::uuid_to_python(py, id)?.str()?.to_string();
            (detached(py, || Ok(bank.find(id)))?, true, shown)
        } else if let Ok(text) = given.cast::<PyString>() {
            // What is no text at all, such as half a surrogate pair, is nobody's.
            let text = text.to_string_lossy().into_owned();
            let found = detached(py, || Ok(bank.find_text(&text)))?;
            (found, false, text)
        } else {
            return Err(option_error(py, "id", given, KNOWN_BY));
        };
        match found {
            Ok(found) => Self::new(py, &found),
            Err(Lost::Form) => Err(option_error(py, "id", given, KNOWN_BY)),
            Err(lost) => {
                let customer = match lost {
                    Lost::Beyond(row) | Lost::Event(row) => Some(row),
                    _ => None,
                };
                let shown: String = shown.chars().take(200).collect();
                Err(unknown_id(py, &reason(bank.plan(), &shown, is_id, lost), customer))
            }
        }
    }

    fn new(py: Python<'_>, found: &Found) -> PyResult<Self> {
        let relation = found.relation.map(|relation| {
            let catalogue = catalogue(py)?;
            Ok::<_, PyErr>(catalogue.bind(py).get_item(relation.name)?.unbind())
        });
        let id = values::uuid_to_python(py, found.id)?;
        let merchant = found.merchant.as_ref().map(|one| {
            let text = |ascii: &[u8]| String::from_utf8_lossy(ascii).into_owned();
            let facts = PyDict::new(py);
            facts.set_item("merchant_id", &id)?;
            facts.set_item("merchant_name", &one.name)?;
            facts.set_item("merchant_document", text(&one.document))?;
            facts.set_item("mcc", text(&one.mcc))?;
            facts.set_item("merchant_category", one.category)?;
            facts.set_item("merchant_city", one.city)?;
            facts.set_item("merchant_state", text(&one.state))?;
            Ok::<_, PyErr>(facts.unbind())
        });
        Ok(Self {
            relation: relation.transpose()?,
            customer: found.customer,
            row: found.row,
            k: found.k,
            merchant: merchant.transpose()?,
            id: id.unbind(),
        })
    }
}

/// With a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Why nothing of a plan has what was given.
fn reason(plan: &Plan, given: &str, is_id: bool, lost: Lost) -> String {
    let (seed, customers) = (plan.seed(), grouped(plan.customers()));
    match lost {
        Lost::CheckDigits(kind) => format!("{given:?} is no {kind}: its check digits are others"),
        Lost::EndToEnd => format!(
            "{given:?} is an end-to-end id: it tells the bank of the payer and the minute, and leads back to no \
             account; give the id of the transaction"
        ),
        Lost::Beyond(row) => {
            let is = if is_id { "is an id of this seed, but" } else { "is, by this seed," };
            format!(
                "{given:?} {is} of customer {} (the first is 0), and the plan has {customers}: give \
                 --customers {} or more",
                grouped(row),
                row + 1,
            )
        }
        Lost::Event(row) => format!(
            "{given:?} is an id of this seed and of customer {}, but of no event in the {} days of the plan: it is \
             of a plan of other days, or that ends at another instant",
            grouped(row),
            plan.days(),
        ),
        Lost::Seed | Lost::Form => {
            let what = if is_id { "no id of" } else { "nobody's in" };
            format!(
                "{given:?} is {what} this plan (seed {seed}, {customers} customers), nor of a larger one: it is of \
                 another seed, or none of datagen's"
            )
        }
    }
}

/// One customer of a plan, with all that belongs to it.
#[pyclass(frozen, name = "Customer", module = "datagen._core")]
pub struct PyCustomer {
    bank: Arc<Bank>,
    #[pyo3(get)]
    row: u64,
}

impl PyCustomer {
    /// That of a row.
    pub fn of(py: Python<'_>, bank: Arc<Bank>, row: &Number) -> PyResult<Self> {
        let row = row.within(py, "row", &(0..=bank.plan().customers() - 1))?;
        Ok(Self { bank, row })
    }
}

#[pymethods]
impl PyCustomer {
    /// Rows of those who live together, and how each came there.
    #[getter]
    fn household(&self) -> Vec<(u64, &'static str)> {
        let members = self.bank.household(self.row).into_iter();
        let named = members.map(|(row, tie)| match tie {
            Tie::Head => (row, "HEAD"),
            Tie::Spouse => (row, "SPOUSE"),
            Tie::Child => (row, "CHILD"),
        });
        named.collect()
    }

    /// The rows of a table or stream that belong to the customer.
    fn __getitem__(&self, py: Python<'_>, name: &str) -> PyResult<PyBatch> {
        let relation = relation(py, name)?;
        detached(py, || self.bank.of_customer(relation, self.row)).map(PyBatch::from)
    }

    /// The versions of the customer's rows in a table.
    fn versions(&self, py: Python<'_>, name: &str) -> PyResult<PyBatch> {
        let relation = relation(py, name)?;
        detached(py, || self.bank.versions_of(relation, self.row)).map(PyBatch::from)
    }

    /// The row of the customer on the other side of a Pix within the bank.
    fn partner_at(&self, py: Python<'_>, instant: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        let found = values::instant_from_python(instant)?;
        let time = found.ok_or_else(|| option_error(py, "instant", instant, values::INSTANT))?;
        detached(py, || Ok(self.bank.partner_at(self.row, time)))
    }

    fn __repr__(&self) -> String {
        format!("<Customer {}>", self.row)
    }
}
