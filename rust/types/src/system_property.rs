//! The system properties that a message can carry and the names they have on each protocol.

/// A system property of a telemetry message (routing section 6.3, protocol heads section 1.6).
///
/// Properties that follow from the sender (`connectionDeviceId`, ...) are not listed here: they are
/// part of the message's head and cannot be set by a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the names say it; the table below gives each its wire names
pub enum SystemProperty {
    MessageId = 1,
    CorrelationId = 2,
    UserId = 3,
    To = 4,
    AbsoluteExpiryTime = 5,
    ContentType = 6,
    ContentEncoding = 7,
    OutputName = 8,
    MessageSchema = 9,
    CreationTime = 10,
    InterfaceId = 11,
    ComponentName = 12,
    Ack = 13,
    Operation = 14,
}

struct Row {
    property: SystemProperty,
    name: &'static str,
    bag_key: &'static str,
    sent_to_client: bool,
}

const fn row(
    property: SystemProperty,
    name: &'static str,
    bag_key: &'static str,
    sent_to_client: bool,
) -> Row {
    Row { property, name, bag_key, sent_to_client }
}

/// Property, name in routes, key in an MQTT property bag, whether it goes out to clients.
const ROWS: [Row; 14] = [
    row(SystemProperty::MessageId, "messageId", "$.mid", true),
    row(SystemProperty::CorrelationId, "cid", "$.cid", true),
    row(SystemProperty::UserId, "userId", "$.uid", true),
    row(SystemProperty::To, "to", "$.to", true),
    row(SystemProperty::AbsoluteExpiryTime, "absolute-expiry-time", "$.exp", true),
    row(SystemProperty::ContentType, "contentType", "$.ct", true),
    row(SystemProperty::ContentEncoding, "contentEncoding", "$.ce", true),
    row(SystemProperty::OutputName, "outputName", "$.on", false),
    row(SystemProperty::MessageSchema, "messageSchema", "$.schema", true),
    row(SystemProperty::CreationTime, "creationTime", "$.ctime", true),
    row(SystemProperty::InterfaceId, "iothub-interface-id", "$.ifid", false),
    row(SystemProperty::ComponentName, "dt-subject", "$.sub", true),
    row(SystemProperty::Ack, "ack", "ack", true),
    row(SystemProperty::Operation, "operation", "iothub-operation", true),
];

impl SystemProperty {
    /// All of them, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.property)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize - 1]
    }

    /// The property with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        ROWS.get((number as usize).checked_sub(1)?).map(|row| row.property)
    }

    /// The property that an MQTT bag key names (already percent-decoded); keys are case-sensitive.
    pub fn from_bag_key(key: &[u8]) -> Option<Self> {
        if !matches!(key.first(), Some(b'$' | b'a' | b'i')) {
            return None;
        }
        ROWS.iter().find(|row| row.bag_key.as_bytes() == key).map(|row| row.property)
    }

    /// The property with this name in the route language; names are case-insensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.property)
    }

    /// Name in the route language.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Key in an MQTT property bag, not percent-encoded.
    pub fn bag_key(self) -> &'static str {
        self.row().bag_key
    }

    /// Whether the property is written into the bag of a message that goes to a client.
    pub fn sent_to_client(self) -> bool {
        self.row().sent_to_client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_number() {
        for property in SystemProperty::all() {
            assert_eq!(SystemProperty::from_number(property as u8), Some(property));
            assert_eq!(SystemProperty::from_bag_key(property.bag_key().as_bytes()), Some(property));
            assert_eq!(SystemProperty::from_name(&property.name().to_uppercase()), Some(property));
        }
        assert_eq!(SystemProperty::from_number(0), None);
        assert_eq!(SystemProperty::from_number(15), None);
    }

    #[test]
    fn bag_keys_are_case_sensitive_and_exact() {
        assert_eq!(SystemProperty::from_bag_key(b"$.MID"), None);
        assert_eq!(SystemProperty::from_bag_key(b"$.mid2"), None);
        assert_eq!(SystemProperty::from_bag_key(b"ack"), Some(SystemProperty::Ack));
        assert_eq!(SystemProperty::from_bag_key(b""), None);
    }
}
