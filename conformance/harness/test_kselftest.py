import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import huge_pages
import kselftest
import process_tree

HARNESS = Path(__file__).parent

LISTING = """\
# FIXTURE            VARIANT                   TEST
global                                         
--------------------------------------------------------------------------------
plain                                          one
                                               two
--------------------------------------------------------------------------------
a_fixture_with_a_long_name few                       one
                     many                      two
                                               three
--------------------------------------------------------------------------------
single               red                       one
                     green                     
"""


class Listing(unittest.TestCase):
    def test_every_variant_is_combined_with_every_test(self):
        self.assertEqual(
            kselftest.instances(LISTING),
            ["plain.one", "plain.two"]
            + [
                f"a_fixture_with_a_long_name.{variant}.{test}"
                for variant in ("few", "many")
                for test in ("one", "two", "three")
            ]
            + ["single.red.one", "single.green.one"],
        )


class Runs(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.log = self.directory / "log"
        (self.directory / "fake.expected").write_text("needs huge-pages f.huge\n")

    def start(
        self, tests: str, *options: str, parent: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen:
        return subprocess.Popen(
            [*parent, sys.executable, HARNESS / "kselftest.py", *options, "--log", self.log]
            + ["--expected", self.directory / "fake", "--", HARNESS / "fake_program.py"],
            env=os.environ | {"FAKE_TESTS": tests} | environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run_tests(self, tests: str, *options: str, **environment: str) -> list[str]:
        process = self.start(tests, *options, **environment)
        printed, _ = process.communicate(timeout=60)
        return printed.splitlines()

    def test_each_outcome(self):
        self.assertEqual(
            self.run_tests("f.one=pass f.two=fail f.three=skip f.four=panic"),
            [
                "passed f.one",
                "failed f.two: fake.c:7:two:Expected 0 (0) == rc (-1)",
                "skipped f.three: not here",
                "failed f.four: src/fake.rs:7: left is not right",
            ],
        )
        self.assertIn("not ok 2 f.two", self.log.read_text())

    def test_a_crash_fails_one_test_and_loses_none(self):
        self.assertEqual(
            self.run_tests("f.one=pass f.two=crash f.three=pass"),
            [
                "passed f.one",
                "failed f.two: the process ended with status -6",
                "passed f.three",
            ],
        )

    def test_a_hang_fails_one_test_and_loses_none(self):
        self.assertEqual(
            self.run_tests("f.one=pass f.two=hang f.three=pass", "--test-limit", "1"),
            ["passed f.one", "failed f.two: nothing happened for 1 s", "passed f.three"],
        )

    def test_the_whole_run_is_limited(self):
        printed = self.run_tests("f.one=hang f.two=pass", "--limit", "1")
        self.assertEqual(printed[-1], "error the time limit of 1 s is over")
        self.assertNotIn("passed f.two", printed)

    def test_a_program_that_reports_nothing_does_not_run_forever(self):
        printed = self.run_tests("f.one=mute", FAKE_STATUS="0")
        self.assertEqual(printed, ["failed f.one: the process ended with status 0"])

    def test_a_test_without_a_verdict_is_not_passed(self):
        printed = self.run_tests("f.one=mute f.two=pass", FAKE_STATUS="0")
        self.assertNotIn("passed f.one", printed)
        self.assertTrue(any(line.startswith("error ") for line in printed))

    def test_the_exit_status_must_agree(self):
        self.assertEqual(
            self.run_tests("f.one=pass", FAKE_STATUS="3"),
            ["passed f.one", "error the process ended with status 3, but not in a test"],
        )

    def test_a_process_left_behind_is_an_error(self):
        self.assertEqual(
            self.run_tests("f.one=orphan"),
            ["passed f.one", "error processes were left behind: sleep"],
        )

    def test_without_huge_pages_the_tests_that_need_them_are_skipped(self):
        self.assertEqual(
            self.run_tests("f.one=pass f.huge=crash", "--huge-page-pool", "/nonexistent"),
            [
                "lacks huge-pages",
                "skipped f.huge: this kernel has no huge pages of 2 MiB",
                "passed f.one",
            ],
        )

    def test_a_stop_ends_everything(self):
        process = self.start("f.one=pass f.two=hang")
        self.assertEqual(process.stdout.readline(), "passed f.one\n")
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
        self.assertEqual(printed, "error stopped by SIGTERM\n")
        self.assertEqual(process.returncode, 1)

    def test_the_death_of_its_parent_ends_everything(self):
        parent = self.start("f.one=pass f.two=hang", parent=("sh", "-c", '"$@"; true', "sh"))
        self.assertEqual(parent.stdout.readline(), "passed f.one\n")
        parent.kill()
        printed, _ = parent.communicate(timeout=60)
        self.assertEqual(printed, "error stopped by SIGTERM\n")


class HugePages(unittest.TestCase):
    """With ordinary files in the place of the kernel's, so nothing that is written has an effect
    on the number of free pages."""

    def pool(self, total: int, free: int) -> Path:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        pool = Path(directory.name)
        (pool / "nr_hugepages").write_text(f"{total}\n")
        (pool / "free_hugepages").write_text(f"{free}\n")
        return pool

    def test_enough_free_pages_are_left_alone(self):
        pool = self.pool(total=100, free=80)
        with huge_pages.reserved(72, pool):
            self.assertEqual((pool / "nr_hugepages").read_text(), "100\n")

    def test_what_is_taken_is_given_back(self):
        pool = self.pool(total=100, free=0)
        with self.assertRaisesRegex(process_tree.Stopped, "SIGINT"):
            with huge_pages.reserved(0, pool):
                (pool / "nr_hugepages").write_text("172")
                raise process_tree.Stopped("SIGINT")
        self.assertEqual((pool / "nr_hugepages").read_text(), "100")

    def test_not_enough(self):
        pool = self.pool(total=100, free=10)
        with self.assertRaisesRegex(huge_pages.NotEnough, "10 of 72 huge pages"):
            with huge_pages.reserved(72, pool):
                self.fail("ran without its huge pages")
        self.assertEqual((pool / "nr_hugepages").read_text(), "100")

    def test_no_pool(self):
        with self.assertRaises(huge_pages.NotEnough):
            with huge_pages.reserved(1, Path("/nonexistent")):
                self.fail("ran without its huge pages")


if __name__ == "__main__":
    unittest.main()
