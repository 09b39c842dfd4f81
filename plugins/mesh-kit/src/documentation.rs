//! Where more is written about a finding.

use meshery_plugin_api::message::finding::{Finding, Installation, Severity};

/// Addresses by the code of a finding.
pub type Pages = &'static [(&'static str, &'static str)];

/// About what every mesh may find.
const OF_KUBERNETES: Pages = &[
    (
        "facts-incomplete",
        "https://kubernetes.io/docs/reference/access-authn-authz/rbac/",
    ),
    (
        "namespace-terminating",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/",
    ),
    (
        "clock-skew",
        "https://kubernetes.io/docs/setup/best-practices/certificates/",
    ),
    (
        "webhook-without-endpoints",
        "https://kubernetes.io/docs/concepts/cluster-administration/admission-webhooks-good-practices/",
    ),
    (
        "webhook-of-others",
        "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/",
    ),
];

/// The findings, those that ask for something with the address of a page: the mesh's own for their code, Kubernetes', or
/// `general`.
pub fn added(mut findings: Vec<Finding>, own: Pages, general: &str) -> Vec<Finding> {
    for finding in &mut findings {
        if finding.severity == Severity::Info || finding.remedy.contains("https://") {
            continue;
        }
        let page = own
            .iter()
            .chain(OF_KUBERNETES)
            .find(|(code, _)| *code == finding.code)
            .map_or(general, |(_, page)| page);
        if finding.remedy.is_empty() {
            finding.remedy = format!("see {page}");
        } else {
            finding.remedy.push_str("; see ");
            finding.remedy.push_str(page);
        }
    }
    findings
}

/// The same for all that was found of installations, and of what our operations would come to on them.
pub fn added_to(installations: &mut [Installation], own: Pages, general: &str) {
    for found in installations {
        let of_prospects = found.prospects.iter_mut().map(|prospect| &mut prospect.findings);
        for findings in of_prospects.chain([&mut found.findings]) {
            *findings = added(std::mem::take(findings), own, general);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_something_has_an_address_and_only_one() {
        let found = added(
            vec![
                Finding::error("own", "").remedy("do it"),
                Finding::warning("webhook-of-others", ""),
                Finding::warning("else", "").remedy("so"),
                Finding::warning("said", "").remedy("see https://there.example"),
                Finding::info("told", ""),
            ],
            &[("own", "https://own.example")],
            "https://general.example",
        );
        let remedies: Vec<&str> = found.iter().map(|finding| finding.remedy.as_str()).collect();
        assert_eq!(
            remedies,
            [
                "do it; see https://own.example",
                "see https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/",
                "so; see https://general.example",
                "see https://there.example",
                "",
            ]
        );
    }
}
