//! The project's own pages about findings.

use meshery_mesh_kit::documentation::Pages;

/// Where more is written about findings, by their codes.
pub const PAGES: Pages = &[
    (
        "kubernetes-version",
        "https://linkerd.io/2-edge/reference/k8s-versions/",
    ),
    (
        "linkerd-trust-missing",
        "https://linkerd.io/2-edge/tasks/generate-certificates/",
    ),
    (
        "linkerd-issuer-type",
        "https://linkerd.io/2-edge/tasks/generate-certificates/",
    ),
    (
        "linkerd-issuer-key-missing",
        "https://linkerd.io/2-edge/tasks/generate-certificates/",
    ),
    (
        "linkerd-anchor-expires",
        "https://linkerd.io/2-edge/tasks/manually-rotating-control-plane-tls-credentials/",
    ),
    (
        "linkerd-issuer-expires",
        "https://linkerd.io/2-edge/tasks/manually-rotating-control-plane-tls-credentials/",
    ),
    (
        "linkerd-issuer-expired",
        "https://linkerd.io/2-edge/tasks/replacing_expired_certificates/",
    ),
    (
        "linkerd-anchor-expired",
        "https://linkerd.io/2-edge/tasks/replacing_expired_certificates/",
    ),
    (
        "linkerd-issuer-algorithm",
        "https://linkerd.io/2-edge/tasks/generate-certificates/",
    ),
    (
        "linkerd-issuer-no-authority",
        "https://linkerd.io/2-edge/tasks/generate-certificates/",
    ),
    (
        "linkerd-issuer-unchained",
        "https://linkerd.io/2-edge/tasks/generate-certificates/",
    ),
    (
        "linkerd-issuer-unreadable",
        "https://linkerd.io/2-edge/tasks/generate-certificates/",
    ),
    (
        "linkerd-issuer-outlives",
        "https://linkerd.io/2-edge/tasks/manually-rotating-control-plane-tls-credentials/",
    ),
    (
        "linkerd-anchor-behind",
        "https://linkerd.io/2-edge/tasks/manually-rotating-control-plane-tls-credentials/",
    ),
    (
        "linkerd-anchor-holds",
        "https://linkerd.io/2-edge/tasks/manually-rotating-control-plane-tls-credentials/",
    ),
    (
        "linkerd-cut-off",
        "https://linkerd.io/2-edge/tasks/manually-rotating-control-plane-tls-credentials/",
    ),
    (
        "linkerd-trust-of-others",
        "https://linkerd.io/2-edge/tasks/automatically-rotating-control-plane-tls-credentials/",
    ),
    (
        "linkerd-pods-of-no-workload",
        "https://linkerd.io/2-edge/tasks/replacing_expired_certificates/",
    ),
    (
        "linkerd-webhook-expires",
        "https://linkerd.io/2-edge/tasks/automatically-rotating-webhook-tls-credentials/",
    ),
    (
        "linkerd-webhook-expired",
        "https://linkerd.io/2-edge/tasks/automatically-rotating-webhook-tls-credentials/",
    ),
    (
        "linkerd-openshift",
        "https://linkerd.io/2-edge/reference/cluster-configuration/",
    ),
    (
        "linkerd-gateway-api-missing",
        "https://linkerd.io/2-edge/features/gateway-api/",
    ),
    (
        "linkerd-cluster-networks",
        "https://linkerd.io/2-edge/reference/cluster-configuration/",
    ),
    ("linkerd-ipv6", "https://linkerd.io/2-edge/features/ipv6/"),
    ("linkerd-cni-nodes", "https://linkerd.io/2-edge/features/cni/"),
    ("linkerd-ha-nodes", "https://linkerd.io/2-edge/features/ha/"),
    ("linkerd-stable-ended", "https://linkerd.io/releases/"),
    (
        "linkerd-extension-skew",
        "https://linkerd.io/2-edge/tasks/upgrade/",
    ),
    (
        "linkerd-extensions-behind",
        "https://linkerd.io/2-edge/tasks/upgrade/",
    ),
    ("linkerd-skew", "https://linkerd.io/2-edge/tasks/upgrade/"),
    ("linkerd-downgrade", "https://linkerd.io/2-edge/tasks/upgrade/"),
    ("namespaces-in-mesh", "https://linkerd.io/2-edge/tasks/uninstall/"),
];
/// About all else.
pub const PAGE: &str = "https://linkerd.io/2-edge/tasks/install-helm/";
