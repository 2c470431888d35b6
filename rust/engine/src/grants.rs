//! The rights of a session: decided once by the control plane, applied to every message here.

/// What a session may publish and receive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Device id of the identity.
    pub device_id: String,
    /// Module id of the identity; empty for a device.
    pub module_id: String,
    /// Topics, without trailing slash, that carry telemetry of this identity.
    pub telemetry_topics: Vec<String>,
    /// Endpoints whose messages go to this session, e.g. `edge1/mod1/`; empty for none.
    pub inputs_endpoint_prefix: String,
    /// Starts of the topics of those messages, e.g. `devices/edge1/modules/mod1/inputs/`: one for each spelling of the
    /// ids. The first that a filter of the client matches is used.
    pub inputs_topic_prefixes: Vec<String>,
    /// Model id of the connection.
    pub model_id: Option<String>,
}

/// What a published topic is for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Telemetry with this property bag.
    Telemetry {
        /// The bag, still encoded; empty when there is none.
        bag: &'a str,
    },
    /// A request to the control plane.
    Control,
    /// Telemetry of somebody else (DEV-6).
    Foreign,
    /// Nothing that is known (M-033).
    Unknown,
}

impl Grants {
    /// Classifies a topic (protocol heads section 1.4, anchored at both ends: DEV-5).
    pub fn classify<'a>(&self, topic: &'a str) -> Topic<'a> {
        if let Some(bag) = self.telemetry_topics.iter().find_map(|own| bag_after(topic, own)) {
            return Topic::Telemetry { bag };
        }
        if topic.starts_with("$iothub/") {
            return Topic::Control;
        }
        if topic.starts_with("devices/") && topic.contains("/messages/events") {
            return Topic::Foreign;
        }
        Topic::Unknown
    }

    /// `device` or `device/module`.
    pub fn identity(&self) -> String {
        if self.module_id.is_empty() {
            self.device_id.clone()
        } else {
            format!("{}/{}", self.device_id, self.module_id)
        }
    }
}

/// A telemetry topic, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderTopic<'a> {
    pub device: &'a str,
    /// Empty for a device.
    pub module: &'a str,
    pub bag: &'a str,
}

impl<'a> SenderTopic<'a> {
    /// `None` when it names no sender.
    pub fn parse(topic: &'a str) -> Option<Self> {
        let (device, rest) = topic.strip_prefix("devices/")?.split_once('/')?;
        let (module, rest) = match rest.strip_prefix("modules/") {
            Some(rest) => rest.split_once('/').filter(|(module, _)| !module.is_empty())?,
            None => ("", rest),
        };
        let bag = bag_after(rest, "messages/events")?;
        (!device.is_empty()).then_some(Self { device, module, bag })
    }

    /// The topic without its bag.
    fn plain(&self) -> String {
        let module = if self.module.is_empty() { String::new() } else { format!("modules/{}/", self.module) };
        format!("devices/{}/{module}messages/events", self.device)
    }

    /// What this sender may publish.
    pub fn grants(&self) -> Grants {
        Grants {
            device_id: self.device.to_owned(),
            module_id: self.module.to_owned(),
            telemetry_topics: vec![self.plain()],
            ..Grants::default()
        }
    }
}

/// The bag of `topic` when it is `own`, `own/`, `own/{bag}`, `own/{bag}/` or `own//`.
fn bag_after<'a>(topic: &'a str, own: &str) -> Option<&'a str> {
    let rest = topic.strip_prefix(own)?;
    if rest.is_empty() {
        return Some("");
    }
    let bag = rest.strip_prefix('/')?;
    let bag = bag.strip_suffix('/').unwrap_or(bag);
    (!bag.contains('/')).then_some(bag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Grants {
        Grants {
            device_id: "d1".to_owned(),
            telemetry_topics: vec!["devices/d1/messages/events".to_owned()],
            ..Grants::default()
        }
    }

    #[test]
    fn telemetry_with_and_without_slash_and_bag() {
        for (topic, bag) in [
            ("devices/d1/messages/events", ""),
            ("devices/d1/messages/events/", ""),
            ("devices/d1/messages/events//", ""),
            ("devices/d1/messages/events/a=b", "a=b"),
            ("devices/d1/messages/events/a=b/", "a=b"),
        ] {
            assert_eq!(device().classify(topic), Topic::Telemetry { bag }, "{topic}");
        }
    }

    #[test]
    fn the_sender_that_a_topic_names_may_publish_to_it() {
        for (topic, want) in [
            ("devices/d2/messages/events", Some(("d2", "", ""))),
            ("devices/d2/messages/events/a=b/", Some(("d2", "", "a=b"))),
            ("devices/d2/modules/m/messages/events/a=b", Some(("d2", "m", "a=b"))),
            ("devices//messages/events/", None),
            ("devices/d2/modules//messages/events/", None),
            ("devices/d2/modules/m", None),
            ("devices/d2/messages/eventsx", None),
            ("devices/d2/messages/events/a/b", None),
            ("x/devices/d2/messages/events", None),
        ] {
            let found = SenderTopic::parse(topic);
            assert_eq!(found.map(|sender| (sender.device, sender.module, sender.bag)), want, "{topic}");
            if let Some(sender) = found {
                assert_eq!(sender.grants().classify(topic), Topic::Telemetry { bag: sender.bag });
            }
        }
    }

    #[test]
    fn what_is_not_telemetry_of_this_identity() {
        for (topic, want) in [
            ("devices/d2/messages/events/", Topic::Foreign),
            ("devices/d1/modules/m/messages/events/", Topic::Foreign),
            ("devices/D1/messages/events/", Topic::Foreign),
            ("devices/d1/messages/events/a/b", Topic::Foreign),
            ("devices/d1/messages/eventsx", Topic::Foreign),
            ("x/devices/d1/messages/events/", Topic::Unknown),
            ("$iothub/twin/GET/?$rid=1", Topic::Control),
            ("anything", Topic::Unknown),
        ] {
            assert_eq!(device().classify(topic), want, "{topic}");
        }
    }
}
