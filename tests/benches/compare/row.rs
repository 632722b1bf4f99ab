//! Figures: pairs of values, and what follows from them.

/// What a row of the table is about. Each section has a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Time,
    /// Time too, but of ours against ours.
    Growth,
    /// Time of whole containers, by runners.
    Runners,
    Memory,
    /// Those that are no plugins of the suite.
    Processes,
    Size,
}

/// The most that the ratio of a row may be.
#[derive(Clone, Copy)]
pub(crate) struct Goals {
    pub(crate) add: Option<f64>,
    pub(crate) del: Option<f64>,
    pub(crate) memory: Option<f64>,
}

/// A row: values of the two sides, pair by pair, in the unit of its section.
pub(crate) struct Row {
    pub(crate) section: Section,
    pub(crate) name: String,
    pub(crate) pairs: Vec<[f64; 2]>,
    pub(crate) goal: Option<f64>,
}

/// The middle of many values, and their range.
#[derive(Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Row {
    /// The values of one side.
    pub(crate) fn side(&self, side: usize) -> Summary {
        Summary::of(self.pairs.iter().map(|pair| pair[side]).collect())
    }

    /// The first side's part of the second.
    pub(crate) fn ratio(&self) -> Summary {
        Summary::of(self.pairs.iter().map(|[first, second]| first / second).collect())
    }

    /// Whether the goal is met; nothing when there is none.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| self.ratio().median <= goal)
    }
}

impl Summary {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (first, last) = (values[0], values[values.len() - 1]);
        let middle = [values[(values.len() - 1) / 2], values[values.len() / 2]];
        Self { median: f64::midpoint(middle[0], middle[1]), min: first, max: last }
    }
}
