//! A plugin's log: what it says with `tracing` becomes part of the host's log, inside the span of the call.
//!
//! A shared library has its own copy of tracing's dispatcher and of the panic hook, so that without this its events
//! would go nowhere and its panics to stderr.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::callsite::rebuild_interest_cache;
use tracing_core::subscriber::Interest;

use crate::abi::LogLine;
use crate::{guard, host};

/// How much is logged, pushed by the host: 0 for nothing to 5 for everything.
static LEVEL: AtomicU8 = AtomicU8::new(0);

thread_local! {
    /// Set while this thread hands an event over: what that logs itself is dropped.
    static BUSY: Cell<bool> = const { Cell::new(false) };
    static OPEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Makes the host's log the log of this library, once; the level is set each time.
pub(crate) fn install(level: u8) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = tracing::subscriber::set_global_default(ToHost);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !panic_to_host(info) {
                before(info);
            }
        }));
    });
    set_level(level);
}

pub(crate) fn set_level(level: u8) {
    if LEVEL.swap(level.min(5), Ordering::Relaxed) != level.min(5) {
        rebuild_interest_cache();
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Whether there was a host to tell.
fn panic_to_host(info: &PanicHookInfo<'_>) -> bool {
    let (file, line) = info.location().map_or(("", 0), |l| (l.file(), l.line()));
    guard::remember_place(format!("{file}:{line}"));
    let message = format!("the plugin panicked: {}", guard::text(info.payload()));
    send(1, "panic", file, line, &message, "{}")
}

fn send(level: u8, target: &str, file: &str, line: u32, message: &str, fields: &str) -> bool {
    if BUSY.try_with(|busy| busy.replace(true)).unwrap_or(true) {
        return false;
    }
    let host = host::connected();
    if let Some(host) = &host {
        let spans = OPEN_SPANS.open_names();
        host.log(LogLine {
            op: host::current_call(),
            level,
            line,
            target: target.into(),
            file: file.into(),
            message: message.into(),
            fields: fields.into(),
            spans: spans.as_str().into(),
        });
    }
    let _ = BUSY.try_with(|busy| busy.set(false));
    host.is_some()
}

/// Spans of the plugin by their ids, with how many handles each has.
struct Spans {
    known: Mutex<Option<HashMap<u64, (&'static str, usize)>>>,
    next: AtomicU64,
}

static OPEN_SPANS: Spans = Spans {
    known: Mutex::new(None),
    next: AtomicU64::new(1),
};

impl Spans {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<u64, (&'static str, usize)>) -> T) -> Option<T> {
        self.known
            .lock()
            .ok()
            .map(|mut known| f(known.get_or_insert_default()))
    }

    fn open_names(&self) -> String {
        let open = OPEN.try_with(|open| open.try_borrow().map(|o| o.clone()).unwrap_or_default());
        let open = open.unwrap_or_default();
        if open.is_empty() {
            return String::new();
        }
        self.with(|known| {
            open.iter()
                .filter_map(|id| known.get(id).map(|span| span.0))
                .collect::<Vec<_>>()
                .join(":")
        })
        .unwrap_or_default()
    }
}

struct ToHost;

impl Subscriber for ToHost {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if number(*metadata.level()) <= LEVEL.load(Ordering::Relaxed) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        number(*metadata.level()) <= LEVEL.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let id = OPEN_SPANS.next.fetch_add(1, Ordering::Relaxed).max(1);
        OPEN_SPANS.with(|known| known.insert(id, (attributes.metadata().name(), 1)));
        span::Id::from_u64(id)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = number(*event.metadata().level());
        let target = event.metadata().target();
        if !host::connected().is_some_and(|host| host.log_enabled(level, target.into())) {
            return;
        }
        let mut parts = Parts::default();
        event.record(&mut parts);
        let fields = if parts.fields.is_empty() {
            "{}".to_owned()
        } else {
            Value::Object(parts.fields).to_string()
        };
        let place = event.metadata();
        send(
            level,
            target,
            place.file().unwrap_or(""),
            place.line().unwrap_or(0),
            &parts.message,
            &fields,
        );
    }

    fn enter(&self, id: &span::Id) {
        let _ = OPEN.try_with(|open| open.borrow_mut().push(id.into_u64()));
    }

    fn exit(&self, id: &span::Id) {
        let _ = OPEN.try_with(|open| {
            let mut open = open.borrow_mut();
            if let Some(at) = open.iter().rposition(|o| *o == id.into_u64()) {
                open.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        OPEN_SPANS.with(|known| {
            if let Some(span) = known.get_mut(&id.into_u64()) {
                span.1 += 1;
            }
        });
        id.clone()
    }

    fn try_close(&self, id: span::Id) -> bool {
        OPEN_SPANS
            .with(|known| {
                let Some(span) = known.get_mut(&id.into_u64()) else {
                    return false;
                };
                span.1 -= 1;
                let last = span.1 == 0;
                if last {
                    known.remove(&id.into_u64());
                }
                last
            })
            .unwrap_or(false)
    }
}

/// An event's message and its other fields.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Map<String, Value>,
}

impl Parts {
    fn add(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.fields.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.add(field, format!("{value:?}").into());
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}
