//! Options about how a container is asked whether it works.

use std::time::Duration;

use clap::Args;

use crate::error::{Context, Error, Result};
use crate::image::change::nanoseconds;
use crate::image::config::{Config, Healthcheck};
use crate::spec::Health;

const OTHERS: [&str; 6] = [
    "health_cmd",
    "health_interval",
    "health_timeout",
    "health_start_period",
    "health_start_interval",
    "health_retries",
];

/// Health checks. What is not said is the image's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Health")]
pub(in crate::cli) struct HealthFlags {
    /// Ask the container whether it works, by a command for its shell
    #[arg(long, value_name = "CMD")]
    health_cmd: Option<String>,
    /// The time between two questions: 30s without
    #[arg(long, value_name = "TIME", value_parser = duration)]
    health_interval: Option<Duration>,
    /// How long an answer may take: 30s without
    #[arg(long, value_name = "TIME", value_parser = duration)]
    health_timeout: Option<Duration>,
    /// For how long after the start failures do not count
    #[arg(long, value_name = "TIME", value_parser = duration)]
    health_start_period: Option<Duration>,
    /// The time between two questions until then: 5s without
    #[arg(long, value_name = "TIME", value_parser = duration)]
    health_start_interval: Option<Duration>,
    /// How many failures in a row mean that it does not work: 3 without
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// Do not ask, whatever the image says
    #[arg(long, conflicts_with_all = OTHERS)]
    no_healthcheck: bool,
}

impl HealthFlags {
    /// What was asked for, over what `image` says.
    pub(in crate::cli) fn health(&self, image: &Config) -> Result<Option<Health>> {
        let none = Healthcheck::default();
        let base = image.healthcheck.as_ref().unwrap_or(&none);
        let test = match &self.health_cmd {
            Some(line) if line.is_empty() => Vec::new(),
            Some(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
            None => base.test.clone(),
        };
        if self.no_healthcheck || test.first().is_none_or(|kind| kind == "NONE") {
            return Ok(None);
        }
        if test.len() < 2 || !["CMD", "CMD-SHELL"].contains(&test[0].as_str()) {
            return Err(Error::new(format!("the image's health check {test:?} is no command")));
        }
        // Nothing and zero mean the usual.
        let time = |said: Option<Duration>, base: i64, usual: u64| {
            let base = Duration::from_nanos(u64::try_from(base).unwrap_or_default());
            let time = said.unwrap_or(base);
            if time.is_zero() { Duration::from_secs(usual) } else { time }
        };
        let shell =
            if image.shell.is_empty() { ["/bin/sh", "-c"].map(str::to_owned).to_vec() } else { image.shell.clone() };
        let retries = self.health_retries.or(u32::try_from(base.retries).ok()).filter(|retries| *retries > 0);
        Ok(Some(Health {
            test,
            shell,
            interval: time(self.health_interval, base.interval, 30),
            timeout: time(self.health_timeout, base.timeout, 30),
            start_period: time(self.health_start_period, base.start_period, 0),
            start_interval: time(self.health_start_interval, base.start_interval, 5),
            retries: retries.unwrap_or(3),
        }))
    }
}

/// A time as in `1m30s`; anything between nothing and a millisecond is a mistake.
fn duration(text: &str) -> Result<Duration> {
    let nanoseconds = if text == "0" { 0 } else { nanoseconds(text)? };
    let time = u64::try_from(nanoseconds).map(Duration::from_nanos);
    time.map_err(|error| Error::new(error.to_string())).context(|| format!("{text:?}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        health: HealthFlags,
    }

    fn health(args: &[&str], image: &Config) -> Option<Health> {
        Line::parse_from([&["x"], args].concat()).health.health(image).unwrap()
    }

    /// Requirement: F-health.
    #[test]
    fn flags_go_over_what_the_image_says() {
        let seconds = Duration::from_secs;
        let none = Config::default();
        assert_eq!(health(&[], &none), None);
        let flags = ["--health-cmd=true x", "--health-interval=1m30s", "--health-retries=5"];
        let own = health(&flags, &none).unwrap();
        assert_eq!(own.argv(), ["/bin/sh", "-c", "true x"]);
        assert_eq!((own.interval, own.timeout, own.retries), (seconds(90), seconds(30), 5));
        assert_eq!((own.start_period, own.start_interval), (seconds(0), seconds(5)));
        let test = ["CMD", "check", "-v"].map(str::to_owned).to_vec();
        let check = Healthcheck { test, timeout: 2_000_000_000, ..Healthcheck::default() };
        let mut image = Config { healthcheck: Some(check), ..Config::default() };
        assert_eq!(health(&["--no-healthcheck"], &image), None);
        assert_eq!(health(&["--health-cmd="], &image), None);
        let theirs = health(&["--health-start-period=3s"], &image).unwrap();
        assert_eq!(theirs.argv(), ["check", "-v"]);
        assert_eq!((theirs.timeout, theirs.start_period), (seconds(2), seconds(3)));
        image.healthcheck = Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        assert_eq!(health(&["--health-interval=1s"], &image), None);
        for bad in
            [&["--no-healthcheck", "--health-retries=1"][..], &["--health-timeout=fast"], &["--health-interval=5"]]
        {
            assert!(Line::try_parse_from([&["x"], bad].concat()).is_err(), "{bad:?}");
        }
    }
}
