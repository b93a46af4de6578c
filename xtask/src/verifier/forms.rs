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

/// A shell script that starts `gohang` once in each form with `preload`, and notes it all.
pub fn script(gohang: &str, preload: &str) -> String {
    let file = format!("/out/{FILE_NAME}");
    let mut script = String::new();
    for Form { name, arguments } in &FORMS {
        let _ = write!(
            script,
            "echo 'form {name}' >> {file}\n\
             GOHANG_VERIFIER_LOG={file} LD_PRELOAD={preload} \
             {gohang} trace -d 1ms {arguments} > /dev/null 2> /tmp/said\n\
             echo \"exit $?\" >> {file}\n\
             sed 's/^/said /' /tmp/said >> {file}\n"
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_started_once() {
        let script = script("/g", "/p.so");
        let starts = script.matches("LD_PRELOAD=/p.so /g trace -d 1ms --throttle-source ");
        assert_eq!(starts.count(), FORMS.len());
        for form in &FORMS {
            assert!(script.contains(&format!("'form {}'", form.name)));
        }
    }
}
