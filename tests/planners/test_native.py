from __future__ import annotations

import pytest

from duogen.document import Document
from duogen.models.pipeline import DuoGenPipeline
from duogen.models.processor import BOV, IM_END
from duogen.models.session import DecodeSettings
from duogen.models.sessions import SessionPool
from duogen.planners.native import NativePlanner


def document(request: str) -> Document:
    made = Document()
    made.add_request(request)
    made.add_message("assistant")
    return made


def force(pipeline: DuoGenPipeline, token: str) -> None:
    """Lets the MLLM say nothing but one token."""
    import torch

    bias = torch.zeros(pipeline.mllm.config.text_config.vocab_size)
    bias[pipeline.processor.id(token)] = 1e4
    pipeline.mllm.lm_head.bias = torch.nn.Parameter(bias)


@pytest.mark.parametrize(("token", "stop"), [(BOV, "picture"), (IM_END, "end")])
def test_the_mllms_own_tokens_decide(tiny: DuoGenPipeline, token: str, stop: str) -> None:
    force(tiny, token)
    planner = NativePlanner(SessionPool(tiny), lambda _: None)
    draft = planner.draft("run", document("Draw a cup."), lambda text: None)
    assert (draft.text, draft.stop) == ("", stop)


def test_pieces_add_up_and_runs_stay_apart(tiny: DuoGenPipeline) -> None:
    planner = NativePlanner(SessionPool(tiny), lambda _: None, DecodeSettings(max_tokens=12))
    for run, request in (("one", "Draw a cup."), ("two", "Draw a ball."), ("one", "Draw a star.")):
        pieces: list[str] = []
        draft = planner.draft(run, document(request), pieces.append)
        assert "".join(pieces) == draft.text
        alone = NativePlanner(SessionPool(tiny), lambda _: None, DecodeSettings(max_tokens=12))
        assert alone.draft("x", document(request), lambda text: None) == draft


def test_only_so_many_sessions_are_kept(tiny: DuoGenPipeline) -> None:
    pool = SessionPool(tiny, limit=2)
    made = document("Draw a cup.")
    first = pool.open("0", made, lambda _: None)
    assert pool.open("0", made, lambda _: None) is first
    for run in ("1", "2"):
        pool.open(run, made, lambda _: None)
    assert pool.open("0", made, lambda _: None) is not first
