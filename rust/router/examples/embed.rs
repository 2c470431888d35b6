//! The router in another program: `cargo run -p edgehub-router --example embed`.
#![allow(clippy::print_stdout, reason = "it prints its result")]

use edgehub_router::{Decisions, OwnedMessage, RouteDecl, RouteSet, Source};

fn main() -> Result<(), String> {
    let hot = RouteDecl {
        priority: Some(0),
        ..RouteDecl::new(
            "hot",
            r#"FROM /messages/modules/sensor/* WHERE as_number(temp) > 30
               INTO BrokeredEndpoint("/modules/alarm/inputs/hot")"#,
        )
    };
    let decls = [RouteDecl::new("up", "FROM /messages/* INTO $upstream"), hot];
    // Either every route is right, or nothing compiles and every error is told with its place.
    let routes = RouteSet::compile("gateway-7", &decls)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;

    let mut msg = OwnedMessage::default();
    msg.application.push(("temp".into(), Some("31.5".into())));
    let source = Source::Module { module: "sensor", output: Some("readings") };

    // Kept from one message to the next: nothing is allocated once it has grown.
    let mut decisions = Decisions::new();
    routes.evaluate(source, &msg, &mut decisions);
    for decision in &decisions {
        let endpoint = routes.endpoints().get(decision.endpoint_index as usize);
        println!("{} with priority {}", endpoint.map_or("", |e| &e.id), decision.priority);
    }
    println!("{}", routes.explain(source, &msg));
    Ok(())
}
