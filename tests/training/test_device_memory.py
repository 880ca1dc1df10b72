"""Tests memory estimates against arithmetic and real tensors, and blocks that are recomputed."""

import functools
import json

import pytest
import torch
import transformers

from w2s_nb import models
from w2s_nb.common import device
from w2s_nb.common.registry import MODELS, UnknownName
from w2s_nb.models import anatomy, classifier, loading
from w2s_nb.models.names import EncoderSpec
from w2s_nb.training import device_memory
from w2s_nb.training.device_memory import choice, simulation
from w2s_nb.training.device_memory.estimate import architecture_of

METHODS = ["full", "lora", "top"]
GPT2 = 124_439_808  # parameters


@pytest.fixture(autouse=True)
def one_thread():
    """Runs tests on one thread: two gain nothing on matrices so small, and wait for each other."""
    with device.threads(1):
        yield


def build(path, method):
    torch.manual_seed(0)
    return models.build(
        models.with_depth(models.resolve(path)),
        method,
        1,
        head_init="unembedding",
        top_layers=4,
        device=torch.device("cpu"),
    ).train()


def batch(method, examples=3, tokens=10):
    """Makes a batch with padding, anew at each call."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.full((examples, 1), tokens - 1)
    ends[0] = 5
    if method == "top":
        states = torch.randn(examples, tokens, 16, generator=generator)
        return {"inputs_embeds": states, "ends": ends}
    ids = torch.randint(0, 60, (examples, tokens), generator=generator)
    return {"input_ids": ids, "ends": ends}


def run_step(net, method):
    """Returns gradients {parameter: tensor}, and how often a part of the first block ran."""
    runs = []
    part = next(iter(models.blocks_of(net.body)[0].children()))
    part.register_forward_hook(lambda *args: runs.append(1))
    net(**batch(method)).log_softmax(dim=1)[:, 0].mean().backward()
    return {name: p.grad for name, p in net.named_parameters() if p.requires_grad}, len(runs)


@pytest.mark.parametrize("method", METHODS)
def test_recomputing_blocks_runs_them_twice_and_changes_no_gradient(any_tiny, method, monkeypatch):
    expected, runs = run_step(build(any_tiny, method), method)
    monkeypatch.setattr(classifier, "CHECKPOINTED", 0)
    recomputed, runs_recomputed = run_step(build(any_tiny, method), method)
    assert (runs, runs_recomputed) == (1, 2)
    assert expected.keys() == recomputed.keys()
    assert max(gradient.abs().max() for gradient in expected.values()) > 1e-3
    for name, gradient in expected.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-6, rtol=1e-6)


def test_prediction_recomputes_nothing(tiny, monkeypatch):
    monkeypatch.setattr(classifier, "CHECKPOINTED", 0)
    net = build(tiny, "full").eval()
    runs = []
    part = next(iter(models.blocks_of(net.body)[0].children()))
    part.register_forward_hook(lambda *args: runs.append(1))
    with torch.no_grad():
        net(**batch("full"))
    assert len(runs) == 1


def simulate(path, method, layers=4, **options):
    options = {
        "examples": 3,
        "tokens": 10,
        "passes": 1,
        "cuda": False,
        "sharded": False,
        "recompute": False,
        "vocabulary": None,
        "lora_rank": 8,
    } | options
    architecture = architecture_of(models.resolve(path))
    step = simulation.Step(architecture=architecture, method=method, **options)
    return simulation.extrapolate(functools.partial(simulation.simulate, step), layers)


def check_bytes_against_real_tensors(path, method, recompute=False):
    net = build(path, method)
    live = simulation._LiveBytes(t.untyped_storage() for t in (*net.parameters(), *net.buffers()))
    real = {}
    with live:
        value = net(**batch(method)).sum()
        real["forward"] = live.take_peak()
        real["activations"] = live.bytes
        value.backward()
        real["backward"] = live.take_peak()
    real["weights"] = sum(p.nbytes for p in net.parameters())
    real["trainable"] = sum(p.numel() for p in net.parameters() if p.requires_grad)
    simulated = simulate(path, method, recompute=recompute)
    simulated["backward"] = max(simulated["top"], simulated["bottom"])
    assert real == {name: simulated[name] for name in real}


def test_tensors_without_content_are_counted_as_real_ones(any_tiny):
    check_bytes_against_real_tensors(any_tiny, "full")


@pytest.mark.parametrize("method", METHODS)
def test_recomputed_blocks_are_counted_as_real_ones_with_every_method(tiny, method, monkeypatch):
    monkeypatch.setattr(classifier, "CHECKPOINTED", 0)
    check_bytes_against_real_tensors(tiny, method, recompute=True)


@pytest.mark.parametrize(
    "method, options",
    [("full", {"passes": 2, "cuda": True, "recompute": True}), ("lora", {"sharded": True})],
    ids=str,
)
def test_extrapolation_from_two_shallow_models_is_exact(tiny, method, options, monkeypatch):
    extrapolated = simulate(tiny, method, **options)
    monkeypatch.setattr(simulation, "extrapolate", lambda count, layers: count(layers))
    assert extrapolated == simulate(tiny, method, **options)


def test_full_finetuning_takes_sixteen_bytes_a_parameter_and_its_activations():
    memory = device_memory.estimate("gpt2", device="cpu", tokens=128, micro_batch=1)
    trained = GPT2 + 2 * 768  # and the head
    assert (memory.n_params, memory.trainable) == (GPT2, trained)
    assert (memory.weights, memory.gradients, memory.optimiser) == (
        4 * trained,
        4 * trained,
        8 * trained,
    )
    assert memory.step > memory.gradients + memory.activations, (
        "of several passes, the last begins with all gradients"
    )
    assert 16 * trained + memory.activations < memory.total < 18 * trained + memory.activations
    alone = device_memory.estimate("gpt2", device="cpu", tokens=128, batch=1)
    assert memory.gradients < alone.step < alone.gradients + alone.activations, (
        "of one pass, activations make room"
    )


def test_lora_trains_adapters_over_weights_in_bf16_on_cuda():
    adapters = 12 * 8 * ((768 + 2304) + (768 + 768) + (768 + 3072) + (3072 + 768)) + 2 * 768
    memory = device_memory.estimate("gpt2", "lora", tokens=128)
    assert (memory.trainable, memory.gradients, memory.optimiser) == (
        adapters,
        4 * adapters,
        8 * adapters,
    )
    assert (memory.weights, memory.host) == (2 * GPT2 + 4 * adapters, 2 * GPT2)
    on_cpu = device_memory.estimate("gpt2", "lora", tokens=128, device="cpu")
    assert (on_cpu.weights, on_cpu.host) == (4 * GPT2 + 4 * adapters, 4 * GPT2)


def test_an_embedding_cut_to_the_data_takes_only_the_rows_used():
    whole, cut = (
        device_memory.estimate("gpt2", tokens=128, vocabulary=rows) for rows in (None, 1000)
    )
    assert whole.weights - cut.weights == 4 * (50257 - 1000) * 768 and whole.host == cut.host
    assert cut.activations == whole.activations and cut.total < whole.total


def test_method_top_trains_the_top_blocks_and_loads_no_other():
    block = 12 * 768**2 + 13 * 768
    memory = device_memory.estimate("gpt2", "top", top_layers=4, tokens=128)
    assert memory.trainable == 4 * block + 2 * 768 + 2 * 768
    assert memory.host == 4 * (GPT2 - 8 * block)
    untied = device_memory.estimate("Qwen-7B", "top", tokens=16)
    assert 5.6e9 < untied.host < 5.8e9, "four blocks and the unembedding, float32"


def test_method_top_runs_the_frozen_trunk_before_it_trains():
    block = 12 * 768**2 + 13 * 768
    memory = device_memory.estimate("gpt2", "top", top_layers=1, tokens=8, batch=1)
    trunk = 2 * (GPT2 - block)
    assert trunk < memory.frozen < 2.5 * trunk
    assert memory.total == memory.frozen > memory.weights + memory.optimiser + memory.step


@pytest.mark.parametrize("method", ["probe", "logistic", "prompt"])
@pytest.mark.parametrize("device, bytes_each", [("cuda", 2), ("cpu", 4)])
def test_methods_that_train_no_block_take_the_frozen_model_and_one_pass(method, device, bytes_each):
    short, long = (
        device_memory.estimate("gpt2", method, device=device, tokens=n) for n in (256, 1024)
    )
    assert bytes_each * GPT2 < short.total < long.total < 2 * bytes_each * GPT2
    assert short.trainable == 2 * 768 and short.host == bytes_each * GPT2


def test_a_frozen_pass_on_a_gpu_needs_room_for_one_text_alone():
    def frozen(**options):
        return device_memory.estimate("SmolLM2-135M", "probe", tokens=256, **options).frozen

    one, four, all_of_them = (frozen(micro_batch=n) for n in (1, 4, 16))
    assert one < four < all_of_them == frozen() == frozen(micro_batch=32)
    assert frozen(device="cpu", micro_batch=1) == frozen(device="cpu")


def test_a_frozen_pass_is_counted_as_real_tensors_are(any_tiny):
    lm = models.load_lm(models.resolve(any_tiny))
    live = simulation._LiveBytes(t.untyped_storage() for t in (*lm.parameters(), *lm.buffers()))
    with torch.no_grad(), live:
        anatomy.run_causally(lm.base_model, **batch("full"))
    architecture = architecture_of(models.resolve(any_tiny))
    simulated = simulation.simulate_frozen(architecture, lm.config.num_hidden_layers, 3, 10, False)
    weights = sum(p.nbytes for p in lm.parameters())
    assert simulated == {"weights": weights, "peak": live.take_peak()}


def test_stored_activations_are_of_every_token_for_top_and_of_every_depth_for_probes():
    top, probe, full = (
        device_memory.estimate("gpt2", method, tokens=64, texts=10, device="cpu").disk
        for method in ("top", "probe", "full")
    )
    assert (top, probe, full) == (10 * 64 * 768 * 4, 10 * 13 * 768 * 2, 0)
    assert device_memory.estimate("gpt2", "top", tokens=64, texts=10).disk == top // 2, "in bf16"


def test_a_language_model_takes_the_logits_of_what_it_predicts_and_its_unembedding():
    options = {"tokens": 128, "micro_batch": 4}
    tied, classifier_alone = (
        device_memory.estimate("gpt2", predicted=n, **options) for n in (100, 0)
    )
    assert tied.total - classifier_alone.total == 4 * 100 * 50257 * 16
    untied, alone = (device_memory.estimate("Qwen-1_8B", predicted=n, **options) for n in (100, 0))
    unembedding = 151936 * 2048
    assert untied.trainable - alone.trainable == unembedding
    assert untied.total - alone.total == unembedding * 16 + 4 * 100 * 151936 * 16


@pytest.mark.parametrize("method", ["full", "top", "probe"])
def test_a_head_takes_a_row_for_each_class(method):
    two, more = (
        device_memory.estimate("gpt2", method, tokens=8, batch=1, n_classes=k) for k in (2, 1000)
    )
    assert more.trainable - two.trainable == 998 * 768
    assert more.weights - two.weights == 4 * 998 * 768
    assert two == device_memory.estimate("gpt2", method, tokens=8, batch=1)


def test_copies_of_trained_weights_take_main_memory():
    two = device_memory.estimate("gpt2", tokens=8, copies=2)
    assert two.host == 2 * 4 * two.trainable > device_memory.estimate("gpt2", tokens=8).host


def test_a_large_model_keeps_the_inputs_of_its_blocks():
    inputs = 32 * 1024 * 4096 * 4  # blocks, tokens, width, bytes
    memory = device_memory.estimate("Qwen-7B", micro_batch=1)
    assert inputs < memory.activations < 1.15 * inputs


def test_autocast_caches_a_copy_of_every_weight_until_the_forward_pass_ends():
    options = {"cuda": True, "recompute": True, "examples": 1, "tokens": 64}
    cached, without = (
        simulate("gpt2", "full", 12, sharded=s, **options)["forward"] for s in (False, True)
    )
    copies = 2 * 12 * 12 * 768**2
    assert 0.85 * copies < cached - without < 1.01 * copies  # without, those of the block at work


LANGUAGE_MODELS = [name for name, spec in MODELS.items() if not isinstance(spec, EncoderSpec)]


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_parameters_of_named_models_are_those_published_without_network(name):
    architecture = architecture_of(models.resolve(name))
    in_millions = round(simulation.count_parameters(architecture) / 1e6, 1)
    assert in_millions == pytest.approx(MODELS[name].n_params / 1e6, rel=0.001, abs=0.5)
    assert simulation.config_of(architecture).num_hidden_layers == MODELS[name].n_layers


def test_a_model_cut_in_depth_has_fewer_parameters_by_the_blocks_cut():
    whole, cut = (
        device_memory.estimate("gpt2", tokens=128),
        device_memory.estimate("gpt2@6", tokens=128),
    )
    assert whole.n_params - cut.n_params == 6 * (12 * 768**2 + 13 * 768)


def test_more_devices_hold_less_each():
    totals = [
        device_memory.estimate("gpt2", tokens=128, devices=n, micro_batch=1).total
        for n in (1, 2, 4, 8, 16)
    ]
    assert totals == sorted(totals, reverse=True) and len(set(totals)) == 5


@pytest.mark.parametrize("method", ["full", "lora"])
def test_longer_sequences_and_larger_batches_take_more(method):
    short, few, many = (
        device_memory.estimate("gpt2", method, tokens=t, batch=b)
        for t, b in ((64, 8), (128, 8), (128, 32))
    )
    assert (
        short.total < few.total < many.total
        and short.activations < few.activations < many.activations
    )


def test_a_cpu_makes_passes_of_8192_tokens_as_training_does():
    one, given = (
        device_memory.estimate("gpt2", device="cpu", tokens=512, micro_batch=n) for n in (None, 16)
    )
    assert one == given, "8192 tokens"


def test_the_largest_model_needs_several_devices_of_80_gb():
    assert 1 < device_memory.devices_needed("Qwen-72B", "lora") <= 8
    assert 8 < device_memory.devices_needed("Qwen-72B", "full") <= 64
    assert (
        device_memory.devices_needed("gpt2", tokens=128) == 1
        and device_memory.devices_needed("gpt2", gb=0.01, tokens=8) is None
    )


def test_the_table_has_the_numbers_of_the_estimates():
    table = device_memory.table(["gpt2"], gb=2, tokens=128)
    assert table.model.tolist() == ["gpt2", "gpt2"] and table.method.tolist() == ["full", "lora"]
    memory = device_memory.estimate("gpt2", tokens=128, micro_batch=1)
    assert (
        table["GB total"][0] == memory.total / 1e9 and table["parameters (10^9)"][0] == GPT2 / 1e9
    )
    assert (
        table.devices.tolist() == [device_memory.devices_needed("gpt2", gb=2, tokens=128), 1]
        and table.devices[0] > 1
    )


@pytest.mark.parametrize(
    "args, given, error, says",
    [
        (["gpt3"], {}, UnknownName, "gpt3.*gpt2"),
        (["gpt2", "ful"], {}, UnknownName, "method 'ful'.*full"),
        (["gpt2"], {"batch": 0}, ValueError, "batch = 0; expected a whole number from 1"),
        (["gpt2"], {"devices": None}, ValueError, "devices = None; expected a whole number from 1"),
        (
            ["gpt2"],
            {"micro_batch": 1.5},
            ValueError,
            "micro_batch = 1.5; expected a whole number from 1",
        ),
        (
            ["gpt2", "lora"],
            {"lora_rank": 0},
            ValueError,
            "lora_rank = 0; expected a whole number from 1",
        ),
        (["gpt2"], {"tokens": 1025}, ValueError, "1025 tokens; gpt2 takes 1024"),
        (["gpt2"], {"device": "gpu"}, ValueError, "device 'gpu'; expected cuda or cpu"),
        (["gpt2", "lora"], {"vocabulary": 100}, ValueError, "100 with method 'lora'; only full"),
        (["gpt2"], {"vocabulary": 60000}, ValueError, "60000.*of the 50257 of gpt2"),
        (
            ["gpt2", "top"],
            {"devices": 2},
            ValueError,
            "devices = 2 with method 'top'; full and lora",
        ),
        (["gpt2@13"], {}, ValueError, "1 to 12"),
        (["Qwen/Qwen2.5-Math-7B"], {}, models.ModelUnavailable, "Qwen2.5-Math-7B.*Ways out"),
    ],
)
def test_wrong_requests_say_what_was_given_and_what_exists(args, given, error, says):
    with pytest.raises(error, match=says):
        device_memory.estimate(*args, **given)


GB = 10**9


@pytest.fixture
def simple_estimates(monkeypatch):
    """Makes a method take so many GB, and one more for each example of a pass."""
    alone = {"full": 40, "lora": 10, "top": 8, "probe": 6}

    def estimate(model, method, *, device, micro_batch, batch=32, devices=1, tokens, **options):
        examples = min(micro_batch or batch, batch // devices)
        trains = method in ("full", "lora", "top")
        total = alone[method] // devices + trains * examples * (tokens or 64) // 64
        host = 30 if method in ("full", "top") else 15
        counts = dict.fromkeys(("n_params", "trainable", "weights", "gradients", "optimiser"), 0)
        counts |= {"activations": 0, "step": total * GB, "frozen": 0, "host": host * GB, "disk": 0}
        return device_memory.MemoryEstimate(model, method, device, devices, examples, **counts)

    monkeypatch.setattr(choice, "estimate", estimate)


@pytest.mark.parametrize(
    "gb, expected",
    [(81, ("full", None)), (70, ("full", 16)), (46, ("full", 1)), (45, ("lora", 16))],
)
def test_a_gpu_trains_the_whole_model_where_that_fits_and_adapters_else(
    simple_estimates, gb, expected
):
    chosen = device_memory.choose_method("gpt2", gb=gb)
    assert (chosen.method, chosen.micro_batch) == expected
    assert chosen.estimate.total <= 0.9 * gb * GB
    assert ("full takes 41.0 GB; lora takes 26.0 GB" in chosen.reason) == (gb == 45)


def test_a_cpu_trains_the_top_where_that_fits_and_a_probe_else(simple_estimates):
    methods = [device_memory.choose_method("gpt2", device="cpu", gb=gb).method for gb in (40, 33)]
    assert methods == ["top", "probe"]


def test_several_devices_share_a_model_that_one_does_not_hold(simple_estimates):
    chosen = device_memory.choose_method("gpt2", gb=30, devices=4)
    assert (chosen.method, chosen.micro_batch) == ("full", None)


def test_main_memory_too_small_for_the_checkpoint_leaves_adapters(simple_estimates):
    methods = [device_memory.choose_method("gpt2", gb=80, host_gb=n).method for n in (34, 32)]
    assert methods == ["full", "lora"]


def test_what_fits_nowhere_is_refused_with_numbers_and_ways_out(simple_estimates):
    expected = (
        r"gpt2 with method 'lora' takes at least 11.0 GB; a device of 12 GB has 12.0 GB, 10.8 GB "
        r"of them to be used. What would fit: method='top' \(9.0 GB\), method='probe' "
        r"\(6.0 GB\), devices=2 \(6.0 GB each\)$"
    )
    with pytest.raises(MemoryError, match=expected):
        device_memory.choose_method("gpt2", gb=12)
    says = "full' takes 30.0 GB of main memory while it loads; there are 8.0 GB"
    with pytest.raises(MemoryError, match=says):
        device_memory.choose_method("gpt2", gb=80, host_gb=8, methods=["full"])


def test_without_a_size_the_memory_of_this_machine_decides():
    chosen = device_memory.choose_method("gpt2", tokens=64)
    assert (chosen.method, chosen.estimate.device) == ("top", "cpu")


@pytest.mark.parametrize("gb", [0, -1, "80", True])
def test_the_memory_of_a_device_is_a_number_above_0(gb):
    with pytest.raises(ValueError, match="gb = .*expected a number above 0"):
        device_memory.devices_needed("gpt2", gb=gb)


def test_the_memory_of_a_model_in_a_folder_is_estimated_from_its_configuration(tiny):
    memory = device_memory.estimate(tiny)
    assert memory.n_params == sum(
        p.numel() for p in models.load_lm(models.resolve(tiny)).parameters()
    )
    assert memory == device_memory.estimate(tiny, tokens=64), "its context"


def test_gelu_of_gpt_2_keeps_one_tensor_for_the_backward_pass():
    # in eight steps it would keep three more, in float32
    config = {"n_layer": 2, "n_embd": 256, "n_head": 4, "vocab_size": 512}

    def activations(function):
        config_of_one = transformers.GPT2Config(activation_function=function, **config)
        step = simulation.Step(
            architecture=json.dumps(config_of_one.to_dict()),
            method="full",
            examples=4,
            tokens=256,
            passes=1,
            cuda=True,
            sharded=False,
            recompute=False,
            vocabulary=None,
            lora_rank=8,
        )
        return simulation.simulate(step, 2)["activations"]

    run = loading.as_run(transformers.GPT2Config(**config)).activation_function
    assert run == "gelu_pytorch_tanh"
    inner = 4 * 256 * (4 * 256) * 4  # bytes of examples * tokens * width within a block, float32
    assert activations("gelu_new") - activations(run) >= 2 * 3 * inner
