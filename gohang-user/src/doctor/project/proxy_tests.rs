use std::net::TcpListener;

use proptest::prelude::*;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn nothing(_: &str) -> Option<String> {
    None
}

/// Who is asked, without a connection.
fn asked(goproxy: &str, variables: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    // The answer tells who was asked.
    let connect: Connect =
        Arc::new(|host, port, _| Err(io::Error::other(format!("{host} {port}"))));
    let entries = ask(goproxy, &variable, LIMIT, &connect);
    entries
        .into_iter()
        .map(|own| (own.entry, own.error))
        .collect()
}

fn pair(entry: &str, error: Option<&str>) -> (String, Option<String>) {
    (entry.to_owned(), error.map(Into::into))
}

#[test]
fn entries_and_their_hosts() {
    assert_eq!(
        asked(
            "https://a.example|http://u:p@b.example:81/x?k=1,direct,off",
            &[]
        ),
        [
            pair("https://a.example", Some("a.example 443")),
            pair("http://***@b.example:81/x", Some("b.example 81")),
            pair("direct", None),
            pair("off", None),
        ]
    );
    assert_eq!(
        asked("http://[::1]:8080/", &[]),
        [pair("http://[::1]:8080/", Some("::1 8080"))]
    );
    assert_eq!(
        asked("a.example/x", &[]),
        [pair("https://a.example/x", Some("a.example 443"))]
    );
    let bad = asked("example,ftp://a.example,https://,http://a:x", &[]);
    assert_eq!(bad.len(), 4);
    assert!(bad.iter().all(|(_, error)| {
        let error = error.as_deref().expect("an error");
        error.contains("URL") || error.contains("ftp")
    }));
    assert_eq!(asked("", &[]), []);
}

#[test]
fn which_error_leads_on() {
    let connect: Connect = Arc::new(|_, _, _| Ok(()));
    let found = ask(
        "https://a.example|https://b.example,direct",
        &nothing,
        LIMIT,
        &connect,
    );
    let falls: Vec<bool> = found.iter().map(|own| own.falls_through).collect();
    assert_eq!(falls, [true, false, false]);
    let answers: Vec<_> = found.iter().map(|own| own.reachable).collect();
    assert_eq!(answers, [Some(true), Some(true), None]);
    assert!(found[0].took_ns.is_some() && found[2].took_ns.is_none());
}

#[test]
fn the_environments_http_proxy_is_asked_instead() {
    let through = [
        ("HTTPS_PROXY", "http://u:p@squid.example:3128"),
        ("no_proxy", ".own.example"),
    ];
    assert_eq!(
        asked(
            "https://a.example,https://go.own.example,http://a.example",
            &through
        ),
        [
            pair("https://a.example", Some("squid.example 3128")),
            pair("https://go.own.example", Some("go.own.example 443")),
            pair("http://a.example", Some("a.example 80")),
        ]
    );
    // Never for this machine itself, and with a scheme left out.
    assert_eq!(
        asked(
            "http://127.0.0.1:1,http://localhost:2,http://a.example",
            &[("http_proxy", "squid.example:1")]
        ),
        [
            pair("http://127.0.0.1:1", Some("127.0.0.1 1")),
            pair("http://localhost:2", Some("localhost 2")),
            pair("http://a.example", Some("squid.example 1")),
        ]
    );
}

#[test]
fn one_that_listens_one_that_refuses_and_a_folder() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let alive = listener.local_addr().expect("an address");
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let dead = closed.local_addr().expect("an address");
    drop(closed);
    let dir = tempfile::tempdir().expect("a directory");
    let goproxy = format!(
        "http://{alive},http://{dead},file://{},file:///nonexistent/x",
        dir.path().display()
    );
    let found = ask(&goproxy, &nothing, LIMIT, &connect());
    let answers: Vec<_> = found.iter().map(|own| own.reachable).collect();
    assert_eq!(answers, [Some(true), Some(false), Some(true), Some(false)]);
    let error = found[1].error.as_deref().expect("an error");
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn one_that_does_not_answer_holds_nobody_up() {
    let limit = Duration::from_millis(100);
    let connect: Connect = Arc::new(|_, _, _| {
        thread::sleep(Duration::from_secs(600));
        Ok(())
    });
    let begin = Instant::now();
    let found = ask(
        "https://a.example,https://b.example",
        &nothing,
        limit,
        &connect,
    );
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert!(found.iter().all(|own| {
        own.reachable == Some(false)
            && own.error.as_deref() == Some("no answer within 100ms")
            && own.took_ns >= Some(100_000_000)
    }));
}

proptest! {
    #[test]
    fn any_list_is_read_and_no_password_shown(text in "[a-z:/@,|.\\[\\]0-9 ?#]{0,60}") {
        let _ = asked(&text, &[("HTTP_PROXY", &text), ("NO_PROXY", &text)]);
    }

    #[test]
    fn passwords_are_left_out(user in "[a-z]{1,8}", secret in "[A-Z]{3,12}") {
        let entry = format!("https://{user}:{secret}@a.example/x");
        let shown = format!("{:?}", asked(&entry, &[]));
        prop_assert!(!shown.contains(&secret), "{shown}");
    }
}
