//! One format, `SCRIPTED`, that gives what a script says, when it says so.

use fanfare_core::delivery::Rendered;
use fanfare_core::event::Event;
use fanfare_core::ports::{Formatter, SendFuture};
use fanfare_core::webhook::FormatName;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

type Script = Box<dyn FnMut(&Event) -> (Duration, Rendered) + Send>;

/// See the module.
pub struct ScriptedFormatter {
    script: Mutex<Script>,
    is_ready: AtomicBool,
    renders: AtomicUsize,
}

impl ScriptedFormatter {
    /// The name of its format.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn name() -> FormatName {
        FormatName::parse("SCRIPTED").expect("an upper-case word")
    }

    /// `script` tells how long a render takes and what it gives.
    pub fn new(script: impl FnMut(&Event) -> (Duration, Rendered) + Send + 'static) -> Arc<Self> {
        Arc::new(ScriptedFormatter {
            script: Mutex::new(Box::new(script)),
            is_ready: AtomicBool::new(true),
            renders: AtomicUsize::new(0),
        })
    }

    /// While not ready everything comes to [`Rendered::Later`], and the script is not asked.
    pub fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::SeqCst);
    }

    /// Times a render was asked for, ready or not.
    #[must_use]
    pub fn renders(&self) -> usize {
        self.renders.load(Ordering::SeqCst)
    }
}

impl Formatter for ScriptedFormatter {
    fn names(&self) -> Vec<FormatName> {
        vec![Self::name()]
    }

    fn is_ready(&self, _format: &FormatName) -> bool {
        self.is_ready.load(Ordering::SeqCst)
    }

    fn render(&self, _format: &FormatName, event: Arc<Event>) -> SendFuture<Rendered> {
        self.renders.fetch_add(1, Ordering::SeqCst);
        if !self.is_ready.load(Ordering::SeqCst) {
            return Box::pin(async { Rendered::Later { message: "not ready".to_owned() } });
        }
        let (wait, rendered) = (self.script.lock())(&event);
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            rendered
        })
    }
}
