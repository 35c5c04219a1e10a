"""The dashboard in headless Chromium: it is accessible, and loads nothing from elsewhere.

Needs chromium, and axe-core as the package axe-playwright-python bundles it; skipped without them.
"""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))

from day_world import DayWorld, Unattended
from test_fleet_page import NOW, board

from tarsrelease.report.dashboard import page
from tarsrelease.report.fleet_page import fleet_page
from tarsrelease.steps.dashboard import dashboard

pytestmark = pytest.mark.full

_TELL = """
function tell(found) {
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
}
"""
_AUDIT = """
axe.run(document).then((found) => tell({
  violations: found.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.html)]),
  passes: found.passes.length,
  requests: performance.getEntriesByType("resource").map((r) => r.name),
}));
"""
_UPDATE = """
const checks = () => document.querySelector('[aria-label="Checks of the last gate"]');
const before = checks();
before.scrollLeft = 40;
before.focus();
source.onmessage({data: JSON.stringify({at: "later", content: now.innerHTML})});
tell({
  replaced: checks() !== before,
  scrolled: checks().scrollLeft,
  focused: document.activeElement === checks(),
});
"""


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no chromium on this machine")


def axe() -> str:
    """The script of axe-core: of an installed package, or the file in AXE_CORE."""
    if given := os.environ.get("AXE_CORE"):
        return Path(given).read_text()
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("no axe-core: pip install --no-deps axe-playwright-python, or set AXE_CORE")
    return (Path(spec.origin).parent / "axe.min.js").read_text()


def audited(shown: str, folder: Path, *more: str) -> dict[str, Any]:
    """What axe found, with the page as it is but its policy, which refuses axe's script."""
    shown = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", shown)
    return answered(shown, folder, axe(), _AUDIT, more=more)


def answered(shown: str, folder: Path, *scripts: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the scripts tell at the end of the page."""
    added = "".join(f"<script>{each}</script>" for each in (_TELL, *scripts))
    file = folder / "page.html"
    file.write_text(shown.replace("</html>", f"{added}</html>"), encoding="utf-8")
    argv = [
        *(chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", *more),
    ]
    done = subprocess.run(
        [*argv, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))
    return answer


@pytest.fixture(scope="module")
def day() -> DayWorld:
    found = DayWorld()
    found.play(Unattended())
    return found


@pytest.fixture(scope="module")
def promoted(day: DayWorld) -> str:
    return page(dashboard(day.context(), day.evidence.outcomes), day.context().clock.now())


PHONE, DARK = "--window-size=390,800", "--blink-settings=preferredColorScheme=0"


@pytest.mark.parametrize("more", [(), (PHONE,), (DARK,)])
def test_axe_finds_nothing_serious_and_the_page_asks_for_nothing(
    promoted: str, tmp_path: Path, more: tuple[str, ...]
) -> None:
    found = audited(promoted, tmp_path, *more)
    serious = [each for each in found["violations"] if each[0] in ("serious", "critical")]
    assert serious == []
    assert found["passes"] > 10
    assert found["requests"] == []


@pytest.mark.parametrize("more", [(), (PHONE,), (DARK,)])
def test_the_page_of_a_fleet_is_accessible_too(tmp_path: Path, more: tuple[str, ...]) -> None:
    found = audited(fleet_page(board(120), NOW), tmp_path, *more)
    serious = [each for each in found["violations"] if each[0] in ("serious", "critical")]
    assert serious == []
    assert found["passes"] > 10
    assert found["requests"] == []


def test_an_update_keeps_what_a_reader_has_scrolled_and_the_focus(
    day: DayWorld, tmp_path: Path
) -> None:
    found = dashboard(day.context(), day.evidence.outcomes)
    shown = page(found, day.context().clock.now(), nonce="n")
    without_server = "<script>window.EventSource = class {}</script>"
    live = shown.replace("<main", f"{without_server}<main", 1)
    seen = answered(live, tmp_path, _UPDATE, more=(PHONE,))
    assert seen == {"replaced": True, "scrolled": 40, "focused": True}
