//! Whether a node filters in iptables, so that containers need rules there.
//!
//! A packet that is forwarded passes the chain FORWARD of both iptables and the chains of nftables, and each of them may
//! drop it, whatever the others say. So where FORWARD drops anything, only a rule in FORWARD can let a container's
//! packets pass; and any rule may drop, or lead to one that does.
//!
//! The rules of this plugin itself do not count, whichever suite made them: a node that has seen a container with this
//! back end once would need it for ever. What they consist of is a jump to a chain that overrides, jumps to none but the
//! administrator's, and accepts. Without them the same packets would pass, so those who have none here miss nothing; and
//! those who have some lose nothing when others get theirs elsewhere. The administrator's chain comes before all that
//! accepts, so what it drops is dropped for all, and a rule here would not help.
//!
//! But a bridge under a policy counts. The rules drop what comes from one bridge under a policy and goes to another, and
//! know only of bridges that are under a policy here. If the next one were under a policy elsewhere, neither would be kept
//! from the other.

use cni::Error;
use kernel::iptables::{self, Effect, Family, Outline};
use kernel::plan::Machine;

use super::{CONTAINERS, FILTER, FORWARD, STAGE1, STAGE2};
use crate::error::attempt;
use crate::masquerade::nf_tables;

/// Whether one of the families is filtered in iptables, of either variant.
///
/// # Errors
///
/// When the kernel can't be asked.
pub(crate) fn filters_here(machine: &mut Machine, families: &[Family]) -> Result<bool, Error> {
    let failed = |error: iptables::Error| attempt("find out whether iptables filters here", error);
    for family in families {
        if let Some(nft) = nf_tables(machine).map_err(|error| failed(error.into()))?
            && filters(&mut |chain| iptables::outline(nft, *family, FILTER, chain)).map_err(failed)?
        {
            return Ok(true);
        }
        let legacy = match iptables::legacy(*family, FILTER) {
            // Somebody else's, from a container with programs of its own. Here is nobody to add a rule.
            Err(iptables::Error::Missing(_)) => None,
            legacy => legacy.map_err(failed)?,
        };
        if let Some(saved) = legacy
            && filters(&mut |chain| Ok(saved.outline(chain))).map_err(failed)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a chain does, if there is such a chain.
type Look<'a> = &'a mut dyn FnMut(&str) -> Result<Option<Outline>, iptables::Error>;

fn filters(look: Look<'_>) -> Result<bool, iptables::Error> {
    let Some(forward) = look(FORWARD)? else { return Ok(false) };
    if !forward.accepts {
        return Ok(true);
    }
    for rule in forward.rules {
        let filters = match rule.effect {
            Effect::Jump(chain) if chain == CONTAINERS => {
                look(CONTAINERS)?.is_some_and(|chain| !only_lets_pass(&chain))
            }
            Effect::Jump(chain) if chain == STAGE1 => look(STAGE2)?.is_some_and(|chain| is_in_use(&chain)),
            _ => true,
        };
        if filters {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a chain consists of jumps and, behind them, of rules that accept.
fn only_lets_pass(chain: &Outline) -> bool {
    let mut rules = chain.rules.iter().skip_while(|rule| matches!(rule.effect, Effect::Jump(_)));
    rules.all(|rule| rule.effect == Effect::Accept)
}

/// Whether there is a bridge under a policy.
fn is_in_use(chain: &Outline) -> bool {
    chain.rules.iter().any(|rule| rule.effect == Effect::Drop)
}
