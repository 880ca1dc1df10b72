"""Encoders of images: their features are stored, and probes learn from them like from texts'."""

import hashlib

import numpy as np
import pytest
import torch
import transformers

import w2s_nb as w2s
from w2s_nb.data.tasks.spec import Example
from w2s_nb.inputs import encoded
from w2s_nb.inputs.activations import deepest_first
from w2s_nb.models.encoders import family_of
from w2s_nb.models.loading import n_params, with_depth
from w2s_nb.models.names import resolve


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


CLASSES = ("red", "green")


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

    def lookup():
        def pixels_of(names):
            asked.extend(names)
            return np.stack([images[name] for name in names])

        return pixels_of

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
        pixels.permute(0, 3, 1, 2).float(), (224, 224), mode="bicubic", antialias=True
    ).clamp(0, 255)
    with torch.no_grad():
        out = model((large / 255 - mean[:, None, None]) / std[:, None, None])
    np.testing.assert_allclose(features[3], out.pooler_output[:, :, 0, 0], atol=2e-5)


@pytest.mark.parametrize("method", ["probe", "logistic"])
def test_probes_learn_classes_of_images_from_an_encoder(vit, colours, method):
    task, _, _ = colours
    fit = w2s.fit(vit, task.student, method=method)
    assert fit.predict(task.test).shape == (60, len(CLASSES))
    assert fit.accuracy(task.test).value > 0.9
    labels = w2s.fit(f"{vit}@1", task.supervisor, method=method).label(task.student)
    student = w2s.fit(vit, task.student, labels, method=method)
    assert student.record["summary"]["layers"] == 3
    assert student.accuracy(task.test).value > 0.9


def test_an_image_is_read_once_for_all_depths_and_fits(vit, colours, monkeypatch):
    task, asked, _ = colours
    splits = [task.supervisor, task.student, task.validation, task.test]
    with deepest_first({vit: splits}):
        w2s.fit(f"{vit}@1", task.supervisor, method="logistic")
    assert len(asked) == len(set(asked)) == sum(map(len, splits))
    monkeypatch.setattr(encoded, "_run", lambda *a, **k: pytest.fail("an image was read again"))
    w2s.fit(vit, task.student, method="logistic")
    w2s.fit(f"{vit}@2", task.student, method="probe")


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
