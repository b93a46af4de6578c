//! The forms in which gohang loads its programs: constants that it sets before decide what
//! the verifier has to look at.

use std::fmt::Write as _;

/// A form, and the command line that asks for it.
#[derive(Debug)]
pub struct Form {
    /// Its name in output and in the table.
    pub name: &'static str,
    /// Arguments of `gohang trace`.
    arguments: &'static str,
}

/// Every step of the ladder (gohang-user/src/probe/ladder.rs). On each kernel the first
/// that it can do is the one that gohang takes by itself.
pub const FORMS: [Form; 4] = [
    Form {
        name: "thread-exact",
        arguments: "--throttle-source thread-exact",
    },
    Form {
        name: "thread-exact-without-queue-hooks",
        arguments: "--throttle-source thread-exact --no-queue-hooks",
    },
    Form {
        name: "cfs-rq-overlay",
        arguments: "--throttle-source cfs-rq-overlay",
    },
    Form {
        name: "switch-point-estimate",
        arguments: "--throttle-source switch-point-estimate",
    },
];

/// The file that takes what is said, among those that a machine hands back.
pub const FILE_NAME: &str = "verifier";

/// Which of the forms are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All that the kernel can do.
    All,
    /// The first of them, which gohang takes by itself.
    First,
}

/// A shell script that starts `gohang` once in each form that is wanted with `preload`, and
/// notes it all. Meanwhile the Go program `stall` sleeps: what gohang probes in such programs
/// is loaded once there is one.
pub fn script(gohang: &str, preload: &str, stall: &str, wanted: Wanted) -> String {
    let file = format!("/out/{FILE_NAME}");
    let more = match wanted {
        Wanted::All => "true",
        Wanted::First => "[ \"$form_status\" != 0 ]",
    };
    let mut script = format!(
        "form_status=none\n\
         {stall} sleep 3600 > /dev/null &\n\
         stall=$!\n"
    );
    for Form { name, arguments } in &FORMS {
        let _ = write!(
            script,
            "if {more}; then\n\
             echo 'form {name}' >> {file}\n\
             GOHANG_VERIFIER_LOG={file} LD_PRELOAD={preload} \
             {gohang} trace -d 1ms {arguments} > /dev/null 2> /tmp/said\n\
             form_status=$?\n\
             echo \"exit $form_status\" >> {file}\n\
             sed 's/^/said /' /tmp/said >> {file}\n\
             fi\n"
        );
    }
    script.push_str("kill $stall 2> /dev/null || :\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_started_once() {
        let script = script("/g", "/p.so", "/stall", Wanted::All);
        let starts = script.matches("LD_PRELOAD=/p.so /g trace -d 1ms --throttle-source ");
        assert_eq!(starts.count(), FORMS.len());
        for form in &FORMS {
            assert!(script.contains(&format!("'form {}'", form.name)));
        }
    }

    #[test]
    fn the_first_form_that_works_is_the_last_to_be_started() {
        // What stands in for gohang cannot do the first form.
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let body =
            "#!/bin/sh\n[ \"$5\" != thread-exact ] || [ \"$6\" = --no-queue-hooks ] || exit 3\n";
        std::fs::write(path("gohang"), body).expect("written");
        let script = script(&format!("sh {}", path("gohang")), "", "true", Wanted::First)
            .replace("/out/", &path(""))
            .replace("/tmp/said", &path("said"));
        let status = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .status();
        assert!(status.expect("sh").success());
        let noted = std::fs::read_to_string(path(FILE_NAME)).expect("notes");
        let forms: Vec<&str> = noted.lines().collect();
        assert_eq!(
            forms,
            [
                "form thread-exact",
                "exit 3",
                "form thread-exact-without-queue-hooks",
                "exit 0"
            ]
        );
    }
}
