//! A system bus of a test's own, with somebody on it who goes by systemd's name and makes scopes as systemd does: the group, and
//! the processes in it. What it was asked for is written down. It knows nothing of limits; it only tells what it was told.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use zbus::wire::serialized::{Context, Data};
use zbus::wire::{Endian, to_bytes};
use zbus::{ObjectPath, OwnedVariant, Type, Variant};

const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
    "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
    <busconfig><type>system</type><listen>unix:path=SOCKET</listen><auth>EXTERNAL</auth>
    <policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
    <allow send_type="signal"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"#;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

type Properties = Vec<(String, OwnedVariant)>;
/// Byte order, type, flags, version, length of the body, number, and fields by their codes.
type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'a>)>);

/// The bus with its one service.
pub struct Systemd {
    daemon: Child,
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Systemd {
    /// Returns when the name is taken.
    pub fn new(dir: &Path) -> Self {
        let (config, socket) = (dir.join("bus.conf"), dir.join("bus"));
        fs::write(&config, CONFIG.replace("SOCKET", socket.to_str().unwrap())).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed");
        daemon.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut service =
            Service { stream: UnixStream::connect(&socket).unwrap(), serial: 0, asked: Arc::clone(&asked) };
        service.log_in();
        thread::spawn(move || while service.serve().is_some() {});
        Self { daemon, socket, asked }
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }

    /// What it was asked for since the last time, a line for each call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Where version 2 of cgroups is mounted.
pub fn unified() -> PathBuf {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("a hierarchy of version 2");
    line.split(' ').nth(4).unwrap().into()
}

struct Service {
    stream: UnixStream,
    serial: u32,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A call that came in.
struct Asked {
    serial: u32,
    sender: String,
    member: String,
    body: Data<'static, 'static>,
}

impl Service {
    fn log_in(&mut self) {
        self.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").unwrap();
        let mut said = Vec::new();
        while said.iter().filter(|byte| **byte == b'\n').count() < 2 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        let bus = |member: &'static str| {
            [(1, 'o', "/org/freedesktop/DBus"), (6, 's', "org.freedesktop.DBus"), (3, 's', member)].to_vec()
        };
        self.send(CALL, bus("Hello"), None, &[]);
        let mut fields = bus("RequestName");
        fields.push((8, 'g', "su"));
        let body = bytes(&("org.freedesktop.systemd1", 4_u32));
        self.send(CALL, fields, None, &body);
        // The answers, and two signals about names: the second is about the one that was asked for.
        while !self
            .receive()
            .is_some_and(|message| message.member == "NameAcquired" && text(&message) == "org.freedesktop.systemd1")
        {
        }
    }

    /// Answers one message.
    fn serve(&mut self) -> Option<()> {
        let asked = self.receive()?;
        let answer = match asked.member.as_str() {
            "Subscribe" => Ok(None),
            "StartTransientUnit" => Ok(Some(self.start(&asked))),
            "SetUnitProperties" => {
                let (unit, _, properties): (String, bool, Properties) = asked.body.deserialize().unwrap().0;
                self.note(&format!("set {unit}"), &properties);
                Ok(None)
            }
            "StopUnit" => {
                self.note(&format!("stop {}", text(&asked)), &Vec::new());
                Err("org.freedesktop.systemd1.NoSuchUnit")
            }
            _ => return Some(()),
        };
        let to = (6, 's', asked.sender.as_str());
        match answer {
            Ok(None) => self.send(RETURN, vec![to], Some(asked.serial), &[]),
            Ok(Some(unit)) => {
                let job = "/org/freedesktop/systemd1/job/7";
                self.send(
                    RETURN,
                    vec![to, (8, 'g', "o")],
                    Some(asked.serial),
                    &bytes(&ObjectPath::try_from(job).unwrap()),
                );
                self.ended("/org/freedesktop/systemd1/job/6", "other.scope");
                self.ended(job, &unit);
            }
            Err(name) => self.send(ERROR, vec![to, (4, 's', name)], Some(asked.serial), &[]),
        }
        Some(())
    }

    fn ended(&mut self, job: &str, unit: &str) {
        let fields = vec![
            (1, 'o', "/org/freedesktop/systemd1"),
            (2, 's', "org.freedesktop.systemd1.Manager"),
            (3, 's', "JobRemoved"),
            (8, 'g', "uoss"),
        ];
        let body = bytes(&(7_u32, ObjectPath::try_from(job).unwrap(), unit, "done"));
        self.send(SIGNAL, fields, None, &body);
    }

    /// Makes a scope.
    fn start(&self, asked: &Asked) -> String {
        type Body = (String, String, Properties, Vec<(String, Properties)>);
        let (unit, _, properties, _): Body = asked.body.deserialize().unwrap().0;
        self.note(&format!("start {unit}"), &properties);
        let value =
            |name: &str| properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.try_clone().unwrap());
        let slice = String::try_from(value("Slice").unwrap()).unwrap();
        let pids = Vec::<u32>::try_from(value("PIDs").unwrap()).unwrap();
        let dir = unified().join(slice).join(&unit);
        fs::create_dir_all(&dir).unwrap();
        for pid in pids {
            fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        unit
    }

    fn note(&self, what: &str, properties: &Properties) {
        let told: Vec<_> = properties
            .iter()
            .filter(|(name, _)| name != "PIDs")
            .map(|(name, value)| format!(" {name}={}", &**value))
            .collect();
        self.asked.lock().unwrap().push(format!("{what}{}", told.concat()));
    }

    fn receive(&mut self) -> Option<Asked> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).ok()?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let fields = number(12).next_multiple_of(8);
        let mut rest = vec![0; fields + number(4)];
        self.stream.read_exact(&mut rest).ok()?;
        let body = Data::new(rest.split_off(fields), Context::new(Endian::Little, 0));
        let whole = Data::new([&head[..], &rest].concat(), Context::new(Endian::Little, 0));
        let (header, _): (Header<'_>, _) = whole.deserialize().unwrap();
        let field = |code: u8| {
            let found = header.6.iter().find(|(this, _)| *this == code).map(|(_, value)| value);
            match found {
                Some(Variant::Str(text)) => text.to_string(),
                _ => String::new(),
            }
        };
        Some(Asked { serial: header.5, sender: field(7), member: field(3), body })
    }

    /// Sends a message with these fields: code, type, value.
    fn send(&mut self, kind: u8, fields: Vec<(u8, char, &str)>, reply_to: Option<u32>, body: &[u8]) {
        let mut array = Vec::new();
        for (code, kind, value) in fields {
            array.resize(array.len().next_multiple_of(8), 0);
            array.extend([code, 1, kind as u8, 0]);
            let length = u32::try_from(value.len()).unwrap().to_le_bytes();
            array.extend(if kind == 'g' { &length[..1] } else { &length });
            array.extend(value.as_bytes());
            array.push(0);
        }
        if let Some(serial) = reply_to {
            array.resize(array.len().next_multiple_of(8), 0);
            array.extend([5, 1, b'u', 0]);
            array.extend(serial.to_le_bytes());
        }
        self.serial += 1;
        let mut message = vec![b'l', kind, 0, 1];
        for number in [body.len(), self.serial as usize, array.len()] {
            message.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        message.extend(array);
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body);
        let _ = self.stream.write_all(&message);
    }
}

fn bytes(arguments: &(impl serde::Serialize + Type)) -> Vec<u8> {
    to_bytes(Context::new(Endian::Little, 0), arguments).unwrap().to_vec()
}

/// Its first argument.
fn text(message: &Asked) -> String {
    message.body.deserialize::<&str>().map(|(text, _)| text.to_owned()).unwrap_or_default()
}
