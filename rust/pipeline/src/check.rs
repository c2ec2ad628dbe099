//! Foreign keys and primary keys, checked against the ids that were handed over.
//!
//! Nothing about how ids are made is known here, so that a fault of a generator is found too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use datagen_core::catalog::{self, FieldType, ForeignKey, LABELS, Relation, STREAMS, TABLES};
use datagen_core::column::{Batch, Column, Values};
use datagen_core::keys::{KeySet, uuids};

/// A row that cannot be taken; `row` is its position in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A foreign key points at a parent that was never handed over.
    Orphan {
        /// The table or stream of the row.
        relation: &'static Relation,
        /// The foreign key.
        key: &'static ForeignKey,
        /// What it holds.
        id: [u8; 16],
        /// The row.
        row: usize,
    },
    /// The primary key was handed over before.
    Duplicate {
        /// The table or stream of the row.
        relation: &'static Relation,
        /// The primary key.
        id: [u8; 16],
        /// The row.
        row: usize,
    },
}

/// What a row is called that a foreign key asks for: `credit card`, `INVESTIMENTOS account`.
pub fn parent_word(key: &ForeignKey) -> String {
    let word = catalog::relation(key.table).expect("a table of the catalogue").singular;
    key.only.map_or_else(|| word.to_owned(), |(_, symbol)| format!("{symbol} {word}"))
}

/// A set of ids that threads share; a clone is the same set.
#[derive(Debug, Clone, Default)]
pub struct SharedKeySet(Arc<RwLock<KeySet>>);

impl SharedKeySet {
    /// The ids, which do not change meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, KeySet> {
        self.0.read().expect("no change has failed before")
    }

    /// The ids, to be changed.
    pub fn write(&self) -> RwLockWriteGuard<'_, KeySet> {
        self.0.write().expect("no change has failed before")
    }
}

/// The ids that the rows of a table or stream may point at.
#[derive(Debug, Clone)]
pub struct Parents {
    relation: &'static Relation,
    /// In the order of the foreign keys.
    keys: Vec<SharedKeySet>,
}

impl Parents {
    /// A set for each foreign key of the relation, in the catalogue's order, or nothing if there are
    /// more or fewer.
    pub fn new(relation: &'static Relation, keys: Vec<SharedKeySet>) -> Option<Self> {
        (keys.len() == relation.foreign_keys.len()).then_some(Self { relation, keys })
    }

    /// The table or stream whose rows are checked.
    pub const fn relation(&self) -> &'static Relation {
        self.relation
    }

    /// The sets, in the order of the foreign keys.
    pub fn keys(&self) -> &[SharedKeySet] {
        &self.keys
    }

    /// Checks the foreign keys of all rows of a batch.
    ///
    /// # Errors
    /// The first row that the first violated foreign key finds.
    ///
    /// # Panics
    /// If the batch is of another relation.
    pub fn check(&self, batch: &Batch) -> Result<(), Violation> {
        let relation = self.relation;
        for (key, parents) in relation.foreign_keys.iter().zip(&self.keys) {
            let column = column(batch, key.field);
            if let Some(row) = parents.read().first_missing(column) {
                return Err(Violation::Orphan { relation, key, id: uuids(column)[row], row });
            }
        }
        Ok(())
    }
}

/// The ids of all rows that were handed over, and how many rows these are.
#[derive(Debug)]
pub struct KeyStore {
    /// In the catalogue's order, and labels last.
    relations: Vec<Known>,
}

/// What is known of a table or stream.
#[derive(Debug)]
struct Known {
    parents: Parents,
    /// The ids of its rows, where they have to be unique.
    ids: Option<SharedKeySet>,
    restricted: Vec<Restricted>,
    rows: AtomicU64,
}

/// The ids of the rows of a table whose enumeration field has a symbol, for foreign keys that ask for it.
#[derive(Debug)]
struct Restricted {
    only: (&'static str, &'static str),
    ids: SharedKeySet,
}

impl KeyStore {
    /// A store of nothing. Rows of tables have to be unique, and those of streams with
    /// `unique_events`; the ids of other events are forgotten.
    pub fn new(unique_events: bool) -> Self {
        let mut relations: Vec<Known> = Vec::new();
        for relation in TABLES.into_iter().chain(STREAMS).chain([&LABELS]) {
            let keys = relation.foreign_keys.iter().map(|key| {
                let table = relations.iter_mut().find(|known| known.name() == key.table);
                table.expect("a table before those that refer to it").ids_for(key)
            });
            let parents = Parents { relation, keys: keys.collect() };
            let kept = unique_events || relation.topic().is_none();
            let ids = kept.then(SharedKeySet::default);
            relations.push(Known { parents, ids, restricted: Vec::new(), rows: 0.into() });
        }
        Self { relations }
    }

    /// Checks all rows of a batch, then takes them. A refused batch leaves the store as it was.
    ///
    /// # Errors
    /// The first row that the first violated key finds: foreign keys in the catalogue's order, then
    /// the primary key.
    pub fn add_batch(&self, batch: &Batch) -> Result<(), Violation> {
        let relation = batch.relation();
        let known = self.known(relation);
        known.parents.check(batch)?;
        let primary = column(batch, relation.fields[0].name);
        if let Some(ids) = &known.ids
            && let Some(row) = ids.write().insert_column(primary, None)
        {
            return Err(Violation::Duplicate { relation, id: uuids(primary)[row], row });
        }
        for Restricted { only: (field, symbol), ids } in &known.restricted {
            let mask = (column(batch, field), code(relation, field, symbol));
            ids.write().insert_column(primary, Some(mask));
        }
        self.count(relation, batch.rows() as u64);
        Ok(())
    }

    /// Checks the foreign keys of all rows of a batch, and takes those rows whose primary keys are new: the others
    /// are later versions of rows that are there.
    ///
    /// # Errors
    /// The first row that the first violated foreign key finds; then the store is as it was.
    pub fn add_versions(&self, batch: &Batch) -> Result<(), Violation> {
        let relation = batch.relation();
        let known = self.known(relation);
        known.parents.check(batch)?;
        let primary = column(batch, relation.fields[0].name);
        let mut added = 0;
        if let Some(ids) = &known.ids {
            let mut ids = ids.write();
            added = uuids(primary).iter().filter(|id| ids.insert(id)).count();
        }
        for Restricted { only: (field, symbol), ids } in &known.restricted {
            let Values::Code(codes) = &column(batch, field).values else {
                panic!("{field} is no enumeration")
            };
            let (code, mut ids) = (code(relation, field, symbol), ids.write());
            for (id, _) in uuids(primary).iter().zip(codes).filter(|(_, one)| **one == code) {
                ids.insert(id);
            }
        }
        self.count(relation, added as u64);
        Ok(())
    }

    /// The ids that the rows of a table or stream may point at, as they grow.
    pub fn parents(&self, relation: &'static Relation) -> &Parents {
        &self.known(relation).parents
    }

    /// Counts rows that were checked against [`KeyStore::parents`] elsewhere.
    pub fn count(&self, relation: &'static Relation, rows: u64) {
        self.known(relation).rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows handed over so far, in the catalogue's order; labels only if there are any.
    pub fn counts(&self) -> impl Iterator<Item = (&'static Relation, u64)> + '_ {
        let relations = self.relations.iter();
        relations
            .map(|known| (known.parents.relation, known.rows.load(Ordering::Relaxed)))
            .filter(|(relation, rows)| *rows > 0 || relation.name != LABELS.name)
    }

    fn known(&self, relation: &'static Relation) -> &Known {
        let known = self.relations.iter().find(|known| known.name() == relation.name);
        known.expect("a relation of the catalogue")
    }
}

impl Known {
    const fn name(&self) -> &'static str {
        self.parents.relation.name
    }

    /// The set of its ids that a foreign key asks for.
    fn ids_for(&mut self, key: &'static ForeignKey) -> SharedKeySet {
        let Some(only) = key.only else { return self.ids.clone().expect("a table's ids are kept") };
        if let Some(found) = self.restricted.iter().find(|restricted| restricted.only == only) {
            return found.ids.clone();
        }
        let ids = SharedKeySet::default();
        self.restricted.push(Restricted { only, ids: ids.clone() });
        ids
    }
}

fn column<'a>(batch: &'a Batch, field: &str) -> &'a Column {
    batch.column(field).expect("a field of the relation")
}

fn code(relation: &Relation, field: &str, symbol: &str) -> u8 {
    let position = relation.position(field).expect("a field of the relation");
    let FieldType::Enum(symbols) = relation.fields[position].ty else {
        panic!("{field} is no enumeration")
    };
    symbols.iter().position(|one| *one == symbol).expect("a symbol of the enumeration") as u8
}
