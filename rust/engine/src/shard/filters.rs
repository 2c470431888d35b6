//! The subscriptions of a session.

use edgehub_mqtt::{QoS, TopicFilter};

use super::conn::{Filter, Session};

impl Session {
    /// Adds or changes filters; one that cannot be parsed was refused by the codec before.
    pub fn add_filters(&mut self, added: &[(String, u8, u64)]) {
        for (text, qos, created_ms) in added {
            let qos = if *qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            match self.filters.iter_mut().find(|filter| filter.topics.as_str() == text) {
                Some(filter) => (filter.qos, filter.created_ms) = (qos, *created_ms),
                None => {
                    if let Ok(topics) = TopicFilter::parse(text) {
                        let topics = topics.into_owned();
                        self.filters.push(Filter { topics, qos, created_ms: *created_ms });
                    }
                }
            }
        }
    }

    pub fn remove_filters(&mut self, removed: &[String]) {
        self.filters.retain(|filter| !removed.iter().any(|text| text == filter.topics.as_str()));
    }

    /// The quality of service of the best matching filter.
    pub fn granted(&self, topic: &str) -> Option<QoS> {
        self.matching(topic).map(|filter| filter.qos).max()
    }

    /// The same among the filters that a message of this time may go to: those that are not younger (M-053).
    pub fn granted_at(&self, topic: &str, created_ms: u64) -> Option<QoS> {
        self.matching(topic).filter(|filter| filter.created_ms <= created_ms).map(|filter| filter.qos).max()
    }

    fn matching<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Filter> {
        self.filters.iter().filter(move |filter| filter.topics.matches(topic))
    }
}
