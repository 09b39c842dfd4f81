//! Which digest an image must have.

use std::collections::HashMap;

use super::reference::Reference;

const SHA_256: &str = "sha256:";

/// Digests by the whole name of their image, registry and tag included.
#[derive(Default)]
pub(super) struct Pins<'a>(HashMap<String, &'a str>);

impl<'a> Pins<'a> {
    /// Reads them; what is wrong with the first that is none.
    pub fn of(digests: &'a [String]) -> Result<Self, String> {
        let mut pins = HashMap::new();
        for text in digests {
            let (name, digest) = read(text)
                .ok_or_else(|| format!("\"{}\" is no image with its digest", text.escape_debug()))?;
            if pins.insert(name, digest).is_some_and(|earlier| earlier != digest) {
                return Err(format!(
                    "\"{}\" has another digest elsewhere in the list",
                    text.escape_debug()
                ));
            }
        }
        Ok(Self(pins))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The digest that an image must have, as it is put behind its name; nothing where there is none for it, or it has one.
    pub fn digest(&self, image: &Reference<'_>) -> Option<&'a str> {
        if image.rest.contains('@') {
            return None;
        }
        self.0.get(&image.whole_name()).copied()
    }
}

fn read(text: &str) -> Option<(String, &str)> {
    let (name, digest) = text.split_once('@')?;
    let hex = digest.strip_prefix(SHA_256)?;
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let reference = Reference::parse(name).filter(|reference| !reference.is_placeholder())?;
    is_digest.then(|| (reference.whole_name(), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: char) -> String {
        format!("sha256:{}", of.to_string().repeat(64))
    }

    #[test]
    fn an_image_is_found_however_its_name_is_written() {
        let (a, b) = (digest('a'), digest('b'));
        let list = [format!("nginx:1.27@{a}"), format!("quay.io/x/y@{b}")];
        let pins = Pins::of(&list).unwrap();
        let digest = |image: &str| pins.digest(&Reference::parse(image).unwrap());
        for image in [
            "nginx:1.27",
            "docker.io/nginx:1.27",
            "docker.io/library/nginx:1.27",
            "index.docker.io/library/nginx:1.27",
        ] {
            assert_eq!(digest(image), Some(a.as_str()), "{image}");
        }
        assert_eq!(digest("quay.io/x/y"), Some(b.as_str()));
        assert_eq!(digest("quay.io/x/y:latest"), Some(b.as_str()));
        for other in ["nginx:1.28", "quay.io/nginx:1.27", "quay.io/x/y:1"] {
            assert_eq!(digest(other), None, "{other}");
        }
        let own = format!("nginx:1.27@{b}");
        assert_eq!(digest(&own), None, "it has its own");
    }

    #[test]
    fn what_is_no_image_with_a_digest_is_named() {
        let fine = digest('a');
        for wrong in [
            "nginx:1".to_owned(),
            format!("@{fine}"),
            format!("auto@{fine}"),
            "nginx:1@sha256:abc".into(),
            format!("nginx:1@{}", fine.to_uppercase()),
            "nginx:1@sha512:abc".into(),
        ] {
            let list = [wrong.clone()];
            let said = Pins::of(&list).err().unwrap();
            assert!(said.contains(&wrong), "{said}");
        }
        let twice = [
            format!("nginx:1@{fine}"),
            format!("docker.io/nginx:1@{}", digest('b')),
        ];
        assert!(Pins::of(&twice).err().unwrap().contains("another digest"));
    }
}
