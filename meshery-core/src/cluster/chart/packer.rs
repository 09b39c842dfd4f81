//! Packs chart archives for tests, wrong ones included.

use std::io::Write;
use std::path::Path;

use tar::{EntryType, Header};

/// A tar archive in the making, written block by block so that it may say what no tar library would write.
#[derive(Default)]
pub(crate) struct Packer {
    tar: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The chart of that name among the repository's own, with its folder as it stands.
    pub(crate) fn chart(name: &str) -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/charts");
        let mut files = Vec::new();
        collect(&root.join(name), &mut files);
        files.sort();
        let pack = |packer: Self, file: &std::path::PathBuf| {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            packer.file(&path, &std::fs::read_to_string(file).unwrap())
        };
        files.iter().fold(Self::new(), pack).finish()
    }

    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.raw(path, EntryType::Regular, text.as_bytes())
    }

    pub(crate) fn folder(self, path: &str) -> Self {
        self.raw(path, EntryType::Directory, b"")
    }

    pub(crate) fn raw(mut self, path: &str, kind: EntryType, bytes: &[u8]) -> Self {
        if path.len() > 100 {
            let name = [path.as_bytes(), b"\0"].concat();
            self = self.raw("././@LongLink", EntryType::GNULongName, &name);
        }
        let mut header = Header::new_gnu();
        let name = &mut header.as_old_mut().name;
        let length = path.len().min(name.len());
        name[..length].copy_from_slice(&path.as_bytes()[..length]);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(bytes);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
        self
    }

    /// The tar stream, with its end.
    pub(crate) fn tar(mut self) -> Vec<u8> {
        self.tar.resize(self.tar.len() + 1024, 0);
        self.tar
    }

    /// The archive as charts have it.
    pub(crate) fn finish(self) -> Vec<u8> {
        gzip(&self.tar())
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
