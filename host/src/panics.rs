//! What the log says of a panic: where, and what of its message cannot hold anybody's data.
//!
//! A message that was put together may repeat what it stumbled over, a password say: it is left out. One that stands so
//! in the program is told.

use std::any::Any;
use std::panic::PanicHookInfo;

/// Makes panics part of the log, in the place of standard error.
pub fn log_them() {
    std::panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = message(panic.payload());
    tracing::error!(place, message, "a panic: a fault in this program");
}

fn message(payload: &(dyn Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("not shown: it may repeat a secret")
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the log says of a panic of this thread; those of others go where they went before.
    fn logged(work: fn()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let (here, before) = (std::thread::current().id(), take_hook());
        set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                log(panic);
            } else {
                before(panic);
            }
        }));
        let ended = tracing::subscriber::with_default(subscriber, || catch_unwind(work));
        drop(take_hook());
        assert!(ended.is_err());
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_what_it_stumbled_over() {
        let told = logged(|| {
            let password: Result<u8, _> = "hunter2-marker".parse::<u8>().map_err(|_| "hunter2-marker");
            password.unwrap();
        });
        assert!(!told.contains("hunter2"), "{told}");
        assert!(told.contains(file!()) && told.contains("not shown"), "{told}");
        let told = logged(|| unreachable!());
        assert!(
            told.contains(file!()) && told.contains("unreachable code"),
            "{told}"
        );
    }
}
