//! Where routes lead.

use crate::lang::route::Sink;

/// Id of the endpoint that is the hub above.
pub const UPSTREAM_ID: &str = "iothub";

/// What an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointKind {
    /// The hub above: `$upstream`.
    Upstream,
    /// An input of a module on this device. Both names are case-sensitive.
    ModuleInput {
        /// Module id.
        module: String,
        /// Input name.
        input: String,
    },
}

/// An endpoint; routes with the same sink share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `iothub`, or `{edgeDeviceId}/{module}/{input}`: the base of the names of its queues.
    pub id: String,
    /// What it is.
    pub kind: EndpointKind,
}

impl Endpoint {
    pub(crate) fn of(sink: &Sink, edge_device_id: &str) -> Endpoint {
        match sink {
            Sink::Upstream => Endpoint { id: UPSTREAM_ID.to_owned(), kind: EndpointKind::Upstream },
            Sink::ModuleInput { module, input } => Endpoint {
                id: format!("{edge_device_id}/{module}/{input}"),
                kind: EndpointKind::ModuleInput { module: module.clone(), input: input.clone() },
            },
        }
    }
}
