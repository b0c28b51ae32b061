//! Prometheus' text format, version 0.0.4, which Prometheus, Zabbix, Telegraf and others read.

use std::fmt::{Display, Write as _};

/// A page of figures. Families are written in the order of their asking, those without a sample not
/// at all.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    text: String,
}

/// One metric with all its samples.
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    is_begun: bool,
}

/// Names and values of a sample's labels.
pub type Labels<'l> = &'l [(&'static str, &'l str)];

impl Exposition {
    /// Something that only grows. By convention its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, help, "counter")
    }

    /// Something that is so much now.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        debug_assert!(!name.ends_with("_total"), "{name}");
        self.family(name, help, "gauge")
    }

    /// How many events took how much.
    pub fn histogram(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, help, "histogram")
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &'static str) -> Family<'_> {
        Family { text: &mut self.text, name, help, kind, is_begun: false }
    }

    /// The page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample of a counter or a gauge.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, &value);
    }

    /// One sample of a histogram: the sum of all events, and for each upper bound, ascending to
    /// infinity, the events above the one before.
    pub fn observed(
        &mut self,
        labels: Labels<'_>,
        sum: f64,
        buckets: impl Iterator<Item = (f64, u64)>,
    ) {
        let mut count = 0;
        for (bound, events) in buckets {
            count += events;
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            self.line("_bucket", labels, Some(&bound), &count);
        }
        self.line("_sum", labels, None, &sum);
        self.line("_count", labels, None, &count);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: &dyn Display) {
        let Self { name, help, kind, .. } = *self;
        if !std::mem::replace(&mut self.is_begun, true) {
            writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect(TAKES_ALL);
        }
        write!(self.text, "{name}{suffix}").expect(TAKES_ALL);
        let le = le.map(|bound| ("le", bound));
        let mut before = '{';
        for (label, value) in labels.iter().copied().chain(le) {
            write!(self.text, "{before}{label}=\"").expect(TAKES_ALL);
            escape(value, self.text);
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect(TAKES_ALL);
    }
}

const TAKES_ALL: &str = "a string takes everything";

/// A label value may hold anything: names come from outside.
fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_labels_and_buckets_are_written_as_the_format_has_them() {
        let mut page = Exposition::default();
        page.gauge("outband_empty", "Never seen.");
        let mut counter = page.counter("outband_things_total", "Things.");
        counter.sample(&[], 3);
        counter.sample(&[("name", "a\\b\"c\nd"), ("kind", "x")], 0.5);
        let buckets = [(0.001, 2), (0.01, 0), (f64::INFINITY, 1)];
        let mut times = page.histogram("outband_time_seconds", "Times.");
        times.observed(&[("v", "a")], 1.25, buckets.into_iter());
        assert_eq!(
            page.into_text(),
            "# HELP outband_things_total Things.\n\
             # TYPE outband_things_total counter\n\
             outband_things_total 3\n\
             outband_things_total{name=\"a\\\\b\\\"c\\nd\",kind=\"x\"} 0.5\n\
             # HELP outband_time_seconds Times.\n\
             # TYPE outband_time_seconds histogram\n\
             outband_time_seconds_bucket{v=\"a\",le=\"0.001\"} 2\n\
             outband_time_seconds_bucket{v=\"a\",le=\"0.01\"} 2\n\
             outband_time_seconds_bucket{v=\"a\",le=\"+Inf\"} 3\n\
             outband_time_seconds_sum{v=\"a\"} 1.25\n\
             outband_time_seconds_count{v=\"a\"} 3\n"
        );
    }
}
