//! Property bags against the vectors that all implementations share.
#![allow(clippy::unwrap_used, missing_docs)] // a test may panic

use std::path::Path;

use edgehub_engine::{BagDecoder, BagError};
use edgehub_types::{PropertiesBuf, PropertyKey};
use serde_json::Value;

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/topics/bags.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn decode(bag: &str) -> Result<Vec<(String, Option<String>)>, BagError> {
    let mut out = PropertiesBuf::default();
    BagDecoder::default().decode(bag, &mut out)?;
    let own = |(key, value): (PropertyKey<'_>, Option<&str>)| {
        let key = match key {
            PropertyKey::System(property) => property.bag_key(),
            PropertyKey::Application(name) => name,
        };
        (key.to_owned(), value.map(str::to_owned))
    };
    Ok(out.as_properties().iter().map(own).collect())
}

#[test]
fn every_bag_is_read_or_refused_as_written() {
    let vectors = vectors();
    for row in ["bags", "bad_escapes_stay"].into_iter().flat_map(|list| vectors[list].as_array().unwrap()) {
        let wanted = row["expect"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let wanted: Vec<_> = wanted.map(|pair| (text(&pair[0]).unwrap(), text(&pair[1]))).collect();
        assert_eq!(decode(row["bag"].as_str().unwrap()), Ok(wanted), "{row}");
    }
    for row in vectors["dropped"].as_array().unwrap() {
        let error = decode(row["bag"].as_str().unwrap()).unwrap_err();
        let name = format!("{error:?}");
        assert!(name.starts_with(row["error"].as_str().unwrap()), "{row}: {name}");
    }
}
