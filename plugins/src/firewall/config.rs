//! The configuration of the `firewall` plugin: as it is written, and as it is meant.

use cni::Error;
use cni::plugin::Call;
use cni::quote::quote;
use serde::Deserialize;

/// The longest name that iptables allows for a chain.
const CHAIN_MAX: usize = 28;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Written {
    backend: String,
    iptables_admin_chain_name: String,
    firewalld_zone: String,
    ingress_policy: String,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What the configuration means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// By which means to filter.
    pub backend: Backend,
    /// The chain for an administrator's own rules, with iptables.
    pub admin_chain: String,
    /// The zone of the containers' addresses, with firewalld.
    pub zone: String,
    /// What may come in.
    pub policy: Policy,
}

/// By which means to filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// By that which filters on this node already.
    #[default]
    Auto,
    /// Elements in a table of our own.
    Nftables,
    /// Rules in iptables' `filter`.
    Iptables,
    /// A source of a zone of firewalld.
    Firewalld,
}

/// What may come in to a container, from other containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Everything.
    #[default]
    Open,
    /// What does not come from another bridge under a policy.
    SameBridge,
    /// What does not come from any bridge under a policy, its own included.
    Isolated,
}

impl Written {
    /// Decodes the configuration.
    ///
    /// # Errors
    ///
    /// When it is not the JSON that was expected.
    pub(super) fn load(call: &Call) -> Result<Self, Error> {
        call.config().map_err(|error| error.context("failed to load netconf"))
    }

    /// What it means.
    ///
    /// # Errors
    ///
    /// When there is no such ingress policy. A back end that is not known is none that was asked for, as in the Go suite.
    pub(super) fn validate(self) -> Result<Config, Error> {
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        Ok(Config {
            backend: Backend::parse(&self.backend),
            policy: Policy::parse(&self.ingress_policy)?,
            zone: self.zone().to_owned(),
            admin_chain: or(self.iptables_admin_chain_name, "CNI-ADMIN"),
        })
    }

    /// Whether the previous result begins with an interface that is `null`. Decoded it is one without a name.
    pub(super) fn begins_with_null(&self) -> bool {
        let interfaces = self.prev_result.as_ref().and_then(|previous| previous.get("interfaces"));
        interfaces.and_then(|interfaces| interfaces.get(0)).is_some_and(serde_json::Value::is_null)
    }

    /// The zone of firewalld.
    pub(super) fn zone(&self) -> &str {
        if self.firewalld_zone.is_empty() { "trusted" } else { &self.firewalld_zone }
    }

    /// Whether there is such an ingress policy.
    ///
    /// # Errors
    ///
    /// When there is not.
    pub(super) fn check_policy(&self) -> Result<(), Error> {
        Policy::parse(&self.ingress_policy).map(drop)
    }
}

impl Backend {
    fn parse(name: &str) -> Self {
        match name {
            "nftables" => Self::Nftables,
            "iptables" => Self::Iptables,
            "firewalld" => Self::Firewalld,
            _ => Self::Auto,
        }
    }
}

impl Policy {
    fn parse(name: &str) -> Result<Self, Error> {
        match name {
            "" | "open" => Ok(Self::Open),
            "same-bridge" => Ok(Self::SameBridge),
            "isolated" => Ok(Self::Isolated),
            other => Err(Error::internal(format!("unknown ingress policy: {}", quote(other)))),
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::SameBridge => "same-bridge",
            Self::Isolated => "isolated",
        }
    }
}

impl Config {
    /// Refuses a name that iptables would take for no chain, or for something else than a name.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn check_admin_chain(&self) -> Result<(), Error> {
        let name = &self.admin_chain;
        let is_printable = name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'));
        if name.len() <= CHAIN_MAX && is_printable && !name.starts_with(['-', '!']) {
            return Ok(());
        }
        let text = format!(
            "invalid iptablesAdminChainName {}: a chain's name has at most {CHAIN_MAX} printable characters, \
             no spaces or quotes, and does not begin with '-' or '!'",
            quote(name)
        );
        Err(Error::internal(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<Config, Error> {
        let written: Written = cni::decode::from_slice(json.as_bytes())?;
        written.validate()
    }

    #[test]
    fn nothing_written_means_the_defaults() {
        let expected = Config {
            backend: Backend::Auto,
            admin_chain: "CNI-ADMIN".into(),
            zone: "trusted".into(),
            policy: Policy::Open,
        };
        for json in [
            "{}",
            r#"{"backend": "", "iptablesAdminChainName": "", "firewalldZone": "", "ingressPolicy": ""}"#,
            r#"{"backend": null, "iptablesAdminChainName": null, "firewalldZone": null, "ingressPolicy": null}"#,
        ] {
            assert_eq!(config(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_written_is_meant() {
        let json = r#"{"backend": "iptables", "iptablesAdminChainName": "MINE", "FIREWALLDZONE": "home",
                       "ingressPolicy": "isolated"}"#;
        let expected = Config {
            backend: Backend::Iptables,
            admin_chain: "MINE".into(),
            zone: "home".into(),
            policy: Policy::Isolated,
        };
        assert_eq!(config(json).unwrap(), expected);
    }

    #[test]
    fn an_unknown_back_end_is_none() {
        let table = [
            ("nftables", Backend::Nftables),
            ("firewalld", Backend::Firewalld),
            ("Iptables", Backend::Auto),
            ("zork", Backend::Auto),
        ];
        for (name, expected) in table {
            assert_eq!(config(&format!(r#"{{"backend": "{name}"}}"#)).unwrap().backend, expected, "{name}");
        }
    }

    #[test]
    fn an_unknown_policy_is_refused() {
        for policy in [Policy::Open, Policy::SameBridge, Policy::Isolated] {
            let json = format!(r#"{{"ingressPolicy": "{}"}}"#, policy.as_str());
            assert_eq!(config(&json).unwrap().policy, policy);
        }
        for name in ["x", "Open", "same-bridge "] {
            let error = config(&format!(r#"{{"ingressPolicy": "{name}"}}"#)).unwrap_err();
            assert_eq!(error.msg, format!("unknown ingress policy: \"{name}\""));
        }
    }

    #[test]
    fn a_previous_result_that_is_no_object_is_refused() {
        assert!(config(r#"{"prevResult": "x"}"#).unwrap_err().msg.starts_with("prevResult: invalid type"));
    }

    #[test]
    fn names_that_are_no_chains_are_refused() {
        let long = "x".repeat(29);
        for name in [long.as_str(), "two words", "-j", "!", "a\\nCOMMIT", "quo\\\"te"] {
            let config = config(&format!(r#"{{"iptablesAdminChainName": "{name}"}}"#)).unwrap();
            assert!(
                config.check_admin_chain().unwrap_err().msg.starts_with("invalid iptablesAdminChainName"),
                "{name}"
            );
        }
        for name in ["CNI-ADMIN", "a", &long[..28], "x-!_.:+"] {
            let config = config(&format!(r#"{{"iptablesAdminChainName": "{name}"}}"#)).unwrap();
            config.check_admin_chain().unwrap();
        }
    }
}
