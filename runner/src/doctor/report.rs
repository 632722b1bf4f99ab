//! What a look at something has brought, line by line.

use serde_json::{Value as Json, json};

/// How a thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or may work, but not as one would wish.
    Warn,
    /// It does not work.
    Bad,
    /// It was not looked at.
    Skip,
}

impl Verdict {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Skip => "skip",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at, in a word or two.
    pub(crate) check: String,
    /// How it was found.
    pub(crate) verdict: Verdict,
    /// What was seen.
    pub(crate) seen: String,
    /// The command that puts it right; empty where there is nothing to put right.
    pub(crate) fix: String,
}

/// Everything that was looked at, in order.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Finding>);

impl Report {
    /// It is as it should be.
    pub(crate) fn ok(&mut self, check: &str, seen: impl Into<String>) {
        self.push(check, Verdict::Ok, seen.into(), String::new());
    }

    /// It was not looked at, and why.
    pub(crate) fn skip(&mut self, check: &str, why: impl Into<String>) {
        self.push(check, Verdict::Skip, why.into(), String::new());
    }

    /// It may work. `fix` is a command.
    pub(crate) fn warn(&mut self, check: &str, seen: impl Into<String>, fix: impl Into<String>) {
        self.push(check, Verdict::Warn, seen.into(), fix.into());
    }

    /// It does not work. `fix` is a command.
    pub(crate) fn bad(&mut self, check: &str, seen: impl Into<String>, fix: impl Into<String>) {
        self.push(check, Verdict::Bad, seen.into(), fix.into());
    }

    /// Names are whatever somebody in a container has made them; what is printed is one line, and does nothing to a terminal.
    fn push(&mut self, check: &str, verdict: Verdict, seen: String, fix: String) {
        let [check, seen, fix] = [check, &seen, &fix].map(|text| text.replace(char::is_control, "?"));
        self.0.push(Finding { check, verdict, seen, fix });
    }

    /// How many things do not work.
    pub(crate) fn bad_ones(&self) -> usize {
        self.0.iter().filter(|finding| finding.verdict == Verdict::Bad).count()
    }

    /// For people: a line for each finding, and the fix below it.
    pub(crate) fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.chars().count()).max().unwrap_or_default();
        let line = |finding: &Finding| {
            let Finding { check, verdict, seen, fix } = finding;
            let line = format!("{:<4}  {check:<width$}  {seen}\n", verdict.as_str());
            if fix.is_empty() { line } else { format!("{line}{:width$}        fix: {fix}\n", "") }
        };
        self.0.iter().map(line).collect()
    }

    /// For programs.
    pub(crate) fn rows(&self) -> Vec<Json> {
        let row = |finding: &Finding| {
            json!({
                "Verdict": finding.verdict.as_str(),
                "Check": finding.check,
                "Seen": finding.seen,
                "Fix": finding.fix,
            })
        };
        self.0.iter().map(row).collect()
    }
}

/// A name as a word of a command that a person pastes into a shell: somebody in a container may have chosen it for that.
pub(super) fn word(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte);
    if !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_plain) {
        return name.to_owned();
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_is_below_what_it_is_for() {
        let mut report = Report::default();
        report.ok("lo", "up");
        report.bad("eth0 link", "down", "ip link set eth0 up");
        assert_eq!(
            report.text(),
            "ok    lo         up\nbad   eth0 link  down\n                 fix: ip link set eth0 up\n"
        );
        assert_eq!((report.bad_ones(), report.rows().len()), (1, 2));
    }

    #[test]
    fn names_that_are_commands_or_move_the_cursor_do_nothing() {
        assert_eq!((word("eth0"), word("veth1.100@x")), ("eth0".into(), "veth1.100@x".into()));
        assert_eq!(word("$(reboot)"), "'$(reboot)'");
        assert_eq!(word("a';reboot;'"), "'a'\\'';reboot;'\\'''");
        let mut report = Report::default();
        report.ok("\u{1b}[2Jx", "a\nbad  b");
        assert_eq!(report.text(), "ok    ?[2Jx  a?bad  b\n");
    }
}
