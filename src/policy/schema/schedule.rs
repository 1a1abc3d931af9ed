//! The schema of `schedule.yaml`.

use serde_json::{Value, json};

use super::{DRAFT, list, object, text, version};

pub(super) fn schema() -> Value {
    json!({
        "$schema": DRAFT,
        "title": "Schedules of ERP Access",
        "type": "object",
        "description": "When the API is open, by the name of the schedule. `default` is used where a policy names none.",
        "required": ["version"],
        "properties": { "version": version(), "exempt": false },
        "patternProperties": { "^[a-z0-9][a-z0-9._-]{0,63}$": schedule() },
        "additionalProperties": false,
    })
}

fn schedule() -> Value {
    let properties = json!({
        "time_zone": text("The zone whose clock on the wall decides, as in `Asia/Karachi` or `UTC`."),
        "windows": list("When it is open. Several windows a day are possible.", 0, &window()),
        "exceptions": list("Extra openings on a day, also on a holiday or a closed day.", 0, &exception()),
        "holidays": list("Days on which no window starts.", 0, &holiday()),
    });
    object("One schedule.", &["time_zone", "windows"], &properties)
}

fn window() -> Value {
    let days = json!({
        "type": "array", "minItems": 1, "uniqueItems": true,
        "items": { "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] },
        "description": "The days on which it starts.",
    });
    let time =
        |pattern: &str, description: &str| json!({ "type": "string", "pattern": pattern, "description": description });
    let properties = json!({
        "days": days,
        "from": time(FROM, "The first minute, as \"09:30\"."),
        "to": time(TO, "The minute that is no longer in it. Before `from` it is that of the next day."),
    });
    object("One opening.", &["days", "from", "to"], &properties)
}

fn holiday() -> Value {
    let date = json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "description": "The day, as in 2026-12-25." });
    let every = json!({ "type": "string", "pattern": "^[0-9]{2}-[0-9]{2}$", "description": "The day of every year, as in 12-25." });
    let properties = json!({ "date": date, "every": every, "name": text("What it is called.") });
    let mut holiday = object("One day, or one day of every year.", &[], &properties);
    if let Value::Object(members) = &mut holiday {
        members.insert("oneOf".into(), json!([{ "required": ["date"] }, { "required": ["every"] }]));
    }
    holiday
}

fn exception() -> Value {
    let opening = json!({
        "from": time(FROM, "The first minute, as \"09:30\"."),
        "to": time(TO, "The minute that is no longer in it."),
    });
    let windows = list("When it is open on that day.", 1, &object("One opening.", &["from", "to"], &opening));
    let date = json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "description": "The day, as in 2026-12-25." });
    let properties = json!({ "date": date, "windows": windows, "name": text("Why.") });
    object("One day.", &["date", "windows"], &properties)
}

const FROM: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]$";
const TO: &str = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";

fn time(pattern: &str, description: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "description": description })
}
