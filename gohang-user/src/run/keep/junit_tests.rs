//! Test results in XML, whatever tests print.

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

use super::junit::{junit, lines};
use crate::run::evidence::{EndedTest, Evidence, Exceeded, RunningTest, TestOutcome, Tests};
use crate::run::explain::{Verdict, explain};

/// An element: its name, its attributes, and its text, as an application gets them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> &str {
        let mut all = self.attributes.iter();
        all.find(|(of, _)| of == name)
            .map_or("", |(_, value)| value)
    }
}

/// Reads a document, which has to be XML 1.0.
fn read(document: &[u8]) -> Vec<Element> {
    let document = std::str::from_utf8(document).unwrap();
    // What XML 1.0 allows (2.2, Char).
    let is_char = |c: char| matches!(u32::from(c), 0x9 | 0xa | 0xd | 0x20..=0xd7ff | 0xe000..=0xfffd | 0x1_0000..);
    assert_eq!(document.chars().find(|c| !is_char(*c)), None);
    let mut reader = Reader::from_str(document);
    reader.config_mut().check_end_names = true;
    let mut all = Vec::new();
    let mut open: Vec<Element> = Vec::new();
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let attributes = tag.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    let name: &str = attribute.key.as_ref();
                    assert!(!attribute.value.contains('<'));
                    let value = unescape(&attribute.value).unwrap();
                    (name.to_owned(), value.into_owned())
                });
                let name = tag.name();
                let name: &str = name.as_ref();
                let element = Element {
                    name: name.to_owned(),
                    attributes: attributes.collect(),
                    text: String::new(),
                };
                if matches!(event, Event::Empty(_)) {
                    all.push(element);
                } else {
                    open.push(element);
                }
            }
            Event::Text(text) => {
                assert!(!text.contains("]]>"));
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                let name: &str = reference;
                let text = unescape(&format!("&{name};")).unwrap().into_owned();
                open.last_mut().unwrap().text.push_str(&text);
            }
            Event::End(_) => all.push(open.pop().unwrap()),
            Event::Decl(_) => {}
            Event::Eof => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(open, []);
    all
}

fn named<'a>(all: &'a [Element], name: &str) -> Vec<&'a Element> {
    all.iter().filter(|element| element.name == name).collect()
}

fn hung() -> Verdict {
    let mut evidence = Evidence {
        command: vec!["go".into(), "test".into()],
        ..Evidence::default()
    };
    evidence.exceeded = Some(Exceeded::default());
    explain(&evidence)
}

fn ended(test: &str, outcome: TestOutcome, output: &str) -> EndedTest {
    EndedTest {
        package: "example.com/p".into(),
        test: test.into(),
        outcome,
        took_ns: Some(1_500_000_000),
        output: output.into(),
    }
}

#[test]
fn each_test_has_what_it_printed() {
    let tests = Tests {
        ended: vec![
            ended("TestA", TestOutcome::Passed, ""),
            ended(
                "TestB",
                TestOutcome::Failed,
                "\tb_test.go:5: a ]]> <b>&amp;\r\n\u{1b}[31mred\u{0}\u{ffff}\n",
            ),
            ended(
                "TestC",
                TestOutcome::Skipped,
                "x\n    c_test.go:7: \"no\" <root>\n\n",
            ),
            ended("TestD", TestOutcome::Failed, ""),
        ],
        running: vec![
            RunningTest {
                package: "example.com/p".into(),
                test: "TestE".into(),
                ran_ns: 31_000_000_000,
                paused: false,
            },
            RunningTest {
                test: "TestF".into(),
                ..RunningTest::default()
            },
        ],
        running_output: vec!["so far\n".into(), String::new()],
        ..Tests::default()
    };
    let all = read(&junit(&tests, Some(&hung())).unwrap());
    let failures = named(&all, "failure");
    assert_eq!(
        (failures[0].text.as_str(), failures[1].text.as_str()),
        ("\tb_test.go:5: a ]]> <b>&amp;\n\\x1b[31mred\\x00\n", "")
    );
    let skipped = named(&all, "skipped");
    assert_eq!(
        skipped[0].attribute("message"),
        "c_test.go:7: \"no\" <root>"
    );
    let errors = named(&all, "error");
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert_eq!(error.attribute("type"), "hang");
        assert!(error.attribute("message").starts_with("verdict: "));
        assert!(error.text.contains("verdict: "), "{}", error.text);
    }
    let output = named(&all, "system-out");
    assert_eq!((output.len(), output[0].text.as_str()), (1, "so far\n"));
    let cases = named(&all, "testcase");
    let times: Vec<_> = cases.iter().map(|case| case.attribute("time")).collect();
    // Packages are in their order.
    assert_eq!(
        times,
        ["1.500", "1.500", "1.500", "1.500", "31.000", "0.000"]
    );
    let whole = named(&all, "testsuites")[0];
    let counts = ["tests", "failures", "errors"].map(|name| whole.attribute(name));
    assert_eq!(counts, ["6", "2", "2"]);
    // Without a hang nothing runs any more.
    let all = read(&junit(&tests, None).unwrap());
    assert_eq!(
        (named(&all, "testcase").len(), named(&all, "error").len()),
        (4, 0)
    );
}

#[test]
fn a_package_that_fails_without_a_test_says_why() {
    let tests = Tests {
        ended: vec![ended("", TestOutcome::Failed, "./p.go:3: undefined: x\n")],
        ..Tests::default()
    };
    let all = read(&junit(&tests, None).unwrap());
    let case = named(&all, "testcase")[0];
    assert_eq!(case.attribute("name"), "example.com/p");
    assert_eq!(named(&all, "failure")[0].text, "./p.go:3: undefined: x\n");
}

proptest! {
    #[test]
    fn whatever_is_printed_is_xml(
        package in any::<String>(),
        test in any::<String>(),
        // Of any kind, and of the kinds that mean something.
        output in "(\\PC|[\u{0}-\u{20}\u{7f}-\u{a0}\u{fffe}\u{ffff}]|\\]\\]>|<!\\[CDATA\\[|&#0;|-->){0,40}",
    ) {
        let failed = |outcome| EndedTest {
            package: package.clone(),
            ..ended(&test, outcome, &output)
        };
        let tests = Tests {
            ended: vec![failed(TestOutcome::Failed), failed(TestOutcome::Skipped)],
            running: vec![RunningTest {
                package: package.clone(),
                test: test.clone(),
                ..RunningTest::default()
            }],
            running_output: vec![output.clone()],
            ..Tests::default()
        };
        let all = read(&junit(&tests, Some(&hung())).unwrap());
        let want = lines(&output);
        let text = |name: &str| {
            named(&all, name).first().map_or(String::new(), |found| found.text.clone())
        };
        prop_assert_eq!(text("system-out"), want.clone());
        // A test without a name is its package.
        if !test.is_empty() {
            prop_assert_eq!(text("failure"), want);
            prop_assert_eq!(named(&all, "testcase").len(), 3);
        }
    }
}
