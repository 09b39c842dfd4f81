//! How long certificates live and who has signed whom, read from PEM: enough of DER for the validity, the kind of key, the names
//! and the marks of keys, and no more. Signatures are not verified.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// No bundle has more.
const MOST: usize = 64;
/// Object identifier of elliptic curve keys, and of the curve P-256.
const EC_KEY: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Object identifiers of extensions: whose key it is, whose key has signed it, whether it may sign others.
const KEY_ID: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x0e];
const SIGNERS_KEY_ID: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x23];
const CONSTRAINTS: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x13];

/// What is known of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Valid from, as `2026-11-26T10:00:00Z`.
    pub not_before: String,
    /// Valid until, in the same form.
    pub not_after: String,
    /// Whether its key is ECDSA on the curve P-256.
    pub p256: bool,
    /// Whether it may sign others.
    pub authority: bool,
    /// Whom it is for, and who has signed it, as DER has it.
    subject: Vec<u8>,
    signer: Vec<u8>,
    /// The marks of its key and of the one that has signed it; empty where it does not say.
    key_id: Vec<u8>,
    signers_key_id: Vec<u8>,
}

impl Certificate {
    /// Days until it ends, seen from a moment (RFC 3339 in UTC); negative when it has ended. Nothing when the moment
    /// cannot be read.
    pub fn days_left(&self, now: &str) -> Option<i64> {
        let (end, now) = (seconds(&self.not_after)?, seconds(now)?);
        Some((end - now).div_euclid(24 * 3600))
    }

    /// Whether another one has signed it, by its name and the mark of its key, as far as they say.
    pub fn is_signed_by(&self, other: &Self) -> bool {
        let silent = self.signers_key_id.is_empty() || other.key_id.is_empty();
        self.signer == other.subject && (silent || self.signers_key_id == other.key_id)
    }
}

/// The text that a Secret holds under a name.
pub fn of_base64(encoded: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

/// The certificates in a text, or what is wrong with it.
pub fn read(pem: &str) -> Result<Vec<Certificate>, String> {
    let mut found = Vec::new();
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let number = found.len() + 1;
        let (body, after) = after
            .split_once(END)
            .ok_or_else(|| format!("certificate {number} has no end"))?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD
            .decode(body)
            .map_err(|error| format!("certificate {number} is not base64: {error}"))?;
        found.push(of_der(&der).ok_or_else(|| format!("certificate {number} is not DER"))?);
        if found.len() > MOST {
            return Err(format!("there are more than {MOST} certificates"));
        }
        rest = after;
    }
    if found.is_empty() {
        return Err("there is no certificate in it".into());
    }
    Ok(found)
}

fn of_der(der: &[u8]) -> Option<Certificate> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    // Version (tagged, if there), serial number, algorithm, issuer; then the validity.
    if fields.first() == Some(&0xa0) {
        fields = element(fields)?.2;
    }
    for _ in 0..2 {
        fields = element(fields)?.2;
    }
    let (_, signer, rest) = element(fields)?;
    let (_, validity, rest) = element(rest)?;
    let (from_tag, from, until) = element(validity)?;
    let (until_tag, until, _) = element(until)?;
    let (_, subject, rest) = element(rest)?;
    let (_, key, rest) = element(rest)?;
    let has = |oid: &[u8]| key.windows(oid.len()).any(|window| window == oid);
    let extension = |oid: &[u8]| extension(rest, oid).unwrap_or_default();
    // A sequence that begins with a true truth value.
    let authority = element(extension(&CONSTRAINTS))
        .and_then(|(_, content, _)| element(content))
        .is_some_and(|(tag, value, _)| tag == 0x01 && value != [0]);
    Some(Certificate {
        not_before: time(from_tag, from)?,
        not_after: time(until_tag, until)?,
        p256: has(&EC_KEY) && has(&P256),
        authority,
        subject: subject.to_vec(),
        signer: signer.to_vec(),
        key_id: element(extension(&KEY_ID)).map_or_else(Vec::new, |(_, id, _)| id.to_vec()),
        signers_key_id: element(extension(&SIGNERS_KEY_ID))
            .and_then(|(_, content, _)| element(content))
            .filter(|(tag, ..)| *tag == 0x80)
            .map_or_else(Vec::new, |(_, id, _)| id.to_vec()),
    })
}

/// The content of the extension that an object identifier names, among what follows the key.
fn extension<'a>(mut rest: &'a [u8], oid: &[u8]) -> Option<&'a [u8]> {
    let all = loop {
        let (tag, content, after) = element(rest)?;
        if tag == 0xa3 {
            break content;
        }
        rest = after;
    };
    let mut list = element(all)?.1;
    while let Some((_, extension, after)) = element(list) {
        if let Some(mut value) = extension.strip_prefix(oid) {
            // Perhaps that it is critical, then the value.
            if value.first() == Some(&0x01) {
                value = element(value)?.2;
            }
            return Some(element(value)?.1);
        }
        list = after;
    }
    None
}

/// Tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 4 {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(octets)?;
        length = bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// `UTCTime` has two digits for the year, `GeneralizedTime` four.
fn time(tag: u8, content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let text = match tag {
        0x17 if text.get(..2)? < "50" => format!("20{text}"),
        0x17 => format!("19{text}"),
        0x18 => text.to_owned(),
        _ => return None,
    };
    if text.len() != 14 || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (date, clock) = text.split_at(8);
    Some(format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    ))
}

/// Seconds since 1970 of a moment in RFC 3339, in UTC; fractions do not count.
pub(crate) fn seconds(moment: &str) -> Option<i64> {
    let number = |from: usize, to: usize| moment.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let clock = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    // Days from the civil calendar, years beginning in March.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 24 * 3600 + clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &str = include_str!("certificate/p256.pem");
    const RSA: &str = include_str!("certificate/rsa.pem");
    const ISSUER: &str = include_str!("certificate/issuer.pem");
    const NEWER: &str = include_str!("certificate/p256-newer.pem");
    const LEAF: &str = include_str!("certificate/leaf.pem");

    #[test]
    fn validity_and_kind_of_key_are_read() {
        let found = read(&format!("{EC}\n{RSA}")).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].not_before, "2026-01-01T00:00:00Z");
        assert_eq!(found[0].not_after, "2027-01-01T00:00:00Z");
        assert!(found[0].p256 && !found[1].p256);
        assert_eq!(
            found[1].not_after, "2055-01-01T00:00:00Z",
            "four digits of a year"
        );
    }

    #[test]
    fn days_are_counted_from_the_moment_that_is_given() {
        let certificate = &read(EC).unwrap()[0];
        assert_eq!(certificate.days_left("2026-12-31T00:00:00.5Z"), Some(1));
        assert_eq!(certificate.days_left("2026-03-01T00:00:00Z"), Some(306));
        assert_eq!(certificate.days_left("2027-01-01T00:00:01Z"), Some(-1));
        assert_eq!(certificate.days_left("tomorrow"), None);
    }

    #[test]
    fn who_has_signed_whom_is_told_by_names_and_the_marks_of_keys() {
        let one = |pem: &str| read(pem).unwrap().remove(0);
        let (anchor, newer, issuer) = (one(EC), one(NEWER), one(ISSUER));
        assert!(issuer.is_signed_by(&anchor) && anchor.is_signed_by(&anchor));
        // The newer one has the same name, and another key.
        assert!(!issuer.is_signed_by(&newer));
        assert!(!issuer.is_signed_by(&one(RSA)) && !anchor.is_signed_by(&issuer));
        assert!(anchor.authority && issuer.authority && !one(LEAF).authority);
    }

    #[test]
    fn what_is_no_certificate_is_said_with_its_number() {
        assert_eq!(read("").unwrap_err(), "there is no certificate in it");
        assert!(read(BEGIN).unwrap_err().contains("certificate 1 has no end"));
        assert!(
            read(&format!("{EC}{BEGIN}\n!!\n{END}"))
                .unwrap_err()
                .contains("2 is not base64")
        );
        assert!(
            read(&format!("{BEGIN}\nMIIB\n{END}"))
                .unwrap_err()
                .contains("1 is not DER")
        );
    }
}
