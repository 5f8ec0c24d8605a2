//! What programs have met: which calls with which answers. Programs that all fail early would prove nothing.

use std::collections::BTreeMap;
use std::fmt;

use swiommu_abi::Errno;

use crate::reply::Reply;
use crate::step::Step;

/// How often each call gave each answer.
#[derive(Clone, Default)]
pub(crate) struct Met {
    answers: BTreeMap<(String, Option<Errno>), u64>,
}

impl Met {
    pub(crate) fn note(&mut self, step: &Step, reply: &Reply) {
        let name = format!("{step:?}");
        let name = name.split(' ').next().unwrap_or_default().to_owned();
        *self.answers.entry((name, reply.error)).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
    }

    /// The calls that never succeeded.
    pub(crate) fn never_succeeded(&self) -> Vec<&str> {
        let names = self.answers.keys().map(|(name, _)| name);
        let succeeded = |name: &&String| self.answers.contains_key(&((*name).clone(), None));
        names
            .filter(|name| !succeeded(name))
            .map(String::as_str)
            .collect()
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((name, error), count) in &self.answers {
            if name != last {
                write!(f, "\n{name:20}")?;
                last = name;
            }
            match error {
                None => write!(f, " ok {count}")?,
                Some(errno) => write!(f, ", {errno} {count}")?,
            }
        }
        writeln!(f)
    }
}
