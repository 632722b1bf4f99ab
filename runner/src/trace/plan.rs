//! The steps of children, which are planned in advance.

use nix::sched::CloneFlags;

use crate::setup::Op;

use super::{Part, What};

/// What the first process of a container does: it performs `ops`, and becomes `argv`.
pub(crate) fn of_setup(ops: &[Op], argv: &[String]) -> Vec<What> {
    let born = "connect the streams, close what was inherited, make the filter of system calls".to_owned();
    let mut steps = vec![What::new(Part::Process, "birth", born)];
    steps.extend(ops.iter().map(|op| What::new(part(op), op.name(), op.to_string())));
    steps.extend(of_command(argv));
    steps
}

/// What the processes do that bring `argv` into a container that runs.
pub(crate) fn of_entering(namespaces: CloneFlags, argv: &[String]) -> Vec<What> {
    let names: Vec<&str> = namespaces.iter_names().map(|(name, _)| name).collect();
    let process = |name, detail: &str| What::new(Part::Process, name, detail.to_owned());
    let mut steps = vec![
        process("birth", "connect the streams, close what was inherited"),
        What::new(
            Part::Cgroups,
            "join-cgroups",
            "make the filter of system calls, write 0 to the tasks of its groups".to_owned(),
        ),
        What::new(Part::Namespaces, "setns", format!("setns({})", names.join("|"))),
        process("connect", "take what only exists inside: the terminal, /dev/null, the working directory"),
        process("privileges", "drop capabilities, become the user"),
        process("fork", "clone(CLONE_PARENT): a process that is born inside, and is the caller's child"),
    ];
    steps.extend(of_command(argv));
    steps
}

/// How the command takes over.
fn of_command(argv: &[String]) -> [What; 2] {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    [
        What::new(Part::Exec, "find-command", format!("look for {program} in the command's PATH")),
        What::new(Part::Exec, "execve", argv.join(" ")),
    ]
}

fn part(op: &Op) -> Part {
    match op {
        Op::UserNamespace | Op::AwaitNetwork => Part::Waiting,
        Op::JoinCgroups => Part::Cgroups,
        Op::CgroupNamespace
        | Op::JoinNet(_)
        | Op::Join(_)
        | Op::Time(_)
        | Op::Hostname(_)
        | Op::Domainname(_)
        | Op::Sysctl(_)
        | Op::SlaveMounts => Part::Namespaces,
        Op::Loopback => Part::Network,
        Op::Session | Op::Stdio | Op::OomScore(_) | Op::Keyring | Op::Limit(_) | Op::Privileges => Part::Process,
        _ => Part::Root,
    }
}
