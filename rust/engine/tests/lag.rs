//! The lag of a route grows when its consumer stands still, and only its own.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use common::{World, ids, puback_bytes};
use edgehub_engine::RouteLag;
use edgehub_store::SyncPolicy;

const ROUTES: &[(&str, &str)] = &[
    ("stuck", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/stuck/inputs/i")"#),
    ("quick", r#"FROM /messages/* INTO BrokeredEndpoint("/modules/quick/inputs/i")"#),
    ("also", r#"FROM /messages/* WHERE k = 'a' INTO BrokeredEndpoint("/modules/quick/inputs/i")"#),
    ("up", "FROM /messages/* WHERE k = 'never' INTO $upstream"),
];
const TOPIC: &str = "devices/d1/messages/events/";
const BODY_BYTES: u64 = 500;

fn lag(world: &World, route: &str) -> RouteLag {
    world.hub.route_lags().into_iter().find(|lag| lag.route == route).unwrap()
}

#[test]
fn a_consumer_that_stands_still_lags_alone() {
    let mut world = World::with(SyncPolicy::None, |config| config.delivery_window = 2);
    world.routes(ROUTES);
    let (device, stuck, quick) = (world.device("d1"), world.module("stuck"), world.module("quick"));
    world.received(stuck);
    world.received(quick);
    for second in 1..=20_u16 {
        world.publish(device, TOPIC, &[b'x'; BODY_BYTES as usize], second);
        let got = world.received(quick);
        assert_eq!(ids(&got).len(), 1);
        let sent = lag(&world, "quick");
        assert_eq!((sent.messages, sent.age_ms), (1, 0), "in flight counts");
        world.feed(quick, &puback_bytes(ids(&got)[0]));
        let lag_of_stuck = lag(&world, "stuck");
        assert_eq!(lag_of_stuck.messages, u64::from(second));
        assert!(lag_of_stuck.bytes >= u64::from(second) * BODY_BYTES, "{lag_of_stuck:?}");
        assert_eq!(lag_of_stuck.age_ms, (u64::from(second) - 1) * 1000);
        assert_eq!(lag(&world, "quick").bytes, 0);
        world.advance(1000);
    }
    let endpoints: Vec<_> = world.hub.route_lags().into_iter().map(|lag| (lag.route, lag.endpoint)).collect();
    let wanted =
        [("stuck", "edge1/stuck/i"), ("quick", "edge1/quick/i"), ("also", "edge1/quick/i"), ("up", "iothub")];
    assert_eq!(endpoints, wanted.map(|(route, endpoint)| (route.to_owned(), endpoint.to_owned())));
    let up = lag(&world, "up");
    assert_eq!((up.messages, up.bytes, up.age_ms), (0, 0, 0));
}
