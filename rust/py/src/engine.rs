//! The engine object.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use edgehub_engine::{Command, ConnId, Filters, Hub, Outcome, QoS, RoutesError, TwinChange, Waker};
use edgehub_net::{EventFd, IoThreads, NetError, SystemClock, TlsIdentity, TlsOptions, TlsVersions};
use edgehub_store::{Media, OverflowPolicy, Quota, Store, SyncPolicy};
use edgehub_types::Clock;
use log::LevelFilter;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::batch::UpstreamBatch;
use crate::door::without_gil;
use crate::errors::{ConfigError, CoreError, Failure};
use crate::grants::Grants;
use crate::outbox::Outbox;
use crate::profile::Profile;
use crate::routes::{RouteFault, RouteTuple, declarations, route_error};
use crate::{events, log_lines, metrics};

/// A command that is about no connection goes to the first shard.
const ANY_SHARD: ConnId = ConnId(0);
/// In place of a listener: the connection was adopted. Listeners count from 1.
const ADOPTED: u32 = 0;

/// The data plane and its threads.
#[pyclass(frozen, module = "edgehub._core")]
pub(crate) struct Engine {
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    events: Arc<EventFd>,
    profile: Profile,
    outbox: Outbox,
    threads: Mutex<Option<Arc<IoThreads>>>,
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, edge_device_id, storage_dir=None, sync="group", sync_interval_ms=1000,
        sync_min_interval_ms=0, spill_index_entries=None, io_threads=Some(0), low_memory=false, pooled_buffers=true,
        packet_bytes_max=262_144, connect_timeout_ms=60_000, keep_alive_max_ms=600_000,
        ack_timeout_ms=30_000, connections_max=4096, unauthenticated_max=None, listen_backlog=200,
        retransmissions_max=None, abort_on_bad_puback=false, retain_property="mqtt-retain",
        dup_property="mqtt-dup", qos_property="mqtt-qos", delivery_qos=1, will_property="MessageType",
        connects_per_s=0, log_level=30, sender_of_topic=false, sent_renews_keep_alive=false,
        message_bytes_max=262_144, closes_on_drop=false))]
    // One keyword per setting; Python has no other way.
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn py_new(
        py: Python<'_>,
        edge_device_id: String,
        storage_dir: Option<PathBuf>,
        sync: &str,
        sync_interval_ms: u64,
        sync_min_interval_ms: u64,
        spill_index_entries: Option<usize>,
        io_threads: Option<usize>,
        low_memory: bool,
        pooled_buffers: bool,
        packet_bytes_max: usize,
        connect_timeout_ms: u64,
        keep_alive_max_ms: u64,
        ack_timeout_ms: u64,
        connections_max: usize,
        unauthenticated_max: Option<usize>,
        listen_backlog: u32,
        retransmissions_max: Option<u32>,
        abort_on_bad_puback: bool,
        retain_property: &str,
        dup_property: &str,
        qos_property: &str,
        delivery_qos: u8,
        will_property: &str,
        connects_per_s: u32,
        log_level: u32,
        sender_of_topic: bool,
        sent_renews_keep_alive: bool,
        message_bytes_max: usize,
        closes_on_drop: bool,
    ) -> PyResult<Self> {
        let mut profile = Profile::choose(low_memory, pooled_buffers);
        profile.store.sync = sync_policy(sync, sync_interval_ms)?;
        profile.store.sync_min_interval_ms = sync_min_interval_ms;
        if let Some(entries) = spill_index_entries {
            // With more, the index could be full before anything is moved.
            profile.store.spill.index_entries = entries.min(profile.store.index_entries_max / 2);
        }
        let config = &mut profile.engine;
        config.edge_device_id = edge_device_id;
        config.packet_bytes_max = packet_bytes_max;
        (config.message_bytes_max, config.closes_on_drop) = (message_bytes_max, closes_on_drop);
        config.connect_timeout_ms = connect_timeout_ms;
        config.keep_alive_max_ms = keep_alive_max_ms;
        config.ack_timeout_ms = ack_timeout_ms;
        config.connections_max = connections_max;
        config.retransmissions_max = retransmissions_max;
        config.abort_on_bad_puback = abort_on_bad_puback;
        (config.retain_property, config.dup_property) = (retain_property.to_owned(), dup_property.to_owned());
        (config.qos_property, config.will_property) = (qos_property.to_owned(), will_property.to_owned());
        config.delivery_qos = QoS::from_bits(delivery_qos)
            .ok_or_else(|| ConfigError::new_err("delivery_qos is not 0, 1 or 2"))?;
        config.unauthenticated_max = unauthenticated_max.unwrap_or(config.unauthenticated_max);
        config.sender_of_topic = sender_of_topic;
        config.sent_renews_keep_alive = sent_renews_keep_alive;
        profile.net.listen_backlog = listen_backlog;
        profile.net.connects_per_s = connects_per_s;
        without_gil(py, || open(profile, storage_dir, io_threads, log_lines::filter(log_level)))
    }

    fn start(&self) -> PyResult<()> {
        let mut threads = self.threads.lock();
        if threads.is_none() && self.serves() {
            let started = IoThreads::start(&self.hub, self.profile.net.clone(), self.clock.clone());
            *threads = Some(Arc::new(started.map_err(Failure::from)?));
        }
        Ok(())
    }

    fn stop(&self, py: Python<'_>, drain_ms: u64) -> PyResult<()> {
        let threads = self.threads.lock().take();
        without_gil(py, || {
            if let Some(threads) = threads {
                threads.stop(drain_ms);
            }
            self.hub.store().close().map_err(Failure::from)
        })
    }

    #[pyo3(signature = (host, port, tls_chain_pem=None, tls_key_pem=None, *,
        tls_versions=None, client_certificates=false))]
    fn listen(
        &self,
        host: &str,
        port: u16,
        tls_chain_pem: Option<Vec<u8>>,
        tls_key_pem: Option<Vec<u8>>,
        tls_versions: Option<Vec<String>>,
        client_certificates: bool,
    ) -> PyResult<(u32, u16)> {
        let versions = tls_versions.map_or(Ok(TlsVersions::Both), |names| versions_of(&names))?;
        let tls = match (tls_chain_pem, tls_key_pem) {
            (None, None) => None,
            (Some(chain_pem), Some(key_pem)) => Some(TlsOptions {
                identity: TlsIdentity { chain_pem, key_pem },
                versions,
                asks_certificates: client_certificates,
            }),
            _ => return Err(ConfigError::new_err("TLS needs both a certificate chain and a key")),
        };
        let listening = self.running()?.listen(host, port, tls.as_ref());
        Ok(listening.map_err(Failure::from)?)
    }

    fn set_tls(&self, py: Python<'_>, listener: u32, chain_pem: Vec<u8>, key_pem: Vec<u8>) -> PyResult<()> {
        let threads = self.running()?;
        let identity = TlsIdentity { chain_pem, key_pem };
        without_gil(py, || threads.set_tls(listener, &identity).map_err(Failure::from))
    }

    fn adopt(&self, fd: i32, peer: String) -> PyResult<()> {
        let threads = self.running()?;
        let failed = |error: io::Error| PyErr::from(Failure::from(NetError::Adopt(error)));
        if fd < 0 {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        }
        // SAFETY: the caller's descriptor is only copied, during this call; a closed one gives an error.
        let copy = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().map_err(failed)?;
        Ok(threads.adopt(UnixStream::from(copy), peer, ADOPTED).map_err(Failure::from)?)
    }

    fn close_listener(&self, listener: u32) -> PyResult<()> {
        self.running()?.close_listener(listener);
        Ok(())
    }

    fn event_fd(&self) -> i32 {
        self.events.raw()
    }

    #[pyo3(signature = (events_max=256))]
    fn next_events(&self, py: Python<'_>, events_max: usize) -> PyResult<Vec<Py<PyAny>>> {
        self.events.drain();
        let taken = self.hub.control().take(events_max);
        if self.hub.control().has_events() {
            // The queue wakes only when it was empty; what stays behind wakes by itself.
            Waker::wake(&*self.events);
        }
        let lines = log_lines::RING.take().into_iter().map(|line| log_lines::to_python(py, line));
        taken.into_iter().map(|event| events::to_python(py, event)).chain(lines).collect()
    }

    fn hold(&self) {
        self.outbox.hold();
    }

    fn flush(&self) {
        self.outbox.flush(&self.hub);
    }

    #[pyo3(signature = (conn, grants, *, session_present, subscriptions=Vec::new(), inputs_active=false))]
    fn accept(
        &self,
        conn: u64,
        grants: &Bound<'_, Grants>,
        session_present: bool,
        subscriptions: Vec<(String, u8, u64)>,
        inputs_active: bool,
    ) {
        let grants = Box::new(grants.get().inner.clone());
        let filters = Filters { added: subscriptions, inputs_active };
        let conn = ConnId(conn);
        self.outbox.send(&self.hub, conn, Command::Accept { conn, grants, session_present, filters });
    }

    fn refuse(&self, conn: u64, code: u8) {
        let conn = ConnId(conn);
        self.outbox.send(&self.hub, conn, Command::Refuse { conn, code });
    }

    #[pyo3(signature = (conn, packet_id, codes, added, *, inputs_active))]
    fn suback(
        &self,
        conn: u64,
        packet_id: u16,
        codes: Vec<u8>,
        added: Vec<(String, u8, u64)>,
        inputs_active: bool,
    ) {
        let conn = ConnId(conn);
        let filters = Filters { added, inputs_active };
        self.outbox.send(&self.hub, conn, Command::SubAck { conn, packet_id, codes, filters });
    }

    #[pyo3(signature = (conn, packet_id, removed, *, inputs_active))]
    fn unsuback(&self, conn: u64, packet_id: u16, removed: Vec<String>, inputs_active: bool) {
        let conn = ConnId(conn);
        self.outbox.send(&self.hub, conn, Command::UnsubAck { conn, packet_id, removed, inputs_active });
    }

    fn puback(&self, conn: u64, packet_id: u16) {
        let conn = ConnId(conn);
        self.outbox.send(&self.hub, conn, Command::PubAck { conn, packet_id });
    }

    fn request_done(&self, conn: u64) {
        let conn = ConnId(conn);
        self.outbox.send(&self.hub, conn, Command::RequestDone { conn });
    }

    #[pyo3(signature = (conn, topic, payload, qos, *, token=None, created_ms=None))]
    fn send(
        &self,
        conn: u64,
        topic: String,
        payload: Vec<u8>,
        qos: u8,
        token: Option<u64>,
        created_ms: Option<u64>,
    ) {
        let conn = ConnId(conn);
        self.outbox.send(&self.hub, conn, Command::Send { conn, topic, payload, qos, token, created_ms });
    }

    fn twin_changed(&self, device_id: String, module_id: Option<String>, patch: Vec<u8>) {
        let change = TwinChange { device: device_id, module: module_id.unwrap_or_default(), patch };
        self.outbox.send(&self.hub, ANY_SHARD, Command::TwinChange(Box::new(change)));
    }

    #[pyo3(signature = (conn, reason, *, after_acks=false))]
    fn close(&self, conn: u64, reason: String, after_acks: bool) {
        let conn = ConnId(conn);
        let command =
            if after_acks { Command::Retire { conn, reason } } else { Command::Close { conn, reason } };
        self.outbox.send(&self.hub, conn, command);
    }

    #[pyo3(signature = (routes, *, default_ttl_secs))]
    fn set_routes(&self, py: Python<'_>, routes: Vec<RouteTuple>, default_ttl_secs: i64) -> PyResult<()> {
        let routes = declarations(routes);
        let result = py.detach(|| self.hub.set_routes(&routes, default_ttl_secs));
        result.map_err(|error| match error {
            RoutesError::Compile(errors) => route_error(py, errors.iter().map(RouteFault::from).collect()),
            RoutesError::Store(error) => Failure::Store(error).into(),
            other => CoreError::new_err(other.to_string()),
        })
    }

    fn set_quota(&self, py: Python<'_>, bytes_max: Option<i64>, overflow_policy: &str) -> PyResult<()> {
        let policy = OverflowPolicy::from_name(overflow_policy).ok_or_else(|| {
            ConfigError::new_err(format!(
                "overflow policy is {overflow_policy:?}; expected 'rejectNew', 'dropOldest' or 'dropLowestPriority'"
            ))
        })?;
        let bytes_max = bytes_max.map_or(u64::MAX, |bytes| u64::try_from(bytes).unwrap_or(0));
        py.detach(|| self.hub.store().set_quota(Some(Quota { bytes_max, policy })));
        Ok(())
    }

    fn upstream_take(
        &self,
        py: Python<'_>,
        batch_msgs_max: usize,
        batch_bytes_max: usize,
        senders_max: usize,
    ) -> PyResult<Vec<UpstreamBatch>> {
        let taken = without_gil(py, || {
            self.hub.upstream_take(batch_msgs_max, batch_bytes_max, senders_max).map_err(Failure::from)
        })?;
        Ok(taken.into_iter().map(|batch| UpstreamBatch::new(py, batch)).collect())
    }

    fn upstream_settle(&self, token: u64, outcome: &str) -> PyResult<()> {
        let outcome = match outcome {
            "delivered" => Outcome::Delivered,
            "rejected" => Outcome::Rejected,
            "retry" => Outcome::Retry,
            other => {
                let text = format!("outcome is {other:?}; expected 'delivered', 'rejected' or 'retry'");
                return Err(ConfigError::new_err(text));
            }
        };
        self.hub.upstream_settle(token, outcome);
        Ok(())
    }

    fn upstream_link_down(&self) {
        self.hub.upstream_link_down();
    }

    fn memory_budget<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.profile.budget(py)
    }

    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        metrics::snapshot(py, &self.hub)
    }
}

impl Engine {
    fn running(&self) -> PyResult<Arc<IoThreads>> {
        let threads = self.threads.lock().clone();
        threads.ok_or_else(|| {
            CoreError::new_err(if self.serves() {
                "the engine does not run; call start() first"
            } else {
                "the engine serves no clients: io_threads is None"
            })
        })
    }

    /// Whether there is a shard for clients; without one no thread is needed.
    fn serves(&self) -> bool {
        self.hub.mailbox(0).is_some()
    }
}

fn sync_policy(name: &str, interval_ms: u64) -> PyResult<SyncPolicy> {
    match name.to_ascii_lowercase().as_str() {
        "group" => Ok(SyncPolicy::Group),
        "interval" => Ok(SyncPolicy::Interval { interval_ms }),
        "none" => Ok(SyncPolicy::None),
        _ => Err(ConfigError::new_err(format!("sync is {name:?}; expected 'group', 'interval' or 'none'"))),
    }
}

fn versions_of(names: &[String]) -> PyResult<TlsVersions> {
    let has = |name: &str| names.iter().any(|other| other == name);
    match (has("1.2"), has("1.3")) {
        _ if names.iter().any(|name| name != "1.2" && name != "1.3") => {
            Err(ConfigError::new_err(format!("TLS versions are {names:?}; expected '1.2', '1.3' or both")))
        }
        (true, true) => Ok(TlsVersions::Both),
        (true, false) => Ok(TlsVersions::Tls12),
        (false, true) => Ok(TlsVersions::Tls13),
        (false, false) => Err(ConfigError::new_err("no TLS version; expected '1.2', '1.3' or both")),
    }
}

fn open(
    profile: Profile,
    storage_dir: Option<PathBuf>,
    io_threads: Option<usize>,
    log_level: LevelFilter,
) -> Result<Engine, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let events = Arc::new(EventFd::new().map_err(|error| Failure::Config(error.to_string()))?);
    // First of all: the recovery of the store has things to tell.
    let waker: Arc<dyn Waker> = events.clone();
    log_lines::RING.install(&waker, log_level);
    let media = match storage_dir {
        Some(dir) => Media::Disk(Arc::new(edgehub_store::FileStorage::open(&dir)?)),
        None => Media::Memory,
    };
    let (store, _recovery) = Store::open(media, profile.store.clone(), clock.clone())?;
    let hub = Hub::new(profile.engine.clone(), store, io_threads.map_or(0, IoThreads::shards_for));
    hub.control().set_waker(events.clone());
    Ok(Engine { hub, clock, events, profile, outbox: Outbox::default(), threads: Mutex::new(None) })
}
