//! What the export macros expand to: a manifest in the file, the root module, and an instance behind a guard.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::prelude::TD_Opaque;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};
use async_ffi::{FfiFuture, FutureExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::abi::{
    AbiError, HostRef, Instance, Instance_TO, InstanceBox, PluginModule, PluginModuleRef, Reply,
};
use crate::adapter::MeshAdapter;
use crate::error::PluginError;
use crate::guard::{Guarded, guarded};
use crate::provider::Provider;
use crate::{dispatch, host, log};

#[doc(hidden)]
pub use crate::const_manifest::ConstManifest;

/// Method every plugin has: sets how much it logs. Its argument is one digit, 0 (nothing) to 5 (trace).
pub const LOG_LEVEL: &str = "plugin.log-level";

/// What a provider gets when it is opened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderConfig {
    /// Folder of its own, absolute, where it may keep its data. The host has made it.
    pub data: PathBuf,
    /// Its part of the host's settings, as it is written there.
    pub options: Value,
}

/// What a host hands to a plugin when it makes an instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateConfig {
    /// How much it logs, 0 to 5.
    pub log_level: u8,
    /// For a provider.
    pub provider: ProviderConfig,
}

/// Makes a file a mesh adapter's plugin. Version, description, licence and home page are those of its `Cargo.toml`.
///
/// The expression after `adapter:` makes the adapter. The file must be built as a `cdylib`, and hold one plugin.
///
/// ```
/// use meshery_plugin_api::message::descriptor::AdapterDescriptor;
/// use meshery_plugin_api::message::facts::Facts;
/// use meshery_plugin_api::message::finding::Installation;
/// use meshery_plugin_api::message::plan::{Plan, PlanRequest};
/// use meshery_plugin_api::{MeshAdapter, PluginError, export_adapter};
///
/// struct Example;
///
/// impl MeshAdapter for Example {
///     fn describe(&self) -> AdapterDescriptor {
///         AdapterDescriptor { mesh: "Example".into(), ..AdapterDescriptor::default() }
///     }
///     fn plan(&self, request: PlanRequest) -> Result<Plan, PluginError> {
///         Ok(Plan { summary: format!("Nothing to do for {}", request.operation), ..Plan::default() })
///     }
///     fn detect(&self, _facts: Facts) -> Result<Vec<Installation>, PluginError> {
///         Ok(Vec::new())
///     }
/// }
///
/// export_adapter! {
///     name: "example",
///     adapter: Example,
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_adapter {
    (name: $name:literal, adapter: $adapter:expr $(,)?) => {
        $crate::__export_plugin!("adapter", $name, |host, config| {
            $crate::export::create_adapter(host, config, || $adapter)
        });
    };
}

/// Makes a file a provider's plugin. Version, description, licence and home page are those of its `Cargo.toml`.
///
/// What stands after `open:` is a function from [`ProviderConfig`] to a `Result` with the provider. It may take its
/// time (an integrity check, a migration), within the host's deadline for starting a plugin.
///
/// ```
/// # use meshery_plugin_api::message::document::{Blob, Document, Page, Query, StoreHealth, User, Write};
/// # use meshery_plugin_api::message::journal::{Append, Entry, Read, Reserve};
/// use meshery_plugin_api::{PluginError, Provider, ProviderConfig, export_provider};
///
/// struct Forgetful;
///
/// impl Forgetful {
///     fn open(config: ProviderConfig) -> Result<Self, PluginError> {
///         println!("would keep its data in {}", config.data.display());
///         Ok(Self)
///     }
/// }
///
/// impl Provider for Forgetful {
///     async fn get(&self, kind: &str, id: &str) -> Result<Option<Document>, PluginError> {
///         println!("asked for {kind} {id}");
///         Ok(None)
///     }
///     // and the other methods
/// #   async fn user(&self) -> Result<User, PluginError> { Ok(User::default()) }
/// #   async fn write(&self, _: Vec<Write>) -> Result<Vec<u64>, PluginError> { Ok(Vec::new()) }
/// #   async fn list(&self, _: Query) -> Result<Page, PluginError> { Ok(Page::default()) }
/// #   async fn put_blobs(&self, _: &str, _: Vec<Blob>) -> Result<(), PluginError> { Ok(()) }
/// #   async fn get_blobs(&self, _: Vec<String>) -> Result<Vec<Blob>, PluginError> { Ok(Vec::new()) }
/// #   async fn append(&self, _: Append) -> Result<u64, PluginError> { Ok(0) }
/// #   async fn read(&self, _: Read) -> Result<Vec<Entry>, PluginError> { Ok(Vec::new()) }
/// #   async fn reserve(&self, _: Reserve) -> Result<(), PluginError> { Ok(()) }
/// #   async fn forget(&self, _: &str) -> Result<(), PluginError> { Ok(()) }
/// #   async fn health(&self) -> Result<StoreHealth, PluginError> { Ok(StoreHealth::default()) }
/// }
///
/// export_provider! {
///     name: "forgetful",
///     open: Forgetful::open,
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_provider {
    (name: $name:literal, open: $open:expr $(,)?) => {
        $crate::__export_plugin!("provider", $name, |host, config| {
            $crate::export::create_provider(host, config, $open)
        });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($kind:literal, $name:literal, $create:expr) => {
        #[cfg(panic = "abort")]
        compile_error!("a plugin must be built with panic = \"unwind\", or one panic ends the host");

        #[allow(unsafe_code)]
        const _: () = {
            use $crate::__abi as abi;
            use $crate::export::ConstManifest;

            const MANIFEST: ConstManifest = ConstManifest {
                kind: $kind,
                name: $name,
                version: env!("CARGO_PKG_VERSION"),
                license: env!("CARGO_PKG_LICENSE"),
                homepage: ConstManifest::first(env!("CARGO_PKG_HOMEPAGE"), env!("CARGO_PKG_REPOSITORY")),
                description: env!("CARGO_PKG_DESCRIPTION"),
            };
            const LENGTH: usize = MANIFEST.length();

            // Read by the host before it runs anything of this file.
            #[used]
            #[cfg_attr(target_os = "linux", unsafe(link_section = ".meshmanifest"))]
            static JSON: [u8; LENGTH] = MANIFEST.json();

            extern "C" fn manifest() -> abi::RString {
                $crate::export::manifest_text(&JSON)
            }
            extern "C" fn create(
                host: abi::HostRef,
                config: abi::RString,
            ) -> abi::RResult<abi::InstanceBox, abi::AbiError> {
                let create: fn(abi::HostRef, abi::RString) -> abi::RResult<abi::InstanceBox, abi::AbiError> =
                    $create;
                create(host, config)
            }
            fn root() -> abi::PluginModuleRef {
                $crate::export::root_module(manifest, create)
            }
            extern "C" fn loader() -> abi::RootModuleResult {
                abi::__call_root_module_loader(root)
            }

            const SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";
            const _: () = assert!(
                $crate::export::same(SYMBOL, abi::ROOT_MODULE_LOADER_NAME),
                "abi_stable looks for another symbol than this macro exports"
            );
            // SAFETY: the name belongs to abi_stable alone, and `loader` returns a reference to a `PluginModule`,
            // which is what the type parameter says.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static HEADER: abi::LibHeader = unsafe {
                abi::LibHeader::from_constructor::<abi::PluginModuleRef>(loader, abi::CheckTypeLayout::Yes)
            };
        };
    };
}

#[doc(hidden)]
pub const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[doc(hidden)]
pub fn manifest_text(json: &'static [u8]) -> RString {
    String::from_utf8_lossy(json).into_owned().into()
}

#[doc(hidden)]
pub fn root_module(
    manifest: extern "C" fn() -> RString,
    create: extern "C" fn(HostRef, RString) -> RResult<InstanceBox, AbiError>,
) -> PluginModuleRef {
    PluginModule { manifest, create }.leak_into_prefix()
}

#[doc(hidden)]
pub fn create_adapter<A: MeshAdapter>(
    host: HostRef,
    config: RString,
    make: impl FnOnce() -> A,
) -> RResult<InstanceBox, AbiError> {
    create(host, &config, |_| Ok(AdapterInstance(Arc::new(make()))))
}

#[doc(hidden)]
pub fn create_provider<P: Provider>(
    host: HostRef,
    config: RString,
    open: impl FnOnce(ProviderConfig) -> Result<P, PluginError>,
) -> RResult<InstanceBox, AbiError> {
    create(host, &config, |config| {
        Ok(ProviderInstance(Arc::new(open(config.provider)?)))
    })
}

fn create<I: Instance>(
    host: HostRef,
    config: &str,
    make: impl FnOnce(CreateConfig) -> Result<I, PluginError>,
) -> RResult<InstanceBox, AbiError> {
    guarded(|| {
        let config: CreateConfig = serde_json::from_str(config).map_err(|error| {
            PluginError::new(
                "plugin-protocol",
                format!("the plugin's configuration cannot be read: {error}"),
            )
        })?;
        host::connect(host);
        log::install(config.log_level);
        Ok(Instance_TO::from_value(make(config)?, TD_Opaque))
    })
    .map_err(AbiError::from)
    .into()
}

fn reply(result: Result<Vec<u8>, PluginError>) -> Reply {
    result.map(RVec::from).map_err(AbiError::from).into()
}

/// Methods that every plugin has, whatever its kind.
fn of_every_plugin(method: &str, payload: &[u8]) -> Option<Result<Vec<u8>, PluginError>> {
    (method == LOG_LEVEL).then(|| {
        log::set_level(payload.first().map_or(0, |digit| digit.wrapping_sub(b'0')));
        Ok(Vec::new())
    })
}

struct AdapterInstance<A>(Arc<A>);

impl<A: MeshAdapter> Instance for AdapterInstance<A> {
    fn call(&self, op: u64, method: RStr<'_>, payload: RSlice<'_, u8>) -> Reply {
        reply(guarded(|| {
            host::within(op, || {
                of_every_plugin(&method, &payload)
                    .unwrap_or_else(|| dispatch::adapter(&*self.0, &method, &payload))
            })
        }))
    }

    fn call_async(&self, op: u64, method: RString, payload: RVec<u8>) -> FfiFuture<Reply> {
        let adapter = AdapterInstance(self.0.clone());
        async move { adapter.call(op, method.as_rstr(), payload.as_rslice()) }.into_ffi()
    }
}

struct ProviderInstance<P>(Arc<P>);

impl<P: Provider> Instance for ProviderInstance<P> {
    fn call(&self, op: u64, method: RStr<'_>, payload: RSlice<'_, u8>) -> Reply {
        reply(guarded(|| {
            host::within(op, || {
                of_every_plugin(&method, &payload).unwrap_or_else(|| {
                    Err(PluginError::new(
                        "unknown-method",
                        format!("a provider's \"{method}\" waits, it does not compute"),
                    ))
                })
            })
        }))
    }

    fn call_async(&self, op: u64, method: RString, payload: RVec<u8>) -> FfiFuture<Reply> {
        let provider = self.0.clone();
        let work = async move {
            match of_every_plugin(&method, &payload) {
                Some(result) => result,
                None => dispatch::provider(&*provider, &method, &payload).await,
            }
        };
        let work = Guarded::new(WithinCall {
            op,
            work: Box::pin(work),
        });
        async move { reply(work.await) }.into_ffi()
    }
}

/// Makes each poll of a future part of its call, so that log events and cancellation find it.
struct WithinCall<F> {
    op: u64,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for WithinCall<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let op = self.op;
        host::within(op, || self.work.as_mut().poll(context))
    }
}
