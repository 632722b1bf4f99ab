//! The environment of a plugin's process.

use std::env;
use std::ffi::OsString;

/// What a plugin's process inherits from the runtime's, beside the protocol's own variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// Everything, as with libcni. For engines whose plugins rely on their service's environment.
    Inherit,
    /// These variables only. For a program that people start from a shell: its environment holds secrets that no plugin
    /// needs, and settings (`LD_PRELOAD`, `CNI_ARGS`) that none should obey.
    Only(Vec<OsString>),
}

/// What a program can not do without (`PATH`, for the tools that a plugin starts) or speaks to its user by (`LANG`).
const CLEAN: [&str; 2] = ["PATH", "LANG"];

impl Environment {
    /// The allow-list for a program that people start from a shell: `PATH` and `LANG`.
    pub fn clean() -> Self {
        Self::Only(CLEAN.map(OsString::from).to_vec())
    }

    /// The inherited variables, with `protocol` put over them.
    pub(super) fn with(&self, protocol: Vec<(&'static str, OsString)>) -> Vec<(OsString, OsString)> {
        self.over(env::vars_os(), protocol)
    }

    fn over(
        &self,
        inherited: impl Iterator<Item = (OsString, OsString)>,
        protocol: Vec<(&'static str, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let inherited = inherited.filter(|(name, _)| match self {
            Self::Inherit => true,
            Self::Only(names) => names.contains(name),
        });
        let inherited = inherited.filter(|(name, _)| protocol.iter().all(|(own, _)| name != own));
        let mut variables: Vec<_> = inherited.collect();
        variables.extend(protocol.into_iter().map(|(name, value)| (name.into(), value)));
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_s_variables_replace_inherited_ones() {
        let inherited = [("CNI_ARGS", "IP=10.0.0.9"), ("PATH", "/bin"), ("LD_PRELOAD", "/tmp/x.so"), ("LANG", "C")];
        let over = |env: &Environment| {
            let inherited = inherited.iter().map(|&(name, value)| (name.into(), value.into()));
            let variables = env.over(inherited, vec![("CNI_ARGS", "".into()), ("CNI_COMMAND", "ADD".into())]);
            let texts = variables.iter().map(|(name, value)| format!("{}={}", name.display(), value.display()));
            texts.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(over(&Environment::clean()), "PATH=/bin LANG=C CNI_ARGS= CNI_COMMAND=ADD");
        assert_eq!(over(&Environment::Inherit), "PATH=/bin LD_PRELOAD=/tmp/x.so LANG=C CNI_ARGS= CNI_COMMAND=ADD");
    }
}
