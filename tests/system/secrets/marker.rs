//! A secret that is planted, and how it is recognised: also where it is packed as Helm packs its records, once or twice in
//! base64.

use std::io::Read as _;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};

/// What is planted, in the forms in which it may come out.
pub struct Marker {
    pub text: String,
    forms: Vec<(String, String)>,
}

impl Marker {
    pub fn new(name: &str) -> Self {
        let text = format!("mArKeR-{name}-{:x}-pLaNtEd-hErE", std::process::id());
        let mut forms = vec![("as it is".to_owned(), text.clone())];
        // Base64 looks different by where in the text it begins; its ends depend on the neighbours.
        for before in 0..3 {
            let padded = format!("{}{text}", "x".repeat(before));
            let encoded = STANDARD.encode(padded);
            let inner = encoded[4..encoded.len() - 4].to_owned();
            forms.push((format!("base64 at {before}"), inner));
        }
        let hex = text
            .bytes()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        forms.push(("hexadecimal".to_owned(), hex));
        Self { text, forms }
    }

    pub fn is_absent(&self, place: &str, bytes: &[u8]) -> anyhow::Result<()> {
        // All forms are ASCII, which stays what it is.
        let text = String::from_utf8_lossy(bytes);
        for (form, wanted) in &self.forms {
            if let Some(at) = text.find(wanted.as_str()) {
                let around: String = text[..at].chars().rev().take(200).collect();
                let around: String = around.chars().rev().collect();
                anyhow::bail!("{} is in {place}, {form}, after: {around}", self.text);
            }
        }
        for unpacked in unpacked(bytes, &text) {
            self.is_absent(place, &unpacked).context("packed")?;
        }
        Ok(())
    }
}

/// How what is packed begins: a gzip stream, the same in base64, and that in base64 again.
const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
const IN_BASE64: [&str; 2] = ["H4sI", "SDRzS"];
/// More than that no record has.
const MOST: u64 = 64 << 20;
/// What is cut out of a text may end anywhere.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn unpacked(bytes: &[u8], text: &str) -> Vec<Vec<u8>> {
    let streams = bytes
        .windows(GZIP.len())
        .enumerate()
        .filter(|(_, start)| *start == GZIP)
        .filter_map(|(at, _)| {
            let mut plain = Vec::new();
            let read = GzDecoder::new(&bytes[at..]).take(MOST).read_to_end(&mut plain);
            (read.is_ok() || !plain.is_empty()).then_some(plain)
        });
    let coded = IN_BASE64
        .iter()
        .flat_map(|start| text.match_indices(start))
        .filter_map(|(at, _)| {
            let rest = &text[at..];
            let is_code = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            let end = rest.find(|c| !is_code(c)).unwrap_or(rest.len());
            LENIENT.decode(&rest[..end]).ok()
        });
    streams.chain(coded).collect()
}

/// That a marker is seen in what is packed as a record of Helm's is.
pub fn seen_when_packed() -> anyhow::Result<()> {
    let marker = Marker::new("packed");
    let mut packed = Vec::new();
    let record = format!(r#"{{"config": {{"password": "{}"}}}}"#, marker.text);
    GzEncoder::new(record.as_bytes(), Compression::best()).read_to_end(&mut packed)?;
    let once = STANDARD.encode(&packed);
    let twice = STANDARD.encode(&once);
    for (form, bytes) in [
        ("as it is", packed),
        ("once", format!("{{\"release\": \"{once}\"}}").into_bytes()),
        ("twice", format!("{{\"release\": \"{twice}\"}}").into_bytes()),
    ] {
        ensure!(marker.is_absent("a record", &bytes).is_err(), "not seen {form}");
    }
    marker.is_absent("nothing", b"H4sIAAAA SDRzS")
}
