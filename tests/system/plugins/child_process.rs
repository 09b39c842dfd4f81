//! A child by itself, with the test as its host: what it does when the host goes away or makes no sense.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use libtest_mimic::Trial;
use meshery_plugin_api::export::CreateConfig;
use meshery_plugin_api::frame::{Decoder, Frame, Hello, PROTOCOL};
use meshery_plugin_api::message::descriptor::{Manifest, PluginKind};
use serde_json::json;

use super::fixture;
use crate::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "plugins::a_child_ends_with_its_host_even_while_a_call_hangs",
            ends_with_its_host,
        ),
        trial(
            "plugins::a_child_that_is_told_nonsense_ends_and_says_so",
            nonsense,
        ),
        trial("plugins::a_child_started_by_hand_says_what_it_is", by_hand),
        trial(
            "plugins::a_child_answers_while_a_call_runs_and_ignores_what_is_newer",
            answers_meanwhile,
        ),
    ]
}

struct Host {
    child: Child,
    socket: UnixStream,
    decoder: Decoder,
}

impl Host {
    fn start() -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(Duration::from_secs(15)))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["plugin-child", "1073741824"])
            .arg(fixture("misbehaving")?)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self {
            child,
            socket: ours,
            decoder: Decoder::of_plugin(),
        })
    }

    fn say(&mut self, frame: &Frame) -> anyhow::Result<()> {
        Ok(self.socket.write_all(&frame.encode()?)?)
    }

    fn hear(&mut self) -> anyhow::Result<Frame> {
        let mut buffer = [0; 4096];
        loop {
            match self.decoder.next()? {
                Some(Frame::Log(_)) => {}
                Some(frame) => return Ok(frame),
                None => match self.socket.read(&mut buffer)? {
                    0 => bail!("the child has closed the connection"),
                    read => self.decoder.push(&buffer[..read]),
                },
            }
        }
    }

    fn call(&mut self, id: u64, method: &str, argument: &impl serde::Serialize) -> anyhow::Result<()> {
        self.say(&Frame::Call {
            id,
            method: method.into(),
            payload: serde_json::to_vec(argument)?,
        })
    }

    /// Until an adapter can be called.
    fn ready(&mut self) -> anyhow::Result<()> {
        self.say(&Frame::Hello(Hello::ours()))?;
        let Frame::Hello(theirs) = self.hear()? else {
            bail!("it did not say hello")
        };
        ensure!(theirs.protocol == PROTOCOL);
        let manifest = Manifest {
            kind: PluginKind::Adapter,
            name: "misbehaving".into(),
            version: "0.1.0".into(),
            ..Manifest::default()
        };
        self.call(1, "child.load", &manifest)?;
        let loaded = self.hear()?;
        let expected = Frame::Reply {
            id: 1,
            result: Ok(br#"{"fault":null}"#.to_vec()),
        };
        ensure!(loaded == expected, "{loaded:?}");
        self.call(2, "child.create", &CreateConfig::default())?;
        let created = self.hear()?;
        ensure!(
            matches!(created, Frame::Reply { id: 2, result: Ok(_) }),
            "{created:?}"
        );
        Ok(())
    }

    fn ended(&mut self) -> anyhow::Result<(ExitStatus, String)> {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begin.elapsed() < Duration::from_secs(5), "it is still there");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .context("it has no standard error")?
            .read_to_string(&mut said)?;
        Ok((status, said))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ends_with_its_host() -> anyhow::Result<()> {
    let mut host = Host::start()?;
    host.ready()?;
    host.call(3, "adapter.plan", &json!({"operation": "hang"}))?;
    std::thread::sleep(Duration::from_millis(200));
    ensure!(host.child.try_wait()?.is_none(), "it ended by itself");
    host.socket.shutdown(std::net::Shutdown::Both)?;
    let (status, said) = host.ended()?;
    ensure!(status.success(), "{status}: {said}");
    Ok(())
}

fn nonsense() -> anyhow::Result<()> {
    let mut first = Host::start()?;
    first.socket.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let (status, said) = first.ended()?;
    ensure!(
        status.code() == Some(2) && said.contains("not a host's socket"),
        "{status}: {said}"
    );

    let mut newer = Host::start()?;
    newer.say(&Frame::Hello(Hello {
        protocol: PROTOCOL + 1,
        ..Hello::ours()
    }))?;
    let (status, said) = newer.ended()?;
    ensure!(
        status.code() == Some(2) && said.contains("speaks protocol"),
        "{status}: {said}"
    );

    let mut later = Host::start()?;
    later.ready()?;
    later.socket.write_all(&[0xff; 64])?;
    let (status, said) = later.ended()?;
    ensure!(
        status.code() == Some(3) && said.contains("broken"),
        "{status}: {said}"
    );
    Ok(())
}

fn by_hand() -> anyhow::Result<()> {
    for arguments in [
        vec![],
        vec!["much", "/x.so"],
        vec!["1000"],
        vec!["1073741824", "/x.so"],
    ] {
        let output = Command::new(std::env::current_exe()?)
            .arg("plugin-child")
            .args(&arguments)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(2) && said.contains("not for people"),
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}

fn answers_meanwhile() -> anyhow::Result<()> {
    let mut host = Host::start()?;
    host.ready()?;
    host.call(3, "adapter.plan", &json!({"operation": "patient"}))?;
    host.say(&Frame::Unknown(200))?;
    host.say(&Frame::Ping(9))?;
    ensure!(host.hear()? == Frame::Pong(9));
    host.call(4, "adapter.plan", &json!({"operation": "refuse"}))?;
    ensure!(matches!(
        host.hear()?,
        Frame::Reply {
            id: 4,
            result: Err(_)
        }
    ));
    host.say(&Frame::Cancel { id: 3 })?;
    ensure!(matches!(host.hear()?, Frame::Reply { id: 3, result: Ok(_) }));
    host.say(&Frame::Goodbye)?;
    let (status, said) = host.ended()?;
    ensure!(status.success(), "{status}: {said}");
    Ok(())
}
