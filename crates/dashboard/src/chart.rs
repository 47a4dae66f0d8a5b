//! Charts as SVG, drawn here: crisp at any size, coloured by the style sheet, readable without script.
//! Nothing that a miner says gets into them.

use std::fmt::Write;

use crate::history::{Points, Span};
use crate::words;

/// Height of the part with the line, in pixels, and of what is above and below it.
const PLOT: f64 = 168.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 24.0;
/// Width of the line's own coordinates, stretched to whatever room there is.
const WIDTH: f64 = 1000.0;

/// A chart of hash rates.
pub fn rates(points: &Points, span: Span, of_what: &str) -> String {
    let known: Vec<u64> = points.rates.iter().flatten().copied().collect();
    let height = PLOT + TOP + BOTTOM;
    let mut svg = String::new();
    let summary = summary(&known, span, of_what);
    let _ = write!(
        svg,
        "<svg class=\"chart\" width=\"100%\" height=\"{height}\" role=\"img\" aria-label=\"{summary}\" \
         xmlns=\"http://www.w3.org/2000/svg\">"
    );
    let top = ceiling(known.iter().copied().max().unwrap_or_default());
    grid(&mut svg, top, !known.is_empty());
    times(&mut svg, span);
    if known.is_empty() {
        let _ = write!(
            svg,
            "<text class=\"none\" x=\"50%\" y=\"{}\" text-anchor=\"middle\">Nothing measured yet</text>",
            TOP + PLOT / 2.0 - 8.0
        );
    }
    let _ = write!(
        svg,
        "<svg y=\"{TOP}\" width=\"100%\" height=\"{PLOT}\" viewBox=\"0 0 {WIDTH} {PLOT}\" \
         preserveAspectRatio=\"none\">"
    );
    for run in runs(points) {
        line(&mut svg, &run, points.rates.len(), top);
    }
    svg.push_str("</svg></svg>");
    svg
}

/// A line as small as a word, for tables.
pub fn spark(points: &Points) -> String {
    const W: f64 = 96.0;
    const H: f64 = 24.0;
    let known = points.rates.iter().flatten().copied();
    let top = known.max().unwrap_or_default().max(1) as f64;
    let count = points.rates.len().max(2) as f64 - 1.0;
    let mut svg = format!(
        "<svg class=\"spark\" width=\"{W}\" height=\"{H}\" viewBox=\"0 0 {W} {H}\" aria-hidden=\"true\">"
    );
    for run in runs(points) {
        svg.push_str("<path d=\"");
        for (nth, (index, rate)) in run.iter().enumerate() {
            let letter = if nth == 0 { 'M' } else { 'L' };
            let x = *index as f64 / count * W;
            let y = (H - 2.0) - *rate as f64 / top * (H - 4.0);
            let _ = write!(svg, "{letter}{x:.1} {y:.1}");
        }
        svg.push_str("\"/>");
    }
    svg.push_str("</svg>");
    svg
}

/// Said to whoever cannot see the chart.
fn summary(known: &[u64], span: Span, of_what: &str) -> String {
    let (Some(least), Some(most)) = (known.iter().min(), known.iter().max()) else {
        return format!("{of_what} over {}: nothing measured yet", span.label());
    };
    let sum: u128 = known.iter().map(|rate| u128::from(*rate)).sum();
    let mean = u64::try_from(sum / known.len() as u128).unwrap_or(u64::MAX);
    format!(
        "{of_what} over {}: on average {}, between {} and {}",
        span.label(),
        words::hashrate(mean),
        words::hashrate(*least),
        words::hashrate(*most)
    )
}

/// The next 1, 2 or 5 with zeros, so that the grid has round numbers.
fn ceiling(most: u64) -> f64 {
    let most = (most as f64).max(1.0);
    let zeros = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * zeros);
    steps.into_iter().find(|step| *step >= most).unwrap_or(most)
}

fn grid(svg: &mut String, top: f64, labelled: bool) {
    for part in [0.0, 0.5, 1.0] {
        let y = TOP + PLOT * (1.0 - part);
        let label = words::hashrate((top * part) as u64);
        let label = if part == 0.0 || !labelled { String::new() } else { label };
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>\
             <text x=\"0\" y=\"{}\">{label}</text>",
            y - 6.0
        );
    }
}

fn times(svg: &mut String, span: Span) {
    let y = TOP + PLOT + 17.0;
    let labels = match span {
        Span::Hour => ["60 min ago", "30 min ago", "now"],
        Span::Day => ["24 h ago", "12 h ago", "now"],
        Span::Week => ["7 days ago", "3½ days ago", "now"],
    };
    for (label, (x, anchor)) in labels.into_iter().zip([("0", "start"), ("50%", "middle"), ("100%", "end")]) {
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>");
    }
}

/// Stretches without a gap, as numbers of points with their values.
fn runs(points: &Points) -> Vec<Vec<(usize, u64)>> {
    let mut runs: Vec<Vec<(usize, u64)>> = Vec::new();
    let mut open = false;
    for (index, rate) in points.rates.iter().enumerate() {
        match rate {
            Some(rate) => {
                match runs.last_mut().filter(|_| open) {
                    Some(run) => run.push((index, *rate)),
                    None => runs.push(vec![(index, *rate)]),
                }
                open = true;
            }
            None => open = false,
        }
    }
    runs
}

/// Steps, because a bucket's rate holds for the whole of it.
fn line(svg: &mut String, run: &[(usize, u64)], count: usize, top: f64) {
    let step = WIDTH / count.max(1) as f64;
    let mut path = String::new();
    for (index, rate) in run {
        let (left, y) = (*index as f64 * step, PLOT * (1.0 - *rate as f64 / top));
        let letter = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{left:.1} {y:.1}H{:.1}", left + step);
    }
    let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return };
    let (left, right) = (*first as f64 * step, (*last + 1) as f64 * step);
    let _ = write!(
        svg,
        "<path class=\"area\" d=\"{path}L{right:.1} {PLOT}H{left:.1}Z\"/>\
         <path class=\"line\" vector-effect=\"non-scaling-stroke\" d=\"{path}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rates: &[Option<u64>]) -> Points {
        Points { end: 600, step_s: 60, rates: rates.to_vec() }
    }

    #[test]
    fn a_gap_parts_the_line() {
        let svg = rates(&points(&[Some(5), None, Some(7), Some(8)]), Span::Hour, "Hash rate");
        assert_eq!(svg.matches("class=\"line\"").count(), 2);
        assert!(svg.contains("on average 6.00\u{a0}H/s, between 5.00\u{a0}H/s and 8.00\u{a0}H/s"), "{svg}");
    }

    #[test]
    fn nothing_measured_is_said() {
        let svg = rates(&points(&[None, None]), Span::Day, "Hash rate");
        assert!(svg.contains("Nothing measured yet") && !svg.contains("class=\"line\""));
    }

    #[test]
    fn the_grid_has_round_numbers() {
        assert_eq!([0, 1, 130, 999, 5_000_000].map(ceiling), [1.0, 1.0, 200.0, 1000.0, 5_000_000.0]);
    }
}
