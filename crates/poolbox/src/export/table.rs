//! Tables as CSV (RFC 4180) and JSON, written row by row.
//!
//! Names come from whoever mines here, and spreadsheets take text that begins with `=`, `+`, `-`, `@`,
//! a tab or a line break for a formula. In CSV such text is preceded by an apostrophe, as is text that
//! begins with one, so that every name can be read back. JSON holds it as it is.

use std::io::Write;

use clap::ValueEnum;
use serde_json::{Map, Value};

/// The form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a heading.
    Csv,
    /// One array of objects, one a line.
    Json,
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// A whole number.
    Number(u64),
    /// Text.
    Text(String),
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Empty, Into::into)
    }
}

/// A table that is being written.
pub struct Table<W> {
    out: W,
    format: Format,
    columns: &'static [&'static str],
    rows: u64,
}

impl<W: Write> Table<W> {
    /// Begins a table with these columns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(mut out: W, format: Format, columns: &'static [&'static str]) -> std::io::Result<Self> {
        match format {
            Format::Csv => write!(out, "{}\r\n", columns.join(","))?,
            Format::Json => write!(out, "[")?,
        }
        Ok(Self { out, format, columns, rows: 0 })
    }

    /// Writes a row, a cell a column.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) -> std::io::Result<()> {
        let separator = if self.rows == 0 { "\n" } else { ",\n" };
        self.rows += 1;
        match self.format {
            Format::Csv => {
                let fields: Vec<String> = cells.iter().map(field).collect();
                write!(self.out, "{}\r\n", fields.join(","))
            }
            Format::Json => {
                let named =
                    self.columns.iter().zip(cells).map(|(name, cell)| ((*name).to_owned(), value(cell)));
                let object = Value::Object(named.collect::<Map<_, _>>());
                write!(self.out, "{separator}{object}")
            }
        }
    }

    /// Ends the table; how many rows it has.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self) -> std::io::Result<u64> {
        if self.format == Format::Json {
            writeln!(self.out, "{}]", if self.rows == 0 { "" } else { "\n" })?;
        }
        self.out.flush()?;
        Ok(self.rows)
    }
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Empty => Value::Null,
        Cell::Number(number) => number.into(),
        Cell::Text(text) => text.into(),
    }
}

fn field(cell: &Cell) -> String {
    let text = match cell {
        Cell::Empty => return String::new(),
        Cell::Number(number) => return number.to_string(),
        Cell::Text(text) => text,
    };
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\'']);
    let text = if formula { format!("'{text}") } else { text.clone() };
    if text.contains(['"', ',', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, rows: &[[Cell; 3]]) -> String {
        let mut out = Vec::new();
        let mut table = Table::begin(&mut out, format, &["seq", "owner", "height"]).unwrap();
        for row in rows {
            table.row(row.clone()).unwrap();
        }
        assert_eq!(table.end().unwrap(), rows.len() as u64);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hostile_names_are_neither_formulas_nor_further_columns() {
        for (name, in_csv) in [
            ("garage", "garage"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("'x", "''x"),
            ("a,b", "\"a,b\""),
            ("a\r\nb", "\"a\r\nb\""),
            (" x", "\" x\""),
        ] {
            let row = [1.into(), name.into(), Cell::Empty];
            assert_eq!(
                written(Format::Csv, std::slice::from_ref(&row)),
                format!("seq,owner,height\r\n1,{in_csv},\r\n")
            );
            let json: Value = serde_json::from_str(&written(Format::Json, &[row])).unwrap();
            assert_eq!(json[0]["owner"], name, "JSON holds names as they are");
        }
    }

    #[test]
    fn an_empty_table_and_large_numbers_are_written_exactly() {
        assert_eq!(written(Format::Csv, &[]), "seq,owner,height\r\n");
        assert_eq!(written(Format::Json, &[]), "[]\n");
        let rows = [[u64::MAX.into(), "a".into(), Some(7_u64).into()], [2.into(), "b".into(), Cell::Empty]];
        let json: Value = serde_json::from_str(&written(Format::Json, &rows)).unwrap();
        assert_eq!(
            json,
            serde_json::json!([{"seq": u64::MAX, "owner": "a", "height": 7}, {"seq": 2, "owner": "b", "height": null}])
        );
    }
}
