//! A row of the table.

use serde_json::{Value, json};

use crate::chain;
use crate::differences::{ATTACHMENT, BRIDGE, RULES, SETTLED, SYSCTLS};

/// One configuration and the life that it is put to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) plugin: &'static str,
    pub(crate) config: Value,
    /// The input as it is, in the place of the configuration.
    pub(crate) stdin: Option<&'static str>,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    pub(crate) without: Vec<&'static str>,
    /// What the plugins before this one in the chain have said about container `c1`.
    pub(crate) previous: Option<Value>,
    /// Whether it is about something that came after the Go suite's 1.1.1.
    pub(crate) is_newer: bool,
    /// Shell commands on the node before anything else; `c1` and `c2` are the containers' namespaces.
    pub(crate) prepare: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) differences: Vec<Difference>,
}

/// Something that is done in both lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A verb, about a container.
    Call(&'static str, &'static str),
    /// A verb with an empty `CNI_NETNS`.
    Blind(&'static str),
    /// A verb with a netns path that does not exist.
    Lost(&'static str),
    /// A shell script on the node.
    Shell(&'static str),
}

impl Step {
    fn is_about_c2(&self) -> bool {
        matches!(self, Self::Call(_, "c2"))
    }
}

pub(crate) const ADD: Step = Step::Call("ADD", "c1");
pub(crate) const CHECK: Step = Step::Call("CHECK", "c1");
pub(crate) const DEL: Step = Step::Call("DEL", "c1");
pub(crate) const ADD_2: Step = Step::Call("ADD", "c2");
pub(crate) const DEL_2: Step = Step::Call("DEL", "c2");

/// Lines in which the lives differ on purpose: `- ` is the Go suite's, `+ ` ours, `*` stands for any text.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) lines: &'static [&'static str],
    pub(crate) extent: Extent,
    pub(crate) reason: &'static str,
}

/// How much of a declared difference must come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    All,
    Any,
}

impl Row {
    pub(crate) fn new(plugin: &'static str, name: &str, mut config: Value) -> Self {
        let members = config.as_object_mut().expect("a configuration is an object");
        for (key, value) in [("cniVersion", "1.0.0"), ("name", "net"), ("type", plugin)] {
            members.entry(key).or_insert_with(|| json!(value));
        }
        Self {
            name: format!("{plugin}: {name}"),
            plugin,
            config,
            stdin: None,
            env: Vec::new(),
            without: Vec::new(),
            previous: None,
            is_newer: false,
            prepare: "",
            steps: vec![ADD, CHECK, DEL, DEL],
            differences: Vec::new(),
        }
    }

    /// A row about bridge, on the bridge `br0` unless the configuration says otherwise.
    pub(crate) fn bridge(name: &str, mut config: Value) -> Self {
        config.as_object_mut().expect("an object").entry("bridge").or_insert_with(|| json!("br0"));
        Self::new("bridge", name, config)
    }

    /// A row about host-local alone, by its `ipam` object.
    pub(crate) fn host_local(name: &str, ipam: &Value) -> Self {
        Self::new("host-local", name, json!({"ipam": ipam}))
    }

    /// A row about loopback.
    pub(crate) fn loopback(name: &str, config: Value) -> Self {
        Self::new("loopback", name, config)
    }

    /// A row about a plugin that comes after bridge; see [`chain`].
    pub(crate) fn chained(plugin: &'static str, name: &str, config: Value) -> Self {
        Self { previous: Some(chain::previous()), steps: vec![ADD, CHECK, DEL], ..Self::new(plugin, name, config) }
    }

    /// Whether the second container has a part in it. Only plugins whose containers share something are asked who else is
    /// there.
    pub(crate) fn needs_c2(&self) -> bool {
        matches!(self.plugin, "bridge" | "host-local" | "loopback")
            || self.prepare.contains("c2")
            || self.steps.iter().any(Step::is_about_c2)
    }

    /// Whether the state is read after this step. What CHECK of a chained plugin changes is seen after the next step, and
    /// to look is most of the time that a row takes.
    pub(crate) fn looks_after(&self, step: Step) -> bool {
        self.previous.is_none() || !matches!(step, Step::Call("CHECK", _) | Step::Lost("CHECK"))
    }

    /// Something else said before.
    pub(crate) fn previous(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(self.previous.as_mut().expect("a row about a chained plugin"));
        self
    }

    /// Nothing said before.
    pub(crate) fn unchained(mut self) -> Self {
        self.previous = Some(Value::Null);
        self
    }

    /// Only with a newer Go suite than that of Debian's stable release.
    pub(crate) fn newer(self) -> Self {
        Self { is_newer: true, ..self }
    }

    /// Another `cniVersion`. CHECK is left out where the version does not have it.
    pub(crate) fn version(mut self, version: &'static str) -> Self {
        self.config["cniVersion"] = json!(version);
        self.previous = self.previous.map(|previous| chain::of_version(previous, version));
        self.name = format!("{} in {version}", self.name);
        if version < "0.4.0" {
            self.steps.retain(|step| !matches!(step, Step::Call("CHECK", _)));
        }
        self
    }

    /// Another member of the configuration.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// The raw input.
    pub(crate) fn stdin(mut self, text: &'static str) -> Self {
        self.stdin = Some(text);
        self
    }

    /// A variable.
    pub(crate) fn env(mut self, key: &'static str, value: &'static str) -> Self {
        self.env.push((key, value));
        self
    }

    /// A variable that is missing.
    pub(crate) fn without(mut self, key: &'static str) -> Self {
        self.without.push(key);
        self
    }

    /// Commands that come first.
    pub(crate) fn prepare(mut self, script: &'static str) -> Self {
        self.prepare = script;
        self
    }

    /// Another life.
    pub(crate) fn steps(mut self, steps: &[Step]) -> Self {
        self.steps = steps.to_vec();
        self
    }

    /// A difference that is wanted, each line of it.
    pub(crate) fn differs(mut self, reason: &'static str, lines: &'static [&'static str]) -> Self {
        self.differences.push(Difference { lines, extent: Extent::All, reason });
        self
    }

    /// A difference that is wanted, of which some line comes.
    pub(crate) fn leaks(mut self, reason: &'static str, lines: &'static [&'static str]) -> Self {
        self.differences.push(Difference { lines, extent: Extent::Any, reason });
        self
    }

    /// An ADD that fails half-way: the Go suite leaves what it has made for DEL.
    pub(crate) fn rolls_back(self) -> Self {
        self.leaks("a failed ADD leaves nothing of the attachment", ATTACHMENT)
    }

    /// A DEL that comes without a namespace: the Go suite lets the link be.
    pub(crate) fn deletes_blindly(self) -> Self {
        self.leaks("DEL finds the link by its name", ATTACHMENT)
    }

    /// A CHECK of a link that somebody has set down.
    pub(crate) fn found_down(self) -> Self {
        self.differs(
            "the cause, not its consequences",
            &[r#"- *: answer.msg="Failed to find Gateway *"#, r#"+ *: answer.msg="Interface eth0 is down""#],
        )
        .leaks("its address is in use as soon as it is up", SETTLED)
    }

    /// Something that ours refuses before it makes the bridge.
    pub(crate) fn refused_first(self) -> Self {
        self.leaks("what can be refused is refused before anything is touched", BRIDGE)
    }

    /// Sysctls as they were, after DEL.
    pub(crate) fn restores_sysctls(self) -> Self {
        self.leaks("sysctls are restored like the rest", SYSCTLS)
    }

    /// Something that the Go suite finds out when it is half-way: the rules that it has made by then.
    pub(crate) fn rules_come_first(self) -> Self {
        self.leaks("what can be refused is refused before anything is touched", RULES)
    }

    /// A JSON value of a wrong type, about which each suite has words of its own; ours begin with the path.
    pub(crate) fn wrong_type(self) -> Self {
        self.differs(
            "the path says more than the name of a Go type",
            &["- *: answer.msg=*json: cannot unmarshal *", "+ *: answer.msg=*: invalid type: *"],
        )
    }
}
