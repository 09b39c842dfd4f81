//! The folder with the store: its rights, its lock, and opening the database in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::reserve::Reserve;
use crate::{restore, schema};

/// The database's file in the folder.
pub const DATABASE: &str = "meshery.db";

/// How long to wait for a process that was killed to let go of the lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How long the check at the start may take; a store too large for that is checked in part.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);
/// A program that looks at the database with SQLite's own shell may hold it for a moment.
const BUSY: Duration = Duration::from_secs(2);
const READERS: usize = 2;

/// The folder, locked for this process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// A store that can only be read.
pub struct Rescued {
    pub readers: Vec<Connection>,
    pub schema: u32,
}

/// What opening leads to.
pub struct Opened {
    pub writer: Connection,
    pub readers: Vec<Connection>,
    pub reserve: Reserve,
    pub schema: u32,
    /// What is worth knowing about the check.
    pub note: String,
}

impl Folder {
    /// Makes the folder if it is not there, for its owner only, and locks it.
    pub fn lock(path: &Path) -> Result<Self, StoreError> {
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(StoreError::io("cannot make the folder", path))?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(StoreError::io("cannot set the rights of", path))?;
        let name = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&name)
            .map_err(StoreError::io("cannot open", &name))?;
        let end = Instant::now() + LOCK_PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = (&lock).take(20).read_to_string(&mut holder);
                    return Err(StoreError::Locked(holder.trim().to_owned()));
                }
                Err(TryLockError::Error(error)) => return Err(StoreError::io("cannot lock", &name)(error)),
            }
        }
        // Only for the message above: a full disk must not keep the store closed.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens, checks and migrates the database. On a full disk, room that was reserved is used to come up.
    pub fn open(&self) -> Result<Opened, StoreError> {
        restore::finish(&self.path)?;
        let mut reserve = Reserve::open(&self.path)?;
        loop {
            match self.open_once() {
                Err(error) if error.may_be_room() && reserve.draw_for_opening()? => {}
                Err(error) => return Err(error),
                Ok((writer, readers, schema, note)) => {
                    reserve.load(&writer)?;
                    return Ok(Opened {
                        writer,
                        readers,
                        reserve,
                        schema,
                        note,
                    });
                }
            }
        }
    }

    fn open_once(&self) -> Result<(Connection, Vec<Connection>, u32, String), StoreError> {
        let file = self.database();
        // Made before SQLite does it, for the sake of its rights, which the files beside it take over.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
            .map_err(StoreError::io("cannot open", &file))?;
        let mut writer = connect(&file)?;
        // Closing would copy the log into the database, which is not to be touched if it turns out to be damaged.
        writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let mode: String = writer
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(StoreError::from)?;
        if mode != "wal" {
            return Err(StoreError::Io {
                what: "no write-ahead log is possible for",
                path: file,
                source: std::io::Error::other("the file system lacks shared memory; use a local disk"),
            });
        }
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "cache_size", -8000)?;
        let note = check(&writer)?;
        let schema = schema::migrate(&mut writer, schema::MIGRATIONS)?;
        writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let reader = connect(&file)?;
            reader.pragma_update(None, "query_only", true)?;
            reader.pragma_update(None, "cache_size", -2000)?;
            readers.push(reader);
        }
        Ok((writer, readers, schema, note))
    }

    /// Connections to a damaged database that can do it no more harm. An error when it is not ours, or newer, or when
    /// not even that can be read.
    pub fn rescue(&self) -> Result<Rescued, StoreError> {
        let readers = (0..READERS)
            .map(|_| self.reader())
            .collect::<Result<Vec<_>, _>>()?;
        let schema = readers.first().map_or(Ok(0), schema::known_version)?;
        Ok(Rescued { readers, schema })
    }

    /// A connection that cannot write.
    pub fn reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = connect_with(&self.database(), flags)?;
        conn.pragma_update(None, "cache_size", -2000)?;
        Ok(conn)
    }

    fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Bytes of the database and its log on the disk.
    pub fn bytes(&self) -> u64 {
        ["meshery.db", "meshery.db-wal"]
            .iter()
            .filter_map(|name| fs::metadata(self.path.join(name)).ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    /// Bytes that may still be written to its disk.
    pub fn free(&self) -> Option<u64> {
        rustix::fs::statvfs(&self.path)
            .ok()
            .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

fn connect(file: &Path) -> Result<Connection, StoreError> {
    connect_with(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

fn connect_with(file: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(file, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(64);
    // What a transaction must remember to be undone in part stays in memory: no file outside the folder.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

/// SQLite's own check of the file, up to a time limit.
fn check(conn: &Connection) -> Result<String, StoreError> {
    let interrupt = conn.get_interrupt_handle();
    let (done, finished) = mpsc::channel::<()>();
    let result: Result<String, rusqlite::Error> = std::thread::scope(|scope| {
        scope.spawn(move || {
            if finished.recv_timeout(CHECK_PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let result = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        drop(done);
        result
    });
    match result {
        Ok(verdict) if verdict == "ok" => Ok(String::new()),
        Ok(verdict) => Err(StoreError::Corrupt(verdict)),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(
            format!("the check at the start was cut short after {CHECK_PATIENCE:?}"),
        ),
        Err(error) => Err(error.into()),
    }
}
