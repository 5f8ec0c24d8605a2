//! A line chart with two logarithmic axes, as SVG.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;
/// What is left free around the lines: above for the title, on the right for the names.
const TOP: f64 = 50.0;
const RIGHT: f64 = 300.0;
const BOTTOM: f64 = 55.0;
const LEFT: f64 = 75.0;
/// From one name to the next.
const NAME: f64 = 20.0;

/// Okabe and Ito's colours, which most people can tell apart.
const COLOURS: [&str; 8] = [
    "#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#998a00",
];

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// What the axes show.
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: String,
    /// Lines of the same number have the same colour.
    pub(crate) colour: usize,
    pub(crate) stroke: Stroke,
    /// Both above 0.
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stroke {
    Solid,
    Dashed,
}

impl Stroke {
    fn dashes(self) -> &'static str {
        match self {
            Self::Solid => "none",
            Self::Dashed => "5 4",
        }
    }
}

/// Where the decades of an axis are on the paper.
struct Axis {
    decades: RangeInclusive<i32>,
    begin: f64,
    end: f64,
}

impl Axis {
    /// The decades around all values.
    fn around(values: impl Iterator<Item = f64> + Clone, begin: f64, end: f64) -> Self {
        let lowest = values.clone().fold(f64::INFINITY, f64::min);
        let highest = values.fold(0.0, f64::max);
        let first = lowest.log10().floor() as i32;
        let last = (highest.log10().ceil() as i32).max(first + 1);
        Self {
            decades: first..=last,
            begin,
            end,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let first = f64::from(*self.decades.start());
        let length = f64::from(*self.decades.end()) - first;
        self.begin + (value.log10() - first) / length * (self.end - self.begin)
    }
}

impl Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let x = Axis::around(points().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let y = Axis::around(points().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{LEFT}" y="28" font-size="17">{}</text>"#,
            Escaped(self.title)
        )?;
        self.grid(f, &x, &y)?;
        for line in &self.lines {
            line.draw(f, &x, &y)?;
        }
        self.names(f)?;
        writeln!(f, "</svg>")
    }
}

impl Chart {
    fn grid(&self, f: &mut fmt::Formatter<'_>, x: &Axis, y: &Axis) -> fmt::Result {
        for decade in x.decades.clone() {
            let at = x.place(10_f64.powi(decade));
            writeln!(
                f,
                r##"<path d="M{at:.1} {:.1}V{:.1}" stroke="#dddddd"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"##,
                y.begin,
                y.end,
                y.begin + 20.0,
                Power(decade)
            )?;
        }
        for decade in y.decades.clone() {
            let at = y.place(10_f64.powi(decade));
            writeln!(
                f,
                r##"<path d="M{:.1} {at:.1}H{:.1}" stroke="#dddddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"##,
                x.begin,
                x.end,
                x.begin - 8.0,
                at + 4.0,
                Power(decade)
            )?;
        }
        let (middle, down) = (f64::midpoint(x.begin, x.end), HEIGHT - 12.0);
        let across = f64::midpoint(y.begin, y.end);
        writeln!(
            f,
            r#"<text x="{middle:.1}" y="{down:.1}" text-anchor="middle">{}</text>
<text transform="translate(20 {across:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            Escaped(self.x),
            Escaped(self.y)
        )
    }

    /// Names the lines in the order in which they end on the right, from above.
    fn names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |line: &&Line| line.points.last().map_or(0.0, |point| point.1);
        let mut lines: Vec<&Line> = self.lines.iter().collect();
        lines.sort_by(|a, b| end(b).total_cmp(&end(a)));
        let left = WIDTH - RIGHT + 20.0;
        for (place, line) in lines.into_iter().enumerate() {
            let at = TOP + 8.0 + place as f64 * NAME;
            writeln!(
                f,
                r#"<path d="M{left} {at}h28" stroke="{}" stroke-width="2" stroke-dasharray="{}"/><text x="{}" y="{}">{}</text>"#,
                line.colour(),
                line.stroke.dashes(),
                left + 36.0,
                at + 4.0,
                Escaped(&line.name)
            )?;
        }
        Ok(())
    }
}

impl Line {
    fn colour(&self) -> &'static str {
        COLOURS[self.colour % COLOURS.len()]
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, x: &Axis, y: &Axis) -> fmt::Result {
        write!(
            f,
            r#"<polyline fill="none" stroke="{}" stroke-width="2" stroke-dasharray="{}" points=""#,
            self.colour(),
            self.stroke.dashes()
        )?;
        for &(across, up) in &self.points {
            write!(f, "{:.1},{:.1} ", x.place(across), y.place(up))?;
        }
        writeln!(f, r#""/>"#)
    }
}

/// A power of ten.
struct Power(i32);

impl Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            -3..=3 => write!(f, "{}", 10_f64.powi(self.0)),
            exponent => write!(f, r#"10<tspan dy="-5" font-size="10">{exponent}</tspan>"#),
        }
    }
}

/// Text between tags.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '&' => f.write_str("&amp;")?,
                _ => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> String {
        Chart {
            title: "a < b & c",
            x: "x",
            y: "y",
            lines: vec![Line {
                name: "line".to_owned(),
                colour: 1,
                stroke: Stroke::Dashed,
                points: vec![(100.0, 1.0), (1000.0, 10.0), (10_000.0, 100.0)],
            }],
        }
        .to_string()
    }

    #[test]
    fn decades_are_evenly_spaced() {
        let axis = Axis::around([3.0, 900.0].into_iter(), 100.0, 400.0);
        let places = [1.0, 10.0, 100.0, 1000.0].map(|value| format!("{:.3}", axis.place(value)));
        assert_eq!(places, ["100.000", "200.000", "300.000", "400.000"]);
    }

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let (bottom, top) = (HEIGHT - BOTTOM, TOP);
        let (across, up) = (f64::midpoint(left, right), f64::midpoint(bottom, top));
        let points =
            format!("points=\"{left:.1},{bottom:.1} {across:.1},{up:.1} {right:.1},{top:.1} \"");
        assert!(chart().contains(&points), "{}", chart());
    }

    #[test]
    fn names_are_text() {
        assert!(chart().contains("a &lt; b &amp; c"));
    }
}
