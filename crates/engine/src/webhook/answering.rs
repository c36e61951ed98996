//! What people ask of the actor: its health, a test, to take up what was put back.

use super::*;
use crate::EngineError;
use crate::asking::{ActorHealth, Question, TestOutcome};
use fanfare_core::event::Event;
use tokio::sync::oneshot;

type TestReply = oneshot::Sender<Result<TestOutcome, EngineError>>;

impl WebhookActor {
    // An asker who no longer waits needs no answer: that is all a failed send can mean.
    pub(super) fn answer(&mut self, question: Question, now: Now) {
        match question {
            Question::Health(reply) => {
                let health = match &self.machine {
                    Some(machine) => {
                        ActorHealth::of(machine.gate(), machine.in_flight(), &mut self.vitals, now)
                    }
                    None => ActorHealth::asleep(None, now),
                };
                drop(reply.send(health));
            }
            Question::Test(event, reply) => self.render_test(event, reply),
            Question::TestReady(event, rendered, reply) => self.begin_test(&event, &rendered, reply, now),
            Question::Redriven(due_ms) => {
                self.next_due_ms = self.next_due_ms.min(due_ms);
                self.is_noting_given_up = false;
                if self.machine.as_ref().is_some_and(|machine| machine.policy().ordering.is_key()) {
                    self.learning.begin();
                }
            }
        }
    }

    fn render_test(&self, event: Arc<Event>, reply: TestReply) {
        let Some(config) = &self.config else {
            return drop(reply.send(Err(EngineError::UnknownWebhook)));
        };
        let format = config.webhook.payload_format.clone();
        let formatter = Arc::clone(&self.worker.formatter);
        let inbox = Rc::clone(&self.inbox);
        tokio::task::spawn_local(async move {
            let rendered = match fanfare_render::render_builtin(&format, &event) {
                Some(rendered) => rendered,
                None => formatter.render(&format, Arc::clone(&event)).await,
            };
            let ready = Question::TestReady(event, Arc::new(rendered), reply);
            inbox.write(|unread| unread.questions.push(ready));
        });
    }

    /// One attempt that no delivery stands behind: nothing is stored, the gate neither stops it nor hears of it, so
    /// that a receiver can be tried while it is shut. The rate limit is the receiver's protection and holds.
    fn begin_test(&mut self, event: &Event, rendered: &Rendered, reply: TestReply, now: Now) {
        let (Some(machine), Some(config)) = (&mut self.machine, &self.config) else {
            return drop(reply.send(Err(EngineError::UnknownWebhook)));
        };
        let delivery_id = delivery_id_bytes(event.id.as_str(), &config.id_text, 0);
        let mut outcome = TestOutcome {
            kind: event.kind,
            delivery_id: String::from_utf8_lossy(&delivery_id).into_owned(),
            body_count: 0,
            skipped: None,
            report: None,
            duration_ms: 0,
        };
        let body = match rendered {
            Rendered::Bodies(bodies) => {
                outcome.body_count = bodies.len();
                bodies.first()
            }
            Rendered::Skipped { reason } => {
                outcome.skipped = Some(reason.clone().into_owned());
                None
            }
            Rendered::Invalid { message } | Rendered::Fault { message } | Rendered::Later { message } => {
                outcome.report = Some(AttemptReport::failed(FailureClass::Render, message.clone()));
                None
            }
        };
        let Some(body) = body else { return drop(reply.send(Ok(outcome))) };
        if let Err(until_ns) = machine.take_from_limit(now) {
            let wait_s = until_ns.saturating_sub(now.mono_ns).div_ceil(1_000_000_000);
            return drop(reply.send(Err(EngineError::RateLimited {
                message: "the webhook's rate limit leaves no room for a test now".into(),
                retry_after_s: u32::try_from(wait_s).unwrap_or(u32::MAX).max(1),
            })));
        }
        let request = config.request(event, delivery_id, 1, body, now);
        let (connections, timeout) = (Rc::clone(&config.connections), config.timeout);
        let worker = Rc::clone(&self.worker);
        tokio::task::spawn_local(async move {
            let (report, duration_ms) = attempt::once(&connections, request, timeout, now, &worker).await;
            outcome.report = Some(report);
            outcome.duration_ms = duration_ms;
            drop(reply.send(Ok(outcome)));
        });
    }
}
