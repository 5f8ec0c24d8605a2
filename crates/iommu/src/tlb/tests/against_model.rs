//! Against a list of entries that is searched from end to end.

use proptest::prelude::*;

use super::*;

/// So few that entries meet.
const PAGES: u64 = 40;

#[derive(Clone, Debug)]
enum Step {
    Insert(Line),
    /// Begins a walk; the last one begun can insert later.
    Begin,
    InsertLate(Line),
    Invalidate(Scope),
}

#[derive(Clone, Debug)]
struct Line {
    tag: u64,
    page: u64,
    size: PageSize,
    to: u64,
    marks: Marks,
}

impl Line {
    fn range(&self) -> IovaRange {
        pages(self.page, 1).align_out(self.size)
    }

    fn translated(&self) -> Translated {
        let aligned = Pa::new(self.to * PAGE.bytes()).align_down(self.size);
        Translated {
            page: aligned,
            ..leads_to(0, self.size)
        }
    }

    fn is_covered(&self, scope: &Scope) -> bool {
        let in_range = scope.range.is_none_or(|range| {
            let own = self.range();
            own.start() <= range.last() && range.start() <= own.last()
        });
        let with = scope.with == Marks::NONE || scope.with == self.marks;
        let without = scope.without == Marks::NONE || scope.without != self.marks;
        let tag = self.tag & scope.tags.mask == scope.tags.value & scope.tags.mask;
        tag && in_range && with && without
    }
}

#[derive(Default)]
struct Model(Vec<Line>);

impl Model {
    fn insert(&mut self, line: &Line) {
        let is_same = |other: &Line| {
            (other.tag, other.size, other.range()) == (line.tag, line.size, line.range())
        };
        self.0.retain(|other| !is_same(other));
        self.0.push(line.clone());
    }

    fn lookup(&self, tag: u64, iova: Iova) -> Option<&Line> {
        let all = self
            .0
            .iter()
            .filter(|line| line.tag == tag && line.range().contains(iova));
        all.min_by_key(|line| line.size)
    }
}

fn line() -> impl Strategy<Value = Line> {
    let size = prop_oneof![Just(12), Just(12), Just(14), Just(16)].prop_map(PageSize::from_log2);
    let marks = prop_oneof![Just(Marks::NONE), Just(GLOBAL)];
    (0..4_u64, 0..PAGES, size, 0..1_u64 << 40, marks).prop_map(|(tag, page, size, to, marks)| {
        Line {
            tag,
            page,
            size,
            to,
            marks,
        }
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    let tags = (
        0..4_u64,
        prop_oneof![Just(0), Just(1), Just(2), Just(u64::MAX)],
    )
        .prop_map(|(value, mask)| TagMatch { value, mask });
    let range = prop::option::weighted(0.8, (0..PAGES, 1..6_u64))
        .prop_map(|range| range.map(|(first, count)| pages(first, count)));
    let marks = || prop_oneof![3 => Just(Marks::NONE), 1 => Just(GLOBAL)];
    (tags, range, marks(), marks()).prop_map(|(tags, range, with, without)| Scope {
        tags,
        range,
        with,
        without,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => line().prop_map(Step::Insert),
        1 => Just(Step::Begin),
        2 => line().prop_map(Step::InsertLate),
        2 => scope().prop_map(Step::Invalidate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn finds_what_a_list_finds(steps in prop::collection::vec(step(), 1..120)) {
        let caches = [legal_maximum(), small(1), small(7), Tlb::new(Retention::Off)];
        let mut walks = caches.each_ref().map(Tlb::begin_walk);
        let mut model = Model::default();
        let mut since = Vec::new();
        for step in &steps {
            match step {
                Step::Begin => {
                    walks = caches.each_ref().map(Tlb::begin_walk);
                    since.clear();
                }
                Step::Insert(line) => {
                    for tlb in &caches {
                        tlb.begin_walk().insert(line.tag, iova(line.page), &line.translated(), line.marks);
                    }
                    model.insert(line);
                }
                Step::InsertLate(line) => {
                    for walk in &walks {
                        walk.insert(line.tag, iova(line.page), &line.translated(), line.marks);
                    }
                    if !since.iter().any(|scope| line.is_covered(scope)) && since.len() <= 64 {
                        model.insert(line);
                    }
                }
                Step::Invalidate(scope) => {
                    let before = model.0.len();
                    model.0.retain(|line| !line.is_covered(scope));
                    since.push(*scope);
                    let [all, small @ .., _] = caches.each_ref().map(|tlb| tlb.invalidate(scope));
                    prop_assert_eq!(all, before - model.0.len());
                    prop_assert!(small.iter().all(|removed| *removed <= all));
                }
            }
            let [all, small @ .., off] = &caches;
            prop_assert_eq!(all.entries(), model.0.len());
            for (tag, page) in (0..4).flat_map(|tag| (0..PAGES + 16).map(move |page| (tag, page))) {
                let expected = model.lookup(tag, iova(page)).map(|line| Cached {
                    translated: line.translated(),
                    marks: line.marks,
                });
                prop_assert_eq!(all.lookup(tag, iova(page)), expected);
                for small in small {
                    // The entry of a smaller page may be gone, and that of a larger one is found.
                    let found = small.lookup(tag, iova(page));
                    let is_there = |found: Cached| model.0.iter().any(|line| {
                        line.tag == tag && line.range().contains(iova(page))
                            && (line.translated(), line.marks) == (found.translated, found.marks)
                    });
                    prop_assert!(found.is_none_or(is_there));
                }
                prop_assert_eq!(off.lookup(tag, iova(page)), None);
            }
        }
    }
}
