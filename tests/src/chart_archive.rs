//! The repository's own charts (`tests/charts`), packed as charts are published.

use std::io;
use std::path::Path;

/// Packs a chart of `tests/charts` as `helm package` does.
pub fn pack(name: &str) -> io::Result<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts").join(name);
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut tar = tar::Builder::new(gzip);
    tar.follow_symlinks(false);
    tar.append_dir_all(name, folder)?;
    tar.into_inner()?.finish()
}

/// Makes a mirror of charts of `tests/charts` in a folder: one archive a chart.
pub fn mirror(folder: &Path, names: &[&str]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    names
        .iter()
        .try_for_each(|name| std::fs::write(folder.join(format!("{name}.tgz")), pack(name)?))
}
