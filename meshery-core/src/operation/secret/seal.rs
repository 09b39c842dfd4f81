//! Sealing: what may hold secrets is encrypted with the host's own key before it is given to the provider.
//!
//! The key lies beside the provider's data, never in it: who copies the store has nothing. Losing the key costs the
//! undo of sealed state, and uploaded kubeconfigs; nothing else. A key that is changed on purpose is retired, not lost:
//! journals only grow, and what is sealed in them is opened for as long as they are kept.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::problem::{Problem, ProblemKind};

const KEY_LEN: usize = 32;

/// Digits of a key's id: enough to tell keys apart, and of no use to who looks for the key.
const ID_DIGITS: usize = 16;
/// How many retired keys are kept.
const MOST_RETIRED: usize = 100;

/// The host's keys: the newest seals, and those that were retired still open what they sealed. What is sealed for one
/// purpose cannot be opened for another.
pub(crate) struct HostKey {
    current: Key,
    /// The newest last.
    retired: Vec<Key>,
    random: SystemRandom,
    path: PathBuf,
}

struct Key {
    id: String,
    key: LessSafeKey,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostKey")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl HostKey {
    /// Reads the key from this file, or makes one (mode 0600) when there is none; retired ones lie beside it.
    pub fn load_or_create(path: &Path) -> Result<Self, Problem> {
        let random = SystemRandom::new();
        let bytes = match File::open(path) {
            Ok(file) => read(path, file, KEY_LEN)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let bytes = fresh(path, &random)?;
                write(path, &bytes)?;
                bytes
            }
            Err(error) => return Err(fault(path, &format!("cannot be read: {error}"))),
        };
        let current = Key::of(&bytes).ok_or_else(|| fault(path, "does not hold a key of 32 bytes"))?;
        let retired = read_retired(&retired_path(path))?
            .chunks(KEY_LEN)
            .filter_map(Key::of)
            .filter(|key| key.id != current.id)
            .collect();
        Ok(Self {
            current,
            retired,
            random,
            path: path.to_owned(),
        })
    }

    /// Retires the key of this file, if there is one, so that the next [`HostKey::load_or_create`] makes a new one.
    pub fn retire(path: &Path) -> Result<(), Problem> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(fault(path, &format!("cannot be read: {error}"))),
        };
        let key = read(path, file, KEY_LEN)?;
        if key.len() != KEY_LEN {
            return Err(fault(path, "does not hold a key of 32 bytes"));
        }
        let beside = retired_path(path);
        let mut retired = read_retired(&beside)?;
        // A crash after this line and before the next leaves it in both: it is read once.
        if !retired.chunks(KEY_LEN).any(|old| old == key) {
            retired.extend_from_slice(&key);
        }
        let excess = (retired.len() / KEY_LEN).saturating_sub(MOST_RETIRED) * KEY_LEN;
        write(&beside, &retired[excess..])?;
        write(path, &fresh(path, &SystemRandom::new())?)
    }

    /// Which key seals; it tells nothing of the key.
    pub fn id(&self) -> &str {
        &self.current.id
    }

    /// Encrypts content for a purpose.
    pub fn seal(&self, purpose: &str, content: &[u8]) -> Result<String, Problem> {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| fault(&self.path, "cannot be used: the system has no random numbers"))?;
        let mut sealed = content.to_vec();
        self.current
            .key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| fault(&self.path, "cannot seal content of this size"))?;
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        Ok(format!("{}:{}", self.current.id, BASE64.encode(whole)))
    }

    /// Decrypts what [`HostKey::seal`] made for the same purpose, with this key or one that was retired since.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<Vec<u8>, Problem> {
        let wrong = |why: &str| {
            fault(
                &self.path,
                &format!("does not open what was sealed for {purpose}{why}"),
            )
        };
        // Without an id it is from before keys had one.
        let (id, text) = sealed.split_once(':').unwrap_or(("", sealed));
        let whole = BASE64.decode(text).map_err(|_| wrong(""))?;
        std::iter::once(&self.current)
            .chain(self.retired.iter().rev())
            .filter(|key| id.is_empty() || key.id == id)
            .find_map(|key| key.open(purpose, &whole))
            .ok_or_else(|| match id {
                "" => wrong(""),
                id if self.has(id) => wrong(", which is damaged"),
                id => wrong(&format!(
                    ": that was sealed with a key that this host does not have (id {id})"
                )),
            })
    }

    /// Whether a key of this id is the present one, or was retired.
    pub fn has(&self, id: &str) -> bool {
        std::iter::once(&self.current)
            .chain(&self.retired)
            .any(|key| key.id == id)
    }
}

impl Key {
    fn of(bytes: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).ok()?;
        // The words before the key make it another digest than anything else that is ever made of the key.
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(b"meshery host key id\0");
        digest.update(bytes);
        let mut id = String::with_capacity(ID_DIGITS);
        for byte in &digest.finish().as_ref()[..ID_DIGITS / 2] {
            let _ = write!(id, "{byte:02x}");
        }
        Some(Self {
            id,
            key: LessSafeKey::new(key),
        })
    }

    fn open(&self, purpose: &str, whole: &[u8]) -> Option<Vec<u8>> {
        let (nonce, content) = whole.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = content.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut content)
            .ok()?;
        Some(opened.to_vec())
    }
}

fn retired_path(path: &Path) -> PathBuf {
    path.with_extension("key.retired")
}

fn read_retired(path: &Path) -> Result<Vec<u8>, Problem> {
    match File::open(path) {
        Ok(file) => read(path, file, KEY_LEN * MOST_RETIRED),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fault(path, &format!("cannot be read: {error}"))),
    }
}

fn read(path: &Path, file: File, most: usize) -> Result<Vec<u8>, Problem> {
    let mode = file
        .metadata()
        .map_err(|error| fault(path, &format!("cannot be read: {error}")))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(
            fault(path, &format!("can be read by others (mode {:o})", mode & 0o777)).remedy(format!(
                "chmod 600 {}; if others had access, delete it: what was sealed with it is lost then",
                path.display()
            )),
        );
    }
    let mut bytes = Vec::with_capacity(KEY_LEN);
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(path, &format!("cannot be read: {error}")))?;
    Ok(bytes)
}

fn fresh(path: &Path, random: &SystemRandom) -> Result<Vec<u8>, Problem> {
    let mut bytes = vec![0; KEY_LEN];
    random
        .fill(&mut bytes)
        .map_err(|_| fault(path, "cannot be made: the system has no random numbers"))?;
    Ok(bytes)
}

/// Writes keys into a file that only its owner can read.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let written = || -> std::io::Result<()> {
        // Complete before it has its name: a crash in between must not leave half a key.
        let mut beginning = path.as_os_str().to_owned();
        beginning.push(".new");
        let _ = std::fs::remove_file(&beginning);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beginning)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beginning, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|error| fault(path, &format!("cannot be written: {error}")))
}

fn fault(path: &Path, what: &str) -> Problem {
    Problem::new(
        ProblemKind::Internal,
        "host-key",
        format!("the host's key {} {what}", path.display()),
    )
    .cause("the file was changed, or belongs to another host")
    .remedy("put the key back that belongs to this data folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_purpose_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.key");
        let key = HostKey::load_or_create(&path).unwrap();
        let sealed = key.seal("operation x", b"marker").unwrap();
        assert!(!sealed.contains("marker"));
        assert!(key.id().len() == ID_DIGITS && key.id().bytes().all(|digit| digit.is_ascii_hexdigit()));
        let again = HostKey::load_or_create(&path).unwrap();
        assert_eq!(again.open("operation x", &sealed).unwrap(), b"marker");
        assert_eq!(again.open("operation y", &sealed).unwrap_err().code, "host-key");
        let other = HostKey::load_or_create(&folder.path().join("other.key")).unwrap();
        assert_eq!(other.open("operation x", &sealed).unwrap_err().code, "host-key");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.key");
        HostKey::load_or_create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            HostKey::load_or_create(&path)
                .unwrap_err()
                .message
                .contains("mode 644")
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(HostKey::load_or_create(&path).unwrap_err().code, "host-key");
    }

    #[test]
    fn what_a_retired_key_has_sealed_still_opens_and_the_new_one_seals() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.key");
        let first = HostKey::load_or_create(&path).unwrap();
        let old = first.seal("operation x", b"marker").unwrap();
        // As it was written before keys had ids.
        let oldest = old.split_once(':').unwrap().1.to_owned();
        for _ in 0..2 {
            HostKey::retire(&path).unwrap();
        }
        let now = HostKey::load_or_create(&path).unwrap();
        assert_ne!(now.id(), first.id());
        for sealed in [&old, &oldest] {
            assert_eq!(now.open("operation x", sealed).unwrap(), b"marker");
            assert_eq!(now.open("operation y", sealed).unwrap_err().code, "host-key");
        }
        assert!(now.seal("x", b"y").unwrap().starts_with(now.id()));
        let mode = std::fs::metadata(retired_path(&path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        // Without those that were retired, it says which one is missing.
        std::fs::remove_file(retired_path(&path)).unwrap();
        let alone = HostKey::load_or_create(&path).unwrap();
        let problem = alone.open("operation x", &old).unwrap_err();
        assert!(problem.message.contains(first.id()), "{problem}");
    }
}
