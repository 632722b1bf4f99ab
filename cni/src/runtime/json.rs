//! JSON as Go's encoder writes a map: one line, keys in byte order at every depth, `<`, `>` and `&` escaped.
//!
//! A plugin's configuration and the result cache both pass through such maps on libcni's side. Whoever compares bytes
//! (a checksum of a cache file, a plugin's log of its stdin) finds here what they found there.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::json::escape_html;

/// `value` in Go's order and number form.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(sorted_map(members)),
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Number(number) => Value::Number(plain(number)),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// [`sorted`] for an object that is not wrapped in a [`Value`].
pub(super) fn sorted_map(members: &Map<String, Value>) -> Map<String, Value> {
    let mut keys: Vec<&String> = members.keys().collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| (key.clone(), sorted(&members[key]))).collect()
}

/// One line of JSON, in the order in which `document` serialises.
pub(super) fn line(document: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(document).map(|text| escape_html(&text))
}

/// `1500.0` and `1.5e3` become `1500`: libcni reads every number as a float and writes whole ones without a fraction,
/// so plugins that decode into an integer have always been given one that they accept.
fn plain(number: &Number) -> Number {
    let whole = number.as_f64().filter(|value| number.is_f64() && value.fract() == 0.0);
    whole.and_then(|value| format!("{value:.0}").parse::<i64>().ok()).map_or_else(|| number.clone(), Number::from)
}

/// The name of a value's type, as Go's `%T` prints what its decoder made of it.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::{line, sorted};
    use serde_json::{Value, json};

    fn canonical(text: &str) -> String {
        let value: Value = serde_json::from_str(text).unwrap();
        line(&sorted(&value)).unwrap()
    }

    #[test]
    fn keys_are_sorted_by_bytes_at_every_depth() {
        assert_eq!(
            canonical(r#"{"b": [{"z": 1, "a": 2}], "B": null, "aa": true, "a": {}}"#),
            r#"{"B":null,"a":{},"aa":true,"b":[{"a":2,"z":1}]}"#
        );
    }

    #[test]
    fn whole_numbers_lose_their_fraction_and_no_other_number_changes() {
        assert_eq!(
            canonical("[1500.0, 1.5e3, 1.5, -2e0, 9007199254740993, 18446744073709551615]"),
            "[1500,1500,1.5,-2,9007199254740993,18446744073709551615]"
        );
    }

    #[test]
    fn html_characters_are_escaped_as_go_does() {
        let text = line(&json!({"<&>": "\u{2028}é\n"})).unwrap();
        assert_eq!(text, "{\"\\u003c\\u0026\\u003e\":\"\\u2028é\\n\"}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"<&>": "\u{2028}é\n"}));
    }
}
