//! A pipeline at work.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use datagen_core::catalog::Relation;

use crate::check::Parents;
use crate::handover::{Halt, Halted, Handover, Made, Step};
use crate::output::{Encode, Lane, Output};
use crate::window::{Task, Window};

/// Threads that make the events of a window. Dropping it cancels it, without waiting for the threads.
pub struct Pipeline<O: Output> {
    work: Arc<Work<O>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The stream.
    pub relation: &'static Relation,
    /// Events that were handed over.
    pub events: u64,
    /// Events that were made and checked, and that the output had before.
    pub there: u64,
    /// From the start until events were last handed over.
    pub last: Duration,
}

impl<O: Output + 'static> Pipeline<O> {
    /// Starts so many workers, each with an encoder of its own.
    ///
    /// # Errors
    /// If the system has no more threads; those that were started end.
    pub fn start<E>(
        window: Window,
        output: O,
        workers: usize,
        encoder: impl Fn() -> E,
    ) -> io::Result<Self>
    where
        E: Encode<Piece = O::Piece> + 'static,
    {
        let lanes = window.lanes();
        let handover = Handover::new(output, window.tasks(&lanes), workers);
        let there = window.streams().iter().map(|_| AtomicU64::new(0)).collect();
        let work = Arc::new(Work { window, lanes, there, handover });
        let pipeline = Self { work, threads: Mutex::default() };
        for number in 0..workers {
            let (work, encoder) = (Arc::clone(&pipeline.work), encoder());
            let thread = thread::Builder::new().name(format!("datagen-worker-{number}"));
            let thread = thread.spawn(move || Worker { work: &work, encoder }.run())?;
            pipeline.threads().push(thread);
        }
        Ok(pipeline)
    }
}

impl<O: Output> Pipeline<O> {
    /// Waits until the pipeline has ended and no thread of it is left; nothing if it takes longer.
    ///
    /// # Errors
    /// Why not everything was handed over.
    pub fn wait(&self, timeout: Duration) -> Option<Result<(), Halt>> {
        let ended = self.work.handover.wait(timeout)?;
        self.join();
        Some(ended)
    }

    /// How far each stream is, in the order of the window.
    pub fn progress(&self) -> Vec<Progress> {
        let relations = self.work.window.streams().iter().map(Parents::relation);
        let before = |(relation, there): (_, &AtomicU64)| {
            let there = there.load(Ordering::Relaxed);
            Progress { relation, events: 0, there, last: Duration::ZERO }
        };
        let mut streams: Vec<_> = relations.zip(&self.work.there).map(before).collect();
        for (lane, at) in self.work.handover.lanes().iter().zip(&self.work.lanes) {
            let stream = &mut streams[at.stream];
            stream.events += lane.records;
            stream.last = stream.last.max(lane.last);
        }
        streams
    }

    /// Makes no more events, and waits for the threads.
    pub fn cancel(&self) {
        self.work.handover.halt(Halt::Cancelled);
        self.join();
    }

    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            // A worker that panicked has halted the pipeline.
            drop(thread.join());
        }
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Output> Drop for Pipeline<O> {
    fn drop(&mut self) {
        self.work.handover.halt(Halt::Cancelled);
    }
}

/// What the workers share.
struct Work<O> {
    window: Window,
    lanes: Vec<Lane>,
    /// By stream, events that the output had before.
    there: Vec<AtomicU64>,
    handover: Handover<O>,
}

struct Worker<'a, O: Output, E> {
    work: &'a Work<O>,
    encoder: E,
}

impl<O: Output, E: Encode<Piece = O::Piece>> Worker<'_, O, E> {
    fn run(mut self) {
        let Work { window, handover, .. } = self.work;
        while let Some(step) = handover.take() {
            let done = match step {
                Step::Prepare(part) => handover.prepared(part, window.prepare(part)),
                Step::Make(task) => self.make(task),
            };
            if done.is_err() {
                return;
            }
        }
    }

    fn make(&mut self, task: Task) -> Result<(), Halted> {
        let Work { window, lanes, there, handover } = self.work;
        let lane = lanes[task.lane];
        let mut made = Made::default();
        self.encoder.begin(lane, handover.output().longest(lane.stream));
        for batch in window.batches(task) {
            if let Err(violation) = window.streams()[lane.stream].check(&batch) {
                handover.discard(&made);
                return Err(handover.halt_at(task, Halt::Violated(violation)));
            }
            let rows = batch.rows();
            let batch = window.lacking(batch);
            there[lane.stream].fetch_add((rows - batch.rows()) as u64, Ordering::Relaxed);
            if batch.rows() == 0 {
                continue;
            }
            self.encoder.push(&batch, &mut made.pieces);
            handover.hold(task, &mut made)?;
        }
        handover.made(task);
        self.encoder.finish(&mut made.pieces);
        handover.hand_over(task, made, true)
    }
}

impl<O: Output, E> Drop for Worker<'_, O, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.work.handover.halt(Halt::Panicked);
        }
        self.work.handover.leave();
    }
}
