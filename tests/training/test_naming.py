from __future__ import annotations

import numpy as np
import pytest
import torch

from duogen.agent.agent import Agent
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import IMAGE_PAD
from duogen.training.data import collate, draw_task, turns_of_task
from duogen.training.naming import COLOURS, KINDS, SPOTS, Naming, token_spots, token_things, word_vectors
from duogen.training.world.backdrops import backdrop
from duogen.training.world.render import render
from duogen.training.world.scene import VESSELS

SIDE, COLUMNS = 32, 6


@pytest.mark.parametrize("family", ["arrange", "build", "cook", "puzzle"])
def test_the_tokens_named_are_those_that_differ_from_the_empty_picture(family: str) -> None:
    for index in range(20):
        # Things that stand loosely reach into their neighbours' tokens by a pixel or two: here all stand tidily.
        task = draw_task(5, index, family=family).seen(0)
        for scene in task.pictures:
            empty, full = (np.asarray(image, int) for image in (backdrop(scene.stage), render(scene)))
            drawn = np.abs(full - empty).sum(-1).reshape(COLUMNS, SIDE, COLUMNS, SIDE).max((1, 3)) > 0
            named = token_things(scene, COLUMNS)
            assert {token for token, _, _ in named} == set(np.flatnonzero(drawn).tolist())
            assert {(KINDS[kind], COLOURS[colour]) for _, kind, colour in named} == {
                (thing.kind.partition("_")[0], thing.colour) for thing in scene.things.values()
            }
            assert token_things(scene, 2) == []


def test_naming_is_right_where_tokens_are_the_words(default_agent: Agent) -> None:
    processor = default_agent.pipeline.processor
    batch = collate([turns_of_task(draw_task(1, index)) for index in range(4)], processor)
    naming = Naming.of(batch, processor)
    assert naming is not None
    rows, places = naming.where.unbind(1)
    assert (batch.ids[rows, places] == processor.id(IMAGE_PAD)).all()

    words = torch.eye(len(processor.tokenizer)) * 20
    kinds, colours, spots = (word_vectors(names, words, processor) for names in (KINDS, COLOURS, SPOTS))
    embedded = torch.zeros(*batch.ids.shape, words.shape[1])
    blank, _ = naming.loss(embedded, words, processor)
    embedded[rows, places] = kinds[naming.kinds] + colours[naming.colours]
    lost, _ = naming.loss(embedded, words, processor)
    embedded.index_put_(tuple(naming.around.T), spots[naming.spots], accumulate=True)
    right, accuracy = naming.loss(embedded, words, processor)
    wrong, none = naming.loss(embedded.flip(-1), words, processor)
    assert accuracy == 1 and right < 0.1 < lost < blank
    assert none < 1 and wrong > right


def test_places_are_named_as_sentences_name_them() -> None:
    names = {index: SPOTS[spot] for index, spot in token_spots("shelf", COLUMNS)}
    assert len(names) == COLUMNS**2 and names[0] == names[COLUMNS + 1] == "top left"
    assert names[2 * COLUMNS + 2] == "centre" and names[COLUMNS**2 - 1] == "bottom right"
    kitchen = [SPOTS[spot] for _, spot in token_spots("kitchen", COLUMNS)]
    assert {name: kitchen.count(name) for name in kitchen} == dict.fromkeys(VESSELS, 4)
    assert token_spots("meadow", COLUMNS) == []


def test_pictures_of_unknown_scenes_are_left_out(tiny: DuoGenPipeline) -> None:
    task = next(task for index in range(50) if (task := draw_task(1, index)).shown and task.shown[0].stage == "shelf")
    turns = turns_of_task(task)
    for _, parts in turns:
        for part in parts:
            if not isinstance(part, str) and part is not None:
                part.info.clear()
    assert Naming.of(collate([turns], tiny.processor), tiny.processor) is None
