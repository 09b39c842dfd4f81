//! The token that the host writes for its clients.

use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;

use super::bearer;
use crate::failure::{Failure, Problem};

/// Longest token file; a host's has less than a hundred bytes.
const LONGEST: u64 = 4096;

#[derive(Debug)]
pub struct Token {
    header: Option<HeaderValue>,
    file: Option<PathBuf>,
}

impl Token {
    /// Reads the file that was named; else the one in the home folder, which may be missing: then the host is
    /// asked without a token, and the answer says whether it wants one.
    pub fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let (file, must_exist) = match named {
            Some(file) => (Some(file.to_owned()), true),
            None => (
                std::env::home_dir().map(|home| home.join(".meshery/token")),
                false,
            ),
        };
        let Some(file) = file else {
            return Ok(Self { header: None, file });
        };
        let header = match read(&file) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => None,
            Err(e) => {
                let message = format!("cannot read the token file {}: {e}", file.display());
                let problem = Problem::new("token-file", message).remedy(
                    "name the file that the host wrote (`token` in its data folder) with --token-file",
                );
                return Err(Failure::Problem(problem));
            }
        };
        let header = match header {
            None => None,
            Some(text) => Some(
                bearer(text.trim())
                    .filter(|_| !text.trim().is_empty())
                    .ok_or_else(|| {
                        let message = format!("{} does not hold a token", file.display());
                        Failure::Problem(Problem::new("token-file", message).remedy(
                    "name the file that the host wrote (`token` in its data folder) with --token-file",
                ))
                    })?,
            ),
        };
        Ok(Self {
            header,
            file: Some(file),
        })
    }

    pub fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    pub fn is_there(&self) -> bool {
        self.header.is_some()
    }

    /// Why the host does not take it, as far as this side can tell.
    pub fn problem(&self, said: Problem, server: &str) -> Problem {
        let file = self
            .file
            .as_ref()
            .map_or_else(|| "~/.meshery/token".into(), |f| f.display().to_string());
        let message = if self.is_there() {
            format!("{server} does not accept the token from {file}")
        } else {
            format!("{server} wants a token, and there is none at {file}")
        };
        Problem {
            code: if said.code.is_empty() {
                "unauthorized".into()
            } else {
                said.code
            },
            message,
            cause: "the host writes its token into its data folder, and this is another one's, or none"
                .into(),
            remedy: "name the token of this host with --token-file or MESHERY_TOKEN_FILE".into(),
            retryable: false,
            // What the host says of itself does not name the file.
            said: None,
        }
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(file)?
        .take(LONGEST)
        .read_to_string(&mut text)?;
    Ok(text)
}
