"""`python -m tarsrelease.rehearsal.setup`: fill the cache; called by scripts/setup."""

from __future__ import annotations

import sys
import time

from tarsrelease.model.errors import ReleaseError
from tarsrelease.rehearsal.paths import cache_root
from tarsrelease.rehearsal.prepare import fill


def main() -> int:
    """Fill the cache, saying what is done on standard error; the exit code."""
    try:
        fill(cache_root(), time.time(), lambda text: print(text, file=sys.stderr, flush=True))
    except ReleaseError as error:
        detail = error.detail
        print(f"{detail.doing}: found {detail.found}; expected {detail.expected}", file=sys.stderr)
        print(f"next: {detail.next}", file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
