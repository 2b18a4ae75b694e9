//! Objects as rows of a table (CSV, RFC 4180).

use serde_json::Value;

use super::evidence::Evidence;

/// Objects within objects that become columns of their own.
const MAX_LEVELS: usize = 4;

/// The columns for the objects of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// JSON pointers to the values; a single empty one where the schema doesn't list its names.
    columns: Vec<String>,
    evidence: bool,
}

impl Table {
    /// A column for each value that the schema lists, of objects in objects too, and with `evidence` one for its place.
    pub fn new(schema: &Value, evidence: bool) -> Table {
        let mut columns = Vec::new();
        collect(schema, String::new(), 0, &mut columns);
        if columns.is_empty() {
            columns.push(String::new());
        }
        Table { columns, evidence }
    }

    /// The first line: `file`, then the columns' names, with points between the names of objects in objects.
    pub fn header(&self) -> String {
        let mut cells = vec!["file".to_owned()];
        for pointer in &self.columns {
            let name = pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
            let name = if pointer.is_empty() { "value".to_owned() } else { text(&name) };
            if self.evidence {
                cells.extend([name.clone(), format!("{name} box")]);
            } else {
                cells.push(name);
            }
        }
        line(&cells)
    }

    /// The line for one object.
    pub fn row(&self, file: &str, object: &Value, evidence: &[Evidence]) -> String {
        let mut cells = vec![text(file)];
        for pointer in &self.columns {
            cells.push(object.pointer(pointer).map_or_else(String::new, cell));
            if self.evidence {
                let place = evidence.iter().find(|e| e.pointer == *pointer).and_then(|e| e.place);
                cells.push(place.and_then(|place| serde_json::to_string(&place).ok()).unwrap_or_default());
            }
        }
        line(&cells)
    }
}

fn collect(schema: &Value, pointer: String, level: usize, columns: &mut Vec<String>) {
    let names = schema.get("properties").and_then(Value::as_object).filter(|_| level < MAX_LEVELS);
    match names {
        Some(names) => names.iter().for_each(|(name, schema)| {
            let step = name.replace('~', "~0").replace('/', "~1");
            collect(schema, format!("{pointer}/{step}"), level + 1, columns);
        }),
        None if level > 0 => columns.push(pointer),
        None => {}
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(said) => text(said),
        other => escaped(&other.to_string()),
    }
}

/// JSON without control characters, which may stand in its texts: those that it doesn't have to escape, too.
fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
        out
    })
}

/// Text as a spreadsheet shows it: one that it would take for a formula gets a `'` before it. Control characters, which a
/// terminal would obey, are left out.
fn text(said: &str) -> String {
    let said: String = said.chars().filter(|&c| !c.is_control() || matches!(c, '\n' | '\t' | '\r')).collect();
    let formula = match said.chars().next() {
        Some('=' | '@' | '\t' | '\r') => true,
        // Numbers and telephone numbers may begin so, too.
        Some('+' | '-') => !said.chars().all(|c| c.is_ascii_digit() || " +-.,/()".contains(c)),
        _ => false,
    };
    if formula { format!("'{said}") } else { said }
}

/// Cells as a line, without its end.
fn line(cells: &[String]) -> String {
    let quoted: Vec<String> = cells
        .iter()
        .map(|cell| {
            let plain = !cell.contains(['"', ',', '\n', '\r']) && cell.trim() == cell.as_str();
            if plain { cell.clone() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
        })
        .collect();
    quoted.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_become_rows() {
        let inner = json!({"type": "object", "properties": {"name": {}, "a.b/c": {}}});
        let schema = json!({"type": "object", "properties": {"total": {"type": "number"}, "shop": inner, "lines": {"type": "array"}}});
        let table = Table::new(&schema, false);
        assert_eq!(table.header(), "file,total,shop.name,shop.a.b/c,lines");
        let object = json!({"total": 1.5, "shop": {"name": "A \"B\", C", "a.b/c": null}, "lines": ["x", 2]});
        assert_eq!(table.row("a,b.png", &object, &[]), r#""a,b.png",1.5,"A ""B"", C",,"[""x"",2]""#);
        assert_eq!(Table::new(&json!({"type": "array"}), false).header(), "file,value");
        assert_eq!(Table::new(&json!(true), false).row("x", &json!([1]), &[]), "x,[1]");
    }

    #[test]
    fn places_have_columns_of_their_own() {
        let table = Table::new(&json!({"properties": {"a": {}, "b": {}}}), true);
        assert_eq!(table.header(), "file,a,a box,b,b box");
        let place = serde_json::from_value(json!({"pointer": "/b", "box": [1.0, 2.0, 3.0, 4.0]})).expect("evidence");
        assert_eq!(table.row("x", &json!({"a": 1, "b": "t"}), &[place]), "x,1,,t,\"[1.0,2.0,3.0,4.0]\"");
    }

    #[test]
    fn no_text_is_taken_for_a_formula() {
        let table = Table::new(&json!({"properties": {"a": {}}}), false);
        let row = |said: &str| table.row("f", &json!({"a": said}), &[]);
        assert_eq!(row("=1+1"), "f,'=1+1");
        assert_eq!(row("@x"), "f,'@x");
        assert_eq!(row("+1+cmd|' /C calc'!A0"), "f,'+1+cmd|' /C calc'!A0");
        assert_eq!(row("+43 (1) 234-5"), "f,+43 (1) 234-5");
        assert_eq!(row("-12.50"), "f,-12.50");
        assert_eq!(row("\u{1b}[2Ja\u{9b}b"), "f,[2Jab");
        assert_eq!(table.row("f", &json!({"a": ["\u{1b}\u{9b}"]}), &[]), r#"f,"[""\u001b\u009b""]""#);
        assert_eq!(Table::new(&json!({"properties": {"=a\u{9b}": {}}}), false).header(), "file,'=a");
        assert_eq!(table.row("=f", &json!({"a": -1}), &[]), "'=f,-1");
    }
}
