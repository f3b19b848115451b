//! The thread that searches files, so that the reader of the rings need not wait; it also lets go of files that nobody
//! uses any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{intake::Targets, kernel::Shared};
use crate::targets::{
    analysis,
    cache::{Cache, Key},
    discovery::{self, Attach, Discovery, Job, Outcome},
    procfs::Proc,
};

/// How often it is looked for files that nobody uses.
const TIDY: Duration = Duration::from_secs(10);

/// A search of this length is worth writing down by itself.
const LONG: Duration = Duration::from_millis(20);

/// Ends the thread when it is dropped, after the file that it is at.
pub struct Analyst(Arc<AtomicBool>);

impl Drop for Analyst {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Analyst {
    /// Starts the thread.
    pub fn start(targets: Targets, kernel: Shared, proc: Proc) -> std::io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let work = move || {
            let mut cache = Cache::open(Cache::place());
            let mut tidied = Instant::now();
            while !end.load(Ordering::Relaxed) {
                match targets.job(Duration::from_secs(1)) {
                    Some(job) => {
                        let begun = Instant::now();
                        let outcome = perform(&job, &mut cache, &mut kernel.clone());
                        targets.finish(&job, outcome);
                        // What took long is kept at once: `run` may end any time.
                        if begun.elapsed() >= LONG {
                            save(&mut cache);
                        }
                    }
                    None => save(&mut cache),
                }
                if tidied.elapsed() >= TIDY {
                    tidied = Instant::now();
                    tidy(&targets, &proc);
                }
            }
            save(&mut cache);
        };
        std::thread::Builder::new().name("onlooker-analysis".into()).spawn(work)?;
        Ok(Self(ended))
    }
}

fn save(cache: &mut Cache) {
    if let Err(error) = cache.save() {
        tracing::debug!(%error, "Cannot keep what was found in files; they will be searched again.");
    }
}

/// Searches a file, or remembers it, and attaches.
fn perform<A: Attach>(job: &Job, cache: &mut Cache, attacher: &mut A) -> Outcome<A::Links> {
    let Some(file) = job.open() else { return Outcome::Gone };
    let begun = Instant::now();
    let key = Key::of(&file).ok();
    let known = key.as_ref().and_then(|key| cache.get(key, &file));
    let cached = known.is_some();
    let found = known.unwrap_or_else(|| {
        let found = analysis::file(&file);
        if let Some(key) = key {
            cache.put(key, &found, &file);
        }
        found
    });
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(file = job.name, size = job.size, cached, millis, plans = found.plans.len(), "Searched a file.");
    let links = discovery::attach(attacher, &file, &found.plans);
    Outcome::Searched(found, links)
}

/// Does all jobs that there are, until this time. For who has no thread.
pub fn perform_all<A: Attach>(discovery: &mut Discovery<A>, attacher: &mut A, until: Instant) {
    let mut cache = Cache::open(Cache::place());
    while Instant::now() < until
        && let Some(job) = discovery.next_job()
    {
        let outcome = perform(&job, &mut cache, attacher);
        discovery.finish(&job, outcome);
    }
    save(&mut cache);
}

/// Detaches from what nobody uses, and from what was taken for a TLS stack and is none.
fn tidy(targets: &Targets, proc: &Proc) {
    let (idle, mut links) = {
        let mut discovery = targets.lock();
        (discovery.idle(Instant::now()), discovery.refuted())
    };
    if !idle.is_empty() {
        let mapped = discovery::mapped_by(proc, &idle);
        let mut discovery = targets.lock();
        for (tgid, file) in &mapped {
            discovery.used(*tgid, *file);
        }
        for file in idle.into_iter().filter(|file| !mapped.iter().any(|(_, used)| used == file)) {
            tracing::debug!(?file, "Let go of a file that no process uses any more.");
            links.extend(discovery.release(file));
        }
    }
    // Here, where nobody waits.
    drop(links);
}
