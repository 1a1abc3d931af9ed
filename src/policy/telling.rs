//! What a policy says about one request, rule by rule: for people who ask why.

use super::decision::{Refused, applies, named, weigh};
use super::endpoint::Matched;
use super::facts::Facts;
use super::obligations::{Obligations, Owed};
use super::rules::Effect;
use super::set::PolicySet;
use super::terms::Terms;
use crate::domain::{PolicyName, RuleId};

/// What one policy says.
#[derive(Debug)]
pub struct Told {
    /// What comes out.
    pub said: Said,
    /// Its rules about the endpoint, as written.
    pub rules: Vec<ToldRule>,
    /// How many of its rules are about other endpoints.
    pub others: usize,
}

/// What comes out of a policy.
#[derive(Debug)]
pub enum Said {
    /// There is no such policy, so a grant of it gives nothing.
    Missing,
    /// None of its rules allows or denies the request.
    Nothing,
    /// This rule allows it.
    Allows(RuleId),
    /// It stops the request, whatever other policies say.
    Refuses(Refused),
}

/// What one rule says.
#[derive(Debug)]
pub struct ToldRule {
    /// Its id.
    pub id: RuleId,
    /// `allow` or `deny`.
    pub effect: &'static str,
    /// File and line.
    pub at: String,
    /// What narrows it.
    pub terms: Terms,
    /// What it demands where it allows.
    pub owes: Vec<String>,
    /// Whether it applies; the error is why that cannot be told.
    pub applies: Result<bool, String>,
}

impl PolicySet {
    /// What a policy says about a request, rule by rule.
    #[must_use]
    pub fn tell(&self, name: &PolicyName, matched: &Matched<'_>, facts: &Facts<'_>) -> Told {
        if self.is_broken(name) {
            let said = Said::Refuses(Refused::PolicyBroken { policy: name.clone() });
            return Told { said, rules: Vec::new(), others: 0 };
        }
        let Some(policy) = self.policy(name) else {
            return Told { said: Said::Missing, rules: Vec::new(), others: 0 };
        };
        let mut all_owed = Vec::new();
        let weighed = self.here(matched.endpoint()).of(name).map(|rules| weigh(rules, matched, facts, &mut all_owed));
        let said = match weighed {
            Some(Err(refused)) => Said::Refuses(refused),
            None | Some(Ok(None)) => Said::Nothing,
            Some(Ok(Some(allowing))) => allowing.rule().map_or(Said::Nothing, |rule| Said::Allows(rule.clone())),
        };
        let about = policy.rules.iter().filter(|rule| rule.endpoints.contains(matched.endpoint().id()));
        let rules: Vec<ToldRule> = about
            .map(|rule| {
                let (_, id, at) = named(policy, rule);
                let applies = applies(policy, rule, matched, facts).map_err(|refused| match refused {
                    Refused::ConditionFailed { message, .. } => message,
                    other @ (Refused::NoRuleMatched
                    | Refused::DeniedByRule { .. }
                    | Refused::Unfulfillable(_)
                    | Refused::PolicyBroken { .. }) => other.to_string(),
                });
                let demands = Obligations::of(Owed::by(policy, rule).into_iter().collect());
                let owes = demands.map(|demands| demands.in_words().into_iter().collect()).unwrap_or_default();
                ToldRule { id, effect: rule.effect.as_str(), at, terms: Terms::of(rule), owes, applies }
            })
            .collect();
        let others = policy.rules.len().saturating_sub(rules.len());
        Told { said, rules, others }
    }
}

impl Effect {
    /// The key that it has in a file.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
