//! What the server's clock shows, by the date that every answer bears: certificates depend on it, and so on ours.

use http::HeaderMap;
use http::header::DATE;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;

/// By how many seconds the one who wrote these headers is ahead of a moment, if they say.
pub(super) fn ahead_s(headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(theirs.as_second() - now.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_compared_with_the_moment_it_came() {
        let of = |date: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, date.parse().unwrap());
            ahead_s(&headers, "2026-11-26T10:00:00.7Z".parse().unwrap())
        };
        assert_eq!(of("Thu, 26 Nov 2026 10:00:00 GMT"), Some(0));
        assert_eq!(of("Thu, 26 Nov 2026 10:02:01 GMT"), Some(121));
        assert_eq!(of("Thu, 26 Nov 2026 09:00:00 GMT"), Some(-3600));
        assert_eq!(of("yesterday"), None);
        assert_eq!(ahead_s(&HeaderMap::new(), Timestamp::now()), None);
    }
}
