//! What a condition may cost: bounded before it is ever evaluated.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr};

/// Longest expression, in characters.
pub(super) const LONGEST: usize = 2000;
/// Deepest nesting, in brackets of the text and in parts of the expression.
const DEEPEST: usize = 40;
/// Most parts.
const MOST_PARTS: usize = 250;
/// Most parts that an evaluation looks at, those of a repetition as often as it may be repeated.
const MOST_STEPS: usize = 2000;
/// Most entries of `request.query` and the like that a condition can go through; with more of them it fails.
pub(super) const MOST_ENTRIES: usize = 64;

/// Refuses a text that would nest too deep for the parser.
pub(super) fn check_text(source: &str) -> Result<(), String> {
    let length = source.chars().count();
    if length > LONGEST {
        return Err(format!("the expression has {length} characters, {LONGEST} are allowed"));
    }
    if depth_of_text(source) > DEEPEST {
        return Err(too_deep());
    }
    Ok(())
}

fn depth_of_text(source: &str) -> usize {
    let mut now = 0_usize;
    let mut deepest = 0;
    for character in source.chars() {
        match character {
            '(' | '[' | '{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            ')' | ']' | '}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    // A chain of `!` or `-` nests without brackets.
    let chains = source.split(|character| character != '!' && character != '-').map(str::len).max().unwrap_or(0);
    deepest.max(chains)
}

fn too_deep() -> String {
    format!("the expression nests deeper than {DEEPEST} levels; write several rules")
}

/// Refuses an expression that costs too much; the number is that of the part where it does.
pub(super) fn check(expression: &IdedExpr) -> Result<(), (u64, String)> {
    let mut parts = 0;
    check_shape(expression, 0, Repeated::No, &mut parts)?;
    let steps = steps(expression);
    if steps > MOST_STEPS {
        let message = format!("an evaluation could take {steps} steps, {MOST_STEPS} are allowed; write several rules");
        return Err((expression.id, message));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeated {
    No,
    Yes,
}

fn check_shape(
    expression: &IdedExpr,
    depth: usize,
    repeated: Repeated,
    parts: &mut usize,
) -> Result<(), (u64, String)> {
    *parts += 1;
    if *parts > MOST_PARTS {
        let message = format!("the expression has more than {MOST_PARTS} parts; write several rules");
        return Err((expression.id, message));
    }
    if depth > DEEPEST {
        return Err((expression.id, too_deep()));
    }
    let inside = match (&expression.expr, repeated) {
        (Expr::Comprehension(_), Repeated::Yes) => {
            let message = "`all`, `exists`, `filter`, `map` and the like cannot stand inside of one another";
            return Err((expression.id, message.to_owned()));
        }
        (Expr::Comprehension(_), Repeated::No) => Repeated::Yes,
        (_, repeated) => repeated,
    };
    children(expression).into_iter().try_for_each(|child| check_shape(child, depth + 1, inside, parts))
}

fn steps(expression: &IdedExpr) -> usize {
    let of_children = |children: &[&IdedExpr]| children.iter().map(|child| steps(child)).fold(1, usize::saturating_add);
    let Expr::Comprehension(repetition) = &expression.expr else { return of_children(&children(expression)) };
    let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &**repetition;
    let times = if let Expr::List(list) = &iter_range.expr { list.elements.len() } else { MOST_ENTRIES };
    let each = steps(loop_cond).saturating_add(steps(loop_step));
    of_children(&[iter_range, accu_init, result]).saturating_add(each.saturating_mul(times))
}

fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(repetition) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &**repetition;
            vec![iter_range, accu_init, loop_cond, loop_step, result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Struct(of) => of.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}
