//! Sealing: what may hold secrets is encrypted with the host's own key before it is given to the provider.
//!
//! The key lies beside the provider's data, never in it: who copies the store has nothing. Losing the key costs the
//! undo of sealed state, and uploaded kubeconfigs; nothing else.

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

/// The host's key. What is sealed for one purpose cannot be opened for another.
pub(crate) struct HostKey {
    key: LessSafeKey,
    random: SystemRandom,
    path: PathBuf,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostKey")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl HostKey {
    /// Reads the key from this file, or makes one (mode 0600) when there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, Problem> {
        let random = SystemRandom::new();
        let bytes = match File::open(path) {
            Ok(file) => read(path, file)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path, &random)?,
            Err(error) => return Err(fault(path, &format!("cannot be read: {error}"))),
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes)
            .map_err(|_| fault(path, "does not hold a key of 32 bytes"))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            random,
            path: path.to_owned(),
        })
    }

    /// Encrypts content for a purpose.
    pub fn seal(&self, purpose: &str, content: &[u8]) -> Result<String, Problem> {
        let mut nonce = [0; NONCE_LEN];
        self.random
            .fill(&mut nonce)
            .map_err(|_| fault(&self.path, "cannot be used: the system has no random numbers"))?;
        let mut sealed = content.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| fault(&self.path, "cannot seal content of this size"))?;
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        Ok(BASE64.encode(whole))
    }

    /// Decrypts what [`HostKey::seal`] made for the same purpose.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<Vec<u8>, Problem> {
        let wrong = || {
            fault(
                &self.path,
                &format!("does not open what was sealed for {purpose}"),
            )
        };
        let mut whole = BASE64.decode(sealed).map_err(|_| wrong())?;
        if whole.len() < NONCE_LEN {
            return Err(wrong());
        }
        let mut content = whole.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&whole).map_err(|_| wrong())?;
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut content)
            .map_err(|_| wrong())?;
        Ok(opened.to_vec())
    }
}

fn read(path: &Path, file: File) -> Result<Vec<u8>, Problem> {
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
    file.take(KEY_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(path, &format!("cannot be read: {error}")))?;
    Ok(bytes)
}

fn create(path: &Path, random: &SystemRandom) -> Result<Vec<u8>, Problem> {
    let mut bytes = vec![0; KEY_LEN];
    random
        .fill(&mut bytes)
        .map_err(|_| fault(path, "cannot be made: the system has no random numbers"))?;
    let written = || -> std::io::Result<()> {
        // Complete before it has its name: a crash in between must not leave half a key.
        let beginning = path.with_extension("key.new");
        let _ = std::fs::remove_file(&beginning);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beginning)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&beginning, path)
    };
    written().map_err(|error| fault(path, &format!("cannot be written: {error}")))?;
    Ok(bytes)
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
}
