//! Sample applications: manifests that are part of the library, for any namespace.
//!
//! They are compiled in, so that a failed download can never look like an application that was deployed. What is
//! common to all their objects (namespace, labels) is added here and not repeated in each file.

use meshery_plugin_api::PluginError;
use meshery_plugin_api::message::descriptor::{Category, Operation};
use meshery_plugin_api::message::facts::Need;
use serde_json::Value;

use crate::application::{self, Application, Codes};
use crate::{manifest, schema};

/// Label that all objects of a sample carry.
const PART_OF: &str = "app.kubernetes.io/part-of";

/// The kinds that samples consist of, by group and kind.
const KINDS: [(&str, &str); 3] = [("apps", "Deployment"), ("", "Service"), ("", "ServiceAccount")];

/// A sample application.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Its name, the value of its label, and the namespace it goes to when none is named.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What people may reach from outside: paths and who answers there, the more particular ones first.
    pub ways_in: &'static [WayIn],
    /// File names and their content, for messages and for reading.
    files: &'static [(&'static str, &'static str)],
}

/// Paths that lead from outside to one of a sample's services.
#[derive(Debug, Clone, Copy)]
pub struct WayIn {
    /// The paths; none for all that are left.
    pub paths: &'static [Path],
    /// The service.
    pub service: &'static str,
    /// Its port.
    pub port: u16,
}

/// A path of a way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// This one.
    Exact(&'static str),
    /// All that begin so.
    Prefix(&'static str),
}

/// Bookinfo: four services, one of them in three versions.
pub const BOOKINFO: Sample = Sample {
    name: "bookinfo",
    title: "Bookinfo",
    ways_in: &[WayIn {
        paths: &[
            Path::Exact("/productpage"),
            Path::Prefix("/static"),
            Path::Exact("/login"),
            Path::Exact("/logout"),
            Path::Prefix("/api/v1/products"),
        ],
        service: "productpage",
        port: 9080,
    }],
    files: &[
        ("details.yaml", include_str!("../samples/bookinfo/details.yaml")),
        ("ratings.yaml", include_str!("../samples/bookinfo/ratings.yaml")),
        ("reviews.yaml", include_str!("../samples/bookinfo/reviews.yaml")),
        (
            "productpage.yaml",
            include_str!("../samples/bookinfo/productpage.yaml"),
        ),
    ],
};

/// httpbin: one service that answers with what it was asked.
pub const HTTPBIN: Sample = Sample {
    name: "httpbin",
    title: "httpbin",
    ways_in: &[WayIn {
        paths: &[],
        service: "httpbin",
        port: 8000,
    }],
    files: &[("httpbin.yaml", include_str!("../samples/httpbin/httpbin.yaml"))],
};

/// Image Hub: a page and an API, made to show filters.
pub const IMAGE_HUB: Sample = Sample {
    name: "imagehub",
    title: "Image Hub",
    ways_in: &[
        WayIn {
            paths: &[
                Path::Prefix("/auth"),
                Path::Prefix("/pull"),
                Path::Prefix("/signup"),
                Path::Prefix("/upgrade"),
            ],
            service: "api",
            port: 9091,
        },
        WayIn {
            paths: &[],
            service: "web",
            port: 8080,
        },
    ],
    files: &[
        ("api.yaml", include_str!("../samples/imagehub/api.yaml")),
        ("web.yaml", include_str!("../samples/imagehub/web.yaml")),
    ],
};

/// EmojiVoto: three services, and somebody who votes all the time.
pub const EMOJIVOTO: Sample = Sample {
    name: "emojivoto",
    title: "EmojiVoto",
    ways_in: &[WayIn {
        paths: &[],
        service: "web-svc",
        port: 80,
    }],
    files: &[
        ("emoji.yaml", include_str!("../samples/emojivoto/emoji.yaml")),
        ("voting.yaml", include_str!("../samples/emojivoto/voting.yaml")),
        ("web.yaml", include_str!("../samples/emojivoto/web.yaml")),
        (
            "vote-bot.yaml",
            include_str!("../samples/emojivoto/vote-bot.yaml"),
        ),
    ],
};

/// All of them.
pub const SAMPLES: [&Sample; 4] = [&BOOKINFO, &HTTPBIN, &IMAGE_HUB, &EMOJIVOTO];

impl Sample {
    /// Its manifests for a namespace.
    pub fn manifests(&self, namespace: &str) -> Result<Vec<Value>, PluginError> {
        let mut manifests = Vec::new();
        for (file, text) in self.files {
            let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
                PluginError::new("sample-broken", format!("{}/{file}: {error}", self.name))
                    .cause("the plugin was built with a manifest that is not YAML")
            })?;
            for mut document in documents {
                manifest::fill(&mut document, namespace);
                document["metadata"]["namespace"] = namespace.into();
                document["metadata"]["labels"][PART_OF] = self.name.into();
                manifests.push(document);
            }
        }
        Ok(manifests)
    }

    /// The sample as it is to be in a namespace.
    pub fn in_namespace(&self, namespace: &str) -> Result<Application, PluginError> {
        Ok(Application {
            title: self.title.into(),
            namespace: namespace.into(),
            objects: self.manifests(namespace)?,
            step: self.name.into(),
            codes: Codes {
                not_deployed: format!("{}-not-deployed", self.name),
                of_others: "sample-of-others",
            },
            mark: None,
        })
    }

    /// What must be read to know what of it is there, and what of others has the same names. `namespace` may have
    /// braces.
    pub fn needs(&self, namespace: &str) -> Vec<Need> {
        application::needs(namespace, KINDS)
    }

    /// The parameter of every operation about it that says where it is.
    pub fn namespace_parameter(&self, description: &str) -> (&'static str, Value) {
        ("namespace", schema::namespace(description, self.name))
    }

    /// Removing it, which takes the namespace it is in.
    pub fn remove_operation(&self, needs: Vec<Need>) -> Operation {
        Operation {
            name: format!("remove-{}", self.name),
            category: Category::SampleApplication,
            description: format!(
                "Removes the sample application {}, as far as Meshery made it",
                self.title
            ),
            parameters: schema::object([self.namespace_parameter("Namespace of the application")], &[]),
            needs,
        }
    }
}

#[cfg(test)]
mod tests;
