//! Checks a condition before there is a request: names, kinds, functions. What is certain to fail is refused.
//!
//! What comes out is the same expression in a form that is cheaper to evaluate: `request.query` is one name instead of a
//! member of another, and `has(request.query.x)` is `"x" in request.query`, which it means.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators};

use super::kinds::{Group, Kind, Texts, Variable};
use crate::policy::yaml::suggestion;

/// Something wrong in an expression, with the number of the part where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) part: u64,
    pub(super) message: String,
}

/// What the checks found out.
#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) flaws: Vec<Flaw>,
    /// The variables that the expression uses.
    pub(super) uses: Vec<Variable>,
    /// Those whose entries it goes through.
    pub(super) goes_through: Vec<Texts>,
    /// Path parameters that it takes by name.
    pub(super) takes: Vec<String>,
    /// Path parameters of which it asks whether they are there.
    pub(super) asks_for: Vec<String>,
    /// Names of `all`, `exists` and the like, with what is known of them.
    locals: Vec<(String, Kind)>,
}

impl Checker {
    /// Checks the whole of an expression.
    pub(super) fn whole(&mut self, expression: IdedExpr) -> IdedExpr {
        let part = expression.id;
        let (expression, kind) = self.expression(expression);
        if let Kind::Group(group) = kind {
            self.bare(part, group);
        } else if !matches!(kind, Kind::Bool | Kind::Unknown) {
            self.flaw(part, format!("the condition gives {kind}; it must give true or false"));
        }
        expression
    }

    pub(super) fn expression(&mut self, expression: IdedExpr) -> (IdedExpr, Kind) {
        let IdedExpr { id, expr } = expression;
        let (expr, kind) = match expr {
            Expr::Literal(literal) => self.literal(id, literal),
            Expr::Ident(name) => self.name(id, name),
            Expr::Select(select) => self.select(id, select),
            Expr::Call(call) => self.call(id, call),
            Expr::List(list) => self.list(id, list),
            Expr::Comprehension(repetition) => self.repetition(id, *repetition),
            Expr::Map(_) => {
                self.refused(id, "`{…}` is not available here; compare with `==` or use a list: `x in [a, b]`")
            }
            Expr::Struct(_) | Expr::Unspecified => self.refused(id, "this is not available in conditions"),
        };
        (IdedExpr { id, expr }, kind)
    }

    /// The same where a value is needed, not the beginning of a name.
    pub(super) fn value(&mut self, expression: IdedExpr) -> (IdedExpr, Kind) {
        let part = expression.id;
        match self.expression(expression) {
            (expression, Kind::Group(group)) => {
                self.bare(part, group);
                (expression, Kind::Unknown)
            }
            other => other,
        }
    }

    pub(super) fn flaw(&mut self, part: u64, message: impl Into<String>) {
        self.flaws.push(Flaw { part, message: message.into() });
    }

    pub(super) fn refused(&mut self, part: u64, message: impl Into<String>) -> (Expr, Kind) {
        self.flaw(part, message);
        (Expr::Literal(LiteralValue::Null), Kind::Unknown)
    }

    fn bare(&mut self, part: u64, group: Group) {
        let name = group.name();
        let members: Vec<String> = group.members().iter().map(|member| format!("`{name}.{member}`")).collect();
        self.flaw(part, format!("`{name}` alone is no value; write {}", members.join(" or ")));
    }

    fn literal(&mut self, part: u64, literal: LiteralValue) -> (Expr, Kind) {
        let kind = match &literal {
            LiteralValue::Boolean(_) => Kind::Bool,
            LiteralValue::Double(_) => Kind::Double,
            LiteralValue::Int(_) => Kind::Int,
            LiteralValue::UInt(_) => Kind::Uint,
            LiteralValue::String(_) => Kind::Text,
            LiteralValue::Null => Kind::Null,
            LiteralValue::Bytes(_) => {
                return self.refused(part, "bytes (`b\"…\"`) are not available here; write a text");
            }
        };
        (Expr::Literal(literal), kind)
    }

    fn name(&mut self, part: u64, name: String) -> (Expr, Kind) {
        if let Some((_, kind)) = self.locals.iter().rev().find(|(local, _)| *local == name) {
            let kind = kind.clone();
            return (Expr::Ident(name), kind);
        }
        if let Some(group) = Group::ALL.into_iter().find(|group| group.name() == name) {
            return (Expr::Ident(name), Kind::Group(group));
        }
        if let Some(variable) = Variable::named(&name) {
            return self.variable(variable);
        }
        let mut known: Vec<&str> = Group::ALL.into_iter().map(Group::name).collect();
        known.push(Variable::Now.name());
        known.extend(self.locals.iter().map(|(local, _)| local.as_str()).filter(|local| !local.starts_with('@')));
        let hint = suggestion(&name, &known).replace("the keys are", "there are");
        self.refused(part, format!("unknown name `{name}`{hint}"))
    }

    fn variable(&mut self, variable: Variable) -> (Expr, Kind) {
        if !self.uses.contains(&variable) {
            self.uses.push(variable);
        }
        (Expr::Ident(variable.name().to_owned()), variable.kind())
    }

    /// `operand.field`, or `has(operand.field)`.
    fn select(&mut self, part: u64, select: SelectExpr) -> (Expr, Kind) {
        let SelectExpr { operand, field, test } = select;
        let (operand, kind) = self.expression(*operand);
        match (kind, test) {
            (Kind::Group(group), test) => self.member(part, group, &field, test),
            (Kind::Texts(texts), false) => {
                self.key(part, texts, &field);
                self.take(texts, &field);
                (call(operators::INDEX, vec![operand, text(part, field)]), texts.entry())
            }
            (Kind::Texts(texts), true) => {
                self.key(part, texts, &field);
                self.ask(texts, &field);
                (call(operators::IN, vec![text(part, field), operand]), Kind::Bool)
            }
            (Kind::Unknown, test) => {
                let kind = if test { Kind::Bool } else { Kind::Unknown };
                (Expr::Select(SelectExpr { operand: Box::new(operand), field, test }), kind)
            }
            (kind, _) => self.refused(part, format!("{kind} has no `{}`", shown(&field))),
        }
    }

    fn member(&mut self, part: u64, group: Group, field: &str, test: bool) -> (Expr, Kind) {
        let Some(variable) = Variable::named(&format!("{}.{field}", group.name())) else {
            let hint = suggestion(field, &group.members()).replace("the keys are", "there are");
            return self.refused(part, format!("`{}` has no `{}`{hint}", group.name(), shown(field)));
        };
        let (expr, kind) = self.variable(variable);
        if !test {
            return (expr, kind);
        }
        if kind == Kind::MaybeText {
            let null = IdedExpr { id: part, expr: Expr::Literal(LiteralValue::Null) };
            return (call(operators::NOT_EQUALS, vec![IdedExpr { id: part, expr }, null]), Kind::Bool);
        }
        self.refused(part, format!("`{}` is always there; `has()` asks for one entry", variable.name()))
    }

    /// Looks at the name of an entry as written.
    pub(super) fn key(&mut self, part: u64, texts: Texts, name: &str) {
        if texts != Texts::Headers {
            return;
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let lower = name.to_ascii_lowercase();
            self.flaw(part, format!("header names are in lower case here: `{}`", shown(&lower)));
        }
        if super::is_secret_header(&name.to_ascii_lowercase()) {
            self.flaw(part, format!("the header `{}` carries secrets, so no condition sees it", shown(name)));
        }
    }

    /// Notes that an entry is taken by its name.
    pub(super) fn take(&mut self, texts: Texts, name: &str) {
        if texts == Texts::Params {
            self.takes.push(name.to_owned());
        }
    }

    /// Notes that it is asked whether an entry is there.
    pub(super) fn ask(&mut self, texts: Texts, name: &str) {
        if texts == Texts::Params {
            self.asks_for.push(name.to_owned());
        }
    }

    fn list(&mut self, part: u64, list: ListExpr) -> (Expr, Kind) {
        if !list.optional_indices.is_empty() {
            return self.refused(part, "optional entries (`[?x]`) are not available here");
        }
        let mut of: Option<Kind> = None;
        let mut elements = Vec::with_capacity(list.elements.len());
        for element in list.elements {
            let (element, kind) = self.value(element);
            elements.push(element);
            of = Some(of.map_or_else(|| kind.clone(), |of| of.or(&kind)));
        }
        let kind = Kind::List(Box::new(of.unwrap_or(Kind::Unknown)));
        (Expr::List(ListExpr::new(elements)), kind)
    }

    /// What is gone through.
    fn element(&mut self, part: u64, range: Kind) -> Kind {
        if let Kind::List(of) = range {
            return *of;
        }
        if let Kind::Texts(texts) = range {
            self.goes_through.push(texts);
            return Kind::Text;
        }
        if range != Kind::Unknown {
            self.flaw(part, format!("only lists and texts by name can be gone through, not {range}"));
        }
        Kind::Unknown
    }

    /// `all`, `exists`, `filter`, `map` and the like, in the form that they are expanded to.
    fn repetition(&mut self, part: u64, repetition: ComprehensionExpr) -> (Expr, Kind) {
        let ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, accu_init, loop_cond, loop_step, result } =
            repetition;
        let range_part = iter_range.id;
        let (iter_range, range) = self.value(iter_range);
        let element = self.element(range_part, range);
        let taken = Group::ALL.into_iter().map(Group::name).chain([Variable::Now.name()]);
        if iter_var2.is_some() || taken.into_iter().any(|name| name == iter_var) {
            let message = format!("`{}` cannot be a name here; take another one", shown(&iter_var));
            return self.refused(part, message);
        }
        let (accu_init, accu) = self.value(accu_init);
        self.locals.push((iter_var.clone(), element));
        self.locals.push((accu_var.clone(), accu));
        let (loop_cond, _) = self.value(loop_cond);
        let (loop_step, step) = self.value(loop_step);
        if let Some((_, accu)) = self.locals.last_mut() {
            *accu = step;
        }
        let (result, kind) = self.value(result);
        self.locals.truncate(self.locals.len().saturating_sub(2));
        let checked =
            ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, accu_init, loop_cond, loop_step, result };
        (Expr::Comprehension(Box::new(checked)), kind)
    }
}

pub(super) fn call(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

fn text(part: u64, text: String) -> IdedExpr {
    IdedExpr { id: part, expr: Expr::Literal(LiteralValue::String(text.into())) }
}

/// The text of a part that is one.
pub(super) fn literal_text(expression: &IdedExpr) -> Option<&str> {
    if let Expr::Literal(LiteralValue::String(text)) = &expression.expr { Some(text.inner()) } else { None }
}

/// A word of the expression as it may be shown.
pub(super) fn shown(word: &str) -> String {
    word.chars().take(64).flat_map(char::escape_debug).collect()
}
