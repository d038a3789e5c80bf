"""Hugging Face's language models: what a rule says at the words is what it says of their rows."""

import numpy as np
import pytest
import torch
import transformers

from pellucid import explain, wrap

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4,
    "intermediate_size": 24, "num_labels": 3, "pad_token_id": 0,
}  # fmt: skip
OF_GPT = {
    "vocab_size": 30, "n_embd": 16, "n_layer": 1, "n_head": 4, "num_labels": 3, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MAKERS = {
    "bert": lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES)),
    "gpt2": lambda: transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**OF_GPT)),
    # Two heads of queries share a key.
    "llama": lambda: transformers.LlamaForSequenceClassification(
        transformers.LlamaConfig(**SIZES, num_key_value_heads=2)
    ),
}
TABLES = {
    "bert": "bert.embeddings.word_embeddings",
    "gpt2": "transformer.wte",
    "llama": "model.embed_tokens",
}
WORDS, OTHERS = np.random.default_rng(0).integers(3, 30, (2, 2, 5))
TARGET = 1


class Above(torch.nn.Module):
    """The model as a function of the table's rows."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows):
        return self.model(inputs_embeds=rows).logits


@pytest.mark.parametrize("name", MAKERS)
def test_every_rule_at_the_words(name):
    torch.manual_seed(0)
    model = MAKERS[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)  # biases are made as zeros
    table = model.get_submodule(TABLES[name])
    rows, before = (table(torch.from_numpy(a)).detach().numpy() for a in (WORDS, OTHERS))
    above = Above(model).eval()
    composites = ["attnlrp", "cp_lrp", "epsilon"]
    composites += [{"linear": r} for r in ("z_plus", "gamma:0.25", "alpha_beta:2,1", "flat")]
    cases = [("lrp", {"composite": c}, {"composite": c}) for c in composites]
    cases += [("excitation_backprop", {}, {})]
    for rule in ("rescale", "reveal_cancel"):
        cases += [("deeplift", *({"baseline": b, "rule": rule} for b in (OTHERS, before)))]
    cases += [("deep_shap", {"background": OTHERS}, {"background": before})]
    seen = []
    for method, of_words, of_rows in cases:
        found = explain(
            model, torch.from_numpy(WORDS), method, layer=TABLES[name], target=TARGET, **of_words
        )
        wanted = explain(above, rows, method, target=TARGET, **of_rows).values
        np.testing.assert_allclose(found.values, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)
        if method.startswith("deep"):
            assert found.gap.max() < 1e-4
        seen.append(found.values)
    # In torch every rule was the plain gradient here.
    for rule in (3, 4, 5, 6):
        assert np.abs(seen[rule] - seen[2]).max() > 0.05 * np.abs(seen[2]).max()
    assert wrap(model).coverage("deeplift", torch.from_numpy(WORDS), layer=TABLES[name]).complete
