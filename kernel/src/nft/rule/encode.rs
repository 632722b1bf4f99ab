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
const TRANSPORT: u32 = 2;
/// `NFT_LOOKUP_F_INV`.
const LOOKUP_INVERTED: u32 = 1;
/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const NFPROTO: [u8; 2] = [2, 10];
/// `NFT_CT_STATE`, `NFT_CT_STATUS`.
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// Attributes of `ct`, in the order in which `nft` writes them.
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_DREG: u16 = 1;
/// Attributes of `fib`, `NFT_FIB_RESULT_ADDRTYPE` and `NFTA_FIB_F_DADDR`.
const NFTA_FIB_FLAGS: u16 = 3;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_DREG: u16 = 1;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
/// Attributes of `nat`, and `NFT_NAT_DNAT`.
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NAT_DESTINATION: u32 = 1;
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
    Payload {
        base: u32,
        offset: u32,
        size: usize,
    },
    /// By key.
    Ct(u32),
    /// The destination's address type.
    Fib,
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
            Statement::DnatMap { family, fields, map } => {
                self.concatenation(fields);
                self.lookup(Some(Lookup::DestinationRegister(Register::Reg1)), map, None);
                self.dnat(*family);
            }
            Statement::SetMark(mark) => self.set_mark(*mark),
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
            Operand::Flags(flags) => {
                let mask = flags.iter().fold(0, |mask, flag| mask | flag.bit);
                self.load(field, 0, None);
                self.mask(mask.to_ne_bytes().to_vec());
                // Some flag is set where the rest of the mask is not zero.
                let comparison = match comparison {
                    Comparison::Equal => Comparison::NotEqual,
                    Comparison::NotEqual => Comparison::Equal,
                };
                self.cmp(comparison, vec![0; size_of_val(&mask)]);
            }
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
        self.mask(mask);
        self.cmp(comparison, address);
    }

    /// Leaves only the bits of `mask` in the first register.
    fn mask(&mut self, mask: Vec<u8>) {
        let zero = vec![0; mask.len()];
        self.instructions.push(Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(number(mask.len())),
            Bitwise::Mask(DataAttribute::Value(mask)),
            Bitwise::Xor(DataAttribute::Value(zero)),
        ]));
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
            Source::Ct(key) => other("ct", &[(NFTA_CT_KEY, key), (NFTA_CT_DREG, target.into())]),
            Source::Fib => {
                let what = [(NFTA_FIB_FLAGS, FIB_DESTINATION), (NFTA_FIB_RESULT, FIB_ADDRESS_TYPE)];
                other("fib", &[what[0], what[1], (NFTA_FIB_DREG, target.into())])
            }
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

    /// Translates the destination to what the registers hold: an address, and a port behind it.
    fn dnat(&mut self, family: Family) {
        let (protocol, size) = if family == Family::Ip6 { (NFPROTO[1], 16) } else { (NFPROTO[0], 4) };
        self.instructions.push(other(
            "nat",
            &[
                (NFTA_NAT_TYPE, NAT_DESTINATION),
                (NFTA_NAT_FAMILY, protocol.into()),
                (NFTA_NAT_REG_ADDR_MIN, Register::Reg1.into()),
                (NFTA_NAT_REG_PROTO_MIN, register(size / REGISTER).into()),
            ],
        ));
    }

    fn set_mark(&mut self, mark: u32) {
        self.instructions.push(Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Reg1),
            Immediate::Data(DataAttribute::Value(mark.to_ne_bytes().to_vec())),
        ]));
        self.instructions.push(Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(Register::Reg1)]));
    }

    /// An instruction without attributes.
    fn plain(&mut self, name: &str) {
        self.instructions.push(other(name, &[]));
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
            Self::ThSport => Source::Payload { base: TRANSPORT, offset: 0, size: 2 },
            Self::ThDport => Source::Payload { base: TRANSPORT, offset: 2, size: 2 },
            Self::IifKind => Source::Meta(MetaKey::Iifkind, 16),
            Self::IbrName => Source::Meta(MetaKey::BriIifname, 16),
            Self::ObrName => Source::Meta(MetaKey::BriOifname, 16),
            Self::Mark => Source::Meta(MetaKey::Mark, 4),
            Self::Protocol => Source::Meta(MetaKey::EtherTypeProtocol, 2),
            Self::CtState => Source::Ct(CT_STATE),
            Self::CtStatus => Source::Ct(CT_STATUS),
            Self::FibDaddrType => Source::Fib,
        }
    }

    const fn header(self) -> Option<Header> {
        match self {
            Self::IpSaddr | Self::IpDaddr => Some(Header::Ip),
            Self::Ip6Saddr | Self::Ip6Daddr => Some(Header::Ip6),
            Self::EtherSaddr => Some(Header::Ether),
            _ => None,
        }
    }
}

impl Source {
    const fn size(&self) -> usize {
        match self {
            Self::Meta(_, size) | Self::Payload { size, .. } => *size,
            Self::Ct(_) | Self::Fib => 4,
        }
    }
}

fn meta(key: MetaKey, target: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(target)])
}

/// An instruction that the message crate does not know, with attributes that are numbers.
fn other(name: &str, attributes: &[(u16, u32)]) -> Expressions {
    let attributes = attributes.iter().map(|(kind, value)| DefaultNla::new(*kind, value.to_be_bytes().to_vec()));
    Expressions::Other { expression_type: name.to_owned(), attributes: attributes.collect() }
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
