//! docs/cli.md says what `--help` says.

use std::path::Path;

#[test]
fn the_reference_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let wanted = qlens::cli::reference();
    if std::env::var_os("QLENS_WRITE_DOCS").is_some() {
        std::fs::write(&file, &wanted).expect("written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/cli.md is not what the help says now; write it again with\n  \
         QLENS_WRITE_DOCS=1 cargo test --test cli the_reference_is_up_to_date"
    );
}
