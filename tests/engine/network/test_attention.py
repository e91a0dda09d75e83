"""Attention is readable inside the context, and as it was outside."""

from typing import Any

import pytest
import torch
from torch import nn

from convscope.engine.network.attention import readable_attention

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def vit() -> Any:
    from convscope.loaders.transformers.library import library

    t = library()
    config = t.ViTConfig(
        image_size=16, patch_size=8, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    config._attn_implementation = "sdpa"
    return t.ViTForImageClassification(config).eval()


def test_weights_of_attention_are_returned_inside_the_context_only(vit: Any) -> None:
    image = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        outside = vit(image, output_attentions=True)
        with readable_attention(nn.Sequential(vit)):
            inside = vit(image, output_attentions=True)
        afterwards = vit(image, output_attentions=True)
    assert not outside.attentions
    assert not afterwards.attentions
    assert [weights.shape for weights in inside.attentions] == [(1, 2, 5, 5)] * 2
    torch.testing.assert_close(inside.attentions[0].sum(-1), torch.ones(1, 2, 5))
    torch.testing.assert_close(inside.logits, outside.logits)
    assert torch.equal(afterwards.logits, outside.logits)


def test_the_implementation_is_put_back_after_an_error(vit: Any) -> None:
    def fail_inside() -> None:
        with readable_attention(vit):
            raise ZeroDivisionError(vit.config._attn_implementation)

    with pytest.raises(ZeroDivisionError, match="eager"):
        fail_inside()
    assert vit.config._attn_implementation == "sdpa"


def test_parts_keep_implementations_of_their_own() -> None:
    import transformers as t

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    vision = dict(sizes, image_size=16, patch_size=8)
    text = dict(sizes, vocab_size=9, bos_token_id=0, eos_token_id=1)
    model = t.CLIPModel(t.CLIPConfig(projection_dim=4, text_config=text, vision_config=vision))
    model.set_attn_implementation({"text_config": "eager", "vision_config": "sdpa"})
    before = [
        part._attn_implementation for part in (model.config, model.config.text_config, model.config.vision_config)
    ]
    assert before[1:] == ["eager", "sdpa"]
    with readable_attention(model):
        assert model.config.vision_config._attn_implementation == "eager"
    after = [part._attn_implementation for part in (model.config, model.config.text_config, model.config.vision_config)]
    assert after == before


def test_networks_without_a_choice_are_left_alone() -> None:
    net = nn.TransformerEncoderLayer(8, 2)
    with readable_attention(net):
        assert net(torch.zeros(3, 1, 8)).shape == (3, 1, 8)
