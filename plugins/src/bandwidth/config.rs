//! The configuration of the `bandwidth` plugin: as it is written, and as it is meant.

use cni::plugin::Call;
use cni::{Code, Error};
use kernel::tc::Bucket;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::plan;

/// The keys that count as a whole: if one of them is there, be it `null`, what the runtime says does not matter.
const RATES: [&str; 4] = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];
/// How long a packet may have to wait, in milliseconds, if nothing is said.
const LATENCY: u32 = 25;
/// The longest wait that makes sense, in milliseconds: TCP repeats a packet after one second.
const LATENCY_MAX: u32 = 10_000;

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    latency: u32,
    max_burst: u64,
    runtime_config: Runtime,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Runtime {
    bandwidth: Option<Rates>,
}

/// Bits per second, and bits.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rates {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
}

/// What the configuration means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// The limit on what goes to the container.
    pub(super) ingress: Option<Bucket>,
    /// The limit on what comes from it.
    pub(super) egress: Option<Bucket>,
}

impl Config {
    /// Reads and validates the configuration.
    ///
    /// # Errors
    ///
    /// When it does not decode, or has half of a limit, or one that no kernel can have.
    pub(super) fn load(call: &Call) -> Result<Self, Error> {
        let undecodable = |error: Error| error.context("failed to parse network configuration");
        let written: Written = call.config().map_err(undecodable)?;
        let own: Rates = call.config().map_err(undecodable)?;
        let rates = match written.runtime_config.bandwidth {
            Some(given) if !has_rates(&call.config().map_err(undecodable)?) => given,
            _ => own,
        };
        let bucket = |rate, burst| bucket(rate, burst, &written);
        if written.latency > LATENCY_MAX {
            let text = format!("invalid latency {} (must be at most {LATENCY_MAX} milliseconds)", written.latency);
            return Err(Error::new(Code::INVALID_CONFIG, text));
        }
        Ok(Self {
            ingress: bucket(rates.ingress_rate, rates.ingress_burst)?,
            egress: bucket(rates.egress_rate, rates.egress_burst)?,
        })
    }

    /// Whether nothing is limited.
    pub(super) fn is_empty(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }

    /// Refuses limits under which nothing would ever pass, as the kernel does.
    ///
    /// # Errors
    ///
    /// In the words that callers know, with the reason in the details.
    pub(super) fn refuse_standstill(&self) -> Result<(), Error> {
        for (way, bucket) in self.ways() {
            if bucket.longest_packet() == 0 {
                let attempt = if way == "ingress" { plan::TO_CONTAINER } else { plan::FROM_CONTAINER };
                let Bucket { rate, burst, .. } = bucket;
                let details = format!("{way}: no packet passes {rate} bytes per second in bursts of {burst} bytes");
                return Err(Error::internal(format!("{attempt}: invalid argument")).with_details(details));
            }
        }
        Ok(())
    }

    /// The limits, by the names that they have in the configuration.
    pub(super) fn ways(&self) -> impl Iterator<Item = (&'static str, Bucket)> {
        let ways = [("ingress", self.ingress), ("egress", self.egress)];
        ways.into_iter().filter_map(|(way, bucket)| Some((way, bucket?)))
    }
}

fn has_rates(document: &Map<String, Value>) -> bool {
    document.keys().any(|key| RATES.iter().any(|rate| rate.eq_ignore_ascii_case(key)))
}

/// The limit of one way; none when there is no rate.
fn bucket(rate: u64, burst: u64, written: &Written) -> Result<Option<Bucket>, Error> {
    let refuse = |text: &str| Err(Error::internal(text));
    match (rate, burst, u32::try_from(burst / 8)) {
        (_, 0, _) if rate != 0 => refuse("if rate is set, burst must also be set"),
        (0, ..) if burst != 0 => refuse("if burst is set, rate must also be set"),
        (_, _, Err(_) | Ok(u32::MAX)) => refuse("burst cannot be more than 4GB"),
        (0, ..) => Ok(None),
        (_, _, Ok(burst)) => {
            let most = if written.max_burst == 0 { u64::MAX } else { written.max_burst };
            let burst = u32::try_from(most / 8).map_or(burst, |most| burst.min(most));
            let latency = if written.latency == 0 { LATENCY } else { written.latency };
            Ok(Some(Bucket { rate: rate / 8, burst, latency }))
        }
    }
}

#[cfg(test)]
mod tests {
    use cni::plugin::Stderr;

    use super::*;

    fn load(members: &str) -> Result<Config, Error> {
        let document = format!(r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "bandwidth"{members}}}"#);
        let call = Call::new(document.into_bytes(), Vec::new(), Stderr::new(std::io::sink())).unwrap();
        Config::load(&call)
    }

    const NOTHING: Config = Config { ingress: None, egress: None };
    const EIGHT: Option<Bucket> = Some(Bucket { rate: 1_000_000, burst: 100_000, latency: 25 });

    #[test]
    fn rates_are_bits_and_limits_are_bytes() {
        let config = load(r#", "ingressRate": 8000000, "ingressBurst": 800000"#).unwrap();
        assert_eq!(config, Config { ingress: EIGHT, egress: None });
        let config = load(r#", "EGRESSRATE": 8000007, "egressBurst": 800007"#).unwrap();
        assert_eq!(config, Config { ingress: None, egress: EIGHT });
        let runtime = r#", "runtimeConfig": {"bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000,
                           "egressRate": 8000000, "egressBurst": 800000}}"#;
        assert_eq!(load(runtime).unwrap(), Config { ingress: EIGHT, egress: EIGHT });
    }

    #[test]
    fn nothing_said_is_nothing_limited() {
        for members in [
            "",
            r#", "runtimeConfig": {}"#,
            r#", "runtimeConfig": {"bandwidth": null}"#,
            r#", "runtimeConfig": {"bandwidth": {}}"#,
            r#", "ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0"#,
        ] {
            assert_eq!(load(members).unwrap(), NOTHING, "{members}");
            assert!(NOTHING.is_empty());
        }
    }

    /// As the Go suite was seen to do.
    #[test]
    fn one_key_of_the_configuration_silences_the_runtime() {
        let runtime = r#""runtimeConfig": {"bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000}}"#;
        for key in [r#""egressRate": 0"#, r#""ingressBurst": null"#, r#""INGRESSRATE": 0"#] {
            assert_eq!(load(&format!(", {key}, {runtime}")).unwrap(), NOTHING, "{key}");
        }
        let ignored = r#", "unshapedSubnets": ["10.0.0.0/8"], "#;
        assert_eq!(load(&format!("{ignored}{runtime}")).unwrap().ingress, EIGHT);
    }

    #[test]
    fn half_a_limit_and_more_than_a_limit_are_refused() {
        let table = [
            (r#""ingressRate": 8"#, "if rate is set, burst must also be set"),
            (r#""egressBurst": 8"#, "if burst is set, rate must also be set"),
            (r#""egressRate": 8, "egressBurst": 34359738360"#, "burst cannot be more than 4GB"),
            (r#""ingressRate": 8, "ingressBurst": 18446744073709551615"#, "burst cannot be more than 4GB"),
            (r#""runtimeConfig": {"bandwidth": {"egressRate": 8}}"#, "if rate is set, burst must also be set"),
            (
                r#""ingressRate": -8"#,
                "failed to parse network configuration: ingressRate: invalid value: integer `-8`, expected u64",
            ),
            (
                r#""ingressRate": "8""#,
                "failed to parse network configuration: ingressRate: invalid type: string \"8\", expected u64",
            ),
            (
                r#""prevResult": 8"#,
                "failed to parse network configuration: prevResult: invalid type: integer `8`, expected a map",
            ),
            (r#""latency": 10001"#, "invalid latency 10001 (must be at most 10000 milliseconds)"),
        ];
        for (members, expected) in table {
            assert_eq!(load(&format!(", {members}")).unwrap_err().msg, expected);
        }
        let most = load(r#", "egressRate": 8, "egressBurst": 34359738352"#).unwrap().egress.unwrap();
        assert_eq!(most.burst, u32::MAX - 1);
    }

    #[test]
    fn limits_that_let_nothing_pass_are_refused() {
        for (rate, burst) in [(7, 800), (70_000, 7), (70_000, 8)] {
            for (way, attempt) in [("ingress", "create qdisc"), ("egress", "create ifb qdisc: create qdisc")] {
                let config = load(&format!(r#", "{way}Rate": {rate}, "{way}Burst": {burst}"#)).unwrap();
                let error = config.refuse_standstill().unwrap_err();
                assert_eq!(error.msg, format!("{attempt}: invalid argument"));
                assert!(error.details.starts_with(&format!("{way}: no packet passes ")), "{}", error.details);
            }
        }
        load(r#", "ingressRate": 8, "ingressBurst": 800"#).unwrap().refuse_standstill().unwrap();
    }

    #[test]
    fn latency_and_the_largest_burst_can_be_chosen() {
        let rates = r#", "runtimeConfig": {"bandwidth": {"ingressRate": 8000000, "ingressBurst": 2147483647}}"#;
        let bucket = |more: &str| load(&format!("{rates}, {more}")).unwrap().ingress.unwrap();
        let given = Bucket { rate: 1_000_000, burst: 268_435_455, latency: 25 };
        assert_eq!(bucket(r#""latency": 0, "maxBurst": 0"#), given);
        assert_eq!(bucket(r#""latency": 100"#), Bucket { latency: 100, ..given });
        assert_eq!(bucket(r#""maxBurst": 800000"#), Bucket { burst: 100_000, ..given });
        assert_eq!(bucket(r#""maxBurst": 18446744073709551615"#), given);
    }
}
