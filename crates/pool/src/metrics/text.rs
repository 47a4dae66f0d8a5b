//! Prometheus' text exposition format, version 0.0.4.

use std::fmt::{Display, Write};

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Page(String);

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; its name ends with `_total`.
    Counter,
    /// Buckets, a sum and a count.
    Histogram,
}

/// A metric whose samples are being written.
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Page {
    /// Begins a metric. Its samples must follow at once.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        Family { page: self, name }
    }

    /// The finished page.
    pub fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

impl Family<'_> {
    /// A sample without labels.
    pub fn value(&mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// A sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.suffixed("", labels, value);
    }

    /// A sample of a histogram: `_bucket`, `_sum` or `_count`.
    pub fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut text = String::new();
        for (index, (label, labelled)) in labels.iter().enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            escape(labelled, &mut text);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        self.page.line(format_args!("{}{suffix}{text} {value}", self.name));
    }
}

/// Label values are free text but for three characters.
fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family("up", Kind::Gauge, "Whether it is.").value(1);
        let mut family = page.family("times_seconds", Kind::Histogram, "How long.");
        family.suffixed("_bucket", &[("le", "0.5")], 3);
        family.suffixed("_sum", &[], 1.25);
        let mut family = page.family("shares_total", Kind::Counter, "How many.");
        family.sample(&[("owner", "a\"b\\c\nd"), ("worker", "é")], 7u64);
        assert_eq!(
            page.finish(),
            "# HELP up Whether it is.\n# TYPE up gauge\nup 1\n\
             # HELP times_seconds How long.\n# TYPE times_seconds histogram\n\
             times_seconds_bucket{le=\"0.5\"} 3\ntimes_seconds_sum 1.25\n\
             # HELP shares_total How many.\n# TYPE shares_total counter\n\
             shares_total{owner=\"a\\\"b\\\\c\\nd\",worker=\"é\"} 7\n"
        );
    }
}
