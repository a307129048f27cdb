from __future__ import annotations

from duogen.agent.agent import Agent
from duogen.training.facts import RAREST, fact_ids, fact_weights


def test_facts_are_the_words_that_a_picture_could_contradict(default_agent: Agent) -> None:
    processor = default_agent.pipeline.processor
    facts = {processor.decode([index]).strip() for index in fact_ids(processor)}
    assert {"red", "grey", "heart", "three", "left", "roof"} <= facts
    assert not facts & {"Step", "the", "Put", "a"}


def test_rare_facts_count_more_than_frequent_ones(default_agent: Agent) -> None:
    processor = default_agent.pipeline.processor
    weights = fact_weights(processor, 3.0, {"cook": 1.0, "arrange": 1.0})
    facts = fact_ids(processor)
    others = weights.clone()
    others[facts] = 1.0
    assert len(weights) == len(processor.tokenizer) and (others == 1).all()
    assert weights[facts].min() == 3 and weights[facts].max() == 3 * RAREST
    top, red, basil, roof = (
        weights[processor.tokenizer(f" {word}")["input_ids"][0]] for word in ("top", "red", "basil", "roof")
    )
    assert top < red < basil < roof, "nothing with a roof is built here"
