//! Step 6: the decision is on disk before the ERP is contacted.

use crate::audit::{OpenRow, Slot, Step};

use super::limits::{Place, WithinLimits};
use super::{Denial, Gate, Trail, unrecorded};

/// Proof: the decision record is committed (or, under `after_response`, its room is taken).
#[must_use]
pub(super) struct Recorded {
    pub(super) relay: super::admission::Relay,
    pub(super) place: Place,
    pub(super) row: OpenRow,
}

impl Gate {
    pub(super) async fn record(&self, cleared: WithinLimits, slot: Slot, mut trail: Trail) -> Result<Recorded, Denial> {
        trail.passed(Step::Audit, "room reserved");
        let row = slot.open_row(trail.allowed()).await.map_err(unrecorded)?;
        Ok(Recorded { relay: cleared.relay, place: cleared.place, row })
    }
}
