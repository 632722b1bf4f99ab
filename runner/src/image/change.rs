//! Changes to a configuration, written as the lines of a Dockerfile: `CMD ["sh"]`, `ENV A=b`, `EXPOSE 80`.

use crate::error::{Context, Error, Result};

use super::config::{Config, Empty, Healthcheck, is_port};

/// Applies `lines` in order. A new entrypoint drops an inherited command, as that was meant for another program.
pub fn apply(config: &mut Config, lines: &[String]) -> Result<()> {
    let mut has_command = false;
    for line in lines {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (word, rest) = (word.to_ascii_uppercase(), rest.trim());
        if rest.is_empty() {
            return Err(Error::new(format!("the change {line:?} says nothing: expected for example 'CMD [\"sh\"]'")));
        }
        has_command |= word == "CMD";
        if word == "ENTRYPOINT" && !has_command {
            config.cmd.clear();
        }
        instruction(config, &word, rest).context(|| format!("the change {line:?}"))?;
    }
    config.check()
}

fn instruction(config: &mut Config, word: &str, rest: &str) -> Result<()> {
    match word {
        "CMD" => config.cmd = command(config, rest)?,
        "ENTRYPOINT" => config.entrypoint = command(config, rest)?,
        "ENV" => {
            for (key, value) in pairs(rest)? {
                config.env.retain(|old| old.split_once('=').is_none_or(|(name, _)| name != key));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest)?),
        "EXPOSE" => {
            for port in words(rest)? {
                let port = if port.contains('/') { port } else { format!("{port}/tcp") };
                if !is_port(&port) {
                    return Err(Error::new(format!("{port:?} is no port")));
                }
                config.exposed_ports.insert(port, Empty {});
            }
        }
        "VOLUME" => {
            let paths = if rest.starts_with('[') { list(rest)? } else { words(rest)? };
            config.volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => rest.clone_into(&mut config.user),
        "WORKDIR" => config.working_dir = directory(&config.working_dir, rest),
        "STOPSIGNAL" => rest.clone_into(&mut config.stop_signal),
        "SHELL" => config.shell = list(rest)?,
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        _ => {
            return Err(Error::new(
                "known are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR",
            ));
        }
    }
    Ok(())
}

/// A list is executed as it is, anything else by the shell.
fn command(config: &Config, text: &str) -> Result<Vec<String>> {
    if text.starts_with('[') {
        return list(text);
    }
    let mut shell = config.shell.clone();
    if shell.is_empty() {
        shell = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    shell.push(text.to_owned());
    Ok(shell)
}

fn list(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).map_err(|error| Error::new(format!("not a JSON list of strings: {error}")))
}

/// `KEY=VALUE ...`, or `KEY VALUE` with the rest of the line as value.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace).ok_or_else(|| Error::new("expected KEY=VALUE"))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::new(format!("{word:?} is not KEY=VALUE"))),
    };
    words(text)?.into_iter().map(pair).collect()
}

/// Words between spaces, with quotes and backslashes as in a shell, but without variables.
fn words(text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                let next = chars.next().ok_or_else(|| Error::new("a backslash at the end"))?;
                word.get_or_insert_default().push(next);
            }
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(quote) => Err(Error::new(format!("a {quote} without its other"))),
        None => Ok(words),
    }
}

fn directory(old: &str, new: &str) -> String {
    match new.starts_with('/') {
        true => new.to_owned(),
        false => format!("{}/{new}", old.trim_end_matches('/')),
    }
}

fn healthcheck(text: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (key, value) = option.split_once('=').ok_or_else(|| Error::new(format!("--{option} has no value")))?;
        match key {
            "interval" => check.interval = nanoseconds(value)?,
            "timeout" => check.timeout = nanoseconds(value)?,
            "start-period" => check.start_period = nanoseconds(value)?,
            "start-interval" => check.start_interval = nanoseconds(value)?,
            "retries" => check.retries = value.parse().map_err(|_| Error::new(format!("{value:?} is no number")))?,
            _ => return Err(Error::new(format!("--{key} is unknown"))),
        }
        rest = after.trim_start();
    }
    check.test = match rest.split_once(char::is_whitespace) {
        None if rest == "NONE" => vec!["NONE".to_owned()],
        Some(("CMD", command)) if command.trim_start().starts_with('[') => {
            [vec!["CMD".to_owned()], list(command.trim_start())?].concat()
        }
        Some(("CMD", line)) => vec!["CMD-SHELL".to_owned(), line.trim().to_owned()],
        _ => return Err(Error::new("expected NONE, or CMD and a command")),
    };
    Ok(check)
}

/// `1m30s`, `500ms`, `2h`.
pub(crate) fn nanoseconds(text: &str) -> Result<i64> {
    let bad = || Error::new(format!("{text:?} is no duration: expected for example 30s, 1m30s or 500ms"));
    let (mut total, mut rest) = (0_i64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(bad()),
        };
        let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> Result<Config> {
        let mut config = Config { cmd: vec!["old".to_owned()], env: vec!["A=1".to_owned()], ..Config::default() };
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        apply(&mut config, &lines).map(|()| config)
    }

    #[test]
    fn instructions_mean_what_they_mean_in_a_dockerfile() {
        let config = changed(&[
            "ENTRYPOINT [\"/bin/x\", \"a b\"]",
            "env A=2 B=\"c d\" E='f g'",
            "ENV K v w",
            "EXPOSE 80 53/udp",
            "VOLUME /a \"/b c\"",
            "VOLUME [\"/d\"]",
            "WORKDIR /x",
            "WORKDIR y",
            "LABEL a=b c=\\\"d",
            "USER 1:2",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost",
        ])
        .unwrap();
        assert_eq!((config.entrypoint, config.cmd), (vec!["/bin/x".to_owned(), "a b".to_owned()], vec![]));
        assert_eq!(config.env, ["A=2", "B=c d", "E=f g", "K=v w"]);
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/a", "/b c", "/d"]);
        assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/x/y", "1:2"));
        assert_eq!(config.labels["c"], "\"d");
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
        assert_eq!(check.test, ["CMD-SHELL", "curl -f localhost"]);
        let shell = changed(&["CMD echo hi", "ENTRYPOINT x"]).unwrap();
        assert_eq!(shell.cmd, ["/bin/sh", "-c", "echo hi"]);
    }

    #[test]
    fn what_is_no_instruction_is_refused() {
        for bad in [
            "",
            "CMD",
            "FROM x",
            "RUN x",
            "ENV A",
            "ENV =x",
            "EXPOSE x",
            "VOLUME x",
            "CMD [1]",
            "ENV A='x",
            "USER a:b:c",
        ] {
            assert!(changed(&[bad]).is_err(), "{bad:?}");
        }
    }
}
