//! The panic guard: around every entry into a plugin and around every poll of its futures.
//!
//! A panic that reaches the boundary ends the whole host. Here it becomes an error instead. The payload is
//! forgotten, not dropped, because its own destructor may panic.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::PluginError;

/// Code of the error that a panic becomes. The host makes a new instance after it.
pub const PANICKED: &str = "plugin-panicked";

thread_local! {
    /// Where the latest panic of this thread happened, as the panic hook saw it.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

pub(crate) fn remember_place(place: String) {
    let _ = PLACE.try_with(|p| p.replace(place));
}

/// Runs `f`; a panic in it becomes an error.
pub fn guarded<T>(f: impl FnOnce() -> Result<T, PluginError>) -> Result<T, PluginError> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => Err(panicked(payload)),
    }
}

/// The text of a panic's payload.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn panicked(payload: Box<dyn Any + Send>) -> PluginError {
    let place = PLACE.try_with(RefCell::take).unwrap_or_default();
    let at = if place.is_empty() {
        String::new()
    } else {
        format!(" at {place}")
    };
    let error = PluginError::new(PANICKED, format!("the plugin panicked{at}: {}", text(&*payload)))
        .cause("a fault in the plugin")
        .remedy("report it to the plugin's author; the host goes on with a new instance of the plugin");
    std::mem::forget(payload);
    error
}

/// A future whose polls and whose end are guarded.
pub struct Guarded<F> {
    inner: Option<Pin<Box<F>>>,
}

impl<F> Guarded<F> {
    /// Guards a future.
    pub fn new(future: F) -> Self {
        Self {
            inner: Some(Box::pin(future)),
        }
    }

    /// Drops the future; a destructor that panics is as harmless as a poll that does.
    fn end(&mut self) {
        if let Some(inner) = self.inner.take() {
            let _ = guarded(|| {
                drop(inner);
                Ok(())
            });
        }
    }
}

impl<T, F: Future<Output = Result<T, PluginError>>> Future for Guarded<F> {
    type Output = Result<T, PluginError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(Err(PluginError::new(
                "plugin-protocol",
                "a finished call was polled again",
            )));
        };
        match guarded(|| Ok(inner.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                self.end();
                Poll::Ready(result)
            }
            Err(error) => {
                self.end();
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<F> Drop for Guarded<F> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<F> std::fmt::Debug for Guarded<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("and again");
        }
    }

    fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
        std::pin::pin!(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let error = guarded::<()>(|| panic!("no such {}", "wheel")).unwrap_err();
        assert_eq!(error.code, PANICKED);
        assert!(error.message.ends_with("no such wheel"), "{}", error.message);
    }

    #[test]
    fn a_payload_whose_destructor_panics_is_harmless() {
        let error = guarded::<()>(|| std::panic::panic_any(PanicsWhenDropped)).unwrap_err();
        assert!(error.message.ends_with("no message"));
    }

    #[test]
    fn a_panic_in_a_poll_becomes_an_error() {
        let polled: Poll<Result<(), _>> = poll_once(Guarded::new(async {
            std::future::ready(()).await;
            panic!("in a poll")
        }));
        assert!(matches!(polled, Poll::Ready(Err(e)) if e.code == PANICKED));
    }

    #[test]
    fn a_future_whose_destructor_panics_is_harmless() {
        let bomb = PanicsWhenDropped;
        let pending = Guarded::new(async move {
            std::future::pending::<()>().await;
            drop(bomb);
            Ok::<(), PluginError>(())
        });
        drop(pending);
    }
}
