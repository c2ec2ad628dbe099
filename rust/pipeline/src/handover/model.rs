//! Workers, an output and a caller under many schedules: at every lock and every wait any other
//! thread may go on. A schedule in which all threads wait for each other fails by itself.

use std::sync::Arc;
use std::time::Duration;

use datagen_core::catalog::STREAMS;
use shuttle::sync::Mutex;
use shuttle::thread;

use super::{Halt, Halted, Handover, Made, Step};
use crate::check::Violation;
use crate::output::{Output, Piece, Size};
use crate::window::{Task, Tasks};

const RANGES: u64 = 3;
/// Pieces that are held one by one, and one that ends the task.
const PIECES: u64 = 3;
const PREPARATIONS: u64 = 3;
const SCHEDULES: usize = 60;

/// The number of a piece within its stream: a record of one byte.
#[derive(Debug, PartialEq)]
struct Number(u64);

impl Piece for Number {
    fn size(&self) -> Size {
        Size { records: 1, bytes: 1 }
    }
}

/// An output that has sent nothing of what it took until a thread of its own does.
struct Queue {
    capacity: usize,
    /// It fails once it has sent so many.
    lifetime: usize,
    state: Mutex<QueueState>,
}

struct QueueState {
    waiting: usize,
    sent: usize,
    longest: usize,
    taken: Vec<Vec<Number>>,
}

impl Queue {
    fn new(streams: usize, capacity: usize) -> Self {
        let taken = (0..streams).map(|_| Vec::new()).collect();
        let state = QueueState { waiting: 0, sent: 0, longest: 0, taken };
        Self { capacity, lifetime: usize::MAX, state: Mutex::new(state) }
    }

    fn state(&self) -> shuttle::sync::MutexGuard<'_, QueueState> {
        self.state.lock().expect("no panic")
    }

    fn send_one(&self) {
        let mut state = self.state();
        if state.waiting > 0 && state.sent < self.lifetime {
            state.waiting -= 1;
            state.sent += 1;
        }
    }
}

impl Output for Queue {
    type Piece = Number;

    fn has_capacity_beside(&self, held: Size) -> bool {
        self.state().waiting + held.records < self.capacity
    }

    fn wait_for_capacity(&self, _: Duration) -> bool {
        thread::yield_now();
        self.state().waiting < self.capacity || self.has_failed()
    }

    fn has_failed(&self) -> bool {
        self.state().sent >= self.lifetime
    }

    fn hand_over(&self, stream: usize, pieces: Vec<Number>) {
        let mut state = self.state();
        state.waiting += pieces.len();
        state.longest = state.longest.max(state.waiting);
        state.taken[stream].extend(pieces);
    }
}

/// Lanes as a window has them: prepared in order, and then each at one part after the other.
struct Lanes {
    prepared: Mutex<u64>,
    /// The next part of each lane, and whether it is being made.
    at: Vec<Mutex<(u64, bool)>>,
}

impl Lanes {
    fn new(lanes: usize) -> Self {
        let at = (0..lanes).map(|_| Mutex::new((0, false))).collect();
        Self { prepared: Mutex::new(0), at }
    }

    fn prepare(&self, part: u64) {
        let mut prepared = self.prepared.lock().expect("no panic");
        assert_eq!(*prepared, part, "prepared in order");
        *prepared += 1;
    }

    fn begin(&self, task: Task) {
        assert_eq!(*self.prepared.lock().expect("no panic"), PREPARATIONS);
        let mut at = self.at[task.lane].lock().expect("no panic");
        assert_eq!(*at, (task.part, false), "one part after the other");
        at.1 = true;
        drop(at);
        for other in &self.at {
            // No lane is more than a part before another.
            let other = other.lock().expect("no panic").0;
            assert!(task.part <= other + 1, "{} and {other}", task.part);
        }
    }

    fn end(&self, task: Task) {
        *self.at[task.lane].lock().expect("no panic") = (task.part + 1, false);
    }
}

/// What happens to a pipeline.
#[derive(Clone, Copy)]
struct Scenario {
    workers: usize,
    streams: usize,
    capacity: usize,
    /// Whether the output sends anything.
    sends: bool,
    /// The output fails once it has sent so many.
    lifetime: usize,
    /// A row of the second piece of this task has no parent.
    orphan: Option<(u64, usize)>,
    /// The caller cancels, at any time.
    cancelled: bool,
    /// As in order of time: lanes are prepared, and then each is at one part at a time.
    one_by_one: bool,
}

const PLAIN: Scenario = Scenario {
    workers: 3,
    streams: 2,
    capacity: 2,
    sends: true,
    lifetime: usize::MAX,
    orphan: None,
    cancelled: false,
    one_by_one: false,
};

fn tasks(streams: usize, one_by_one: bool) -> Tasks {
    let preparations = if one_by_one { PREPARATIONS } else { 0 };
    Tasks { preparations, streams: (0..streams).collect(), parts: RANGES, one_by_one }
}

fn violation() -> Halt {
    let (relation, id) = (STREAMS[0], [7; 16]);
    Halt::Violated(Violation::Orphan { relation, key: &relation.foreign_keys[0], id, row: 3 })
}

impl Scenario {
    fn run_task(self, handover: &Handover<Queue>, lanes: &Lanes, task: Task) -> Result<(), Halted> {
        let mut made = Made::default();
        if self.one_by_one {
            lanes.begin(task);
        }
        for piece in 0..PIECES - 1 {
            if piece == 1 && self.orphan == Some((task.part, task.lane)) {
                handover.discard(&made);
                return Err(handover.halt_at(task, violation()));
            }
            made.pieces.push(Number(task.part * PIECES + piece));
            handover.hold(task, &mut made)?;
            // Held are the pieces of a full output, and one more of each worker.
            let held = handover.state.lock().held.records;
            assert!(held < self.capacity + self.workers, "{held} held");
        }
        made.pieces.push(Number(task.part * PIECES + PIECES - 1));
        if self.one_by_one {
            lanes.end(task);
        }
        handover.made(task);
        handover.hand_over(task, made, true)
    }

    /// Runs the scenario on one schedule; how it ended, and the pieces of each stream.
    fn run(self) -> (Result<(), Halt>, Vec<Vec<Number>>) {
        let output = Queue { lifetime: self.lifetime, ..Queue::new(self.streams, self.capacity) };
        let tasks = tasks(self.streams, self.one_by_one);
        let handover = Arc::new(Handover::new(output, tasks, self.workers));
        let lanes = Arc::new(Lanes::new(self.streams));
        let mut threads = Vec::new();
        for _ in 0..self.workers {
            let (handover, lanes) = (Arc::clone(&handover), Arc::clone(&lanes));
            threads.push(thread::spawn(move || {
                while let Some(step) = handover.take() {
                    let done = match step {
                        Step::Prepare(part) => handover.prepared(part, || lanes.prepare(part)),
                        Step::Make(task) => self.run_task(&handover, &lanes, task),
                    };
                    if done.is_err() {
                        break;
                    }
                }
                handover.leave();
            }));
        }
        let ended = Arc::new(Mutex::new(false));
        let (sent, over) = (Arc::clone(&handover), Arc::clone(&ended));
        threads.push(thread::spawn(move || {
            while !*over.lock().expect("no panic") {
                if self.sends {
                    sent.output().send_one();
                }
                thread::yield_now();
            }
        }));
        if self.cancelled {
            handover.halt(Halt::Cancelled);
        }
        let outcome = handover.wait(Duration::MAX).expect("an end");
        // What comes later changes nothing.
        handover.halt(Halt::Cancelled);
        assert_eq!(handover.wait(Duration::ZERO), Some(outcome));
        *ended.lock().expect("no panic") = true;
        for thread in threads {
            thread.join().expect("no panic");
        }
        let mut state = handover.output().state();
        // Each stream may have found capacity for one piece, and handed over a whole task.
        let most = self.capacity - 1 + self.streams * PIECES as usize;
        assert!(state.longest <= most, "{} waiting", state.longest);
        let taken = std::mem::take(&mut state.taken);
        for (stream, progress) in taken.iter().zip(handover.lanes()) {
            assert_eq!(progress.records, stream.len() as u64);
            let numbers: Vec<_> = stream.iter().map(|number| number.0).collect();
            assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "order");
        }
        if outcome.is_ok() {
            assert_eq!(handover.state.lock().held, Size::default());
        }
        (outcome, taken)
    }

    /// Runs the scenario on many schedules.
    fn check(self, judge: fn(Result<(), Halt>, &[usize])) {
        let once = move || {
            let (outcome, taken) = self.run();
            judge(outcome, &taken.iter().map(Vec::len).collect::<Vec<_>>());
        };
        shuttle::check_random(once, SCHEDULES);
        shuttle::check_pct(once, SCHEDULES, 3);
    }
}

const ALL: usize = (RANGES * PIECES) as usize;

#[test]
fn everything_is_handed_over_in_order() {
    for (workers, streams, capacity) in [(1, 2, 1), (2, 1, 1), (3, 2, 1), (3, 2, 4), (3, 1, 100)] {
        let scenario = Scenario { workers, streams, capacity, ..PLAIN };
        scenario.check(|outcome, taken| {
            assert_eq!(outcome, Ok(()));
            assert!(taken.iter().all(|pieces| *pieces == ALL));
        });
    }
}

#[test]
fn lanes_are_prepared_and_then_each_is_at_one_part_at_a_time() {
    for (workers, streams, capacity) in [(1, 2, 1), (3, 1, 1), (3, 2, 1), (3, 4, 2), (2, 3, 100)] {
        let scenario = Scenario { workers, streams, capacity, one_by_one: true, ..PLAIN };
        scenario.check(|outcome, taken| {
            assert_eq!(outcome, Ok(()));
            assert!(taken.iter().all(|pieces| *pieces == ALL));
        });
    }
    let cancelled = Scenario { cancelled: true, one_by_one: true, ..PLAIN };
    cancelled.check(|outcome, taken| {
        let complete = taken.iter().all(|pieces| *pieces == ALL);
        assert_eq!(outcome, if complete { Ok(()) } else { Err(Halt::Cancelled) });
    });
    Scenario { orphan: Some((1, 0)), capacity: 100, one_by_one: true, ..PLAIN }.check(
        |outcome, taken| {
            assert_eq!(outcome, Err(violation()));
            assert_eq!(taken[0], PIECES as usize);
        },
    );
}

#[test]
fn an_orphan_halts_after_all_that_is_before_it_in_its_stream() {
    let scenario = Scenario { orphan: Some((1, 0)), ..PLAIN };
    Scenario { capacity: 100, ..scenario }.check(|outcome, taken| {
        assert_eq!(outcome, Err(violation()));
        assert_eq!(taken[0], PIECES as usize);
    });
    // A full output may have asked for the piece before it.
    Scenario { capacity: 1, ..scenario }.check(|outcome, taken| {
        assert_eq!(outcome, Err(violation()));
        assert!((PIECES as usize..=PIECES as usize + 1).contains(&taken[0]));
    });
}

#[test]
fn a_cancelled_pipeline_ends() {
    Scenario { cancelled: true, ..PLAIN }.check(|outcome, taken| {
        let complete = taken.iter().all(|pieces| *pieces == ALL);
        assert_eq!(outcome, if complete { Ok(()) } else { Err(Halt::Cancelled) });
    });
    // Even where the output is stuck.
    Scenario { cancelled: true, sends: false, ..PLAIN }.check(|outcome, _| {
        assert_eq!(outcome, Err(Halt::Cancelled));
    });
}

#[test]
fn a_worker_of_a_halted_pipeline_makes_no_further_batch() {
    let once = || {
        // There is capacity for all of it.
        let handover = Handover::new(Queue::new(1, 100), tasks(1, false), 1);
        let Some(Step::Make(task)) = handover.take() else { panic!("no task") };
        let mut made = Made::default();
        made.pieces.push(Number(0));
        assert!(handover.hold(task, &mut made).is_ok());
        handover.halt(Halt::Cancelled);
        made.pieces.push(Number(1));
        assert!(handover.hold(task, &mut made).is_err());
    };
    shuttle::check_random(once, 1);
}

#[test]
fn a_pipeline_ends_with_its_output() {
    Scenario { lifetime: 4, ..PLAIN }.check(|outcome, taken| {
        let complete = taken.iter().all(|pieces| *pieces == ALL);
        assert_eq!(outcome, if complete { Ok(()) } else { Err(Halt::OutputFailed) });
    });
}
