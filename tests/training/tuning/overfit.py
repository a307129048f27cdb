"""Both stages on checkpoints in the public layout, scaled down, and a hundred documents of the world: they must be learned by heart.

    python tests/training/tuning/overfit.py 100 700 4500

Documents, steps of stage 1, steps of stage 2. Prints how well `<BOV>` is foretold, by how much the flow loss has fallen, and how many of the
pictures that the finished model makes for its training requests show what they should; exits with 1 where that isn't all it can be.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
import checkpoints

from duogen.cli import run
from duogen.document import write_jsonl
from duogen.loading import load
from duogen.models.assembling import assemble, matched
from duogen.models.sampler import PaintSettings
from duogen.training.codec import fit_codec
from duogen.training.data import draw_task
from duogen.training.documents import document_of_task
from duogen.training.world.parse import parse
from duogen.training.world.render import render

CONFIG = """
model = "model"
[data]
train = ["documents.jsonl"]
[stage1]
steps = {stage1}
packs_per_step = 1
pack_tokens = 1500
learning_rate = 2e-3
vision_learning_rate = 2e-3
final_learning_rate = 0.02
warmup_steps = 20
precision = "float32"
[stage2]
steps = {stage2}
packs_per_step = 1
pack_tokens = 2000
frame_tokens = 720
learning_rate = 2e-3
final_learning_rate = 0.02
warmup_steps = 50
drop_last_text = 0.0
frame_noise = 0.0
time_shift = 2.0
ema_decay = 0.99
precision = "float32"
"""


def main(count: int, stage1: int, stage2: int) -> int:
    """Returns how much was wrong."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        tasks = [draw_task(3, index, shares={"depict": 2, "arrange": 1}) for index in range(4 * count)]
        tasks = [task for task in tasks if 0 < sum(len(turn.pictures) for turn in task.turns) <= 2][:count]
        write_jsonl(map(document_of_task, tasks), home / "documents.jsonl")
        texts = [text for task in tasks for turn in task.turns for text in (turn.request, *turn.segments)]
        pictures = [render(scene) for task in tasks for scene in task.pictures]
        fit_codec(pictures, z_dim=16).save_pretrained(home / "codec")
        mllm = checkpoints.qwen2_5_vl(home / "qwen", hidden=128, layers=4, texts=texts, vocabulary=640)
        dit = checkpoints.cosmos(
            home / "cosmos", states=4 * 128, channels=16, heads=8, layers=4, learned_positions=True
        )
        parts = matched(str(mllm), str(dit), vae=home / "codec")
        assemble(parts, home / "model", torch.float32, size=192)
        (home / "config.toml").write_text(CONFIG.format(stage1=stage1, stage2=stage2))
        one, two = home / "one", home / "two"
        assert run(["train", "stage1", str(home / "config.toml"), "-o", str(one), "-q"]) == 0
        last = [json.loads(line) for line in (one / "log.jsonl").read_text().splitlines()][-20:]
        f1 = min(record["emission_f1"] for record in last)
        print(
            f"stage 1: loss {last[-1]['loss']:.3f}, accuracy {last[-1]['accuracy']:.3f}, emission F1 {f1:.3f}",
            flush=True,
        )
        command = ["train", "stage2", str(home / "config.toml"), "-o", str(two), "-m", str(one / "model"), "-q"]
        assert run(command) == 0
        losses = [json.loads(line)["loss"] for line in (two / "log.jsonl").read_text().splitlines()]
        begin, end = sum(losses[:5]) / 5, sum(losses[-50:]) / 50
        print(f"stage 2: flow loss {begin:.3f} -> {end:.3f}, {begin / end:.1f} times less", flush=True)

        agent = load(two / "model")
        right = made = planned = 0
        for task in tasks:
            document = document_of_task(task)
            request = document.messages[0]
            given = [document.picture(part) for part in request.content if part.type == "image"]
            # Its negative branch was never trained (`drop_last_text`): no guidance.
            plan = agent.plan(request.text, given, max_pictures=3, settings=PaintSettings(steps=12, guidance=1.0))
            answer = [plan.document.picture(part) for part in plan.document.images][len(given) :]
            wanted = task.turns[0].pictures
            planned += len(answer) == len(wanted)
            for picture, scene in zip(answer, wanted, strict=False):
                seen = parse(picture.image())
                made += 1
                right += seen is not None and seen.things == scene.things
        print(
            f"plans with as many pictures as they should have: {planned} of {len(tasks)}; pictures that show what they should: {right} of {made}"
        )
    return int(f1 < 1.0) + int(begin < 10 * end) + int(right < 0.9 * made)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4])) != 0)
