//! Who uses the engine: the hub that pushes events, the people who change webhooks and put deliveries back, and
//! whoever turns off the machine.

use crate::events;
use crate::journal::Entry;
use crate::life::Running;
use crate::plan::{self, Plan};
use crate::receiver::Mood;
use crate::world::World;
use fanfare_core::event::KindSet;
use fanfare_core::ports::history::DeliveryFilter;
use fanfare_core::webhook::{Account, Protocol, Scopes, Webhook, WebhookStatus};
use fanfare_core::{AccountId, ChannelId, WebhookId};
use fanfare_engine::{Principal, SigningChange};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Webhooks that there may be.
const WEBHOOKS_MAX: usize = 9;

pub(crate) struct Hub {
    world: Arc<World>,
    principal: Rc<Principal>,
    channels: RefCell<Vec<ChannelId>>,
    rng: RefCell<SmallRng>,
    next_event: Cell<u32>,
    next_push: Cell<u32>,
    next_url: Cell<u32>,
}

impl Hub {
    pub(crate) fn new(world: &Arc<World>, rng: SmallRng) -> Self {
        let account = AccountId::parse("acme").expect("an id");
        Hub {
            world: Arc::clone(world),
            principal: Rc::new(Principal { account: Some(account), scopes: Scopes::ALL }),
            channels: RefCell::default(),
            rng: RefCell::new(rng),
            next_event: Cell::new(0),
            next_push: Cell::new(0),
            next_url: Cell::new(0),
        }
    }

    /// An account, channels and webhooks, before anything goes wrong.
    pub(crate) async fn set_up(&self, running: &Running, plan: &Plan, rng: &mut SmallRng) {
        if let Some(events) = plan.tail_events {
            self.world.memory.lock().bound_tail(events);
        }
        let account = self.principal.account.clone().expect("the hub has an account");
        let put = Account { id: account.clone(), role: Account::ENTERPRISE.into() };
        running.engine.put_account(put).await.expect("the disk is well");
        for number in 0..plan.channels {
            let id = ChannelId::parse(&format!("C{number}")).expect("an id");
            running.engine.put_channel(id.clone(), account.clone(), None).await.expect("the disk is well");
            self.channels.borrow_mut().push(id);
        }
        for _ in 0..plan.webhooks {
            let (channel, new) = self.new_webhook(rng);
            let made = running.engine.create_webhook(&self.principal, &channel, new).await;
            made.expect("the disk is well");
        }
    }

    fn new_url(&self, protocol: Protocol) -> String {
        self.next_url.set(self.next_url.get() + 1);
        let scheme = if protocol == Protocol::Http2 { "https" } else { "http" };
        let url = format!("{scheme}://r{}.test/hook", self.next_url.get());
        self.world.moods.lock().insert(url.clone(), Mood::Well { ms_max: 30 });
        url
    }

    fn channel(&self, rng: &mut SmallRng) -> ChannelId {
        let channels = self.channels.borrow();
        channels[rng.random_range(0..channels.len())].clone()
    }

    fn new_webhook(&self, rng: &mut SmallRng) -> (ChannelId, fanfare_engine::NewWebhook) {
        let protocol = if rng.random_ratio(1, 4) { Protocol::Http2 } else { Protocol::Http1 };
        let url = self.new_url(protocol);
        (self.channel(rng), plan::webhook(rng, url, protocol))
    }

    fn a_webhook(&self, rng: &mut SmallRng) -> Option<Webhook> {
        let mut webhooks = self.world.memory.lock().webhooks();
        (!webhooks.is_empty()).then(|| webhooks.swap_remove(rng.random_range(0..webhooks.len())))
    }

    /// Does one thing. `true`: the process is to leave by itself.
    pub(crate) async fn act(
        &self,
        running: &Running,
        plan: &Plan,
        rng: &mut SmallRng,
        is_last: bool,
    ) -> bool {
        match rng.random_range(0..100) {
            0..=44 => self.push(running, plan, rng),
            45..=64 if plan.is_rough => {
                if let Some(webhook) = self.a_webhook(rng) {
                    let mood = plan::mood(rng);
                    self.world.note(Entry::Note(format!("{} is {mood:?}", webhook.url)));
                    self.world.moods.lock().insert(webhook.url, mood);
                }
            }
            65..=74 => self.change(running, rng),
            75..=78 => self.put_back(running, rng),
            79..=82 => {
                let step_ms = plan::wall_step(rng);
                self.world.note(Entry::Note(format!("the wall clock steps by {step_ms} ms")));
                running.clock.step_wall(step_ms);
            }
            83..=90 if plan.is_rough => {
                let weather = plan::weather(rng, self.world.now());
                self.world.note(Entry::Note(format!("{weather:?}")));
                self.world.disk.lock().weather = weather;
            }
            91..=92 if !is_last => plan::death(rng, &mut self.world.disk.lock().weather),
            93 if !is_last => running.store.crash(),
            94 if !is_last => return true,
            _ => self.sample(running, plan),
        }
        false
    }

    fn push(&self, running: &Running, plan: &Plan, rng: &mut SmallRng) {
        let channel = self.channel(rng);
        let push = self.next_push.get();
        self.next_push.set(push + 1);
        let count = match rng.random_range(0..10) {
            0 => plan.burst,
            1..=4 => 1,
            _ => rng.random_range(2..12),
        };
        let is_unnamed = rng.random_ratio(1, 8);
        let mut events = Vec::with_capacity(count);
        let mut names: Vec<(Option<Arc<str>>, u8)> = Vec::with_capacity(count);
        for _ in 0..count {
            let number = self.next_event.get();
            // The channel is part of the id, for ids are known by channel; one of an earlier push comes again.
            let number = if number > 20 && rng.random_ratio(1, 15) {
                rng.random_range(number - 20..number)
            } else {
                self.next_event.set(number + 1);
                number
            };
            let id = (!is_unnamed).then(|| format!("{}-E{number}", channel.as_str()));
            let parsed = events::event(&mut self.rng.borrow_mut(), channel.as_str(), id.as_deref());
            names.push((id.map(Arc::from), KindSet::of(parsed.kind).0));
            events.push(Ok(parsed));
        }
        let (world, engine) = (Arc::clone(&self.world), running.engine.clone());
        let principal = Rc::clone(&self.principal);
        tokio::task::spawn_local(async move {
            world.note(Entry::Pushed { push, channel: Arc::from(channel.as_str()), events: names });
            world.note(match engine.ingest(&principal, events).await {
                Ok(answer) => {
                    Entry::Accepted { push, accepted: answer.accepted, duplicates: answer.duplicates }
                }
                Err(_) => Entry::Refused { push },
            });
        });
    }

    fn change(&self, running: &Running, rng: &mut SmallRng) {
        let (engine, principal) = (running.engine.clone(), Rc::clone(&self.principal));
        let count = self.world.memory.lock().webhooks().len();
        let what = rng.random_range(0..12);
        if what == 0 && count < WEBHOOKS_MAX {
            let (channel, new) = self.new_webhook(rng);
            tokio::task::spawn_local(async move {
                drop(engine.create_webhook(&principal, &channel, new).await);
            });
            return;
        }
        let Some(webhook) = self.a_webhook(rng) else { return };
        let (channel, id) = (webhook.channel.clone(), webhook.id);
        if what == 1 && count > 1 {
            tokio::task::spawn_local(async move {
                drop(engine.delete_webhook(&principal, &channel, id).await);
            });
            return;
        }
        let signing = match rng.random_range(0..6) {
            0 => SigningChange::Rotate { overlap_seconds: 0 },
            1 => SigningChange::Rotate { overlap_seconds: rng.random_range(1..100) },
            2 if rng.random_ratio(1, 4) => SigningChange::Off,
            _ => SigningChange::Keep,
        };
        let url = (what == 2).then(|| self.new_url(webhook.delivery.protocol.unwrap_or_default()));
        let (limit, in_flight) = (plan::rate_limit(rng), plan::in_flight_max(rng));
        let change = move |webhook: &mut Webhook| {
            match what {
                2 => webhook.url = url.unwrap_or_default(),
                3 | 4 => webhook.delivery.rate_limit = limit,
                5 | 6 => webhook.delivery.max_in_flight = Some(in_flight),
                7 => webhook.status = WebhookStatus::Disabled,
                8..=10 => {
                    webhook.status = WebhookStatus::Enabled;
                    webhook.disabled_reason = None;
                }
                _ => {}
            }
            Ok(())
        };
        tokio::task::spawn_local(async move {
            drop(engine.update_webhook(&principal, &channel, id, signing, Box::new(change)).await);
        });
    }

    /// Enables a webhook; when the disk refuses, another time.
    pub(crate) async fn enable(&self, running: &Running, channel: &ChannelId, id: WebhookId) {
        let change = |webhook: &mut Webhook| {
            webhook.status = WebhookStatus::Enabled;
            webhook.disabled_reason = None;
            Ok(())
        };
        let engine = &running.engine;
        drop(
            engine.update_webhook(&self.principal, channel, id, SigningChange::Keep, Box::new(change)).await,
        );
    }

    fn put_back(&self, running: &Running, rng: &mut SmallRng) {
        let Some(webhook) = self.a_webhook(rng) else { return };
        let (engine, principal) = (running.engine.clone(), Rc::clone(&self.principal));
        tokio::task::spawn_local(async move {
            let filter = DeliveryFilter::default();
            drop(engine.redrive(&principal, &webhook.channel, webhook.id, filter).await);
        });
    }

    /// Looks at what is in memory, and whether anything panicked.
    pub(crate) fn sample(&self, running: &Running, plan: &Plan) {
        let text = running.engine.metrics_text();
        let value = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no metric {name}"))
        };
        // Calls that found room a moment ago may all bring their events at once: as many as there are in the longest
        // gap of a world's plan.
        let bytes_max = plan.window_bytes + 40 * (plan.burst as u64) * 2048;
        self.world.note(Entry::Memory { bytes: value("fanfare_window_bytes"), bytes_max });
        self.world.note(Entry::Panics { count: value("fanfare_actor_panics_total") });
    }
}
