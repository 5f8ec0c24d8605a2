//! Classic BPF for seccomp, written as a decision tree.

/// A 32-bit word of `struct seccomp_data`, by its offset. The machine is little-endian, so an argument's low half comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(u32);

impl Word {
    /// The system call's number.
    pub(crate) const NUMBER: Self = Self(0);
    /// The architecture (`AUDIT_ARCH_*`).
    pub(crate) const ARCH: Self = Self(4);

    /// The low half of the argument with this index, 0 to 5.
    pub(crate) const fn argument(index: u32) -> Self {
        Self(16 + 8 * index)
    }

    /// The high half of the argument with this index.
    pub(crate) const fn argument_high(index: u32) -> Self {
        Self(20 + 8 * index)
    }
}

/// A comparison of the loaded word with a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Test {
    Equal(u32),
    AtLeast(u32),
    AnyBitOf(u32),
}

/// What happens to a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// It runs as if there were no filter.
    Allow,
    /// It waits for the supervisor.
    Notify,
}

/// A decision: the tree that a filter is compiled from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    Do(Action),
    /// Loads a word, then decides.
    Load(Word, Box<Decision>),
    /// Masks the loaded word, then decides.
    Mask(u32, Box<Decision>),
    /// Decides by a comparison of the loaded word.
    If {
        test: Test,
        then: Box<Decision>,
        otherwise: Box<Decision>,
    },
}

impl Decision {
    /// Decides by a comparison of the loaded word.
    pub(crate) fn when(test: Test, then: Self, otherwise: Self) -> Self {
        Self::If {
            test,
            then: Box::new(then),
            otherwise: Box::new(otherwise),
        }
    }

    /// `inside` when the loaded word lies in `first..=last`, else allows.
    pub(crate) fn within(first: u32, last: u32, inside: Self) -> Self {
        let allow = Self::Do(Action::Allow);
        let not_above = Self::when(Test::AtLeast(last + 1), allow.clone(), inside);
        Self::when(Test::AtLeast(first), not_above, allow)
    }

    /// Decides about another word.
    pub(crate) fn of(self, word: Word) -> Self {
        Self::Load(word, Box::new(self))
    }

    /// Decides about some bits of the loaded word.
    pub(crate) fn masked(self, mask: u32) -> Self {
        Self::Mask(mask, Box::new(self))
    }

    /// Decides by the loaded word: as its case says, or allows it if there is none. The cases are sorted.
    pub(crate) fn search(cases: &[(u32, Self)]) -> Self {
        let mut segments = vec![Segment::new(0, Self::Do(Action::Allow))];
        for (key, decision) in cases {
            segments.push(Segment::new(*key, decision.clone()));
            segments.push(Segment::new(key + 1, Self::Do(Action::Allow)));
        }
        // A case that follows another leaves no gap between them, and neighbours that decide alike are one.
        segments.dedup_by(|next, segment| {
            let replaces = segment.start == next.start;
            if replaces {
                segment.decision = next.decision.clone();
            }
            replaces
        });
        segments.dedup_by(|next, segment| next.decision == segment.decision);
        Self::find(&segments)
    }

    fn find(segments: &[Segment]) -> Self {
        if let [only] = segments {
            return only.decision.clone();
        }
        let (below, rest) = segments.split_at(balance(segments));
        let start = rest.first().map_or(0, |segment| segment.start);
        Self::when(Test::AtLeast(start), Self::find(rest), Self::find(below))
    }

    /// The instructions.
    pub(crate) fn assemble(&self) -> Vec<libc::sock_filter> {
        match self {
            Self::Do(action) => {
                let value = match action {
                    Action::Allow => libc::SECCOMP_RET_ALLOW,
                    Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
                };
                vec![statement(libc::BPF_RET | libc::BPF_K, value)]
            }
            Self::Load(word, next) => prefixed(
                statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, word.0),
                next,
            ),
            Self::Mask(mask, next) => prefixed(
                statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, *mask),
                next,
            ),
            Self::If {
                test,
                then,
                otherwise,
            } => branch(*test, then.assemble(), otherwise.assemble()),
        }
    }
}

/// The words from `start` up to the next segment, about which the same is decided.
struct Segment {
    start: u32,
    decision: Decision,
}

impl Segment {
    fn new(start: u32, decision: Decision) -> Self {
        Self { start, decision }
    }

    /// How much it matters to find it soon. What is decided without a look at arguments is either not even run through the filter, or
    /// waits for the supervisor anyway.
    fn weight(&self) -> usize {
        match self.decision {
            Decision::Do(_) => 1,
            _ => 16,
        }
    }
}

/// Where to split two or more segments so that both sides weigh about the same.
fn balance(segments: &[Segment]) -> usize {
    let total: usize = segments.iter().map(Segment::weight).sum();
    let below = |split: usize| segments[..split].iter().map(Segment::weight).sum::<usize>();
    (1..segments.len())
        .min_by_key(|split| (2 * below(*split)).abs_diff(total))
        .unwrap_or(1)
}

fn prefixed(first: libc::sock_filter, next: &Decision) -> Vec<libc::sock_filter> {
    let mut program = vec![first];
    program.extend(next.assemble());
    program
}

fn branch(
    test: Test,
    then: Vec<libc::sock_filter>,
    otherwise: Vec<libc::sock_filter>,
) -> Vec<libc::sock_filter> {
    let (compare, value) = match test {
        Test::Equal(value) => (libc::BPF_JEQ, value),
        Test::AtLeast(value) => (libc::BPF_JGE, value),
        Test::AnyBitOf(value) => (libc::BPF_JSET, value),
    };
    let mut jump = statement(libc::BPF_JMP | compare | libc::BPF_K, value);
    let mut program = Vec::with_capacity(then.len() + otherwise.len() + 2);
    if let Ok(distance) = u8::try_from(then.len()) {
        jump.jf = distance;
        program.push(jump);
    } else {
        // A conditional jump spans 255 instructions; an unconditional one takes it further.
        jump.jt = 1;
        program.push(jump);
        let distance = u32::try_from(then.len()).unwrap_or(u32::MAX);
        program.push(statement(libc::BPF_JMP | libc::BPF_JA, distance));
    }
    program.extend(then);
    program.extend(otherwise);
    program
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        jf: 0,
        k,
    }
}
