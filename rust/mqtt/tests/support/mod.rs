//! Vectors from `tests/vectors/mqtt` and the description of a packet that they use.

use edgehub_mqtt::{Connect, Packet};
use serde_json::{Value, json};

/// Limit that the vectors assume.
pub const PACKET_BYTES_MAX: usize = 262_144;

/// Reads one vector file.
pub fn load(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/mqtt/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{path}: {err}"));
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// A non-empty array in a vector file.
pub fn array<'a>(doc: &'a Value, key: &str) -> &'a [Value] {
    let rows = doc[key].as_array().unwrap_or_else(|| panic!("{key} is not an array"));
    assert!(!rows.is_empty(), "{key} is empty");
    rows
}

pub fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("{key} is not text in {row}"))
}

/// The bytes of a vector.
pub fn bytes(row: &Value) -> Vec<u8> {
    let hex = text(row, "hex").as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).unwrap_or_else(|| panic!("{row}")) as u8;
    hex.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// What a packet says, in the words of the vector files.
pub fn describe(packet: &Packet<'_>) -> Value {
    let name = packet.packet_type().name();
    match packet {
        Packet::Connect(connect) => describe_connect(connect),
        Packet::ConnAck(ack) => {
            json!({"type": name, "session_present": ack.session_present, "code": ack.code.byte()})
        }
        Packet::Publish(p) => json!({
            "type": name, "dup": p.dup, "qos": p.qos.bits(), "retain": p.retain, "topic": p.topic,
            "packet_id": p.packet_id.map(u16::from), "payload_hex": hex(p.payload),
        }),
        Packet::PubAck(id)
        | Packet::PubRec(id)
        | Packet::PubRel(id)
        | Packet::PubComp(id)
        | Packet::UnsubAck(id) => json!({"type": name, "packet_id": id.get()}),
        Packet::Subscribe(s) => {
            let filters: Vec<_> =
                s.filters().map(|(filter, qos)| json!({"filter": filter, "qos": qos.bits()})).collect();
            json!({"type": name, "packet_id": s.packet_id.get(), "filters": filters})
        }
        Packet::SubAck(s) => {
            let codes: Vec<_> = s.codes().map(edgehub_mqtt::SubAckCode::byte).collect();
            json!({"type": name, "packet_id": s.packet_id.get(), "codes": codes})
        }
        Packet::Unsubscribe(u) => {
            json!({"type": name, "packet_id": u.packet_id.get(), "filters": u.filters().collect::<Vec<_>>()})
        }
        Packet::PingReq | Packet::PingResp | Packet::Disconnect => json!({"type": name}),
    }
}

fn describe_connect(connect: &Connect<'_>) -> Value {
    let will = connect.will.map(|will| {
        json!({
            "topic": will.topic, "message_hex": hex(will.message), "qos": will.qos.bits(), "retain": will.retain,
        })
    });
    json!({
        "type": "CONNECT", "clean_session": connect.clean_session, "keep_alive_s": connect.keep_alive_s,
        "client_id": connect.client_id, "will": will, "user_name": connect.user_name,
        "password_hex": connect.password.map(hex),
    })
}
