//! The repository's own charts (`tests/charts`), packed as charts are published.

use std::io;
use std::path::{Path, PathBuf};

/// A chart of `tests/charts`, and what is to be otherwise in it.
#[derive(Debug)]
#[must_use]
pub struct Packing<'a> {
    name: &'a str,
    replaced: Vec<(&'a str, &'a str, &'a str)>,
    added: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Packing<'a> {
    /// The chart as it is.
    pub fn of(name: &'a str) -> Self {
        Self {
            name,
            replaced: Vec::new(),
            added: Vec::new(),
        }
    }

    /// With another text in the place of one in a file.
    pub fn replacing(mut self, file: &'a str, text: &'a str, by: &'a str) -> Self {
        self.replaced.push((file, text, by));
        self
    }

    /// With one more file.
    pub fn with(mut self, file: &'a str, content: impl Into<Vec<u8>>) -> Self {
        self.added.push((file, content.into()));
        self
    }

    /// Packs it as `helm package` does.
    pub fn pack(&self) -> io::Result<Vec<u8>> {
        let folder = folder(self.name);
        let mut packed = Vec::new();
        for path in files(&folder)? {
            let file = path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy();
            let mut text = std::fs::read_to_string(&path)?;
            for (_, from, to) in self.replaced.iter().filter(|(changed, ..)| *changed == file) {
                if !text.contains(from) {
                    return Err(io::Error::other(format!("{file} has no \"{from}\"")));
                }
                text = text.replace(from, to);
            }
            packed.push((file.into_owned(), text.into_bytes()));
        }
        let packed = packed.iter().map(|(file, content)| (file.as_str(), &content[..]));
        let added = self.added.iter().map(|(file, content)| (*file, &content[..]));
        written(self.name, &packed.chain(added).collect::<Vec<_>>())
    }
}

/// Packs a chart of these files, as `helm package` does.
pub fn written(name: &str, files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut tar = tar::Builder::new(gzip);
    for (file, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{name}/{file}"), *content)?;
    }
    tar.into_inner()?.finish()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts").join(name)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Packs a chart of `tests/charts` as `helm package` does.
pub fn pack(name: &str) -> io::Result<Vec<u8>> {
    Packing::of(name).pack()
}

/// Makes a mirror of charts of `tests/charts` in a folder: one archive a chart.
pub fn mirror(folder: &Path, names: &[&str]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    names
        .iter()
        .try_for_each(|name| std::fs::write(folder.join(format!("{name}.tgz")), pack(name)?))
}
