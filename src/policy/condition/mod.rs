//! `when:` conditions in CEL: checked, bounded and compiled when the file is loaded. One that cannot be evaluated denies.

mod bounds;
mod check;
mod functions;
mod kinds;
mod moment;
mod operators;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::common::types::CelBool;
use cel::{Context, Env, ExecutionError, Value};

use self::check::Checker;
use self::kinds::{Texts, Variable};
use self::values::Seen;
use super::facts::Facts;

/// Headers that no condition sees.
const SECRET_HEADERS: [&str; 4] = ["authorization", "x-api-key", "cookie", "proxy-authorization"];

/// The functions that expressions may call; which ones the checks let through is in `functions`.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    if let Err(error) = moment::add_to(&mut env) {
        // Expressions that need them fail then, which denies.
        log::error!("conditions lack functions: {error}");
    }
    Arc::new(env)
});

/// A compiled condition.
pub(super) struct Condition {
    source: String,
    expression: IdedExpr,
    uses: Vec<Variable>,
    goes_through: Vec<Texts>,
    params: Vec<String>,
}

/// Something wrong in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Where, in characters from the beginning, if that is known.
    pub(super) at: Option<usize>,
    /// What is wrong and what to do about it.
    pub(super) message: String,
}

impl fmt::Debug for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Condition({})", self.source)
    }
}

impl Condition {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Everything that is certain to be wrong with it.
    pub(super) fn compile(source: &str) -> Result<Self, Vec<Wrong>> {
        bounds::check_text(source).map_err(|message| vec![Wrong { at: None, message }])?;
        let program = cel::Program::compile(source).map_err(|errors| unreadable(source, &errors))?;
        let place = |part: u64| at(program.source_info(), part);
        bounds::check(program.expression()).map_err(|(part, message)| vec![Wrong { at: place(part), message }])?;
        let mut checker = Checker::default();
        let expression = checker.whole(program.expression().clone());
        if !checker.flaws.is_empty() {
            let wrong = checker.flaws.into_iter().map(|flaw| Wrong { at: place(flaw.part), message: flaw.message });
            return Err(wrong.collect());
        }
        let Checker { uses, goes_through, takes, asks_for, .. } = checker;
        let params = takes.into_iter().filter(|name| !asks_for.contains(name)).collect();
        Ok(Self { source: source.to_owned(), expression, uses, goes_through, params })
    }

    /// The expression as written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// When it cannot be evaluated. What is said about it holds nothing of the request.
    pub(super) fn holds(&self, facts: &Facts<'_>, parameters: &[(String, String)]) -> Result<bool, String> {
        let seen = Seen::of(facts, parameters, &self.uses, &self.goes_through)?;
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&seen);
        let value = Value::resolve_val(&self.expression, &context).map_err(|error| failed(&error))?;
        let holds = value.downcast_ref::<CelBool>().map(|holds| *holds.inner());
        holds.ok_or_else(|| "the expression gave neither true nor false".into())
    }

    /// Whether it looks at the query.
    pub(super) fn uses_query(&self) -> bool {
        self.uses.contains(&Variable::Query)
    }

    /// Whether it looks at the headers or at TLS.
    pub(super) fn uses_connection(&self) -> bool {
        self.uses.contains(&Variable::Headers) || self.uses.contains(&Variable::Tls)
    }

    /// Path parameters without which it fails.
    pub(super) fn params(&self) -> &[String] {
        &self.params
    }
}

fn is_secret_header(name: &str) -> bool {
    SECRET_HEADERS.contains(&name)
}

/// Where a part stands, in characters; the library counts bytes.
fn at(source: &SourceInfo, part: u64) -> Option<usize> {
    let (start, _) = source.offset_for(part)?;
    source.source.get(..usize::try_from(start).ok()?).map(|before| before.chars().count())
}

fn unreadable(source: &str, errors: &cel::ParseErrors) -> Vec<Wrong> {
    let wrong = errors.errors.iter().take(3).map(|error| {
        let message = error.msg.lines().next().unwrap_or_default();
        let message: String = message.chars().take(200).flat_map(char::escape_debug).collect();
        Wrong { at: at_line(source, error.pos), message: format!("the expression cannot be read: {message}") }
    });
    wrong.collect()
}

/// Where a line and a column stand, both counted from 1.
fn at_line(source: &str, (line, column): (isize, isize)) -> Option<usize> {
    let lines_before = usize::try_from(line).ok()?.checked_sub(1)?;
    let before: usize = source.split_inclusive('\n').take(lines_before).map(|line| line.chars().count()).sum();
    before.checked_add(usize::try_from(column).ok()?.checked_sub(1)?)
}

/// Why an evaluation failed. SECURITY: errors of CEL quote values, which may be secrets of the request.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum of the library may grow")]
fn failed(error: &ExecutionError) -> String {
    match error {
        ExecutionError::InternalError(ours) => ours.clone(),
        ExecutionError::NoSuchOverload(error) => {
            let types = error.argument_types().join(", ");
            format!("`{}` cannot be applied to ({types})", error.function().trim_matches(['_', '@']))
        }
        ExecutionError::UnexpectedType { got, want } => format!("it found {got} where {want} is needed"),
        ExecutionError::FunctionError { function, .. } => {
            format!("the function `{function}` could not take its argument")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a division by zero".to_owned(),
        ExecutionError::Overflow(..) => "a number too large".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "a place that the list does not have".to_owned(),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!("`{operator}` cannot be applied to these values")
        }
        _ => "it could not be evaluated with the values of this request".to_owned(),
    }
}
