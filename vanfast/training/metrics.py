"""What every training step reports, and its file metrics.jsonl."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from vanfast._files import replacing
from vanfast.errors import FileFormatError

AnyRecord = TypeVar("AnyRecord", bound="Record")


@dataclass(frozen=True)
class Record:
    """A line of metrics.jsonl, written when training has done step number `step`."""

    step: int

    def to_line(self) -> str:
        values = dataclasses.asdict(self)
        for key, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                values[key] = None
        return json.dumps(values)

    @classmethod
    def from_json(cls: type[AnyRecord], stored: dict[str, Any]) -> AnyRecord:
        values: dict[str, Any] = {key: math.nan if value is None else value for key, value in stored.items()}
        return cls(**values)


@dataclass(frozen=True)
class StepRecord(Record):
    """One step of variational training; energies in units of the coupling, everything named per_site divided by N.

    free_energy_per_site is mean(beta E + ln q) / (beta N) at this step's beta, before the update; NaN at beta = 0.
    loss is mean(beta E + ln q), which is beta F (extensive). ess is (sum w)^2 / (B sum w^2) of the batch, in (0, 1].
    """

    beta: float
    rung: int
    loss: float
    free_energy_per_site: float
    free_energy_std_per_site: float
    energy_per_site: float
    entropy_per_site: float
    ess: float
    gradient_norm: float
    learning_rate: float
    sample_seconds: float
    step_seconds: float


def read_metrics(path: str | os.PathLike[str]) -> list[StepRecord]:
    """Records of a metrics.jsonl; a last line that was cut short by a crash is left out.

    Raises FileFormatError naming file and line when a complete line is not a record.
    """
    return read_records(path, StepRecord)


def read_records(path: str | os.PathLike[str], kind: type[AnyRecord]) -> list[AnyRecord]:
    """The same of records of any kind."""
    records: list[AnyRecord] = []
    with open(path, encoding="utf-8", errors="replace") as file:  # a damaged line is refused below, by its number
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                break
            try:
                records.append(kind.from_json(json.loads(line)))
            except (TypeError, AttributeError, json.JSONDecodeError) as error:
                names = ", ".join(field.name for field in dataclasses.fields(kind))
                raise FileFormatError(f"{path}:{number}: expected a JSON object with {names}: {error}") from None
    return records


class MetricsFile(Generic[AnyRecord]):
    """Appends a line for every record; `keep_before(step)` drops later ones first, which makes resuming exact."""

    def __init__(self, path: Path, kind: type[AnyRecord]) -> None:
        self.path, self.kind = path, kind
        self._file: TextIO | None = None

    def read(self, step: int) -> list[AnyRecord]:
        """The records before `step`; none where there is no file."""
        if not self.path.exists():
            return []
        return [record for record in read_records(self.path, self.kind) if record.step < step]

    def keep_before(self, step: int) -> list[AnyRecord]:
        """Rewrites the file with the records before `step` and returns them."""
        records = self.read(step)
        with replacing(self.path) as temporary:
            temporary.write_text("".join(record.to_line() + "\n" for record in records), encoding="utf-8")
        return records

    def append(self, record: AnyRecord) -> None:
        if self._file is None:
            self._file = open(self.path, "a", encoding="utf-8")
        self._file.write(record.to_line() + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
