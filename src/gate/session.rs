//! Step 7: the ERP's session. From here on the request may be relayed.

use crate::audit::{End, Outcome, Step};
use crate::domain::Code;

use super::record::Recorded;
use super::{Admission, Denial, Gate};

impl Gate {
    pub(super) async fn bind_session(&self, recorded: Recorded) -> Result<Admission, Denial> {
        let Recorded { relay, place, row } = recorded;
        match self.sessions.obtain(&relay.upstream.name, &relay.account).await {
            Ok(session) => Ok(Admission::new(relay, place, row, session)),
            Err(error) => {
                let denial = Denial::new(Step::UpstreamSession, Code::UpstreamSessionFailed, error.to_string());
                let mut outcome = Outcome::of(End::Failed, self.clock.now());
                outcome.status = Some(denial.code.status());
                outcome.code = Some(denial.row_code());
                outcome.detail = Some(denial.reason.to_string());
                row.close(outcome);
                Err(denial)
            }
        }
    }
}
