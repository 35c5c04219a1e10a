"""A cluster's state on disk: its folder and cluster.json."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from tarsrelease.rehearsal.paths import write_atomically
from tarsrelease.rehearsal.processes import Process


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder of one cluster, <cache>/rehearsal/<name>/."""

    root: Path

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.root.name

    @property
    def lock(self) -> Path:
        """Held by an `up` or `down` while it works; beside the folder, as that is removed."""
        return self.root.with_name(f".{self.root.name}.lock")

    @property
    def record(self) -> Path:
        """cluster.json."""
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def spec(self) -> Path:
        """The supervisor's settings."""
        return self.root / "spec.json"

    @property
    def images(self) -> Path:
        """The images that the node agent knows."""
        return self.root / "images.json"

    @property
    def bin(self) -> Path:
        """kubectl, helm and promtool, to stand on PATH."""
        return self.root / "bin"

    @property
    def logs(self) -> Path:
        """One file for each part; kept by `down`, begun anew by `up`."""
        return self.root / "logs"

    @property
    def data(self) -> Path:
        """Certificates, etcd, metrics, pods' folders."""
        return self.root / "data"

    @property
    def socket(self) -> Path:
        """The supervisor's control socket."""
        return self.root / "control.sock"

    def read(self) -> ClusterRecord | None:
        """The recorded cluster, running or not; None if none was started."""
        try:
            return ClusterRecord.from_json(self.record.read_text())
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            # Written by another version, or damaged: nothing in it can be trusted.
            return None

    def write(self, record: ClusterRecord) -> None:
        """Record the running cluster."""
        write_atomically(self.record, record.to_json())

    def clean(self, *, keep_logs: bool = True) -> None:
        """Remove what a run left here, and the folder itself where no logs are kept."""
        if not keep_logs:
            shutil.rmtree(self.root, ignore_errors=True)
            return
        for entry in self.root.iterdir() if self.root.exists() else ():
            if entry == self.logs:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """cluster.json: how the running cluster is found again.

    process: process 1 of the namespaces, as seen from outside. user_namespace: whether it was
    started without root's rights. started_at: Unix time. ready: whether `up` saw it complete.
    """

    name: str
    process: Process
    user_namespace: bool
    started_at: float
    ready: bool
    kubeconfig: str
    addresses: dict[str, str]
    versions: dict[str, str]

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ClusterRecord:
        """Parse the file's text; ValueError, TypeError or KeyError where it is not ours."""
        values = json.loads(text)
        return cls(**{**values, "process": Process(**values["process"])})
