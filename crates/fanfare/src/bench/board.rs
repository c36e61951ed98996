//! Progress of `fanfare bench` on standard error: one moving line on a terminal, a line for each phase elsewhere.

use fanfare_loadtest::News;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Shows what is going on.
pub(super) struct Board {
    spinner: Option<ProgressBar>,
    phase: Mutex<String>,
}

impl Board {
    pub(super) fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Board { spinner, phase: Mutex::default() }
    }

    /// Takes in what the harness says.
    pub(super) fn hear(&self, news: News) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Run { number, total, name } => {
                let text = format!("run {number} of {total}: {name}");
                match &self.spinner {
                    Some(spinner) => spinner.println(text),
                    None => eprintln!("{text}"),
                }
                phase.clear();
            }
            News::Phase(text) => {
                match &self.spinner {
                    Some(spinner) => spinner.set_message(text.clone()),
                    None => eprintln!("  {text}"),
                }
                *phase = text;
            }
            News::Live(text) => {
                if let Some(spinner) = &self.spinner {
                    spinner.set_message(format!("{phase}: {text}"));
                }
            }
            _ => {}
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn end(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
