//! The clients of a run: from a file with credentials, or made up.

use std::path::Path;

use serde_json::Value;

use crate::config::ClientSource;
use crate::error::LoadError;

/// One client to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSpec {
    /// MQTT client identifier.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// What it does.
    pub role: RoleSpec,
}

/// What a client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleSpec {
    /// Publishes on this topic.
    Publisher(String),
    /// Subscribes to this filter.
    Subscriber(String),
}

/// All clients of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// Publishers; the place is the index in the messages.
    pub publishers: Vec<ClientSpec>,
    /// Subscribers.
    pub subscribers: Vec<ClientSpec>,
}

impl Clients {
    /// Reads or makes up the clients.
    ///
    /// # Errors
    /// The file cannot be read, a line is wrong (its number is in the message), or a role is missing.
    pub fn load(source: &ClientSource) -> Result<Self, LoadError> {
        match source {
            ClientSource::Plain { publishers, subscribers } => Ok(Self::plain(*publishers, *subscribers)),
            ClientSource::File { path, publishers_max, subscribers_max } => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| LoadError::File { path: path.clone(), source })?;
                let mut clients = Self::parse(path, &text, *subscribers_max)?;
                clients.publishers.truncate(*publishers_max);
                clients.subscribers.truncate(*subscribers_max);
                Ok(clients)
            }
        }
    }

    fn plain(publishers: usize, subscribers: usize) -> Self {
        let spec = |client_id, role| ClientSpec { client_id, username: None, password: None, role };
        Self {
            publishers: (0..publishers)
                .map(|i| spec(format!("load-pub-{i}"), RoleSpec::Publisher(format!("bench/{i}"))))
                .collect(),
            subscribers: (0..subscribers)
                .map(|i| spec(format!("load-sub-{i}"), RoleSpec::Subscriber("bench/#".to_owned())))
                .collect(),
        }
    }

    fn parse(path: &Path, text: &str, subscribers_max: usize) -> Result<Self, LoadError> {
        let content = |reason| LoadError::Content { path: path.to_owned(), reason };
        let mut clients = Self { publishers: Vec::new(), subscribers: Vec::new() };
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let spec =
                parse_line(line).map_err(|reason| content(format!("line {}: {reason}", number + 1)))?;
            match spec.role {
                RoleSpec::Publisher(_) => clients.publishers.push(spec),
                RoleSpec::Subscriber(_) => clients.subscribers.push(spec),
            }
        }
        for (found, role) in [(&clients.publishers, "pub"), (&clients.subscribers, "sub")] {
            if found.is_empty() && (role == "pub" || subscribers_max > 0) {
                return Err(content(format!("expected at least one line with role {role}")));
            }
        }
        Ok(clients)
    }
}

fn parse_line(line: &str) -> Result<ClientSpec, String> {
    let row: Value = serde_json::from_str(line).map_err(|err| err.to_string())?;
    let optional = |key: &str| match row.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{key:?} is {other}; expected text")),
    };
    let required = |key: &str| optional(key)?.ok_or_else(|| format!("{key:?} is missing"));
    let role = match required("role")?.as_str() {
        "pub" => RoleSpec::Publisher(required("topic")?),
        "sub" => RoleSpec::Subscriber(required("filter")?),
        other => return Err(format!("\"role\" is {other:?}; expected \"pub\" or \"sub\"")),
    };
    Ok(ClientSpec {
        client_id: required("clientId")?,
        username: optional("username")?,
        password: optional("password")?,
        role,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Clients, String> {
        Clients::parse(Path::new("c.jsonl"), text, 1).map_err(|err| err.to_string())
    }

    const PUB: &str = r#"{"role":"pub","clientId":"p","username":"u","password":"x","topic":"t"}"#;
    const SUB: &str = r#"{"role":"sub","clientId":"s","filter":"f/#"}"#;

    #[test]
    fn roles_and_credentials() {
        let clients = parse(&format!("{PUB}\n\n{SUB}\n")).unwrap();
        let [publisher] = &clients.publishers[..] else { panic!() };
        assert_eq!(publisher.role, RoleSpec::Publisher("t".to_owned()));
        assert_eq!((publisher.username.as_deref(), publisher.password.as_deref()), (Some("u"), Some("x")));
        let [subscriber] = &clients.subscribers[..] else { panic!() };
        assert_eq!(subscriber.role, RoleSpec::Subscriber("f/#".to_owned()));
        assert_eq!((subscriber.client_id.as_str(), &subscriber.username), ("s", &None));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (line, part) in [
            ("nonsense", "c.jsonl: line 2:"),
            (r#"{"clientId":"c"}"#, "\"role\" is missing"),
            (r#"{"role":"both","clientId":"c"}"#, "expected \"pub\" or \"sub\""),
            (r#"{"role":"pub","clientId":"c"}"#, "\"topic\" is missing"),
            (r#"{"role":"sub","clientId":"c"}"#, "\"filter\" is missing"),
            (r#"{"role":"sub","filter":"f"}"#, "\"clientId\" is missing"),
            (r#"{"role":"sub","filter":"f","clientId":"c","password":5}"#, "expected text"),
        ] {
            let err = parse(&format!("{PUB}\n{line}")).unwrap_err();
            assert!(err.contains(part), "{err}");
        }
        assert!(parse(PUB).unwrap_err().contains("role sub"));
        assert!(parse(SUB).unwrap_err().contains("role pub"));
    }

    #[test]
    fn who_only_publishes_needs_no_subscriber() {
        let clients = Clients::parse(Path::new("c"), PUB, 0).unwrap();
        assert_eq!((clients.publishers.len(), clients.subscribers.len()), (1, 0));
    }

    #[test]
    fn made_up_clients_have_their_own_topics() {
        let source = ClientSource::Plain { publishers: 2, subscribers: 1 };
        let clients = Clients::load(&source).unwrap();
        assert_eq!(clients.publishers[1].role, RoleSpec::Publisher("bench/1".to_owned()));
        assert_eq!(clients.subscribers.len(), 1);
    }

    #[test]
    fn a_missing_file_is_named() {
        let source = ClientSource::File { path: "/nowhere/c".into(), publishers_max: 1, subscribers_max: 1 };
        assert!(Clients::load(&source).unwrap_err().to_string().starts_with("/nowhere/c: "));
    }
}
