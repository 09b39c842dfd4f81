//! The types that cross a function call between host and plugin: all of the ABI, in one place.
//!
//! It is narrow on purpose. A few functions and methods carry a method's name and bytes; what the bytes mean is in
//! [`crate::message`], where it can grow. A plain structure here is frozen for as long as the major version
//! lasts; only [`PluginModule`], [`Instance`] and [`HostServices`] may grow, at the end, and every addition needs a
//! default body, because the other side may be older.
//!
//! Nothing here is for an author of plugins: the export macros write all of it.
#![allow(
    non_local_definitions,
    unsafe_code,
    missing_docs,
    clippy::used_underscore_binding,
    clippy::cast_ptr_alignment,
    clippy::expl_impl_clone_on_copy
)]

use abi_stable::StableAbi;
use abi_stable::declare_root_module_statics;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_trait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RArc, RBox, RResult, RSlice, RStr, RString, RVec};
use async_ffi::FfiFuture;

/// An error as bytes: cause, remedy and the rest are JSON in `detail`, so that they can grow.
#[repr(C)]
#[derive(Debug, Clone, StableAbi)]
pub struct AbiError {
    pub code: RString,
    pub message: RString,
    pub detail: RVec<u8>,
}

/// What a call returns.
pub type Reply = RResult<RVec<u8>, AbiError>;

/// One log event of a plugin.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct LogLine<'a> {
    /// The call it belongs to, 0 for none.
    pub op: u64,
    /// 1 for an error to 5 for a trace.
    pub level: u8,
    pub line: u32,
    pub target: RStr<'a>,
    pub file: RStr<'a>,
    pub message: RStr<'a>,
    /// A JSON object.
    pub fields: RStr<'a>,
    /// Names of the plugin's open spans, the outermost first, joined by `:`.
    pub spans: RStr<'a>,
}

/// The host as a plugin sees it.
#[sabi_trait]
pub trait HostServices: Send + Sync + 'static {
    /// Takes a log event.
    fn log(&self, line: LogLine<'_>);
    /// Whether events of this level and target are wanted.
    fn log_enabled(&self, level: u8, target: RStr<'_>) -> bool;
    /// Takes an event of a call. Never blocks; may be dropped.
    fn emit(&self, op: u64, payload: RSlice<'_, u8>);
    /// Whether nobody waits for the call any more.
    fn is_cancelled(&self, op: u64) -> bool;
    /// Everything else a plugin may ask for, by name, so that what is allowed is decided in one place.
    #[sabi(last_prefix_field)]
    fn call(&self, method: RString, payload: RVec<u8>) -> FfiFuture<Reply>;
}

/// The host as it is handed to a plugin.
pub type HostRef = HostServices_TO<RArc<()>>;

/// What a plugin makes of itself.
#[sabi_trait]
pub trait Instance: Send + Sync + 'static {
    /// A method that computes.
    fn call(&self, op: u64, method: RStr<'_>, payload: RSlice<'_, u8>) -> Reply;
    /// A method that waits. Dropping the future cancels it.
    #[sabi(last_prefix_field)]
    fn call_async(&self, op: u64, method: RString, payload: RVec<u8>) -> FfiFuture<Reply>;
}

/// A plugin's instance as it is handed to the host.
pub type InstanceBox = Instance_TO<RBox<()>>;

/// What a plugin's file exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// The manifest as JSON, the same bytes as in the file's section.
    pub manifest: extern "C" fn() -> RString,
    /// Makes an instance; the text is a [`crate::export::CreateConfig`] as JSON.
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(HostRef, RString) -> RResult<InstanceBox, AbiError>,
}

impl RootModule for PluginModuleRef {
    declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "meshery_plugin";
    const NAME: &'static str = "meshery_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
