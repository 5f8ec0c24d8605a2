//! What the host offers: everything that `run` builds on, what its lack costs, and how to mend it.

mod host;
mod limits;
mod trial;

#[cfg(test)]
mod tests;

pub(crate) use host::{release, release_name, sysctl};

/// How well a thing works here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// As it should.
    Good,
    /// Something is slower, smaller or missing, and the advice says what.
    Limited,
    /// Programs cannot be run under supervision.
    Missing,
}

/// What to know about a lack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advice {
    /// What it costs.
    pub cost: &'static str,
    /// How to mend it.
    pub remedy: &'static str,
}

/// One thing that the host offers, or does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub found: String,
    /// How well it works.
    pub verdict: Verdict,
    /// What its lack costs and how to mend it; for a good finding, `None`.
    pub advice: Option<Advice>,
}

impl Finding {
    fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            subject,
            found: found.into(),
            verdict: Verdict::Good,
            advice: None,
        }
    }

    fn lacks(
        verdict: Verdict,
        subject: &'static str,
        found: impl Into<String>,
        advice: Advice,
    ) -> Self {
        Self {
            subject,
            found: found.into(),
            verdict,
            advice: Some(advice),
        }
    }

    /// Good if so, else limited.
    fn limited_unless(
        good: bool,
        subject: &'static str,
        found: impl Into<String>,
        advice: Advice,
    ) -> Self {
        if good {
            Self::good(subject, found)
        } else {
            Self::lacks(Verdict::Limited, subject, found, advice)
        }
    }
}

/// Looks at the host. It forks a child, as [`run`](crate::run) does, so it is meant for a program's main thread.
pub fn probe() -> Vec<Finding> {
    let mut findings = vec![host::kernel()];
    findings.extend(trial::findings());
    findings.extend(host::findings());
    findings.extend(limits::findings());
    findings
}
