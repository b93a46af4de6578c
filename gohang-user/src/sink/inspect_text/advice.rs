//! Advice as text.

use super::Page;
use crate::advice::Advice;
use crate::report::Severity;

/// One block for each.
pub(super) fn add(page: &mut Page, advice: &[Advice]) {
    for one in advice {
        let severity = match one.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        };
        page.line(&format!("  {severity}: {} [{}]", one.what, one.rule));
        page.row("why", &one.why);
        let set = &one.set;
        for (form, text) in [
            ("set (systemd)", &set.systemd),
            ("set (Kubernetes)", &set.kubernetes),
            ("set (Docker)", &set.docker),
            ("set (Go)", &set.go),
        ] {
            if let Some(text) = text {
                page.row(form, text);
            }
        }
        page.row("effect", &one.effect);
        page.row("formula", &one.formula);
        page.row("source", &one.source);
    }
}
