//! The conformance kit: whether a provider keeps the promises of [`Provider`], crashes included.
//!
//! A provider's author runs it from plain `#[test]`s; no host, no runtime. [`Kit::check`] holds a fresh store against
//! each promise and says which are broken and how. [`Kit::survives_kill_nine`] starts the test's own program again as
//! a process that writes, kills it at random instants, and looks whether everything acknowledged is there and nothing
//! is there in half. What a killed process cannot show is a machine that loses its power: what lies in the kernel's
//! memory survives the one and not the other, so that waiting for the disk remains the author's to get right.
//!
//! `Mine::open` being what `export_provider!` takes, these are an author's two tests (with `#[test]` above each):
//!
//! ```
//! use std::path::Path;
//!
//! use meshery_plugin_api::testkit::conformance::{Direct, Kit, Subject};
//! use meshery_plugin_api::{PluginError, ProviderConfig};
//! # use meshery_plugin_api::Provider;
//! # use meshery_plugin_api::message::document::{Blob, Document, Page, Query, StoreHealth, User, Write};
//! # use meshery_plugin_api::message::journal::{Append, Entry, Read, Reserve};
//! # struct Mine;
//! # impl Mine { fn open(_: ProviderConfig) -> Result<Self, PluginError> { Ok(Self) } }
//! # impl Provider for Mine {
//! #   async fn get(&self, _: &str, _: &str) -> Result<Option<Document>, PluginError> { Ok(None) }
//! #   async fn user(&self) -> Result<User, PluginError> { Ok(User::default()) }
//! #   async fn write(&self, _: Vec<Write>) -> Result<Vec<u64>, PluginError> { Ok(Vec::new()) }
//! #   async fn list(&self, _: Query) -> Result<Page, PluginError> { Ok(Page::default()) }
//! #   async fn put_blobs(&self, _: &str, _: Vec<Blob>) -> Result<(), PluginError> { Ok(()) }
//! #   async fn get_blobs(&self, _: Vec<String>) -> Result<Vec<Blob>, PluginError> { Ok(Vec::new()) }
//! #   async fn append(&self, _: Append) -> Result<u64, PluginError> { Ok(0) }
//! #   async fn read(&self, _: Read) -> Result<Vec<Entry>, PluginError> { Ok(Vec::new()) }
//! #   async fn reserve(&self, _: Reserve) -> Result<(), PluginError> { Ok(()) }
//! #   async fn forget(&self, _: &str) -> Result<(), PluginError> { Ok(()) }
//! #   async fn health(&self) -> Result<StoreHealth, PluginError> { Ok(StoreHealth::default()) }
//! # }
//!
//! fn mine(folder: &Path) -> Result<Box<dyn Subject>, PluginError> {
//!     let config = ProviderConfig { data: folder.to_owned(), ..ProviderConfig::default() };
//!     Ok(Box::new(Direct(Mine::open(config)?)))
//! }
//!
//! fn it_keeps_its_promises() {
//!     Kit::new(mine).check().assert_kept();
//! }
//!
//! fn it_survives_kill_nine() {
//!     Kit::new(mine).survives_kill_nine("tests::it_survives_kill_nine").assert_kept();
//! }
//! # assert!(Kit::new(mine).check().broken().count() > 5, "one that keeps nothing");
//! ```

mod blobs;
mod calls;
mod documents;
mod journals;
mod killed;
mod paging;
mod place;

use std::fmt;
use std::path::Path;

use crate::error::PluginError;
use crate::provider::Provider;
use crate::{dispatch, guard};
use calls::Calls;
use place::Place;

/// A provider under test, wherever it runs: a method's name and JSON in, JSON out, as at the plugin boundary.
pub trait Subject: Send + Sync {
    /// Calls a method and waits for its answer.
    fn call(&self, method: &str, argument: &[u8]) -> Result<Vec<u8>, PluginError>;
}

/// A provider called directly, through the same JSON and the same panic guard as in a host.
#[derive(Debug)]
pub struct Direct<P>(pub P);

impl<P: Provider> Subject for Direct<P> {
    fn call(&self, method: &str, argument: &[u8]) -> Result<Vec<u8>, PluginError> {
        calls::wait(guard::Guarded::new(dispatch::provider(&self.0, method, argument)))
    }
}

/// Opens the provider with its data in this folder, which may hold the data of a former one.
type Open = Box<dyn Fn(&Path) -> Result<Box<dyn Subject>, PluginError> + Send + Sync>;

/// What a promise comes to: kept, or broken in this way.
type Verdict = Result<(), String>;

type Claim = (&'static str, fn(&Calls<'_>) -> Verdict);

/// The kit for one provider.
pub struct Kit {
    open: Open,
    rounds: u32,
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit")
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

/// Environment variable with the number of kills; 8 without it.
pub const ROUNDS: &str = "MESHERY_CONFORMANCE_ROUNDS";

/// Environment variable with the seed of the instants, to see a failure again as far as instants can be seen again.
pub const SEED: &str = "MESHERY_CONFORMANCE_SEED";

impl Kit {
    /// The kit for the provider that this function opens in a folder.
    pub fn new(
        open: impl Fn(&Path) -> Result<Box<dyn Subject>, PluginError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(open),
            rounds: place::number_from(ROUNDS).map_or(8, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        }
    }

    /// Holds a fresh store against every promise that can be seen without a crash.
    pub fn check(&self) -> Report {
        let claims = [documents::CLAIMS, paging::CLAIMS, journals::CLAIMS, blobs::CLAIMS].concat();
        let mut report = Report::default();
        let opened = Place::new().and_then(|place| Ok((self.open(place.path())?, place)));
        let (subject, place) = match opened {
            Ok(opened) => opened,
            Err(why) => return report.with("it opens in an empty folder", Err(why)),
        };
        for (claim, test) in claims {
            report = report.with(claim, test(&Calls::of(&*subject)));
        }
        let kept = || {
            let written = Kept::write(&Calls::of(&*subject))?;
            drop(subject);
            written.find(&Calls::of(&*self.open(place.path())?))
        };
        report.with(
            "what was written is there after closing and opening again",
            kept(),
        )
    }

    /// Kills a process with the provider at random instants and looks at what is left each time.
    ///
    /// `test` is the full name of the calling test, as the test program lists it: the program is started again to
    /// run just that, and there this function writes until it is killed. The seed is printed.
    pub fn survives_kill_nine(&self, test: &str) -> Report {
        let claim = "what was acknowledged survives kill -9, whole";
        if let Some(folder) = killed::folder() {
            killed::write_until_killed(&folder, |path| self.open(path));
        }
        let survived = Place::new()
            .and_then(|place| killed::rounds(test, place.path(), self.rounds, |path| self.open(path)));
        Report::default().with(claim, survived)
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Subject>, String> {
        (self.open)(folder).map_err(|error| format!("it cannot be opened: {}: {error}", error.code))
    }
}

/// One of each, to be found again later.
struct Kept {
    revision: u64,
}

impl Kept {
    const NAME: &'static str = "kept";

    fn write(calls: &Calls<'_>) -> Result<Self, String> {
        let written = calls.ok("write", calls.put(Self::NAME, Self::NAME, 7, calls::ANY))?;
        calls.ok("append", calls.append(Self::NAME, 1, &[1, 2, 3]))?;
        calls.ok("put_blobs", calls.put_blobs(Self::NAME, vec![blobs::content(0)]))?;
        Ok(Self { revision: written })
    }

    fn find(&self, calls: &Calls<'_>) -> Verdict {
        let document = calls.ok("get", calls.get(Self::NAME, Self::NAME))?;
        let document = document.ok_or("the document is gone")?;
        calls::same("the document's body", &document.body["n"], &7.into())?;
        calls::same("its revision", &document.revision, &self.revision)?;
        calls::same("the journal", &calls.numbers(Self::NAME)?, &vec![1, 2, 3])?;
        let blobs = calls.ok("get_blobs", calls.get_blobs(vec![blobs::content(0).sha256]))?;
        calls::same("the blob", &blobs, &vec![blobs::content(0)])
    }
}

/// What came out, promise by promise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    outcomes: Vec<(&'static str, Verdict)>,
}

impl Report {
    fn with(mut self, claim: &'static str, verdict: Verdict) -> Self {
        self.outcomes.push((claim, verdict));
        self
    }

    /// The promises that are broken, and how.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.outcomes
            .iter()
            .filter_map(|(claim, verdict)| Some((*claim, verdict.as_ref().err()?.as_str())))
    }

    /// Panics with the report when a promise is broken.
    pub fn assert_kept(&self) {
        assert!(self.broken().next().is_none(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.broken().count();
        writeln!(f, "{broken} of {} promises are broken", self.outcomes.len())?;
        for (claim, verdict) in &self.outcomes {
            match verdict {
                Ok(()) => writeln!(f, "  kept    {claim}")?,
                Err(why) => writeln!(f, "  BROKEN  {claim}\n          {why}")?,
            }
        }
        Ok(())
    }
}
