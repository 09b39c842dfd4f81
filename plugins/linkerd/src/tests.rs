mod checks;
mod cluster;
mod detection;
mod plans;
mod rights;
mod versions;
