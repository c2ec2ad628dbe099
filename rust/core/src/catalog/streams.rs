//! The four event streams.

use super::FieldType::{Char, Date, Enum, Instant, Int, SmallInt, Text, Uuid};
use super::{Enumeration, Field, ForeignKey, Kind, MONEY, Relation, Topic, field, nullable};

/// The streams, in the order in which they are sent.
pub static STREAMS: [&Relation; 4] = [&TRANSACTIONS, &CARD_TRANSACTIONS, &TRADES, &INSTALLMENTS];

enumerations! {
    /// Kinds of movement.
    TransactionType {
        Pix = "PIX", Ted = "TED", Deposit = "DEPOSIT", Withdrawal = "WITHDRAWAL", Salary = "SALARY",
        CardBill = "CARD_BILL", LoanDisbursement = "LOAN_DISBURSEMENT",
        LoanInstallment = "LOAN_INSTALLMENT", Transfer = "TRANSFER", Settlement = "SETTLEMENT",
        Interest = "INTEREST", Fee = "FEE", Tax = "TAX"
    }
    /// Into the account, or out of it.
    Direction { Credit = "CREDIT", Debit = "DEBIT" }
    /// The one currency.
    Currency { Brl = "BRL" }
    /// Where a movement was ordered.
    Channel { Mobile = "MOBILE", Internet = "INTERNET", Atm = "ATM", Branch = "BRANCH" }
    /// What became of a movement.
    TransactionStatus { Completed = "COMPLETED", Reversed = "REVERSED", Declined = "DECLINED" }
    /// Kinds of Pix key that a payment goes to.
    PixKeyType { Cpf = "CPF", Cnpj = "CNPJ", Phone = "PHONE", Email = "EMAIL", Evp = "EVP" }
    /// How a card was read.
    EntryMode {
        Chip = "CHIP", Contactless = "CONTACTLESS", Ecommerce = "ECOMMERCE",
        Magstripe = "MAGSTRIPE"
    }
    /// What became of a purchase.
    CardTransactionStatus { Approved = "APPROVED", Declined = "DECLINED" }
    /// Side of a trade.
    Side { Buy = "BUY", Sell = "SELL" }
    /// Kind of order.
    OrderType { Market = "MARKET", Limit = "LIMIT" }
    /// What became of an installment.
    PaymentStatus { Paid = "PAID", PaidLate = "PAID_LATE", Overdue = "OVERDUE" }
}

/// The ledger of an account.
pub static TRANSACTIONS: Relation = Relation {
    name: "banking.transactions",
    singular: "transaction",
    kind: Kind::Stream(Topic {
        key: "account_id",
        time: "occurred_at",
        ce_type: "banking.transaction.created",
        partitions: 3,
        parallel_partitions: 6,
        history_days: None,
    }),
    fields: &TRANSACTION_FIELDS,
    foreign_keys: &[ForeignKey { field: "account_id", table: "accounts", only: None }],
};

static TRANSACTION_FIELDS: [Field; 18] = [
    field("transaction_id", Uuid, "Id of the event"),
    field("account_id", Uuid, "Account that moves"),
    field("transaction_type", Enum(TransactionType::SYMBOLS), "Kind of movement"),
    field("direction", Enum(Direction::SYMBOLS), "Into the account, or out of it"),
    field("amount", MONEY, "Amount, always positive"),
    field("balance_after", MONEY, "Balance of the account after the event"),
    field("currency", Enum(Currency::SYMBOLS), "Currency"),
    field("channel", Enum(Channel::SYMBOLS), "Where it was ordered"),
    field("status", Enum(TransactionStatus::SYMBOLS), "Only COMPLETED moves money"),
    nullable("description", Text, "What it was for"),
    nullable("counterparty_name", Text, "The other side"),
    nullable("counterparty_document", Text, "Masked CPF, or CNPJ, of the other side"),
    nullable("counterparty_ispb", Char(8), "ISPB of the other side's bank"),
    nullable("pix_key_type", Enum(PixKeyType::SYMBOLS), "Kind of Pix key used"),
    nullable("pix_key", Text, "Pix key used"),
    nullable("end_to_end_id", Char(32), "End-to-end id; Pix only"),
    nullable("original_transaction_id", Uuid, "Movement of the account that this one gives back"),
    field("occurred_at", Instant, "When it happened"),
];

/// Purchases with a card.
pub static CARD_TRANSACTIONS: Relation = Relation {
    name: "banking.card-transactions",
    singular: "card transaction",
    kind: Kind::Stream(Topic {
        key: "card_id",
        time: "occurred_at",
        ce_type: "banking.card-transaction.created",
        partitions: 3,
        parallel_partitions: 6,
        history_days: None,
    }),
    fields: &CARD_TRANSACTION_FIELDS,
    foreign_keys: &[ForeignKey { field: "card_id", table: "credit_cards", only: None }],
};

static CARD_TRANSACTION_FIELDS: [Field; 17] = [
    field("card_transaction_id", Uuid, "Id of the event"),
    field("card_id", Uuid, "Card used"),
    field("merchant_id", Uuid, "Id of the merchant: one of its branches, or its head office"),
    field("merchant_name", Text, "Merchant"),
    field(
        "merchant_document",
        Char(14),
        "CNPJ of the merchant, the first twelve digits or capital letters; branches share the first eight",
    ),
    field("mcc", Char(4), "Merchant category code"),
    field("merchant_category", Text, "What the code stands for"),
    field("amount", MONEY, "Amount of the purchase"),
    field("currency", Enum(Currency::SYMBOLS), "Currency"),
    field("installments", SmallInt, "Number of installments, 1 to 12"),
    field("entry_mode", Enum(EntryMode::SYMBOLS), "How the card was read"),
    field("merchant_city", Text, "City of the merchant"),
    field("merchant_state", Char(2), "State of the merchant"),
    field("status", Enum(CardTransactionStatus::SYMBOLS), "Only APPROVED uses the limit"),
    nullable("decline_reason", Text, "Why it was declined"),
    nullable("authorization_code", Char(6), "Authorization code of an approved purchase"),
    field("occurred_at", Instant, "When it happened"),
];

/// Stocks bought and sold.
pub static TRADES: Relation = Relation {
    name: "banking.trades",
    singular: "trade",
    kind: Kind::Stream(Topic {
        key: "account_id",
        time: "executed_at",
        ce_type: "banking.trade.created",
        partitions: 3,
        parallel_partitions: 3,
        history_days: None,
    }),
    fields: &TRADE_FIELDS,
    foreign_keys: &[
        ForeignKey {
            field: "account_id",
            table: "accounts",
            only: Some(("account_type", "INVESTIMENTOS")),
        },
        ForeignKey { field: "stock_id", table: "stocks", only: None },
    ],
};

static TRADE_FIELDS: [Field; 12] = [
    field("trade_id", Uuid, "Id of the event"),
    field("account_id", Uuid, "INVESTIMENTOS account that trades"),
    field("stock_id", Uuid, "Stock traded"),
    field("ticker", Text, "Ticker; ends in F on the odd-lot market"),
    field("side", Enum(Side::SYMBOLS), "BUY or SELL"),
    field("quantity", Int, "Shares"),
    field("unit_price", MONEY, "Price of a share"),
    field("gross_amount", MONEY, "Quantity times price"),
    field("fees", MONEY, "Exchange fees"),
    field("settlement_date", Date, "Two business days later"),
    field("order_type", Enum(OrderType::SYMBOLS), "MARKET or LIMIT"),
    field("executed_at", Instant, "When it was executed, inside the session"),
];

/// What falls due on a loan.
pub static INSTALLMENTS: Relation = Relation {
    name: "banking.installments",
    singular: "installment",
    kind: Kind::Stream(Topic {
        key: "loan_id",
        time: "occurred_at",
        ce_type: "banking.installment.created",
        partitions: 3,
        parallel_partitions: 3,
        // Every installment since the first of a loan is an event.
        history_days: Some(16 * 365),
    }),
    fields: &INSTALLMENT_FIELDS,
    foreign_keys: &[ForeignKey { field: "loan_id", table: "loans", only: None }],
};

static INSTALLMENT_FIELDS: [Field; 13] = [
    field("installment_event_id", Uuid, "Id of the event"),
    field("loan_id", Uuid, "Loan"),
    field("installment_number", SmallInt, "Position in the contract, from 1"),
    field("due_date", Date, "When it was due"),
    field("principal_amount", MONEY, "Part that pays back principal"),
    field("interest_amount", MONEY, "Part that pays interest"),
    field("late_fee", MONEY, "Late fee: 2% and 1% a month, by day"),
    field("amount_paid", MONEY, "What was paid; zero while overdue"),
    field("remaining_balance", MONEY, "Principal still to be paid after the event"),
    field("days_late", SmallInt, "Days between due date and payment, or the event if overdue"),
    field("payment_status", Enum(PaymentStatus::SYMBOLS), "What became of it"),
    nullable("paid_at", Instant, "When it was paid"),
    field("occurred_at", Instant, "When the event happened"),
];
