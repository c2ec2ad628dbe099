//! A pipeline at work.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use datagen_core::catalog::Relation;

use crate::check::Parents;
use crate::handover::{Halt, Halted, Handover, Made};
use crate::output::{Encode, Output};
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
        let handover = Handover::new(output, window.streams().len(), window.ranges(), workers);
        let work = Arc::new(Work { window, handover });
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
        let streams = self.work.handover.streams().into_iter();
        let pairs = relations.zip(streams);
        pairs
            .map(|(relation, stream)| Progress {
                relation,
                events: stream.records,
                last: stream.last,
            })
            .collect()
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
    handover: Handover<O>,
}

struct Worker<'a, O: Output, E> {
    work: &'a Work<O>,
    encoder: E,
}

impl<O: Output, E: Encode<Piece = O::Piece>> Worker<'_, O, E> {
    fn run(mut self) {
        while let Some(task) = self.work.handover.take_task() {
            if self.run_task(task).is_err() {
                return;
            }
        }
    }

    fn run_task(&mut self, task: Task) -> Result<(), Halted> {
        let Work { window, handover } = self.work;
        let mut made = Made::default();
        self.encoder.begin(task.stream, handover.output().longest(task.stream));
        for batch in window.batches(task) {
            if let Err(violation) = window.streams()[task.stream].check(&batch) {
                handover.discard(&made);
                return Err(handover.halt_at(task, Halt::Violated(violation)));
            }
            self.encoder.push(&batch, &mut made.pieces);
            handover.hold(task, &mut made)?;
        }
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
