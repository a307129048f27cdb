"""What `duogen doctor` says that a model needs, against what it takes: random weights of middling size, on a CPU.

    python tests/models/memory_measured.py

Puts together a Qwen2.5-VL of 0.3 billion parameters and a Cosmos-Predict2.5 of 0.25 billion with Wan's own VAE, and makes a plan with two
pictures in a process of its own. Prints both figures for each way of keeping weights; exits with 1 where they are more than 10 % apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import checkpoints
from diffusers import AutoencoderKLWan, CosmosTransformer3DModel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from duogen.models.assembling import assemble, matched
from duogen.models.keeping import Keeping
from duogen.models.needs import Work, needs_of

SIZE = 256
PLAN = """
import re, sys
import torch
torch.set_num_threads(2)
from pathlib import Path
from duogen.models.keeping import Keeping, load_kept
from duogen.models.sampler import PaintSettings
from duogen.models.session import DecodeSettings, Session
import duogen.agent.agent
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
base = peak()
pipeline = load_kept(Path(sys.argv[1]), Keeping.parse(sys.argv[2]), "cpu")
session = Session(pipeline, [("user", ["word " * 500])])
for number in range(2):
    list(session.decode(DecodeSettings(max_tokens=20)))
    session.ask()
    painted = session.paint(PaintSettings(steps=2, seed=number))
    session.append(painted.image, painted.latent)
print(base, peak(), len(session.tape.ids))
"""


def middling(home: Path) -> Path:
    """A model folder."""
    mllm, dit = home / "mllm", home / "dit"
    checkpoints.qwen2_5_vl(mllm)
    config = Qwen2_5_VLConfig.from_pretrained(mllm)
    config.text_config.update({
        "hidden_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 2816,
        "vocab_size": 32_000, "layer_types": ["full_attention"] * 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    })  # fmt: skip
    config.vision_config.out_hidden_size = 1024
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(mllm)
    CosmosTransformer3DModel(
        in_channels=17, out_channels=16, num_attention_heads=8, attention_head_dim=128, num_layers=16, text_embed_dim=1024,
        adaln_lora_dim=256, rope_scale=(1.0, 3.0, 3.0), extra_pos_embed_type=None, use_crossattn_projection=True,
        crossattn_proj_in_channels=16 * 1024, encoder_hidden_states_channels=1024,
    ).save_pretrained(dit / "transformer")  # fmt: skip
    AutoencoderKLWan().save_pretrained(dit / "vae")
    for path in mllm.glob("model-*"):
        path.unlink()  # the shards of the small one
    (mllm / "model.safetensors.index.json").unlink(missing_ok=True)
    assemble(matched(str(mllm), str(dit)), home / "model", torch.float32, size=SIZE)
    return home / "model"


def main() -> int:
    """Returns how many figures were wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        model = middling(Path(folder))
        for words in (
            "float32",
            "float32,offload-layer",
            "float32,tiling",
        ):  # bfloat16 takes ten times as long on a CPU
            done = subprocess.run([sys.executable, "-c", PLAN, str(model), words], capture_output=True, text=True)
            if done.returncode:
                print(done.stderr[-1000:])
                return 1
            base, peak, tokens = map(int, done.stdout.split())
            work = Work(request=tokens, tokens=tokens, pictures=2, width=SIZE, height=SIZE)
            said = base + needs_of(model, Keeping.parse(words), "cpu", work).host
            apart = said / peak - 1
            wrong += abs(apart) > 0.1
            detail = json.dumps(needs_of(model, Keeping.parse(words), "cpu", work).weights)
            print(
                f"{words}: said {said / 2**20:.0f} MiB, measured {peak / 2**20:.0f} MiB ({apart:+.1%}), of which Python {base / 2**20:.0f}; {detail}"
            )
    return wrong


if __name__ == "__main__":
    sys.exit(main() != 0)
