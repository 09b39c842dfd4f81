//! Which `MESHERY_*` variables mean something, and which were meant to: a name that nobody knows is an error, like an
//! unknown key in the settings file, because a setting that silently does not hold is worse than a host that does
//! not start.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use super::layers::SettingsError;

const PREFIX: &str = "MESHERY_";

/// Variables that are not settings: the flag `--config`, and those of the client and of the tests, which share the
/// shell that a host is started from.
const OTHERS: [&str; 4] = [
    "MESHERY_CONFIG",
    "MESHERY_SERVER",
    "MESHERY_TOKEN_FILE",
    "MESHERY_CHARTS",
];
const OTHER_PREFIXES: [&str; 1] = ["MESHERY_TEST_"];

/// Settings that are tables of free names, so that only the file can have them.
const ONLY_IN_FILE: [(&str, &str); 2] = [
    ("MESHERY_PROVIDER_CONFIG", "[provider.config]"),
    ("MESHERY_ISOLATION_OF", "[isolation_of]"),
];

/// The variables whose names begin like ours.
pub(super) fn ours(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    let mut variables = Vec::new();
    for (name, value) in environment {
        if !name.as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let name = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) if is_foreign(&name, "") => {}
            Err(_) => {
                return Err(SettingsError::Value {
                    origin: name,
                    message: "the value is not UTF-8".to_owned(),
                });
            }
        }
    }
    Ok(variables)
}

/// Refuses a name that is neither that of a setting nor of something else that is known.
pub(super) fn check<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    settings: &[String],
) -> Result<(), SettingsError> {
    for (name, value) in variables {
        if settings.iter().any(|known| known == name) || is_foreign(name, value) {
            continue;
        }
        let origin = name.to_owned();
        if let Some((_, table)) = ONLY_IN_FILE.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            let message = format!("there is no such variable; say it in meshery.toml, under {table}");
            return Err(SettingsError::Value { origin, message });
        }
        let known = settings.iter().map(String::as_str).chain(["MESHERY_CONFIG"]);
        let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, name));
        let message = format!(
            "there is no such variable; the nearest is {}; `meshery --print-config` shows all settings, and \
             `limits.connections` is MESHERY_LIMITS_CONNECTIONS",
            nearest.unwrap_or("none")
        );
        return Err(SettingsError::Value { origin, message });
    }
    Ok(())
}

fn is_foreign(name: &str, value: &str) -> bool {
    OTHERS.contains(&name)
        || OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || is_of_a_service(name, value)
}

/// In a pod, Kubernetes announces each Service of the namespace by variables: one called `meshery` or `meshery-x`
/// begins like ours.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let ports = || {
        name.match_indices("_PORT_")
            .map(|(at, found)| &name[at + found.len()..])
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || ports().any(|rest| {
            let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let protocol = after.strip_prefix('_').unwrap_or_default();
            after.len() < rest.len()
                && ["TCP", "UDP", "SCTP"]
                    .iter()
                    .any(|known| protocol.starts_with(known))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        let settings = [
            "MESHERY_LISTEN",
            "MESHERY_LIMITS_CONNECTIONS",
            "MESHERY_LOG_LEVEL",
        ]
        .map(str::to_owned);
        check([(name, value)], &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_nearest_known_one() {
        for (name, nearest) in [
            ("MESHERY_LISTN", "MESHERY_LISTEN"),
            ("MESHERY_LOGLEVEL", "MESHERY_LOG_LEVEL"),
            ("MESHERY_LIMITS_CONECTIONS", "MESHERY_LIMITS_CONNECTIONS"),
            ("MESHERY_PORT", ""),
            ("MESHERY_", ""),
        ] {
            let said = checked(name, "x").unwrap_err();
            assert!(
                said.starts_with(&format!("{name}: ")) && said.contains(nearest),
                "{said}"
            );
        }
        let said = checked("MESHERY_PROVIDER_CONFIG_PATH", "x").unwrap_err();
        assert!(said.contains("[provider.config]"), "{said}");
    }

    #[test]
    fn variables_of_the_client_the_tests_and_of_services_in_kubernetes_are_no_fault() {
        for (name, value) in [
            ("MESHERY_LISTEN", "x"),
            ("MESHERY_CONFIG", "x"),
            ("MESHERY_SERVER", "x"),
            ("MESHERY_TOKEN_FILE", "x"),
            ("MESHERY_CHARTS", "x"),
            ("MESHERY_TEST_SEED", "x"),
            ("MESHERY_SERVICE_HOST", "10.0.0.1"),
            ("MESHERY_SERVICE_PORT", "9081"),
            ("MESHERY_SERVICE_PORT_HTTP", "9081"),
            ("MESHERY_PORT", "tcp://10.0.0.1:9081"),
            ("MESHERY_PORT_9081_TCP", "tcp://10.0.0.1:9081"),
            ("MESHERY_PORT_9081_TCP_PROTO", "tcp"),
            ("MESHERY_BROKER_SERVICE_HOST", "10.0.0.2"),
            ("MESHERY_BROKER_PORT_10000_UDP_ADDR", "10.0.0.2"),
        ] {
            assert_eq!(checked(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_value_that_is_no_text_is_an_error_only_where_it_means_something() {
        use std::os::unix::ffi::OsStringExt as _;
        let bad = || OsString::from_vec(b"/\xff".to_vec());
        let error = ours([("MESHERY_DATA".into(), bad())]).unwrap_err().to_string();
        assert!(
            error.starts_with("MESHERY_DATA: ") && error.contains("UTF-8"),
            "{error}"
        );
        for name in ["PATH", "MESHERY_CHARTS"] {
            assert!(ours([(name.into(), bad())]).unwrap().is_empty(), "{name}");
        }
    }
}
