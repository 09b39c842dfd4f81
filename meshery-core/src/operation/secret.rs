//! Secrets: references to them in the place of parameters, what these lead to, where it may not come to stand, and the
//! sealing of what is stored.

pub(super) mod exposure;
mod placeholder_use;
pub(crate) mod reference;
pub(crate) mod seal;
pub(super) mod values;
