"""`gh workflow run` and `gh run watch` without GitHub: checks what is sent against the workflows.

    gh_stand_in.py ROOT ARGUMENT...

A field that the workflow in ROOT does not have, a missing one that it requires, or a value that is
no choice ends it with 1, as GitHub would refuse it. Prints the URL of the run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

NUMBER = "4711"


def main() -> int:
    root, arguments = Path(sys.argv[1]), sys.argv[2:]
    parser = argparse.ArgumentParser(prog="gh", allow_abbrev=False)
    kinds = parser.add_subparsers(dest="kind", required=True)
    workflow = kinds.add_parser("workflow").add_subparsers(dest="verb", required=True)
    run = workflow.add_parser("run")
    run.add_argument("file")
    run.add_argument("--ref", required=True)
    run.add_argument("--field", action="append", default=[])
    watch = kinds.add_parser("run").add_subparsers(dest="verb", required=True).add_parser("watch")
    watch.add_argument("number")
    watch.add_argument("--exit-status", action="store_true", required=True)
    given = parser.parse_args(arguments)
    if given.kind == "run":
        return 0 if given.number == NUMBER else 1
    content = yaml.safe_load((root / ".github" / "workflows" / given.file).read_text())
    inputs = content[True]["workflow_dispatch"]["inputs"]  # PyYAML reads `on` as true
    fields = dict(field.split("=", 1) for field in given.field)
    wrong = [name for name in fields if name not in inputs]
    wrong += [n for n, each in inputs.items() if each.get("required") and n not in fields]
    wrong += [n for n, text in fields.items() if text not in inputs[n].get("options", [text])]
    if wrong:
        print(f"gh: {given.file}: {wrong}", file=sys.stderr)
        return 1
    print(f"https://github.com/tars-ai/tars/actions/runs/{NUMBER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
