//! SHA-256 in hexadecimal, the name by which archives are told apart.

use std::fmt::Write as _;

use super::error::ChartError;

/// The digest of some bytes, in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A digest that somebody wrote, in our form; none when it is empty. `sha256:` before it is fine.
pub(super) fn parse(text: &str) -> Result<Option<String>, ChartError> {
    let digits = text.trim();
    let digits = digits
        .strip_prefix("sha256:")
        .unwrap_or(digits)
        .to_ascii_lowercase();
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ChartError::Request {
            what: "the digest".into(),
            value: text.escape_debug().take(100).collect(),
            reason: "is no SHA-256 in hexadecimal".into(),
        });
    }
    Ok(Some(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_compared_in_one_form() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
        assert_eq!(
            parse(&format!("sha256:{}", empty.to_uppercase()))
                .unwrap()
                .as_deref(),
            Some(empty)
        );
        assert_eq!(parse("").unwrap(), None);
        assert!(parse("abc").is_err());
    }
}
