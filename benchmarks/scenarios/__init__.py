"""The scenarios by name, in the order in which they run."""

from __future__ import annotations

from benchmarks.bench import Scenario
from benchmarks.scenarios.full_ledger import FullLedger
from benchmarks.scenarios.jobs import NoopJobs
from benchmarks.scenarios.small_files import SmallFiles
from benchmarks.scenarios.startup import StartUp
from benchmarks.scenarios.status import StatusRequests
from benchmarks.scenarios.transfer import LargeFile

__all__ = ["SCENARIOS"]

_ALL: tuple[Scenario, ...] = (StatusRequests(), LargeFile(), SmallFiles(), NoopJobs(), StartUp(), FullLedger())

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
