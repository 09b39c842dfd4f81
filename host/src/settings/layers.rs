//! Where a setting comes from: the default, then `meshery.toml`, then `MESHERY_*`, then flags; the last one wins.
//!
//! All four become TOML tables of the same shape. The defaults, written as TOML, are the list of keys there are and
//! of the type each has, so that a new setting needs no line here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use thiserror::Error;
use toml::{Table, Value};

use super::Settings;
use super::environment;
use super::flags::Flags;

/// Settings as they are in force, and where each comes from.
#[derive(Debug)]
pub struct Effective {
    pub settings: Settings,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    origins: BTreeMap<String, Origin>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("the settings file {} cannot be read", file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column}: {message}", file.display())]
    File {
        file: PathBuf,
        line: usize,
        column: usize,
        message: String,
    },
    #[error("{origin}: {message}")]
    Value { origin: String, message: String },
    #[error(
        "{}: `data` cannot be set in the data folder's own file; use --data, MESHERY_DATA or --config FILE",
        file.display()
    )]
    DataMovesItself { file: PathBuf },
}

/// The keys whose values are paths, taken from the settings file's folder or, in flags and the environment, from
/// the present one.
const PATHS: [&str; 5] = ["data", "plugins", "applications", "mirror", "helm"];

impl Effective {
    /// Reads all sources. `environment` are the variables of the process.
    pub fn read(
        flags: &Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut all = Table::try_from(Settings::default()).expect("the defaults can be written as TOML");
        let mut origins = BTreeMap::new();
        for_each_leaf(&all, "", &mut |key, _| {
            origins.insert(key.to_owned(), Origin::Default);
        });
        let from_environment = environment_layer(&all, environment)?;
        let from_flags = flag_layer(flags)?;
        let file = if let Some(file) = &flags.config {
            Some(absolute(file))
        } else {
            let data = [&from_flags, &from_environment]
                .into_iter()
                .find_map(|layer| layer.get("data"))
                .map_or_else(|| all["data"].clone(), |(value, _)| value.clone());
            let file = Path::new(data.as_str().unwrap_or_default()).join("meshery.toml");
            file.exists().then_some(file)
        };
        if let Some(file) = &file {
            let table = read_file(file)?;
            if flags.config.is_none() && table.contains_key("data") {
                return Err(SettingsError::DataMovesItself { file: file.clone() });
            }
            for_each_leaf(&table, "", &mut |key, _| {
                origins.insert(key.to_owned(), Origin::File(file.clone()));
            });
            merge(&mut all, table, file.parent());
        }
        for (key, (value, origin)) in from_environment.into_iter().chain(from_flags) {
            insert(&mut all, &key, value);
            origins.insert(key, origin);
        }
        let origin_of = |key: &str| {
            origins
                .get(key)
                .filter(|origin| **origin != Origin::Default)
                .map_or_else(|| key.to_owned(), |origin| format!("{origin}: {key}"))
        };
        let settings: Settings =
            serde_path_to_error::deserialize(Value::Table(all)).map_err(|error| SettingsError::Value {
                origin: origin_of(&error.path().to_string()),
                message: error.inner().message().to_owned(),
            })?;
        if let Some((key, message)) = settings.fault() {
            return Err(SettingsError::Value {
                origin: origin_of(key),
                message,
            });
        }
        Ok(Self {
            settings,
            file,
            origins,
        })
    }
}

/// As TOML that can be used as `meshery.toml`, with the origin of each value in a comment.
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Table::try_from(&self.settings).map_err(|_| fmt::Error)?;
        let mut lines: BTreeMap<&str, Vec<(String, &Origin)>> = BTreeMap::new();
        let mut flat = BTreeMap::new();
        for_each_leaf(&all, "", &mut |key, value| {
            flat.insert(key.to_owned(), value.to_string());
        });
        for (key, value) in &flat {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
            let origin = self.origins.get(key).unwrap_or(&Origin::Default);
            lines
                .entry(table)
                .or_default()
                .push((format!("{name} = {value}"), origin));
        }
        writeln!(
            f,
            "# In force. Later ones win: default, meshery.toml, MESHERY_*, flags."
        )?;
        for (table, lines) in lines {
            if !table.is_empty() {
                writeln!(f, "\n[{table}]")?;
            }
            for (line, origin) in lines {
                writeln!(f, "{line:<48} # {origin}")?;
            }
        }
        Ok(())
    }
}

/// Calls with every value that is no table, by its dotted key.
fn for_each_leaf(table: &Table, prefix: &str, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(inner) => for_each_leaf(inner, &key, visit),
            value => visit(&key, value),
        }
    }
}

fn merge(into: &mut Table, from: Table, base: Option<&Path>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from, None),
            (_, value) => {
                let value = based(&name, value, base);
                into.insert(name, value);
            }
        }
    }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((name, rest)) => {
            let inner = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

type Layer = BTreeMap<String, (Value, Origin)>;

/// Checked as settings by itself first: only then an error can name the line.
fn read_file(file: &Path) -> Result<Table, SettingsError> {
    let text = std::fs::read_to_string(file).map_err(|source| SettingsError::Unreadable {
        file: file.to_owned(),
        source,
    })?;
    let at = |error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let before = &text[..start];
        SettingsError::File {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            message: error.message().to_owned(),
        }
    };
    let deserializer = toml::Deserializer::parse(&text).map_err(at)?;
    Settings::deserialize(deserializer).map_err(at)?;
    text.parse().map_err(at)
}

fn environment_layer(
    defaults: &Table,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Layer, SettingsError> {
    let variables: BTreeMap<String, String> = environment::ours(environment)?.into_iter().collect();
    let mut layer = Layer::new();
    let mut names = Vec::new();
    let mut fault = None;
    for_each_leaf(defaults, "", &mut |key, default| {
        let name = format!("MESHERY_{}", key.replace('.', "_").to_uppercase());
        names.push(name.clone());
        let Some(text) = variables.get(&name) else { return };
        match like(key, default, text) {
            Ok(value) => {
                let value = based(key, value, None);
                layer.insert(key.to_owned(), (value, Origin::Environment(name)));
            }
            Err(message) => {
                fault.get_or_insert(SettingsError::Value {
                    origin: name,
                    message,
                });
            }
        }
    });
    if let Some(fault) = fault {
        return Err(fault);
    }
    let variables = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    environment::check(variables, &names)?;
    Ok(layer)
}

/// A text as a value of the type that the default has.
fn like(key: &str, default: &Value, text: &str) -> Result<Value, String> {
    match default {
        Value::Integer(_) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| format!("\"{text}\" is not a whole number")),
        Value::Boolean(_) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| format!("\"{text}\" is neither true nor false")),
        Value::Array(_) if PATHS.contains(&key) => Ok(Value::Array(
            std::env::split_paths(text)
                .filter(|path| !path.as_os_str().is_empty())
                .map(|path| Value::String(path.to_string_lossy().into_owned()))
                .collect(),
        )),
        Value::Array(_) => Ok(Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        )),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn flag_layer(flags: &Flags) -> Result<Layer, SettingsError> {
    for (flag, path) in flags
        .data
        .iter()
        .map(|path| ("--data", path))
        .chain(flags.plugins.iter().map(|path| ("--plugins", path)))
    {
        if path.to_str().is_none() {
            return Err(SettingsError::Value {
                origin: flag.to_owned(),
                message: format!("the path {} is not UTF-8", path.display()),
            });
        }
    }
    let path = |path: &Path| Value::String(absolute(path).to_string_lossy().into_owned());
    let mut layer = Layer::new();
    let mut put = |key: &str, value: Option<Value>, flag| {
        if let Some(value) = value {
            layer.insert(key.to_owned(), (value, Origin::Flag(flag)));
        }
    };
    let listen = flags.listen.map(|address| Value::String(address.to_string()));
    put("listen", listen, "--listen");
    put("data", flags.data.as_deref().map(path), "--data");
    let plugins = flags.plugins.iter().map(|folder| path(folder)).collect();
    let plugins = (!flags.plugins.is_empty()).then_some(Value::Array(plugins));
    put("plugins", plugins, "--plugins");
    Ok(layer)
}

/// Makes paths absolute, so that nothing depends on the present folder later. A bare `helm` is searched on PATH.
fn based(key: &str, value: Value, base: Option<&Path>) -> Value {
    let is_path =
        |text: &str| PATHS.contains(&key) && !text.is_empty() && (key != "helm" || text.contains('/'));
    match value {
        Value::String(text) if is_path(&text) => {
            let home = text.strip_prefix("~/").zip(std::env::home_dir());
            let path = home.map_or_else(|| PathBuf::from(&text), |(rest, home)| home.join(rest));
            let path = base.map_or(path.clone(), |base| base.join(path));
            Value::String(absolute(&path).to_string_lossy().into_owned())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| based(key, item, base)).collect()),
        value => value,
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str, environment: &[(&str, &str)], flags: Flags) -> Result<Effective, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("settings.toml");
        std::fs::write(&config, toml).unwrap();
        let flags = Flags {
            config: Some(config),
            ..flags
        };
        let environment = environment
            .iter()
            .map(|(k, v)| (OsString::from(k), OsString::from(v)));
        Effective::read(&flags, environment)
    }

    fn fault(toml: &str, environment: &[(&str, &str)]) -> String {
        read(toml, environment, Flags::default()).unwrap_err().to_string()
    }

    #[test]
    fn later_sources_win() {
        let toml = "listen = \"127.0.0.1:1\"\nmirror = \"charts\"\napplications = \"mine\"\n[limits]\nconnections = 7\n";
        let environment = [("MESHERY_LISTEN", "127.0.0.1:2"), ("MESHERY_OFFLINE", "true")];
        let flags = Flags {
            listen: Some("127.0.0.1:3".parse().unwrap()),
            ..Flags::default()
        };
        let effective = read(toml, &environment, flags).unwrap();
        let settings = &effective.settings;
        assert_eq!(settings.listen.port(), 3);
        assert_eq!(settings.limits.connections, 7);
        assert!(settings.offline);
        assert!(settings.mirror.is_absolute() && settings.mirror.ends_with("charts"));
        let beside = settings.mirror.with_file_name("mine");
        assert_eq!(settings.applications, beside);
        let printed = effective.to_string();
        let line = |start: &str| printed.lines().find(|l| l.starts_with(start)).unwrap().to_owned();
        assert!(line("listen").ends_with("# --listen"), "{printed}");
        assert!(line("offline").ends_with("# MESHERY_OFFLINE"), "{printed}");
        assert!(line("connections").contains("settings.toml"), "{printed}");
        assert!(line("isolation").ends_with("# default"), "{printed}");
        let again: Settings = toml::from_str(&printed).unwrap();
        assert_eq!(&again, settings);
    }

    #[test]
    fn unknown_key_is_named_with_line_and_column() {
        let message = fault("offline = true\n[limits]\n  conections = 5\n", &[]);
        assert!(message.contains("settings.toml:3:3:"), "{message}");
        assert!(message.contains("conections"), "{message}");
    }

    #[test]
    fn wrong_type_and_bad_syntax_are_named_with_line_and_column() {
        let message = fault("\nlisten = 9081\n", &[]);
        assert!(message.contains("settings.toml:2:10:"), "{message}");
        let message = fault("listen = \n", &[]);
        assert!(message.contains("settings.toml:1:"), "{message}");
    }

    #[test]
    fn a_bad_variable_is_named() {
        let message = fault("", &[("MESHERY_LIMITS_CONNECTIONS", "many")]);
        assert!(message.starts_with("MESHERY_LIMITS_CONNECTIONS: "), "{message}");
        let message = fault("", &[("MESHERY_AUTH_LOOPBACK", "wide")]);
        assert!(message.starts_with("MESHERY_AUTH_LOOPBACK: "), "{message}");
        assert!(message.contains("wide"), "{message}");
        let message = fault("", &[("MESHERY_LIMITS_CONNECTIONS", "0")]);
        assert!(message.starts_with("MESHERY_LIMITS_CONNECTIONS: "), "{message}");
    }

    #[test]
    fn a_mistyped_variable_is_an_error_like_a_mistyped_key() {
        let message = fault("", &[("MESHERY_LISTN", "127.0.0.1:1")]);
        assert!(
            message.starts_with("MESHERY_LISTN: ") && message.contains("nearest is MESHERY_LISTEN"),
            "{message}"
        );
        let message = fault("", &[("MESHERY_LOG_LEVEL", "inof")]);
        assert!(message.starts_with("MESHERY_LOG_LEVEL: "), "{message}");
        assert!(
            message.contains("\"inof\"") && message.contains("error, warn, info"),
            "{message}"
        );
    }

    #[test]
    fn plugins_keep_their_own_tables() {
        let toml = "[provider.config]\npath = \"x\"\n[isolation_of]\ndemo = \"child\"\n";
        let settings = read(toml, &[], Flags::default()).unwrap().settings;
        assert_eq!(settings.provider.config["path"].as_str(), Some("x"));
        assert_eq!(
            settings.isolation_of["demo"],
            meshery_core::plugin::Isolation::Child
        );
    }

    #[test]
    fn data_folders_own_file_cannot_name_another_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("meshery.toml"), "data = \"/elsewhere\"\n").unwrap();
        let flags = Flags {
            data: Some(folder.path().to_owned()),
            ..Flags::default()
        };
        let error = Effective::read(&flags, []).unwrap_err();
        assert!(matches!(error, SettingsError::DataMovesItself { .. }), "{error}");
    }
}
