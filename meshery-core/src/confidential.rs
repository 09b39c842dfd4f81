//! Texts that people gave and that may be secret, so that whoever repeats them to us (a chart that refuses its values,
//! Helm, a plugin that fails) does not repeat them to others.
//!
//! Known is a text as it was given, quoted, in base64, and, of one of several lines, each long line. What is made of
//! it otherwise, a half of it or a checksum, cannot be recognised; and what is short may be found in any text, where it
//! means nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meshery_plugin_api::PluginError;
use parking_lot::Mutex;
use serde_json::Value;

/// A secret that is shorter may be found in any text, and mean nothing there.
pub(crate) const TELLING: usize = 8;
/// What stands in the place of a text that is not told.
pub(crate) const HIDDEN: &str = "(not shown)";
/// A line of a text that is a secret by itself: those of keys are longer, and most of configuration's are shorter.
const LINE: usize = 24;
/// How long a call's texts are known after its end: what a process writes on standard error comes when it comes.
const LINGERING: Duration = Duration::from_mins(1);

/// Texts that are told to nobody.
#[derive(Clone, Default)]
pub(crate) struct Confidential {
    texts: BTreeSet<String>,
    /// Their forms, the longest first; made when something is hidden for the first time.
    forms: OnceLock<Vec<String>>,
}

impl std::fmt::Debug for Confidential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} texts", self.texts.len())
    }
}

impl Confidential {
    /// Adds the texts and numbers in a value, at whatever depth.
    pub fn add(&mut self, value: &Value) {
        self.forms.take();
        each_text(value, &mut |text| {
            if text.len() >= TELLING {
                self.texts.insert(text);
            }
        });
    }

    /// Leaves out the texts in a value, as they are open elsewhere.
    pub fn leave_out(&mut self, value: &Value) {
        self.forms.take();
        if !self.texts.is_empty() {
            each_text(value, &mut |text| {
                self.texts.remove(&text);
            });
        }
    }

    /// Leaves out those that are something else than what they seem.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.forms.take();
        self.texts.retain(|text| keep(text));
    }

    /// A text as it may be told.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let forms = self.forms.get_or_init(|| {
            let mut forms: Vec<String> = self.texts.iter().flat_map(|text| forms_to_hide(text)).collect();
            // What is a part of another must not break it in two.
            forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
            forms
        });
        let mut told = Cow::Borrowed(text);
        for form in forms {
            if form.len() <= told.len() && told.contains(form.as_str()) {
                told = told.replace(form, HIDDEN).into();
            }
        }
        told
    }

    /// A plugin's error as it may be told.
    pub fn hide_in(&self, error: PluginError) -> PluginError {
        PluginError {
            message: self.hide(&error.message).into_owned(),
            cause: self.hide(&error.cause).into_owned(),
            remedy: self.hide(&error.remedy).into_owned(),
            ..error
        }
    }
}

/// The forms of a text in which programs put it into others: as it is, and in base64, which looks different by where in
/// the text it begins, and whose ends depend on the neighbours.
pub(crate) fn forms(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned()];
    for before in 0..3 {
        let encoded = STANDARD.encode(format!("{}{text}", "x".repeat(before)));
        let inner = encoded.len().saturating_sub(4);
        if let Some(inner) = encoded.get(if before == 0 { 0 } else { 4 }..inner)
            && inner.len() >= TELLING
        {
            forms.push(inner.to_owned());
        }
    }
    forms
}

/// More of them, as what is left of one that was cut out tells nothing.
fn forms_to_hide(text: &str) -> Vec<String> {
    let mut all = forms(text);
    all.push(STANDARD.encode(text));
    // As Go's %q, Rust's {:?} and JSON write it.
    for quoted in [format!("{text:?}"), Value::from(text).to_string()] {
        let inner = &quoted[1..quoted.len() - 1];
        if inner != text {
            all.push(inner.to_owned());
        }
    }
    let lines = text.lines().map(str::trim).filter(|line| line.len() >= LINE);
    all.extend(lines.map(str::to_owned));
    if let Ok(number) = text.parse::<f64>()
        && let Some((digits, power)) = format!("{number:e}").split_once('e')
    {
        // As Go prints a large one: what helm reads is a float.
        all.push(format!("{digits}e+{power:0>2}"));
    }
    all
}

fn each_text(value: &Value, take: &mut impl FnMut(String)) {
    match value {
        Value::String(text) => take(text.clone()),
        Value::Number(number) => take(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, take)),
        Value::Object(fields) => fields.values().for_each(|field| each_text(field, take)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// What calls that are on their way were given, for logs that belong to no call: a plugin's threads and its standard
/// error.
static KNOWN: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

struct Entry {
    texts: Arc<Confidential>,
    /// None while the call is on its way.
    until: Option<Instant>,
}

/// Keeps the texts of a call known to [`untold`] until a while after its end.
pub(crate) struct Known(Arc<Confidential>);

impl Known {
    pub fn new(texts: Confidential) -> Self {
        let texts = Arc::new(texts);
        if !texts.texts.is_empty() {
            let mut known = KNOWN.lock();
            let now = Instant::now();
            known.retain(|entry| entry.until.is_none_or(|until| until > now));
            known.push(Entry {
                texts: texts.clone(),
                until: None,
            });
        }
        Self(texts)
    }

    pub fn texts(&self) -> &Confidential {
        &self.0
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        for entry in KNOWN.lock().iter_mut() {
            if Arc::ptr_eq(&entry.texts, &self.0) {
                entry.until = Some(Instant::now() + LINGERING);
            }
        }
    }
}

/// A text of a plugin as it may be logged.
pub(crate) fn untold(text: &str) -> Cow<'_, str> {
    let known: Vec<Arc<Confidential>> = KNOWN.lock().iter().map(|entry| entry.texts.clone()).collect();
    known.iter().fold(Cow::Borrowed(text), |text, texts| {
        let hidden = texts.hide(&text);
        if hidden == text {
            text
        } else {
            hidden.into_owned().into()
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Confidential {
        let mut texts = Confidential::default();
        texts.add(&value);
        texts
    }

    #[test]
    fn what_was_given_is_hidden_in_the_forms_in_which_it_is_repeated() {
        let texts = of(json!({"a": ["hunter2-\"quoted\""], "b": {"pin": 123_456_789}}));
        for told in [
            "no hunter2-\"quoted\" here".to_owned(),
            "no hunter2-\\\"quoted\\\" here".to_owned(),
            format!("no {} here", STANDARD.encode("hunter2-\"quoted\"")),
            "no 123456789 here".to_owned(),
            "no 1.23456789e+08 here".to_owned(),
        ] {
            assert_eq!(texts.hide(&told), "no (not shown) here", "{told}");
        }
        let inside = STANDARD.encode("user:hunter2-\"quoted\"@host");
        assert!(texts.hide(&inside).contains(HIDDEN), "{inside}");
    }

    #[test]
    fn what_is_short_or_open_stays() {
        let mut texts = of(json!({"short": "seven77", "open": "demo-system", "yes": true}));
        texts.leave_out(&json!({"namespace": "demo-system"}));
        let told = "seven77 in demo-system is true";
        assert_eq!(texts.hide(told), told);
    }

    #[test]
    fn a_long_line_of_a_text_is_known_by_itself_and_a_part_of_another_text_breaks_none() {
        let line = "MIIBVgIBADANBgkqhkiG9w0BAQEFAASC";
        let texts = of(json!([
            format!("begin\n{line}\nend"),
            "password",
            "password-and-more"
        ]));
        assert_eq!(texts.hide(&format!("bad key: {line}")), "bad key: (not shown)");
        assert_eq!(texts.hide("no password-and-more"), "no (not shown)");
    }

    #[test]
    fn a_calls_texts_are_known_until_a_while_after_it() {
        let known = Known::new(of(json!("of-a-call-on-its-way")));
        assert_eq!(untold("it said of-a-call-on-its-way"), "it said (not shown)");
        drop(known);
        assert_eq!(untold("it said of-a-call-on-its-way"), "it said (not shown)");
    }
}
