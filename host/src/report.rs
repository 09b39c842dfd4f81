//! What the host says on standard output when it has started.

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;

use meshery_core::cluster::ContextInfo;
use meshery_core::plugin::{PluginState, PluginStatus};
use meshery_core::problem::Problem;
use meshery_plugin_api::message::descriptor::PluginKind;

use crate::settings::{Effective, Loopback, Settings};

/// A host that serves.
pub struct Started<'a> {
    pub effective: &'a Effective,
    pub address: SocketAddr,
    pub plugins: Vec<PluginStatus>,
    /// Why there is no provider.
    pub no_provider: Option<Problem>,
    /// The version of the helm program.
    pub helm: Result<String, Problem>,
    pub contexts: Result<Vec<ContextInfo>, Problem>,
    pub notices: &'a [Problem],
    /// Why the store cannot be written to.
    pub store: Option<String>,
}

/// Whoever started us may not listen; that is no reason to end.
pub fn print(what: &impl fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{what}").and_then(|()| out.flush());
}

fn to_do(f: &mut fmt::Formatter<'_>, remedy: &str) -> fmt::Result {
    if remedy.is_empty() {
        return Ok(());
    }
    writeln!(f, "            what to do: {remedy}")
}

impl fmt::Display for Started<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            effective,
            address,
            plugins,
            notices,
            ..
        } = self;
        let settings = &effective.settings;
        let data = settings.data.display();
        writeln!(
            f,
            "meshery {} serves on http://{address}",
            env!("CARGO_PKG_VERSION")
        )?;
        writeln!(f, "  data      {data} (token: {data}/token)")?;
        if let Some(file) = &effective.file {
            writeln!(f, "  settings  {}", file.display())?;
        }
        self.loaded(f)?;
        for plugin in plugins.iter().filter(|p| p.state != PluginState::Loaded) {
            writeln!(f, "  refused   {}", plugin.file.display())?;
            if let Some(error) = &plugin.error {
                writeln!(f, "            {} [{}]", error, error.code)?;
                to_do(f, &error.remedy)?;
            }
        }
        if let Some(problem) = &self.no_provider {
            writeln!(f, "  provider  none: {problem}")?;
            to_do(f, &problem.remedy)?;
        }
        match &self.helm {
            Ok(version) => writeln!(f, "  helm      {version}")?,
            Err(problem) => {
                writeln!(
                    f,
                    "  helm      none: {problem}; meshes that come as charts cannot be installed"
                )?;
                to_do(f, &problem.remedy)?;
            }
        }
        let mirror = &settings.mirror;
        if !mirror.as_os_str().is_empty() && !mirror.is_dir() {
            writeln!(
                f,
                "  warning   there is no folder {} to be the mirror of charts",
                mirror.display()
            )?;
            to_do(
                f,
                "correct the setting mirror, or make the folder; charts are looked for at each plan",
            )?;
        }
        if let Some(why) = &self.store {
            writeln!(f, "  NO WRITES the provider can only be read: {why}")?;
        }
        self.clusters(f)?;
        for notice in *notices {
            writeln!(f, "  warning   {notice} [{}]", notice.code)?;
            to_do(f, &notice.remedy)?;
        }
        if settings.auth.loopback == Loopback::Open {
            writeln!(
                f,
                "  note      callers on this machine need no token ([auth] loopback = \"open\")"
            )?;
        }
        if !settings.listen.ip().is_loopback() {
            writeln!(
                f,
                "  note      reachable from other machines, without encryption: put a TLS proxy in front"
            )?;
        }
        self.next(f)
    }
}

impl Started<'_> {
    fn loaded(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loaded: Vec<_> = self
            .plugins
            .iter()
            .filter(|plugin| plugin.state == PluginState::Loaded)
            .collect();
        let width = |text: fn(&PluginStatus) -> usize| loaded.iter().map(|p| text(p)).max().unwrap_or(0);
        let (names, versions) = (width(|p| p.name.len()), width(|p| p.version.len()));
        for plugin in &loaded {
            let kind = serde_json::json!(plugin.kind);
            writeln!(
                f,
                "  {:<8}  {:names$}  {:versions$}  {:<10}  {}",
                kind.as_str().unwrap_or_default(),
                plugin.name,
                plugin.version,
                plugin.mode.to_string(),
                plugin.file.display()
            )?;
        }
        if loaded.is_empty() {
            writeln!(
                f,
                "  plugins   none: put plugins beside the program or name their folder with --plugins"
            )?;
        }
        Ok(())
    }

    fn clusters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.contexts {
            Err(problem) => {
                writeln!(f, "  clusters  none: {problem}")?;
                to_do(f, &problem.remedy)
            }
            Ok(contexts) => {
                let (usable, unusable): (Vec<_>, Vec<_>) =
                    contexts.iter().partition(|context| context.problem.is_none());
                let names: Vec<_> = usable
                    .iter()
                    .map(|context| {
                        let current = if context.current { " (current)" } else { "" };
                        format!("{}{current}", context.context)
                    })
                    .collect();
                let names = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                writeln!(f, "  clusters  {names}")?;
                for context in unusable {
                    if let Some(problem) = &context.problem {
                        writeln!(f, "  unusable  {}: {problem} [{}]", context.context, problem.code)?;
                        to_do(f, &problem.remedy)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        let data = self.effective.settings.data.display();
        let usual = Settings::default();
        let ctl = if *address == usual.listen && self.effective.settings.data == usual.data {
            String::new()
        } else {
            format!(" --server http://{address} --token-file {data}/token")
        };
        let mesh = self
            .plugins
            .iter()
            .find(|plugin| plugin.state == PluginState::Loaded && plugin.kind == PluginKind::Adapter);
        writeln!(f, "try next")?;
        writeln!(f, "  mesheryctl adapter list{ctl}")?;
        if let Some(mesh) = mesh {
            writeln!(f, "  mesheryctl mesh plan {}{ctl}", mesh.name)?;
        }
        writeln!(
            f,
            "  curl -H \"Authorization: Bearer $(cat {data}/token)\" http://{address}/api/v1/plugins"
        )
    }
}
