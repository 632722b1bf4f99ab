//! From the nft language to the instructions of the kernel's small machine: load into a register, compare, look up.

use ipnetwork::IpNetwork;
use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, Lookup, Meta, MetaKey,
    Operator, Payload, Register,
};

use super::{Comparison, Field, Operand, Statement, Verdict};
use crate::nft::table::Family;
use crate::nft::value::REGISTER;

/// Where a payload offset counts from (`enum nft_payload_bases`).
const LINK: u32 = 0;
const NETWORK: u32 = 1;
/// `NFT_LOOKUP_F_INV`.
const LOOKUP_INVERTED: u32 = 1;
/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const NFPROTO: [u8; 2] = [2, 10];
/// `ETH_P_IP`, `ETH_P_IPV6`.
const ETHERTYPE: [u16; 2] = [0x0800, 0x86dd];
/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;

/// A header whose fields only mean something once the packet is known to have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Ip,
    Ip6,
    Ether,
}

/// Where a field is loaded from.
enum Source {
    Meta(MetaKey, usize),
    Payload { base: u32, offset: u32, size: usize },
}

/// The instructions of `statements` in a chain of `family`.
pub(super) fn expressions(family: Family, statements: &[Statement]) -> Vec<ListAttribute<ExpressionAttribute>> {
    let mut program = Program { family, known: Vec::new(), instructions: Vec::new() };
    statements.iter().for_each(|statement| program.statement(statement));
    program.instructions.into_iter().map(Into::into).collect()
}

struct Program {
    family: Family,
    /// Headers that earlier instructions have made sure of.
    known: Vec<Header>,
    instructions: Vec<Expressions>,
}

impl Program {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Match(field, comparison, operand) => self.compare(*field, *comparison, operand),
            Statement::Lookup(fields, comparison, set) => {
                self.concatenation(fields);
                let inverted = (*comparison == Comparison::NotEqual).then_some(Lookup::Flags(LOOKUP_INVERTED));
                self.lookup(None, set, inverted);
            }
            Statement::VerdictMap(fields, map) => {
                self.concatenation(fields);
                self.lookup(Some(Lookup::DestinationRegister(Register::Verdict)), map, None);
            }
            Statement::Counter => self.plain("counter"),
            Statement::Masquerade => self.plain("masq"),
            Statement::Verdict(verdict) => self.verdict(verdict),
        }
    }

    fn compare(&mut self, field: Field, comparison: Comparison, operand: &Operand) {
        match operand {
            Operand::Value(value) => {
                self.load(field, 0, None);
                self.cmp(comparison, value.bytes());
            }
            Operand::Network(network) => self.compare_network(field, comparison, *network),
        }
    }

    /// A prefix of whole bytes is compared by loading only these, any other by masking.
    fn compare_network(&mut self, field: Field, comparison: Comparison, network: IpNetwork) {
        let (address, mask) = match network {
            IpNetwork::V4(v4) => (v4.network().octets().to_vec(), v4.mask().octets().to_vec()),
            IpNetwork::V6(v6) => (v6.network().octets().to_vec(), v6.mask().octets().to_vec()),
        };
        let whole = usize::from(network.prefix() / 8);
        if network.prefix().is_multiple_of(8) && whole > 0 {
            self.load(field, 0, Some(whole));
            self.cmp(comparison, address[..whole].to_vec());
            return;
        }
        self.load(field, 0, None);
        self.instructions.push(Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(number(mask.len())),
            Bitwise::Mask(DataAttribute::Value(mask)),
            Bitwise::Xor(DataAttribute::Value(vec![0; address.len()])),
        ]));
        self.cmp(comparison, address);
    }

    /// Loads the fields one behind the other, each into whole registers.
    fn concatenation(&mut self, fields: &[Field]) {
        let mut at = 0;
        for field in fields {
            self.load(*field, at, None);
            at += field.source().size().div_ceil(REGISTER);
        }
    }

    /// Loads `field`, or its first `only` bytes, into the registers from number `at` on.
    fn load(&mut self, field: Field, at: usize, only: Option<usize>) {
        if let Some(header) = field.header() {
            self.require(header);
        }
        let target = register(at);
        self.instructions.push(match field.source() {
            Source::Meta(key, _) => meta(key, target),
            Source::Payload { base, offset, size } => Expressions::Payload(vec![
                Payload::DestinationRegister(target),
                Payload::Base(base),
                Payload::Offset(offset),
                Payload::Len(number(only.unwrap_or(size))),
            ]),
        });
    }

    /// Makes sure that the packet has `header`, where the family does not say so.
    fn require(&mut self, header: Header) {
        if self.known.contains(&header) {
            return;
        }
        self.known.push(header);
        let protocol = usize::from(header == Header::Ip6);
        let (key, value) = match (header, self.family) {
            (Header::Ether, Family::Inet | Family::Netdev) => (MetaKey::Iftype, ETHERNET.to_ne_bytes().to_vec()),
            (Header::Ip | Header::Ip6, Family::Inet) => (MetaKey::Nfproto, vec![NFPROTO[protocol]]),
            (Header::Ip | Header::Ip6, Family::Bridge | Family::Netdev) => {
                (MetaKey::EtherTypeProtocol, ETHERTYPE[protocol].to_be_bytes().to_vec())
            }
            _ => return,
        };
        self.instructions.push(meta(key, Register::Reg1));
        self.cmp(Comparison::Equal, value);
    }

    fn cmp(&mut self, comparison: Comparison, value: Vec<u8>) {
        let operator = match comparison {
            Comparison::Equal => Operator::Equal,
            Comparison::NotEqual => Operator::NotEqual,
        };
        self.instructions.push(Expressions::Cmp(vec![
            Cmp::SourceRegister(Register::Reg1),
            Cmp::Op(operator),
            Cmp::Data(DataAttribute::Value(value)),
        ]));
    }

    fn lookup(&mut self, target: Option<Lookup>, set: &str, flags: Option<Lookup>) {
        let mut attributes = vec![Lookup::SourceRegister(Register::Reg1)];
        attributes.extend(target);
        attributes.push(Lookup::Set(set.to_owned()));
        attributes.extend(flags);
        self.instructions.push(Expressions::Lookup(attributes));
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.instructions.push(Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Verdict),
            Immediate::Data(DataAttribute::Verdict(verdict.attributes())),
        ]));
    }

    /// An instruction without attributes.
    fn plain(&mut self, name: &str) {
        let attributes: Vec<DefaultNla> = Vec::new();
        self.instructions.push(Expressions::Other { expression_type: name.to_owned(), attributes });
    }
}

impl Field {
    fn source(self) -> Source {
        match self {
            Self::IifName => Source::Meta(MetaKey::Iifname, 16),
            Self::OifName => Source::Meta(MetaKey::Oifname, 16),
            Self::NfProto => Source::Meta(MetaKey::Nfproto, 1),
            Self::L4Proto => Source::Meta(MetaKey::L4Proto, 1),
            Self::IpSaddr => Source::Payload { base: NETWORK, offset: 12, size: 4 },
            Self::IpDaddr => Source::Payload { base: NETWORK, offset: 16, size: 4 },
            Self::Ip6Saddr => Source::Payload { base: NETWORK, offset: 8, size: 16 },
            Self::Ip6Daddr => Source::Payload { base: NETWORK, offset: 24, size: 16 },
            Self::EtherSaddr => Source::Payload { base: LINK, offset: 6, size: 6 },
        }
    }

    const fn header(self) -> Option<Header> {
        match self {
            Self::IpSaddr | Self::IpDaddr => Some(Header::Ip),
            Self::Ip6Saddr | Self::Ip6Daddr => Some(Header::Ip6),
            Self::EtherSaddr => Some(Header::Ether),
            Self::IifName | Self::OifName | Self::NfProto | Self::L4Proto => None,
        }
    }
}

impl Source {
    const fn size(&self) -> usize {
        match self {
            Self::Meta(_, size) | Self::Payload { size, .. } => *size,
        }
    }
}

fn meta(key: MetaKey, target: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(target)])
}

/// The register that starts at the `at`-th word. Each fourth also has a number from the time when registers were four
/// words wide, and that is the one the kernel lists (`nft_dump_register`).
fn register(at: usize) -> Register {
    /// `NFT_REG32_00`.
    const FIRST: u32 = 8;
    let word = number(at);
    if word.is_multiple_of(4) { Register::from(1 + word / 4) } else { Register::from(FIRST + word) }
}

/// Sizes and offsets within a header.
fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
