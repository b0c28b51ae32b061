//! Names in URLs: percent-encoding (RFC 3986 §2.1), the one of the API and of the console.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// As it stands in a query, or as one segment of a path.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_the_path_and_one_value_of_a_query() {
        let table = [
            ("vol-1.a_b~", "vol-1.a_b~"),
            ("a/b", "a%2Fb"),
            ("a?b#c", "a%3Fb%23c"),
            ("100% ü>", "100%25%20%C3%BC%3E"),
            ("iqn.2026-11.x:a", "iqn.2026-11.x%3Aa"),
        ];
        for (name, path) in table {
            assert_eq!(encoded(name), path);
        }
    }
}
