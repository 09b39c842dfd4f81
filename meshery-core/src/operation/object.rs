//! What an operation knows of a single object: whose it is, what marks it, what was changed in it and what is inside.

pub(super) mod apply_set;
pub(super) mod field;
pub(super) mod field_origin;
pub(super) mod fingerprint;
pub(super) mod left_inside;
pub(super) mod mark;
pub(super) mod ownership;
