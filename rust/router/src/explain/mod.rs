//! Explanations made readable: text for a terminal, JSON for tools.

mod json;
mod json_writer;
mod text;

use crate::condition::Verdict;
use crate::set::explain::Explanation;

impl Explanation {
    /// Name of the route that an outcome speaks of.
    fn name_at(&self, route_index: usize) -> &str {
        self.routes.get(route_index).map_or("", |route| route.name.as_str())
    }
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::True => "true",
        Verdict::False => "false",
        Verdict::Undefined => "undefined",
    }
}

/// A number as short as it can be told, with an exponent where digits would only be zeros.
fn number_text(number: f64) -> String {
    let size = number.abs();
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if size != 0.0 && !(1e-6..1e21).contains(&size) { format!("{number:e}") } else { number.to_string() }
}
