//! Where workers meet: tasks are taken in order, and their pieces handed over in order.

#[cfg(test)]
mod model;

use std::time::{Duration, Instant};

use crate::check::Violation;
use crate::output::{Output, Piece, Size};
use crate::sync::Monitor;
use crate::window::Task;

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
    /// Tasks of each stream.
    ranges: u64,
    state: Monitor<State>,
}

struct State {
    began: Instant,
    /// The next task to be taken.
    next_task: u64,
    /// Workers that have not ended.
    workers: usize,
    streams: Vec<Stream>,
    /// What workers have made and not handed over.
    held: Size,
    halt: Option<Halt>,
}

/// How far a stream is.
#[derive(Debug, Default, Clone)]
pub struct Stream {
    /// The next range to be handed over.
    next_range: u64,
    /// Records that were handed over.
    pub records: u64,
    /// From the start until records were last handed over.
    pub last: Duration,
}

impl<O: Output> Handover<O> {
    pub fn new(output: O, streams: usize, ranges: u64, workers: usize) -> Self {
        let state = State {
            began: Instant::now(),
            next_task: 0,
            workers,
            streams: vec![Stream::default(); streams],
            held: Size::default(),
            halt: None,
        };
        Self { output, ranges, state: Monitor::new(state) }
    }

    pub const fn output(&self) -> &O {
        &self.output
    }

    pub fn streams(&self) -> Vec<Stream> {
        self.state.lock().streams.clone()
    }

    /// The next task, range by range and in each stream by stream; none after the last, or a halt.
    pub fn take_task(&self) -> Option<Task> {
        let mut state = self.state.lock();
        let (task, streams) = (state.next_task, state.streams.len() as u64);
        if state.halt.is_some() || task >= self.ranges * streams {
            return None;
        }
        state.next_task += 1;
        Some(Task { range: task / streams, stream: (task % streams) as usize })
    }

    /// Counts what a worker has made so far, and waits while the output has no capacity beside what all
    /// workers hold. A worker whose range is the next of its stream hands over instead, so that there is
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
            if state.streams[task.stream].next_range == task.range {
                drop(state);
                return self.hand_over(task, std::mem::take(made), false);
            }
            state = self.state.wait_for(state, PAUSE);
        }
        Err(Halted)
    }

    /// Hands over once the range is the next of its stream and the output has capacity; with the `last`
    /// pieces of a task, the range after it is the next.
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
        self.output.hand_over(task.stream, made.pieces);
        let mut state = self.state.lock();
        let since = state.began.elapsed();
        let stream = &mut state.streams[task.stream];
        debug_assert_eq!(stream.next_range, task.range);
        stream.records += size.records as u64;
        stream.last = since;
        stream.next_range += u64::from(last);
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
        while state.halt.is_none() && state.streams[task.stream].next_range != task.range {
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
        let complete = state.streams.iter().all(|stream| stream.next_range == self.ranges);
        Some(if complete { Ok(()) } else { Err(state.halt.unwrap_or(Halt::Cancelled)) })
    }
}
