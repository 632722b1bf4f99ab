//! The configuration of the `sbr` plugin: as it is written, and as it is meant.

use std::net::IpAddr;

use cni::Error;
use cni::plugin::Call;
use serde::Deserialize;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    table: Option<i64>,
    gateways: Option<Vec<String>>,
    add_source_hints: bool,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What the configuration means. Every value in it is usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// Where the routes of an address are looked up.
    pub(super) lookup: Lookup,
}

/// Where the routes of an address are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// In a table that somebody else fills; only rules are needed.
    Given(u32),
    /// In tables of the plugin's own.
    Own {
        /// The routers by family, instead of those of the previous result.
        gateways: Gateways,
        /// The networks of the addresses stay reachable by table main, with the address as source.
        source_hints: bool,
    },
}

/// At most one router a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gateways {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    ///
    /// When it does not decode, or a value can't be used.
    pub(super) fn load(call: &Call) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to parse network configuration"))?;
        let lookup = match written.table {
            Some(table) => Lookup::Given(usable(table)?),
            None => Lookup::Own {
                gateways: Gateways::parse(written.gateways.as_deref().unwrap_or_default())?,
                source_hints: written.add_source_hints,
            },
        };
        Ok(Self { lookup })
    }

    /// The configured table, for DEL: with a configuration that ADD would have refused there may be something to delete
    /// all the same.
    ///
    /// # Errors
    ///
    /// When it does not decode.
    pub(super) fn load_table(call: &Call) -> Result<Option<i64>, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to parse network configuration"))?;
        Ok(written.table)
    }
}

/// A table that a rule can lead to.
fn usable(table: i64) -> Result<u32, Error> {
    let refuse = || Error::internal(format!("invalid table {table} (must be between 1 and {})", u32::MAX));
    u32::try_from(table).ok().filter(|&table| table > 0).ok_or_else(refuse)
}

impl Gateways {
    fn parse(written: &[String]) -> Result<Self, Error> {
        if written.len() > 2 {
            let text = "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)";
            return Err(Error::internal(text));
        }
        let mut gateways = Self::default();
        for text in written {
            let parsed = text.parse::<IpAddr>().map(|ip| ip.to_canonical());
            let ip = parsed.map_err(|_| Error::internal(format!("invalid static gateway IP address: {text}")))?;
            let (place, family) = if ip.is_ipv4() { (&mut gateways.v4, 4) } else { (&mut gateways.v6, 6) };
            if let Some(first) = place.replace(ip) {
                let text = format!("gateways list contains multiple IPv{family} addresses: {first} and {text}");
                return Err(Error::internal(text));
            }
        }
        Ok(gateways)
    }

    /// The router of a family.
    pub(super) fn get(self, is_ipv6: bool) -> Option<IpAddr> {
        if is_ipv6 { self.v6 } else { self.v4 }
    }
}

#[cfg(test)]
mod tests {
    use cni::plugin::Stderr;

    use super::*;

    fn load(keys: &str) -> Result<Lookup, String> {
        let json = format!(r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "sbr"{keys}}}"#);
        let call = Call::new(json.into_bytes(), Vec::new(), Stderr::buffered().0).unwrap();
        Config::load(&call).map(|config| config.lookup).map_err(|error| error.msg)
    }

    fn own(v4: Option<&str>, v6: Option<&str>, source_hints: bool) -> Result<Lookup, String> {
        let parse = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        Ok(Lookup::Own { gateways: Gateways { v4: parse(v4), v6: parse(v6) }, source_hints })
    }

    #[test]
    fn what_is_written_and_what_it_means() {
        assert_eq!(load(""), own(None, None, false));
        assert_eq!(load(r#", "table": null, "gateways": null, "AddSourceHints": true"#), own(None, None, true));
        assert_eq!(load(r#", "gateways": ["10.0.0.1"]"#), own(Some("10.0.0.1"), None, false));
        let both = own(Some("10.0.0.1"), Some("fd00::1"), false);
        assert_eq!(load(r#", "gateways": ["fd00::1", "::ffff:10.0.0.1"]"#), both);
        assert_eq!(load(r#", "table": 100"#), Ok(Lookup::Given(100)));
        // Not looked at together with a table.
        assert_eq!(load(r#", "table": 4294967295, "gateways": ["x"]"#), Ok(Lookup::Given(u32::MAX)));
    }

    #[test]
    fn what_is_refused_and_how() {
        let table = [
            (
                r#", "gateways": ["a", "b", "c"]"#,
                "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)",
            ),
            (r#", "gateways": [""]"#, "invalid static gateway IP address: "),
            (r#", "gateways": ["10.0.0.1/24"]"#, "invalid static gateway IP address: 10.0.0.1/24"),
            (
                r#", "gateways": ["10.0.0.1", "10.0.0.2"]"#,
                "gateways list contains multiple IPv4 addresses: 10.0.0.1 and 10.0.0.2",
            ),
            (
                r#", "gateways": ["fd00::1", "FD00::1"]"#,
                "gateways list contains multiple IPv6 addresses: fd00::1 and FD00::1",
            ),
            (r#", "table": 0"#, "invalid table 0 (must be between 1 and 4294967295)"),
            (r#", "table": -1"#, "invalid table -1 (must be between 1 and 4294967295)"),
            (r#", "table": 4294967296"#, "invalid table 4294967296 (must be between 1 and 4294967295)"),
        ];
        for (keys, text) in table {
            assert_eq!(load(keys), Err(text.to_owned()), "{keys}");
        }
        for keys in [r#", "table": "100""#, r#", "gateways": "10.0.0.1""#, r#", "prevResult": 1"#] {
            let text = load(keys).unwrap_err();
            assert!(text.starts_with("failed to parse network configuration: "), "{text}");
        }
    }
}
