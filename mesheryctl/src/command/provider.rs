//! `provider`: a backup of everything the host keeps, and such a backup back.
//!
//! The file's last line has the checksum of what is before it. It is compared on this side too: after a backup, so
//! that nobody keeps one that is not whole, and before a restore, so that the host is not troubled with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use futures::{Stream, StreamExt as _, stream};
use ring::digest::{Context, SHA256};
use serde::Deserialize;

use crate::arguments::ProviderCommand;
use crate::client::Client;
use crate::console::{Console, plain, require_terminal};
use crate::failure::{Failure, Problem};
use crate::partial::Partial;

/// Longer lines are none of a backup.
const LONGEST_LINE: u64 = 16 << 20;
const BACKUP: &str = "application/x-ndjson";
const CODE: &str = "backup-file";
const PIECE: usize = 256 << 10;

#[derive(Deserialize)]
struct Last {
    end: Summary,
}

/// What the last line of a backup says.
#[derive(Debug, Deserialize)]
struct Summary {
    records: u64,
    #[serde(default)]
    damage: Vec<String>,
    sha256: String,
}

pub async fn run(client: &Client, console: &mut Console, command: &ProviderCommand) -> Result<(), Failure> {
    match command {
        ProviderCommand::View => view(client, console).await,
        ProviderCommand::Backup { file } => backup(client, console, file).await,
        ProviderCommand::Restore { file, replace, yes } => {
            restore(client, console, file, *replace, *yes).await
        }
    }
}

async fn view(client: &Client, console: &mut Console) -> Result<(), Failure> {
    let answer = client.get(&["provider"], &[]).await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    let health = &answer["health"];
    let mut lines = vec![
        format!(
            "user:      {}",
            plain(answer["user"]["name"].as_str().unwrap_or(""))
        ),
        format!("writable:  {}", health["writable"]),
        format!("schema:    {}", health["schema"]),
        format!("on disk:   {} bytes", health["bytes"]),
    ];
    if let Some(message) = health["message"].as_str().filter(|message| !message.is_empty()) {
        lines.push(format!("note:      {}", plain(message)));
    }
    console.say(&lines.join("\n"))
}

async fn backup(client: &Client, console: &mut Console, file: &Path) -> Result<(), Failure> {
    let partial = Partial::make(file, 0o600, CODE)?;
    let mut answer = client.download(&["provider", "backup"]).await?;
    while let Some(piece) = client.piece(&mut answer).await? {
        partial.write(&piece)?;
    }
    let summary = verify(partial.path())?;
    partial.finish()?;
    for damage in &summary.damage {
        let warning = format!(
            "warning: could not be read and is not in the backup: {}",
            plain(damage)
        );
        console.tell(&console.paint_err.notable(&warning))?;
    }
    console.tell(&format!(
        "{}: {} records; keep the host's key (host.key in its data folder) too, elsewhere: it is not in the backup",
        file.display(),
        summary.records
    ))
}

async fn restore(
    client: &Client,
    console: &mut Console,
    file: &Path,
    replace: bool,
    yes: bool,
) -> Result<(), Failure> {
    let summary = verify(file)?;
    if replace {
        if !yes {
            require_terminal(None)?;
        }
        console.confirm(
            &format!(
                "Replace everything the host keeps with the {} records of {}?",
                summary.records,
                file.display()
            ),
            yes,
        )?;
    }
    // A host that refuses at once would not be heard while the file is sent.
    client.get(&["provider", "restore"], &[]).await?;
    let input = File::open(file).map_err(|error| unreadable(CODE, file, &error))?;
    let size = input
        .metadata()
        .map_err(|error| unreadable(CODE, file, &error))?
        .len();
    let query: &[(&str, &str)] = if replace { &[("replace", "true")] } else { &[] };
    let answer = client
        .upload(
            &["provider", "restore"],
            query,
            BACKUP,
            pieces(input).boxed(),
            size,
        )
        .await?;
    if !console.for_people() {
        return console.document(&answer);
    }
    for notice in answer["notices"].as_array().into_iter().flatten() {
        let text = |key: &str| plain(notice[key].as_str().unwrap_or(""));
        let warning = format!("warning: {}\n  remedy: {}", text("message"), text("remedy"));
        console.tell(&console.paint_err.notable(&warning))?;
    }
    console.tell(&format!("restored: {} records", summary.records))
}

/// Reads a backup to its end; a problem when it is not whole.
fn verify(file: &Path) -> Result<Summary, Failure> {
    let mut input = BufReader::new(File::open(file).map_err(|error| unreadable(CODE, file, &error))?);
    let (mut hash, mut line, mut lines) = (Context::new(&SHA256), Vec::new(), 0_u64);
    let bad = |code: &str, what: &str| {
        let message = format!("{} {what}", file.display());
        let problem = Problem::new(code, message).cause("the file was cut short or changed");
        Failure::Problem(problem.remedy("use another backup; nothing was changed"))
    };
    loop {
        line.clear();
        let read = (&mut input)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(CODE, file, &error))?;
        if read == 0 {
            return Err(bad("backup-cut-off", "has no last line"));
        }
        if lines == 0 && !line.starts_with(b"{\"meshery-backup\":") {
            return Err(bad("bad-backup", "is no backup of Meshery"));
        }
        if line.starts_with(b"{\"end\":") {
            let Ok(Last { end }) = serde_json::from_slice(&line) else {
                return Err(bad("bad-backup", "has a last line that cannot be read"));
            };
            let found = hex(hash.finish().as_ref());
            if found != end.sha256 || end.records + 1 != lines {
                return Err(bad(
                    "backup-damaged",
                    "does not have the checksum that its last line says",
                ));
            }
            return Ok(end);
        }
        hash.update(&line);
        lines += 1;
    }
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn unreadable(code: &str, file: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot read {}: {error}", file.display());
    let remedy = "name a file that is there and that you may read";
    Failure::Problem(Problem::new(code, message).remedy(remedy))
}

/// A file piece by piece.
pub fn pieces(input: File) -> impl Stream<Item = std::io::Result<Vec<u8>>> + Send {
    stream::unfold(input, async |mut input| {
        let mut piece = vec![0; PIECE];
        match input.read(&mut piece) {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(piece), input))
            }
            Err(error) => Some((Err(error), input)),
        }
    })
}
