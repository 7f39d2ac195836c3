//! Takes turns between Muster and its echo, and prints the medians and their ratio.

use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;

/// The figures so far.
pub(crate) struct Table {
    /// How long each measurement lasts.
    pub(crate) time: Duration,
    turns: usize,
    only: String,
    no_echo: bool,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    unit: &'static str,
    goal: String,
    muster: Vec<f64>,
    echo: Vec<f64>,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Table {
    pub(crate) fn new(time: Duration, turns: usize, only: String, no_echo: bool) -> Self {
        Self { time, turns, only, no_echo, rows: Vec::new() }
    }

    /// Measures one figure and its echo in turns.
    pub(crate) async fn pair<M, E>(
        &mut self,
        name: &'static str,
        unit: &'static str,
        goal: &str,
        muster: impl Fn(Duration) -> M,
        echo: impl Fn(Duration) -> E,
    ) -> anyhow::Result<()>
    where
        M: Future<Output = anyhow::Result<f64>>,
        E: Future<Output = anyhow::Result<f64>>,
    {
        if !name.contains(&self.only) {
            return Ok(());
        }
        let mut row = Row { name, unit, goal: goal.to_owned(), muster: Vec::new(), echo: Vec::new() };
        for _ in 0..self.turns {
            if self.no_echo {
                row.echo.push(f64::NAN);
            } else {
                row.echo.push(echo(self.time).await.with_context(|| format!("the echo of {name}"))?);
            }
            row.muster.push(muster(self.time).await.context(name)?);
            let _ = writeln!(std::io::stderr(), "{name}: {:?} beside {:?}", row.muster.last(), row.echo.last());
        }
        self.rows.push(row);
        Ok(())
    }

    /// Measures one figure that has no echo.
    pub(crate) async fn alone<M>(
        &mut self,
        name: &'static str,
        unit: &'static str,
        goal: &str,
        muster: impl Fn(Duration) -> M,
    ) -> anyhow::Result<()>
    where
        M: Future<Output = anyhow::Result<f64>>,
    {
        self.pair(name, unit, goal, muster, async |_| Ok(f64::NAN)).await
    }

    /// Prints the table.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "| what | Muster | echo | ratio (min, median, max) | goal |\n|---|---|---|---|---|")?;
        for row in &self.rows {
            let mut ratios: Vec<f64> = row.muster.iter().zip(&row.echo).map(|(muster, echo)| muster / echo).collect();
            ratios.sort_by(f64::total_cmp);
            let (least, most) = (ratios.first().unwrap_or(&f64::NAN), ratios.last().unwrap_or(&f64::NAN));
            let (muster, echo, middle) = (median(&row.muster), median(&row.echo), median(&ratios));
            let Row { name, unit, goal, .. } = row;
            if echo.is_nan() {
                writeln!(out, "| {name} | {muster:.2} {unit} | | | {goal} |")?;
                continue;
            }
            writeln!(
                out,
                "| {name} | {muster:.0} {unit} | {echo:.0} {unit} | {least:.2}, {middle:.2}, {most:.2} | {goal} |"
            )?;
        }
        Ok(())
    }
}
