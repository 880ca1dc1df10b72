"""The contract of every supported architecture: the kit computes what transformers computes.

Random models of four layers, in float32. What is compared with is the whole model's own forward
pass, of one text at a time.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import masking_utils

import w2s_nb as w2s
from tests.conftest import WORDS, save_tiny
from tests.models.test_models import tokens
from w2s_nb import models
from w2s_nb.inputs.activations import pooled, trunk
from w2s_nb.inputs.batches import NextTokens, TokenInputs, TrunkInputs
from w2s_nb.models import anatomy, decoding
from w2s_nb.models.architectures import SUPPORTED
from w2s_nb.prompting.prompt import answer_log_probs
from w2s_nb.training import language_model, loop
from w2s_nb.training.hyperparameters import METHODS

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "pages" / "adding.md"
ATOL = 1e-5
DEPTH = 4
WINDOW = 8  # of sliding windows, in tokens
_IDS = dict(vocab_size=len(WORDS), pad_token_id=0, eos_token_id=0, bos_token_id=3)
_GPT = dict(_IDS, n_embd=16, n_layer=DEPTH, n_head=4, n_positions=64)
_BASE = dict(
    _IDS,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=DEPTH,
    num_attention_heads=4,
    max_position_embeddings=64,
)
_GROUPED = dict(_BASE, num_key_value_heads=2)
_HEADS = dict(_GROUPED, head_dim=4)
_SLIDING = dict(_HEADS, sliding_window=WINDOW)
_MIXED = dict(use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2)
_LLAMA3_ROPE = dict(
    rope_type="llama3",
    rope_theta=1e4,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
_GEMMA = dict(_SLIDING, query_pre_attn_scalar=4)
_GRANITE = dict(
    embedding_multiplier=3.0,
    logits_scaling=4.0,
    residual_multiplier=0.5,
    attention_multiplier=0.2,
)
_ALTERNATING = ["sliding_attention", "full_attention"] * 2
_LAST_FULL = ["sliding_attention"] * 3 + ["full_attention"]
# {name: (class of the configuration, its fields)}; a name may say a variant after a comma
CONFIGS = {
    "apertus": ("ApertusConfig", _GROUPED),
    "arcee": ("ArceeConfig", _GROUPED),
    "cohere": ("CohereConfig", dict(_GROUPED, logit_scale=0.25)),
    "cohere, norms of queries and keys": (
        "CohereConfig",
        dict(_GROUPED, logit_scale=0.25, use_qk_norm=True),
    ),
    "cohere2": ("Cohere2Config", dict(_GROUPED, logit_scale=0.25, sliding_window=WINDOW)),
    "ernie4_5": ("Ernie4_5Config", _HEADS),
    "exaone4": (
        "Exaone4Config",
        dict(_GROUPED, sliding_window=WINDOW, layer_types=_ALTERNATING),
    ),
    "falcon": ("FalconConfig", dict(_BASE, alibi=False)),
    "gemma": ("GemmaConfig", _HEADS),
    "gemma2": (
        "Gemma2Config",
        dict(_GEMMA, final_logit_softcapping=3.0, attn_logit_softcapping=2.0),
    ),
    "gemma3_text": ("Gemma3TextConfig", dict(_GEMMA, layer_types=_LAST_FULL)),
    "glm": ("GlmConfig", _HEADS),
    "glm4": ("Glm4Config", _HEADS),
    "gpt2": ("GPT2Config", dict(_GPT, scale_attn_by_inverse_layer_idx=True)),
    "gpt_bigcode": ("GPTBigCodeConfig", _GPT),
    "gpt_neox": ("GPTNeoXConfig", _BASE),
    "gptj": ("GPTJConfig", dict(_GPT, rotary_dim=4)),
    "granite": ("GraniteConfig", dict(_GROUPED, **_GRANITE)),
    "helium": ("HeliumConfig", _HEADS),
    "llama": ("LlamaConfig", _GROUPED),
    "llama, tied, with biases, rotary base of Llama 3": (
        "LlamaConfig",
        dict(_GROUPED, tie_word_embeddings=True, attention_bias=True, rope_parameters=_LLAMA3_ROPE),
    ),
    "ministral": ("MinistralConfig", dict(_SLIDING, layer_types=_ALTERNATING)),
    "mistral": ("MistralConfig", _SLIDING),
    "nanochat": ("NanoChatConfig", _GROUPED),
    "nemotron": ("NemotronConfig", _HEADS),
    "olmo": ("OlmoConfig", dict(_GROUPED, clip_qkv=0.5)),
    "olmo2": ("Olmo2Config", _GROUPED),
    "olmo3": ("Olmo3Config", dict(_GROUPED, sliding_window=WINDOW)),
    "persimmon": ("PersimmonConfig", _BASE),
    "phi": ("PhiConfig", _GROUPED),
    "phi3": ("Phi3Config", dict(_GROUPED, sliding_window=WINDOW)),
    "qwen2": ("Qwen2Config", _GROUPED),
    "qwen2, mixed windows": ("Qwen2Config", dict(_GROUPED, **_MIXED)),
    "qwen3": ("Qwen3Config", _HEADS),
    "qwen3, mixed windows": ("Qwen3Config", dict(_HEADS, **_MIXED)),
    "seed_oss": ("SeedOssConfig", _HEADS),
    "smollm3": ("SmolLM3Config", dict(_GROUPED, no_rope_layers=[1, 1, 1, 0])),
    "stablelm": ("StableLmConfig", dict(_GROUPED, use_qkv_bias=True, qk_layernorm=True)),
    "starcoder2": ("Starcoder2Config", dict(_GROUPED, sliding_window=WINDOW)),
    "vaultgemma": ("VaultGemmaConfig", _GEMMA),
}
# neighbours begin alike, so that pairs of them share a sequence; id 0 is a word too
SHORT = [[5, 9, 0, 7], [5, 9, 0, 7, 12], [20, 21, 22, 23, 24, 25, 26, 0], [20, 21, 22, 30]]
# longer than the sliding windows
LONG = [[8], [*range(4, 17)], [20, 21, 22, 23, *range(40, 49)]]
TEXTS = SHORT + LONG
HEAD = [*range(4, 16)]
QUESTIONS = [[5, 9, 0, 7], [8]]
ANSWERS = [[1], [2, 5]]


class Tiny:
    """A tiny model in a folder, and what transformers computes with it."""

    def __init__(self, folder, name):
        kind, fields = CONFIGS[name]
        config = getattr(transformers, kind)(**fields)
        for field in config.to_dict():
            if "dropout" in field or "pdrop" in field:
                setattr(config, field, 0.5)
        self.path = save_tiny(folder, config=config)
        self.checkpoint = models.with_depth(models.resolve(self.path))
        self.lm = self._load()
        torch.manual_seed(1)
        self.weight = torch.randn(2, 16) / 4  # of a head

    def _load(self, layers=DEPTH):
        config = transformers.AutoConfig.from_pretrained(self.path)
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
        with models.loading.quiet():
            lm = transformers.AutoModelForCausalLM.from_pretrained(self.path, config=config)
        return lm.eval()

    def states(self, texts, layers=DEPTH):
        """The last token's states after some layers and the final norm, (n, d)."""
        lm = self.lm if layers == DEPTH else self._load(layers)
        return torch.stack(
            [lm.base_model(torch.tensor([t])).last_hidden_state[0, -1] for t in texts]
        )

    def log_probs(self, text):
        """Log-probabilities of every word after every token, (t, v)."""
        return self.lm(torch.tensor([text])).logits[0].log_softmax(1)

    def log_p(self, prompt, answer):
        after = self.log_probs([*prompt, *answer])[len(prompt) - 1 : -1]
        return float(after[range(len(answer)), answer].sum())

    def net(self, method, arity, **options):
        net = models.build(
            self.checkpoint,
            method,
            arity,
            head_init="zero",
            device=torch.device("cpu"),
            **options,
        )
        net.head.weight.data.copy_(self.weight[: 2 // arity])
        return net.train()  # what would drop units out shows


@pytest.fixture(scope="module", params=CONFIGS)
def arch(request, tmp_path_factory):
    with torch.no_grad():
        return Tiny(tmp_path_factory.mktemp("models") / "model", request.param)


def close(value, expected):
    torch.testing.assert_close(
        torch.as_tensor(value).double(), torch.as_tensor(expected).double(), atol=ATOL, rtol=0
    )


@torch.no_grad()
def test_features_of_every_depth_are_the_models_own_states(arch):
    found = pooled(arch.checkpoint, tokens(TEXTS), dtype="float32")
    assert arch.states(TEXTS).std(dim=0).max() > 0.5, "texts look alike; nothing could fail"
    for layers in (2, DEPTH):
        close(found.layer(layers), arch.states(TEXTS, layers))


@torch.no_grad()
@pytest.mark.parametrize("arity", [1, 2])
def test_every_method_starts_from_the_models_own_states(arch, arity):
    texts = TEXTS if arity == 1 else SHORT
    of_texts = tokens(texts, arity)
    rows = range(len(texts) // arity)
    expected = (arch.states(texts) @ arch.weight[: 2 // arity].T).view(-1, 2)
    vocabulary = np.unique(np.concatenate(of_texts.ids))
    full = arch.net("full", arity)
    models.compact_embedding(full, torch.from_numpy(vocabulary).long())
    close(full(**TokenInputs(of_texts, vocabulary).batch(rows)), expected)
    lora = arch.net("lora", arity, lora_rank=2)
    close(lora(**TokenInputs(of_texts).batch(rows)), expected)
    for n in (1, DEPTH):
        top = arch.net("top", arity, top_layers=n)
        inputs = TrunkInputs(trunk(arch.checkpoint, DEPTH - n, of_texts), of_texts)
        close(top(**inputs.batch(rows)), expected)


def test_texts_without_a_mask_have_the_same_states_and_gradients(arch):
    # padding is on the right, and attention is causal
    body = arch.net("full", 1).body
    batch = TokenInputs(tokens(TEXTS)).batch(range(len(TEXTS)))
    ids, ends = batch["input_ids"], batch["ends"]
    mask = (torch.arange(ids.shape[1]) <= ends).long()
    assert not mask.all()

    def with_a_mask():
        return body(ids, attention_mask=mask, use_cache=False).last_hidden_state

    results = []
    for run in (with_a_mask, lambda: anatomy.run_causally(body, ends, input_ids=ids)):
        body.zero_grad()
        states = run()[mask.bool()]
        states.square().sum().backward()
        results.append((states, [p.grad for p in body.parameters() if p.grad is not None]))
    (masked, masked_gradients), (without, gradients) = results
    assert torch.equal(masked, without)
    for gradient, expected in zip(gradients, masked_gradients, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-5, rtol=1e-4)


def test_no_mask_of_single_texts_is_made(monkeypatch, tmp_path):
    # transformers would look whether a mask is all true, and whether positions start again, for
    # which a GPU would have to be waited for
    def look(*args, **kwargs):
        raise AssertionError("a mask was made, or positions were read")

    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", look)
    monkeypatch.setattr(masking_utils, "sdpa_mask", look)
    monkeypatch.setitem(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "sdpa", look)
    for name in ("gpt2", "llama", "gpt_neox", "qwen2", "olmo2"):
        tiny = Tiny(tmp_path / name, name)
        batch = TokenInputs(tokens(TEXTS)).batch(range(len(TEXTS)))
        tiny.net("full", 1)(**batch).sum().backward()


@torch.no_grad()
def test_answers_are_scored_by_the_models_own_logits(arch):
    for head in (HEAD, []):
        expected = [[arch.log_p(head + q, answer) for answer in ANSWERS] for q in QUESTIONS]
        close(answer_log_probs(arch.checkpoint, head, QUESTIONS, ANSWERS), expected)
    lm = models.load_lm(arch.checkpoint)
    for prompts in (QUESTIONS, LONG):  # options side by side; or alone, in sliding windows
        expected = [[arch.log_p(text, answer) for answer in ANSWERS] for text in prompts]
        options = [ANSWERS] * len(prompts)
        close(np.array(decoding.log_probs(lm, list(map(np.array, prompts)), options)), expected)


@torch.no_grad()
def test_generated_answers_are_the_models_likeliest_words(arch):
    lm = models.load_lm(arch.checkpoint)
    found = decoding.greedy(lm, [np.array(text) for text in LONG], most=3, end=-1)
    for text, answer in zip(LONG, found, strict=True):
        grown = list(text)
        for _ in range(3):
            grown.append(int(arch.log_probs(grown)[-1].argmax()))
        assert answer == grown[len(text) :]


@torch.no_grad()
@pytest.mark.parametrize("method", ["full", "top"])
def test_texts_are_scored_by_the_models_own_logits(arch, method):
    settings = METHODS[method]
    of_texts = tokens(TEXTS)
    net = language_model.load_trainable(arch.checkpoint, method, settings)
    (sequences,) = language_model.sequences(arch.checkpoint, method, settings, of_texts)
    nats = loop.lm_losses(net, NextTokens(sequences, of_texts.ids))[:, 0]
    expected = [-arch.log_p(text[:1], text[1:]) if text[1:] else 0.0 for text in TEXTS]
    close(nats / of_texts.lengths, expected / of_texts.lengths)


def test_the_head_starts_as_the_growth_of_the_models_own_logits(arch):
    rows = models.anatomy.unembedding_rows(arch.lm, [1, 2])
    states = torch.randn(1, 16) / 1e3
    logits = models.anatomy.logits(arch.lm, torch.cat([states, 0 * states]))
    close((states @ rows.T)[0], (logits[0] - logits[1])[[1, 2]].detach())


def test_a_fit_of_gemma_3_at_lr_0_predicts_the_same_by_every_method(words, tmp_path):
    gemma = Tiny(tmp_path / "gemma", "gemma3_text")
    p1 = {
        method: w2s.fit(
            gemma.path, words.student, method=method, lr=0.0, head_lr=0.0, epochs=1
        ).predict(words.test)[:, 1]
        for method in ("full", "lora", "top")
    }
    close(p1["lora"], p1["full"])
    close(p1["top"], p1["full"])
    assert p1["full"].std() > 0.01


def test_blocks_recomputed_in_the_backward_pass_give_the_same_gradients(tmp_path):
    gemma = Tiny(tmp_path / "gemma", "gemma3_text")
    gradients = []
    for recompute in (False, True):
        net = gemma.net("top", 1, top_layers=2)
        if recompute:
            models.classifier.recompute_blocks(net.body)
        of_texts = tokens(TEXTS)
        inputs = TrunkInputs(trunk(gemma.checkpoint, DEPTH - 2, of_texts), of_texts)
        net(**inputs.batch(range(len(TEXTS)))).log_softmax(1)[:, 0].sum().backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        close(gradient, gradients[1][name])


def test_every_supported_architecture_is_under_the_contract():
    tested = {getattr(transformers, kind).model_type for kind, _ in CONFIGS.values()}
    # of the original Qwen, which transformers does not know, test_qwen holds the same
    assert tested == set(SUPPORTED) - {"qwen"}


def test_the_page_on_adding_lists_the_supported_architectures():
    (listed,) = re.findall(
        r"any hub id or local folder works by name, if its architecture is one of these: (.*?)\.\s",
        PAGE.read_text(),
        re.S,
    )
    assert listed.split() == ", ".join(SUPPORTED.values()).split()


REFUSED = {
    "bert": ("BertConfig", "an encoder"),
    "t5": ("T5Config", "an encoder and a decoder"),
    "gemma3": ("Gemma3Config", "a text model inside another"),
    "mixtral": ("MixtralConfig", "a mixture of experts"),
    "bloom": ("BloomConfig", "positions by ALiBi"),
}


@pytest.mark.parametrize("model_type", REFUSED)
def test_other_architectures_are_refused_by_every_verb_before_weights_are_read(
    model_type, words, tmp_path
):
    getattr(transformers, REFUSED[model_type][0])().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not read")
    path = str(tmp_path)
    verbs = [
        lambda: models.ensure(models.resolve(path)),
        lambda: w2s.features(path, ["w1"]),
        lambda: w2s.prompt(path, words.test),
        lambda: w2s.finetune_lm(path, words.student),
        lambda: w2s.run_arms("words", path, path, n_train=96, n_val=32, n_test=64),
        *(
            lambda method=method: w2s.fit(path, words.student, method=method)
            for method in ("full", "lora", "top", "probe", "logistic")
        ),
    ]
    for verb in verbs:
        with pytest.raises(ValueError, match=f"'{model_type}' .*expected one of .*gpt2.*qwen3"):
            verb()


@pytest.mark.parametrize(
    "architecture, field",
    [
        ("gemma3_text", {"use_bidirectional_attention": True}),
        ("falcon", {"alibi": True}),
        ("llama", {"quantization_config": {"quant_method": "gptq"}}),
    ],
)
def test_variants_that_the_contract_does_not_cover_are_refused(architecture, field, tmp_path):
    kind, fields = CONFIGS[architecture]
    path = save_tiny(tmp_path / "model", config=getattr(transformers, kind)(**fields))
    config_file = Path(path) / "config.json"
    config_file.write_text(json.dumps(json.loads(config_file.read_text()) | field))
    with pytest.raises(ValueError, match=f"{next(iter(field))} .*not read"):
        models.ensure(models.resolve(path))


def test_texts_beyond_the_length_that_long_rotary_positions_start_from_are_refused(tmp_path):
    rope = dict(
        rope_type="longrope",
        rope_theta=1e4,
        short_factor=[1.0, 1.0],
        long_factor=[2.0, 2.0],
        original_max_position_embeddings=16,
    )
    config = transformers.Phi3Config(
        **_GROUPED, rope_parameters=rope, original_max_position_embeddings=16
    )
    path = save_tiny(tmp_path / "model", config=config)
    assert w2s.features(path, ["w1 " * 16])[4].shape == (1, 16)
    with pytest.raises(ValueError, match="17 tokens; .* takes 16"):
        w2s.features(path, ["w1 " * 17])
