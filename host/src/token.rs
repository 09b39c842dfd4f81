//! The token that clients show: written once into the data folder, readable by its owner only.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

/// Shorter ones could be guessed.
const SHORTEST: usize = 32;

/// What a request is compared with. It knows the token's authentication code under a key of its own only, so that
/// the comparison takes the same time wherever the first difference is.
pub struct Token {
    key: hmac::Key,
    code: hmac::Tag,
}

/// A token file that cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("the token file {} cannot be used", file.display())]
    Unusable { file: PathBuf, source: io::Error },
    #[error(
        "the token in {} has {length} characters, fewer than {SHORTEST}: delete the file, a new one will be written",
        file.display()
    )]
    Short { file: PathBuf, length: usize },
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl Token {
    /// Reads the token of this data folder, or makes one.
    pub fn open(data: &Path) -> Result<Self, TokenError> {
        let file = data.join("token");
        let unusable = |source| TokenError::Unusable {
            file: file.clone(),
            source,
        };
        let text = match fs::read_to_string(&file) {
            Ok(text) => {
                fs::set_permissions(&file, Permissions::from_mode(0o600)).map_err(unusable)?;
                text
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = random()?;
                write(&file, &text).map_err(unusable)?;
                text
            }
            Err(error) => return Err(unusable(error)),
        };
        let token = text.trim();
        if token.len() < SHORTEST {
            return Err(TokenError::Short {
                file,
                length: token.len(),
            });
        }
        Self::new(token)
    }

    fn new(token: &str) -> Result<Self, TokenError> {
        let key =
            hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| TokenError::NoRandom)?;
        let code = hmac::sign(&key, token.as_bytes());
        Ok(Self { key, code })
    }

    /// Whether this is the token.
    pub fn is(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.key, shown, self.code.as_ref()).is_ok()
    }
}

/// Whole or not at all: a host that is killed here must not leave half a token.
fn write(file: &Path, token: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(out, "{token}")?;
    out.sync_all()?;
    fs::rename(&new, file)
}

fn random() -> Result<String, TokenError> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| TokenError::NoRandom)?;
    let mut text = String::new();
    for byte in bytes {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::open(folder.path()).unwrap();
        let file = folder.path().join("token");
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(token.is(text.trim().as_bytes()));
        assert!(!token.is(b"") && !token.is(&text.as_bytes()[1..]));
        assert!(Token::open(folder.path()).unwrap().is(text.trim().as_bytes()));
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "\n").unwrap();
        assert!(matches!(
            Token::open(folder.path()),
            Err(TokenError::Short { length: 0, .. })
        ));
    }
}
