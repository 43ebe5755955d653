//! Time in columns of equal width, as many as a picture needs however long it takes: where there are too many, two become one.
//!
//! Doesn't know what is drawn.

/// The fewest columns of what is long enough, and the most is twice that.
const COLUMNS: usize = 400;

/// The width of columns to begin with, in microseconds.
const FINEST: u64 = 1_000;

/// What went on in one column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// A value times the microseconds for which it was so, summed up.
    pub area: f64,
    /// Microseconds for which there was a value.
    pub time: f64,
    /// The most.
    pub most: f64,
}

impl Cell {
    /// What it was on average while there was a value; `None`: there never was.
    pub fn mean(&self) -> Option<f64> {
        (self.time > 0.0).then(|| self.area / self.time)
    }

    fn join(self, other: Cell) -> Cell {
        Cell { area: self.area + other.area, time: self.time + other.time, most: self.most.max(other.most) }
    }
}

/// How wide columns are.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    width: u64,
}

impl Default for Grid {
    fn default() -> Grid {
        Grid { width: FINEST }
    }
}

impl Grid {
    /// Microseconds of one column.
    pub fn width(self) -> u64 {
        self.width
    }

    /// The column in which a moment is, microseconds after the beginning.
    pub fn column(self, at: u64) -> usize {
        (at / self.width) as usize
    }

    /// Whether columns must be joined before something is written of that moment.
    pub fn is_full(self, at: u64) -> bool {
        self.column(at) >= 2 * COLUMNS
    }

    /// Columns are twice as wide from here on: each line is to be told.
    pub fn join(&mut self) {
        self.width = self.width.saturating_mul(2);
    }
}

/// One value over time.
#[derive(Clone, Debug, Default)]
pub struct Line {
    first: usize,
    cells: Vec<Cell>,
}

impl Line {
    /// It was so from one moment up to another.
    pub fn add(&mut self, grid: Grid, from: u64, until: u64, value: f64) {
        let mut at = from;
        while at < until {
            let column = grid.column(at);
            let end = ((column as u64 + 1).saturating_mul(grid.width)).min(until);
            let time = (end - at) as f64;
            let cell = self.cell(column);
            *cell = cell.join(Cell { area: value * time, time, most: value });
            at = end;
        }
    }

    /// It was so for a moment.
    pub fn touch(&mut self, grid: Grid, at: u64, value: f64) {
        let cell = self.cell(grid.column(at));
        cell.most = cell.most.max(value);
    }

    fn cell(&mut self, column: usize) -> &mut Cell {
        if self.cells.is_empty() {
            self.first = column;
        }
        // Whoever comes late writes into the first one.
        let at = column.saturating_sub(self.first);
        if at >= self.cells.len() {
            self.cells.resize(at + 1, Cell::default());
        }
        &mut self.cells[at]
    }

    /// Two columns become one.
    pub fn join(&mut self) {
        let odd = self.first % 2;
        let mut joined = Vec::with_capacity(self.cells.len() / 2 + 1);
        let mut cells = std::mem::take(&mut self.cells).into_iter();
        if odd == 1 {
            joined.extend(cells.next());
        }
        while let Some(cell) = cells.next() {
            joined.push(cells.next().map_or(cell, |next| cell.join(next)));
        }
        (self.first, self.cells) = (self.first / 2, joined);
    }

    /// What it was in a column.
    pub fn at(&self, column: usize) -> Cell {
        let at = column.checked_sub(self.first);
        at.and_then(|at| self.cells.get(at)).copied().unwrap_or_default()
    }

    /// The columns of which something is known.
    pub fn columns(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.cells.len()
    }

    /// The most it ever was.
    pub fn most(&self) -> f64 {
        self.cells.iter().map(|cell| cell.most).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_is_lost_when_columns_are_joined(
            spans in prop::collection::vec((0..5_000_u64, 1..4_000_u64, 0..9_u32), 1..60),
        ) {
            let (mut grid, mut line) = (Grid::default(), Line::default());
            let (mut at, mut area, mut most) = (0, 0.0, 0.0_f64);
            for (gap, long, value) in spans {
                let (from, until) = (at + gap * 100, at + gap * 100 + long * 1000);
                while grid.is_full(until) {
                    grid.join();
                    line.join();
                }
                line.add(grid, from, until, f64::from(value));
                area += (until - from) as f64 * f64::from(value);
                most = most.max(f64::from(value));
                at = until;
            }
            prop_assert!(line.columns().end <= 2 * COLUMNS);
            let sum: f64 = line.columns().map(|column| line.at(column).area).sum();
            prop_assert!((sum - area).abs() < 1.0, "{sum} {area}");
            prop_assert_eq!(line.most(), most);
            for column in line.columns() {
                prop_assert!(line.at(column).time <= grid.width() as f64);
            }
        }
    }
}
