//! On a terminal: colours, questions, a line that is overwritten.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Child;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::answers::{host, record, runs_to};
use crate::fake_host::{Answer, FakeHost};
use crate::program::Home;

struct Terminal {
    master: File,
    child: Child,
    shown: String,
    _home: Home,
}

impl Terminal {
    fn run(host: &FakeHost, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let home = Home::new();
        let mut command = home.command(arguments);
        let child = command
            .env("MESHERY_SERVER", host.url())
            .envs(environment.iter().copied())
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .spawn()
            .unwrap();
        drop(command);
        Self {
            master: master.into(),
            child,
            shown: String::new(),
            _home: home,
        }
    }

    /// Reads until this is shown; the end of the program is the end of the terminal.
    fn until(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.shown.contains(text) {
            let read = self.master.read(&mut buffer).unwrap_or(0);
            assert!(read > 0, "it ended without \"{text}\": {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    fn answer(&mut self, line: &str) {
        self.master.write_all(line.as_bytes()).unwrap();
    }

    fn finish(mut self) -> (i32, String) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = self.master.read(&mut buffer) {
            self.shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        (self.child.wait().unwrap().code().unwrap(), self.shown)
    }
}

#[test]
fn a_yes_on_the_terminal_runs_what_was_shown_in_colour() {
    let host = host();
    runs_to(&host, "succeeded");
    let mut terminal = Terminal::run(&host, &["mesh", "deploy", "lattice"], &[]);
    terminal.until("Go on? [y/N]");
    assert!(!host.lines().iter().any(|line| line.ends_with("/run")));
    terminal.answer("y\n");
    let (code, shown) = terminal.finish();
    assert_eq!(code, 0, "{shown}");
    assert!(
        shown.contains("\x1b[32m  + v1/Namespace//lattice-system\x1b[0m"),
        "{shown}"
    );
    // The reason for waiting is overwritten by what comes next.
    let waiting = shown.split("Available: 0/1").nth(1).unwrap();
    assert!(waiting.contains("\r\x1b[K"), "{shown}");
}

#[test]
fn a_no_changes_nothing_and_drops_the_plan() {
    for answer in ["n\n", "\n", "yes please\n", "\u{4}"] {
        let host = host();
        host.then(
            "POST /operations/op1/cancel",
            Answer::Json(202, record("cancelled")),
        );
        let mut terminal = Terminal::run(&host, &["mesh", "deploy", "lattice"], &[]);
        terminal.until("Go on? [y/N]");
        terminal.answer(answer);
        let (code, shown) = terminal.finish();
        assert_eq!(code, 2, "{shown}");
        assert!(shown.contains("nothing was changed"), "{shown}");
        let last = host.lines().pop().unwrap();
        assert_eq!(last, "POST /operations/op1/cancel");
    }
}

#[test]
fn colours_are_switched_off_by_option_and_by_environment() {
    for (arguments, environment) in [
        (&["operation", "preview", "op1", "--no-color"][..], &[][..]),
        (&["operation", "preview", "op1"], &[("NO_COLOR", "1")]),
        (&["operation", "preview", "op1"], &[("TERM", "dumb")]),
    ] {
        let (code, shown) = Terminal::run(&host(), arguments, environment).finish();
        assert_eq!(code, 0);
        assert!(
            shown.contains("+ v1/Namespace//lattice-system") && !shown.contains("\x1b["),
            "{shown:?}"
        );
    }
}
