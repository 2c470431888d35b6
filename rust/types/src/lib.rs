//! Messages, properties, identifiers, units and the seams for time and storage; no I/O.
