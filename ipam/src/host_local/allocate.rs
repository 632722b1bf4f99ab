//! ADD's core: one address out of each set, or none at all.

use thiserror::Error;

use cni::result::IpConfig;
use cni::{ContainerId, Error};

use super::addr::Addr;
use super::ledger::{Ledger, LedgerError};
use super::lessee::Lessee;
use super::pool::{Range, RangeSet};

/// Why a set gave no address. The texts begin as those of the Go suite.
#[derive(Debug, Error)]
enum Refusal {
    #[error("requested ip {0} is subnet's gateway")]
    Gateway(Addr),
    #[error("requested IP address {addr} is not available in range set {set}")]
    Taken { addr: Addr, set: String, holder: Option<String> },
    #[error("{0} has been allocated to {1}, duplicate allocation is not allowed")]
    Duplicate(Addr, ContainerId),
    #[error("no IP addresses available in range set: {set}")]
    Exhausted { set: String, size: u128 },
    #[error("{0} does not fit the prefix of its subnet")]
    Unprintable(Addr),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What a set without a free address is called.
pub(crate) fn exhausted(set: &RangeSet) -> Error {
    let refusal = Refusal::Exhausted { set: set.to_string(), size: set.size() };
    let error = Error::internal(refusal.to_string());
    match refusal.hint() {
        Some(hint) => error.with_details(hint),
        None => error,
    }
}

impl Refusal {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Taken { addr, holder: Some(holder), .. } => Some(format!("{addr} is leased to {holder}")),
            Self::Exhausted { size, .. } => Some(format!(
                "{size} of {size} in use; leases of containers that are gone are removed by GC, or by removing their files"
            )),
            _ => None,
        }
    }

    fn into_error(self) -> Error {
        let hint = self.hint();
        let error = match self {
            Self::Ledger(error) => error.into(),
            other => Error::internal(other.to_string()),
        };
        match hint {
            Some(hint) => error.with_details(hint),
            None => error,
        }
    }
}

/// An ADD in progress, which knows what it has reserved so far.
pub(crate) struct Allocation<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) container_id: &'a ContainerId,
    pub(crate) lessee: &'a Lessee,
    reserved: Vec<Addr>,
}

impl<'a> Allocation<'a> {
    pub(crate) fn new(ledger: &'a mut Ledger, container_id: &'a ContainerId, lessee: &'a Lessee) -> Self {
        Self { ledger, container_id, lessee, reserved: Vec::new() }
    }

    /// Takes an address out of each set, the requested ones where they belong. On failure everything that was
    /// taken here is given back, and nothing else: the lessee may hold addresses of an earlier ADD.
    pub(crate) fn run(mut self, sets: &[RangeSet], requested: &[Addr]) -> Result<Vec<IpConfig>, Error> {
        self.take_all(sets, requested).map_err(|error| self.give_back(error))
    }

    fn take_all(&mut self, sets: &[RangeSet], requested: &[Addr]) -> Result<Vec<IpConfig>, Error> {
        let mut requested = requested.to_vec();
        let mut ips = Vec::with_capacity(sets.len());
        for (number, set) in sets.iter().enumerate() {
            let wanted = requested.iter().position(|addr| set.range_for(*addr).is_some());
            let wanted = wanted.map(|at| requested.remove(at));
            let failed =
                |refusal: Refusal| refusal.into_error().context(format_args!("failed to allocate for range {number}"));
            ips.push(self.take(number, set, wanted).map_err(failed)?);
        }
        if requested.is_empty() {
            return Ok(ips);
        }
        let left: String = requested.iter().map(|addr| format!(" {addr}")).collect();
        Err(Error::internal(format!("failed to allocate all requested IPs:{left}")))
    }

    fn take(&mut self, number: usize, set: &RangeSet, wanted: Option<Addr>) -> Result<IpConfig, Refusal> {
        let requested = wanted.and_then(|addr| Some((addr, *set.range_for(addr)?)));
        let (addr, range) = match requested {
            Some((addr, range)) => self.take_requested(number, set, addr, range)?,
            None => self.take_next(number, set)?,
        };
        self.reserved.push(addr);
        let address = range.with_prefix(addr).ok_or(Refusal::Unprintable(addr))?;
        Ok(IpConfig { interface: None, address, gateway: Some(range.gateway().ip()) })
    }

    fn take_requested(
        &mut self,
        number: usize,
        set: &RangeSet,
        addr: Addr,
        range: Range,
    ) -> Result<(Addr, Range), Refusal> {
        if addr == range.gateway() {
            return Err(Refusal::Gateway(addr));
        }
        if self.ledger.reserve(number, addr, self.lessee)? {
            return Ok((addr, range));
        }
        Err(Refusal::Taken { addr, set: set.to_string(), holder: self.ledger.holder(addr) })
    }

    fn take_next(&mut self, number: usize, set: &RangeSet) -> Result<(Addr, Range), Refusal> {
        let mut leases = self.ledger.leases_of(self.lessee.exact())?;
        leases.extend(self.ledger.leases_of(self.lessee.legacy())?);
        leases.sort_by(|a, b| a.path.cmp(&b.path));
        let held = leases.iter().filter_map(|lease| lease.addr).find(|addr| set.range_for(*addr).is_some());
        if let Some(addr) = held {
            return Err(Refusal::Duplicate(addr, self.container_id.clone()));
        }
        let next = self.ledger.reserve_next(number, set, self.lessee)?;
        next.ok_or_else(|| Refusal::Exhausted { set: set.to_string(), size: set.size() })
    }

    fn give_back(&mut self, error: Error) -> Error {
        for addr in std::mem::take(&mut self.reserved) {
            if let Err(failure) = self.ledger.release_address(addr, self.lessee) {
                let details = format!("{addr} could not be given back: {failure}");
                return error.with_details(details);
            }
        }
        error
    }
}
