"""Encoders of images: their features are stored, and probes learn from them like from texts'."""

import hashlib

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import w2s_nb as w2s
from w2s_nb.common.registry import ENCODERS, MODELS
from w2s_nb.data.tasks.spec import Example, Sizes
from w2s_nb.inputs import encoded
from w2s_nb.inputs.activations import deepest_first
from w2s_nb.models.encoders import family_of
from w2s_nb.models.loading import ensure, n_params, with_depth
from w2s_nb.models.names import EncoderSpec, resolve
from w2s_nb.notebook.defaults import fill
from w2s_nb.notebook.parameters import check
from w2s_nb.training.device_memory import estimate
from w2s_nb.vision import alexnet, own_classifier, paper
from w2s_nb.vision.images import Images
from w2s_nb.vision.preprocessing import prepare, side_of


def save_vit(path):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
    )
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(path)
    return str(path)


def save_resnet(path):
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=6, hidden_sizes=[8, 12], depths=[1, 2], layer_type="basic"
    )
    transformers.ResNetModel(config).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("models") / "vit")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    return save_resnet(tmp_path_factory.mktemp("models") / "resnet")


CLASSES = ("red", "green", "blue")


def make_images(n=360, side=8, seed=0):
    """Images whose class says which colour channel is bright, {name: pixels}."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (n, side, side, 3), dtype=np.uint8)
    for i in range(n):
        pixels[i, :, :, i % len(CLASSES)] += 100
    names = ["image:" + hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in pixels]
    return dict(zip(names, pixels, strict=True))


@pytest.fixture
def colours(registries):
    """Loads a task of images with small splits; `asked` counts the images that were looked up."""
    images = make_images()
    asked = []

    def read(name):
        asked.append(name)
        return images[name]

    def lookup():
        return Images({name: name for name in images}, read)

    rows = [{"image": name, "label": i % len(CLASSES)} for i, name in enumerate(images)]

    @w2s.register_task("colours", rows, max_len=1, classes=CLASSES, images=lookup)
    def colours(row):
        """Which colour is bright?"""
        yield Example((row["image"],), row["label"])

    task = w2s.load_task("colours", n_train=90, n_val=30, n_test=60)
    return task, asked, images


def by_hand(path, images, depth):
    """Features of a ViT's class token by transformers' own forward pass."""
    model = transformers.ViTModel.from_pretrained(path, add_pooling_layer=False).eval()
    mean, std = (torch.tensor(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = (torch.from_numpy(images).float() / 255 - mean) / std
    with torch.no_grad():
        out = model(pixels.permute(0, 3, 1, 2), output_hidden_states=True)
        return model.layernorm(out.hidden_states[depth][:, 0]).numpy()


def test_features_of_a_vit_are_its_class_token_after_each_block(vit, colours):
    task, _, images = colours
    features = w2s.features(vit, task.test, dtype="float32")
    assert features.layers == (0, 1, 2, 3)
    pixels = np.stack([images[name] for (name,) in task.test.texts])
    for depth in range(4):
        np.testing.assert_allclose(features[depth], by_hand(vit, pixels, depth), atol=2e-5)


def test_features_of_a_resnet_are_means_over_the_image_after_each_block(resnet, colours):
    task, _, images = colours
    features = w2s.features(resnet, task.test, dtype="float32")
    assert [features[k].shape[1] for k in features.layers] == [6, 8, 12, 12]
    model = transformers.ResNetModel.from_pretrained(resnet).eval()
    pixels = torch.from_numpy(np.stack([images[name] for (name,) in task.test.texts]))
    mean, std = (torch.tensor(v) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    large = torch.nn.functional.interpolate(
        pixels.permute(0, 3, 1, 2).float(), (56, 56), mode="bicubic", antialias=True
    ).clamp(0, 255)
    with torch.no_grad():
        out = model((large / 255 - mean[:, None, None]) / std[:, None, None])
    np.testing.assert_allclose(features[3], out.pooler_output[:, :, 0, 0], atol=2e-5)


QUICK = {"method": "probe", "epochs": 40, "head_lr": 0.01, "evals": 2}


@pytest.mark.parametrize("how", [QUICK, {"method": "logistic"}], ids=["probe", "logistic"])
def test_probes_learn_classes_of_images_from_an_encoder(vit, colours, how):
    task, _, _ = colours
    fit = w2s.fit(vit, task.student, **how)
    assert fit.predict(task.test).shape == (60, len(CLASSES))
    assert fit.accuracy(task.test).value > 0.9
    labels = w2s.fit(f"{vit}@1", task.supervisor, **how).label(task.student)
    student = w2s.fit(vit, task.student, labels, **how)
    assert student.record["summary"]["layers"] == 3
    assert student.accuracy(task.test).value > 0.9


def test_an_image_is_read_once_for_all_depths_and_fits(vit, colours, monkeypatch):
    task, asked, _ = colours
    splits = [task.supervisor, task.student, task.validation, task.test]
    with deepest_first({vit: splits}):
        w2s.fit(f"{vit}@1", task.supervisor, **QUICK)
    assert len(asked) == len(set(asked)) == sum(map(len, splits))
    monkeypatch.setattr(encoded, "_run", lambda *a, **k: pytest.fail("an image was read again"))
    w2s.fit(vit, task.student, **QUICK)
    w2s.fit(f"{vit}@2", task.student, **QUICK)


@pytest.mark.parametrize("method", ["full", "lora", "top"])
def test_methods_that_would_train_an_encoder_are_refused(vit, colours, method):
    with pytest.raises(ValueError, match=f"method '{method}' with .*expected method 'probe' or"):
        w2s.fit(vit, colours[0].student, method=method)


def test_images_need_an_encoder_and_texts_a_language_model(vit, tiny, colours, words, monkeypatch):
    monkeypatch.setattr("w2s_nb.models.loading.load_lm", lambda *a, **k: pytest.fail("loaded"))
    task = colours[0]
    for call in (
        lambda: w2s.fit(tiny, task.student, method="probe"),
        lambda: w2s.features(tiny, task.test),
        lambda: w2s.prompt(tiny, task.test),
    ):
        with pytest.raises(ValueError, match="colours has images, and .* is a language model"):
            call()
    for call in (
        lambda: w2s.fit(vit, words.student, method="probe"),
        lambda: w2s.features(vit, words.test),
        lambda: w2s.features(vit, ["one text"]),
        lambda: w2s.prompt(vit, words.test),
    ):
        with pytest.raises(ValueError, match="has texts, and .* is an encoder"):
            call()


def test_a_report_of_images_has_no_tokens(vit, colours):
    frame = w2s.split_report(colours[0], vit)
    assert len(frame) == 4 and not [name for name in frame if "token" in name]


def test_an_encoder_is_not_deeper_than_it_is_and_counts_its_parameters(vit):
    with pytest.raises(ValueError, match="asks for 4 layers; .* has 3"):
        with_depth(resolve(f"{vit}@4"))
    whole, cut = (n_params(with_depth(resolve(name))) for name in (vit, f"{vit}@1"))
    assert 0 < cut < whole


def test_weights_that_lack_a_tensor_are_refused(tmp_path):
    path = save_vit(tmp_path / "vit")
    tensors = transformers.ViTModel.from_pretrained(path, add_pooling_layer=False).state_dict()
    tensors.pop("layernorm.weight")
    (tmp_path / "vit" / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "vit" / "pytorch_model.bin")
    checkpoint = with_depth(resolve(path))
    with pytest.raises(OSError, match="pytorch_model.bin lacks layernorm.weight"):
        family_of(checkpoint).load(checkpoint)


def test_the_networks_that_are_written_here_have_the_published_sizes():
    # 61,100,840 by torchvision; 4.7, 5.4 and 6.1 million by the authors of EfficientNet-Lite
    names = [f"efficientnet-lite{size}" for size in (0, 1, 2)]
    counts = [n_params(with_depth(resolve(n))) for n in names]
    assert counts == [4_652_008, 5_416_680, 6_092_072]
    assert sum(p.numel() for p in hollow_alexnet().parameters()) == 61_100_840


@pytest.mark.parametrize(
    "name", [name for name, spec in MODELS.items() if isinstance(spec, EncoderSpec)]
)
def test_numbers_of_known_encoders_are_theirs_without_network_or_weights(name, monkeypatch):
    monkeypatch.setattr(alexnet, "find_file", lambda: pytest.fail("weights were looked for"))
    checkpoint = resolve(name)
    family = family_of(checkpoint)
    assert len(family.widths(checkpoint)) - 1 == MODELS[name].n_layers
    n = sum(p.numel() for p in family.hollow(checkpoint).parameters())
    assert n == pytest.approx(MODELS[name].n_params, rel=0.002)


def hollow_alexnet():
    with torch.device("meta"):
        return alexnet.AlexNet()


def test_alexnet_gives_features_of_convolutions_and_linear_layers_and_logits():
    images = torch.zeros((2, 224, 224, 3), dtype=torch.uint8, device="meta")
    net = hollow_alexnet().eval()
    shapes = [tuple(each.shape) for each in net(images)]
    assert shapes == [(2, width) for width in alexnet.AlexNets().widths(resolve("alexnet"))]
    assert net.classify(images).shape == (2, 1000)


def test_alexnet_is_taken_from_a_file_with_the_published_checksum_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(alexnet, "cache", lambda: tmp_path / "cache")
    with pytest.raises(OSError, match="download it there from https://download.pytorch.org"):
        ensure(resolve("alexnet"))
    file = tmp_path / "hub" / "checkpoints" / alexnet.FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    with pytest.raises(OSError, match="begins with .*, not with 7be5be79"):
        ensure(resolve("alexnet"))


def test_an_image_is_shown_whole_and_a_small_one_is_not_enlarged_beyond_use():
    wide = torch.zeros((1, 20, 40, 3), dtype=torch.uint8)
    wide[:, :, 10:30] = 255  # what the middle square shows
    assert prepare(wide, 20, (0.0,) * 3, (1.0,) * 3).min() == 1
    assert [side_of(torch.zeros((1, n, n, 3)), 224) for n in (8, 28, 32, 96, 500)] == [
        56,
        56,
        64,
        192,
        224,
    ]


def test_own_labels_are_the_softmax_of_an_encoders_own_classifier(colours, monkeypatch):
    task, asked, images = colours

    class Bright(torch.nn.Module):
        """Classifies by the brightness of the colour channels."""

        def classify(self, images):
            return images.float().mean((1, 2)) / 10

    class Family:
        def widths(self, checkpoint):
            return (3, 3)

        def digest(self, checkpoint):
            return "bright"

        def load(self, checkpoint):
            return Bright()

        hollow = load

        def code_parts(self):
            return ()

    monkeypatch.setattr(own_classifier, "N_CLASSES", 3)
    ENCODERS.register("bright", Family())
    MODELS.register("bright", EncoderSpec("bright", None, None, 0, 1, 0.0, family="bright"))
    labels = own_classifier.own_labels("bright", task.student)
    assert labels.knows(task.validation).all()
    pixels = np.stack([images[name] for (name,) in task.student.texts])
    scores = pixels.astype(np.float64).mean((1, 2)) / 10
    expected = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(labels.for_split(task.student), expected, rtol=1e-5)
    n_asked = len(asked)
    again = own_classifier.own_predictions("bright", task.student)
    np.testing.assert_allclose(again, expected, rtol=1e-5)
    assert len(asked) == n_asked, "an image is classified once"
    with pytest.raises(ValueError, match="is cut in depth, below its classifier"):
        own_classifier.own_labels("bright@1", with_two_blocks(task.student, monkeypatch, Family))


def with_two_blocks(split, monkeypatch, family):
    monkeypatch.setattr(family, "widths", lambda self, checkpoint: (3, 3, 3))
    return split


def test_own_labels_need_a_classifier_and_its_classes(vit, colours, monkeypatch):
    with pytest.raises(ValueError, match="has 3 classes; .* knows the 1000 of ImageNet"):
        own_classifier.own_labels("alexnet", colours[0].student)
    monkeypatch.setattr(own_classifier, "N_CLASSES", 3)
    with pytest.raises(ValueError, match="has no classifier; expected alexnet"):
        own_classifier.own_labels(vit, colours[0].student)


def test_the_papers_table_teaches_a_student_on_both_halves(vit, colours, monkeypatch):
    task, _, images = colours
    order = list(images)

    def says(model, split):  # right on two of three images
        number = [order.index(name) for (name,) in split.texts]
        return np.eye(3)[[(i + (i // 3) % 3 // 2) % 3 for i in number]]

    def labels(model, split):
        splits = [split, split.task.validation]
        ids = np.concatenate([each.ids for each in splits])
        return w2s.SoftLabels(ids, np.concatenate([says(model, each) for each in splits]), model)

    monkeypatch.setattr(paper, "own_predictions", says)
    monkeypatch.setattr(paper, "own_labels", labels)
    joined = paper.join_halves(task).student
    assert len(joined) == 180 and set(joined.ids) == {*task.student.ids, *task.supervisor.ids}
    assert joined.shares.tolist() == [1 / 3] * 3
    found = paper.table_3(vit, task="colours", epochs=30, sizes=Sizes(90, 30, 60))
    assert list(found.index) == ["weak supervisor", "student, naive", "strong ceiling"]
    assert 0.5 < found.accuracy["weak supervisor"] < 0.8 < found.accuracy["strong ceiling"]
    weak, student, ceiling = found.accuracy
    assert found.pgr["student, naive"] == pytest.approx((student - weak) / (ceiling - weak))


def test_efficientnet_lite_gives_the_logits_of_its_reference_implementation():
    checkpoint = with_depth(resolve("efficientnet-lite0"))
    net = family_of(checkpoint).load(checkpoint)
    image = (torch.arange(224 * 224 * 3) ** 2 % 251).reshape(1, 224, 224, 3).to(torch.uint8)
    with torch.inference_mode():
        logits = net.classify(image)[0]
        features = net(image)
    # of efficientnet-lite-pytorch 0.1.0 on the same pixels, minus 127, by 128
    assert int(logits.argmax()) == 111
    torch.testing.assert_close(
        logits[:4], torch.tensor([-1.3029, 0.0910, -0.5329, -1.3404]), atol=2e-4, rtol=0
    )
    widths = family_of(checkpoint).widths(checkpoint)
    assert tuple(each.shape[1] for each in features) == widths
    cut = with_depth(resolve("efficientnet-lite0@3"))
    with torch.inference_mode():
        assert torch.equal(family_of(cut).load(cut)(image)[3], features[3])


def test_efficientnet_lite_recognises_a_palace():
    from sklearn.datasets import load_sample_image

    checkpoint = with_depth(resolve("efficientnet-lite0"))
    net = family_of(checkpoint).load(checkpoint)
    palace = torch.from_numpy(load_sample_image("china.jpg").copy())[None]
    with torch.inference_mode():
        assert int(net.classify(palace).argmax()) == 698  # "palace", of ImageNet's classes


def test_the_memory_of_an_encoder_is_that_of_its_own_pass(vit, monkeypatch):
    whole = estimate("efficientnet-lite2", "probe", device="cpu", texts=1000)
    assert whole.n_params == 6_092_072 and whole.host == 4 * 6_092_072
    # 32 images of 3 x 260 x 260 in float32 are 26 MB, and the widest tensor is some eight times it
    assert 1e8 < whole.frozen < 2e9
    widths = family_of(resolve("efficientnet-lite2")).widths(resolve("efficientnet-lite2"))
    assert whole.disk == 1000 * 2 * sum(widths)
    cut = estimate("efficientnet-lite2@2", "probe", device="cpu", texts=1000)
    assert cut.n_params < whole.n_params and cut.disk == 1000 * 2 * sum(widths[:3])
    assert estimate(vit, "probe", device="cuda").total > 0
    with pytest.raises(ValueError, match="method 'full' with efficientnet-lite2: an encoder"):
        estimate("efficientnet-lite2", "full")


def test_notebooks_take_a_probe_for_an_encoder_and_refuse_other_methods(vit, colours):
    parameters = {"task": "colours", "weak": f"{vit}@1", "strong": vit, "method": "auto"}
    parameters |= {"n_train": 90, "n_val": 30, "n_test": 60}
    check("13_vision", parameters)
    filled, _ = fill(parameters)
    assert filled["method"] == "probe"
    with pytest.raises(ValueError, match="method 'full' with .* only probes"):
        check("13_vision", parameters | {"method": "full"})
    with pytest.raises(ValueError, match="colours has images, and SmolLM2-135M is a language"):
        check("13_vision", parameters | {"strong": "SmolLM2-135M"})


def test_tensors_in_a_file_of_torch_save_give_the_same_features(tmp_path):
    path = save_vit(tmp_path / "vit")
    images = torch.from_numpy(np.stack(list(make_images(4).values())))
    checkpoint = with_depth(resolve(path))
    with torch.inference_mode():
        from_safetensors = family_of(checkpoint).load(checkpoint)(images)
    file = tmp_path / "vit" / "model.safetensors"
    torch.save(load_file(file), tmp_path / "vit" / "pytorch_model.bin")
    file.unlink()
    with torch.inference_mode():
        from_torch = family_of(checkpoint).load(checkpoint)(images)
    assert all(map(torch.equal, from_safetensors, from_torch))


@pytest.mark.parametrize("name", ["dino-vitb8", "Ramos-Ramos/dino-resnet-50"])
def test_a_hub_encoder_out_of_reach_says_what_to_do(name):
    checkpoint = resolve(name)
    with pytest.raises(OSError, match=f"hf download {checkpoint.hub_id} --revision "):
        ensure(checkpoint)
