"""Opens a page in headless Chromium and records what it shows and when, until standard input ends.

    live_page.py ADDRESS FOLDER

FOLDER gets ``seen.jsonl``, a line for each change of the position or the weight, with a screenshot
of each, and ``requests.jsonl``, the addresses that the page requested.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import websocket

_WATCH = """
new MutationObserver(report).observe(document, {childList: true, subtree: true});
let last = "";
function report() {
  const main = document.getElementById("now");
  const weight = main && main.innerText.match(/Canary: (\\d+) % of the traffic/);
  const position = main && main.querySelector(".big strong");
  const shown = JSON.stringify({weight: weight && +weight[1], at: position && position.innerText});
  if (main && shown !== last) { last = shown; saw(JSON.stringify([Date.now() / 1000, shown])); }
}
"""


class Page:
    """A tab, driven by the DevTools protocol."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        self._pictures: dict[int, Path] = {}
        self._socket = websocket.create_connection(address, suppress_origin=True, timeout=None)

    def send(self, method: str, **parameters: Any) -> int:
        """Send a command; returns its number."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(command))
        return self._number

    def follow(self) -> None:
        """Record what happens until the connection ends."""
        while True:
            try:
                said = json.loads(self._socket.recv())
            except (OSError, ValueError, websocket.WebSocketException):
                return
            if said.get("method") == "Runtime.bindingCalled":
                at, shown = json.loads(said["params"]["payload"])
                self._append("seen.jsonl", {"time": at, **json.loads(shown)})
                picture = self.folder / f"{len(self._pictures):02}.png"
                self._pictures[self.send("Page.captureScreenshot")] = picture
            elif said.get("method") == "Network.requestWillBeSent":
                self._append("requests.jsonl", said["params"]["request"]["url"])
            elif said.get("id") in self._pictures:
                picture = self._pictures[said["id"]]
                picture.write_bytes(base64.b64decode(said["result"]["data"]))

    def _append(self, name: str, value: object) -> None:
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(value) + "\n")


def main(address: str, folder: Path) -> None:
    """Start Chromium, open the page, and follow it."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)))
    argv = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--remote-debugging-port=0", "--window-size=1200,1400", f"--user-data-dir={folder}/p"),
        "about:blank",
    ]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(each for each in process.stderr if "DevTools listening on" in each)
            threading.Thread(target=process.stderr.read, daemon=True).start()
            port = line.rpartition("ws://")[2].partition("/")[0]
            with urllib.request.urlopen(f"http://{port}/json") as answer:
                tabs = json.load(answer)
            tab = next(each for each in tabs if each["type"] == "page")
            page = Page(tab["webSocketDebuggerUrl"], folder)
            for domain in ("Page", "Network", "Runtime"):
                page.send(f"{domain}.enable")
            page.send("Runtime.addBinding", name="saw")
            page.send("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
            page.send("Page.navigate", url=address)
            threading.Thread(target=page.follow, daemon=True).start()
            sys.stdin.read()
        finally:
            process.terminate()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
