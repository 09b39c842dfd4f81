//! The document store as the rest of the core sees it: documents, content, journals.
//!
//! The store itself is a plugin, possibly in a process of its own that may die and come back. This module turns
//! its calls into typed ones, cuts content into blobs, and repeats what is safe to repeat, so that a lost
//! acknowledgement or a restart of the provider is no failure of an operation. What it leaves to others: where
//! the provider runs and how it is restarted ([`ProviderCall`] is all that is asked of that side), and what the
//! documents mean.

mod backup;
mod call;
mod content;
#[cfg(test)]
pub(crate) mod memory;
mod store;

pub use backup::{Backup, FORMAT as BACKUP_FORMAT, Summary as BackupSummary};
pub use call::ProviderCall;
pub(crate) use content::sha256;
pub use content::{BlobRef, MAX_CONTENT};
pub use store::Store;
