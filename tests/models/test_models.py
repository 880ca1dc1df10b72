"""Names, loading, and predictions that no padding, batch or embedding trick changes."""

import hashlib
import json

import numpy as np
import pytest
import torch
import transformers

import w2s_nb as w2s
from tests.conftest import WORDS, save_tiny
from w2s_nb import models
from w2s_nb.common.registry import MODELS, UnknownName
from w2s_nb.inputs.batches import TokenInputs, TrunkInputs
from w2s_nb.inputs.tokens import Tokens, tokenize
from w2s_nb.models import loading, names

CPU = torch.device("cpu")
# id 0 is padding, end of text, and a word
TEXTS = [[5, 9, 0, 7], [0, 0, 12], [8], [20, 21, 22, 23, 24, 25, 26, 0], [30, 31, 0, 0, 0]]


def classifier(path, method="full", arity=1, **options):
    torch.manual_seed(0)
    return models.build(
        models.with_depth(models.resolve(path)),
        method,
        arity,
        head_init="unembedding",
        device=CPU,
        **options,
    ).eval()


def tokens(texts, arity=1):
    ids = tuple(np.array(t, dtype=np.int32) for t in texts)
    keys = tuple(hashlib.sha256(i.tobytes()).hexdigest()[:16] for i in ids)
    return Tokens(ids, np.zeros(len(ids), bool), keys, arity)


def padded(texts, side, extra):
    width = max(map(len, texts)) + extra
    rows = [
        [0] * (width - len(t)) + t if side == "left" else t + [0] * (width - len(t)) for t in texts
    ]
    mask = [
        [0] * (width - len(t)) + [1] * len(t)
        if side == "left"
        else [1] * len(t) + [0] * (width - len(t))
        for t in texts
    ]
    return {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(mask)}


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("extra", [0, 5])
def test_prediction_is_unchanged_by_padding(any_tiny, side, extra):
    net = classifier(any_tiny)
    alone = torch.cat([net(**padded([t], "right", 0)) for t in TEXTS])
    torch.testing.assert_close(net(**padded(TEXTS, side, extra)), alone, atol=2e-5, rtol=1e-4)
    assert alone.std() > 1e-2, "the model gives all texts the same scores; the test could not fail"


@torch.no_grad()
def test_prediction_is_unchanged_by_batch_and_order(any_tiny):
    net, inputs = classifier(any_tiny), TokenInputs(tokens(TEXTS))
    together = net(**inputs.batch(range(5)))
    torch.testing.assert_close(net(**inputs.batch([3, 1])), together[[3, 1]], atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_word_with_id_0_is_read(any_tiny):
    net = classifier(any_tiny)
    one, two = (net(**padded([t], "right", 0)) for t in ([5, 9, 0], [5, 9]))
    assert (one - two).abs().max() > 1e-3


@torch.no_grad()
def test_pooling_takes_the_last_token_of_the_mask(any_tiny):
    net = classifier(any_tiny)
    batch = padded(TEXTS, "right", 2)
    hidden = net.body(**batch).last_hidden_state
    expected = torch.stack([hidden[i, len(t) - 1] for i, t in enumerate(TEXTS)]) @ net.head.weight.T
    torch.testing.assert_close(net(**batch), expected, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_head_starts_as_the_unembedding_rows_of_0_and_1(any_tiny):
    lm = models.load_lm(models.resolve(any_tiny))
    batch = padded([[5, 9, 7]], "right", 0)
    logits = lm(**batch).logits[0, -1, [1, 2]]  # ids of "0" and "1" in the test vocabulary
    torch.testing.assert_close(classifier(any_tiny)(**batch)[0], logits, atol=1e-5, rtol=1e-4)


@pytest.fixture
def tiny_with_digits(tmp_path):
    """Saves a tiny Llama with a token for each of the digits 0 to 9."""
    digits = [str(number) for number in range(2, 10)]
    return save_tiny(tmp_path / "digits", words=[*WORDS[:-8], *digits])


@torch.no_grad()
def test_a_head_of_four_classes_starts_as_the_unembedding_rows_of_0_to_3(tiny_with_digits):
    lm = models.load_lm(models.resolve(tiny_with_digits))
    batch = padded([[5, 9, 7], [8]], "right", 0)
    last = lm(**batch).logits[[0, 1], [2, 0]]
    logits = classifier(tiny_with_digits, n_classes=4)(**batch)
    torch.testing.assert_close(logits, last[:, [1, 2, 56, 57]], atol=1e-5, rtol=1e-4)


def test_digits_are_label_tokens_where_each_is_a_token(tiny, tiny_with_digits):
    def tokens(path, n_classes):
        return loading.label_tokens(loading.folder(models.resolve(path)), n_classes)

    assert tokens(tiny, 2) == tokens(tiny_with_digits, 2) == [1, 2]
    assert tokens(tiny, 3) == [] == tokens(tiny_with_digits, 11)
    assert tokens(tiny_with_digits, 10) == [1, 2, *range(56, 64)]


@torch.no_grad()
def test_cut_in_depth_is_the_first_layers(any_tiny):
    from w2s_nb.models.anatomy import blocks_name, final_norm

    whole, cut = (
        models.load_lm(models.resolve(any_tiny)),
        models.load_lm(models.resolve(any_tiny + "@2")),
    )
    batch, seen = padded([[5, 9, 7, 8]], "right", 0), []
    block = getattr(whole.base_model, blocks_name(whole.base_model))[1]
    block.register_forward_hook(
        lambda m, a, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    whole.base_model(**batch)
    torch.testing.assert_close(
        cut.base_model(**batch).last_hidden_state, final_norm(whole.base_model)(seen[0])
    )


@torch.no_grad()
@pytest.mark.parametrize("top_layers", [1, 3, 4])
def test_top_layers_over_the_trunk_equal_the_whole_model(any_tiny, top_layers):
    from w2s_nb.inputs.activations import trunk

    checkpoint = models.with_depth(models.resolve(any_tiny))
    inputs = TrunkInputs(trunk(checkpoint, 4 - top_layers, tokens(TEXTS)), tokens(TEXTS))
    top = classifier(any_tiny, "top", top_layers=top_layers)
    torch.testing.assert_close(
        top(**inputs.batch(range(5))),
        classifier(any_tiny)(**padded(TEXTS, "right", 0)),
        atol=2e-5,
        rtol=1e-4,
    )
    frozen = {n for n, p in top.named_parameters() if not p.requires_grad}
    assert frozen <= {
        "body.embed_tokens.weight",
        "body.wte.weight",
        "body.wpe.weight",
        "body.embed_in.weight",
    }


@torch.no_grad()
def test_features_are_those_of_the_cut_model(any_tiny):
    from w2s_nb.inputs.activations import pooled

    for depth in (4, 2):  # the deeper pass stores the shallower
        checkpoint = models.with_depth(models.resolve(f"{any_tiny}@{depth}"))
        body = models.load_lm(checkpoint).base_model
        expected = torch.stack([body(torch.tensor([t])).last_hidden_state[0, -1] for t in TEXTS])
        got = torch.from_numpy(pooled(checkpoint, tokens(TEXTS)).layer(depth))
        torch.testing.assert_close(got, expected, atol=2e-3, rtol=2e-3)  # stored as float16


def test_compact_embedding_trains_as_the_whole_table(any_tiny):
    trajectories = []
    used = np.unique(np.concatenate([np.array(t) for t in TEXTS]))
    for compact in (False, True):
        net = classifier(any_tiny)
        if compact:
            models.compact_embedding(net, torch.from_numpy(used))
        inputs = TokenInputs(tokens(TEXTS), used if compact else None)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0)
        for _ in range(4):
            loss = net(**inputs.batch(range(5))).log_softmax(1)[:, 0].mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        trajectories.append(net(**inputs.batch(range(5))))
    torch.testing.assert_close(*trajectories, atol=2e-4, rtol=1e-3)


def test_lora_trains_adapters_and_head_only(any_tiny):
    net = classifier(any_tiny, "lora", lora_rank=2)
    trained = {n for n, p in net.named_parameters() if p.requires_grad}
    assert "head.weight" in trained and all("lora_" in n or n == "head.weight" for n in trained)
    with torch.no_grad():  # adapters start at zero: the model is unchanged
        torch.testing.assert_close(
            net(**padded(TEXTS, "right", 0)), classifier(any_tiny)(**padded(TEXTS, "right", 0))
        )


@torch.no_grad()
def test_swapping_a_pair_gives_the_complement(any_tiny):
    net = classifier(any_tiny, arity=2)
    forth, back = (
        net(**TokenInputs(tokens(pair, arity=2)).batch([0])).softmax(1)
        for pair in (TEXTS[:2], TEXTS[1::-1])
    )
    torch.testing.assert_close(forth, back.flip(1))


def test_every_tiny_model_reads_one_token_per_word(any_tiny):
    tokenizer = models.tokenizer(models.folder(models.resolve(any_tiny)))
    words = WORDS[4:]
    assert tokenizer(" ".join(words))["input_ids"] == list(range(4, len(WORDS)))
    assert tokenizer("w12 <eos> 0 w1 1 w5")["input_ids"] == [16, 0, 1, 5, 2, 9]


def test_names_resolve_to_what_they_say(tiny):
    assert models.resolve("gpt2-xl").hub_id == "openai-community/gpt2-xl"
    assert models.resolve("Qwen/Qwen2.5-7B").layers == 28
    assert (models.resolve("SmolLM2-135M@16").layers, models.resolve("SmolLM2-135M").layers) == (
        16,
        30,
    )
    assert models.resolve(tiny + "@2").layers == 2
    other = models.resolve("someone/model:abc@3")
    assert (other.hub_id, other.revision, other.layers) == ("someone/model", "abc", 3)


@pytest.mark.parametrize("name", ["EleutherAI/pythia-70m", "someone/model", "model@3", "gpt2/"])
def test_a_folder_with_a_model_wins_over_what_else_its_name_could_mean(
    name, tiny, tmp_path, monkeypatch
):
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, tmp_path / name)
    whole, cut = models.resolve(name), models.resolve(f"{name}@2")
    assert whole.folder == cut.folder == tmp_path / name
    assert (whole.hub_id, whole.layers, cut.layers, cut.name) == (None, 4, 2, f"{name}@2")
    assert models.with_depth(whole).lr == 5e-4, "the rate of its size, not of that hub model"


@pytest.mark.parametrize(
    "name, file",
    [(alias, "config.json") for alias in ("gpt2", "SmolLM2-135M", "chess-1M")]
    + [(name, "notes.txt") for name in ("gpt2", "EleutherAI/pythia-70m")],
)
def test_a_folder_that_is_passed_over_is_named(name, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / file).write_text("{}")
    with pytest.warns(UserWarning, match=f"{name}.*folder.*passed over") as told:
        checkpoint = models.resolve(f"{name}@2")
    known = MODELS[name.rpartition("/")[2]]
    assert (checkpoint.hub_id, checkpoint.full_layers) == (known.hub_id, known.n_layers)
    (message,) = {str(warning.message) for warning in told}
    assert (f"./{name}" in message) == (file == "config.json") and "\n" not in message


def test_an_unknown_name_of_a_folder_without_config_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone" / "model").mkdir(parents=True)
    with pytest.raises(UnknownName, match=r"a folder without config\.json"):
        models.resolve("someone/model")


@pytest.mark.parametrize(
    "name, says", [("gpt3", "gpt2"), ("Qwen-7b", "Qwen-7B"), ("", "Known"), ("/nowhere", "Known")]
)
def test_unknown_names_list_near_and_known_ones(name, says):
    with pytest.raises(UnknownName, match=says):
        models.resolve(name)


@pytest.mark.parametrize("name", ["SmolLM2-135M@0", "SmolLM2-135M@31", "gpt2@13"])
def test_depth_out_of_range(name):
    with pytest.raises(ValueError, match=r"1 to (30|12)"):
        models.resolve(name)


@pytest.mark.parametrize(
    "name, hub_id", [("gpt2", "openai-community/gpt2"), ("someone/model", "someone/model")]
)
def test_a_hub_model_out_of_reach_names_the_ways_out(name, hub_id):
    with pytest.raises(
        models.ModelUnavailable, match=f"{hub_id}.*Ways out.*HF_HOME.*local folder.*SmolLM2-135M"
    ):
        models.ensure(models.resolve(name))


@pytest.mark.parametrize(
    "name, size",
    [
        ("gpt2", "0.5"),
        ("Qwen2.5-7B", "15.2"),
        ("Qwen-7B", "15.4"),
        ("Qwen/Qwen-72B", "144.6"),
        ("Qwen-1_8B@2", "3.7"),
    ],
)
def test_a_known_model_out_of_reach_says_how_much_there_is_to_download(name, size):
    checkpoint = models.resolve(name)
    with pytest.raises(
        models.ModelUnavailable, match=f"`hf download {checkpoint.hub_id}`.* about {size} GB"
    ):
        models.ensure(checkpoint)


def test_every_pinned_revision_is_a_commit():
    for spec in MODELS.values():
        assert spec.revision is None or (len(spec.revision) == 40 and int(spec.revision, 16))
    without = {s.name for s in MODELS.values() if s.hub_id and not s.revision}
    assert without == {"Qwen1.5-72B", "Qwen-14B"}, "resolved to a commit when first asked for"


def test_remote_code_is_never_run(tiny, tmp_path):
    import shutil

    folder = tmp_path / "trap"
    shutil.copytree(tiny, folder)
    (folder / "trap.py").write_text("raise SystemExit('remote code ran')")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "trap.C", "AutoModelForCausalLM": "trap.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    assert models.load_lm(models.resolve(str(folder))) is not None


def test_digest_follows_content(tiny, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    same = models.digest(models.resolve(str(copy)))
    assert same == models.digest(models.resolve(tiny))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(weights))
    assert models.digest(models.resolve(str(copy))) != same


def test_parameters_grow_with_depth():
    counts = [models.n_params(models.resolve(f"SmolLM2-135M@{k}")) for k in (1, 2, 30)]
    assert counts[1] - counts[0] == 3_540_096 and counts[2] == 134_515_008


def test_the_embedded_model_knows_its_language():
    checkpoint = models.resolve(names.EMBEDDED)
    tokenizer, lm = models.tokenizer(models.folder(checkpoint)), models.load_lm(checkpoint)
    with torch.no_grad():
        logits = lm(**tokenizer("The capital of France is", return_tensors="pt")).logits[0, -1]
    assert tokenizer.decode(logits.argmax()).strip() == "Paris"


def test_long_texts_keep_their_end_and_are_counted(words, tiny):
    checkpoint = models.with_depth(models.resolve(tiny))
    full, cut = tokenize(words.student, checkpoint, 64), tokenize(words.student, checkpoint, 4)
    assert (
        not full.truncated.any()
        and (cut.truncated == (full.lengths > 4)).all()
        and cut.truncated.any()
    )
    assert all(list(c) == list(f[-4:]) for c, f in zip(cut.ids, full.ids))
    report = w2s.split_report(words, checkpoint, max_len=4)
    assert report.loc["student", "share cut to 4 tokens"] == cut.truncated.mean()


@pytest.mark.parametrize(
    "weak, strong, between",
    [
        ("chess-0.1M", "chess-3M", ["chess-0.4M", "chess-1M"]),
        ("chess-0.1M@1", "chess-3M", ["chess-0.1M", "chess-1M"]),
        ("chess-0.1M", "chess-0.4M", []),
        ("SmolLM2-135M@4", "SmolLM2-135M@16", ["SmolLM2-135M@8", "SmolLM2-135M@12"]),
        ("SmolLM2-135M@4", "SmolLM2-135M@6", ["SmolLM2-135M@5"]),
        ("SmolLM2-135M@28", "SmolLM2-135M", ["SmolLM2-135M@29"]),
        ("gpt2", "gpt2-xl", []),
        ("chess-0.1M", "SmolLM2-135M", []),
        ("chess-3M", "chess-0.1M", []),
    ],
)
def test_models_between_two_others_are_evenly_spaced(weak, strong, between):
    assert models.models_between(weak, strong) == between


@pytest.mark.parametrize("name", loading._GELU_IN_STEPS)
def test_gelu_in_one_kernel_is_the_same_function(name):
    x = torch.linspace(-12, 12, 100_001)
    config = transformers.GPT2Config(activation_function=name)
    assert loading.as_run(config).activation_function == "gelu_pytorch_tanh"
    in_steps = transformers.activations.ACT2FN[name](x)
    in_one = transformers.activations.ACT2FN["gelu_pytorch_tanh"](x)
    assert (in_one - in_steps).abs().max() < 1e-6
