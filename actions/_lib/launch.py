"""Run this checkout's tarsrelease under ``python -I``.

No module in the caller's directory, home or PYTHONPATH can shadow it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

if __name__ == "__main__":
    _, what, *arguments = sys.argv
    if what == "action":
        from tarsrelease.actions.main import main as action

        sys.exit(action(arguments[0]))
    from tarsrelease.cli import main

    main(arguments)
