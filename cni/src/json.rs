//! JSON in the layout of Go's encoder, which every existing CNI plugin prints with.
//!
//! Callers decode what they get, so layout hardly matters; but test suites, checksums and diffs of a mixed cluster see
//! bytes, and the same bytes cost nothing.

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

/// `value` indented by four spaces, without a newline at the end.
pub(crate) fn indented(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
    Ok(escape_html(&String::from_utf8_lossy(&out)))
}

/// What Go escapes beyond the standard, so that a document may stand inside a script element. These characters occur in
/// strings only, hence the document as a whole can be treated.
pub(crate) fn escape_html(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_go_does() {
        let text = "<>&\u{2028}\u{2029}\u{7f}\u{1}\u{8}\u{c}\t\n\r\"\\é";
        let expected = concat!(r#""\u003c\u003e\u0026\u2028\u2029"#, "\u{7f}", r#"\u0001\b\f\t\n\r\"\\é""#);
        assert_eq!(indented(&text).unwrap(), expected);
    }

    #[test]
    fn empty_containers_stay_on_one_line() {
        let value = serde_json::json!({"a": {}, "b": [], "c": [1]});
        assert_eq!(indented(&value).unwrap(), "{\n    \"a\": {},\n    \"b\": [],\n    \"c\": [\n        1\n    ]\n}");
    }
}
