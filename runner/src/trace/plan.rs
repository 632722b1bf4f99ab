//! The steps of children, which are planned in advance.

use nix::sched::CloneFlags;

use crate::exec::Target;
use crate::process::child::Child;
use crate::setup::Op;
use crate::spec::Process;

use super::record::Plan;
use super::{Part, Told, What, shell};

/// What the first process of a container does: it sets itself up, and becomes the command.
pub(crate) fn of_setup(child: &Child<'_>) -> Plan {
    let born = "connect the streams, close what was inherited, make the filter of system calls".to_owned();
    let mut steps = vec![What::new(Part::Process, "birth", born)];
    steps.extend(child.ops.iter().map(|op| {
        let is_made = child.spec.namespaces.user.is_some() && matches!(op, Op::Root(..) | Op::Source(_));
        let detail = if is_made { "made by the parent".to_owned() } else { op.to_string() };
        let told = Told::from(detail).typed(shell::op(op, child));
        What::new(part(op), op.name(), told)
    }));
    steps.extend(of_command(&child.spec.process));
    Plan { steps, variables: shell::names(&child.spec.id, Some(child.place.merged())) }
}

/// What the processes do that bring a command into a container that runs.
pub(crate) fn of_entering(target: &Target, namespaces: CloneFlags, command: &Process) -> Plan {
    let names: Vec<&str> = namespaces.iter_names().map(|(name, _)| name).collect();
    let process = |name, detail: &str| What::new(Part::Process, name, detail.to_owned());
    let joining = "make the filter of system calls, write 0 to the tasks of its groups".to_owned();
    let entering = format!("setns({})", names.join("|"));
    let becoming = "drop capabilities, become the user".to_owned();
    let mut steps = vec![
        process("birth", "connect the streams, close what was inherited"),
        What::new(Part::Cgroups, "join-cgroups", Told::from(joining).typed(shell::join(&target.groups))),
        What::new(Part::Namespaces, "setns", Told::from(entering).typed(shell::enter(target, namespaces))),
        process("connect", "take what only exists inside: the terminal, /dev/null, the working directory"),
        What::new(Part::Process, "privileges", Told::from(becoming).typed(shell::privileges(command))),
        process("fork", "clone(CLONE_PARENT): a process that is born inside, and is the caller's child"),
    ];
    steps.extend(of_command(command));
    Plan { steps, variables: shell::names(&target.spec.id, None) }
}

/// How the command takes over.
fn of_command(process: &Process) -> [What; 2] {
    let program = process.argv.first().map(String::as_str).unwrap_or_default();
    [
        What::new(Part::Exec, "find-command", format!("look for {program} in the command's PATH")),
        What::new(Part::Exec, "execve", Told::from(process.argv.join(" ")).typed(shell::command(process))),
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
