//! The name of an image, taken apart as container runtimes do.

/// Where an image is when its name does not say.
const HUB: &str = "docker.io";

/// The parts of an image's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// The registry, as it is written; none when it is not.
    pub registry: Option<&'a str>,
    /// Path in the registry.
    pub path: &'a str,
    /// Tag and digest as they are written, with their separators.
    pub rest: &'a str,
}

impl<'a> Reference<'a> {
    /// Takes a name apart; none when no runtime would take it for one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let name_end = text.find('@').unwrap_or_else(|| {
            let last = text.rfind('/').map_or(0, |slash| slash + 1);
            text[last..].find(':').map_or(text.len(), |colon| last + colon)
        });
        // With a digest there may be a tag before it.
        let (name, rest) = text.split_at(name_end);
        let (name, rest) = match rest.starts_with('@').then(|| name.rfind(':')).flatten() {
            Some(colon) if !name[colon..].contains('/') => text.split_at(colon),
            _ => (name, rest),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (Some(first), path),
            _ => (None, name),
        };
        let fine = !path.is_empty()
            && path.split('/').all(is_part)
            && registry.is_none_or(is_registry)
            && rest.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'@' | b'.' | b'_' | b'-' | b'+')
            })
            && !rest.ends_with([':', '@']);
        fine.then_some(Self { registry, path, rest })
    }

    /// Whether nothing tells it from a word that stands for an image which somebody else fills in later.
    pub fn is_placeholder(&self) -> bool {
        self.registry.is_none() && self.rest.is_empty() && !self.path.contains('/')
    }

    /// The same image in another registry: the path, tag and digest stay.
    pub fn moved_to(&self, registry: &str) -> String {
        format!("{registry}/{}{}", self.whole_path(), self.rest)
    }

    /// The name with all that may be left out of it: registry, path and tag. A digest is kept.
    pub fn whole_name(&self) -> String {
        let registry = self.registry.filter(|_| !self.is_at_the_hub()).unwrap_or(HUB);
        let tag = if self.rest.is_empty() {
            ":latest"
        } else {
            self.rest
        };
        format!("{registry}/{}{tag}", self.whole_path())
    }

    fn is_at_the_hub(&self) -> bool {
        self.registry
            .is_none_or(|own| own == HUB || own == "index.docker.io")
    }

    /// The path with the part of it that Docker Hub lets people leave out.
    fn whole_path(&self) -> String {
        if self.is_at_the_hub() && !self.path.contains('/') {
            format!("library/{}", self.path)
        } else {
            self.path.to_owned()
        }
    }
}

/// Whether the first part of a name is a host and not the beginning of a path.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn is_part(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && part.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        })
}

/// Whether this is a registry's host, with or without a port and the beginning of a path.
pub(super) fn is_registry(text: &str) -> bool {
    let (authority, path) = text
        .split_once('/')
        .map_or((text, None), |(authority, path)| (authority, Some(path)));
    let (host, port) = authority
        .rsplit_once(':')
        .map_or((authority, None), |(host, port)| (host, Some(port)));
    let bare = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    let is_v6 = bare.len() != host.len();
    let host_fine = if is_v6 {
        bare.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
            && !host.starts_with(['.', '-'])
            && !host.contains("..")
    };
    host_fine
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        && path.is_none_or(|path| path.split('/').all(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_changes_and_path_tag_and_digest_stay() {
        let digest = format!("@sha256:{}", "a".repeat(64));
        for (image, expected) in [
            ("docker.io/acme/pilot:1.30.2", "r.corp/m/acme/pilot:1.30.2"),
            (
                "registry.acme.example/release/pilot:1.30.2",
                "r.corp/m/release/pilot:1.30.2",
            ),
            ("localhost:5000/a/b", "r.corp/m/a/b"),
            ("localhost/a:1", "r.corp/m/a:1"),
            ("acme/pilot", "r.corp/m/acme/pilot"),
            ("nginx:1.27", "r.corp/m/library/nginx:1.27"),
            ("docker.io/nginx:1.27", "r.corp/m/library/nginx:1.27"),
            ("docker.io/library/nginx:1.27", "r.corp/m/library/nginx:1.27"),
            ("quay.io/nginx:1.27", "r.corp/m/nginx:1.27"),
            ("[fd00::1]:5000/a/b:1", "r.corp/m/a/b:1"),
        ] {
            for tail in ["", digest.as_str()] {
                let image = format!("{image}{tail}");
                let reference = Reference::parse(&image).unwrap_or_else(|| panic!("{image}"));
                assert_eq!(reference.moved_to("r.corp/m"), format!("{expected}{tail}"));
            }
        }
    }

    #[test]
    fn a_bare_word_may_stand_for_an_image_that_comes_later() {
        assert!(Reference::parse("auto").unwrap().is_placeholder());
        for image in ["auto:1", "a/auto", "localhost/auto", "r.corp/auto"] {
            assert!(!Reference::parse(image).unwrap().is_placeholder(), "{image}");
        }
    }

    #[test]
    fn what_is_no_name_of_an_image_is_none() {
        for text in [
            "",
            "/",
            "a b",
            "{{ .image }}",
            "A/b",
            "a:",
            "a@",
            "a//b",
            "../a",
            "r.corp/",
            "a:b c",
        ] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }
}
