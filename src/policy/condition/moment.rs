//! Moments in conditions: `now`, `timestamp("…")`, and what the clock on a wall shows then.

use std::any::Any;
use std::cmp::Ordering;

use cel::common::traits::Comparer;
use cel::common::types::{CelInt, CelString, STRING_TYPE, TIMESTAMP_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};
use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

/// A moment as a value of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) Timestamp);

static MOMENT: Type = TIMESTAMP_TYPE;

impl Val for Moment {
    fn get_type(&self) -> &Type {
        &MOMENT
    }

    fn cel_type() -> &'static Type {
        &MOMENT
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Moment {}

impl Comparer for Moment {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        let other = other.downcast_ref::<Self>().ok_or_else(|| other_type(other, "timestamp"))?;
        Ok(self.0.cmp(&other.0))
    }
}

fn other_type(value: &dyn Val, wanted: &str) -> ExecutionError {
    ExecutionError::UnexpectedType { got: value.get_type().name().to_owned(), want: wanted.to_owned() }
}

/// An instant with its offset.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|_| !text.contains('['))
}

/// A time zone by its name.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// Adds `timestamp` and the methods of moments.
pub(super) fn add_to(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload("timestamp", "moment_of_text", vec![STRING_TYPE], |args| {
        let text = args.first().and_then(|text| text.downcast_ref::<CelString>());
        let moment = text.and_then(|text| parse(text.inner()));
        moment
            .map(|at| CowVal::owned(Moment(at)))
            .ok_or_else(|| ExecutionError::function_error("timestamp", "a text is no instant with its offset"))
    })?;
    let mut add = |name: &str, read: cel::common::functions::Function| {
        env.add_member_overload(name, &format!("{name}_in_zone"), TIMESTAMP_TYPE, vec![STRING_TYPE], read)
    };
    add("getFullYear", |args| wall(&args, |at| at.date().year().into()))?;
    add("getMonth", |args| wall(&args, |at| i64::from(at.date().month()) - 1))?;
    add("getDate", |args| wall(&args, |at| at.date().day().into()))?;
    add("getDayOfWeek", |args| wall(&args, |at| day(at.date().weekday())))?;
    add("getHours", |args| wall(&args, |at| at.hour().into()))?;
    add("getMinutes", |args| wall(&args, |at| at.minute().into()))
}

/// CEL counts the days of a week from Sunday, which is 0.
fn day(weekday: Weekday) -> i64 {
    weekday.to_sunday_zero_offset().into()
}

fn wall<'b, 'v>(args: &[CowVal<'b, 'v>], read: fn(DateTime) -> i64) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [moment, name] = args else { return Err(ExecutionError::missing_argument_or_target()) };
    let moment = moment.downcast_ref::<Moment>().ok_or_else(|| other_type(&**moment, "timestamp"))?;
    let name = name.downcast_ref::<CelString>().ok_or_else(|| other_type(&**name, "string"))?;
    let zone =
        zone(name.inner()).ok_or_else(|| ExecutionError::function_error("get…", "there is no such time zone"))?;
    Ok(CowVal::owned(CelInt::from(read(zone.to_datetime(moment.0)))))
}
