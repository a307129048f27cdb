"""GenEval's rules, case by case, on made-up detections; its prompts; its layout."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from duogen.document import Picture
from duogen.errors import InputError
from duogen.evaluation.public.geneval import COLOURS, Detection, GenEval, kept, object_names, relations, verdict
from duogen.evaluation.public.statistics import Scored, estimate

BLANK = Image.new("RGB", (100, 100))


class Painted:
    """Tells an object's colour by its score's last digit."""

    about = "made up"

    def __call__(self, image: Image.Image, found: Sequence[Detection], name: str) -> list[str]:
        return [COLOURS[round(each.score * 100) % 10] for each in found]


def at(x: float, y: float, score: float = 0.95, side: float = 10) -> Detection:
    """A square with its centre there."""
    return Detection((x - side / 2, y - side / 2, x + side / 2, y + side / 2), score)


def judged(found: dict[str, list[Detection]], tag: str = "two_object", **wanted: Any) -> tuple[bool, str]:
    return verdict(BLANK, kept(found, tag), {"tag": tag, **wanted}, Painted())


def one(name: str, count: int = 1, **more: Any) -> dict[str, Any]:
    return {"class": name, "count": count, **more}


def test_prompts_and_tags() -> None:
    questions = list(GenEval(Path("x"), "m").questions(None))
    assert len(questions) == 553
    counts = Counter(question.group for question in questions)
    assert [counts[tag] for tag in ("single_object", "two_object", "counting", "colors", "position", "color_attr")] == [
        80, 99, 80, 94, 100, 100,
    ]  # fmt: skip
    assert questions[0].text == "a photo of a bench" and questions[0].id == "00000" and questions[-1].id == "00552"
    names = object_names()
    assert len(set(names)) == 80 and names[0] == "person" and names[-1] == "toothbrush"
    asked = {clause["class"] for question in questions for clause in question.facts["include"]}
    assert asked <= set(names)
    assert all(("exclude" in question.facts) == (question.group == "counting") for question in questions)


def test_an_object_is_there_above_its_threshold_alone() -> None:
    include = [one("dog")]
    assert judged({"dog": [at(5, 5, 0.31)]}, "single_object", include=include) == (True, "")
    assert judged({"dog": [at(5, 5, 0.3)]}, "single_object", include=include) == (False, "0 dog, wanted 1")
    assert judged({"cat": [at(5, 5)]}, "single_object", include=include)[0] is False
    assert judged({}, "single_object", include=include)[0] is False


def test_counting_wants_surer_detections() -> None:
    include, exclude = [one("clock", 2)], [one("clock", 3)]
    two, three = [at(5, 5), at(50, 5)], [at(5, 5), at(50, 5), at(50, 50)]
    assert judged({"clock": two}, "counting", include=include, exclude=exclude)[0]
    assert judged({"clock": three}, "counting", include=include, exclude=exclude) == (
        False,
        "3 clock, wanted less than 3",
    )
    unsure = at(50, 50, 0.9)
    assert judged({"clock": [*two, unsure]}, "counting", include=include, exclude=exclude)[0], "0.9 isn't above 0.9"
    assert not judged({"clock": [at(5, 5), unsure]}, "counting", include=include, exclude=exclude)[0]
    assert judged({"clock": [at(5, 5), unsure]}, "two_object", include=include)[0], "elsewhere 0.3 is enough"


def test_both_objects_are_wanted() -> None:
    include = [one("dog"), one("cup")]
    assert judged({"dog": [at(5, 5)], "cup": [at(50, 5)]}, include=include)[0]
    assert judged({"dog": [at(5, 5)]}, include=include) == (False, "0 cup, wanted 1")
    assert judged({"dog": [at(5, 5)] * 3, "cup": [at(50, 5)]}, include=include)[0], "more than wanted is fine"


def test_sixteen_of_a_class_are_kept_the_surest_first() -> None:
    many = [at(n, 5, 0.31 + n / 100) for n in range(20)]
    surest = kept({"dog": many}, "colors")["dog"]
    assert (
        len(surest) == 16
        and [each.score for each in surest] == sorted((each.score for each in many), reverse=True)[:16]
    )
    assert not judged({"dog": many}, include=[one("dog", 17)])[0] and judged({"dog": many}, include=[one("dog", 16)])[0]


def test_colour_is_of_the_surest_object() -> None:
    red, green = at(5, 5, 0.90), at(50, 5, 0.83)  # by Painted: the last digit is the colour's number
    include = [one("cup", color="red")]
    assert judged({"cup": [red, green]}, "colors", include=include)[0]
    assert judged({"cup": [at(5, 5, 0.93), at(50, 5, 0.80)]}, "colors", include=include) == (
        False,
        "cup is green, wanted red",
    )
    assert judged({"cup": [red, at(50, 5, 0.80)]}, "colors", include=[one("cup", 2, color="red")])[0]
    assert not judged({"cup": [red, green]}, "colors", include=[one("cup", 2, color="red")])[0]


def test_relations() -> None:
    middle = at(50, 50)
    assert relations(at(20, 50), middle) == {"left of"} and relations(at(80, 50), middle) == {"right of"}
    assert relations(at(50, 20), middle) == {"above"} and relations(at(50, 80), middle) == {"below"}
    assert relations(at(20, 20), middle) == {"left of", "above"}
    assert relations(middle, middle) == set()
    # Both are 10 wide: 0.1 x 20 = 2 pixels are taken off. 2 off is nothing; 5 off leaves 3 of 5, 0.6; 4 off leaves 2 of 4, 0.5.
    assert relations(at(52, 50), middle) == set()
    assert relations(at(55, 50), middle) == {"right of"}
    assert relations(at(54, 50), middle) == set(), "0.5 isn't more than 0.5"
    # (30, 20) away: 28 / 36.06 = 0.78 across, 18 / 36.06 = 0.499 down.
    assert relations(at(80, 70), middle) == {"right of"}
    # Larger objects have to be farther apart: 0.1 x (80 + 80) = 16.
    assert relations(at(65, 50, side=80), at(50, 50, side=80)) == set()


def test_position_is_checked_against_the_group_that_it_names() -> None:
    wanted = {"include": [one("bear"), one("dog", position=["right of", 0])]}
    bear = {"bear": [at(20, 50)]}
    assert judged(bear | {"dog": [at(80, 50)]}, "position", **wanted)[0]
    assert judged(bear | {"dog": [at(5, 50)]}, "position", **wanted) == (False, "dog is left of, wanted right of")
    assert judged(bear | {"dog": [at(20, 50)]}, "position", **wanted) == (
        False,
        "dog is nowhere clear, wanted right of",
    )
    assert (
        judged({"dog": [at(80, 50)]}, "position", **wanted)[1] == "0 bear, wanted 1; nothing that dog could be right of"
    )
    assert judged(bear | {"dog": [at(80, 50, 0.9), at(5, 50, 0.8)]}, "position", **wanted)[0], "the surest dog counts"
    coloured = {"include": [one("bear"), one("dog", color="green", position=["right of", 0])]}
    assert judged(bear | {"dog": [at(5, 50, 0.90)]}, "position", **coloured) == (False, "dog is red, wanted green")


def test_colour_of_each_of_two() -> None:
    include = [one("glass", color="purple"), one("apple", color="black")]
    assert judged({"glass": [at(5, 5, 0.85)], "apple": [at(50, 5, 0.88)]}, "color_attr", include=include)[0]
    swapped = judged({"glass": [at(5, 5, 0.88)], "apple": [at(50, 5, 0.85)]}, "color_attr", include=include)
    assert swapped == (False, "glass is black, wanted purple; apple is purple, wanted black")


def test_overall_is_the_mean_of_the_tags() -> None:
    """By hand: single_object 3 of 4 pictures, counting 1 of 8: (0.75 + 0.125) / 2 = 0.4375; over all pictures it were 4 / 12."""
    rights = {("a", "single_object"): [1, 1, 1, 0], ("b", "counting"): [1, 0, 0, 0], ("c", "counting"): [0, 0, 0, 0]}
    scored = [
        Scored(name, sample, tag, {"correct": float(right)})
        for (name, tag), all_of in rights.items()
        for sample, right in enumerate(all_of)
    ]
    figures = {metric.name: estimate(scored, metric) for metric in GenEval.metrics}
    assert figures["overall"] == pytest.approx(0.4375, abs=1e-9)
    assert figures["single_object"] == pytest.approx(0.75, abs=1e-9) and figures["counting"] == pytest.approx(
        0.125, abs=1e-9
    )
    assert figures["position"] is None


def test_layout_and_results(tmp_path: Path, picture: Picture) -> None:
    bench = GenEval(tmp_path, "m")
    question = list(bench.questions(None))[180]
    assert not bench.has(question, 3)
    bench.write(question, 3, (picture,))
    assert bench.has(question, 3) and bench.read(question, 3) == (picture,)
    assert (tmp_path / "00180/samples/0003.png").read_bytes() == picture.data
    assert json.loads((tmp_path / "00180/metadata.jsonl").read_text()) == question.facts
    bench.record([question], [Scored("00180", 3, "counting", {"correct": 0.0}, notes="3 clock, wanted less than 3")])
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["tag"] == "counting" and row["correct"] is False and row["filename"].endswith("00180/samples/0003.png")
    assert set(row) == {"filename", "tag", "prompt", "correct", "reason", "metadata", "details"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"tag": "shapes", "include": []}, "no such tag: 'shapes'"),
        ({"tag": "colors", "include": [{"class": "dog"}]}, "isn't of the format"),
        ({"tag": "colors", "include": [one("dragon")]}, "no clause of GenEval"),
        ({"tag": "colors", "include": [one("dog", "2")]}, "no clause of GenEval"),  # type: ignore[arg-type]
        ({"tag": "colors", "include": [one("dog", color="beige")]}, "no colour of GenEval's: 'beige'"),
        ({"tag": "position", "include": [one("dog", position=["above", 0])]}, "no position"),
        ({"tag": "position", "include": [one("dog"), one("cat", position=["near", 0])]}, "no position"),
        ({"tag": "colors", "include": None}, "isn't of the format"),
        ({"tag": "colors", "include": [], "prompt": 7}, "its prompt is no text: 7"),
    ],
)
def test_bad_prompts(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    good = {"tag": "colors", "include": [one("dog")], "prompt": "x"}
    lines = [json.dumps(good), json.dumps({"prompt": "x"} | row)]
    (tmp_path / "evaluation_metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"record 2: .*{told}"):
        list(GenEval(tmp_path, "m").questions(tmp_path))


def test_pictures_of_another_prompt_don_t_count(tmp_path: Path, picture: Picture) -> None:
    bench = GenEval(tmp_path, "m")
    question = next(bench.questions(None))
    bench.write(question, 0, (picture,))
    assert bench.has(question, 0)
    (tmp_path / "00000/metadata.jsonl").write_text(json.dumps(question.facts | {"prompt": "a photo of a cow"}))
    assert not bench.has(question, 0)
    (tmp_path / "00000/metadata.jsonl").unlink()
    assert bench.has(question, 0), "made elsewhere"


def test_masks_of_numpy_are_boxes_around_them() -> None:
    from duogen.evaluation.public.detectors import _box, _cut

    mask = np.zeros((20, 30), bool)
    mask[4:9, 6:16] = True
    assert _box(mask) == (6, 4, 16, 9)
    image = Image.new("RGB", (30, 20), "red")
    cut = _cut(image, Detection(_box(mask), 0.9, mask))
    assert cut.size == (10, 5) and cut.getcolors() == [(50, (255, 0, 0))]
    mask[4:9, 6:16] = np.eye(5, 10, dtype=bool)
    around = {colour: count for count, colour in _cut(image, Detection((6, 4, 16, 9), 0.9, mask)).getcolors()}
    assert around == {(255, 0, 0): 5, (153, 153, 153): 45}, "the object alone, on grey"
    assert _cut(image, Detection((6, 4, 16, 9), 0.9)).getcolors() == [(50, (255, 0, 0))], "no mask: all of the box"
