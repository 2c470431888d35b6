//! One MQTT client without its socket.

use std::num::NonZeroU16;

use edgehub_mqtt::{
    Connect, ConnectReturnCode, EncodeError, Packet, PacketId, QoS, SubAck, SubAckCode, encode_connect,
    encode_pingreq, encode_subscribe,
};

use crate::clients::{ClientSpec, RoleSpec};
use crate::config::RunConfig;
use crate::error::ClientError;
use crate::publisher::Publisher;
use crate::sequence::StreamCounts;
use crate::subscriber::Subscriber;
use crate::tally::Tally;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Subscribing,
    Ready,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "waiting for CONNACK",
            Self::Subscribing => "waiting for SUBACK",
            Self::Ready => "running",
        }
    }
}

#[derive(Debug)]
enum Role {
    Publisher(Publisher),
    Subscriber(Subscriber),
}

/// A client: packets in, bytes out.
#[derive(Debug)]
pub struct Client {
    spec: ClientSpec,
    qos: QoS,
    keep_alive_s: u16,
    state: State,
    role: Role,
}

impl Client {
    /// A client that has said nothing yet. `index` is that of a publisher among the publishers.
    ///
    /// # Errors
    /// The topic of a publisher is not a topic name.
    pub fn new(
        spec: ClientSpec,
        index: usize,
        publishers: usize,
        config: &RunConfig,
    ) -> Result<Self, EncodeError> {
        let payload_bytes = config.payload_bytes;
        let window = NonZeroU16::new(config.window).unwrap_or(NonZeroU16::MIN);
        let role = match &spec.role {
            RoleSpec::Publisher(topic) => {
                Role::Publisher(Publisher::new(index as u32, topic, config.qos, window, payload_bytes)?)
            }
            RoleSpec::Subscriber(_) => Role::Subscriber(Subscriber::new(publishers, payload_bytes)),
        };
        Ok(Self { spec, qos: config.qos, keep_alive_s: config.keep_alive_s, state: State::Connecting, role })
    }

    /// Its MQTT client identifier.
    pub fn client_id(&self) -> &str {
        &self.spec.client_id
    }

    /// Whether it is connected and, if it subscribes, subscribed.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// The publisher in it.
    pub const fn publisher(&mut self) -> Option<&mut Publisher> {
        match &mut self.role {
            Role::Publisher(publisher) => Some(publisher),
            Role::Subscriber(_) => None,
        }
    }

    /// What it has received, if it subscribes.
    pub const fn subscriber_counts(&self) -> Option<StreamCounts> {
        match &self.role {
            Role::Publisher(_) => None,
            Role::Subscriber(subscriber) => Some(subscriber.counts()),
        }
    }

    /// Whether it is allowed to send more than it has sent.
    pub const fn has_to_send(&self) -> bool {
        match &self.role {
            Role::Publisher(publisher) => publisher.has_to_send(),
            Role::Subscriber(_) => false,
        }
    }

    /// Appends CONNECT.
    ///
    /// # Errors
    /// A credential cannot be written.
    pub fn start(&self, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let connect = Connect {
            clean_session: true,
            keep_alive_s: self.keep_alive_s,
            client_id: &self.spec.client_id,
            will: None,
            user_name: self.spec.username.as_deref(),
            password: self.spec.password.as_deref().map(str::as_bytes),
        };
        Ok(encode_connect(out, &connect)?)
    }

    /// Appends PINGREQ.
    pub fn ping(&self, out: &mut Vec<u8>) {
        if self.is_ready() {
            encode_pingreq(out);
        }
    }

    /// Takes one packet from the broker; what it calls for is appended.
    ///
    /// # Errors
    /// A refusal, a packet that has no place here, or a message that is not of this run.
    #[inline]
    pub fn receive(
        &mut self,
        packet: &Packet<'_>,
        now_ns: u64,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<(), ClientError> {
        match (packet, &mut self.role, self.state) {
            (Packet::Publish(publish), Role::Subscriber(subscriber), State::Ready | State::Subscribing) => {
                subscriber.on_publish(publish, now_ns, out, tally)
            }
            (Packet::PubAck(id), Role::Publisher(publisher), State::Ready) => publisher.on_ack(*id, tally),
            _ => self.receive_control(packet, out),
        }
    }

    /// Appends what the window admits.
    #[inline]
    pub fn fill(&mut self, now_ns: u64, out: &mut Vec<u8>, tally: &mut Tally) {
        if let (Role::Publisher(publisher), State::Ready) = (&mut self.role, self.state) {
            publisher.fill(now_ns, out, tally);
        }
    }

    fn receive_control(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), ClientError> {
        match (packet, self.state) {
            (Packet::ConnAck(connack), State::Connecting) => self.on_connack(connack.code, out),
            (Packet::SubAck(suback), State::Subscribing) => self.on_suback(suback),
            (Packet::PingResp, State::Ready) => Ok(()),
            _ => Err(ClientError::Unexpected { packet: packet.packet_type(), state: self.state.name() }),
        }
    }

    fn on_connack(&mut self, code: ConnectReturnCode, out: &mut Vec<u8>) -> Result<(), ClientError> {
        if code != ConnectReturnCode::Accepted {
            return Err(ClientError::Refused(code.byte()));
        }
        match &self.spec.role {
            RoleSpec::Publisher(_) => self.state = State::Ready,
            RoleSpec::Subscriber(filter) => {
                encode_subscribe(out, PacketId::MIN, &[(filter, self.qos)])?;
                self.state = State::Subscribing;
            }
        }
        Ok(())
    }

    fn on_suback(&mut self, suback: &SubAck<'_>) -> Result<(), ClientError> {
        let granted = suback.codes().eq([SubAckCode::Granted(self.qos)]);
        match &self.spec.role {
            RoleSpec::Subscriber(filter) if !granted => Err(ClientError::SubscriptionRefused(filter.clone())),
            _ => {
                self.state = State::Ready;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};
    use edgehub_mqtt::{ConnAck, decode, encode_connack, encode_suback};

    fn client(role: RoleSpec) -> (Client, Tally) {
        let args = "run --port 1 --window 2 --payload-bytes 32".split(' ').map(str::to_owned);
        let Ok(Command::Run(config)) = parse(args) else { panic!() };
        let spec = ClientSpec {
            client_id: "c".to_owned(),
            username: Some("u".to_owned()),
            password: Some("p".to_owned()),
            role,
        };
        (Client::new(spec, 0, 1, &config).unwrap(), Tally::new(1, 0).unwrap())
    }

    /// Gives the client these bytes; returns what it answers.
    fn give(client: &mut Client, tally: &mut Tally, wire: &[u8]) -> Result<Vec<u8>, ClientError> {
        let (packet, used) = decode(wire, 1000)?.unwrap();
        assert_eq!(used, wire.len());
        let mut out = Vec::new();
        client.receive(&packet, 10, &mut out, tally)?;
        client.fill(10, &mut out, tally);
        Ok(out)
    }

    fn connack(code: ConnectReturnCode) -> Vec<u8> {
        let mut wire = Vec::new();
        encode_connack(&mut wire, ConnAck { session_present: false, code }).unwrap();
        wire
    }

    fn suback(code: SubAckCode) -> Vec<u8> {
        let mut wire = Vec::new();
        encode_suback(&mut wire, PacketId::MIN, &[code]).unwrap();
        wire
    }

    #[test]
    fn connect_carries_the_credentials() {
        let (client, _) = client(RoleSpec::Publisher("t".to_owned()));
        let mut out = Vec::new();
        client.start(&mut out).unwrap();
        let Ok(Some((Packet::Connect(connect), _))) = decode(&out, 1000) else { panic!() };
        assert_eq!((connect.client_id, connect.user_name), ("c", Some("u")));
        assert_eq!((connect.password, connect.clean_session), (Some(&b"p"[..]), true));
    }

    #[test]
    fn a_publisher_is_ready_with_connack_and_sends_when_allowed() {
        let (mut client, mut tally) = client(RoleSpec::Publisher("t".to_owned()));
        client.publisher().unwrap().allow(u64::MAX);
        assert!(!client.is_ready());
        let out = give(&mut client, &mut tally, &connack(ConnectReturnCode::Accepted)).unwrap();
        assert!(client.is_ready());
        assert!(matches!(decode(&out, 1000), Ok(Some((Packet::Publish(_), _)))));
        assert_eq!(tally.published, 2);
        give(&mut client, &mut tally, &[0x40, 2, 0, 1]).unwrap();
        assert_eq!((tally.published, tally.acked), (3, 1));
    }

    #[test]
    fn a_subscriber_is_ready_with_suback() {
        let (mut client, mut tally) = client(RoleSpec::Subscriber("t/#".to_owned()));
        let out = give(&mut client, &mut tally, &connack(ConnectReturnCode::Accepted)).unwrap();
        let Ok(Some((Packet::Subscribe(subscribe), _))) = decode(&out, 1000) else { panic!() };
        assert!(subscribe.filters().eq([("t/#", QoS::AtLeastOnce)]));
        assert!(!client.is_ready());
        give(&mut client, &mut tally, &suback(SubAckCode::Granted(QoS::AtLeastOnce))).unwrap();
        assert!(client.is_ready());
        assert!(client.publisher().is_none());
    }

    #[test]
    fn refusals_are_errors() {
        let (mut publisher, mut tally) = client(RoleSpec::Publisher("t".to_owned()));
        let err = give(&mut publisher, &mut tally, &connack(ConnectReturnCode::NotAuthorized));
        assert!(matches!(err, Err(ClientError::Refused(5))));
        for code in [SubAckCode::Failure, SubAckCode::Granted(QoS::AtMostOnce)] {
            let (mut subscriber, mut tally) = client(RoleSpec::Subscriber("t".to_owned()));
            give(&mut subscriber, &mut tally, &connack(ConnectReturnCode::Accepted)).unwrap();
            let err = give(&mut subscriber, &mut tally, &suback(code));
            assert!(matches!(err, Err(ClientError::SubscriptionRefused(_))), "{code:?}");
        }
    }

    #[test]
    fn what_has_no_place_is_an_error() {
        let (mut client, mut tally) = client(RoleSpec::Publisher("t".to_owned()));
        let early = give(&mut client, &mut tally, &[0x40, 2, 0, 1]);
        assert!(matches!(early, Err(ClientError::Unexpected { state: "waiting for CONNACK", .. })));
        give(&mut client, &mut tally, &connack(ConnectReturnCode::Accepted)).unwrap();
        for wire in [&[0xc0, 0][..], &[0x30, 3, 0, 1, b't']] {
            assert!(matches!(give(&mut client, &mut tally, wire), Err(ClientError::Unexpected { .. })));
        }
        give(&mut client, &mut tally, &[0xd0, 0]).unwrap();
    }
}
