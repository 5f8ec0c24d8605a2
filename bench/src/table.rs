//! A table of measurements with a verdict on each goal.

use std::fmt;

use crate::rounds::{median, median_excess, median_ratio};

/// What a measurement is held against.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// In the unit of the row.
    pub(crate) figure: f64,
    /// Ours divided by the peer's: the median over the rounds, not the ratio of the medians.
    pub(crate) ratio: f64,
    /// Ours less the peer's, likewise.
    pub(crate) excess: f64,
}

impl Peer {
    /// A peer by the figures of the rounds, beside ours of the same rounds.
    pub(crate) fn new(name: &'static str, ours: &[f64], theirs: &[f64]) -> Self {
        Self {
            name,
            figure: median(theirs.iter().copied()),
            ratio: median_ratio(ours, theirs),
            excess: median_excess(ours, theirs),
        }
    }
}

/// What a row must reach.
pub(crate) enum Goal {
    /// At most so many times the peer's figure.
    Ratio(f64),
    /// At most so much more than the peer's figure, in the unit of the row.
    Excess(f64),
    /// At most this figure, in the unit of the row.
    Figure(f64),
    /// Nothing: the row is there to compare.
    None,
}

/// One operation beside one peer.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) peer: Option<Peer>,
    pub(crate) goal: Goal,
}

impl Row {
    /// A row of ours and a peer's figures, round by round.
    pub(crate) fn beside(
        name: impl Into<String>,
        unit: &'static str,
        peer: &'static str,
        ours: &[f64],
        theirs: &[f64],
        goal: Goal,
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            ours: median(ours.iter().copied()),
            peer: Some(Peer::new(peer, ours, theirs)),
            goal,
        }
    }

    /// Whether the goal is met; `None` without a goal.
    fn verdict(&self) -> Option<bool> {
        match (&self.goal, &self.peer) {
            (Goal::Ratio(goal), Some(peer)) => Some(peer.ratio <= *goal),
            (Goal::Excess(goal), Some(peer)) => Some(peer.excess <= *goal),
            (Goal::Ratio(_) | Goal::Excess(_), None) => Some(false),
            (Goal::Figure(goal), _) => Some(self.ours <= *goal),
            (Goal::None, _) => None,
        }
    }
}

/// The rows of one subcommand. Shown, it ends with `N goals met, N missed`.
pub(crate) struct Table {
    /// What is measured and how, in a line or two.
    pub(crate) about: &'static str,
    pub(crate) rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.about)?;
        let names = self.rows.iter().map(|row| row.name.chars().count());
        let width = names.max().unwrap_or(0);
        let peers = self.rows.iter().filter_map(|row| row.peer.as_ref());
        let peer_width = peers.map(|peer| peer.name.chars().count()).max();
        let peer_width = peer_width.unwrap_or(0).max("peer".len());
        writeln!(
            f,
            "{:width$} {:>11} {:>peer_width$} {:>11} {:>9} {:>10}  verdict",
            "operation", "ours", "peer", "", "beside it", "goal"
        )?;
        for row in &self.rows {
            write!(f, "{:width$} {:>11}", row.name, figure(row.ours, row.unit))?;
            match &row.peer {
                Some(peer) => {
                    let theirs = figure(peer.figure, row.unit);
                    let against = match row.goal {
                        Goal::Excess(_) => format!("+{}", figure(peer.excess, row.unit)),
                        _ => format!("{:.2}", peer.ratio),
                    };
                    write!(f, " {:>peer_width$} {theirs:>11} {against:>9}", peer.name)?;
                }
                None => write!(f, " {:>peer_width$} {:>11} {:>9}", "", "", "")?,
            }
            let goal = match row.goal {
                Goal::Ratio(goal) => format!("≤ {goal:.2}x"),
                Goal::Excess(goal) => format!("≤ +{}", figure(goal, row.unit)),
                Goal::Figure(goal) => format!("≤ {}", figure(goal, row.unit)),
                Goal::None => String::new(),
            };
            let verdict = match row.verdict() {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            writeln!(f, " {goal:>10}  {verdict}")?;
        }
        let verdicts: Vec<bool> = self.rows.iter().filter_map(Row::verdict).collect();
        let met = verdicts.iter().filter(|&&met| met).count();
        writeln!(f, "\n{met} goals met, {} missed", verdicts.len() - met)
    }
}

fn figure(value: f64, unit: &str) -> String {
    match value {
        0.1..1.0 => format!("{value:.2} {unit}"),
        1.0..10.0 => format!("{value:.1} {unit}"),
        // Without a digit, it is exactly 0.
        _ if value < 0.1 && value != 0.0 => format!("{value:.3} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}
