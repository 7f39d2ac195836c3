//! Plots as SVG, drawn for a page that loads nothing.

use std::fmt::Write as _;

/// A line of a plot.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// What an axis shows.
pub(super) struct Axis<'a> {
    pub(super) label: &'a str,
    /// Where its marks stand, and what they say; the first and the last are its ends.
    pub(super) marks: Vec<(f64, String)>,
}

/// A part of the run that is marked in the background.
pub(super) struct Band {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 42.0;
const COLOURS: [&str; 8] = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#0a7d8c", "#bf3989", "#57606a"];

/// Text that is safe inside of HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Round marks from 0 to beyond the greatest value.
pub(super) fn marks(greatest: f64) -> Vec<(f64, String)> {
    let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
    let power = 10_f64.powf((greatest / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|round| round * power).into_iter().find(|step| *step * 5.0 >= greatest);
    let step = step.unwrap_or(greatest);
    let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
    (0..=5_u32).map(f64::from).map(|count| count * step).map(|value| (value, format!("{value:.digits$}"))).collect()
}

/// A plot of lines.
pub(super) fn lines(
    title: &str,
    x: &Axis<'_>,
    y: &Axis<'_>,
    series: &[Series],
    bands: &[Band],
) -> Result<String, std::fmt::Error> {
    let ends = |axis: &Axis<'_>| {
        let first = axis.marks.first().map_or(0.0, |mark| mark.0);
        (first, axis.marks.last().map_or(1.0, |mark| mark.0).max(first + f64::EPSILON))
    };
    let ((x0, x1), (y0, y1)) = (ends(x), ends(y));
    let across = |value: f64| LEFT + (value.clamp(x0, x1) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let down = |value: f64| HEIGHT - BOTTOM - (value.clamp(y0, y1) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);

    let mut svg = String::new();
    let title = escape(title);
    write!(svg, "<figure><figcaption>{title}</figcaption>")?;
    write!(
        svg,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\" xmlns=\"http://www.w3.org/2000/svg\">"
    )?;
    for (index, band) in bands.iter().enumerate() {
        let (from, to) = (across(band.from), across(band.to));
        let fill = if index % 2 == 0 { "#f3f5f8" } else { "#ffffff" };
        let (width, height) = ((to - from).max(0.0), bottom - TOP);
        write!(svg, "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{fill}\"/>")?;
        if width > 40.0 {
            let name = escape(&band.name);
            write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" class=\"band\">{name}</text>", from + 4.0, TOP + 12.0)?;
        }
    }
    for (value, text) in &y.marks {
        let (at, text) = (down(*value), escape(text));
        write!(svg, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" class=\"grid\"/>")?;
        write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0, at + 4.0)?;
    }
    for (value, text) in &x.marks {
        let (at, text) = (across(*value), escape(text));
        write!(svg, "<line x1=\"{at:.1}\" y1=\"{bottom}\" x2=\"{at:.1}\" y2=\"{:.1}\" class=\"axis\"/>", bottom + 4.0)?;
        write!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", bottom + 17.0)?;
    }
    write!(svg, "<line x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\" class=\"axis\"/>")?;
    let middle = f64::midpoint(LEFT, right);
    write!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", HEIGHT - 6.0, escape(x.label))?;
    write!(svg, "<text x=\"{LEFT}\" y=\"14\">{}</text>", escape(y.label))?;
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<_> = series.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), down(*y))).collect();
        write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
            points.join(" ")
        )?;
    }
    write!(svg, "</svg>")?;
    if series.len() < 2 {
        // The title says it.
        write!(svg, "</figure>")?;
        return Ok(svg);
    }
    write!(svg, "<ul class=\"legend\">")?;
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        write!(svg, "<li><span style=\"background:{colour}\"></span>{}</li>", escape(&series.name))?;
    }
    write!(svg, "</ul></figure>")?;
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_marks_of_an_axis_reach_the_greatest_value(greatest in 0.001..1e9_f64) {
            let marks = marks(greatest);
            prop_assert!(marks[0].0.abs() < f64::EPSILON);
            prop_assert!(marks[5].0 >= greatest * 0.999_999 && marks[5].0 <= greatest * 10.0, "{:?}", marks);
        }

        #[test]
        fn no_point_leaves_the_plot(points in prop::collection::vec((-1e6..1e6_f64, -1e6..1e6_f64), 1..20)) {
            let axis = || Axis { label: "s", marks: marks(10.0) };
            let series = Series { name: "a".to_owned(), points };
            let svg = lines("t", &axis(), &axis(), &[series], &[]).unwrap();
            let drawn = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            for pair in drawn.split(' ') {
                let (x, y) = pair.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                prop_assert!((0.0..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{}", pair);
            }
        }
    }

    #[test]
    fn what_a_name_holds_is_text() {
        assert_eq!(escape("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
