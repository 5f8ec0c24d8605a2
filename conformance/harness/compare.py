#!/usr/bin/env python3
"""Compares what a program reports on standard input with what is expected of it.

A reported line is one of

    passed TEST
    failed TEST: REASON
    skipped TEST: REASON
    lacks WHAT              this machine lacks something that tests may need
    error TEXT              something went wrong that is no single test's fault

Prints the results as they come, then one line for each difference, then the totals.
"""

import argparse
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable

import expectations
from expectations import Expectations

RESULT = re.compile(r"(passed|failed|skipped) ([^\s:]+)(?:: (.*))?")


class Comparison:
    """The results so far, and how they differ from the expected ones."""

    def __init__(self, expected: Expectations, no_skips: bool = False):
        self.expected = expected
        self.no_skips = no_skips
        self.outcomes: dict[str, str] = {}
        self.lacks: set[str] = set()
        self.differences: list[str] = []

    def take(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        result = RESULT.fullmatch(line)
        if kind == "lacks" and rest:
            self.lacks.add(rest)
        elif kind == "error" and rest:
            self.differences.append(f"error: {rest}")
        elif result is None:
            self.differences.append(f"error: not a result: {line}")
        elif result[2] in self.outcomes:
            self.differences.append(f"reported twice: {result[2]}")
        else:
            outcome, test, reason = result.groups()
            self.outcomes[test] = outcome
            self.judge(outcome, test, f" ({reason})" if reason else "")

    def judge(self, outcome: str, test: str, reason: str) -> None:
        lacking = sorted(self.expected.needs.get(test, set()) & self.lacks)
        if outcome == "passed":
            if test in self.expected.fails | self.expected.skips:
                self.differences.append(f"unexpected pass: {test}: take it off the list")
            elif lacking:
                self.differences.append(
                    f"unexpected pass: {test}: listed as needing {', '.join(lacking)}"
                )
        elif outcome == "failed":
            if test not in self.expected.fails and not lacking:
                self.differences.append(f"unexpected failure: {test}{reason}")
        elif test not in self.expected.skips and (self.no_skips or not lacking):
            self.differences.append(f"unexpected skip: {test}{reason}")

    def finish(self) -> None:
        for test in sorted(self.expected.names() - self.outcomes.keys()):
            self.differences.append(f"missing: {test} is listed but was not reported")
        if len(self.outcomes) != self.expected.instances:
            self.differences.append(
                f"missing: {self.expected.instances} results were expected,"
                f" {len(self.outcomes)} were reported"
            )

    def totals(self) -> str:
        count = Counter(self.outcomes.values())
        return f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"


def compare(comparison: Comparison, lines: Iterable[str]) -> int:
    for line in map(str.rstrip, lines):
        print(line, flush=True)
        comparison.take(line)
    comparison.finish()
    for difference in comparison.differences:
        print(difference)
    print(comparison.totals())
    return 1 if comparison.differences else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("expected", help="conformance/NAME, without the suffix")
    parser.add_argument("--no-skips", action="store_true", help="accept no skip for a lack")
    options = parser.parse_args()
    # What stops the program also ends its output, which is still to be summed up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    expected = expectations.read(options.expected)
    return compare(Comparison(expected, options.no_skips), sys.stdin)


if __name__ == "__main__":
    sys.exit(main())
