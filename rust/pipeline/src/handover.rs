//! Where workers meet: tasks are taken in order, and their pieces handed over in the order of their lane.

#[cfg(test)]
mod model;

use std::time::{Duration, Instant};

use crate::check::Violation;
use crate::output::{Output, Piece, Size};
use crate::sync::Monitor;
use crate::window::{Task, Tasks};

/// How long a worker sleeps that holds too much, before it asks the output again.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a worker waits for capacity, before it looks whether the pipeline has been halted.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why a pipeline has ended before everything was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// It was cancelled.
    Cancelled,
    /// The output takes nothing any more; the output knows why.
    OutputFailed,
    /// A worker panicked.
    Panicked,
    /// A row is not what its foreign keys promise.
    Violated(Violation),
}

/// What a worker hears of a halted pipeline.
#[derive(Debug)]
pub struct Halted;

/// Pieces of a task that are not handed over, and how many of them are counted as held.
pub struct Made<P> {
    pub pieces: Vec<P>,
    counted: usize,
}

impl<P> Default for Made<P> {
    fn default() -> Self {
        Self { pieces: Vec::new(), counted: 0 }
    }
}

/// The tasks and the progress of a pipeline.
pub struct Handover<O> {
    output: O,
    tasks: Tasks,
    state: Monitor<State>,
}

/// What a worker does next.
pub enum Step {
    /// Prepare a part.
    Prepare(u64),
    Make(Task),
}

struct State {
    began: Instant,
    /// The next part to be prepared, and how many are.
    next_preparation: u64,
    prepared: u64,
    /// The next task to be taken.
    next_task: u64,
    /// Workers that have not ended.
    workers: usize,
    lanes: Vec<Lane>,
    /// What workers have made and not handed over.
    held: Size,
    halt: Option<Halt>,
}

/// How far a lane is.
#[derive(Debug, Default, Clone)]
pub struct Lane {
    /// Whether a part of it is being made.
    busy: bool,
    /// The next part to be handed over.
    next_part: u64,
    /// Records that were handed over.
    pub records: u64,
    /// From the start until records were last handed over.
    pub last: Duration,
}

impl<O: Output> Handover<O> {
    pub fn new(output: O, tasks: Tasks, workers: usize) -> Self {
        let state = State {
            began: Instant::now(),
            next_preparation: 0,
            prepared: 0,
            next_task: 0,
            workers,
            lanes: vec![Lane::default(); tasks.streams.len()],
            held: Size::default(),
            halt: None,
        };
        Self { output, tasks, state: Monitor::new(state) }
    }

    pub const fn output(&self) -> &O {
        &self.output
    }

    pub fn lanes(&self) -> Vec<Lane> {
        self.state.lock().lanes.clone()
    }

    /// The next preparation, and after the last of them the next task: part by part, and in each lane by
    /// lane. None after the last, or a halt. Waits for a lane that is at one part at a time, so that no
    /// lane is far before another.
    pub fn take(&self) -> Option<Step> {
        let &Tasks { preparations, parts, one_by_one, .. } = &self.tasks;
        let mut state = self.state.lock();
        let (preparation, lanes) = (state.next_preparation, state.lanes.len() as u64);
        if state.halt.is_none() && preparation < preparations {
            state.next_preparation += 1;
            return Some(Step::Prepare(preparation));
        }
        loop {
            let number = state.next_task;
            if state.halt.is_some() || number >= parts * lanes {
                return None;
            }
            let task = Task { part: number / lanes, lane: (number % lanes) as usize };
            if state.prepared == preparations && !state.lanes[task.lane].busy {
                state.next_task += 1;
                state.lanes[task.lane].busy = one_by_one;
                return Some(Step::Make(task));
            }
            state = self.state.wait(state);
        }
    }

    /// Calls `put` for what was prepared, once all parts before it are.
    pub fn prepared(&self, part: u64, put: impl FnOnce()) -> Result<(), Halted> {
        let mut state = self.state.lock();
        while state.halt.is_none() && state.prepared != part {
            state = self.state.wait(state);
        }
        if state.halt.is_some() {
            return Err(Halted);
        }
        drop(state);
        put();
        self.state.lock().prepared += 1;
        self.state.notify();
        Ok(())
    }

    /// Takes note that a part of a lane is made, though not handed over.
    pub fn made(&self, task: Task) {
        if self.tasks.one_by_one {
            self.state.lock().lanes[task.lane].busy = false;
            self.state.notify();
        }
    }

    /// Counts what a worker has made so far, and waits while the output has no capacity beside what all
    /// workers hold. A worker whose part is the next of its lane hands over instead, so that there is
    /// always one that goes on.
    pub fn hold(&self, task: Task, made: &mut Made<O::Piece>) -> Result<(), Halted> {
        let more: Size = made.pieces[made.counted..].iter().map(Piece::size).sum();
        made.counted = made.pieces.len();
        let mut state = self.state.lock();
        state.held += more;
        while state.halt.is_none() {
            if self.output.has_capacity_beside(state.held) {
                return Ok(());
            }
            if state.lanes[task.lane].next_part == task.part {
                drop(state);
                return self.hand_over(task, std::mem::take(made), false);
            }
            state = self.state.wait_for(state, PAUSE);
        }
        Err(Halted)
    }

    /// Hands over once the part is the next of its lane and the output has capacity; with the `last`
    /// pieces of a task, the part after it is the next.
    pub fn hand_over(&self, task: Task, made: Made<O::Piece>, last: bool) -> Result<(), Halted> {
        self.wait_until_next(task)?;
        while !self.output.wait_for_capacity(PATIENCE) {
            if self.state.lock().halt.is_some() {
                return Err(Halted);
            }
        }
        if self.output.has_failed() {
            self.halt(Halt::OutputFailed);
            return Err(Halted);
        }
        let size: Size = made.pieces.iter().map(Piece::size).sum();
        self.discard(&made);
        self.output.hand_over(self.tasks.streams[task.lane], made.pieces);
        let mut state = self.state.lock();
        let since = state.began.elapsed();
        let lane = &mut state.lanes[task.lane];
        debug_assert_eq!(lane.next_part, task.part);
        lane.records += size.records as u64;
        if size.records > 0 {
            lane.last = since;
        }
        lane.next_part += u64::from(last);
        self.state.notify();
        if state.halt.is_some() { Err(Halted) } else { Ok(()) }
    }

    /// Holds what a worker has made no longer.
    pub fn discard(&self, made: &Made<O::Piece>) {
        let size: Size = made.pieces[..made.counted].iter().map(Piece::size).sum();
        self.state.lock().held -= size;
    }

    /// Halts once everything before the task is handed over, however fast other workers are.
    pub fn halt_at(&self, task: Task, halt: Halt) -> Halted {
        if self.wait_until_next(task).is_ok() {
            self.halt(halt);
        }
        Halted
    }

    /// Halts at once, unless the pipeline is halted already.
    pub fn halt(&self, halt: Halt) {
        self.state.lock().halt.get_or_insert(halt);
        self.state.notify();
    }

    fn wait_until_next(&self, task: Task) -> Result<(), Halted> {
        let mut state = self.state.lock();
        while state.halt.is_none() && state.lanes[task.lane].next_part != task.part {
            state = self.state.wait(state);
        }
        if state.halt.is_some() { Err(Halted) } else { Ok(()) }
    }

    /// Counts a worker that ends.
    pub fn leave(&self) {
        self.state.lock().workers -= 1;
        self.state.notify();
    }

    /// Waits until every worker has ended, and how the pipeline has; nothing if it takes longer.
    pub fn wait(&self, timeout: Duration) -> Option<Result<(), Halt>> {
        let began = Instant::now();
        let mut state = self.state.lock();
        while state.workers > 0 {
            let left = timeout.checked_sub(began.elapsed())?;
            state = self.state.wait_for(state, left);
        }
        let complete = state.lanes.iter().all(|lane| lane.next_part == self.tasks.parts);
        Some(if complete { Ok(()) } else { Err(state.halt.unwrap_or(Halt::Cancelled)) })
    }
}
