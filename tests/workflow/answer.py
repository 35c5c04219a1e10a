"""What a traced action runs: writes down the call, and answers as answers.json says."""

import json
import os
import sys
from pathlib import Path

TRACE = Path(os.environ["TRACED"])
job, action = os.environ["GITHUB_JOB"], sys.argv[1]
inputs = {name: text for name, text in json.loads(os.environ["INPUTS"]).items() if text}
with TRACE.open("a") as file:
    file.write(json.dumps({"job": job, "action": action, "inputs": inputs}) + "\n")
answers = json.loads((TRACE.parent / "answers.json").read_text())
answer = answers.get(f"{job}/{action}", "proceed")
outputs = {"verdict": answer if isinstance(answer, str) else "rollback", "tarsrelease": "x"}
if action == "plan":
    stages = [int(text) for text in inputs["stages"].split(",")]
    outputs["plan"] = json.dumps(
        {
            "release": "release/v1_0_1",
            "count": len(stages) - 1,
            "weights": stages[:-1],
            "stages": inputs["stages"],
            "stage_duration": "20s",
            "feature_flags": "false",
        }
    )
if not (action == "plan" and isinstance(answer, int)):
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in outputs.items())
sys.exit(answer if isinstance(answer, int) else 0)
