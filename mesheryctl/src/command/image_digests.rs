//! The file of `--image-digests`: one image a line, with the digest that it must have.

use std::path::Path;

use super::provider::unreadable;
use crate::failure::{Failure, Problem};

/// Larger files are none of these.
const LARGEST: u64 = 1 << 20;
const CODE: &str = "image-digests-file";

/// The lines of a file, but for empty ones and those that begin with `#`.
pub fn read(file: &Path) -> Result<Vec<String>, Failure> {
    let bad = |what: String| {
        let problem = Problem::new(CODE, format!("{} {what}", file.display()));
        Failure::Problem(problem.remedy("write one image a line: name:tag@sha256:DIGEST"))
    };
    let size = std::fs::metadata(file)
        .map_err(|error| unreadable(CODE, file, &error))?
        .len();
    if size > LARGEST {
        return Err(bad(format!("has {size} bytes; {LARGEST} is the limit")));
    }
    let text = std::fs::read(file).map_err(|error| unreadable(CODE, file, &error))?;
    let text = String::from_utf8(text).map_err(|_| bad("is no text".into()))?;
    let lines: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if lines.is_empty() {
        return Err(bad("names no image".into()));
    }
    Ok(lines)
}
