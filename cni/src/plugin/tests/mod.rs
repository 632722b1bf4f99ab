//! A plugin that records how it was called, in a world of memory.

mod calls;
mod dispatch;
mod environment;
mod versions;

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::*;
use crate::address::parse_cidr;
use crate::error::Code;
use crate::result::IpConfig;

/// Answers with `result`, fails with `failure`, and remembers the verbs that reached it.
#[derive(Default)]
struct Fake {
    calls: RefCell<Vec<String>>,
    result: AddResult,
    failure: Option<Error>,
    /// DEL alone fails, too.
    del_failure: Option<Error>,
}

impl Fake {
    fn reached(&self, call: &Call, what: String) -> Result<(), Error> {
        assert_eq!(call.name.as_str(), "n1");
        self.calls.borrow_mut().push(what);
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl Plugin for Fake {
    const NAME: &'static str = "fake";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let Attachment { container_id, ifname, netns, args } = attachment;
        self.reached(call, format!("ADD {container_id} {ifname} {netns} {args}"))?;
        Ok(self.result.clone())
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        self.reached(call, format!("DEL {} {}", attachment.container_id, attachment.ifname))?;
        self.del_failure.clone().map_or(Ok(()), Err)
    }

    fn check(&self, call: &Call, _: &Attachment) -> Result<(), Error> {
        self.reached(call, "CHECK".to_owned())
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        let listed: Vec<String> = valid.iter().map(|(id, ifname)| format!("{id}/{ifname}")).collect();
        self.reached(call, format!("GC {} {}", valid.is_specified(), listed.join(" ")))
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        self.reached(call, "STATUS".to_owned())
    }
}

/// What a process would have left.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u8,
    stdout: String,
    stderr: String,
}

impl Seen {
    fn error(&self) -> Error {
        assert_eq!(self.status, 1, "{self:?}");
        let document: Value = serde_json::from_str(&self.stdout).unwrap();
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        let code = Code(document["code"].as_u64().unwrap().try_into().unwrap());
        Error { code, msg: text("msg"), details: text("details") }
    }
}

/// A complete environment for any verb.
fn env(verb: &str) -> Vec<(&str, &str)> {
    vec![
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "cid1"),
        ("CNI_NETNS", "/nonexistent/netns"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "A=B"),
        ("CNI_PATH", "/opt/cni/bin"),
    ]
}

fn without<'a>(env: Vec<(&'a str, &'a str)>, name: &str) -> Vec<(&'a str, &'a str)> {
    env.into_iter().filter(|(other, _)| *other != name).collect()
}

/// [`env`] with another value for one variable.
fn with<'a>(verb: &'a str, name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut env = without(env(verb), name);
    env.push((name, value));
    env
}

fn config() -> Value {
    json!({"cniVersion": "1.1.0", "name": "n1", "type": "fake"})
}

fn call<P: Plugin>(plugin: &P, env: &[(&str, &str)], stdin: &[u8]) -> Seen {
    let mut stdout = Vec::new();
    let (status, stderr) = call_with(plugin, env, stdin, Some(Box::new(&mut stdout)));
    Seen { status, stdout: String::from_utf8(stdout).unwrap(), stderr }
}

fn call_with<P: Plugin>(
    plugin: &P,
    env: &[(&str, &str)],
    stdin: &[u8],
    stdout: Option<Box<dyn Write + '_>>,
) -> (u8, String) {
    let (stderr, buffer) = Stderr::buffered();
    let env: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let status = run(plugin, World { env, stdin: Box::new(stdin), stdout, stderr });
    let stderr = String::from_utf8(buffer.lock().unwrap().clone()).unwrap();
    (status, stderr)
}

fn call_json<P: Plugin>(plugin: &P, env: &[(&str, &str)], config: &Value) -> Seen {
    call(plugin, env, config.to_string().as_bytes())
}

/// A pipe whose reader is gone.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn one_address() -> AddResult {
    let address = parse_cidr("10.0.0.2/24").unwrap();
    AddResult { ips: vec![IpConfig { interface: None, address, gateway: None }], ..AddResult::default() }
}
