//! Times as people and models write them.

/// `seconds` as `00:12.50`, from an hour on as `1:02:03.50`. Negative or odd numbers count as 0.
pub fn clock(seconds: f64) -> String {
    let hundredths = (seconds.max(0.0) * 100.0).round() as u64;
    let (minutes, rest) = (hundredths / 6000, hundredths % 6000);
    let seconds = format!("{:02}.{:02}", rest / 100, rest % 100);
    if minutes < 60 {
        return format!("{minutes:02}:{seconds}");
    }
    format!("{}:{:02}:{seconds}", minutes / 60, minutes % 60)
}

/// Seconds of `12.5`, `12.5s`, `00:12.50`, `1:02:03.5`, with a comma as well as a point.
///
/// Three fields mean hours, minutes and seconds; where that lies beyond `longest` seconds, models have meant minutes,
/// seconds and hundredths.
pub fn parse_clock(text: &str, longest: f64) -> Option<f64> {
    let text = text.trim().trim_end_matches("seconds").trim_end_matches("sec").trim_end_matches('s').trim_end();
    let text = text.replace(',', ".");
    let fields: Vec<f64> = text.split(':').map(field).collect::<Option<_>>()?;
    match fields[..] {
        [s] => Some(s),
        [m, s] => Some(m * 60.0 + s),
        [h, m, s] => {
            let (usual, short) = (h * 3600.0 + m * 60.0 + s, h * 60.0 + m + s / 100.0);
            let hundredths = text.rsplit(':').next().is_some_and(|last| last.len() == 2);
            Some(if usual > longest + 1.0 && short <= longest + 1.0 && hundredths { short } else { usual })
        }
        _ => None,
    }
}

/// A plain number: digits, at most one point, nothing else.
fn field(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.bytes().any(|b| b.is_ascii_digit());
    // Twelve characters hold years of seconds; more are a number that means something else.
    if plain && text.len() <= 12 { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_hours_only_where_there_are_some() {
        let cases = [
            (0.0, "00:00.00"),
            (12.5, "00:12.50"),
            (59.996, "01:00.00"),
            (3599.994, "59:59.99"),
            (3599.996, "1:00:00.00"),
            (36_610.25, "10:10:10.25"),
            (-1.0, "00:00.00"),
            (f64::NAN, "00:00.00"),
        ];
        for (seconds, wanted) in cases {
            assert_eq!(clock(seconds), wanted);
        }
    }

    #[test]
    fn times_are_read_in_every_way_that_models_write_them() {
        let cases = [
            ("00:12.50", Some(12.5)),
            ("0:12,5", Some(12.5)),
            (" 75.25 ", Some(75.25)),
            ("12.5s", Some(12.5)),
            ("12 seconds", Some(12.0)),
            ("01:02:03.5", Some(3723.5)),
            ("00:12:50", Some(12.5)),
            ("00:01:50", Some(1.5)),
            ("90:00", Some(5400.0)),
            ("1:2:3:4", None),
            ("-1", None),
            ("1e9", None),
            ("", None),
            (":", None),
            ("1.2.3", None),
            ("9999999999999", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse_clock(text, 30.0), wanted, "{text}");
        }
        assert_eq!(parse_clock("00:12:50", 3600.0), Some(770.0), "in an hour it is twelve minutes");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for hundredths in (0..2_000_000u32).step_by(7919) {
            let seconds = f64::from(hundredths) / 100.0;
            let read = parse_clock(&clock(seconds), 20_000.0).expect("a time");
            assert!((read - seconds).abs() < 1e-6, "{seconds}: {read}");
        }
    }
}
