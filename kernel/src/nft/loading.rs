//! The moment in which the kernel loads nf_tables.
//!
//! The first who needs nf_tables on a machine has it loaded, and waits. Whoever comes in that moment does not: its
//! `modprobe` finds the module on its way, is content, and the kernel answers as if there were none. On a node that has
//! just been started many come at once, so that answer is believed only if no module is on its way, nor has just arrived.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::error::Error;

/// What has to be there, in the order in which it is loaded.
const MODULES: [&str; 2] = ["nfnetlink", "nf_tables"];
/// How long a module may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel tells nobody when a module is ready.
const PAUSE: Duration = Duration::from_millis(2);

/// Does `work`, again as long as it fails because a module is not there yet.
pub(super) fn patiently<T>(mut work: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut again = true;
    loop {
        let outcome = work();
        if !matches!(outcome, Err(Error::NoSupport)) {
            return outcome;
        }
        // A module that is part of the kernel has no state.
        let states = MODULES.map(|module| fs::read_to_string(format!("/sys/module/{module}/initstate")));
        let is = |wanted: &str| states.iter().flatten().any(|state| state.trim_end() == wanted);
        match (is("coming") && Instant::now() < deadline, is("live") && again) {
            (true, _) => thread::sleep(PAUSE),
            (false, true) => again = false,
            (false, false) => return outcome,
        }
    }
}
