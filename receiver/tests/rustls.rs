//! rustls in the kernel: what a program sends and receives is seen as it was. Needs root and BTF.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "these are tests")]

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use receiver::{
    event::{Direction, Event, EventKind, Source},
    probes::{Delivery, Options, Probes, Scope},
    targets::{image::Image, rustls},
};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<Event>>>);

impl Delivery for Sink {
    fn urgent(&mut self, _: &Event) {}
    fn ordered(&mut self, events: Vec<Event>, _: u64) {
        self.0.lock().unwrap().extend(events);
    }
}

/// What is found in programs.
#[test]
#[ignore = "needs real programs: ONLOOKER_FILES=PATH:PATH…"]
fn programs_are_searched() {
    for path in std::env::var("ONLOOKER_FILES").unwrap().split(':') {
        let file = File::open(path).unwrap();
        let image = Image::read(&file).unwrap();
        let began = std::time::Instant::now();
        let found = rustls::find(&image, &file);
        eprintln!("{path}: {} ms", began.elapsed().as_millis());
        for plan in &found.plans {
            eprintln!("  {}", plan.method);
            for site in &plan.sites {
                eprintln!("    {:#x} {}", site.entry, site.name);
            }
        }
        for doubt in &found.doubts {
            eprintln!("  ? {doubt}");
        }
    }
}

/// Any program: attaches to `ONLOOKER_FILE`, runs `ONLOOKER_COMMAND` in a shell, tells what was seen. If the command
/// leaves its truth in `ONLOOKER_TRUTH`.out and .in, that is compared. What was seen is left in the folder `ONLOOKER_SEEN`.
#[test]
#[ignore = "needs a real program: ONLOOKER_FILE=PATH ONLOOKER_COMMAND=… [ONLOOKER_TRUTH=PATH]"]
fn a_program_is_seen() {
    let path = std::env::var("ONLOOKER_FILE").unwrap();
    let file = File::open(&path).unwrap();
    let found = rustls::find(&Image::read(&file).unwrap(), &file);
    eprintln!("{} plans, doubts {:?}", found.plans.len(), found.doubts);
    let plan = &found.plans[0];
    let mut probes = Probes::load(Options { scope: Scope::Tree, watch_children: true, ..Options::default() }).unwrap();
    for line in probes.status().iter().filter(|line| line.error.is_some()) {
        eprintln!("{}: {:?}", line.name, line.error);
    }
    let sink = Sink::default();
    let mut reader = probes.start_reader(256 << 20, Box::new(sink.clone())).unwrap();
    let links = probes.attach_tls(Path::new(&path), &plan.sites).unwrap();
    let status = Command::new("sh").arg("-c").arg(std::env::var("ONLOOKER_COMMAND").unwrap()).status().unwrap();
    eprintln!("{status}, {} links", links.count());
    drop(links);
    reader.stop();
    let mut seen: HashMap<(u32, Direction, u64), Vec<u8>> = HashMap::new();
    let mut all: HashMap<Direction, Vec<u8>> = HashMap::new();
    for event in sink.0.lock().unwrap().iter() {
        if let EventKind::Data(chunk) = &event.kind
            && chunk.source == Source::Record
        {
            let key = (event.process.tgid, chunk.direction, chunk.object);
            seen.entry(key).or_default().extend(&chunk.bytes);
            all.entry(chunk.direction).or_default().extend(&chunk.bytes);
        }
    }
    for ((tgid, direction, object), data) in &seen {
        let head = String::from_utf8_lossy(&data[..data.len().min(60)]).into_owned();
        eprintln!("{tgid} {direction:?} {object:#x} {} bytes {head:?}", data.len());
        if let Ok(folder) = std::env::var("ONLOOKER_SEEN") {
            std::fs::write(format!("{folder}/{tgid}-{object:x}-{direction:?}"), data).unwrap();
        }
    }
    if let Ok(truth) = std::env::var("ONLOOKER_TRUTH") {
        for (direction, end) in [(Direction::Write, "out"), (Direction::Read, "in")] {
            let truth = std::fs::read(format!("{truth}.{end}")).unwrap();
            let seen = all.get(&direction).cloned().unwrap_or_default();
            assert!(truth == seen, "{direction:?}: {} bytes were moved, {} were seen", truth.len(), seen.len());
            eprintln!("{direction:?}: {} bytes, exact", seen.len());
        }
    }
    assert_eq!(probes.drops().into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(), []);
}
