//! Elements of nftables sets and maps as steps.

use super::{Deviation, Failure, Machine, Step};
use crate::netlink;
use crate::nft::{self, Elements};

impl Step for Elements {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "change nftables", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let applied = machine.nft().and_then(|nft| Elements::apply(self, nft));
        applied.map_err(|error| failure(self, &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        match machine.nft().and_then(|nft| Elements::check(self, nft)) {
            Ok(None) => Ok(()),
            Ok(Some(line)) => Err(Deviation::Missing(line)),
            Err(error) => Err(Deviation::Unknown(error.to_string())),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let removed = machine.nft().and_then(|nft| self.remove(nft));
        removed.map(drop).map_err(|error| failure(self, &error))
    }
}

fn failure(elements: &Elements, error: &nft::Error) -> Failure {
    Failure::other(elements, error.to_string())
}
