//! Lets system calls go while nobody is watched. A program at `sys_enter` or `sys_exit`, whatever it does, sends each call of
//! each process of the host the kernel's slow way (`SYSCALL_WORK_SYSCALL_TRACEPOINT`, kernel/tracepoint.c): on a host without
//! agents nobody is to pay for that.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use aya::programs::ProgramFd;

/// A program, and the raw tracepoint that it belongs to.
pub(super) struct Point {
    pub program: ProgramFd,
    pub tracepoint: &'static CStr,
}

impl Point {
    /// Attaches it; detached when the link is dropped.
    fn attach(&self) -> io::Result<OwnedFd> {
        /// `BPF_RAW_TRACEPOINT_OPEN`, include/uapi/linux/bpf.h
        const OPEN: libc::c_int = 17;
        /// The part of `union bpf_attr` that this command reads.
        #[repr(C)]
        struct Attributes {
            name: u64,
            program: RawFd,
            pad: u32,
        }
        let program = self.program.as_fd().as_raw_fd();
        let attributes = Attributes { name: self.tracepoint.as_ptr() as u64, program, pad: 0 };
        // SAFETY: the kernel reads as many bytes as it is told there are, and the name up to its end; both live longer than
        // the call. What it gives is a new descriptor or an error.
        unsafe {
            let fd = libc::syscall(libc::SYS_bpf, OPEN, &raw const attributes, size_of::<Attributes>());
            match RawFd::try_from(fd) {
                Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

/// Attaches and lets go, on a thread of its own: either may take a tenth of a second.
#[derive(Clone)]
pub struct Switch(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Changed under the lock of the state, read without it.
    wanted: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ended: bool,
    /// None while system calls are not seen.
    links: Option<Vec<OwnedFd>>,
    error: Option<String>,
}

impl Switch {
    /// Attaches all of them, one after the other. Why not, if one cannot be.
    pub(super) fn start(points: Vec<Point>) -> Result<Self, String> {
        let state = State { ended: false, links: Some(attach(&points)?), error: None };
        let (wanted, changed) = (AtomicBool::new(true), Condvar::new());
        let shared = Arc::new(Shared { wanted, state: Mutex::new(state), changed });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("calls".into()).spawn(move || own.run(&points));
        let thread = Some(thread.map_err(|error| error.to_string())?);
        Ok(Self(Arc::new(Running { shared, thread })))
    }

    /// Somebody is watched, or will be. Does not wait.
    pub fn on(&self) {
        if !self.0.shared.wanted.load(Ordering::SeqCst) {
            self.0.shared.want(true);
        }
    }

    /// Nobody is.
    pub(super) fn off(&self) {
        self.0.shared.want(false);
    }

    /// Whether system calls are seen now.
    pub fn is_on(&self) -> bool {
        self.0.shared.lock().links.is_some()
    }

    /// Why they are not, though they should be.
    pub(super) fn error(&self) -> Option<String> {
        self.0.shared.lock().error.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, wanted: bool) {
        let _state = self.lock();
        self.wanted.store(wanted, Ordering::SeqCst);
        self.changed.notify_all();
    }

    fn run(&self, points: &[Point]) {
        let mut state = self.lock();
        while !state.ended {
            let wanted = self.wanted.load(Ordering::SeqCst);
            if wanted == state.links.is_some() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let before = state.links.take();
            drop(state);
            drop(before);
            let links = if wanted { attach(points).map(Some) } else { Ok(None) };
            state = self.lock();
            state.error = None;
            match links {
                Ok(links) => {
                    state.links = links;
                    match wanted {
                        true => tracing::debug!("System calls are seen: somebody is watched, or may be soon."),
                        false => tracing::debug!("System calls are let go: nobody is watched."),
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "System calls of watched processes are not seen: their files, connections and changes of rights are missing.");
                    // Until somebody else is to be watched.
                    self.wanted.store(false, Ordering::SeqCst);
                    state.error = Some(error);
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the hook already.
            let _ = thread.join();
        }
    }
}

fn attach(points: &[Point]) -> Result<Vec<OwnedFd>, String> {
    let one = |point: &Point| {
        point.attach().map_err(|error| format!("attaching to {} failed: {error}", point.tracepoint.to_string_lossy()))
    };
    points.iter().map(one).collect()
}
