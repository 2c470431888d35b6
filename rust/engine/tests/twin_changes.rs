//! Updates of reported properties as messages (heads section 7.3; T-013).

mod common;

use common::{World, bodies};
use edgehub_engine::{Command, ConnId, TwinChange};

const ROUTE: &str = "FROM /twinChangeNotifications INTO BrokeredEndpoint('/modules/m/inputs/i')";

fn change(world: &mut World, device: &str, module: &str) {
    let change =
        TwinChange { device: device.to_owned(), module: module.to_owned(), patch: b"{\"a\":1}".to_vec() };
    world.command(ConnId(0), Command::TwinChange(Box::new(change)));
}

fn world(route: &str) -> (World, ConnId) {
    let mut world = World::new();
    world.routes(&[("t", route)]);
    let module = world.module("m");
    world.subscribe_inputs(module, "m");
    world.received(module);
    (world, module)
}

#[test]
fn a_change_reaches_its_routes_in_the_name_of_the_client() {
    let (mut world, module) = world(ROUTE);
    change(&mut world, "d1", "");
    change(&mut world, "edge1", "f");
    let got = world.received(module);
    assert_eq!(bodies(&got), ["{\"a\":1}", "{\"a\":1}"]);
    let topics: Vec<String> = got.iter().map(|got| format!("{got:?}")).collect();
    for (topic, sender) in topics.iter().zip(["%24.cdid=d1", "%24.cdid=edge1&%24.cmid=f"]) {
        assert!(topic.contains("%24.schema=twinChangeNotification"), "{topic}");
        assert!(topic.contains(sender), "{topic}");
    }
}

#[test]
fn routes_see_who_reported_and_that_the_hub_tells_it() {
    for (condition, matches) in [
        ("$rpSenderDeviceId = 'd1'", true),
        ("$rpSenderDeviceId = 'd2'", false),
        ("is_defined($rpSenderModuleId)", false),
        ("$connectionDeviceId = 'edge1' AND $connectionModuleId = '$edgeHub'", true),
        ("$messageType = 'twinChangeNotification' AND $messageSchema = 'twinChangeNotification'", true),
        ("$edgeHubOriginInterface = 'internal'", true),
    ] {
        let route = ROUTE.replace(" INTO", &format!(" WHERE {condition} INTO"));
        let (mut world, module) = world(&route);
        change(&mut world, "d1", "");
        assert_eq!(world.received(module).len(), usize::from(matches), "{condition}");
    }
}

#[test]
fn telemetry_and_changes_keep_to_their_routes() {
    let (mut world, module) = world("FROM /messages/* INTO BrokeredEndpoint('/modules/m/inputs/i')");
    change(&mut world, "d1", "");
    assert_eq!(world.received(module), []);
    assert_eq!(world.hub.stats().dropped.snapshot(), [], "nobody misses it");
    let mut other = World::new();
    other.routes(&[("all", "FROM /* INTO BrokeredEndpoint('/modules/m/inputs/i')")]);
    let module = other.module("m");
    other.subscribe_inputs(module, "m");
    other.received(module);
    change(&mut other, "d1", "");
    assert_eq!(bodies(&other.received(module)), ["{\"a\":1}"]);
}
