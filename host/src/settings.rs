//! The host's settings: what each is for and what it is when nobody says anything.
//!
//! Where a value comes from (default, `meshery.toml`, `MESHERY_*`, flag) is decided in [`layers`]; this file only
//! says what there is. Every field has a default, and the defaults are also the list of known keys.

mod environment;
pub mod flags;
mod layers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use meshery_core::cluster::chart;
use meshery_core::cluster::lease::{LeaseNeeded, LeaseSettings, TERMS};
use meshery_core::images::ImageSource;
use meshery_core::operation::Retention;
use meshery_core::plugin::Isolation;
use serde::{Deserialize, Serialize};

pub use layers::Effective;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address to serve on; nobody but this machine reaches it unless it says so.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// Folders of plugins, besides the host's own and `plugins` in the data folder.
    pub plugins: Vec<PathBuf>,
    /// Where plugins run.
    pub isolation: Isolation,
    /// Where applications are, a folder of YAML files for each; `applications` in the data folder when empty.
    pub applications: PathBuf,
    /// A folder of chart archives; empty for none.
    pub mirror: PathBuf,
    /// The helm program; searched on PATH when empty.
    pub helm: PathBuf,
    /// Whether nothing may be fetched from chart repositories.
    pub offline: bool,
    /// Whether a crash may leave a copy of the memory, which has secrets in it, and debuggers may read it.
    pub core_dumps: bool,
    /// What the addresses of chart repositories must begin with; any public https address when empty.
    pub repositories: Vec<String>,
    /// Where images come from, and what pods pull them with, unless an operation says otherwise.
    pub images: ImageSource,
    pub downloads: Downloads,
    pub auth: Auth,
    pub limits: Limits,
    pub log: Log,
    pub cluster: Cluster,
    pub operations: Operations,
    pub provider: Provider,
    /// Where single plugins run, by name, whatever `isolation` says.
    pub isolation_of: BTreeMap<String, Isolation>,
}

/// How chart repositories are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Downloads {
    /// Address of a proxy; what `HTTPS_PROXY` and `NO_PROXY` say when empty.
    pub proxy: String,
    /// Hosts that are reached without that proxy, separated by commas.
    pub no_proxy: String,
    /// A PEM file of authorities that are believed beside the system's; empty for none.
    pub ca_file: PathBuf,
}

impl From<&Downloads> for chart::Downloads {
    fn from(settings: &Downloads) -> Self {
        Self {
            proxy: settings.proxy.clone(),
            no_proxy: settings.no_proxy.clone(),
            ca_file: (!settings.ca_file.as_os_str().is_empty()).then(|| settings.ca_file.clone()),
        }
    }
}

/// Who may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// What callers on this machine need.
    pub loopback: Loopback,
    /// Names that requests may be addressed to, besides those of the loopback: of a reverse proxy, say.
    pub hosts: Vec<String>,
}

/// What callers on this machine need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loopback {
    /// The token, like everybody.
    #[default]
    Token,
    /// Nothing: for clients of the original Meshery.
    Open,
}

/// How much a caller may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: usize,
    /// Of a backup that is sent to be restored.
    pub backup_bytes: u64,
    /// Of a plan that was reviewed and comes back.
    pub plan_bytes: u64,
    /// Of a bundle, made or loaded.
    pub bundle_bytes: u64,
    pub header_bytes: usize,
    pub connections: usize,
    pub header_seconds: u64,
    pub request_seconds: u64,
    /// For requests that read a cluster at length: plans and previews.
    pub plan_seconds: u64,
    /// From the signal to stop until the host ends, whatever still runs.
    pub drain_seconds: u64,
}

/// What is logged, and how it looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or directives as of `tracing_subscriber::EnvFilter`.
    pub level: String,
    pub format: LogFormat,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

const DAY: u64 = 24 * 60 * 60;

/// How hosts take turns at a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// What happens where a cluster does not let the host have a Lease.
    pub lease: LeaseNeeded,
    /// After so long without a sign of life of the host that holds a cluster, another one takes it.
    pub lease_seconds: u64,
}

/// How long operations are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operations {
    /// Of those that have ended, so many of the newest stay in any case.
    pub keep: usize,
    /// The others go so long after they have ended.
    pub keep_days: u64,
    /// Those that were planned and never run go after so long.
    pub keep_plans_days: u64,
}

/// Which provider is used, and what is handed to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    pub name: String,
    /// The provider's own settings; the host does not look into them.
    pub config: toml::Table,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9081)),
            data: std::env::home_dir().unwrap_or_default().join(".meshery"),
            plugins: Vec::new(),
            isolation: Isolation::Auto,
            applications: PathBuf::new(),
            mirror: PathBuf::new(),
            helm: PathBuf::new(),
            offline: false,
            core_dumps: false,
            repositories: Vec::new(),
            images: ImageSource::default(),
            downloads: Downloads::default(),
            auth: Auth::default(),
            limits: Limits::default(),
            log: Log::default(),
            cluster: Cluster::default(),
            operations: Operations::default(),
            provider: Provider::default(),
            isolation_of: BTreeMap::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            backup_bytes: 4 << 30,
            plan_bytes: 64 << 20,
            bundle_bytes: 1 << 30,
            header_bytes: 64 << 10,
            connections: 256,
            header_seconds: 15,
            request_seconds: 30,
            plan_seconds: 120,
            drain_seconds: 30,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        let LeaseSettings { term, needed } = LeaseSettings::default();
        Self {
            lease: needed,
            lease_seconds: term.as_secs(),
        }
    }
}

impl From<&Cluster> for LeaseSettings {
    fn from(settings: &Cluster) -> Self {
        Self {
            term: Duration::from_secs(settings.lease_seconds),
            needed: settings.lease,
        }
    }
}

impl Default for Operations {
    fn default() -> Self {
        let Retention {
            newest,
            ended,
            planned,
        } = Retention::default();
        Self {
            keep: newest,
            keep_days: ended.as_secs() / DAY,
            keep_plans_days: planned.as_secs() / DAY,
        }
    }
}

impl From<&Operations> for Retention {
    fn from(settings: &Operations) -> Self {
        Self {
            newest: settings.keep,
            ended: Duration::from_secs(settings.keep_days * DAY),
            planned: Duration::from_secs(settings.keep_plans_days * DAY),
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            name: "local".to_owned(),
            config: toml::Table::new(),
        }
    }
}

impl Limits {
    pub fn header(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    pub fn request(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }

    pub fn plan(&self) -> Duration {
        Duration::from_secs(self.plan_seconds)
    }

    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

impl Settings {
    /// What no type says: values that would leave a host nobody can use. The key and what is wrong with it.
    fn fault(&self) -> Option<(&'static str, String)> {
        let within = |key, value: u64, least: u64, most: u64| {
            (!(least..=most).contains(&value))
                .then(|| (key, format!("{value} is not between {least} and {most}")))
        };
        let limits = &self.limits;
        within("limits.body_bytes", limits.body_bytes as u64, 1024, 64 << 20)
            .or_else(|| within("limits.backup_bytes", limits.backup_bytes, 1024, 1 << 40))
            .or_else(|| within("limits.plan_bytes", limits.plan_bytes, 1024, 1 << 30))
            .or_else(|| within("limits.bundle_bytes", limits.bundle_bytes, 1024, 1 << 40))
            .or_else(|| within("limits.header_bytes", limits.header_bytes as u64, 8192, 1 << 20))
            .or_else(|| within("limits.connections", limits.connections as u64, 1, 65_536))
            .or_else(|| within("limits.header_seconds", limits.header_seconds, 1, 3600))
            .or_else(|| within("limits.request_seconds", limits.request_seconds, 1, 3600))
            .or_else(|| within("limits.plan_seconds", limits.plan_seconds, 1, 3600))
            .or_else(|| within("limits.drain_seconds", limits.drain_seconds, 1, 3600))
            .or_else(|| {
                let (least, most) = (*TERMS.start(), *TERMS.end());
                within("cluster.lease_seconds", self.cluster.lease_seconds, least, most)
            })
            .or_else(|| within("operations.keep_days", self.operations.keep_days, 0, 36_500))
            .or_else(|| {
                within(
                    "operations.keep_plans_days",
                    self.operations.keep_plans_days,
                    0,
                    36_500,
                )
            })
            .or_else(|| {
                let fault = chart::Downloads::from(&self.downloads).proxy_fault()?;
                Some(("downloads.proxy", fault))
            })
            .or_else(|| {
                let file = &self.downloads.ca_file;
                let is_fine = file.as_os_str().is_empty() || file.is_absolute();
                (!is_fine).then(|| {
                    let what = format!("{} is no absolute path", file.display());
                    ("downloads.ca_file", what)
                })
            })
            .or_else(|| {
                let (key, problem) = self.images.fault()?;
                Some((key, format!("{problem}; {}", problem.remedy)))
            })
            .or_else(|| {
                let data = "no data folder: HOME is not set";
                self.data.is_relative().then(|| ("data", data.to_owned()))
            })
            .or_else(|| {
                let level = &self.log.level;
                level_fault(level)
                    .map(|why| ("log.level", format!("\"{level}\" is no level or filter: {why}")))
            })
    }
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// What is wrong with a level or filter.
fn level_fault(text: &str) -> Option<String> {
    let mut parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .peekable();
    let hint = || {
        format!(
            "a level is one of {}; for one module, write module=level",
            LEVELS.join(", ")
        )
    };
    if parts.peek().is_none() {
        return Some(hint());
    }
    // A filter takes any word for the name of a module, and then nothing but that module would be logged.
    let is_word = |part: &str| {
        part.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    let is_level = |part: &str| {
        LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part))
            || matches!(part, "0" | "1" | "2" | "3" | "4" | "5")
    };
    if parts.any(|part| is_word(part) && !is_level(part)) {
        return Some(hint());
    }
    let parsed = text.parse::<tracing_subscriber::EnvFilter>();
    parsed.err().map(|error| format!("{error}; {}", hint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_log_level_is_refused_with_the_levels_there_are() {
        for level in [
            "info",
            "DEBUG",
            "off",
            "3",
            "warn,meshery_core=debug",
            "hyper::proto=trace,info",
            "warn,",
        ] {
            assert_eq!(level_fault(level), None, "{level}");
        }
        for level in [
            "inof",
            "",
            " ",
            ",",
            "verbose",
            "info,hypr",
            "meshery_core=inof",
            "6",
            "a=b=c",
        ] {
            let why = level_fault(level).unwrap_or_else(|| panic!("\"{level}\" is taken"));
            assert!(
                why.contains("error, warn, info, debug, trace, off"),
                "{level}: {why}"
            );
        }
    }
}
