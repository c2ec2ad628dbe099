//! Which events belong to a fraud, a default or a farewell: beside the data, for those who train and test.

use super::FieldType::{Enum, Instant, Text, Uuid};
use super::{Enumeration, Field, Kind, Relation, Table, field};

enumerations! {
    /// What an event is part of. The first seven are woven in at rates, in the order of those.
    Scenario {
        PixScam = "PIX_SCAM", AccountTakeover = "ACCOUNT_TAKEOVER", MuleChain = "MULE_CHAIN",
        Structuring = "STRUCTURING", CardTesting = "CARD_TESTING", ClonedCard = "CLONED_CARD",
        BustOut = "BUST_OUT", DefaultPath = "DEFAULT_PATH", Churn = "CHURN"
    }
    /// What an event is for in its scenario.
    Role {
        Victim = "VICTIM", Probe = "PROBE", CashOut = "CASH_OUT", MuleIn = "MULE_IN",
        MuleOut = "MULE_OUT", Smurf = "SMURF", Clone = "CLONE", RunUp = "RUN_UP", Late = "LATE",
        Missed = "MISSED", Leaving = "LEAVING", Closing = "CLOSING"
    }
}

/// The labels of a plan that has scenarios. It is neither loaded nor sent with the rest.
pub static LABELS: Relation = Relation {
    name: "labels",
    singular: "label",
    kind: Kind::Table(Table {
        unique: &[],
        checks: &[],
        reference: false,
        validation_rank: 0,
        topic: "banking.labels",
        keyed_as: None,
    }),
    fields: &FIELDS,
    foreign_keys: &[],
};

static FIELDS: [Field; 9] = [
    field("event_id", Uuid, "Id of the event; each has one label at the most"),
    field("stream", Text, "Stream of the event"),
    field("entity_id", Uuid, "Account, card or loan of the event"),
    field("customer_id", Uuid, "Holder of that"),
    field("scenario", Enum(Scenario::SYMBOLS), "What the event is part of"),
    field("instance", Uuid, "The same for all events of one occurrence"),
    field("role", Enum(Role::SYMBOLS), "What the event is for in it"),
    field("started_at", Instant, "When the occurrence began"),
    field("known_at", Instant, "When the bank learns of it: after the event, or even the history"),
];
