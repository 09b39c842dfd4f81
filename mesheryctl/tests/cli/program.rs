//! Runs the program.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::fake_host::{FakeHost, TOKEN};

/// What the program did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn out_has(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.out.contains(text),
                "no \"{text}\" on standard output of {self:#?}"
            );
        }
        self
    }

    #[track_caller]
    pub fn err_has(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.err.contains(text),
                "no \"{text}\" on standard error of {self:#?}"
            );
        }
        self
    }
}

/// A home folder with the token of the fake host, in which the program runs.
pub struct Home(pub TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(TempDir::new().unwrap());
        std::fs::create_dir(home.0.path().join(".meshery")).unwrap();
        std::fs::write(home.0.path().join(".meshery/token"), format!("{TOKEN}\n")).unwrap();
        home
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesheryctl"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.0.path())
            .env("TERM", "xterm")
            .current_dir(self.0.path());
        command
    }

    pub fn run(&self, host: &FakeHost, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        finish(command.env("MESHERY_SERVER", host.url()))
    }
}

/// Runs with the fake host's address and token.
pub fn ctl(host: &FakeHost, arguments: &[&str]) -> Ran {
    Home::new().run(host, arguments)
}

/// Runs a command to its end, without a terminal.
pub fn finish(command: &mut Command) -> Ran {
    finish_with_input(command, "")
}

pub fn finish_with_input(command: &mut Command, input: &str) -> Ran {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    // Reads on threads of its own, so that a full pipe does not look like a hang.
    let id = i32::try_from(child.id()).unwrap();
    let ended = std::thread::spawn(move || child.wait_with_output());
    let deadline = Instant::now() + Duration::from_mins(1);
    while !ended.is_finished() {
        if Instant::now() > deadline {
            let process = rustix::process::Pid::from_raw(id).unwrap();
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            panic!("the program hangs: {:?}", ended.join());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    ran(ended.join().unwrap().unwrap())
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
