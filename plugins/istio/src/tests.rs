//! The adapter against clusters written down in `tests/clusters`, its plans against `tests/snapshots`.

mod ambient;
mod canary;
mod certificates;
mod checks;
mod cluster;
mod configuring;
mod detection;
mod dropped;
mod every_operation;
mod gateways;
mod nodes;
mod plans;
mod proof;
mod prospects;
mod removal;
mod rights;
mod rollback;
mod samples;
mod switched_off;
mod upgrades;
mod vetting;
