//! Numbers for Prometheus.

use std::time::Duration;

use http::Method;
use meshery_core::plugin::PluginStatus;
use prometheus::{
    Encoder as _, Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// All of them.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    latency: HistogramVec,
    refused_connections: prometheus::IntCounter,
    pub connections: IntGauge,
    pub listeners: IntGauge,
    operations: IntGaugeVec,
    plugins: IntGaugeVec,
    resident: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("meshery_requests_total", "Requests answered"),
            &["route", "method", "status"],
        );
        let latency = HistogramVec::new(
            HistogramOpts::new("meshery_request_seconds", "Time until an answer began").buckets(vec![
                0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0,
            ]),
            &["route"],
        );
        let operations = IntGaugeVec::new(
            Opts::new(
                "meshery_operations",
                "The newest operations (500 at most) by state",
            ),
            &["state"],
        );
        let plugins = IntGaugeVec::new(
            Opts::new("meshery_plugins", "Plugins by kind, name and state"),
            &["kind", "name", "state"],
        );
        let metrics = Self {
            requests: registered(&registry, requests),
            latency: registered(&registry, latency),
            refused_connections: registered(
                &registry,
                prometheus::IntCounter::new(
                    "meshery_refused_connections_total",
                    "Connections over the limit",
                ),
            ),
            connections: registered(
                &registry,
                IntGauge::new("meshery_connections", "Open connections"),
            ),
            listeners: registered(
                &registry,
                IntGauge::new("meshery_event_listeners", "Listeners to events"),
            ),
            operations: registered(&registry, operations),
            plugins: registered(&registry, plugins),
            resident: registered(
                &registry,
                Gauge::new(
                    "process_resident_memory_bytes",
                    "Resident memory of the host's process",
                ),
            ),
            registry,
        };
        metrics.listeners.set(0);
        metrics
    }

    pub fn answered(&self, route: &str, method: &Method, status: u16, took: Duration) {
        // Methods can be invented by callers; each would be kept forever.
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") => known,
            _ => "other",
        };
        self.requests
            .with_label_values(&[route, method, &status.to_string()])
            .inc();
        self.latency
            .with_label_values(&[route])
            .observe(took.as_secs_f64());
    }

    pub fn refused_connection(&self) {
        self.refused_connections.inc();
    }

    pub fn set_operations<'a>(&self, states: impl IntoIterator<Item = &'a str>) {
        self.operations.reset();
        for state in states {
            self.operations.with_label_values(&[state]).inc();
        }
    }

    pub fn set_plugins(&self, plugins: &[PluginStatus]) {
        self.plugins.reset();
        for plugin in plugins {
            let word = |value: serde_json::Value| value.as_str().unwrap_or("unknown").to_owned();
            let kind = word(serde_json::json!(plugin.kind));
            let state = word(serde_json::json!(plugin.state));
            self.plugins
                .with_label_values(&[&kind, &plugin.name, &state])
                .inc();
        }
    }

    /// As Prometheus reads it.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn text(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes as f64);
        }
        let mut text = Vec::new();
        // Writing into memory does not fail, and what is written is text.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("names and labels of metrics are valid");
    registry
        .register(Box::new(collector.clone()))
        .expect("every metric is registered once");
    collector
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
