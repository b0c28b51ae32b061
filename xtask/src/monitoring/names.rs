//! What monitoring files name: metrics in any text, queries in a dashboard.

use std::collections::BTreeSet;

use serde_json::Value;

/// Every word in `text` that is a metric's name. Of Zabbix's own keys only the first part looks
/// like one, and they have no underscore.
pub(super) fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("outband_")).collect()
}

/// Every query of the panels, with Grafana's variables filled in.
pub(super) fn queries(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.filter_map(|target| target["expr"].as_str());
    let filled = |query: &str| {
        query.replace("$__rate_interval", "1m").replace("$unit", ".*").replace("$volume", ".*")
    };
    queries.map(filled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_in_queries_and_keys_are_not_taken_for_them() {
        let text = "rate(outband_a_total{volume=\"outband.figures\"}[5m]) or outband_b";
        assert_eq!(metrics(text).into_iter().collect::<Vec<_>>(), ["outband_a_total", "outband_b"]);
    }

    #[test]
    fn variables_of_a_dashboard_are_filled_in() {
        let board = serde_json::json!({"panels": [
            {"targets": [{"expr": "rate(a{instance=~\"$unit\"}[$__rate_interval])"}]}, {"title": "no"}
        ]});
        assert_eq!(queries(&board), ["rate(a{instance=~\".*\"}[1m])"]);
    }
}
