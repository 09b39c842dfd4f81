//! Loading a library into this process. From here on the plugin's code runs.
#![allow(unsafe_code)]

use std::error::Error as _;
use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::{LibraryError, RootModule as _, RootModuleError, lib_header_from_path};
use abi_stable::sabi_types::VersionNumber;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use meshery_plugin_api::abi::PluginModuleRef;
use meshery_plugin_api::message::descriptor::Manifest;

use super::fault::LoadFault;

/// Loads a library, never to be unloaded, and checks that it is what its manifest says.
pub(super) fn open(file: &Path, expected: &Manifest) -> Result<PluginModuleRef, LoadFault> {
    if !file.is_absolute() {
        return Err(LoadFault::NotAbsolute);
    }
    // abi_stable binds lazily: a symbol that is missing would end the process at the first call that needs it.
    // SAFETY: running the library's constructors is what loading means. Its file was checked before, it was loaded
    // once in a process of its own, and nothing of it is used before abi_stable has looked at its header.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) };
    std::mem::forget(library.map_err(|error| {
        LoadFault::NotLoadable {
            // The error itself says no more than that it failed.
            why: error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string),
        }
    })?);
    let header = lib_header_from_path(file).map_err(fault)?;
    let version = |text| VersionNumber::new(text).map_err(|error| fault(error.into()));
    let host = version(PluginModuleRef::VERSION_STRINGS)?;
    let plugin = version(header.version_strings())?;
    if host.major != plugin.major {
        return Err(LoadFault::AbiMajor {
            host: host.to_string(),
            plugin: plugin.to_string(),
        });
    }
    let ours = <PluginModuleRef as StableAbi>::LAYOUT;
    let theirs = header.layout().ok_or_else(|| LoadFault::AbiLayout {
        why: "it has no description of them".into(),
    })?;
    // The side that expects may have less than the side that is found, never more: the older one is the expecting one.
    let checked = if (plugin.minor, plugin.patch) >= (host.minor, host.patch) {
        check_layout_compatibility(ours, theirs)
    } else {
        check_layout_compatibility(theirs, ours)
    };
    checked.map_err(|errors| layout(&errors.to_string()))?;
    // SAFETY: the layout was checked just above, in the direction that fits the two versions.
    let module =
        unsafe { header.init_root_module_with_unchecked_layout::<PluginModuleRef>() }.map_err(fault)?;
    let found: Manifest =
        serde_json::from_str(&module.manifest()()).map_err(|error| LoadFault::BadManifest {
            why: format!("once loaded: {error}"),
        })?;
    if (&found.name, found.kind, &found.version) == (&expected.name, expected.kind, &expected.version) {
        Ok(module)
    } else {
        Err(LoadFault::ManifestDiffers {
            found: name(&found),
            expected: name(expected),
        })
    }
}

fn name(manifest: &Manifest) -> String {
    format!("{} {} ({:?})", manifest.name, manifest.version, manifest.kind)
}

fn fault(error: LibraryError) -> LoadFault {
    match error {
        LibraryError::OpenError { err, .. } => LoadFault::NotLoadable { why: err.to_string() },
        LibraryError::GetSymbolError { .. } => LoadFault::NoRootSymbol,
        LibraryError::IncompatibleVersionNumber {
            expected_version,
            actual_version,
            ..
        } => LoadFault::AbiMajor {
            host: expected_version.to_string(),
            plugin: actual_version.to_string(),
        },
        LibraryError::ParseVersionError(error) => LoadFault::ForeignHeader {
            why: error.to_string(),
        },
        LibraryError::InvalidAbiHeader(found) => LoadFault::ForeignHeader {
            why: format!(
                "abi_stable {}.{} is expected, the header says {}.{}",
                abi_stable::library::AbiHeader::VALUE.abi_major,
                abi_stable::library::AbiHeader::VALUE.abi_minor,
                found.abi_major,
                found.abi_minor
            ),
        },
        LibraryError::InvalidCAbi { .. } => LoadFault::ForeignHeader {
            why: "it passes values in another way".into(),
        },
        LibraryError::AbiInstability(error) => layout(&error.to_string()),
        LibraryError::RootModule { err, .. } => LoadFault::RootModule {
            why: match err {
                RootModuleError::Returned(error) => first_line(&error.to_string()),
                RootModuleError::Unwound => "it panicked".into(),
            },
        },
        LibraryError::Many(errors) => errors.into_iter().next().map_or_else(
            || LoadFault::ForeignHeader {
                why: "for an unknown reason".into(),
            },
            fault,
        ),
    }
}

/// The one telling line of a report of many kilobytes.
fn layout(report: &str) -> LoadFault {
    tracing::debug!(report, "the layouts of a plugin and of this host differ");
    let why = report
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("Error:"))
        .map(|line| line.trim_start().trim_start_matches("Error:").trim())
        .find(|line| !line.is_empty())
        .unwrap_or("the report has no reason");
    LoadFault::AbiLayout { why: why.to_owned() }
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("it does not say why").to_owned()
}
