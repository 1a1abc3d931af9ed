//! What operators take and give.

use cel::common::ast::{CallExpr, Expr, IdedExpr, operators};

use super::check::{Checker, literal_text};
use super::kinds::{Kind, Texts};

impl Checker {
    /// An operator, a function or a method.
    pub(super) fn call(&mut self, part: u64, call: CallExpr) -> (Expr, Kind) {
        let CallExpr { func_name, target, args } = call;
        let target = target.map(|target| self.value(*target));
        let (args, kinds): (Vec<IdedExpr>, Vec<Kind>) = args.into_iter().map(|arg| self.value(arg)).unzip();
        let kind = match (&target, kinds.as_slice()) {
            (None, [condition, one, other]) if func_name == operators::CONDITIONAL => {
                self.truth(part, "?:", condition);
                one.clone().or(other)
            }
            (None, [one, other]) if is_operator(&func_name) => self.binary(part, &func_name, (one, other), &args),
            (None, [one]) if is_operator(&func_name) => self.unary(part, &func_name, one),
            _ => self.function(part, &func_name, target.as_ref().map(|(_, kind)| kind), (&args, &kinds)),
        };
        let target = target.map(|(target, _)| Box::new(target));
        (Expr::Call(CallExpr { func_name, target, args }), kind)
    }

    fn unary(&mut self, part: u64, operator: &str, operand: &Kind) -> Kind {
        match operator {
            operators::LOGICAL_NOT => {
                self.truth(part, "!", operand);
                Kind::Bool
            }
            operators::NOT_STRICTLY_FALSE => Kind::Bool,
            operators::NEGATE if matches!(operand, Kind::Int | Kind::Double | Kind::Unknown) => operand.clone(),
            operators::NEGATE => {
                self.flaw(part, format!("`-` needs a number, not {operand}"));
                Kind::Unknown
            }
            _ => self.no_operator(part),
        }
    }

    fn binary(&mut self, part: u64, operator: &str, (one, other): (&Kind, &Kind), args: &[IdedExpr]) -> Kind {
        match operator {
            operators::LOGICAL_AND | operators::LOGICAL_OR => {
                let sign = symbol(operator);
                self.truth(part, sign, one);
                self.truth(part, sign, other);
                Kind::Bool
            }
            operators::EQUALS | operators::NOT_EQUALS => {
                if !one.may_equal(other) {
                    let never =
                        format!("{one} is never equal to {other}, so `{}` is always the same", symbol(operator));
                    self.flaw(part, never + moment_hint(one, other));
                }
                Kind::Bool
            }
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS => {
                if !one.may_be_less(other) {
                    let never = format!("`{}` cannot compare {one} with {other}", symbol(operator));
                    self.flaw(part, never + moment_hint(one, other));
                }
                Kind::Bool
            }
            operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO => {
                self.arithmetic(part, operator, one, other)
            }
            operators::IN => self.contained(part, (one, other), args),
            operators::INDEX => self.index(part, (one, other), args),
            _ => self.no_operator(part),
        }
    }

    fn arithmetic(&mut self, part: u64, operator: &str, one: &Kind, other: &Kind) -> Kind {
        let adds = operator == operators::ADD;
        match (one, other) {
            (Kind::Unknown, other) => other.clone(),
            (one, Kind::Unknown) => one.clone(),
            (one, other) if one == other && one.is_number() => {
                if operator == operators::MODULO && *one == Kind::Double {
                    self.flaw(part, "`%` needs whole numbers");
                }
                one.clone()
            }
            (one, other) if adds && one.is_text() && other.is_text() => Kind::Text,
            (Kind::List(one), Kind::List(other)) if adds => Kind::List(Box::new(one.as_ref().clone().or(other))),
            (one, other) if one.is_number() && other.is_number() => {
                let sign = symbol(operator);
                let message = format!("`{sign}` needs two numbers of the same kind; write int(…) or double(…)");
                self.flaw(part, message);
                Kind::Unknown
            }
            (one, other) => {
                self.flaw(part, format!("`{}` cannot take {one} and {other}", symbol(operator)));
                Kind::Unknown
            }
        }
    }

    /// `one in other`.
    fn contained(&mut self, part: u64, (one, other): (&Kind, &Kind), args: &[IdedExpr]) -> Kind {
        match other {
            Kind::List(of) if !one.may_equal(of) => {
                self.flaw(part, format!("{one} is never in a list of which each entry is {of}"));
            }
            Kind::List(_) | Kind::Unknown => {}
            Kind::Texts(texts) => {
                if !one.is_text() && *one != Kind::Unknown {
                    self.flaw(part, format!("the names in `{}` are texts, not {one}", texts.variable().name()));
                }
                if let Some(name) = args.first().and_then(literal_text) {
                    self.key(part, *texts, name);
                    self.ask(*texts, name);
                }
            }
            Kind::Text | Kind::MaybeText => {
                self.flaw(part, "`in` looks into lists; for a part of a text write `text.contains(part)`");
            }
            Kind::Bool | Kind::Int | Kind::Uint | Kind::Double | Kind::Null | Kind::Moment | Kind::Group(_) => {
                self.flaw(part, format!("`in` looks into lists and texts by name, not into {other}"));
            }
        }
        Kind::Bool
    }

    /// `one[other]`.
    fn index(&mut self, part: u64, (one, other): (&Kind, &Kind), args: &[IdedExpr]) -> Kind {
        match (one, other) {
            (Kind::Texts(texts), Kind::Text | Kind::MaybeText | Kind::Unknown) => {
                match args.get(1).and_then(literal_text) {
                    Some(name) => {
                        self.key(part, *texts, name);
                        self.take(*texts, name);
                    }
                    None if *texts == Texts::Headers => {
                        self.flaw(
                            part,
                            "the name of a header must be written out, as in `request.headers[\"accept\"]`",
                        );
                    }
                    None => {}
                }
                texts.entry()
            }
            (Kind::List(of), Kind::Int | Kind::Uint | Kind::Unknown) => of.as_ref().clone(),
            (Kind::Unknown, _) => Kind::Unknown,
            (Kind::Texts(_) | Kind::List(_), other) => {
                self.flaw(part, format!("`[…]` cannot take {other} here"));
                Kind::Unknown
            }
            (one, _) => {
                self.flaw(part, format!("{one} has no entries, so `[…]` finds nothing"));
                Kind::Unknown
            }
        }
    }

    fn truth(&mut self, part: u64, sign: &str, kind: &Kind) {
        if !matches!(kind, Kind::Bool | Kind::Unknown) {
            self.flaw(part, format!("`{sign}` needs true or false, not {kind}"));
        }
    }

    fn no_operator(&mut self, part: u64) -> Kind {
        self.flaw(part, "this operator is not available in conditions");
        Kind::Unknown
    }
}

fn is_operator(name: &str) -> bool {
    name.starts_with(['_', '@', '!', '-'])
}

/// An operator as people write it.
fn symbol(operator: &str) -> &str {
    operator.trim_matches('_')
}

fn moment_hint(one: &Kind, other: &Kind) -> &'static str {
    let compares_text = matches!((one, other), (Kind::Moment, Kind::Text) | (Kind::Text, Kind::Moment));
    if compares_text { "; write `timestamp(\"2026-12-31T00:00:00Z\")`" } else { "" }
}
