//! `format` as patterns. They are narrower than the standards where those allow what no program expects, so that every
//! validator agrees with what they let through.

use super::problem::{Place, SchemaError, SchemaProblem};
use crate::text::Quoted;

/// The formats that are enforced, for messages.
const KNOWN: &str = "date, time, date-time, duration, email, hostname, ipv4, ipv6, uri, uuid";
/// Those of the standard that are not.
const REFUSED: [&str; 9] = [
    "idn-email",
    "idn-hostname",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "uri-reference",
    "uri-template",
];

const LABEL: &str = "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,2}";
const ATOM: &str = "[A-Za-z0-9_+]{1,20}";
const DAY: &str = "[0-9]{4}-(((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01]))|((0[469]|11)-(0[1-9]|[12][0-9]|30))|(02-(0[1-9]|1[0-9]|2[0-8])))";
/// The 29th of February, in leap years alone.
const LEAP: &str = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29";
const CLOCK: &str = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const GROUP: &str = "[0-9a-f]{1,4}";

/// The pattern that stands for a format; `None` for names outside of the standard, which mean nothing to validators.
pub(super) fn pattern(name: &str, place: &Place) -> Result<Option<String>, SchemaError> {
    let host = format!("{LABEL}(\\.{LABEL}){{0,3}}");
    let mail = format!("{ATOM}(\\.{ATOM}){{0,2}}@{LABEL}(\\.{LABEL}){{0,2}}\\.[a-z]{{2,20}}");
    let body = match name {
        "date" => format!("({DAY}|{LEAP})"),
        "time" => CLOCK.to_owned(),
        "date-time" => format!("({DAY}|{LEAP})T{CLOCK}"),
        "duration" => duration(),
        "email" => mail,
        "hostname" => host,
        "ipv4" => format!("{BYTE}(\\.{BYTE}){{3}}"),
        "ipv6" => ipv6(),
        "uri" => format!(
            "((https?|ftp)://{host}(:[1-9][0-9]{{0,3}})?(/[A-Za-z0-9._~-]*)*(\\?[A-Za-z0-9._~=&-]*)?(#[A-Za-z0-9._~-]*)?|mailto:{mail})"
        ),
        "uuid" => "[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}".to_owned(),
        _ if REFUSED.contains(&name) => {
            let found = Quoted::new(name);
            return Err(place.join("format").error(SchemaProblem::Format { found, known: KNOWN }));
        }
        _ => return Ok(None),
    };
    Ok(Some(format!("^({body})$")))
}

fn duration() -> String {
    let n = |unit: char| format!("[0-9]{{1,4}}{unit}");
    let time = format!("T({}({}({})?)?|{}({})?|{})", n('H'), n('M'), n('S'), n('M'), n('S'), n('S'));
    let date = format!("({}({}({})?)?|{}({})?|{})", n('Y'), n('M'), n('D'), n('M'), n('D'), n('D'));
    format!("P({date}({time})?|{time}|{})", n('W'))
}

/// Eight groups, or fewer with one `::`.
fn ipv6() -> String {
    let mut ways = vec![format!("{GROUP}(:{GROUP}){{7}}")];
    for left in 0..=6 {
        let before = match left {
            0 => String::new(),
            1 => GROUP.to_owned(),
            n => format!("{GROUP}(:{GROUP}){{{}}}", n - 1),
        };
        let after = match 6 - left {
            0 => String::new(),
            n => format!("({GROUP}(:{GROUP}){{0,{}}})?", n - 1),
        };
        ways.push(format!("{before}::{after}"));
    }
    ways.join("|")
}

/// A pattern as the standard means it (ECMAScript), in the grammar engine's dialect.
///
/// Outside of classes `.` leaves out all four line ends, and `\s` is the white space of ECMAScript; all else is the same in
/// both, or refused by the engine.
pub(super) fn ecma(pattern: &str) -> String {
    const SPACE: &str = r"\t\n\x0B\x0C\r \u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF";
    let mut out = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('s') if in_class => out.push_str(SPACE),
                Some('s') => out.extend(["[", SPACE, "]"]),
                Some('S') if !in_class => out.extend(["[^", SPACE, "]"]),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '.' if !in_class => out.push_str(r"[^\n\r\u2028\u2029]"),
            '[' => {
                in_class = true;
                out.push('[');
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(name: &str) -> fancy_regex::Regex {
        let pattern = pattern(name, &Place::default()).expect("enforced").expect("known");
        fancy_regex::Regex::new(&pattern).expect("a pattern")
    }

    #[test]
    fn formats_let_through_what_the_standards_do() {
        let cases: [(&str, &[&str], &[&str]); 10] = [
            (
                "date",
                &["2024-02-29", "2000-02-29", "1999-12-31"],
                &["2023-02-29", "1900-02-29", "2024-13-01", "2024-04-31"],
            ),
            ("time", &["23:59:59Z", "08:00:00.125+02:00"], &["24:00:00Z", "12:00:60Z", "12:00:00"]),
            ("date-time", &["2024-02-29T01:02:03Z"], &["2024-02-29 01:02:03Z", "2024-02-30T01:02:03Z"]),
            ("duration", &["P1Y", "P2W", "PT5M", "P1Y2M3DT4H5M6S"], &["P", "PT", "P1S", "1Y"]),
            ("email", &["a.b+c@mail.example.org"], &["a@b", "@b.org", "a b@c.org", "a..b@c.org"]),
            ("hostname", &["example", "www.example-site.org"], &["-a", "a-", "a..b", ""]),
            ("ipv4", &["0.0.0.0", "255.255.255.255", "10.20.30.40"], &["256.1.1.1", "01.1.1.1", "1.1.1"]),
            ("ipv6", &["::", "::1", "1::", "fe80::1:2", "1:2:3:4:5:6:7:8"], &["1:2:3", "1::2::3", ":::", "12345::"]),
            ("uri", &["https://example.org/a/b?c=d#e", "mailto:a@b.org"], &["example.org", "https://", "//a.b"]),
            ("uuid", &["123e4567-e89b-12d3-a456-426614174000"], &["123e4567-e89b-12d3-a456-42661417400"]),
        ];
        for (name, good, bad) in cases {
            let regex = compiled(name);
            let fits = |text: &&&str| regex.is_match(text).expect("matched");
            assert_eq!(good.iter().filter(|text| !fits(text)).collect::<Vec<_>>(), Vec::<&&str>::new(), "{name}");
            assert_eq!(bad.iter().filter(fits).collect::<Vec<_>>(), Vec::<&&str>::new(), "{name}");
        }
        assert!(pattern("regex", &Place::default()).is_err());
        assert_eq!(pattern("int32", &Place::default()), Ok(None));
    }

    #[test]
    fn patterns_keep_their_meaning() {
        assert_eq!(ecma(r"^a\.b[.]$"), r"^a\.b[.]$");
        assert_eq!(ecma("a.b"), r"a[^\n\r\u2028\u2029]b");
        assert!(
            ecma(r"\s+").starts_with(r"[\t") && ecma(r"[\sx]").starts_with(r"[\t") && ecma(r"\S").starts_with(r"[^\t")
        );
        assert_eq!(ecma(r"\\s\"), r"\\s\");
    }
}
