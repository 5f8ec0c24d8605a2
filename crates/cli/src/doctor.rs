//! `swiommu doctor`.

use std::io::{Write, stdout};

use swiommu_supervisor::{Advice, Finding, Verdict, probe};

use crate::OWN_FAILURE;

/// Prints what the host offers, and for what is not as it should be, what that costs and how to mend it. Returns the exit code:
/// 0 when programs can be run.
pub(crate) fn print() -> u8 {
    let findings = probe();
    let text: String = findings.iter().map(described).collect();
    let worst = findings.iter().map(|finding| finding.verdict).max();
    let (summary, code) = match worst {
        Some(Verdict::Missing) => ("Programs cannot be run here.", OWN_FAILURE),
        Some(Verdict::Limited) => ("Programs can be run here, with the limits above.", 0),
        Some(Verdict::Good) | None => ("All is well.", 0),
    };
    // Whether anybody reads it changes nothing.
    let _ = writeln!(stdout(), "{text}\n{summary}");
    code
}

fn described(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Good => "good   ",
        Verdict::Limited => "limited",
        Verdict::Missing => "MISSING",
    };
    let text = format!("{mark}  {}: {}\n", finding.subject, finding.found);
    let Some(Advice { cost, remedy }) = finding.advice else {
        return text;
    };
    format!("{text}         what it costs: {cost}\n         how to mend it: {remedy}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_is_printed_with_its_cost_and_its_remedy() {
        let finding = Finding {
            subject: "huge pages",
            found: "none".to_owned(),
            verdict: Verdict::Limited,
            advice: Some(Advice {
                cost: "some tests are skipped",
                remedy: "reserve some",
            }),
        };
        let text = described(&finding);
        assert!(text.starts_with("limited  huge pages: none\n"), "{text}");
        assert!(text.contains("costs: some tests are skipped\n"), "{text}");
        assert!(text.contains("mend it: reserve some\n"), "{text}");
    }
}
