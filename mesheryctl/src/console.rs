//! The terminal, or what stands in for it: colours, a line that is overwritten, questions.
//!
//! Standard output carries what was asked for; progress, questions and errors go to standard error, so that
//! `-o json | jq` gets nothing else. With `-o json` and `-o yaml`, a standard error that is no terminal carries
//! problems only, as documents: what reads it is a program, too. Everything that a host sends passes [`plain`] before a terminal sees it:
//! a cluster's objects may hold escape sequences.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::arguments::{Form, Global};
use crate::failure::{Failure, Problem};

/// Colours, if they are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    pub fn off() -> Self {
        Self(false)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn notable(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
}

/// The text without anything that a terminal would obey. Line breaks and tabs stay.
pub fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let obeyed = (c.is_control() && c != '\n' && c != '\t')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let (kept, escaped) = if obeyed { (None, Some(c)) } else { (Some(c), None) };
            kept.into_iter()
                .chain(escaped.into_iter().flat_map(char::escape_unicode))
        })
        .collect()
}

/// The text on one line, cut where it gets too long to read.
pub fn brief(text: &str, longest: usize) -> String {
    let text = plain(text).replace(['\n', '\t'], " ");
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Where output goes.
#[derive(Debug)]
pub struct Console {
    pub form: Form,
    /// For standard output.
    pub paint: Paint,
    /// For standard error.
    pub paint_err: Paint,
    /// Whether standard error is read by people.
    told: bool,
    /// Whether progress may overwrite its last line.
    live: bool,
    /// A line is shown that the next one replaces.
    pending: bool,
}

impl Console {
    pub fn new(global: &Global) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let wanted = !global.no_color && !set("NO_COLOR") && !dumb;
        Self {
            form: global.output,
            paint: Paint(wanted && io::stdout().is_terminal()),
            paint_err: Paint(wanted && io::stderr().is_terminal()),
            told: global.output == Form::Table || io::stderr().is_terminal(),
            live: !dumb && io::stderr().is_terminal(),
            pending: false,
        }
    }

    /// Without colours and overwritten lines, whatever there is.
    pub fn plain(form: Form) -> Self {
        Self {
            form,
            paint: Paint::off(),
            paint_err: Paint::off(),
            told: form == Form::Table,
            live: false,
            pending: false,
        }
    }

    /// Whether the output is for people.
    pub fn for_people(&self) -> bool {
        self.form == Form::Table
    }

    /// Writes a text for people and a line break to standard output.
    pub fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.settle()?;
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        Ok(())
    }

    /// Writes what happens to standard error, for people.
    pub fn tell(&mut self, text: &str) -> Result<(), Failure> {
        if self.told {
            self.settle()?;
            writeln!(io::stderr().lock(), "{text}")?;
        }
        Ok(())
    }

    /// Writes why the command did not do what was asked to standard error.
    pub fn fail(&mut self, failure: &Failure) -> Result<(), Failure> {
        if self.for_people() {
            return failure
                .lines(self.paint_err)
                .map_or(Ok(()), |lines| self.tell(&lines));
        }
        match failure.problem() {
            Some(problem) => self.tell_document(&problem.document()),
            None => Ok(()),
        }
    }

    /// Writes what the user should know before anything is done to standard error.
    pub fn warn(&mut self, problem: &Problem) -> Result<(), Failure> {
        if self.for_people() {
            let line = self
                .paint_err
                .notable(&format!("warning: {}", plain(&problem.message)));
            return self.tell(&line);
        }
        let mut document = problem.document();
        document["title"] = "warning".into();
        self.tell_document(&document)
    }

    /// A line of JSON, or a document of YAML, on standard error.
    fn tell_document(&mut self, value: &Value) -> Result<(), Failure> {
        self.settle()?;
        writeln!(io::stderr().lock(), "{}", self.one_of_many(value)?)?;
        Ok(())
    }

    /// Shows a line that the next one replaces, where there is a terminal; says whether there is.
    pub fn live(&mut self, text: &str) -> Result<bool, Failure> {
        if self.live {
            self.settle()?;
            let mut err = io::stderr().lock();
            // Without wrapping: a line that wraps cannot be taken back.
            write!(err, "\x1b[?7l{text}\x1b[?7h")?;
            err.flush()?;
            self.pending = true;
        }
        Ok(self.live)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.pending) {
            let mut err = io::stderr().lock();
            write!(err, "\r\x1b[K")?;
            err.flush()?;
        }
        Ok(())
    }

    /// Writes one answer as JSON or YAML.
    pub fn document(&mut self, value: &Value) -> Result<(), Failure> {
        let text = match self.form {
            Form::Yaml => yaml(value)?,
            Form::Table | Form::Json => serde_json::to_string_pretty(value).map_err(io::Error::from)?,
        };
        self.say(text.trim_end())
    }

    /// Writes one of many answers: a line of JSON, or a document of YAML.
    pub fn record(&mut self, value: &Value) -> Result<(), Failure> {
        let text = self.one_of_many(value)?;
        self.say(&text)
    }

    fn one_of_many(&self, value: &Value) -> Result<String, Failure> {
        let text = match self.form {
            Form::Yaml => format!("---\n{}", yaml(value)?),
            Form::Table | Form::Json => serde_json::to_string(value).map_err(io::Error::from)?,
        };
        Ok(text.trim_end().to_owned())
    }

    /// Asks. Only on a terminal: anything else could not have read what it agrees to.
    pub fn confirm(&mut self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        require_terminal(None)?;
        self.settle()?;
        let mut err = io::stderr().lock();
        write!(err, "{question} [y/N] ")?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(Failure::Usage(Problem::new(
            "not-confirmed",
            "not confirmed: nothing was changed",
        )))
    }
}

/// Refuses to go on where nobody could answer a question; `look` is the command that shows what would be done.
pub fn require_terminal(look: Option<&str>) -> Result<(), Failure> {
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(
        "confirmation-needed",
        "this changes something and needs a yes, and there is no terminal to ask on",
        match look {
            Some(look) => format!("look at it first (`mesheryctl {look}`), then say --yes"),
            None => "say it again with --yes".to_owned(),
        },
    ))
}

fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value).map_err(|e| Failure::Output(io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_reads_back_as_what_it_was_however_misleading_the_words() {
        for word in [
            "yes",
            "no",
            "on",
            "true",
            "null",
            "~",
            "",
            " ",
            "1.30",
            "0x1f",
            "1e3",
            "0o7",
            "1_000",
            ".inf",
            "-",
            "- a",
            "a: b",
            "#x",
            "a #b",
            "&a",
            "*a",
            "!t",
            "%",
            "@",
            "`",
            "{",
            "[",
            "'",
            "\"",
            "\\",
            "2026-01-01",
            "one\ntwo",
            "one\ntwo\n",
            "\n",
            "\tx",
            " lead",
            "trail ",
            "é",
            "\u{1b}[2J",
            "\u{feff}",
            "...",
            "---",
            "=",
            "<<",
            "?",
        ] {
            let value = json!({"word": word, word: [word, {"in": word}], "number": 1.5, "nothing": null, "empty": {}});
            let text = yaml(&value).unwrap();
            let back: Value =
                serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{word:?}: {e}\n{text}"));
            assert_eq!(back, value, "{word:?}\n{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(brief("déjà vu", 3), "déj…");
        assert_eq!(brief("a\nb\tc\x07", 20), "a b c\\u{7}");
    }
}
