//! The certificates of a bundle, told apart by their digests.

use std::collections::BTreeSet;
use std::fmt::Write as _;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The digest of a text, as Linkerd writes it.
pub fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Those of the certificates in PEM, however their lines are broken.
pub fn digests(pem: &str) -> BTreeSet<String> {
    pem.split(BEGIN)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(END)?.0))
        .map(|body| digest(&body.split_whitespace().collect::<String>()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_the_same_whatever_is_around_it() {
        let one = |body: &str| format!("{BEGIN}\n{body}\n{END}\n");
        let both = digests(&format!("# old\n{}{}", one("AA\nBB"), one("CC")));
        assert_eq!(both.len(), 2);
        assert!(both.is_superset(&digests(&one("AABB"))));
        assert!(digests("nothing").is_empty() && !both.is_superset(&digests(&one("DD"))));
    }
}
