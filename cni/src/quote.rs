//! Go's `%q`: error texts and iptables comments of the existing suite hold strings in this form.

use std::fmt::Write as _;

/// `bytes` in double quotes, with everything unprintable escaped.
pub fn quote(bytes: impl AsRef<[u8]>) -> String {
    let mut out = String::from('"');
    for chunk in bytes.as_ref().utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_char(&mut out, c));
        for byte in chunk.invalid() {
            push_hex(&mut out, format_args!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// A slice of strings as `%q` prints it: `["a" "b"]`.
pub fn quote_all<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = items.into_iter().map(quote).collect();
    format!("[{}]", quoted.join(" "))
}

fn push_char(out: &mut String, c: char) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\x0b' => out.push_str("\\v"),
        '\x0c' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        '\'' => out.push('\''),
        _ if is_printable(c) => out.push(c),
        '\0'..='\x7f' => push_hex(out, format_args!("\\x{:02x}", u32::from(c))),
        '\u{80}'..='\u{ffff}' => push_hex(out, format_args!("\\u{:04x}", u32::from(c))),
        _ => push_hex(out, format_args!("\\U{:08x}", u32::from(c))),
    }
}

/// `escape_debug` leaves printable characters alone and turns all others into `\u{..}`.
fn is_printable(c: char) -> bool {
    c.escape_debug().eq([c])
}

fn push_hex(out: &mut String, escape: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(escape);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let cases: [(&[u8], &str); 8] = [
            (b"", r#""""#),
            (b"plain 'x'", r#""plain 'x'""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x07\x08\t\n\x0b\x0c\r", r#""\a\b\t\n\v\f\r""#),
            (b"\0\x1b\x7f", r#""\x00\x1b\x7f""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("é→\u{a0}\u{200b}".as_bytes(), r#""é→\u00a0\u200b""#),
            ("\u{10ffff}\u{1f600}".as_bytes(), "\"\\U0010ffff\u{1f600}\""),
        ];
        for (input, expected) in cases {
            assert_eq!(quote(input), expected);
        }
    }

    #[test]
    fn quotes_a_list() {
        assert_eq!(quote_all(["a", "b\""]), r#"["a" "b\""]"#);
        assert_eq!(quote_all([""; 0]), "[]");
    }
}
