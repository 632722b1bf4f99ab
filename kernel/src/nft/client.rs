//! The conversation with nf_tables: transactions, and questions by name.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{Emitable, NetlinkSerializable};
use netlink_packet_netfilter::nftables::{ChainMessage, GenMessage, NfTablesMessage, SetAttribute, SetMessage};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage};
use nix::errno::Errno;

use super::batch::{Batch, Change};
use super::error::Error;
use super::read::{self, Entry, RuleEntry};
use super::socket::{self, Ending, Failure};
use super::table::{Family, ObjectName, TableName};
use super::value::Value;
use super::{chain, farewell, loading, rule, set};
use crate::conntrack::Conntrack;
use crate::netlink::{self, Frame, Request, Socket};

/// A socket to nf_tables in one network namespace.
#[derive(Debug)]
pub struct Nft {
    socket: netlink::Socket,
    /// What starts the collection of `socket`, so it is closed after it: fields are dropped in order.
    farewell: Option<OwnedFd>,
    /// nf_tables has answered, so it is there.
    answered: bool,
}

impl Drop for Nft {
    fn drop(&mut self) {
        self.farewell = farewell::give_away(self.socket.as_raw_fd());
    }
}

impl Nft {
    /// Opens a socket in the network namespace of the calling thread, where it stays.
    ///
    /// # Errors
    ///
    /// [`Error::NoSupport`] when the kernel has no netfilter netlink, else what `socket(2)` answers.
    pub fn open() -> Result<Self, Error> {
        let open = || socket::open().map_err(|error| Error::socket("open a netfilter socket", error));
        let socket = loading::patiently(open)?;
        Ok(Self { socket, farewell: None, answered: false })
    }

    /// The connections that the kernel tracks: another part of netfilter, over the same socket.
    pub fn conntrack(&mut self) -> Conntrack<'_> {
        Conntrack::over(&mut self.socket)
    }

    /// Whether nf_tables can be used: one question without side effects, asked once.
    ///
    /// # Errors
    ///
    /// [`Error::NoSupport`] when it can't, anything else when that could not be found out.
    pub fn supported(&mut self) -> Result<(), Error> {
        if !self.answered {
            self.generation()?;
            self.answered = true;
        }
        Ok(())
    }

    /// Makes all changes of `batch`, or none.
    ///
    /// # Errors
    ///
    /// The refusal of the first change that the kernel did not accept.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.transact(batch, Ending::Commit)
    }

    /// Makes all changes of `batch`, or none, and only if nobody changed the ruleset since [`Nft::generation`].
    ///
    /// # Errors
    ///
    /// [`Error::Changed`], or as [`Nft::commit`].
    pub fn commit_at(&mut self, batch: &Batch, generation: u32) -> Result<(), Error> {
        self.transact(batch, Ending::CommitAt(generation))
    }

    /// Has the kernel try all changes of `batch`, and make none.
    ///
    /// # Errors
    ///
    /// As [`Nft::commit`].
    pub fn rehearse(&mut self, batch: &Batch) -> Result<(), Error> {
        self.transact(batch, Ending::Abort)
    }

    fn transact(&mut self, batch: &Batch, ending: Ending) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        loading::patiently(|| {
            let numbered = (1..).zip(batch.changes());
            let messages = numbered.map(|(id, change)| (change.flags(), message(change.family(), change.message(id))));
            match socket::transact(&self.socket, messages.collect(), ending) {
                Ok(()) => Ok(()),
                Err(Failure::Refused(index, refusal)) => {
                    let change = index.and_then(|at| batch.changes().get(at));
                    let action = change.map_or_else(|| summary(batch), Change::to_string);
                    Err(Error::refused(action, refusal, index, change.is_none()))
                }
                Err(Failure::Socket(error)) => Err(Error::socket(summary(batch), error)),
            }
        })
    }

    /// The generation of the namespace's ruleset: a number that every transaction changes, whoever makes it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSupport`], or what the socket answers.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let frames = self.ask(Family::Inet, generation(), "ask for the generation of the ruleset")?;
        let found = frames.iter().find_map(|frame| read::generation(frame.payload()));
        found.ok_or_else(|| malformed("ask for the generation of the ruleset"))
    }

    /// Whether the table exists.
    ///
    /// # Errors
    ///
    /// Anything but the answer that it does not.
    pub fn table_exists(&mut self, table: &TableName) -> Result<bool, Error> {
        let question = NfTablesMessage::GetTable(table.message());
        existence(self.ask(table.family, question, format_args!("list table {table}")))
    }

    /// Whether the chain exists.
    ///
    /// # Errors
    ///
    /// Anything but the answer that it does not.
    pub fn chain_exists(&mut self, chain: &ObjectName) -> Result<bool, Error> {
        let question = NfTablesMessage::GetChain(chain::name(chain));
        existence(self.ask(chain.table.family, question, format_args!("list chain {chain}")))
    }

    /// Whether the set or map exists.
    ///
    /// # Errors
    ///
    /// Anything but the answer that it does not.
    pub fn set_exists(&mut self, set: &ObjectName) -> Result<bool, Error> {
        let question = NfTablesMessage::GetSet(set::name(set));
        existence(self.ask(set.table.family, question, format_args!("list set {set}")))
    }

    /// The element with this key, without reading any other.
    ///
    /// # Errors
    ///
    /// Anything but the answer that there is none, or no such set.
    pub fn element(&mut self, set: &ObjectName, key: &Value) -> Result<Option<Entry>, Error> {
        let question = NfTablesMessage::GetSetElement(set::key(set, key));
        match self.ask(set.table.family, question, format_args!("get element {set} {{ {key} }}")) {
            Ok(frames) => Ok(frames.iter().flat_map(|frame| read::elements(frame.payload())).next()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The elements with these keys, by questions in one message; none for those that are not there, or whose set is
    /// not. The generation of the ruleset is asked for first.
    ///
    /// # Errors
    ///
    /// Anything but the answer that there is none, or no such set.
    pub(super) fn look_up(&mut self, targets: &[(&ObjectName, &Value)]) -> Result<(u32, Vec<Option<Entry>>), Error> {
        let question = |(set, key): &(&ObjectName, &Value)| {
            request(set.table.family, NfTablesMessage::GetSetElement(set::key(set, key)))
        };
        // What it needs is loaded by then.
        self.supported()?;
        let mut requests = vec![request(Family::Inet, generation())];
        requests.extend(targets.iter().map(question));
        let action = "look elements up";
        let outcomes = self.socket.exchange(&requests).map_err(|error| self.refused(error, &action))?;
        let mut answers = outcomes.into_iter().map(|outcome| match outcome {
            Ok(frames) => Ok(frames),
            Err(refusal) if refusal.errno == Errno::ENOENT => Ok(Vec::new()),
            Err(refusal) => Err(refusal),
        });
        let first =
            answers.next().unwrap_or(Ok(Vec::new())).map_err(|refusal| self.refused(refusal.into(), &action))?;
        let generation = first.iter().find_map(|frame| read::generation(frame.payload()));
        let mut entries = Vec::with_capacity(targets.len());
        for answer in answers {
            let frames = answer.map_err(|refusal| Error::refused(action.to_owned(), refusal, None, true))?;
            entries.push(frames.iter().flat_map(|frame| read::elements(frame.payload())).next());
        }
        Ok((generation.ok_or_else(|| malformed(action))?, entries))
    }

    /// All elements of a set or map.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is no such set.
    pub fn elements(&mut self, set: &ObjectName) -> Result<Vec<Entry>, Error> {
        let question = NfTablesMessage::GetSetElement(set::list(set, Vec::new()));
        let frames = self.list(set.table.family, question, format_args!("list set {set}"))?;
        Ok(frames.iter().flat_map(|frame| read::elements(frame.payload())).collect())
    }

    /// The names of all sets and maps of a table; none when there is no such table.
    ///
    /// # Errors
    ///
    /// What the socket answers.
    pub fn sets(&mut self, table: &TableName) -> Result<Vec<ObjectName>, Error> {
        let filter = SetAttribute::Table(table.name.clone().into_owned());
        let question = NfTablesMessage::GetSet(SetMessage { attributes: vec![filter] });
        match self.list(table.family, question, format_args!("list sets in {table}")) {
            Ok(frames) => {
                let names = frames.iter().filter_map(|frame| read::set_name(frame.payload()));
                Ok(names.map(|name| table.object(name)).collect())
            }
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The names of all chains of a table; none when there is no such table. The kernel lists those of the whole family,
    /// so this is for rare work only.
    ///
    /// # Errors
    ///
    /// What the socket answers.
    pub fn chains(&mut self, table: &TableName) -> Result<Vec<ObjectName>, Error> {
        let question = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
        let frames = self.list(table.family, question, format_args!("list chains {}", table.family))?;
        let found = frames.iter().filter_map(|frame| read::chain(frame.payload()));
        Ok(found.filter(|(holder, _)| *holder == table.name).map(|(_, name)| table.object(name)).collect())
    }

    /// Handles and comments of the rules of one chain, in order; none when there is no such chain.
    ///
    /// # Errors
    ///
    /// What the socket answers.
    pub fn rules(&mut self, chain: &ObjectName) -> Result<Vec<RuleEntry>, Error> {
        let question = NfTablesMessage::GetRule(rule::chain(chain));
        match self.list(chain.table.family, question, format_args!("list chain {chain}")) {
            Ok(frames) => Ok(frames.iter().filter_map(|frame| read::rule(frame.payload())).collect()),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The answer to a question about one thing.
    pub(crate) fn ask(
        &mut self,
        family: Family,
        question: NfTablesMessage,
        action: impl fmt::Display,
    ) -> Result<Vec<Frame>, Error> {
        self.converse(family, question, &action, |socket, request| socket.request(request.clone()))
    }

    /// The answers to a question about all of a kind.
    pub(crate) fn list(
        &mut self,
        family: Family,
        question: NfTablesMessage,
        action: impl fmt::Display,
    ) -> Result<Vec<Frame>, Error> {
        self.converse(family, question, &action, Socket::dump)
    }

    fn converse(
        &mut self,
        family: Family,
        question: NfTablesMessage,
        action: &dyn fmt::Display,
        speak: fn(&mut Socket, &Request) -> Result<Vec<Frame>, netlink::Error>,
    ) -> Result<Vec<Frame>, Error> {
        let request = request(family, question);
        loading::patiently(|| {
            let answer = speak(&mut self.socket, &request);
            answer.map_err(|error| self.refused(error, action))
        })
    }

    /// A kernel with netfilter but without nf_tables calls every question an invalid argument (`nfnetlink_rcv_msg`).
    fn refused(&mut self, error: netlink::Error, action: &dyn fmt::Display) -> Error {
        match error {
            netlink::Error::Refused(refusal) if refusal.errno == Errno::EINVAL && !self.answers() => Error::NoSupport,
            netlink::Error::Refused(refusal) => Error::refused(action.to_string(), refusal, None, true),
            netlink::Error::Io(error) => Error::socket(action.to_string(), error),
            netlink::Error::Malformed(_) => malformed(&action.to_string()),
        }
    }

    /// Whether the one question that has no arguments is answered.
    fn answers(&mut self) -> bool {
        self.socket.request(request(Family::Inet, generation())).is_ok()
    }
}

fn generation() -> NfTablesMessage {
    NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() })
}

fn message(family: Family, message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family.protocol(), 0, 0), message)
}

fn request(family: Family, question: NfTablesMessage) -> Request {
    let message = message(family, question);
    let mut payload = vec![0; Emitable::buffer_len(&message)];
    message.emit(&mut payload);
    Request { kind: message.message_type(), flags: 0, payload }
}

fn existence(answer: Result<Vec<Frame>, Error>) -> Result<bool, Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn malformed(action: &str) -> Error {
    Error::socket(action, std::io::Error::other("malformed answer"))
}

/// A batch in one line: its first change and the number of the others.
pub(super) fn summary(batch: &Batch) -> String {
    match batch.changes() {
        [] => "change nothing".to_owned(),
        [single] => single.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more changes)", rest.len()),
    }
}
