//! Charts: columns side by side, each of parts upon each other, and the same numbers as a table.

/// A chart, 100 units high.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::portal) struct Chart {
    pub(in crate::portal) caption: String,
    /// The parts, from below: the class that colours each and what it is called.
    pub(in crate::portal) parts: Vec<(&'static str, &'static str)>,
    /// What the table tells of each column.
    pub(in crate::portal) numbers: Vec<&'static str>,
    pub(in crate::portal) columns: Vec<Column>,
    /// What the height of the chart stands for.
    pub(in crate::portal) highest: String,
}

/// A column of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::portal) struct Column {
    pub(in crate::portal) name: String,
    pub(in crate::portal) x: usize,
    pub(in crate::portal) rects: Vec<Rect>,
    pub(in crate::portal) numbers: Vec<String>,
}

/// A part of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::portal) struct Rect {
    pub(in crate::portal) class: &'static str,
    pub(in crate::portal) y: u64,
    pub(in crate::portal) height: u64,
}

/// What one column shows: its name, its parts from below, and its numbers.
pub(super) struct Given {
    pub(super) name: String,
    pub(super) parts: Vec<u64>,
    pub(super) numbers: Vec<String>,
}

/// The distance of columns, in units.
const STEP: usize = 24;
/// The height of the chart, in units.
const HEIGHT: u64 = 1000;

impl Chart {
    /// Columns side by side, the highest as high as there is room.
    pub(super) fn new(
        caption: &str,
        parts: &[(&'static str, &'static str)],
        numbers: &[&'static str],
        tell: impl Fn(u64) -> String,
        given: Vec<Given>,
    ) -> Self {
        let sum = |parts: &[u64]| parts.iter().fold(0_u64, |sum, part| sum.saturating_add(*part));
        let highest = given.iter().map(|column| sum(&column.parts)).max().unwrap_or_default();
        let column = |(number, given): (usize, Given)| {
            let mut y = HEIGHT;
            let rects = parts.iter().zip(&given.parts).map(|((class, _), value)| {
                let height = value.saturating_mul(HEIGHT) / highest.max(1);
                y = y.saturating_sub(height);
                Rect { class, y, height }
            });
            Column { rects: rects.collect(), name: given.name, x: number * STEP, numbers: given.numbers }
        };
        Self {
            caption: caption.to_owned(),
            parts: parts.to_vec(),
            numbers: numbers.to_vec(),
            columns: given.into_iter().enumerate().map(column).collect(),
            highest: tell(highest),
        }
    }

    /// Its width in units.
    pub(in crate::portal) fn width(&self) -> usize {
        self.columns.len() * STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_on_the_ground_and_the_highest_reaches_the_top() {
        let given = |parts: &[u64]| Given { name: String::new(), parts: parts.to_vec(), numbers: Vec::new() };
        let chart = Chart::new(
            "c",
            &[("a", "A"), ("b", "B")],
            &[],
            |most| format!("{most} a minute"),
            vec![given(&[3, 1]), given(&[1, 0])],
        );
        let rect = |class, y, height| Rect { class, y, height };
        assert_eq!(chart.columns[0].rects, [rect("a", 250, 750), rect("b", 0, 250)]);
        assert_eq!(chart.columns[1].rects, [rect("a", 750, 250), rect("b", 750, 0)]);
        assert_eq!((chart.columns[1].x, chart.width(), chart.highest.as_str()), (24, 48, "4 a minute"));
        let nothing = Chart::new("c", &[("a", "A")], &[], |_| String::new(), vec![given(&[0])]);
        assert_eq!(nothing.columns[0].rects, [rect("a", 1000, 0)]);
    }
}
