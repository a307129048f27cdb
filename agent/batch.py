"""Many requests from a file, each into a folder of its own: started, killed and gone on with as often as need be.

What is finished stands in a journal, a line each, as it finishes; the manifest and the index page are made from it. A run that was
interrupted is resumed where it was. The manifest holds nothing that depends on when, or in how many goes, the work was done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from duogen.agent.agent import Agent
from duogen.agent.lines import Item
from duogen.agent.plan import Plan
from duogen.agent.runs import RunFolder
from duogen.document import Document, Picture, write_atomically
from duogen.errors import DuoGenError
from duogen.journal import Journal
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings
from duogen.tools.export import export, render


@dataclass(frozen=True)
class Outcome:
    """What became of an item. `status`: ``done`` or ``failed``."""

    custom_id: str
    number: int
    status: str
    request: str = ""
    reason: str = ""
    pictures: int = 0
    error: str = ""


Engine = Callable[["Batch", list[Item]], Iterator[Outcome]]
"""What does a batch's work, in any order: here `Local`, on a cluster `duogen.agent.batch_ray.RayEngine`."""


class Batch:
    """A folder of plans.

    Args:
        folder: where everything goes; one folder an item.
        beside: the folder that pictures of the requests are looked for in.
        shard: (i, n): this is the i-th of n batches on the same folder, each with a journal and a manifest of its own.
    """

    def __init__(self, folder: Path, beside: Path, shard: tuple[int, int] = (1, 1)) -> None:
        self.folder, self.beside, self.shard = folder, beside, shard
        name = "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"
        self.journal, self.manifest, self.index = (
            folder / f"{kind}{name}.{suffix}"
            for kind, suffix in (("journal", "jsonl"), ("manifest", "json"), ("index", "html"))
        )

    def outcomes(self) -> dict[str, Outcome]:
        """What has been finished, by id; of an item that was tried again, the last."""
        found: dict[str, Outcome] = {}
        for record in Journal(self.journal):
            try:
                outcome = Outcome(**record)
            except TypeError:
                continue  # of another version
            found[outcome.custom_id] = outcome
        return found

    def run(self, engine: Engine, items: list[Item], on_done: Callable[[Outcome], None]) -> None:
        """Does what isn't done, and notes each outcome as it comes, once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for item in items:
            if item.line is None:
                on_done(self._note(Outcome(item.custom_id, item.number, "failed", error=item.error)))
        for outcome in engine(self, [item for item in items if item.line is not None]):
            on_done(self._note(outcome))

    def write_manifest(self, items: list[Item]) -> list[Outcome]:
        """Writes the manifest and the index page; returns what became of the items, in the file's order."""
        known = self.outcomes()
        finished = [known[item.custom_id] for item in items if item.custom_id in known]
        counts = {kind: sum(each.status == kind for each in finished) for kind in ("done", "failed")}
        body = {"requests": len(items), **counts, "items": [asdict(each) for each in finished]}
        write_atomically(self.manifest, json.dumps(body, ensure_ascii=False, indent=1).encode())
        write_atomically(
            self.index, render("batch.html.j2", outcomes=finished, counts=counts, total=len(items)).encode()
        )
        return finished

    def _note(self, outcome: Outcome) -> Outcome:
        Journal(self.journal).append(asdict(outcome))
        return outcome


@dataclass(frozen=True)
class Local:
    """Does the work of a batch in this process, in groups.

    Args:
        at_once: how many plans are in flight.
        formats: further ones that each plan is written in, of `duogen.tools.export`.
    """

    agent: Agent
    at_once: int
    formats: list[str]

    def __call__(self, batch: Batch, items: list[Item]) -> Iterator[Outcome]:
        """The outcomes of items, as they come; every item must be one that can be used."""
        jobs = [self._job(batch, item) for item in items]
        strange: list[Item] = []
        for index, plan, error in self.agent.together(jobs, self.at_once):
            if error is None or isinstance(error, DuoGenError):
                yield outcome_of(items[index], plan, error)
            else:
                strange.append(items[index])
        # What has failed in a way that nobody foresaw may have failed for another's sake: it gets a try alone.
        for item in strange:
            for _, plan, error in self.agent.together([self._job(batch, item)], 1):
                yield outcome_of(item, plan, error)

    def _job(self, batch: Batch, item: Item) -> Callable[[], Plan]:
        line, folder, agent = item.line, batch.folder / item.custom_id, self.agent
        assert line is not None

        def job() -> Plan:
            kept = RunFolder(folder)
            note = None if kept.free else kept.note()
            if note is not None and note.status != "finished":
                plan = agent.resume(folder)
            elif note is not None:
                # Finished, but killed before it was noted.
                plan = Plan(Document.load(folder), note.reason, note.id)
            else:
                paint = PaintSettings(
                    seed=line.seed, steps=line.steps, guidance=line.guidance, width=line.width, height=line.height
                )
                plan = agent.plan(
                    line.request, [Picture.from_file(batch.beside / image) for image in line.images], folder=folder,
                    settings=paint, decode=DecodeSettings(temperature=line.temperature, seed=line.seed),
                    max_pictures=line.max_pictures, max_seconds=line.max_seconds, max_tokens=line.max_tokens,
                    self_check=line.self_check,
                )  # fmt: skip
            further = [each for each in self.formats if each not in ("md", "html")]
            if further:
                export(plan.document, further, folder)
            return plan

        return job


def outcome_of(item: Item, plan: Plan | None, error: Exception | None) -> Outcome:
    """What is noted of an item that has a plan or an error."""
    assert item.line is not None
    request = " ".join(item.line.request.split())[:200]
    if plan is None:
        said = str(error) if isinstance(error, DuoGenError) else f"unexpected {type(error).__name__}: {error}"
        first = (said.splitlines() or ["unknown"])[0][:300]
        return Outcome(item.custom_id, item.number, "failed", request, error=first)
    return Outcome(item.custom_id, item.number, "done", request, plan.reason, len(plan.document.images))
