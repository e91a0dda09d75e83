"""A training as its log tells it: numbers over steps, histograms, pictures and texts, of one run or of several."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convscope.errors import InputError, UnknownName, did_you_mean
from convscope.training.store.arrays import StoredArrays, damaged_arrays, stored_arrays
from convscope.training.store.entries import Kind
from convscope.training.store.event_file import EventFile, Item
from convscope.training.store.records import RecordFile
from convscope.training.store.series import Series, joined
from convscope.values.facts import Fact

MARK = "tfevents"
"""What the names of event files contain, whichever program wrote them."""


@dataclass
class Run:
    """One run: the event files of one folder, written one after another.

    Attributes:
        name: the folder within the log directory.
        folder: where it lies.
        files: its event files, the earliest first.
    """

    name: str
    folder: Path
    files: Sequence[EventFile]

    @property
    def tags(self) -> list[str]:
        """The tags of scalars, in the order in which they occur first."""
        return list(dict.fromkeys(tag for file in self.files for tag in file.scalars))

    def series(self, tag: str) -> Series:
        """The numbers of a scalar over the steps; of steps that a resumed training repeated, the later numbers.

        Raises:
            UnknownName: no such scalar.
        """
        return self._joined(tag)[0]

    def items(self, kind: Kind) -> Mapping[str, list[Item]]:
        """Tag → histograms, pictures or texts by their steps; of a step that occurs twice, the last."""
        tags = dict.fromkeys(tag for file in self.files for tag in file.items.get(kind, {}))
        return {tag: self._items_of(kind, tag) for tag in tags}

    def arrays(self, name: str) -> list[StoredArrays]:
        """The NPZ files that the recorder wrote beside the events, by their steps."""
        return stored_arrays(self.folder, name, [file.records.path.name for file in self.files])

    def problems(self) -> list[Fact]:
        """What could not be read, and what is unusual about the order of steps."""
        problems = [problem for file in self.files for problem in file.problems()]
        damaged = damaged_arrays(self.folder)
        if damaged:
            problems.append(
                Fact(
                    "{count} file of arrays is missing or damaged and was left out: {file}"
                    if len(damaged) == 1
                    else "{count} files of arrays are missing or damaged and were left out, {file} among them",
                    count=len(damaged),
                    file=damaged[0],
                )
            )
        replaced = {tag: count for tag in self.tags if (count := self._joined(tag)[1])}
        if replaced:
            most = max(replaced.values())
            problems.append(
                Fact(
                    "the training was resumed: {count} number was written again"
                    if most == 1
                    else "the training was resumed: {count} numbers were written again",
                    count=f"{most:,}",
                )
            )
        backwards = {tag: s.backwards for tag in self.tags if (s := self.series(tag)).backwards}
        for tag, count in list(backwards.items())[:3]:
            problems.append(
                Fact(
                    "the steps of {tag} go backwards once" if count == 1 else
                    "the steps of {tag} go backwards {count} times", tag=tag, count=count,
                )
            )  # fmt: skip
        return problems

    def _joined(self, tag: str) -> tuple[Series, int]:
        parts = [file.scalars[tag] for file in self.files if tag in file.scalars]
        if not parts:
            raise UnknownName(f"run {self.name!r} has no scalar {tag!r}{did_you_mean(tag, self.tags)}")
        return joined(parts)

    def _items_of(self, kind: Kind, tag: str) -> list[Item]:
        by_step = {item.step: item for file in self.files for item in file.items.get(kind, {}).get(tag, ())}
        return [by_step[step] for step in sorted(by_step)]


@dataclass
class TrainingLog:
    """All runs below a log directory.

    Attributes:
        folder: the log directory.
        runs: name → run.
    """

    folder: Path
    runs: dict[str, Run] = field(default_factory=dict)
    _files: dict[Path, EventFile] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Run:
        if name not in self.runs:
            raise UnknownName(f"{str(self.folder)!r} has no run {name!r}{did_you_mean(name, self.runs)}")
        return self.runs[name]

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs.values())

    def __len__(self) -> int:
        return len(self.runs)

    def refresh(self) -> bool:
        """Read what was written since the log was opened or refreshed; whether there was anything."""
        changed = False
        for path in _event_files(self.folder):
            if path not in self._files:
                self._files[path] = EventFile(RecordFile(path))
            changed |= self._files[path].refresh()
        self.runs = {run.name: run for run in _runs(self.folder, self._files)}
        return changed

    def problems(self) -> list[Fact]:
        """What could not be read, run by run."""
        names = len(self.runs) > 1
        problems = [
            Fact("{run}: {problem}", run=run.name, problem=problem) if names else problem
            for run in self
            for problem in run.problems()
        ]
        writers = Counter(run.folder for run in self)
        problems += [
            Fact(
                "{count} programs wrote to {folder} at the same time; each is a run of its own",
                count=count, folder=folder.resolve().name,
            )
            for folder, count in writers.items() if count > 1
        ]  # fmt: skip
        in_runs = {id(file) for run in self for file in run.files}
        return [*(p for f in self._files.values() if id(f) not in in_runs for p in f.problems()), *problems]


def open_log(folder: str | Path) -> TrainingLog:
    """Open a log directory of TensorBoard, whichever program wrote it.

    A file that is damaged is read up to there, and named in ``problems()``. Numbers are kept in memory, of very long
    series the extremes of neighbors; histograms, pictures and texts are read when they are needed.

    Args:
        folder: the log directory, or the folder of one run.

    Raises:
        InputError: there is no such folder, or no event file in it that can be read.
        MissingExtra: the packages of the extra ``training`` are not installed.

    Example:
        >>> import convscope as cs
        >>> cs.open_log("no/such/folder")
        Traceback (most recent call last):
        convscope.errors.InputError: there is no folder 'no/such/folder': name the log directory of a training
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        if root.exists():
            raise InputError(f"{str(root)!r} is a file: name the folder of the log that it is in")
        raise InputError(f"there is no folder {str(root)!r}: name the log directory of a training")
    log = TrainingLog(root)
    log.refresh()
    if not log.runs:
        raise InputError(f"there is no training log in {str(root)!r}: {_reason_of_emptiness(log)}")
    return log


def _reason_of_emptiness(log: TrainingLog) -> str:
    """Why a folder has no run, in the words that follow a colon."""
    if problems := log.problems():
        return "; ".join(problems[:3])
    files = sum(path.is_file() for path in log.folder.rglob("*"))
    content = f"it holds {files} file{'s' * (files != 1)} without scalars, histograms or pictures of a training"
    return f"{content if files else 'it is empty'}; event files have {MARK!r} in their names"


def _event_files(root: Path) -> list[Path]:
    """The event files below a folder; folders that links lead to are entered once."""
    files, entered = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders.sort()
        files += [Path(folder, name) for name in sorted(names) if MARK in name and not name.startswith(".")]
    return files


def _runs(root: Path, files: Mapping[Path, EventFile]) -> Iterator[Run]:
    """The runs of the files that hold anything: one per folder, unless several programs wrote to it at once."""
    by_folder: dict[Path, list[EventFile]] = {}
    for path, file in files.items():
        if file.first is not None:
            by_folder.setdefault(path.parent, []).append(file)
    for folder, of_folder in by_folder.items():
        relative = folder.relative_to(root).as_posix()
        name = root.resolve().name if relative == "." else relative
        for number, writer in enumerate(_by_writer(of_folder), 1):
            yield Run(name if number == 1 else f"{name} (writer {number})", folder, writer)


def _by_writer(files: list[EventFile]) -> list[list[EventFile]]:
    """Files of a folder by the program that wrote them.

    A file that repeats a tag continues an earlier one if that had ended before it began; else both were written at the
    same time, by two programs.
    """
    writers: list[list[EventFile]] = []
    for file in sorted(files, key=lambda f: (f.first or 0.0, f.records.path.name)):
        for writer in writers:
            if all(_follows(file, earlier) for earlier in writer):
                writer.append(file)
                break
        else:
            writers.append([file])
    return writers


def _follows(file: EventFile, earlier: EventFile) -> bool:
    shares_tags = bool(file.scalars.keys() & earlier.scalars.keys())
    return not shares_tags or (file.first or 0.0) >= (earlier.last or 0.0)
