"""A batch on Ray: the same work by actors on many machines, or in many processes of one.

Each actor loads the model and takes blocks of items; what comes back is noted here, so that one process alone writes the journal. All
machines see the batch's folder under the same path. An actor that dies is replaced, and its block is done again: plans that were finished
are found so, others are resumed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from duogen.agent.batch import Batch, Local, Outcome, outcome_of
from duogen.agent.lines import Item, Line
from duogen.cluster import cluster
from duogen.document import write_atomically
from duogen.errors import DuoGenError, needed

ALONE = 2
"""How often an item is tried alone, after its process has died with others at work."""


@dataclass(frozen=True)
class RayEngine:
    """Does the work of a batch on Ray Data.

    Where that is: see `duogen.cluster.cluster`.

    Args:
        model, device, backend, memory: what each actor loads, as in `duogen.load`.
        workers: how many actors.
        at_once: how many plans each has in flight, and the size of a block.
        gpus: how many GPUs an actor gets; a fraction shares one.

    Raises:
        DuoGenError: Ray isn't installed, or no actor could load the model.
    """

    model: Path | None
    device: str | None
    backend: str
    memory: str
    workers: int
    at_once: int
    formats: list[str]
    gpus: float = 0

    def __post_init__(self) -> None:
        needed("ray", "ray")

    def __call__(self, batch: Batch, items: list[Item]) -> Iterator[Outcome]:
        """The outcomes of items, as they come, one each."""
        tries = _Tries(batch)
        tries.forget()
        left = {item.custom_id for item in items}
        try:
            with cluster():
                for outcome in self._outcomes(batch, items):
                    if outcome.custom_id in left:
                        left.remove(outcome.custom_id)
                        yield outcome
        finally:
            tries.forget()

    def _outcomes(self, batch: Batch, items: list[Item]) -> Iterator[Outcome]:
        import ray.data

        blocks = -(-len(items) // self.at_once)
        rows = [{"item": json.dumps(_packed(item))} for item in items]
        made = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
            _Actor, fn_constructor_args=[replace(self, model=self.model and self.model.absolute()), batch.folder.absolute(), batch.beside.absolute(), batch.shard],
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, blocks), max_tasks_in_flight_per_actor=1),
            batch_size=None, batch_format="numpy", num_gpus=self.gpus or None,
        )  # fmt: skip
        for row in made.iter_rows():
            outcome = json.loads(row["outcome"])
            if "unusable" in outcome:
                raise DuoGenError(outcome["unusable"])
            yield Outcome(**outcome)


class _Actor:
    """One process of the pool, with a model of its own. Ray starts it again when it dies, and gives it the same block."""

    def __init__(self, engine: RayEngine, folder: Path, beside: Path, shard: tuple[int, int]) -> None:
        self.engine, self.batch = engine, Batch(folder, beside, shard)
        self.tries = _Tries(self.batch)
        self.local: Local | None = None

    def __call__(self, rows: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
        try:
            self.local = self.local or self._loaded()
        except DuoGenError as error:
            # Said in a line; raised here, Ray would print it with its own stack.
            yield {"outcome": [json.dumps({"unusable": str(error)})]}
            return
        for outcome in self._outcomes([_unpacked(json.loads(row)) for row in rows["item"]]):
            yield {"outcome": [json.dumps(asdict(outcome))]}

    def _loaded(self) -> Local:
        from duogen.loading import load

        engine = self.engine
        agent = load(engine.model, engine.device, engine.backend, memory=engine.memory)  # type: ignore[arg-type]
        return Local(agent, engine.at_once, engine.formats)

    def _outcomes(self, items: list[Item]) -> Iterator[Outcome]:
        """A block together; after a death in its midst, what isn't done of it one by one, so that one item alone can be at fault."""
        fresh, again = list[Item](), list[Item]()
        for item in items:
            count, outcome = self.tries.of(item)
            if outcome is not None:
                yield outcome
            elif count == 0:
                fresh.append(item)
            else:
                again.append(item)
        for group in [fresh, *([item] for item in again)]:
            for item in group:
                self.tries.begin(item)
            assert self.local is not None
            for outcome in self.local(self.batch, group):
                self.tries.end(outcome)
                yield outcome


class _Tries:
    """How often each item of a batch was begun, and what became of it, where all workers see it."""

    def __init__(self, batch: Batch) -> None:
        self.folder = batch.folder / f".{batch.journal.stem}-tries"

    def of(self, item: Item) -> tuple[int, Outcome | None]:
        try:
            count, outcome = json.loads((self.folder / item.custom_id).read_bytes())
        except FileNotFoundError:
            return 0, None
        if outcome is not None:
            return count, Outcome(**outcome)
        if count > ALONE:
            return count, outcome_of(
                item, None, DuoGenError(f"its process died each of the {count} times that it was tried")
            )
        return count, None

    def begin(self, item: Item) -> None:
        self._write(item.custom_id, self.of(item)[0] + 1, None)

    def end(self, outcome: Outcome) -> None:
        self._write(outcome.custom_id, 0, asdict(outcome))

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, *record: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / name, json.dumps(record).encode())


def _packed(item: Item) -> dict[str, Any]:
    assert item.line is not None
    return {"number": item.number, "custom_id": item.custom_id, "line": item.line.model_dump()}


def _unpacked(row: dict[str, Any]) -> Item:
    return Item(row["number"], row["custom_id"], Line.model_validate(row["line"]))
