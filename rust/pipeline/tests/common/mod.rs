//! What the tests share: a bank, the ids of its master rows, an encoder and an output in memory.

#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use datagen_core::batch::Bank;
use datagen_core::catalog::{self, Relation, STREAMS, TABLES};
use datagen_core::column::Batch;
use datagen_core::encode::{Format, encode};
use datagen_core::plan::{DEFAULT_AS_OF, Plan};
use datagen_pipeline::{Encode, KeyStore, Lane, Output, Piece, Size, Window};

/// Rows that are made at a time.
pub const BATCH: usize = 8_192;
/// Longer than anything here takes, on a machine that has much else to do.
pub const LIMIT: Duration = Duration::from_secs(60);

pub fn bank(customers: u64, days: u32) -> Arc<Bank> {
    Arc::new(Bank::new(Plan::try_new(42, customers, DEFAULT_AS_OF, days).expect("a plan")))
}

pub fn relation(name: &str) -> &'static Relation {
    catalog::relation(name).expect("a relation")
}

pub fn batches(
    bank: &Arc<Bank>,
    relation: &'static Relation,
    customers: Range<u64>,
) -> impl Iterator<Item = Batch> + use<> {
    bank.batches(relation, customers, BATCH).expect("customers of the plan")
}

/// A store that has the master rows of these customers.
pub fn masters(bank: &Arc<Bank>, customers: Range<u64>) -> KeyStore {
    let store = KeyStore::new(false);
    for table in TABLES {
        for batch in batches(bank, table, customers.clone()) {
            store.add_batch(&batch).expect("rows that have their parents");
        }
    }
    store
}

/// A window of all streams.
pub fn window(bank: &Arc<Bank>, customers: Range<u64>, store: &KeyStore) -> Window {
    let parents = STREAMS.map(|stream| store.parents(stream).clone());
    Window::by_entity(Arc::clone(bank), customers, parents.into()).expect("a window")
}

/// Rows as JSON.
pub struct Lines {
    pub records: usize,
    pub bytes: Vec<u8>,
}

impl Piece for Lines {
    fn size(&self) -> Size {
        Size { records: self.records, bytes: self.bytes.len() }
    }
}

/// Makes a piece of so many rows, whatever the batches; the last of a task is shorter.
#[derive(Clone)]
pub struct Json {
    rows: usize,
    begun: Vec<Vec<u8>>,
    /// Rows that all clones of it have seen.
    pub seen: Arc<AtomicUsize>,
    /// Which of these it panics at.
    pub panics_at: usize,
}

impl Json {
    pub fn new(rows: usize) -> Self {
        Self { rows, begun: Vec::new(), seen: Arc::default(), panics_at: usize::MAX }
    }

    fn piece(&mut self) -> Lines {
        let rows = std::mem::take(&mut self.begun);
        Lines { records: rows.len(), bytes: rows.concat() }
    }
}

impl Encode for Json {
    type Piece = Lines;

    fn begin(&mut self, _: Lane, _: usize) {
        assert!(self.begun.is_empty(), "a task leaves nothing");
    }

    fn push(&mut self, batch: &Batch, pieces: &mut Vec<Lines>) {
        let rows = encode(batch, Format::Json);
        for row in 0..rows.len() {
            let seen = self.seen.fetch_add(1, Ordering::Relaxed);
            assert!(seen < self.panics_at, "as the test wants it");
            self.begun.push(rows.get(row).to_vec());
            if self.begun.len() == self.rows {
                pieces.push(self.piece());
            }
        }
    }

    fn finish(&mut self, pieces: &mut Vec<Lines>) {
        pieces.push(self.piece());
    }
}

/// Rows of a relation as the encoder writes them, end to end.
pub fn json(batches: impl IntoIterator<Item = Batch>) -> Vec<u8> {
    let parts: Vec<_> =
        batches.into_iter().map(|batch| encode(&batch, Format::Json).bytes).collect();
    parts.concat()
}

/// Keeps what it gets. Clones are the same output.
pub struct Memory<P>(Arc<Inner<P>>);

impl<P> Clone for Memory<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<P> {
    capacity: usize,
    state: Mutex<State<P>>,
    changed: Condvar,
}

pub struct State<P> {
    /// By stream, and within in order.
    pub taken: Vec<Vec<P>>,
    /// Records that wait for being sent.
    pub waiting: usize,
    /// The most that did.
    pub longest: usize,
    pub failed: bool,
}

impl<P: Piece> Memory<P> {
    /// An output that has capacity for so many records.
    pub fn new(streams: usize, capacity: usize) -> Self {
        let taken = (0..streams).map(|_| Vec::new()).collect();
        let state = Mutex::new(State { taken, waiting: 0, longest: 0, failed: false });
        Self(Arc::new(Inner { capacity, state, changed: Condvar::new() }))
    }

    pub fn state(&self) -> MutexGuard<'_, State<P>> {
        self.0.state.lock().expect("no panic")
    }

    /// How many there are that are the same output.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Sends all that waits; how many records these are.
    pub fn send(&self) -> usize {
        let sent = std::mem::take(&mut self.state().waiting);
        self.0.changed.notify_all();
        sent
    }

    pub fn fail(&self) {
        self.state().failed = true;
        self.0.changed.notify_all();
    }

    fn wait_while(&self, timeout: Duration, condition: impl Fn(&State<P>) -> bool) -> bool {
        let (state, changed) = (self.state(), &self.0.changed);
        let waited = changed.wait_timeout_while(state, timeout, |state| condition(state));
        !waited.expect("no panic").1.timed_out()
    }

    /// Waits until it has no capacity.
    pub fn wait_until_full(&self) {
        let capacity = self.0.capacity;
        assert!(self.wait_while(LIMIT, |state| state.waiting < capacity), "it stays empty");
    }
}

impl Memory<Lines> {
    /// The rows of a stream, end to end.
    pub fn rows(&self, stream: usize) -> Vec<u8> {
        let state = self.state();
        let pieces: Vec<&[u8]> = state.taken[stream].iter().map(|lines| &lines.bytes[..]).collect();
        pieces.concat()
    }
}

impl<P: Piece> Output for Memory<P> {
    type Piece = P;

    fn has_capacity_beside(&self, held: Size) -> bool {
        self.state().waiting + held.records < self.0.capacity
    }

    fn wait_for_capacity(&self, timeout: Duration) -> bool {
        let capacity = self.0.capacity;
        self.wait_while(timeout, |state| state.waiting >= capacity && !state.failed)
    }

    fn has_failed(&self) -> bool {
        self.state().failed
    }

    fn hand_over(&self, stream: usize, pieces: Vec<P>) {
        let mut state = self.state();
        state.waiting += pieces.iter().map(|piece| piece.size().records).sum::<usize>();
        state.longest = state.longest.max(state.waiting);
        state.taken[stream].extend(pieces);
        self.0.changed.notify_all();
    }
}
