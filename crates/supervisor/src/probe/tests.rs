use super::*;

#[test]
fn a_host_that_runs_the_tests_lacks_nothing_that_run_needs() {
    let missing: Vec<_> = probe()
        .into_iter()
        .filter(|finding| finding.verdict == Verdict::Missing)
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn every_lack_comes_with_advice() {
    for finding in probe() {
        assert_eq!(
            finding.advice.is_none(),
            finding.verdict == Verdict::Good,
            "{finding:?}"
        );
        assert!(!finding.found.is_empty(), "{finding:?}");
    }
}

#[test]
fn releases_are_compared_as_numbers() {
    assert_eq!(host::parse_release("6.18.44-fc-v769"), (6, 18));
    assert_eq!(host::parse_release("5.9"), (5, 9));
    assert_eq!(host::parse_release("7"), (7, 0));
    assert_eq!(host::parse_release("strange"), (0, 0));
    assert!(host::parse_release("5.19.0") > host::parse_release("5.9.0"));
}
