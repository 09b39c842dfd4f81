//! The manifest as bytes made by the compiler, so that a host can read it from the file without running anything.

use crate::message::SCHEMA;

/// A manifest whose parts are known when the plugin is compiled. The export macros make it.
#[doc(hidden)]
#[derive(Debug)]
pub struct ConstManifest {
    pub kind: &'static str,
    pub name: &'static str,
    pub version: &'static str,
    pub license: &'static str,
    pub homepage: &'static str,
    pub description: &'static str,
}

/// Version of this crate: the version of the ABI.
const API: &str = env!("CARGO_PKG_VERSION");

impl ConstManifest {
    const fn members(&self) -> [(&'static str, &'static str); 8] {
        assert!(
            named_well(self.name),
            "a plugin's name has lower-case letters, digits and dashes only"
        );
        [
            ("{\"kind\":\"", self.kind),
            ("\",\"name\":\"", self.name),
            ("\",\"version\":\"", self.version),
            ("\",\"api\":\"", API),
            ("\",\"schema\":\"", SCHEMA),
            ("\",\"license\":\"", self.license),
            ("\",\"homepage\":\"", self.homepage),
            ("\",\"description\":\"", self.description),
        ]
    }

    /// How many bytes of JSON it needs.
    pub const fn length(&self) -> usize {
        let members = self.members();
        let mut length = END.len();
        let mut i = 0;
        while i < members.len() {
            length += members[i].0.len();
            let text = members[i].1.as_bytes();
            let mut j = 0;
            while j < text.len() {
                length += if escaped(text[j]) { 2 } else { 1 };
                j += 1;
            }
            i += 1;
        }
        length
    }

    /// The JSON; `N` must be [`ConstManifest::length`].
    pub const fn json<const N: usize>(&self) -> [u8; N] {
        let members = self.members();
        let mut json = [0; N];
        let mut at = 0;
        let mut i = 0;
        while i < members.len() {
            let key = members[i].0.as_bytes();
            let mut j = 0;
            while j < key.len() {
                json[at] = key[j];
                at += 1;
                j += 1;
            }
            let text = members[i].1.as_bytes();
            j = 0;
            while j < text.len() {
                if escaped(text[j]) {
                    json[at] = b'\\';
                    at += 1;
                }
                // No text of Cargo's has control characters, except for line breaks.
                json[at] = if text[j] < b' ' { b' ' } else { text[j] };
                at += 1;
                j += 1;
            }
            i += 1;
        }
        let mut j = 0;
        while j < END.len() {
            json[at] = END[j];
            at += 1;
            j += 1;
        }
        assert!(at == N, "the length does not fit the manifest");
        json
    }

    /// The first text that is not empty.
    pub const fn first(a: &'static str, b: &'static str) -> &'static str {
        if a.is_empty() { b } else { a }
    }
}

const END: &[u8] = b"\"}";

const fn escaped(byte: u8) -> bool {
    byte == b'"' || byte == b'\\'
}

const fn named_well(name: &str) -> bool {
    let name = name.as_bytes();
    if name.is_empty() || name.len() > 63 {
        return false;
    }
    let mut i = 0;
    while i < name.len() {
        if !(name[i].is_ascii_lowercase() || name[i].is_ascii_digit() || name[i] == b'-') {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::descriptor::{Manifest, PluginKind};

    #[test]
    fn the_bytes_are_the_manifest_whatever_is_in_the_texts() {
        const M: ConstManifest = ConstManifest {
            kind: "adapter",
            name: "x-1",
            version: "0.1.0",
            license: "Apache-2.0",
            homepage: ConstManifest::first("", "https://example.org"),
            description: "a \"quoted\" back\\slash,\nümlaut",
        };
        const JSON: [u8; M.length()] = M.json();
        let read: Manifest = serde_json::from_slice(&JSON).unwrap();
        assert_eq!(read.kind, PluginKind::Adapter);
        assert_eq!((read.name.as_str(), read.api.as_str()), ("x-1", API));
        assert_eq!(read.homepage, "https://example.org");
        assert_eq!(read.description, "a \"quoted\" back\\slash, ümlaut");
    }
}
