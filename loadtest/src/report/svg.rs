//! Line charts as SVG, without a library: two axes, some lines, a legend.

use super::markdown::number;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;
/// Told apart also by those who see no red or green (Okabe and Ito).
const COLOURS: &[&str] = &["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// Points of one line; more are thinned out.
const POINTS_MAX: usize = 600;

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// How an axis is divided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) title: String,
    /// Values are drawn by their logarithm.
    pub(super) is_logarithmic: bool,
    /// Where to write what; empty: at good places.
    pub(super) marks: Vec<(f64, String)>,
}

struct Scale {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.chain(axis.marks.iter().map(|(value, _)| *value)) {
            let value = if axis.is_logarithmic { value.max(1e-3).log10() } else { value };
            low = low.min(value);
            high = high.max(value);
        }
        if axis.is_logarithmic {
            (low, high) = (low.floor(), high.ceil());
        } else {
            low = low.min(0.0);
        }
        if !low.is_finite() || !high.is_finite() || high <= low {
            (low, high) = (low.min(0.0), low.max(0.0) + 1.0);
            if !low.is_finite() || !high.is_finite() {
                (low, high) = (0.0, 1.0);
            }
        }
        Scale { low, high, is_logarithmic: axis.is_logarithmic }
    }

    /// 0 at the low end, 1 at the high one.
    fn place(&self, value: f64) -> f64 {
        let value = if self.is_logarithmic { value.max(1e-3).log10() } else { value };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn marks(&self, axis: &Axis) -> Vec<(f64, String)> {
        if !axis.marks.is_empty() {
            return axis.marks.clone();
        }
        if self.is_logarithmic {
            let mut marks = Vec::new();
            let mut power = self.low;
            while power <= self.high {
                let value = 10_f64.powf(power);
                marks.push((value, if value < 0.01 { format!("{value:.3}") } else { number(value) }));
                power += 1.0;
            }
            return marks;
        }
        let step = round_up((self.high - self.low) / 6.0);
        let mut marks = Vec::new();
        let mut value = (self.low / step).ceil() * step;
        while value <= self.high {
            marks.push((value, number(value)));
            value += step;
        }
        marks
    }
}

/// The next larger of 1, 2, 5, 10, 20, ...
fn round_up(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round >= step * 0.999)
        .unwrap_or(step)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    points.iter().copied().step_by(step)
}

/// Draws a chart.
pub(super) fn chart(title: &str, x_axis: &Axis, y_axis: &Axis, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_scale = Scale::new(x_axis, points().map(|(x, _)| *x));
    let y_scale = Scale::new(y_axis, points().map(|(_, y)| *y));
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x_at = |x: f64| LEFT + x_scale.place(x) * inner_width;
    let y_at = |y: f64| TOP + (1.0 - y_scale.place(y)) * inner_height;
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);

    let mut out = String::new();
    let mut put = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    put(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">"
    ));
    put(format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"));
    put(format!("<text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>", escape(title)));
    for (value, text) in x_scale.marks(x_axis) {
        let x = x_at(value);
        put(format!("<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e0e0e0\"/>"));
        let y = bottom + 18.0;
        put(format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escape(&text)));
    }
    for (value, text) in y_scale.marks(y_axis) {
        let y = y_at(value);
        put(format!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#e0e0e0\"/>"));
        let (x, y) = (LEFT - 8.0, y + 4.0);
        put(format!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", escape(&text)));
    }
    let (middle, y) = (LEFT + inner_width / 2.0, bottom + 38.0);
    put(format!("<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escape(&x_axis.title)));
    let middle = TOP + inner_height / 2.0;
    put(format!(
        "<text x=\"16\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {middle})\">{}</text>",
        escape(&y_axis.title)
    ));
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        for (x, y) in thinned(&line.points) {
            let _infallible = write!(path, "{:.1},{:.1} ", x_at(x), y_at(y));
        }
        put(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            path.trim_end()
        ));
    }
    for (index, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let (x, y) = (LEFT + 90.0 * index as f64, HEIGHT - 6.0);
        put(format!("<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>", escape(&line.name)));
    }
    put("</svg>".to_owned());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(is_logarithmic: bool) -> Axis {
        Axis { title: "a < b".into(), is_logarithmic, marks: Vec::new() }
    }

    #[test]
    fn lines_are_drawn_between_the_axes() {
        let line = Line { name: "p99 & more".into(), points: vec![(0.0, 0.0), (5.0, 50.0), (10.0, 100.0)] };
        let text = chart("title", &axis(false), &axis(false), &[line]);
        // From the lower left corner over the middle to the upper right one.
        assert!(text.contains("points=\"80.0,320.0 410.0,180.0 740.0,40.0\""), "{text}");
        assert!(text.contains("a &lt; b") && text.contains("p99 &amp; more") && text.ends_with("</svg>\n"));
        assert_eq!(text.matches("<polyline").count(), 1);
    }

    #[test]
    fn a_logarithmic_axis_has_whole_powers_of_ten() {
        let line = Line { name: "x".into(), points: vec![(0.0, 0.5), (1.0, 30.0)] };
        let text = chart("", &axis(false), &axis(true), &[line]);
        for mark in [">0.10<", ">1.00<", ">10.0<", ">100<"] {
            assert!(text.contains(mark), "{mark} is not in {text}");
        }
    }

    #[test]
    fn nothing_and_one_point_can_be_drawn_too() {
        for points in [vec![], vec![(0.0, 0.0)], vec![(3.0, 7.0)]] {
            for is_logarithmic in [false, true] {
                let line = Line { name: String::new(), points: points.clone() };
                let text = chart("", &axis(is_logarithmic), &axis(is_logarithmic), &[line]);
                assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            }
        }
    }

    #[test]
    fn marks_are_round_and_long_lines_thin() {
        assert_eq!([0.7, 1.0, 1.3, 3.0, 70.0].map(round_up), [1.0, 1.0, 2.0, 5.0, 100.0]);
        let points: Vec<(f64, f64)> = (0..10_000).map(|index| (f64::from(index), 1.0)).collect();
        assert!(thinned(&points).count() <= POINTS_MAX);
    }
}
