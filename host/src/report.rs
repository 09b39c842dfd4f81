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
    pub contexts: Result<Vec<ContextInfo>, Problem>,
}

/// Whoever started us may not listen; that is no reason to end.
pub fn print(what: &impl fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "{what}").and_then(|()| out.flush());
}

impl fmt::Display for Started<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            effective,
            address,
            plugins,
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
                if !error.remedy.is_empty() {
                    writeln!(f, "            what to do: {}", error.remedy)?;
                }
            }
        }
        self.clusters(f)?;
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
                writeln!(f, "            what to do: {}", problem.remedy)
            }
            Ok(contexts) => {
                let names: Vec<_> = contexts
                    .iter()
                    .map(|context| {
                        let current = if context.current { " (current)" } else { "" };
                        format!("{}{current}", context.context)
                    })
                    .collect();
                writeln!(f, "  clusters  {}", names.join(", "))
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
