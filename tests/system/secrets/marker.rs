//! A secret that is planted, and how it is recognised.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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
        Ok(())
    }
}
