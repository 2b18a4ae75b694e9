//! Fetching one file in parallel pieces, going on after breaks.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::StoreError;
use super::hub::{Hub, Piece, RemoteFile};
use super::partial::{Partial, sha256_of, write_at};

/// How often a piece may bring nothing before it is given up.
const ATTEMPTS: u32 = 5;
/// The wait after the first failure; each next one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// What is left free on the disk.
const SPARE_BYTES: u64 = 64 << 20;

/// Follows a download.
pub trait Watch: Sync {
    /// A file is about to be fetched, of which `have` bytes are there.
    fn begin(&self, file: &RemoteFile, have: u64);
    /// This many bytes are there now.
    fn got(&self, bytes: u64);
    /// This many bytes have been read back and checked.
    fn checked(&self, bytes: u64);
}

/// Fetches `remote` to `target`, unless it is there and right.
///
/// # Errors
/// Whatever keeps it from being whole and right; there is then no file of its name, or the old one.
pub(super) fn fetch(hub: &Hub, remote: &RemoteFile, target: &Path, watch: &dyn Watch) -> Result<bool, StoreError> {
    if std::fs::metadata(target).is_ok_and(|m| m.is_file() && m.len() == remote.size) {
        watch.begin(remote, remote.size);
        let io = |source| StoreError::Io { path: target.to_path_buf(), source };
        if sha256_of(target, &mut |n| watch.checked(n)).map_err(io)? == remote.sha256 {
            return Ok(false);
        }
    }
    let partial = Partial::open(target, remote)?;
    let resumed = partial.bytes_done() > 0;
    match fill(hub, remote, partial, watch) {
        // What an earlier run left may have been damaged (by a power cut, say): once more, from the start.
        Err(StoreError::Checksum { .. }) if resumed => fill(hub, remote, Partial::open(target, remote)?, watch)?,
        other => other?,
    }
    Ok(true)
}

fn fill(hub: &Hub, remote: &RemoteFile, partial: Partial, watch: &dyn Watch) -> Result<(), StoreError> {
    let have = partial.bytes_done();
    watch.begin(remote, have);
    let missing = partial.missing();
    if !missing.is_empty()
        && let Err(e) = check_space(remote, &partial, have).and_then(|()| partial.make_room())
    {
        if have == 0 {
            partial.discard();
        }
        return Err(e);
    }
    let transfer = Transfer {
        hub,
        remote,
        watch,
        file: partial.writer()?,
        queue: Mutex::new(missing.into()),
        got: AtomicU64::new(have),
        stop: AtomicBool::new(false),
        failure: Mutex::new(None),
        partial: Mutex::new(partial),
    };
    transfer.run();
    let failure = transfer.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    let partial = transfer.partial.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failure {
        None => partial.finish(&mut |n| watch.checked(n)),
        Some(e @ StoreError::Length { .. }) => {
            partial.discard();
            Err(e)
        }
        Some(e) => Err(e),
    }
}

fn check_space(remote: &RemoteFile, partial: &Partial, have: u64) -> Result<(), StoreError> {
    let folder = partial.folder();
    // A system that doesn't say is taken to have room; writing then says if not.
    let Ok(free) = fs4::available_space(folder) else { return Ok(()) };
    let needed = (remote.size - have).saturating_add(SPARE_BYTES);
    if free < needed {
        return Err(StoreError::Space { folder: folder.to_path_buf(), needed, free });
    }
    Ok(())
}

/// A file on its way, shared by the threads that fetch it.
struct Transfer<'a> {
    hub: &'a Hub,
    remote: &'a RemoteFile,
    watch: &'a dyn Watch,
    file: File,
    queue: Mutex<VecDeque<usize>>,
    got: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<StoreError>>,
    partial: Mutex<Partial>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How an attempt ended that brought less than was wanted.
enum Attempt {
    /// Worth another one.
    Again(String),
    /// Not.
    Never(StoreError),
}

impl Transfer<'_> {
    fn run(&self) {
        let chunks = locked(&self.queue).len();
        // The first piece shows whether the server can send pieces at all.
        if let Some(first) = self.next()
            && self.chunk(first)
        {
            std::thread::scope(|scope| {
                for _ in 0..self.hub.options.connections.clamp(1, chunks.max(1)) {
                    scope.spawn(|| while self.next().is_some_and(|i| self.chunk(i)) {});
                }
            });
        }
    }

    fn next(&self) -> Option<usize> {
        if self.stop.load(Ordering::Relaxed) { None } else { locked(&self.queue).pop_front() }
    }

    fn fail(&self, e: StoreError) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        locked(&self.failure).get_or_insert(e);
        false
    }

    /// Fetches one chunk; whether to go on.
    fn chunk(&self, i: usize) -> bool {
        let (start, end) = locked(&self.partial).span(i);
        let (mut at, mut fruitless) = (start, 0);
        while at < end {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let before = at;
            let problem = match self.attempt(&mut at, end) {
                Ok(()) => continue,
                Err(Attempt::Never(e)) => return self.fail(e),
                Err(Attempt::Again(problem)) => problem,
            };
            fruitless = if at > before { 0 } else { fruitless + 1 };
            if fruitless == ATTEMPTS {
                return self.fail(self.broken(problem));
            }
            std::thread::sleep(FIRST_WAIT * 2u32.pow(fruitless));
        }
        self.done(i)
    }

    fn done(&self, i: usize) -> bool {
        // The queue may still hold it where a whole file came in one stream.
        match locked(&self.partial).note(i) {
            Ok(()) => true,
            Err(e) => self.fail(e),
        }
    }

    fn broken(&self, problem: String) -> StoreError {
        let kept = locked(&self.partial).bytes_done();
        let (file, size) = (self.remote.path.clone(), self.remote.size);
        StoreError::Broken { file, problem, attempts: ATTEMPTS, kept, size }
    }

    /// Asks for the bytes `at..end` and writes what comes; `at` moves along.
    fn attempt(&self, at: &mut u64, end: u64) -> Result<(), Attempt> {
        let mut piece = self.hub.piece(&self.remote.url, *at, end).map_err(|e| match e {
            StoreError::Status { status: 408 | 425 | 429 | 500.., .. } | StoreError::Unreachable { .. } => {
                Attempt::Again(e.to_string())
            }
            e => Attempt::Never(e),
        })?;
        if let Some(found) = piece.total.filter(|&n| n != self.remote.size) {
            let (file, wanted) = (self.remote.path.clone(), self.remote.size);
            return Err(Attempt::Never(StoreError::Length { file, found, wanted }));
        }
        if piece.whole {
            return self.stream(&mut piece, at, end);
        }
        let mut buffer = vec![0; 64 << 10];
        while *at < end {
            let n = self.read(&mut piece, &mut buffer, end - *at)?;
            self.write(&buffer[..n], *at)?;
            *at += n as u64;
            self.count(n as u64);
        }
        Ok(())
    }

    /// The server sends the whole file: what lies before `at` is read over, and the chunk that is wanted is taken. With the
    /// rest of the stream all chunks that follow are taken too, as they would cost the whole file each.
    fn stream(&self, piece: &mut Piece, at: &mut u64, end: u64) -> Result<(), Attempt> {
        let rest: VecDeque<usize> = std::mem::take(&mut *locked(&self.queue));
        let mut wanted: VecDeque<usize> = rest;
        let result = self.stream_chunks(piece, at, end, &mut wanted);
        *locked(&self.queue) = wanted;
        result
    }

    fn stream_chunks(
        &self,
        piece: &mut Piece,
        at: &mut u64,
        end: u64,
        wanted: &mut VecDeque<usize>,
    ) -> Result<(), Attempt> {
        let mut buffer = vec![0; 64 << 10];
        let mut here = piece.start;
        self.take(piece, &mut here, at, end, &mut buffer)?;
        while let Some(&i) = wanted.front() {
            let (mut at, end) = locked(&self.partial).span(i);
            // A later attempt does what is left.
            if self.take(piece, &mut here, &mut at, end, &mut buffer).is_err() || !self.done(i) {
                break;
            }
            wanted.pop_front();
        }
        Ok(())
    }

    /// From a stream that is at `here`: skips to `at`, and writes up to `end`.
    fn take(
        &self,
        piece: &mut Piece,
        here: &mut u64,
        at: &mut u64,
        end: u64,
        buffer: &mut [u8],
    ) -> Result<(), Attempt> {
        while *here < *at {
            *here += self.read(piece, buffer, *at - *here)? as u64;
        }
        while *at < end {
            let n = self.read(piece, buffer, end - *at)?;
            self.write(&buffer[..n], *at)?;
            *at += n as u64;
            *here = *at;
            self.count(n as u64);
        }
        Ok(())
    }

    fn read(&self, piece: &mut Piece, buffer: &mut [u8], most: u64) -> Result<usize, Attempt> {
        let room = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        match piece.body.read(&mut buffer[..room]) {
            Ok(0) => Err(Attempt::Again("the connection broke off".into())),
            Ok(n) => Ok(n),
            Err(e) => Err(Attempt::Again(e.to_string())),
        }
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), Attempt> {
        let path = || locked(&self.partial).path().to_path_buf();
        write_at(&self.file, bytes, at).map_err(|source| Attempt::Never(StoreError::Io { path: path(), source }))
    }

    fn count(&self, n: u64) {
        self.watch.got(self.got.fetch_add(n, Ordering::Relaxed) + n);
    }
}
