//! Any bytes are encoded messages or are refused; what is read is what its properties say, encodes to
//! the same bytes, and no cut of it is taken for a whole message.
#![no_main]

use edgehub_router::{
    EncodedError, EncodedMessage, EncodedMessages, Lookup, MessageView, encode, fold, names_equal,
};
use libfuzzer_sys::fuzz_target;

fn check_message(msg: &EncodedMessage<'_>, bytes: &[u8]) {
    for (name, _) in msg.application() {
        // The first of several names that differ only in case counts.
        let folded = fold(name);
        let value = msg.application().find(|(other, _)| names_equal(&folded, other)).map(|(_, value)| value);
        let expected = match value {
            Some(Some(text)) => Lookup::Text(text),
            Some(None) => Lookup::Null,
            None => Lookup::Absent,
        };
        assert_eq!(msg.application_property(&folded), expected);
    }
    let (system, application): (Vec<_>, Vec<_>) = (msg.system().collect(), msg.application().collect());
    let mut again = Vec::new();
    match encode(msg.source_path(), system, application, msg.body(), &mut again) {
        Ok(()) => assert_eq!(again, bytes),
        Err(EncodedError::SameName { .. }) => assert!(again.is_empty()),
        Err(error) => panic!("{error}"),
    }
    for end in (0..bytes.len()).step_by(1 + bytes.len() / 16) {
        let cut = EncodedMessage::parse(&bytes[..end]);
        assert!(matches!(cut, Err(EncodedError::Truncated { .. })));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut messages = EncodedMessages::new(data);
    loop {
        let before = messages.rest();
        let Some(Ok(msg)) = messages.next() else { break };
        check_message(&msg, &before[..before.len() - messages.rest().len()]);
    }
});
