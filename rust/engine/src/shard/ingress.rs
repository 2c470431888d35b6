//! From a PUBLISH to a record of the staged batch: properties, routes, targets. Nothing here allocates once
//! its buffers are warm.

use std::fmt::Display;
use std::sync::Arc;

use edgehub_mqtt::Publish;
use edgehub_router::{Decisions, Lookup, MessageView as RouteMessage, Source};
use edgehub_store::{Batch, Commit, StoreError, Target};
use edgehub_types::{
    MessageHead, MonoTime, Properties, PropertiesBuf, PropertyKey, SystemProperty, encode_message,
};

use super::{Now, Shard};
use crate::bag::BagDecoder;
use crate::control::{NoticeKind, WillMessage};
use crate::grants::{Grants, Topic};
use crate::hub::Hub;
use crate::mailbox::TwinChange;
use crate::routing::RoutingTable;
use crate::stats::{Stats, Tally};

/// Characters of the system properties that the hub adds to every message before its size is taken:
/// names of sender, message id and origin, a GUID, the longer origin (routing section 10.1).
const ADDED_CHARS: usize = 18 + 18 + 13 + 36 + 22 + 10;

/// Value of `messageType` and `messageSchema` of updates of reported properties.
const TWIN_CHANGE: &str = "twinChangeNotification";
/// They come from this module, as far as routes can tell.
const EDGE_HUB_MODULE: &str = "$edgeHub";

/// How soon a store that will tell when there is room is looked at all the same.
const PRESSURE_LOOK_MS: u64 = 100;
/// How soon one that will not is tried again.
const REFUSED_LOOK_MS: u64 = 10;

/// Stages messages of one shard.
pub(super) struct Ingress {
    routing: Arc<RoutingTable>,
    batch: Batch,
    batch_bytes_max: usize,
    batch_kept_bytes_max: usize,
    /// Something was staged since the last look of [`Ingress::take_used`].
    used: bool,
    bag: BagDecoder,
    properties: PropertiesBuf,
    decisions: Decisions,
    targets: Vec<Target>,
    received: Tally,
    dropped: Tally,
    /// `device` or `device/module`, for labels.
    identity: String,
    /// Since when the store wants nothing more; a batch that it refused is kept and tried again.
    blocked_since: Option<MonoTime>,
    /// When to look again whether it does.
    look_at: MonoTime,
}

impl Ingress {
    pub fn new(hub: &Hub) -> Self {
        Self {
            routing: hub.routing_table(),
            batch: Batch::new(),
            batch_bytes_max: hub.config().batch_bytes_max,
            batch_kept_bytes_max: hub.config().batch_kept_bytes_max,
            used: false,
            bag: BagDecoder::default(),
            properties: PropertiesBuf::default(),
            decisions: Decisions::default(),
            targets: Vec::new(),
            received: Tally::default(),
            dropped: Tally::default(),
            identity: String::new(),
            blocked_since: None,
            look_at: MonoTime(0),
        }
    }

    /// Works with the newest routes from now on; their version.
    pub fn reload_routes(&mut self, hub: &Hub) -> u64 {
        self.routing = hub.routing_table();
        self.routing.version()
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    /// When to look at the store again if it says nothing by itself; `None` when it takes messages.
    pub fn look_at(&self) -> Option<MonoTime> {
        self.blocked_since.map(|_| self.look_at)
    }

    /// Whether to look at it now.
    fn may_look(&self, now: MonoTime) -> bool {
        self.look_at().is_none_or(|at| at <= now)
    }

    pub fn staged_bytes(&self) -> usize {
        self.batch.len_bytes()
    }

    /// Whether something was staged since the last call.
    pub fn take_used(&mut self) -> bool {
        std::mem::take(&mut self.used) || !self.batch.is_empty()
    }

    /// Bytes of the batch's buffers while it is empty.
    pub fn kept_bytes(&self) -> usize {
        if self.batch.is_empty() { self.batch.kept_bytes() } else { 0 }
    }

    /// Frees the buffers of an empty batch and those that helped to fill it; the bytes of the batch's.
    pub fn release(&mut self) -> usize {
        let freed = self.kept_bytes();
        if self.batch.is_empty() {
            self.batch = Batch::new();
            self.bag = BagDecoder::default();
            self.properties = PropertiesBuf::default();
        }
        freed
    }

    /// The batch is with the store.
    fn appended(&mut self) {
        self.batch.clear();
        self.batch.shrink_to(self.batch_kept_bytes_max);
        self.used = true;
    }

    pub fn is_full(&self) -> bool {
        self.staged_bytes() >= self.batch_bytes_max
    }

    /// Stages a telemetry message for every queue that its routes choose.
    ///
    /// # Errors
    /// Why the message is dropped; it is acknowledged all the same (section 1.3).
    pub fn stage(
        &mut self,
        hub: &Hub,
        now: Now,
        grants: &Grants,
        publish: &Publish<'_>,
        bag: &str,
    ) -> Result<(), (NoticeKind, String)> {
        self.properties.clear();
        if !bag.is_empty() {
            let decoded = self.bag.decode(bag, &mut self.properties);
            decoded.map_err(|error| (NoticeKind::BadProperties, error.to_string()))?;
        }
        self.mark(publish.retain, &hub.config().retain_property, "true");
        self.mark(publish.dup, &hub.config().dup_property, "true");
        self.check_size(hub, grants, publish)?;
        let message = Message { grants, kind: Kind::Telemetry, body: publish.payload };
        self.route_and_push(hub, now, &message, publish.packet_id.is_some());
        Ok(())
    }

    fn mark(&mut self, set: bool, name: &str, value: &str) {
        if set {
            // A name of the configuration is short, the value constant: both always fit.
            let _ = self.properties.push(PropertyKey::Application(name), Some(value));
        }
    }

    fn check_size(
        &self,
        hub: &Hub,
        grants: &Grants,
        publish: &Publish<'_>,
    ) -> Result<(), (NoticeKind, String)> {
        let max = hub.config().message_bytes_max;
        let ids = grants.device_id.len() + grants.module_id.len();
        let bound = publish.payload.len() + publish.topic.len() + ids + ADDED_CHARS + 64;
        if bound <= max / 2 {
            return Ok(()); // far below: the exact count cannot change the verdict
        }
        let size = publish.payload.len() + self.properties.as_properties().size_chars() + ids + ADDED_CHARS;
        if size <= max {
            return Ok(());
        }
        Err((
            NoticeKind::MessageTooLarge,
            format!("message of {size} bytes with its properties; at most {max}"),
        ))
    }

    fn route_and_push(&mut self, hub: &Hub, now: Now, message: &Message<'_>, qos1: bool) {
        let Message { grants, kind, body } = *message;
        let properties = self.properties.as_properties();
        let output = properties.system(SystemProperty::OutputName).flatten();
        let stats = hub.stats();
        let sender = sender_of(grants);
        if kind == Kind::Telemetry {
            self.received.count(&stats.received, &[sender[0], sender[1], output.unwrap_or("")]);
        }
        let source = source_of(kind, grants, output);
        let view = RouteView { hub, message, properties };
        self.routing.routes.evaluate(source, &view, &mut self.decisions);
        self.targets.clear();
        let routing = &self.routing;
        self.targets.extend(
            self.decisions.iter().filter_map(|decision| routing.target(decision.route_index, now.store)),
        );
        if self.targets.is_empty() {
            if kind == Kind::TwinChange {
                return; // hardly anybody routes them
            }
            // As frequent as messages where a WHERE filters: counted without a lock or memory.
            self.identity.clear();
            self.identity.push_str(&grants.device_id);
            if !grants.module_id.is_empty() {
                self.identity.push('/');
                self.identity.push_str(&grants.module_id);
            }
            self.dropped.count(&stats.dropped, &["no_route", &self.identity, output.unwrap_or("")]);
            return;
        }
        let head =
            MessageHead { enqueued: now.unix, qos1, device: &grants.device_id, module: &grants.module_id };
        let hint = body.len() + properties.as_bytes().len() + head.device.len() + head.module.len() + 18;
        // Ids and properties were checked against the limits of the format when the session was granted
        // and when the bag was decoded; a batch has no limit that a single message could pass.
        let write = |out: &mut Vec<u8>| {
            let _ = encode_message(out, &head, properties, body);
        };
        // Nobody learns whether a message of quality 0 was stored.
        let pushed = if qos1 {
            self.batch.push(&self.targets, hint, write)
        } else {
            self.batch.push_unawaited(&self.targets, hint, write)
        };
        if let Err(error) = pushed {
            log::error!("message of {} not staged: {error}", grants.identity());
            count_drop(stats, "store_refused", grants, output);
        }
    }

    /// Gives up the staged messages: the store could not take them.
    pub fn give_up(&mut self, stats: &Stats) {
        stats.unacked.add(&["storage_failure", "", ""], self.batch.len_msgs() as u64);
        self.batch.clear();
        self.blocked_since = None;
    }

    pub fn flush_tally(&mut self, stats: &Stats) {
        self.received.flush(&stats.received);
        self.dropped.flush(&stats.dropped);
    }
}

/// Device and module part of the sender for the labels of a tally.
fn sender_of(grants: &Grants) -> [&str; 2] {
    [&grants.device_id, &grants.module_id]
}

fn count_drop(stats: &Stats, reason: &str, grants: &Grants, output: Option<&str>) {
    stats.dropped.add(&[reason, &grants.identity(), output.unwrap_or("")], 1);
}

/// The message source (routing section 1.3).
fn source_of<'a>(kind: Kind, grants: &'a Grants, output: Option<&'a str>) -> Source<'a> {
    if kind == Kind::TwinChange {
        Source::TwinChange
    } else if grants.module_id.is_empty() {
        Source::Device
    } else {
        Source::Module { module: &grants.module_id, output }
    }
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Telemetry,
    /// Says so in the system property `messageType`; comes from the hub, in the name of a client (heads section 7.3).
    TwinChange,
}

/// A message to be routed; its properties are decoded already.
struct Message<'a> {
    /// Of the client that it is from.
    grants: &'a Grants,
    kind: Kind,
    body: &'a [u8],
}

/// A message as the route language sees it.
struct RouteView<'a> {
    hub: &'a Hub,
    message: &'a Message<'a>,
    properties: Properties<'a>,
}

impl RouteMessage for RouteView<'_> {
    fn application_property(&self, name: &str) -> Lookup<'_> {
        lookup(self.properties.application(name))
    }

    fn system_property(&self, name: &str) -> Lookup<'_> {
        if let Some(property) = SystemProperty::from_name(name) {
            return lookup(self.properties.system(property));
        }
        let own = |text| Lookup::Text(text);
        let (grants, edge_device) = (self.message.grants, &self.hub.config().edge_device_id);
        if self.message.kind == Kind::TwinChange {
            return match name {
                "messagetype" => own(TWIN_CHANGE),
                "connectiondeviceid" => own(edge_device.as_str()),
                "connectionmoduleid" => own(EDGE_HUB_MODULE),
                "rpsenderdeviceid" => own(grants.device_id.as_str()),
                "rpsendermoduleid" if !grants.module_id.is_empty() => own(grants.module_id.as_str()),
                "edgehuborigininterface" => own("internal"),
                _ => Lookup::Absent,
            };
        }
        match name {
            "connectiondeviceid" => own(grants.device_id.as_str()),
            "connectionmoduleid" if !grants.module_id.is_empty() => own(grants.module_id.as_str()),
            "edgehuborigininterface" if grants.device_id == *edge_device => own("internal"),
            "edgehuborigininterface" => own("downstream"),
            "modelid" => grants.model_id.as_deref().map_or(Lookup::Absent, own),
            _ => Lookup::Absent,
        }
    }

    fn body(&self) -> &[u8] {
        self.message.body
    }
}

#[expect(clippy::option_option, reason = "absent and null are different")]
fn lookup(found: Option<Option<&str>>) -> Lookup<'_> {
    match found {
        None => Lookup::Absent,
        Some(None) => Lookup::Null,
        Some(Some(text)) => Lookup::Text(text),
    }
}

impl Shard {
    /// Hands the staged batch to the store and lets acknowledgements go as far as they may. While the store wants nothing
    /// it is asked again only from time to time.
    pub(super) fn commit_batch(&mut self) {
        let may_look = self.ingress.may_look(self.now.mono);
        if !self.ingress.batch.is_empty() {
            if !may_look || !self.append_batch() {
                return;
            }
        } else if self.acks.has_open() {
            // Publishes that matched no route: nothing to store, but earlier ones may still wait.
            self.acks.seal(true);
        }
        if self.ingress.is_blocked() && may_look {
            self.heed_pressure();
        }
        self.release_acks();
    }

    /// The store says that there is room again.
    pub(super) fn store_relieved(&mut self) {
        if self.ingress.is_blocked() {
            self.ingress.look_at = self.now.mono;
            self.commit_batch();
        }
    }

    /// Leaves what publishers send in their sockets as long as the store is under pressure.
    fn heed_pressure(&mut self) {
        if self.hub.store.pressure() {
            self.wait_for_room(PRESSURE_LOOK_MS, &"the store is under pressure");
        } else {
            self.unblock_store();
        }
    }

    /// `false` when the batch stays staged, or was given up.
    fn append_batch(&mut self) -> bool {
        let ticket = self.acks.next_ticket();
        match self.hub.store.append(&mut self.ingress.batch, &self.waiter, ticket) {
            Ok(commit) => {
                self.acks.seal(commit == Commit::Done);
                self.ingress.appended();
                self.heed_pressure();
                true
            }
            Err(error) => {
                self.store_refused(&error);
                false
            }
        }
    }

    fn store_refused(&mut self, error: &StoreError) {
        if !error.is_retryable() {
            self.hub.tell_store_failed(error);
            self.give_up_staged("the store failed");
            return;
        }
        // Only then it will tell when there is room.
        let tells = self.hub.store.pressure();
        self.wait_for_room(if tells { PRESSURE_LOOK_MS } else { REFUSED_LOOK_MS }, error);
    }

    fn wait_for_room(&mut self, look_ms: u64, why: &dyn Display) {
        let now = self.now.mono;
        let grace_ms = self.hub.config.store_full_grace_ms;
        let end = self.ingress.blocked_since.get_or_insert(now).plus_ms(grace_ms);
        self.ingress.look_at = now.plus_ms(look_ms).min(end);
        if now >= end {
            log::warn!("no room in the store for {grace_ms} ms, publishers are closed unacknowledged: {why}");
            self.give_up_staged("the store is full");
        }
    }

    fn give_up_staged(&mut self, detail: &str) {
        self.close_waiting_publishers(detail);
        self.fail_staged(detail);
    }

    fn close_waiting_publishers(&mut self, detail: &str) {
        for slot in std::mem::take(&mut self.waiting) {
            if self.conns.get(slot).is_some_and(|conn| conn.pause.store) {
                // The message that waited; what is unread behind it nobody knows.
                self.hub.stats.unacked.add(&["storage_failure", "", ""], 1);
                self.begin_close(slot, crate::control::CloseReason::StoreError, detail);
            } else {
                self.waiting.push(slot);
            }
        }
    }

    fn unblock_store(&mut self) {
        if self.ingress.blocked_since.take().is_none() {
            return;
        }
        for slot in 0..self.waiting.len() {
            let slot = self.waiting[slot];
            if let Some(conn) = self.conns.get_mut(slot) {
                conn.pause.store = false;
            }
        }
        self.retry_waiting();
    }

    /// Publishes a will like a message of its client (section 1.2.5); on a topic that is not the client's
    /// telemetry it is dropped.
    pub(super) fn publish_will(&mut self, grants: &Grants, will: &WillMessage) {
        let Topic::Telemetry { bag } = grants.classify(&will.topic) else {
            self.hub.stats.dropped.add(&["will_topic", &grants.identity(), ""], 1);
            return;
        };
        let ingress = &mut self.ingress;
        ingress.properties.clear();
        if !bag.is_empty() && ingress.bag.decode(bag, &mut ingress.properties).is_err() {
            self.hub.stats.dropped.add(&[NoticeKind::BadProperties.name(), &grants.identity(), ""], 1);
            return;
        }
        ingress.mark(will.retain, &self.hub.config.retain_property, "true");
        ingress.mark(true, &self.hub.config.will_property, "Will");
        let message = Message { grants, kind: Kind::Telemetry, body: &will.payload };
        ingress.route_and_push(&self.hub, self.now, &message, will.qos > 0);
    }

    /// Publishes an update of reported properties in the name of the client (heads section 7.3). Nobody waits for it:
    /// when the store takes nothing and enough is staged already, it is dropped and counted.
    pub(super) fn publish_twin_change(&mut self, change: &TwinChange) {
        let grants = Grants {
            device_id: change.device.clone(),
            module_id: change.module.clone(),
            ..Grants::default()
        };
        let ingress = &mut self.ingress;
        if ingress.is_blocked() && ingress.is_full() {
            count_drop(self.hub.stats(), "store_refused", &grants, None);
            return;
        }
        ingress.properties.clear();
        // A constant always fits.
        let schema = PropertyKey::System(SystemProperty::MessageSchema);
        let _ = ingress.properties.push(schema, Some(TWIN_CHANGE));
        let message = Message { grants: &grants, kind: Kind::TwinChange, body: &change.patch };
        ingress.route_and_push(&self.hub, self.now, &message, true);
    }

    pub(super) fn mark_drain(&mut self, slot: usize) {
        self.to_drain.push(slot);
    }
}
