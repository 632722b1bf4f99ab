//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`, in the strict reading that bridge, macvlan, tap, tuning, host-local and static have.
//!
//! Runtimes send keys that no plugin knows, and say so by `IgnoreUnknown=1`. Without that an unknown key is an error, so
//! that a mistyped `ip=` does not silently yield a random address.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::quote::{quote, quote_all};

const IGNORE_UNKNOWN: &str = "IgnoreUnknown";

/// The known keys of a `CNI_ARGS`, with their values.
pub type Args = BTreeMap<&'static str, String>;

/// Takes `args` apart. Keys are case sensitive; of a repeated key the last counts.
pub fn parse(args: &str, known: &[&'static str]) -> Result<Args, Error> {
    let mut found = Args::new();
    let mut unknown = Vec::new();
    let mut ignore_unknown = false;
    let pairs = if args.is_empty() { Vec::new() } else { args.split(';').collect() };
    for pair in pairs {
        let (key, value) = split(pair)?;
        if key == IGNORE_UNKNOWN {
            ignore_unknown = parse_bool(value).map_err(|reason| bad_value(pair, &reason))?;
        } else if let Some(&known) = known.iter().find(|&&known| known == key) {
            found.insert(known, value.to_owned());
        } else {
            unknown.push(pair);
        }
    }
    if !unknown.is_empty() && !ignore_unknown {
        return Err(Error::internal(format!("ARGS: unknown args {}", quote_all(unknown))));
    }
    Ok(found)
}

/// The error for a value that its plugin can not use.
pub fn bad_value(pair: &str, reason: &str) -> Error {
    Error::internal(format!("ARGS: error parsing value of pair {}: {reason}", quote(pair)))
}

fn split(pair: &str) -> Result<(&str, &str), Error> {
    pair.split_once('=')
        .filter(|(_, value)| !value.contains('='))
        .ok_or_else(|| Error::internal(format!("ARGS: invalid pair {}", quote(pair))))
}

fn parse_bool(value: &str) -> Result<bool, String> {
    let lower = value.to_ascii_lowercase();
    match lower.as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("boolean unmarshal error: invalid input {lower}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(args: &str) -> String {
        parse(args, &["IP"]).unwrap_err().msg
    }

    #[test]
    fn finds_known_keys() {
        assert_eq!(parse("", &["IP"]).unwrap(), Args::new());
        assert_eq!(parse("IP=10.0.0.1", &["IP", "MAC"]).unwrap(), Args::from([("IP", "10.0.0.1".to_owned())]));
        assert_eq!(parse("IP=a;IP=", &["IP"]).unwrap(), Args::from([("IP", String::new())]));
    }

    #[test]
    fn ignores_what_it_is_told_to() {
        let kubelet = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=x;IP=10.0.0.1";
        assert_eq!(parse(kubelet, &["IP"]).unwrap()["IP"], "10.0.0.1");
        for told in ["K8S_POD_NAME=x;IgnoreUnknown=TRUE", "IgnoreUnknown=0;x=;IgnoreUnknown=true"] {
            assert_eq!(parse(told, &[]).unwrap(), Args::new());
        }
    }

    #[test]
    fn refuses_with_the_known_texts() {
        assert_eq!(error("K8S_POD"), r#"ARGS: invalid pair "K8S_POD""#);
        assert_eq!(error("IP=1;"), r#"ARGS: invalid pair """#);
        assert_eq!(error("IP=a=b"), r#"ARGS: invalid pair "IP=a=b""#);
        assert_eq!(error("K8S_POD=foo"), r#"ARGS: unknown args ["K8S_POD=foo"]"#);
        assert_eq!(error("a=1;IgnoreUnknown=False;ip=2"), r#"ARGS: unknown args ["a=1" "ip=2"]"#);
        assert_eq!(
            error("IgnoreUnknown=Maybe"),
            r#"ARGS: error parsing value of pair "IgnoreUnknown=Maybe": boolean unmarshal error: invalid input maybe"#
        );
    }

    #[test]
    fn a_broken_pair_counts_before_an_unknown_key() {
        assert_eq!(error("a=1;b"), r#"ARGS: invalid pair "b""#);
    }
}
