//! The seeds of the fuzz targets, and small changes of them, without a fuzzer. `ENGINE_SEED_CHANGES=1000` tries more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)] // tests may panic
#![allow(clippy::print_stderr)] // which seed it was

#[path = "../../../fuzz/harness/bag.rs"]
mod bag;
#[path = "../../../fuzz/harness/decode.rs"]
mod decode;
#[path = "../../../fuzz/harness/session.rs"]
mod session;

use edgehub_testkit::Dice;

/// Changed copies of each seed.
const CHANGES: u64 = 8;

fn changes() -> u64 {
    std::env::var("ENGINE_SEED_CHANGES").map_or(CHANGES, |count| count.parse().unwrap())
}

fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect(&folder).map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    for (number, path) in paths.iter().enumerate() {
        let _named = Named(path.display().to_string());
        let seed = std::fs::read(path).unwrap();
        check(&seed);
        let mut dice = Dice::new(number as u64);
        for _ in 0..changes() {
            check(&changed(&seed, &mut dice));
        }
    }
}

/// The seed with a few bytes changed, left out or said twice.
fn changed(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(data.len() as u64 + 1) as usize;
        match dice.below(3) {
            0 => data.insert(at, dice.below(256) as u8),
            1 if at < data.len() => drop(data.remove(at)),
            _ => {
                let again = data[at..data.len().min(at + dice.below(20) as usize)].to_vec();
                data.splice(at..at, again);
            }
        }
    }
    data
}

/// Says which seed it was when its check panics.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} or a change of it", self.0);
        }
    }
}

#[test]
fn sessions() {
    replay("mqtt_session", session::check);
}

#[test]
fn packets() {
    replay("mqtt_decode", decode::check);
}

#[test]
fn property_bags() {
    replay("property_bag", bag::check);
}
