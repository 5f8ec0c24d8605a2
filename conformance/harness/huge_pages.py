"""Huge pages of 2 MiB for tests that map them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


class NotEnough(Exception):
    """Fewer huge pages are free than were asked for, and no more can be had."""


@contextmanager
def reserved(count: int, pool: Path) -> Iterator[None]:
    """Makes sure that `count` huge pages are free, and gives back afterwards what that took."""
    total = pool / "nr_hugepages"
    try:
        before = read(total)
    except OSError:
        raise NotEnough("this kernel has no huge pages of 2 MiB") from None
    try:
        grow(pool, count)
        yield
    finally:
        if read(total) != before:
            total.write_text(str(before))


def grow(pool: Path, count: int) -> None:
    """Makes the pool so large that `count` pages are free."""
    free, total = pool / "free_hugepages", pool / "nr_hugepages"
    if read(free) >= count:
        return
    try:
        total.write_text(str(read(total) + count - read(free)))
    except OSError as error:
        raise NotEnough(
            f"{read(free)} of {count} huge pages are free, and no more can be added:"
            f" {error.strerror}"
        ) from None
    if read(free) < count:
        raise NotEnough(f"only {read(free)} of {count} huge pages could be reserved")


def read(file: Path) -> int:
    return int(file.read_text())
