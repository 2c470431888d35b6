//! Totals as a dictionary.

use std::sync::atomic::Ordering;

use edgehub_engine::{Family, Hub, RouteLag};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// Label values and count of one counter.
type Row = (Vec<String>, u64);

pub(crate) fn snapshot<'py>(py: Python<'py>, hub: &Hub) -> PyResult<Bound<'py, PyDict>> {
    let stats = hub.stats();
    let totals = PyDict::new(py);
    totals.set_item("received", rows(py, &stats.received, received_labels)?)?;
    totals.set_item("sent", stats.sent.snapshot().into_iter().filter_map(sent_row).collect::<Vec<_>>())?;
    totals.set_item("dropped", dropped(py, hub)?)?;
    totals.set_item("unack", rows(py, &stats.unacked, |labels| labels)?)?;
    totals.set_item("queues", hub.queue_lengths())?;
    totals.set_item("lost", hub.queue_losses())?;
    totals.set_item("lag", hub.route_lags().into_iter().map(lag_row).collect::<Vec<_>>())?;
    totals.set_item("routes", hub.routing_table().matches())?;
    totals.set_item("counters", counters(py, hub)?)?;
    totals.set_item("connections", connections(py, hub)?)?;
    totals.set_item("store", store(py, hub)?)?;
    totals.set_item("memory", memory(py, hub)?)?;
    Ok(totals)
}

/// With what the store drops where it would have been leased: it does not look at the sender.
fn dropped<'py>(py: Python<'py>, hub: &Hub) -> PyResult<Bound<'py, PyList>> {
    let mut rows = hub.stats().dropped.snapshot();
    let stats = hub.store().stats();
    for (reason, count) in
        [("ttl_expiry", stats.expired), ("damaged", stats.damaged), ("quota", stats.quota_dropped)]
    {
        add_to(&mut rows, [reason, "", ""], count);
    }
    let list = PyList::empty(py);
    rows.into_iter().try_for_each(|labelled| list.append(row(py, labelled)?))?;
    Ok(list)
}

/// Route, endpoint, priority, messages, bytes, milliseconds.
fn lag_row(lag: RouteLag) -> (String, String, u32, u64, u64, u64) {
    let RouteLag { route, endpoint, priority, messages, bytes, age_ms } = lag;
    (route, endpoint, priority, messages, bytes, age_ms)
}

/// Adds to the row with these labels. Each set of labels may be in a family only once.
fn add_to(rows: &mut Vec<Row>, labels: [&str; 3], count: u64) {
    if count == 0 {
        return;
    }
    match rows.iter_mut().find(|(known, _)| *known == labels) {
        Some((_, total)) => *total += count,
        None => rows.push((labels.map(str::to_owned).to_vec(), count)),
    }
}

/// Each row: the label values, then the count.
fn rows<'py>(
    py: Python<'py>,
    family: &Family,
    labels_of: impl Fn(Vec<String>) -> Vec<String>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (labels, count) in family.snapshot() {
        list.append(row(py, (labels_of(labels), count))?)?;
    }
    Ok(list)
}

fn row(py: Python<'_>, (labels, count): Row) -> PyResult<Bound<'_, PyTuple>> {
    let fields = PyList::new(py, labels)?;
    fields.append(count)?;
    Ok(fields.to_tuple())
}

/// Device, module, output -> id, output.
fn received_labels(labels: Vec<String>) -> Vec<String> {
    match <[String; 3]>::try_from(labels) {
        Ok([device, module, output]) => vec![identity(&device, &module), output],
        Err(other) => other.into_iter().chain([String::new()]).take(2).collect(),
    }
}

/// Device, module, output, target, input, priority -> from, to, output, input, priority, count.
fn sent_row((labels, count): Row) -> Option<(String, String, String, String, u32, u64)> {
    let [device, module, output, target, input, priority] = <[String; 6]>::try_from(labels).ok()?;
    let priority = priority.parse().ok()?;
    Some((identity(&device, &module), target, output, input, priority, count))
}

fn identity(device: &str, module: &str) -> String {
    if module.is_empty() { device.to_owned() } else { format!("{device}/{module}") }
}

fn counters<'py>(py: Python<'py>, hub: &Hub) -> PyResult<Bound<'py, PyDict>> {
    let stats = hub.stats();
    let counters = PyDict::new(py);
    for (name, counter) in [("redeliveries", &stats.redeliveries), ("turns", &stats.turns)] {
        counters.set_item(name, counter.load(Ordering::Relaxed))?;
    }
    counters.set_item("control_events_dropped", hub.control().dropped())?;
    let io = &stats.io;
    for (name, counter) in [
        ("io_reads", &io.reads),
        ("io_writes", &io.writes),
        ("io_polls", &io.polls),
        ("io_wakes", &io.wakes),
        ("accepts_held", &io.accepts_held),
    ] {
        counters.set_item(name, counter.load(Ordering::Relaxed))?;
    }
    Ok(counters)
}

fn connections<'py>(py: Python<'py>, hub: &Hub) -> PyResult<Bound<'py, PyDict>> {
    let stats = hub.stats();
    let connections = PyDict::new(py);
    for (name, counter) in [
        ("opened", &stats.connections_opened),
        ("open", &stats.connections_open),
        ("refused", &stats.connections_refused),
    ] {
        connections.set_item(name, counter.load(Ordering::Relaxed))?;
    }
    connections.set_item("unauthenticated", hub.unauthenticated())?;
    Ok(connections)
}

/// What is kept for later use, and how it was given back.
fn memory<'py>(py: Python<'py>, hub: &Hub) -> PyResult<Bound<'py, PyDict>> {
    let reclaim = hub.reclaim();
    let memory = PyDict::new(py);
    memory.set_item("io_kept_bytes", reclaim.kept_bytes())?;
    memory.set_item("store_kept_bytes", hub.store().stats().kept_bytes)?;
    memory.set_item("io_freed_bytes", reclaim.freed_bytes())?;
    memory.set_item("trims", reclaim.trims())?;
    Ok(memory)
}

fn store<'py>(py: Python<'py>, hub: &Hub) -> PyResult<Bound<'py, PyDict>> {
    let stats = hub.store().stats();
    let store = PyDict::new(py);
    for (name, value) in [
        ("appended_msgs", stats.appended_msgs),
        ("bytes_written", stats.bytes_written),
        ("writes", stats.writes),
        ("reads", stats.reads),
        ("syncs", stats.syncs),
        ("sync_ns_total", stats.sync_ns_total),
        ("sync_ns_max", stats.sync_ns_max),
        ("segments", stats.segments),
        ("disk_bytes", stats.disk_bytes),
        ("used_bytes", stats.used_bytes),
        ("quota_refused", stats.quota_refused),
        ("quota_dropped", stats.quota_dropped),
        ("live_messages", stats.live_messages),
        ("unsynced_bytes", stats.unsynced_bytes),
        ("expired", stats.expired),
        ("damaged", stats.damaged),
        ("given_up", stats.given_up),
        ("clock_steps", stats.clock_steps),
        ("recovered", stats.recovered),
    ] {
        store.set_item(name, value)?;
    }
    if stats.quota_bytes < u64::MAX {
        store.set_item("quota_bytes", stats.quota_bytes)?;
    }
    store.set_item("pressure", u8::from(hub.store().pressure()))?;
    store.set_item("poisoned", u8::from(hub.store().is_poisoned().is_some()))?;
    Ok(store)
}
