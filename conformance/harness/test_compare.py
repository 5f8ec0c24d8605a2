import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import compare
import expectations
from expectations import Expectations, Malformed

EXPECTED = """
instances 5
fails f.broken    # for now
skips f.nothing
needs huge-pages f.huge
needs CAP_X f.privileged
"""
AS_EXPECTED = {
    "f.plain": "passed",
    "f.broken": "failed",
    "f.nothing": "skipped",
    "f.huge": "passed",
    "f.privileged": "passed",
}


def expected() -> Expectations:
    result = Expectations()
    for line in EXPECTED.splitlines():
        result.add(line)
    return result


def judge(outcomes: dict[str, str], *others: str, no_skips: bool = False) -> tuple[int, list[str]]:
    """The exit status, and what is printed after the results."""
    lines = [*others, *(f"{outcome} {test}: why" for test, outcome in outcomes.items())]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = compare.compare(compare.Comparison(expected(), no_skips), lines)
    return status, printed.getvalue().splitlines()[len(lines) :]


class ExpectedResults(unittest.TestCase):
    def test_what_is_expected_is_no_difference(self):
        self.assertEqual(judge(AS_EXPECTED), (0, ["3 passed, 1 failed, 1 skipped"]))

    def test_what_the_machine_lacks_may_skip_or_fail(self):
        status, printed = judge(
            AS_EXPECTED | {"f.huge": "skipped", "f.privileged": "failed"},
            "lacks huge-pages",
            "lacks CAP_X",
        )
        self.assertEqual((status, printed), (0, ["1 passed, 2 failed, 2 skipped"]))


class Differences(unittest.TestCase):
    def assert_difference(self, difference: str, *arguments, **options):
        status, printed = judge(*arguments, **options)
        self.assertEqual(status, 1)
        self.assertIn(difference, printed[:-1])
        self.assertRegex(printed[-1], r"^\d+ passed, \d+ failed, \d+ skipped$")

    def test_unexpected_failure(self):
        self.assert_difference(
            "unexpected failure: f.plain (why)", AS_EXPECTED | {"f.plain": "failed"}
        )

    def test_unexpected_pass(self):
        self.assert_difference(
            "unexpected pass: f.broken: take it off the list", AS_EXPECTED | {"f.broken": "passed"}
        )

    def test_unexpected_skip(self):
        self.assert_difference(
            "unexpected skip: f.plain (why)", AS_EXPECTED | {"f.plain": "skipped"}
        )

    def test_a_failure_for_want_of_what_is_there(self):
        self.assert_difference(
            "unexpected failure: f.huge (why)", AS_EXPECTED | {"f.huge": "failed"}, "lacks CAP_X"
        )

    def test_a_pass_without_what_the_test_is_said_to_need(self):
        self.assert_difference(
            "unexpected pass: f.privileged: listed as needing CAP_X", AS_EXPECTED, "lacks CAP_X"
        )

    def test_a_skip_where_none_is_accepted(self):
        self.assert_difference(
            "unexpected skip: f.huge (why)",
            AS_EXPECTED | {"f.huge": "skipped"},
            "lacks huge-pages",
            no_skips=True,
        )

    def test_missing_although_listed(self):
        outcomes = {test: outcome for test, outcome in AS_EXPECTED.items() if test != "f.broken"}
        self.assert_difference("missing: f.broken is listed but was not reported", outcomes)

    def test_fewer_than_expected(self):
        outcomes = {test: outcome for test, outcome in AS_EXPECTED.items() if test != "f.plain"}
        self.assert_difference("missing: 5 results were expected, 4 were reported", outcomes)

    def test_nothing_at_all(self):
        self.assert_difference("missing: 5 results were expected, 0 were reported", {})

    def test_more_than_expected(self):
        self.assert_difference(
            "missing: 5 results were expected, 6 were reported", AS_EXPECTED | {"f.new": "passed"}
        )

    def test_reported_twice(self):
        self.assert_difference("reported twice: f.plain", AS_EXPECTED, "passed f.plain")

    def test_an_error_outside_all_tests(self):
        self.assert_difference("error: the roof fell in", AS_EXPECTED, "error the roof fell in")

    def test_what_is_not_a_result(self):
        self.assert_difference("error: not a result: hello", AS_EXPECTED, "hello")


class Files(unittest.TestCase):
    def read(self, expected: str, unprivileged: str | None = None) -> Expectations:
        with tempfile.TemporaryDirectory() as directory:
            name = Path(directory) / "program"
            name.with_suffix(".expected").write_text(expected)
            if unprivileged is not None:
                name.with_suffix(".unprivileged").write_text(unprivileged)
            return expectations.read(str(name))

    def test_both_files_count(self):
        both = self.read("instances 2\nneeds a f.one\n", "needs b f.one\nneeds b f.two\n")
        self.assertEqual(both.instances, 2)
        self.assertEqual(both.needing("b"), {"f.one", "f.two"})
        self.assertEqual(both.needs["f.one"], {"a", "b"})

    def test_a_line_that_says_nothing_is_refused(self):
        for line in ("fail f.one", "instances many", "needs f.one", "fails f.one f.two"):
            with self.assertRaisesRegex(Malformed, f"program.expected:2: {line}"):
                self.read(f"instances 1\n{line}\n")

    def test_a_line_that_contradicts_another_is_refused(self):
        for lines in ("fails f.one\nskips f.one", "fails f.one\nfails f.one", "instances 2"):
            with self.assertRaises(Malformed):
                self.read(f"instances 1\n{lines}\n")


if __name__ == "__main__":
    unittest.main()
