//! Plugins: finding their files, checking them, loading or isolating them, and calling them.
//!
//! [`Plugins::load`] looks at every file, loads what it can, and never fails as a whole: what could not be loaded is
//! in [`Plugins::list`] with its reason and what to do about it. A plugin runs in this process or in a child process
//! of its own; a [`PluginHandle`] is the same for both, because the same bytes cross a function call and a socket.
//!
//! Restarting is here in its simple form only (a child that died is started again, after a long pause if it keeps
//! dying); sandboxes, trust in signatures and reload are not here yet.
//!
//! A program that wants child processes has to let its own binary be the child: see [`child_main`].

mod adapter;
mod backend;
mod cache;
mod child;
mod child_main;
mod elf;
mod fault;
mod find;
mod handle;
mod in_process;
mod inspect;
mod instance;
mod library;
mod load;
mod log;
mod registry;
mod services;
mod settings;
mod status;
mod workers;

pub use adapter::Adapter;
pub use child_main::child_main;
pub use fault::{LoadError, LoadFault};
pub use handle::PluginHandle;
pub use registry::{PluginLookupError, Plugins};
pub use settings::{ChildProgram, Isolation, PluginLimits, PluginSettings};
pub use status::{Mode, PluginState, PluginStatus};
