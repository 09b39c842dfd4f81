//! The moment, as text.

use k8s_openapi::jiff::{Timestamp, Unit};

/// Now, RFC 3339 in UTC with milliseconds.
pub(crate) fn now() -> String {
    let now = Timestamp::now();
    text(now.round(Unit::Millisecond).unwrap_or(now))
}

/// So many milliseconds after a moment; the moment itself when it is none.
pub(crate) fn later(moment: &str, milliseconds: i64) -> String {
    millis(moment)
        .and_then(|start| Timestamp::from_millisecond(start.checked_add(milliseconds)?).ok())
        .map_or_else(|| moment.to_owned(), text)
}

fn text(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

/// The moment a text names, in milliseconds since 1970.
pub(crate) fn millis(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_milliseconds_and_reads_back() {
        let text = now();
        assert_eq!(text.len(), "2026-11-22T10:00:00.123Z".len(), "{text}");
        let age = Timestamp::now().as_millisecond() - millis(&text).unwrap();
        assert!((0..60_000).contains(&(age + 1)), "{age}");
        assert_eq!(later("2026-11-22T10:00:59.999Z", 2), "2026-11-22T10:01:00.001Z");
    }
}
