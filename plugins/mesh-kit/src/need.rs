//! What an adapter needs to see, in few words.

use meshery_plugin_api::message::facts::{Detail, Need};

/// All objects of a kind that a selector finds ("" for all), in all namespaces.
pub fn everywhere(group: &str, kind: &str, selector: &str, detail: Detail) -> Need {
    within("", group, kind, selector, detail)
}

/// The objects of a kind in one namespace that a selector finds.
pub fn within(namespace: &str, group: &str, kind: &str, selector: &str, detail: Detail) -> Need {
    Need {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: String::new(),
        selector: selector.into(),
        detail,
    }
}

/// One object by name; the namespace is empty for cluster-wide kinds, and where every namespace may have one of that name.
pub fn one(namespace: &str, group: &str, kind: &str, name: &str, detail: Detail) -> Need {
    Need {
        name: name.into(),
        ..within(namespace, group, kind, "", detail)
    }
}

/// A namespace by name, in full: whether it is being deleted is in its status.
pub fn namespace(name: &str) -> Need {
    one("", "", "Namespace", name, Detail::Full)
}
