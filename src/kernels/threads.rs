//! A pool of threads for work that is cut into many small tasks, called thousands of times per second.
//!
//! One job runs at a time. Threads take task numbers from a counter until none is left, so the cut never depends on the
//! number of threads. A worker spins for a short time after a job, since the next usually follows within microseconds,
//! and sleeps after that. A job doesn't wait for workers that are still asleep: those that come in time take part.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Rounds of the processor's pause instruction before a worker sleeps: some tens of microseconds.
const SPIN_ROUNDS: u32 = 1500;

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// State word: the job's number in the upper half; bit 31: open for workers; below: workers taking part.
const OPEN: u64 = 1 << 31;
const ACTIVE: u64 = OPEN - 1;
const NUMBER: u32 = 32;

/// A job as the workers see it.
#[derive(Clone, Copy)]
struct Job {
    task: *const Task<'static>,
    n_tasks: usize,
}

// SAFETY: the pointer leads to a `Sync` closure, and is followed only while the caller of `run` waits (see `run`).
unsafe impl Send for Job {}

struct Shared {
    state: AtomicU64,
    next: AtomicUsize,
    /// Set before `state` opens the job, read after a worker has joined it.
    job: Mutex<Option<Job>>,
    sleepers: AtomicUsize,
    /// Whether the pool is closing; guards going to sleep.
    closing: Mutex<bool>,
    wake: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Persistent worker threads; the thread that calls [`ThreadPool::run`] takes part.
pub struct ThreadPool {
    shared: Arc<Shared>,
    /// One job at a time, also when several threads call.
    running: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

thread_local! {
    /// Whether this thread is inside a task: a job started from there runs on this thread alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ThreadPool {
    /// A pool in which `threads` threads work, the caller among them.
    pub fn new(threads: usize) -> ThreadPool {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            closing: Mutex::new(false),
            wake: Condvar::new(),
            panic: Mutex::new(None),
        });
        // A thread that can't be had just isn't there: the others do its work.
        let spawn = |i| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("qlens-{i}")).spawn(move || work(&shared)).ok()
        };
        let workers = (1..threads).filter_map(spawn).collect();
        ThreadPool { shared, running: Mutex::new(()), workers }
    }

    /// Threads that take part.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task` once for each number below `n_tasks`, on all threads, and returns when all are done.
    ///
    /// # Panics
    /// A panic in a task is passed on to the caller; the other tasks may or may not have run.
    pub fn run(&self, n_tasks: usize, task: &Task<'_>) {
        if n_tasks <= 1 || self.workers.is_empty() || INSIDE.get() {
            (0..n_tasks).for_each(task);
            return;
        }
        let _one_job = lock(&self.running);
        let s = &*self.shared;
        // SAFETY: only the lifetime changes. The closure outlives its use: workers follow the pointer only between
        // joining the open job and leaving it, and this function returns only after closing the job to newcomers and
        // seeing that none is left inside.
        let task_ptr = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        *lock(&s.job) = Some(Job { task: task_ptr, n_tasks });
        s.next.store(0, Ordering::Relaxed);
        let number = (s.state.load(Ordering::Relaxed) >> NUMBER) + 1;
        s.state.store(number << NUMBER | OPEN, Ordering::SeqCst);
        if s.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = lock(&s.closing);
            s.wake.notify_all();
        }
        take_tasks(s, task, n_tasks);
        s.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut rounds = 0u32;
        while s.state.load(Ordering::Acquire) & ACTIVE != 0 {
            std::hint::spin_loop();
            rounds += 1;
            if rounds.is_multiple_of(SPIN_ROUNDS) {
                // More threads than free cores: let the one that is still at work have this one.
                std::thread::yield_now();
            }
        }
        if let Some(payload) = lock(&s.panic).take() {
            resume_unwind(payload);
        }
    }
}

/// Tasks that one thread takes in order from the front, and others from the back: the first and the end, a half each.
#[derive(Default)]
#[repr(align(64))]
struct TaskRange(AtomicU64);

impl TaskRange {
    fn new(range: std::ops::Range<usize>) -> TaskRange {
        TaskRange(AtomicU64::new((range.start as u64) << 32 | range.end as u64))
    }

    /// Takes a task; `None` when none is left.
    fn take(&self, from_the_back: bool) -> Option<usize> {
        let halves = |state: u64| (state >> 32, state & u64::from(u32::MAX));
        let take = |state: u64| match halves(state) {
            (first, end) if first >= end => None,
            (first, end) if from_the_back => Some(first << 32 | (end - 1)),
            (first, end) => Some((first + 1) << 32 | end),
        };
        // What the tasks read and write is ordered by the job's own beginning and end.
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let (first, end) = halves(before);
        Some(if from_the_back { end - 1 } else { first } as usize)
    }
}

/// The most threads that have a range of their own.
const MAX_RANGES: usize = 32;

impl ThreadPool {
    /// Like [`ThreadPool::run`], but each thread takes a range of neighbouring tasks in order, and then the last ones of
    /// others' ranges: where tasks read memory one after another, each thread's memory is one long stream.
    ///
    /// # Panics
    /// As [`ThreadPool::run`].
    pub fn run_in_ranges(&self, n_tasks: usize, task: &Task<'_>) {
        let threads = self.threads().min(n_tasks);
        if threads <= 1 || threads > MAX_RANGES || u32::try_from(n_tasks).is_err() {
            self.run(n_tasks, task);
            return;
        }
        let start = |i: usize| i * n_tasks / threads;
        let mut ranges: [TaskRange; MAX_RANGES] = Default::default();
        for (i, range) in ranges[..threads].iter_mut().enumerate() {
            *range = TaskRange::new(start(i)..start(i + 1));
        }
        self.run(threads, &|own| {
            while let Some(i) = ranges[own].take(false) {
                task(i);
            }
            for other in (own + 1..threads).chain(0..own) {
                while let Some(i) = ranges[other].take(true) {
                    task(i);
                }
            }
        });
    }
}

/// Runs tasks until none is left; a panic is kept for the caller of `run`.
fn take_tasks(s: &Shared, task: &Task<'_>, n_tasks: usize) {
    INSIDE.set(true);
    loop {
        let i = s.next.fetch_add(1, Ordering::Relaxed);
        if i >= n_tasks {
            break;
        }
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task(i))) {
            s.next.store(n_tasks, Ordering::Relaxed);
            lock(&s.panic).get_or_insert(payload);
        }
    }
    INSIDE.set(false);
}

/// A worker's life.
fn work(s: &Shared) {
    let mut seen = 0;
    while let Some(number) = wait_for_job(s, seen) {
        seen = number;
        if !join(s, number) {
            continue;
        }
        let job = *lock(&s.job);
        if let Some(Job { task, n_tasks }) = job {
            // SAFETY: this worker has joined the open job, so the caller of `run` waits until it leaves below.
            take_tasks(s, unsafe { &*task }, n_tasks);
        }
        s.state.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Enters job `number` if it is still open.
fn join(s: &Shared, number: u64) -> bool {
    let enter = |state: u64| (state >> NUMBER == number && state & OPEN != 0).then_some(state + 1);
    s.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok()
}

/// The number of a job after `seen`, or `None` when the pool closes.
fn wait_for_job(s: &Shared, seen: u64) -> Option<u64> {
    let number = || s.state.load(Ordering::SeqCst) >> NUMBER;
    for _ in 0..SPIN_ROUNDS {
        if number() != seen {
            return Some(number());
        }
        std::hint::spin_loop();
    }
    let mut closing = lock(&s.closing);
    s.sleepers.fetch_add(1, Ordering::SeqCst);
    while !*closing && number() == seen {
        closing = s.wake.wait(closing).unwrap_or_else(PoisonError::into_inner);
    }
    s.sleepers.fetch_sub(1, Ordering::SeqCst);
    if *closing { None } else { Some(number()) }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        *lock(&self.shared.closing) = true;
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // Workers don't panic: tasks' panics are caught.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 5] {
            let pool = ThreadPool::new(threads);
            for n in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..50 {
                    let count = |i: usize| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    };
                    pool.run(n, &count);
                    pool.run_in_ranges(n, &count);
                }
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 100), "{threads} threads, {n} tasks");
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = ThreadPool::new(3);
        for _ in 0..20 {
            let result = catch_unwind(AssertUnwindSafe(|| pool.run(100, &|i| assert!(i != 37, "task 37"))));
            assert!(result.is_err());
            let result = catch_unwind(AssertUnwindSafe(|| pool.run_in_ranges(100, &|i| assert!(i != 37, "task 37"))));
            assert!(result.is_err());
        }
        let sum = AtomicUsize::new(0);
        pool.run(100, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }

    #[test]
    fn a_job_inside_a_job_runs_too() {
        let pool = ThreadPool::new(3);
        let count = AtomicUsize::new(0);
        pool.run(10, &|_| {
            pool.run(10, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            })
        });
        assert_eq!(count.into_inner(), 100);
    }

    #[test]
    fn workers_wake_after_sleeping() {
        let pool = ThreadPool::new(4);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let count = AtomicUsize::new(0);
            pool.run(64, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 64);
        }
    }
}
