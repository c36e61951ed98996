//! Tables and lists of members for people. No colour, no frame: what is printed can be searched and cut.

use std::fmt::Write as _;

/// Between two columns.
const GAP: &str = "  ";

/// A table that may come page by page: columns never get narrower, so that pages stand below each other.
pub(crate) struct Table {
    head: &'static [&'static str],
    widths: Vec<usize>,
    is_begun: bool,
}

impl Table {
    /// With these columns.
    pub(crate) fn new(head: &'static [&'static str]) -> Self {
        Table { head, widths: head.iter().map(|title| title.len()).collect(), is_begun: false }
    }

    /// The next rows, the first time below the head. Nothing for no rows.
    pub(crate) fn page(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        if !self.is_begun && !rows.is_empty() {
            self.is_begun = true;
            self.line(&mut text, self.head.iter().copied());
        }
        for row in rows {
            self.line(&mut text, row.iter().map(String::as_str));
        }
        text
    }

    /// Whether a row was ever there.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    fn line<'c>(&self, text: &mut String, cells: impl Iterator<Item = &'c str>) {
        let start = text.len();
        for (cell, width) in cells.zip(&self.widths) {
            if text.len() > start {
                text.push_str(GAP);
            }
            let _infallible = write!(text, "{cell:width$}");
        }
        // The last column needs no blanks to its right.
        let end = text.trim_end_matches(' ').len().max(start);
        text.truncate(end);
        text.push('\n');
    }
}

/// Names and values, one a line, the values below each other.
pub(crate) fn members(members: &[(&str, String)]) -> String {
    let width = members.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in members {
        let _infallible = writeln!(text, "{name:width$}{GAP}{value}");
    }
    text
}

/// A text of the server, safe to print: what would move the cursor or turn the direction of writing is replaced.
pub(crate) fn clean(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if c.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                safe.push(char::REPLACEMENT_CHARACTER);
            }
            c => safe.push(c),
        }
    }
    safe
}

/// A value that may be missing.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), clean)
}

/// `1 delivery`, `2 deliveries`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 3]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn columns_stand_below_each_other_and_pages_below_pages() {
        let mut table = Table::new(&["ID", "STATUS", "URL"]);
        assert_eq!(table.page(&[]), "");
        assert!(!table.is_begun());
        let first = table.page(&[row(["é", "ENABLED", "https://a.example/"]), row(["long", "", "b"])]);
        assert_eq!(
            first,
            "ID    STATUS   URL\n\
             é     ENABLED  https://a.example/\n\
             long           b\n"
        );
        assert_eq!(table.page(&[row(["x", "y", ""])]), "x     y\n");
        assert!(table.is_begun());
    }

    #[test]
    fn members_are_aligned() {
        let text = members(&[("id", "1".into()), ("status", "ENABLED".into())]);
        assert_eq!(text, "id      1\nstatus  ENABLED\n");
    }

    #[test]
    fn nothing_a_server_says_moves_the_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n\tc\u{202E}d é 漢"), "a\u{FFFD}[2Jb\\r\\n\\tc\u{FFFD}d é 漢");
        assert_eq!(or_dash(None), "-");
        assert_eq!(or_dash(Some("\u{7}")), "\u{FFFD}");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "key", "keys")), ["0 keys", "1 key", "2 keys"]);
    }
}
