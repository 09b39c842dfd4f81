//! The adapter against clusters written down in `tests/clusters`, its plans against `tests/snapshots`.

mod checks;
mod cluster;
mod detection;
mod plans;
mod rights;
mod samples;
