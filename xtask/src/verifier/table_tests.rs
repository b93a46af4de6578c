use super::*;

fn cell(instructions: u64, total_states: u64, peak_states: u64) -> Cell {
    Cell {
        instructions,
        total_states,
        peak_states,
    }
}

/// A column of these programs in one form each.
fn column(rows: &[(&str, &str, Cell)]) -> Column {
    let mut column = Column {
        package: "linux-image-1 1.2-3".into(),
        ..Column::default()
    };
    for (form, program, cell) in rows {
        let programs = column.forms.entry((*form).to_owned()).or_default();
        programs.insert((*program).to_owned(), *cell);
    }
    column
}

fn plain() -> Column {
    column(&[
        ("a", "large", cell(30_000, 1000, 500)),
        ("a", "small", cell(8, 0, 0)),
        ("b", "large", cell(20_000, 900, 400)),
    ])
}

#[test]
fn what_is_written_is_read_back() {
    let other = column(&[("b", "large", cell(1, 2, 3)), ("b", "only", cell(4, 5, 6))]);
    let table = Table(BTreeMap::from([
        ("6.1".to_owned(), plain()),
        ("5.10".to_owned(), other),
    ]));
    let text = table.markdown(&["5.10", "6.1"], &["b", "a"]);
    assert!(text.contains(&margin()), "{text}");
    assert!(text.contains("| program | 5.10 | 6.1 |"), "{text}");
    assert!(text.contains("| `only` | 4 / 5 / 6 | |"), "{text}");
    assert!(
        text.contains("| all | 5 / 7 / 6 | 20000 / 900 / 400 |"),
        "{text}"
    );
    assert_eq!(Table::parse(&text).expect("as written"), table);
    let gone = table.markdown(&["6.1"], &["a", "b"]);
    assert_eq!(Table::parse(&gone).expect("as written").0.len(), 1);
}

#[test]
fn another_table_is_refused() {
    let table = Table(BTreeMap::from([("6.1".to_owned(), plain())]));
    let text = table.markdown(&["6.1"], &["a"]);
    for (from, to) in [
        ("30000 / 1000 / 500", "30000 / 1000"),
        ("30000 / 1000 / 500", "30000 / 1000 / many"),
        ("30000 / 1000 / 500", "30000 / 1000 / 500 | 1 / 2 / 3"),
        ("| program | 6.1 |", "| program | 6.2 |"),
    ] {
        assert!(text.contains(from));
        assert!(Table::parse(&text.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn within_the_margin_all_is_well() {
    let mut now = plain();
    assert_eq!(compare(Some(&plain()), &now), Differences::default());
    let programs = now.forms.get_mut("a").expect("there");
    programs.insert("large".into(), cell(31_500, 1050, 525));
    programs.insert("small".into(), cell(108, 10, 10));
    assert_eq!(compare(Some(&plain()), &now), Differences::default());
}

#[test]
fn a_rise_above_it_is_a_problem_for_each_figure() {
    for (cell, what) in [
        (cell(31_501, 1000, 500), "31501 instructions, 30000 in"),
        (cell(30_000, 1051, 500), "1051 states, 1000 in"),
        (cell(30_000, 1000, 526), "526 states at a time, 500 in"),
    ] {
        let mut now = plain();
        now.forms
            .get_mut("a")
            .expect("there")
            .insert("large".into(), cell);
        let found = compare(Some(&plain()), &now);
        assert!(found.problems[0].starts_with("a: large: "), "{found:?}");
        assert!(found.problems[0].contains(what), "{found:?}");
        assert_eq!((found.problems.len(), found.notices.len()), (1, 0));
        // Seen from there, the table's figure is too high to notice a rise.
        let found = compare(Some(&now), &plain());
        assert_eq!((found.problems.len(), found.notices.len()), (0, 1));
    }
    let mut now = plain();
    let programs = now.forms.get_mut("a").expect("there");
    programs.insert("small".into(), cell(109, 0, 0));
    assert_eq!(compare(Some(&plain()), &now).problems.len(), 1);
}

#[test]
fn programs_and_forms_are_compared_both_ways() {
    let mut less = plain();
    less.forms.get_mut("a").expect("there").remove("small");
    let gone = compare(Some(&plain()), &less).problems;
    assert!(gone[0].starts_with("a: small was not loaded"), "{gone:?}");
    let new = compare(Some(&less), &plain()).problems;
    assert!(new[0].starts_with("a: small was loaded"), "{new:?}");
    less.forms.remove("b");
    let gone = compare(Some(&plain()), &less).problems;
    assert!(gone[1].starts_with("b was not loaded"), "{gone:?}");
    assert_eq!(gone.len(), 2);
    let new = compare(Some(&less), &plain()).problems;
    assert!(new[1].starts_with("b: large was loaded"), "{new:?}");
    assert_eq!(compare(None, &plain()).problems.len(), 1);
}

#[test]
fn another_package_of_the_kernel_is_told() {
    let mut now = plain();
    now.package = "linux-image-1 1.2-4".into();
    let found = compare(Some(&plain()), &now);
    assert!(found.problems.is_empty());
    assert!(
        found.notices[0].contains("linux-image-1 1.2-4"),
        "{found:?}"
    );
}

#[test]
fn the_committed_table_is_as_it_was_written() {
    let text = include_str!("../../../docs/verifier.md");
    let table = Table::parse(text).expect("readable");
    let kernels = crate::vm::kernels::KERNELS.map(|kernel| kernel.name);
    let forms = crate::verifier::FORMS.map(|form| form.name);
    assert_eq!(table.markdown(&kernels, &forms), text);
    assert_eq!(table.0.len(), kernels.len());
}
