//! Answers of earlier searches, in memory and in a file, so that a binary is searched once and not at each start.
//!
//! An answer belongs to a build id with the file's size, else to a SHA-256 of the size, both ends and samples between
//! them: reading all of a 150 MB file takes longer than an agent needs to its first request. Neither proves that two files
//! are the same; so the bytes at each place to attach to are kept, and an answer whose bytes are not in the file is no
//! answer. A cache that cannot be read is none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::{Read as _, Write},
    path::{Path, PathBuf},
};

use pipeline::ids::hex;
use sha2::{Digest, Sha256};

use super::{
    analysis,
    image::{self, Source},
    plan::Found,
};

/// Answers that are kept.
const MOST: usize = 1024;

/// Bytes of the file that are read at most.
const SIZE: u64 = 16 << 20;

/// Bytes that are compared at each place.
const BYTES: u64 = 64;

/// Bytes of each end of a file, number of samples between, and bytes of each sample, that tell files without a build id
/// apart.
const ENDS: u64 = 256 << 10;
const SAMPLES: u64 = 64;
const SAMPLE: u64 = 16 << 10;

/// What a file's content is told by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The key of a file.
    pub fn of(file: &File) -> std::io::Result<Self> {
        let size = file.metadata()?.len();
        let mut text = String::new();
        if let Some(id) = image::build_id_of(file) {
            let _ = write!(text, "id:{}:{size}", hex(&id));
            return Ok(Self(text));
        }
        let mut hash = Sha256::new();
        hash.update(size.to_le_bytes());
        hash.update(file.read(0, ENDS));
        let step = size / (SAMPLES + 1);
        for sample in 1..=SAMPLES {
            hash.update(file.read(step * sample, SAMPLE.min(step)));
        }
        hash.update(file.read(size.saturating_sub(ENDS), ENDS));
        let _ = write!(text, "sample:{}:{size}", hex(&hash.finalize()));
        Ok(Self(text))
    }
}

/// An answer.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Answer {
    found: Found,
    /// File offset and bytes there, in hex.
    places: Vec<(u64, String)>,
    /// When it was asked for last, by a count of answers.
    used: u64,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Stored {
    /// [`analysis::VERSION`]
    version: u32,
    answers: BTreeMap<String, Answer>,
}

/// Answers by content.
#[derive(Default)]
pub struct Cache {
    path: Option<PathBuf>,
    stored: Stored,
    changed: bool,
    /// What turned out to be no answer: not to be taken over again from the file.
    wrong: BTreeSet<String>,
}

/// What is in the file; what cannot be read there is forgotten.
fn read(path: &Path) -> Option<Stored> {
    let file = File::open(path).ok()?;
    file.metadata().ok().filter(|stat| stat.is_file() && stat.len() <= SIZE)?;
    let stored: Stored = serde_json::from_reader(std::io::BufReader::new(file.take(SIZE))).ok()?;
    (stored.version == analysis::VERSION).then_some(stored)
}

impl Cache {
    /// A cache in this file.
    pub fn open(path: Option<PathBuf>) -> Self {
        let stored = path.as_deref().and_then(read);
        let stored = stored.unwrap_or_else(|| Stored { version: analysis::VERSION, ..Stored::default() });
        Self { path, stored, changed: false, wrong: BTreeSet::new() }
    }

    /// Where the cache of this user is.
    pub fn place() -> Option<PathBuf> {
        if rustix::process::geteuid().is_root() {
            return Some(PathBuf::from("/var/cache/onlooker/plans.json"));
        }
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(folder.join("onlooker/plans.json"))
    }

    /// The answer for a file, if its bytes are still where they were.
    pub fn get(&mut self, key: &Key, file: &impl Source) -> Option<Found> {
        let next = self.stored.answers.values().map(|answer| answer.used).max().unwrap_or(0).saturating_add(1);
        let answer = self.stored.answers.get_mut(&key.0)?;
        let holds = |(offset, bytes): &(u64, String)| hex(&file.read(*offset, BYTES)) == *bytes;
        // Every place of the answer has its bytes: a damaged cache is no cache.
        let known = |offset: &u64| answer.places.iter().any(|(place, _)| place == offset);
        if !places(&answer.found).iter().all(known) || !answer.places.iter().all(holds) {
            self.stored.answers.remove(&key.0);
            self.wrong.insert(key.0.clone());
            self.changed = true;
            return None;
        }
        answer.used = next;
        Some(answer.found.clone())
    }

    /// Keeps an answer.
    pub fn put(&mut self, key: Key, found: &Found, file: &impl Source) {
        let used = self.stored.answers.values().map(|answer| answer.used).max().unwrap_or(0).saturating_add(1);
        let places = places(found).into_iter().map(|offset| (offset, hex(&file.read(offset, BYTES)))).collect();
        self.wrong.remove(&key.0);
        self.stored.answers.insert(key.0, Answer { found: found.clone(), places, used });
        self.trim();
        self.changed = true;
    }

    /// Forgets what was asked for longest ago, if there is too much.
    fn trim(&mut self) {
        if self.stored.answers.len() > MOST {
            let mut ages: Vec<u64> = self.stored.answers.values().map(|answer| answer.used).collect();
            ages.sort_unstable();
            let limit = ages.get(MOST / 4).copied().unwrap_or(0);
            self.stored.answers.retain(|_, answer| answer.used > limit);
        }
    }

    /// Writes it down, if something is new, with what another onlooker wrote meanwhile. Atomic: a reader sees the old file or
    /// the new one.
    pub fn save(&mut self) -> std::io::Result<()> {
        let Some(path) = self.path.clone().filter(|_| self.changed) else { return Ok(()) };
        let Some(folder) = path.parent() else { return Ok(()) };
        fs::create_dir_all(folder)?;
        // One after the other; let go with the descriptor. Where there are no locks, the last one wins.
        let alone = File::open(folder)?;
        let _ = alone.lock();
        let others = read(&path).map(|stored| stored.answers).unwrap_or_default();
        for (key, answer) in others {
            if !self.wrong.contains(&key) {
                self.stored.answers.entry(key).or_insert(answer);
            }
        }
        self.trim();
        let text = serde_json::to_vec(&self.stored)?;
        let draft = folder.join(format!("plans.json.{}", std::process::id()));
        let write = || -> std::io::Result<()> {
            let _ = fs::remove_file(&draft);
            // Nobody's link is followed.
            let mut file = File::options().write(true).create_new(true).open(&draft)?;
            file.write_all(&text)?;
            fs::rename(&draft, &path)
        };
        let outcome = write();
        if outcome.is_err() {
            let _ = fs::remove_file(&draft);
        }
        self.changed = false;
        outcome
    }
}

/// All file offsets of an answer.
fn places(found: &Found) -> Vec<u64> {
    let sites = found.plans.iter().flat_map(|plan| &plan.sites);
    sites.flat_map(|site| site.returns.iter().copied().chain([site.entry])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::plan::{Plan, Probe, Site, Stack};

    fn found(entry: u64) -> Found {
        let sites = vec![Site::new(Probe::Read, "SSL_read", entry)];
        let plan = Plan { stack: Stack::BoringSsl, method: "m".into(), sites };
        Found { plans: vec![plan], doubts: vec!["d".into()] }
    }

    #[test]
    fn answers_survive_and_are_checked_against_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/plans.json");
        let content: Vec<u8> = (0..200).collect();
        fs::write(folder.path().join("file"), &content).unwrap();
        let file = File::open(folder.path().join("file")).unwrap();
        let key = Key::of(&file).unwrap();
        assert!(key.0.starts_with("sample:"));
        let mut cache = Cache::open(Some(path.clone()));
        assert_eq!(cache.get(&key, &file), None);
        cache.put(key.clone(), &found(100), &file);
        cache.save().unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        let mut cache = Cache::open(Some(path.clone()));
        assert_eq!(cache.get(&key, &file), Some(found(100)));
        // The same key, other bytes.
        let mut other = content.clone();
        other[101] = 0;
        assert_eq!(cache.get(&key, &other.as_slice()), None);
        assert_eq!(cache.get(&key, &file), None);

        // Of another version; not readable.
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen(&format!(":{}", analysis::VERSION), ":99999", 1)).unwrap();
        assert_eq!(Cache::open(Some(path.clone())).get(&key, &file), None);
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(Cache::open(Some(path.clone())).get(&key, &file), None);
        assert_eq!(Cache::open(None).get(&key, &file), None);
    }

    #[test]
    fn two_that_write_keep_each_others_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plans.json");
        let file = [7u8; 300];
        let key = |name: &str| Key(name.to_owned());
        let open = || Cache::open(Some(path.clone()));
        let (mut one, mut other) = (open(), open());
        one.put(key("one"), &found(100), &file.as_slice());
        other.put(key("other"), &found(200), &file.as_slice());
        one.save().unwrap();
        other.save().unwrap();
        let mut both = open();
        assert_eq!(both.get(&key("one"), &file.as_slice()), Some(found(100)));
        assert_eq!(both.get(&key("other"), &file.as_slice()), Some(found(200)));
        // What is no answer stays away.
        assert_eq!(both.get(&key("one"), &[8u8; 300].as_slice()), None);
        both.save().unwrap();
        assert_eq!(open().get(&key("one"), &file.as_slice()), None);
    }

    #[test]
    fn it_stays_small() {
        let mut cache = Cache::open(None);
        for number in 0..3000 {
            cache.put(Key(number.to_string()), &Found::default(), &[0u8; 1].as_slice());
        }
        assert!(cache.stored.answers.len() <= MOST);
        assert!(cache.get(&Key("2999".into()), &[0u8; 1].as_slice()).is_some());
    }
}
