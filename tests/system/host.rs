//! The host as those see it who start it and those who ask it, the hostile ones included.

mod access;
mod backup;
mod bad_input;
mod documents;
mod every_field;
mod life;
mod on_cluster;
mod pressure;
mod settings;
mod uploads;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    [
        life::trials(),
        on_cluster::trials(),
        access::trials(),
        bad_input::trials(),
        pressure::trials(),
        documents::trials(),
        settings::trials(),
        uploads::trials(),
        every_field::trials(),
        backup::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
