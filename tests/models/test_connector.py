from __future__ import annotations

import torch
from diffusers import CosmosTransformer3DModel

from duogen.models.connector import Connector


def test_it_is_the_public_checkpoints_own_projection() -> None:
    """The same weights give what Cosmos-Predict2.5's ``crossattn_proj`` gives on normalised, concatenated states."""
    upstream = CosmosTransformer3DModel(
        num_attention_heads=1, attention_head_dim=12, num_layers=1, text_embed_dim=8, adaln_lora_dim=4,
        use_crossattn_projection=True, crossattn_proj_in_channels=30, encoder_hidden_states_channels=8,
    )  # fmt: skip
    connector = Connector(in_channels=30, out_channels=8)
    connector.crossattn_proj.load_state_dict(upstream.crossattn_proj.state_dict())
    states = torch.randn(2, 5, 3, 10) * 7 + 3
    normalised = torch.stack(
        [(layer - layer.mean(-1, keepdim=True)) / layer.std(-1, keepdim=True) for layer in states.unbind(2)], 2
    )
    assert torch.allclose(connector(states), upstream.crossattn_proj(normalised.flatten(2)), atol=1e-5)


def test_scale_and_offset_of_a_layer_do_not_matter() -> None:
    connector = Connector(in_channels=30, out_channels=8)
    states = torch.randn(1, 4, 3, 10)
    scaled = states * torch.tensor([1.0, 50.0, 0.1])[:, None] + torch.tensor([0.0, 3.0, -9.0])[:, None]
    assert torch.allclose(connector(states), connector(scaled), atol=1e-4)
