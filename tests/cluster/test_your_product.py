"""A product that nobody here wrote: podinfo, as docs/your-product.md releases it, typed as it is.

`init`, `bundle build`, `doctor` and `rehearse --images` without editing a generated file: a good
version is promoted, and one started with `--random-error` is rolled back, as is one whose canary is
asked for `/status/500`. `init` also looks at the running cluster itself, and a chart whose `lookup`
is never called is promoted on it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import tutorial
from tarsrelease.rehearsal import commands

pytestmark = [pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(1800)]


_DOWN = "tarsrelease rehearse down"
INIT_ON_THE_CLUSTER = """\
tarsrelease rehearse shell --name podinfo -- tarsrelease init --chart charts/podinfo \\
  --version 6.9.4 --repository example/podinfo
"""
SECRET = """\
{{- define "podinfo.password" -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace "podinfo" -}}
{{- if $old }}{{ $old.data.password }}{{ else }}{{ randAlphaNum 12 }}{{ end }}
{{- end }}
{{- if not (.Values.auth).existingSecret }}
apiVersion: v1
kind: Secret
metadata: {name: '{{ .Release.Name }}'}
data: {password: '{{ include "podinfo.password" . | b64enc }}'}
{{- end }}
"""
WITH_A_LOOKUP = f"""\
cat > charts/podinfo/templates/secret.yaml <<'END'
{SECRET}END
echo 'auth: {{existingSecret: podinfo}}' >> charts/podinfo/values.yaml
rm -r release/v6_9_3
git add --all && git commit --quiet --message "Release 6.9.4"
tarsrelease bundle build --source charts --version 6.9.4 --out release/v6_9_4 \
  --digest podinfo=sha256:{"4" * 64}
tarsrelease rehearse --name podinfo --release release/v6_9_4 --environment production \
  --images images.yaml --rate 100 --path / --path /api/info
"""
STABLE_FAILS_TOO = """\
tarsrelease rehearse --name podinfo --release release/v6_9_2 --environment production \
  --images images.yaml --rate 100 --path / --path /status/500 || test $? -eq 2
"""


def test_podinfo_is_promoted_and_its_faulty_version_is_rolled_back(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "product"
    folder.mkdir()
    started = time.monotonic()
    try:
        more = INIT_ON_THE_CLUSTER + STABLE_FAILS_TOO + WITH_A_LOOKUP
        *before, last = tutorial.script().rpartition(f"echo '+' '{_DOWN}")
        code = tutorial.run(folder, f"{before[0]}{more}{before[1]}{last}", log)
    finally:
        commands.down("podinfo", lambda _: None, keep_logs=False)
    text = log.read_text()
    print(f"the tutorial took {time.monotonic() - started:.0f} s")
    assert code == 0, text[-6000:]
    assert "6.9.2 is promoted and serves all requests" in text
    assert "PROCEED  doctor" in text
    ends = [
        json.loads(line)["outcome"]
        for line in (folder / "evidence/evidence.jsonl").read_text().splitlines()
    ]
    verdicts = [end["verdict"] for end in ends if end["step"] == "rehearse"]
    assert verdicts == ["proceed", "rollback", "rollback", "proceed"]
    assert "6.9.4 is promoted and serves all requests" in text
    assert "it never answers /status/500 with a status of 2xx" in text
    assert "--canary-path /status/500" in text
    assert "read the metrics of pod podinfo-" in text
    assert "the Gateway gateway has the address 10.42.0.1" in text
