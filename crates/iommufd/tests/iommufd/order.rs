//! Which error a call fails with that breaks several rules.

use swiommu_abi::{Errno, UapiStruct};

use crate::fixture::{World, errno};

/// The rules of a call in the order in which they are checked, each as a change that breaks it.
pub(crate) struct Rules<'a, T> {
    call: T,
    rules: Vec<Rule<'a, T>>,
}

struct Rule<'a, T> {
    errno: Errno,
    what: &'static str,
    break_it: Box<dyn Fn(&mut T) + 'a>,
}

impl<'a, T: UapiStruct> Rules<'a, T> {
    /// Those of a call that breaks none.
    pub(crate) fn of(call: T) -> Self {
        Self {
            call,
            rules: Vec::new(),
        }
    }

    /// The next one.
    pub(crate) fn rule(
        mut self,
        errno: Errno,
        what: &'static str,
        break_it: impl Fn(&mut T) + 'a,
    ) -> Self {
        self.rules.push(Rule {
            errno,
            what,
            break_it: Box::new(break_it),
        });
        self
    }

    /// Breaks each rule alone, and then each together with every later one, of which the earlier must win. A call that fails
    /// changes nothing and writes nothing. In the end the call must succeed as it is.
    #[track_caller]
    pub(crate) fn check(self, w: &World, request: u32) {
        let before = w.state();
        for (n, rule) in self.rules.iter().enumerate() {
            self.refuse(w, request, &[rule]);
            for later in &self.rules[n + 1..] {
                self.refuse(w, request, &[later, rule]);
            }
        }
        assert_eq!(w.state(), before, "the calls that failed changed something");
        let mut call = self.call;
        w.iommu
            .ioctl(request, &mut call)
            .expect("the call that breaks no rule");
    }

    /// Makes the call with these rules broken, the last of which must be the one that is noticed.
    #[track_caller]
    fn refuse(&self, w: &World, request: u32, broken: &[&Rule<'a, T>]) {
        let mut sent = self.call;
        let mut expected = None;
        for rule in broken {
            (rule.break_it)(&mut sent);
            expected = Some(rule.errno);
        }
        let names: Vec<&str> = broken.iter().map(|rule| rule.what).collect();
        let mut left = sent;
        let refused = errno(w.iommu.ioctl(request, &mut left));
        assert_eq!(Some(refused), expected, "broken: {names:?}");
        assert_eq!(
            left.as_bytes(),
            sent.as_bytes(),
            "written, though broken: {names:?}"
        );
    }
}
