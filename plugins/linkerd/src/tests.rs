mod checks;
mod cluster;
mod detection;
mod dropped;
mod plans;
mod rights;
mod versions;
