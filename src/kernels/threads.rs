//! A persistent pool of threads for regions of a few microseconds to milliseconds.
//!
//! ```text
//! run(n, task):  job := (n, task); next := 0; state := OPEN; epoch += 1; wake the parked
//!                the caller and every worker that comes in time: while (i := next++) < n: task(i)
//!                state := closed; wait until no worker is inside
//! worker:        spin for a while on epoch, then park;  inside += 1;  if OPEN: take tasks;  inside -= 1
//! ```
//! Tasks are handed out by one counter, so a slow core takes fewer. A worker that wakes late finds the job closed and
//! goes back: nobody waits for it. Between the regions of a token lie a few microseconds, so workers spin a little
//! before they park; with more threads than processors they give their turn away instead.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cores;
use super::error::KernelError;

/// How long a worker without work spins before it parks: longer than the serial part between two regions, short enough
/// that an idle program uses no processor time worth naming.
const SPIN: Duration = Duration::from_micros(100);

/// The bit of [`Shared::state`] that says that tasks may be taken; the bits below count the workers inside.
const OPEN: u32 = 1 << 31;

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

thread_local! {
    /// Set while this thread executes a task of any pool: a region started there runs inline.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Worker threads that stay alive between regions. Dropping it ends and joins them.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held for the length of a region: one at a time.
    region: Mutex<()>,
}

/// On cache lines of their own, since one is written by every task taken and another is polled.
#[repr(align(128))]
struct Lone<T>(T);

struct Shared {
    /// Changes once per region; workers watch it.
    epoch: Lone<AtomicU32>,
    /// The next task to hand out.
    next: Lone<AtomicUsize>,
    /// [`OPEN`] and the number of workers inside.
    state: Lone<AtomicU32>,
    job: UnsafeCell<Job>,
    stop: AtomicBool,
    /// Workers parked or about to park; changed under `gate`.
    sleepers: AtomicUsize,
    gate: Mutex<()>,
    wake: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Whether there are fewer processors than threads: waiting threads then yield instead of spinning.
    crowded: bool,
}

#[derive(Clone, Copy)]
struct Job {
    n_tasks: usize,
    /// Valid while `state` is open or a worker is inside that entered while it was.
    task: *const Task<'static>,
}

// SAFETY: `job` is the only part that isn't `Sync`: it is written only by the holder of `region` while the state is
// closed and no worker that saw it open is inside, and read only by workers that entered while it was open.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is used only under the protocol above; the task behind it is `Sync`.
unsafe impl Send for Shared {}

impl ThreadPool {
    /// The most threads that a pool takes.
    pub const MAX_THREADS: usize = 512;

    /// Starts `threads - 1` workers; the thread that calls [`ThreadPool::run`] is the last of them.
    ///
    /// # Errors
    /// If `threads` is 0 or above [`Self::MAX_THREADS`], or the system refuses a thread.
    pub fn new(threads: usize) -> Result<Self, KernelError> {
        if threads == 0 || threads > Self::MAX_THREADS {
            return Err(KernelError::ThreadCount { found: threads, max: Self::MAX_THREADS });
        }
        let shared = Arc::new(Shared::new(threads > cores::available_threads()));
        let mut pool = Self { shared, workers: Vec::with_capacity(threads - 1), region: Mutex::new(()) };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = std::thread::Builder::new().name(format!("qlens-{index}"));
            let worker = builder.spawn(move || shared.work(index));
            pool.workers.push(worker.map_err(|source| KernelError::ThreadStart { index, source })?);
        }
        Ok(pool)
    }

    /// Threads that share a region, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(i)` once for every `i < n_tasks`, on all threads, and returns when all have ended. Which thread takes
    /// which task is not fixed. A region started inside a task runs on that task's thread alone.
    ///
    /// # Panics
    /// If a task panics: with that panic, after the others have stopped (tasks not yet begun are dropped).
    pub fn run(&self, n_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.run_indexed(n_tasks, &|_, index| task(index));
    }

    /// As [`ThreadPool::run`]; `task(worker, i)` also learns which thread it is on (`worker < self.threads()`), so that
    /// it can use that thread's part of a scratch buffer: no two tasks of one worker run at the same time.
    pub fn run_indexed(&self, n_tasks: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        if n_tasks <= 1 || self.workers.is_empty() || INSIDE.get() {
            (0..n_tasks).for_each(|index| task(0, index));
            return;
        }
        let region = lock(&self.region);
        // SAFETY: only the lifetime changes. `close` below waits until no worker can reach the task any more,
        // and this function doesn't return or unwind before that.
        let task: *const Task<'static> = unsafe { std::mem::transmute(task as *const Task<'_>) };
        self.shared.open(Job { n_tasks, task }, self.workers.len());
        self.shared.take_tasks(0);
        self.shared.close();
        let panic = lock(&self.shared.panic).take();
        drop(region);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.announce(usize::MAX);
        for worker in self.workers.drain(..) {
            // A worker's panics are all caught: joining can't fail in a way that matters here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn new(crowded: bool) -> Self {
        fn nothing(_: usize, _: usize) {}
        let task: &'static Task<'static> = &(nothing as fn(usize, usize));
        Self {
            epoch: Lone(AtomicU32::new(0)),
            next: Lone(AtomicUsize::new(0)),
            state: Lone(AtomicU32::new(0)),
            job: UnsafeCell::new(Job { n_tasks: 0, task }),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            gate: Mutex::new(()),
            wake: Condvar::new(),
            panic: Mutex::new(None),
            crowded,
        }
    }

    /// Publishes a job and wakes as many parked workers as it can use. Only the holder of `region` calls this.
    fn open(&self, job: Job, n_workers: usize) {
        // SAFETY: the region's holder is the only writer; the state has been closed and empty since `close`, and a
        // worker that enters a closed state doesn't read the job.
        unsafe { *self.job.get() = job };
        self.next.0.store(0, Ordering::Relaxed);
        self.state.0.fetch_or(OPEN, Ordering::Release);
        self.announce(n_workers.min(job.n_tasks - 1));
    }

    /// Changes the epoch and wakes up to `wanted` parked workers.
    fn announce(&self, wanted: usize) {
        // Sequentially consistent with `park`: either this sees the sleeper, or the sleeper sees the new epoch.
        self.epoch.0.fetch_add(1, Ordering::SeqCst);
        let asleep = self.sleepers.load(Ordering::SeqCst);
        if asleep == 0 {
            return;
        }
        // Whoever counted as asleep has either gone to sleep by the time the gate opens or sees the new epoch.
        drop(lock(&self.gate));
        if wanted >= asleep {
            self.wake.notify_all();
        } else {
            (0..wanted).for_each(|_| self.wake.notify_one());
        }
    }

    /// Ends the job: nobody enters any more; waits for those inside.
    fn close(&self) {
        self.state.0.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.state.0.load(Ordering::Acquire) != 0 {
            spins += 1;
            if self.crowded || spins > 4096 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Takes tasks until there are none. A panic ends the job for all and is kept for the caller.
    fn take_tasks(&self, worker: usize) {
        // SAFETY: the caller either published this job itself or entered while the state was open (acquiring the write
        // of the job); it isn't replaced until `close` has seen everybody leave.
        let job = unsafe { *self.job.get() };
        // SAFETY: as above: the task behind the pointer outlives `close`.
        let task = unsafe { &*job.task };
        INSIDE.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let index = self.next.0.fetch_add(1, Ordering::Relaxed);
                if index >= job.n_tasks {
                    break;
                }
                task(worker, index);
            }
        }));
        INSIDE.set(false);
        if let Err(panic) = result {
            self.next.0.store(job.n_tasks, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(panic);
        }
    }

    /// A worker's life.
    fn work(&self, worker: usize) {
        let mut seen = 0;
        loop {
            seen = self.wait(seen);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            if self.state.0.fetch_add(1, Ordering::Acquire) & OPEN != 0 {
                self.take_tasks(worker);
            }
            self.state.0.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns the epoch once it isn't `seen` any more: spins, then parks.
    fn wait(&self, seen: u32) -> u32 {
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                let epoch = self.epoch.0.load(Ordering::Acquire);
                if epoch != seen {
                    return epoch;
                }
                std::hint::spin_loop();
            }
            if self.crowded {
                std::thread::yield_now();
            }
            if start.elapsed() > SPIN {
                return self.park(seen);
            }
        }
    }

    fn park(&self, seen: u32) -> u32 {
        let mut gate = lock(&self.gate);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let epoch = loop {
            let epoch = self.epoch.0.load(Ordering::SeqCst);
            if epoch != seen {
                break epoch;
            }
            gate = self.wake.wait(gate).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(gate);
        epoch
    }
}

/// Locks, also after another thread panicked while it held the lock: what these guard is valid at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(pool: &ThreadPool, n: usize) {
        let hits: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
        pool.run(n, &|i| {
            hits[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1), "{n} tasks");
    }

    #[test]
    fn every_task_runs_exactly_once() {
        for threads in [1, 2, 3, 8] {
            let pool = ThreadPool::new(threads).unwrap();
            for n in [0, 1, 2, 3, 17, 1000] {
                hits(&pool, n);
            }
            for round in 0..2000 {
                hits(&pool, round % 9);
                if round % 500 == 0 {
                    std::thread::sleep(SPIN * 3);
                }
            }
        }
    }

    #[test]
    fn worker_indices_are_exclusive() {
        let pool = ThreadPool::new(4).unwrap();
        let busy: Vec<AtomicBool> = (0..4).map(|_| AtomicBool::new(false)).collect();
        pool.run_indexed(500, &|worker, _| {
            assert!(!busy[worker].swap(true, Ordering::SeqCst));
            std::thread::yield_now();
            assert!(busy[worker].swap(false, Ordering::SeqCst));
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = ThreadPool::new(3).unwrap();
        for bad in [0, 5, 99] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.run(100, &|i| {
                    if i == bad {
                        panic!("task {i}");
                    }
                });
            }));
            let message = *caught.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(message, format!("task {bad}"));
            hits(&pool, 100);
        }
    }

    #[test]
    fn nested_regions_run_inline() {
        let pool = ThreadPool::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        pool.run(10, &|i| {
            pool.run(10, &|j| {
                sum.fetch_add(i * 10 + j, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 4950);
        hits(&pool, 10);
    }

    #[test]
    fn regions_from_several_threads_take_turns() {
        let pool = ThreadPool::new(3).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..200).for_each(|n| hits(&pool, n % 13)));
            }
        });
    }

    #[test]
    fn absurd_thread_counts_are_refused() {
        for n in [0, 513, usize::MAX] {
            let message = ThreadPool::new(n).err().unwrap().to_string();
            assert_eq!(message, format!("{n} threads asked for (allowed: 1 to 512)"));
        }
    }
}
