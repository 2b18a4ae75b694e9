//! Bounds of numbers, as those that every reader of JSON takes as they are written.

use serde_json::{Map, Value, json};

use super::problem::{Place, SchemaError, SchemaProblem};

/// Integers up to this are exact in every reader, and decimals have room for their fractions.
const MOST: f64 = 999_999_999_999_999.0;

/// Any number.
pub(super) fn any() -> Map<String, Value> {
    let bound = |key: &str, x: f64| (key.to_owned(), number(x));
    [("type".to_owned(), json!("number")), bound("minimum", -MOST), bound("maximum", MOST)].into_iter().collect()
}

/// The bounds as inclusive ones within 15 digits, and `multipleOf`.
///
/// A number of which every digit is below a bound may still be read as the bound itself, so an exclusive bound becomes the
/// inclusive one that is the nearest number that can be told from it.
pub(super) fn bounds(map: &Map<String, Value>, place: &Place, whole: bool) -> Result<Map<String, Value>, SchemaError> {
    let mut low = get(map, "minimum", place)?.unwrap_or(f64::NEG_INFINITY);
    let mut high = get(map, "maximum", place)?.unwrap_or(f64::INFINITY);
    let inside = |x: f64, up: bool| match (whole, up) {
        (true, true) => x.floor() + 1.0,
        (true, false) => x.ceil() - 1.0,
        (false, true) => x.next_up(),
        (false, false) => x.next_down(),
    };
    // Draft 4 says so with true.
    match map.get("exclusiveMinimum") {
        Some(Value::Bool(exclusive)) => low = if *exclusive && low.is_finite() { inside(low, true) } else { low },
        _ => low = get(map, "exclusiveMinimum", place)?.map_or(low, |x| low.max(inside(x, true))),
    }
    match map.get("exclusiveMaximum") {
        Some(Value::Bool(exclusive)) => high = if *exclusive && high.is_finite() { inside(high, false) } else { high },
        _ => high = get(map, "exclusiveMaximum", place)?.map_or(high, |x| high.min(inside(x, false))),
    }
    if low > high {
        let (lower, upper) = ("minimum", "maximum");
        return Err(place.error(SchemaProblem::Crossed { lower, low: low.to_string(), upper, high: high.to_string() }));
    }
    for (keyword, beyond, found) in [("minimum", low > MOST, low), ("maximum", high < -MOST, high)] {
        if beyond {
            let problem = SchemaProblem::Size { keyword, found: found.to_string(), allowed: MOST as u64 };
            return Err(place.error(problem));
        }
    }
    let (low, high) = (low.max(-MOST), high.min(MOST));
    let (low, high) = if whole { (low.ceil(), high.floor()) } else { (tidy(low, true), tidy(high, false)) };
    if low > high {
        let (lower, upper) = ("minimum", "maximum");
        return Err(place.error(SchemaProblem::Crossed { lower, low: low.to_string(), upper, high: high.to_string() }));
    }
    let mut out = Map::new();
    out.insert("minimum".to_owned(), number(low));
    out.insert("maximum".to_owned(), number(high));
    if let Some(step) = get(map, "multipleOf", place)? {
        if step <= 0.0 {
            return Err(place.value("multipleOf", &map["multipleOf"], "a number above 0"));
        }
        out.insert("multipleOf".to_owned(), map["multipleOf"].clone());
    }
    Ok(out)
}

/// Bounds that are nearly 0 would take hundreds of digits: 0 is on the safe side of them, or the least that is written out.
fn tidy(x: f64, lower: bool) -> f64 {
    const LEAST: f64 = 1e-12;
    match x {
        x if x == 0.0 || x.abs() >= LEAST => x,
        x if x > 0.0 && lower => LEAST,
        x if x < 0.0 && !lower => -LEAST,
        _ => 0.0,
    }
}

/// Integers as such, so that they are written without a point.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 { json!(x as i64) } else { json!(x) }
}

fn get(map: &Map<String, Value>, keyword: &'static str, place: &Place) -> Result<Option<f64>, SchemaError> {
    let Some(value) = map.get(keyword) else { return Ok(None) };
    value.as_f64().map(Some).ok_or_else(|| place.value(keyword, value, "a number"))
}
