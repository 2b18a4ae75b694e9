//! Runs a template where it can do no harm, whatever the engine's own limits overlook.
//!
//! The engine counts steps and bytes, but a template can still build lists in lists (each step a level, or twice the size
//! when printed) that overflow the stack, or take hours or all memory in one step. So it runs in a thread of its own, with a
//! stack for as many levels as its steps allow, and this side watches the clock and the process's memory. A thread can't be
//! stopped from outside: one that oversteps is left behind, and whoever gets the error should end the process soon.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::text::TextError;

/// Address space only; what isn't used is never backed by memory. The engine takes up to 1.2 kB for each level of a value that
/// it writes or drops, and 500,000 steps build up to 55,000 levels: 66 MB.
const STACK_BYTES: usize = 256 << 20;
/// Bytes of stack more for each byte of the conversation, as that buys steps too.
const STACK_PER_BYTE: usize = 128;
/// Seconds that any conversation may take. Usual ones take a thousandth of one.
const SECONDS: u64 = 5;
/// Memory that any conversation may take.
const MIB: u64 = 512;
/// Times the size of the conversation that its templates may take in memory.
const COPIES: u64 = 64;

/// What `job` returns, for a conversation of `bytes` bytes.
///
/// # Errors
/// Those of `job`; time and memory used up; no thread to be had; a panic in `job`.
pub(super) fn run(
    bytes: usize,
    job: impl FnOnce() -> Result<String, TextError> + Send + 'static,
) -> Result<String, TextError> {
    let mib_of_text = (bytes >> 20) as u64;
    let seconds = SECONDS + mib_of_text;
    let mib = MIB + COPIES * mib_of_text;
    let (sender, receiver) = channel();
    let start = Instant::now();
    let at_start = own_memory_mib();
    thread::Builder::new()
        .name("chat template".into())
        .stack_size(STACK_BYTES.saturating_add(bytes.saturating_mul(STACK_PER_BYTE)))
        // A receiver that is gone has seen enough.
        .spawn(move || drop(sender.send(job())))
        .map_err(|source| TextError::TemplateThread { source })?;
    loop {
        match receiver.recv_timeout(Duration::from_millis(10)) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err(TextError::TemplateCrash),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if start.elapsed() > Duration::from_secs(seconds) {
            return Err(TextError::TemplateTime { seconds });
        }
        if own_memory_mib() > at_start + mib {
            return Err(TextError::TemplateMemory { mib });
        }
    }
}

/// The memory that the process has for itself, without mapped files; 0 where the system doesn't tell.
fn own_memory_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split(' ').skip(1).map_while(|n| n.parse::<u64>().ok());
    let (resident, mapped) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    // Pages are 4 KiB wherever these kernels run; larger ones would only make the limit looser.
    resident.saturating_sub(mapped) * 4 / 1024
}
