//! The six master tables, in the order in which they are inserted.

use super::FieldType::{Bool, Char, Date, Decimal, Enum, Instant, Int, SmallInt, Text, Uuid};
use super::{Enumeration, Field, ForeignKey, Kind, MONEY, Relation, Table, field, nullable};

/// Insertion order: a table comes after the tables it refers to.
pub static TABLES: [&Relation; 6] =
    [&CUSTOMERS, &PROPERTIES, &STOCKS, &ACCOUNTS, &CREDIT_CARDS, &LOANS];

/// A state's two letters.
const STATE: &str = "state ~ '^[A-Z]{2}$'";
/// A CEP without its hyphen.
const POSTAL_CODE: &str = "postal_code ~ '^[0-9]{8}$'";

/// When a row took the values that it has.
const UPDATED_AT: Field = field("updated_at", Instant, "When a value of the row last changed");

enumerations! {
    /// Customer segments, from the plainest to the richest.
    Segment { Varejo = "VAREJO", Exclusivo = "EXCLUSIVO", Private = "PRIVATE" }
    /// Sex, as in the documents.
    Sex { Female = "F", Male = "M" }
    /// Marital status; `STABLE_UNION` is a union without a wedding.
    MaritalStatus {
        Single = "SINGLE", Married = "MARRIED", Divorced = "DIVORCED", Widowed = "WIDOWED",
        StableUnion = "STABLE_UNION"
    }
    /// Kinds of property.
    PropertyType {
        Apartment = "APARTMENT", House = "HOUSE", Commercial = "COMMERCIAL", Land = "LAND"
    }
    /// Kinds of account. Every customer has the first.
    AccountType { Checking = "CORRENTE", Savings = "POUPANCA", Investments = "INVESTIMENTOS" }
    /// State of an account.
    AccountStatus { Active = "ACTIVE", Blocked = "BLOCKED", Closed = "CLOSED" }
    /// Why an account is in the state that it is in.
    AccountStatusReason {
        CourtOrder = "COURT_ORDER", FraudSuspected = "FRAUD_SUSPECTED",
        DocumentsMissing = "DOCUMENTS_MISSING", BlockLifted = "BLOCK_LIFTED",
        Inactivity = "INACTIVITY", HolderRequest = "HOLDER_REQUEST"
    }
    /// Kinds of Pix key that a customer registers.
    AccountPixKeyType { Cpf = "CPF", Phone = "PHONE", Email = "EMAIL", Evp = "EVP" }
    /// Card brands.
    Brand {
        Mastercard = "MASTERCARD", Visa = "VISA", Elo = "ELO", Hipercard = "HIPERCARD",
        Amex = "AMEX"
    }
    /// State of a card.
    CardStatus { Active = "ACTIVE", Blocked = "BLOCKED", Cancelled = "CANCELLED" }
    /// Why a card is not ACTIVE.
    CardStatusReason {
        Lost = "LOST", Stolen = "STOLEN", FraudSuspected = "FRAUD_SUSPECTED", Default = "DEFAULT",
        HolderRequest = "HOLDER_REQUEST"
    }
    /// Kinds of loan.
    LoanType {
        Housing = "HOUSING", Payroll = "PAYROLL", Vehicle = "VEHICLE", Personal = "PERSONAL"
    }
    /// How a loan is paid back: by equal principal, or in equal installments.
    Amortization { Sac = "SAC", Price = "PRICE" }
    /// State of a loan: something is overdue if LATE, by more than 90 days if DEFAULTED.
    LoanStatus { Active = "ACTIVE", Settled = "SETTLED", Late = "LATE", Defaulted = "DEFAULTED" }
}

/// Everyone who banks here.
pub static CUSTOMERS: Relation = Relation {
    name: "customers",
    singular: "customer",
    kind: Kind::Table(Table {
        unique: &["cpf", "email"],
        checks: &[
            ("cpf_digits", "cpf ~ '^[0-9]{11}$'"),
            ("phone_format", "phone ~ '^[+]55[1-9][1-9]9[0-9]{8}$'"),
            ("state_format", STATE),
            ("postal_code_format", POSTAL_CODE),
            ("monthly_income_positive", "monthly_income > 0"),
            ("credit_score_range", "credit_score BETWEEN 0 AND 1000"),
        ],
        reference: false,
        validation_rank: 1,
        topic: "banking.customers",
        keyed_as: None,
    }),
    fields: &CUSTOMER_FIELDS,
    foreign_keys: &[],
};

static CUSTOMER_FIELDS: [Field; 23] = [
    field("customer_id", Uuid, "Id of the customer"),
    field("name", Text, "Full name"),
    field("cpf", Char(11), "CPF, digits only, with valid check digits"),
    field("birth_date", Date, "Date of birth; an adult at the end of the history"),
    field("email", Text, "E-mail address at a domain reserved for examples"),
    field("phone", Text, "Mobile phone, +55 and DDD of the state"),
    field("street", Text, "Street"),
    field("street_number", Text, "Number in the street"),
    nullable("complement", Text, "Apartment, block or house"),
    field("neighborhood", Text, "Neighbourhood (bairro)"),
    field("city", Text, "City"),
    field("state", Char(2), "State (UF)"),
    field("postal_code", Char(8), "CEP, digits only, within the range of the state"),
    field("occupation", Text, "Occupation"),
    field("monthly_income", MONEY, "Income a month"),
    field("credit_score", SmallInt, "Credit score, 0 to 1000"),
    field("segment", Enum(Segment::SYMBOLS), "Service segment"),
    field("pep", Bool, "Politically exposed person"),
    field("sex", Enum(Sex::SYMBOLS), "Sex"),
    field("marital_status", Enum(MaritalStatus::SYMBOLS), "Marital status"),
    field("mother_name", Text, "Full name of the mother"),
    field("created_at", Instant, "When the customer joined the bank"),
    UPDATED_AT,
];

/// What secures HOUSING loans.
pub static PROPERTIES: Relation = Relation {
    name: "properties",
    singular: "property",
    kind: Kind::Table(Table {
        unique: &["registration_number"],
        checks: &[
            ("state_format", STATE),
            ("postal_code_format", POSTAL_CODE),
            ("area_positive", "area_m2 > 0"),
            ("appraised_value_positive", "appraised_value > 0"),
            ("built_year_of_land", "(built_year IS NULL) = (property_type = 'LAND')"),
        ],
        reference: false,
        validation_rank: 5,
        topic: "banking.properties",
        keyed_as: None,
    }),
    fields: &PROPERTY_FIELDS,
    foreign_keys: &[],
};

static PROPERTY_FIELDS: [Field; 13] = [
    field("property_id", Uuid, "Id of the property"),
    field("property_type", Enum(PropertyType::SYMBOLS), "Kind of property"),
    field("street", Text, "Street"),
    field("street_number", Text, "Number in the street"),
    field("neighborhood", Text, "Neighbourhood (bairro)"),
    field("city", Text, "City"),
    field("state", Char(2), "State (UF)"),
    field("postal_code", Char(8), "CEP, digits only, within the range of the state"),
    field("area_m2", Decimal { precision: 8, scale: 2 }, "Area in square metres"),
    field("appraised_value", MONEY, "Appraised value"),
    field("registration_number", Text, "Registration at the land registry (matrícula)"),
    nullable("built_year", SmallInt, "Year of construction; none for land"),
    UPDATED_AT,
];

/// What is traded: reference data.
pub static STOCKS: Relation = Relation {
    name: "stocks",
    singular: "stock",
    kind: Kind::Table(Table {
        unique: &["ticker", "isin"],
        checks: &[
            ("isin_format", "isin ~ '^BR[A-Z0-9]{9}[0-9]$'"),
            ("lot_size_positive", "lot_size > 0"),
            ("reference_price_positive", "reference_price > 0"),
        ],
        reference: true,
        validation_rank: 6,
        topic: "banking.stocks",
        keyed_as: None,
    }),
    fields: &STOCK_FIELDS,
    foreign_keys: &[],
};

static STOCK_FIELDS: [Field; 8] = [
    field("stock_id", Uuid, "Id of the stock, a function of its ticker alone"),
    field("ticker", Text, "B3 ticker"),
    field("company", Text, "Company"),
    field("sector", Text, "Sector"),
    field("isin", Char(12), "ISIN with a valid check digit"),
    field("lot_size", Int, "Shares in a round lot"),
    field("reference_price", MONEY, "Price of 1 July 2026, around which the price path moves"),
    UPDATED_AT,
];

/// Accounts of customers.
pub static ACCOUNTS: Relation = Relation {
    name: "accounts",
    singular: "account",
    kind: Kind::Table(Table {
        unique: &["account_number", "pix_key"],
        checks: &[
            ("branch_digits", "branch ~ '^[0-9]{4}$'"),
            ("overdraft_limit_not_negative", "overdraft_limit >= 0"),
            ("balance_within_overdraft", "balance >= -overdraft_limit"),
            ("pix_key_has_type", "(pix_key IS NULL) = (pix_key_type IS NULL)"),
        ],
        reference: false,
        validation_rank: 2,
        topic: "banking.accounts",
        keyed_as: Some("banking.transactions"),
    }),
    fields: &ACCOUNT_FIELDS,
    foreign_keys: &[ForeignKey { field: "customer_id", table: "customers", only: None }],
};

static ACCOUNT_FIELDS: [Field; 15] = [
    field("account_id", Uuid, "Id of the account"),
    field("customer_id", Uuid, "Its customer"),
    field("account_type", Enum(AccountType::SYMBOLS), "Kind of account"),
    field("branch", Char(4), "Branch (agência)"),
    field("account_number", Text, "Account number with its check digit"),
    field("status", Enum(AccountStatus::SYMBOLS), "State of the account"),
    field("opening_balance", MONEY, "Balance before the first event of the history"),
    field("balance", MONEY, "Balance after the last event of the history"),
    field("overdraft_limit", MONEY, "How far below zero the balance may fall"),
    nullable("pix_key_type", Enum(AccountPixKeyType::SYMBOLS), "Kind of the registered Pix key"),
    nullable("pix_key", Text, "Registered Pix key"),
    field("opened_at", Instant, "When the account was opened"),
    nullable("status_reason", Enum(AccountStatusReason::SYMBOLS), "Why it is in this state"),
    nullable("status_changed_at", Instant, "Since when it is in this state"),
    UPDATED_AT,
];

/// Cards of customers.
pub static CREDIT_CARDS: Relation = Relation {
    name: "credit_cards",
    singular: "credit card",
    kind: Kind::Table(Table {
        unique: &["card_number"],
        checks: &[
            ("card_number_digits", "card_number ~ '^[0-9]{15,16}$'"),
            ("expiry_month_range", "expiry_month BETWEEN 1 AND 12"),
            ("credit_limit_positive", "credit_limit > 0"),
            ("status_has_reason", "(status = 'ACTIVE') = (status_reason IS NULL)"),
            ("status_has_date", "status = 'ACTIVE' OR status_changed_at IS NOT NULL"),
            ("available_limit_range", "available_limit BETWEEN 0 AND credit_limit"),
            ("closing_day_range", "closing_day BETWEEN 1 AND 28"),
            ("due_day_range", "due_day BETWEEN 1 AND 28"),
        ],
        reference: false,
        validation_rank: 3,
        topic: "banking.credit-cards",
        keyed_as: Some("banking.card-transactions"),
    }),
    fields: &CREDIT_CARD_FIELDS,
    foreign_keys: &[ForeignKey { field: "customer_id", table: "customers", only: None }],
};

static CREDIT_CARD_FIELDS: [Field; 16] = [
    field("card_id", Uuid, "Id of the card"),
    field("customer_id", Uuid, "Its holder"),
    field("brand", Enum(Brand::SYMBOLS), "Brand"),
    field("card_number", Text, "Card number with a valid Luhn digit and a prefix of its brand"),
    field("holder_name", Text, "Name as embossed"),
    field("expiry_month", SmallInt, "Month of expiry"),
    field("expiry_year", SmallInt, "Year of expiry"),
    field("credit_limit", MONEY, "Limit"),
    field(
        "available_limit",
        MONEY,
        "What is left of the limit: less unpaid bills, the open one and installments to come",
    ),
    field("closing_day", SmallInt, "Day of the month on which the bill closes"),
    field("due_day", SmallInt, "Day of the month on which the bill is due"),
    field("status", Enum(CardStatus::SYMBOLS), "State of the card"),
    field("issued_at", Instant, "When the card was issued"),
    nullable("status_reason", Enum(CardStatusReason::SYMBOLS), "Why it is not ACTIVE"),
    nullable("status_changed_at", Instant, "When the state last changed"),
    UPDATED_AT,
];

/// Loans of customers.
pub static LOANS: Relation = Relation {
    name: "loans",
    singular: "loan",
    kind: Kind::Table(Table {
        unique: &["property_id"],
        checks: &[
            ("property_of_housing", "(property_id IS NOT NULL) = (loan_type = 'HOUSING')"),
            ("principal_positive", "principal > 0"),
            ("monthly_rate_positive", "monthly_rate > 0"),
            ("term_months_positive", "term_months > 0"),
            ("outstanding_balance_range", "outstanding_balance BETWEEN 0 AND principal"),
        ],
        reference: false,
        validation_rank: 4,
        topic: "banking.loans",
        keyed_as: Some("banking.installments"),
    }),
    fields: &LOAN_FIELDS,
    foreign_keys: &[
        ForeignKey { field: "customer_id", table: "customers", only: None },
        ForeignKey { field: "property_id", table: "properties", only: None },
    ],
};

static LOAN_FIELDS: [Field; 13] = [
    field("loan_id", Uuid, "Id of the loan"),
    field("customer_id", Uuid, "Its borrower"),
    nullable("property_id", Uuid, "The property that secures a HOUSING loan"),
    field("loan_type", Enum(LoanType::SYMBOLS), "Kind of loan"),
    field("amortization", Enum(Amortization::SYMBOLS), "SAC or PRICE"),
    field("principal", MONEY, "Amount lent"),
    field("monthly_rate", Decimal { precision: 7, scale: 6 }, "Interest a month, 0.0197 for 1.97%"),
    field("term_months", SmallInt, "Number of monthly installments"),
    field("contracted_at", Instant, "When the contract was signed"),
    field("first_due_date", Date, "Due date of the first installment"),
    field("outstanding_balance", MONEY, "Principal still to be paid"),
    field("status", Enum(LoanStatus::SYMBOLS), "State of the loan"),
    UPDATED_AT,
];
