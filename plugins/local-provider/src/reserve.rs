//! Room on the disk set aside for journals: a file of allocated blocks that is cut when they are needed.
//!
//! An append needs more than its own bytes: whole pages, in the write-ahead log and again in the database, and
//! pages that are half full. The log is used over and over once it was copied into the database, so four times
//! the bytes and a fixed part for the log cover it; the tests fill a real disk to show that. Between the cut and
//! the write another program may take the room, so it is cut piece by piece. A file system that copies on write
//! (btrfs, ZFS) may need new blocks even to overwrite; there the promise is weaker, and nothing here can help it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use crate::error::StoreError;

/// For the log, and for opening the store again on a full disk.
const BASE: u64 = 1 << 20;
/// Room on the disk for each byte of a journal.
const FACTOR: u64 = 4;
/// How long to wait before room that was used is asked for again.
const REGROW: Duration = Duration::from_secs(1);

pub struct Reserve {
    path: PathBuf,
    file: File,
    /// What the file has now; less than its target after room was used, or when there was not enough.
    size: u64,
    shares: HashMap<String, Share>,
    last_growth: Option<Instant>,
}

#[derive(Default)]
struct Share {
    /// As it was asked for.
    bytes: u64,
    /// How much of the file was cut for it.
    drawn: u64,
}

impl Reserve {
    /// The file in this folder, as it is: before the store is open.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("reserve");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(StoreError::io("cannot open", &path))?;
        let size = file
            .metadata()
            .map_err(StoreError::io("cannot read", &path))?
            .len();
        Ok(Self {
            path,
            file,
            size,
            shares: HashMap::new(),
            last_growth: None,
        })
    }

    /// Learns from the open store whose room it is, and makes it whole again if there is room for that.
    pub fn load(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let mut select = conn.prepare("SELECT stream, bytes FROM reservation")?;
        let shares = select.query_map([], |row| {
            Ok((
                row.get(0)?,
                Share {
                    bytes: row.get(1)?,
                    drawn: 0,
                },
            ))
        })?;
        self.shares = shares.collect::<Result<_, _>>()?;
        match self.resize() {
            Ok(()) | Err(StoreError::Full) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How many bytes are missing from what was promised.
    pub fn missing(&self) -> u64 {
        self.target().saturating_sub(self.size)
    }

    pub fn bytes(&self) -> u64 {
        self.size
    }

    /// Changes a stream's share, and the file with it when the share grows. Returns what it was.
    pub fn promise(&mut self, stream: &str, bytes: u64) -> Result<u64, StoreError> {
        let before = self.shares.get(stream).map_or(0, |share| share.bytes);
        self.set(stream, bytes);
        if bytes > before
            && let Err(error) = self.resize()
        {
            self.set(stream, before);
            return Err(error);
        }
        Ok(before)
    }

    /// Takes a promise back that could not be recorded.
    pub fn retract(&mut self, stream: &str, before: u64) {
        self.set(stream, before);
        self.settle();
    }

    /// Gives back what nobody has a claim to any more.
    pub fn settle(&mut self) {
        if self.size > self.target() {
            // If it fails, the file is larger than it must be: no harm, and tried again with the next change.
            let _ = self.cut(self.target());
        }
    }

    /// Cuts up to `most` bytes for a stream; says whether any were left.
    pub fn draw(&mut self, stream: &str, most: u64) -> Result<bool, StoreError> {
        let Some(share) = self.shares.get_mut(stream) else {
            return Ok(false);
        };
        let piece = most
            .min(room(share.bytes).saturating_sub(share.drawn))
            .min(self.size);
        share.drawn += piece;
        if piece == 0 {
            return Ok(false);
        }
        self.cut(self.size - piece)?;
        self.last_growth = Some(Instant::now());
        Ok(true)
    }

    /// Cuts from it so that the store can be opened on a full disk; says whether any was left.
    pub fn draw_for_opening(&mut self) -> Result<bool, StoreError> {
        if self.size == 0 {
            return Ok(false);
        }
        self.cut(self.size.saturating_sub(BASE / 2))?;
        Ok(true)
    }

    /// Makes it whole again when room is back; asked often, does something once a second.
    pub fn recover(&mut self) {
        if self.missing() > 0 && self.last_growth.is_none_or(|last| last.elapsed() >= REGROW) {
            self.last_growth = Some(Instant::now());
            // Still no room: the next time, then.
            let _ = self.resize();
        }
    }

    fn target(&self) -> u64 {
        let bytes: u64 = self.shares.values().map(|share| share.bytes).sum();
        if bytes == 0 { 0 } else { room(bytes) }
    }

    fn set(&mut self, stream: &str, bytes: u64) {
        if bytes == 0 {
            self.shares.remove(stream);
        } else {
            self.shares.entry(stream.to_owned()).or_default().bytes = bytes;
        }
    }

    /// Brings the file to its target, or leaves it as it was.
    fn resize(&mut self) -> Result<(), StoreError> {
        let target = self.target();
        if target < self.size {
            return self.cut(target);
        }
        if target > self.size {
            // Looked at first, because an allocation that fails has filled the disk for a moment.
            let free = fstatvfs(&self.file).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
            if free.is_ok_and(|free| free < target - self.size) {
                return Err(StoreError::Full);
            }
            if let Err(error) = self.allocate(target) {
                self.cut(self.size)?;
                return Err(error);
            }
            self.size = target;
        }
        for share in self.shares.values_mut() {
            share.drawn = 0;
        }
        Ok(())
    }

    fn allocate(&self, target: u64) -> Result<(), StoreError> {
        let allocated = fallocate(&self.file, FallocateFlags::empty(), self.size, target - self.size);
        match allocated {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.write_zeros(target),
            other => other.map_err(Into::into),
        }
        .and_then(|()| self.file.sync_all())
        .map_err(StoreError::io("cannot set room aside in", &self.path))
    }

    /// For file systems that cannot allocate without writing.
    fn write_zeros(&self, target: u64) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let zeros = vec![0; 1 << 16];
        let mut at = self.size;
        while at < target {
            let piece = usize::try_from(target - at)
                .unwrap_or(usize::MAX)
                .min(zeros.len());
            self.file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }

    fn cut(&mut self, size: u64) -> Result<(), StoreError> {
        self.file
            .set_len(size)
            .and_then(|()| self.file.sync_all())
            .map_err(StoreError::io("cannot give room back from", &self.path))?;
        self.size = size;
        Ok(())
    }
}

/// Room on the disk for so many bytes of journal.
fn room(bytes: u64) -> u64 {
    BASE + bytes.saturating_mul(FACTOR)
}
