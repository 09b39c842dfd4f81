mod checks;
mod cluster;
mod detection;
mod dropped;
mod plans;
mod removal;
mod rights;
mod versions;
