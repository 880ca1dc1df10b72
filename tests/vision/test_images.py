"""Images stand for themselves by a name, whatever they are read from."""

import gzip
import struct
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import w2s_nb as w2s
from w2s_nb import plots
from w2s_nb.common.registry import TASKS, UnknownName
from w2s_nb.data.sources import DataUnavailable
from w2s_nb.notebook.widgets import setting_explorer
from w2s_nb.vision import compared, sources, tasks
from w2s_nb.vision.images import Images, decode, in_colour, name_of


def squares(n=60, classes=3, side=8, seed=0):
    """Random images (n, side, side) whose brightness tells their class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    pixels = rng.integers(0, 60, (n, side, side)) + 60 * labels[:, None, None]
    return pixels.astype(np.uint8), labels


@pytest.fixture(autouse=True)
def forget_tasks(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path_factory.mktemp("cache")))
    before = set(TASKS)
    yield
    for name in set(TASKS) - before:
        TASKS._entries.pop(name)


def write_folder(folder, pixels, labels, names=("cat", "dog", "eel")):
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / names[label] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def test_a_name_is_of_pixels_and_shape_and_a_grey_image_is_the_same_in_colour():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert name_of(grey) == name_of(in_colour(grey)) and name_of(grey).startswith("image:")
    assert len(name_of(grey)) == len("image:") + 32
    assert len({name_of(grey), name_of(grey.T), name_of(grey.reshape(4, 3))}) == 3


@pytest.mark.parametrize("wrong", [np.zeros((3, 4)), np.zeros((3, 4, 4), np.uint8)])
def test_pixels_of_another_kind_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W\) or \(H, W, 3\)"):
        name_of(wrong)


def test_images_are_found_by_name_in_the_order_asked_for():
    pixels, labels = squares()
    found = sources.collect("squares", sources.from_arrays({"all": (pixels, labels)}))
    rows = [found.rows["all"][i] for i in (5, 0, 5)]
    assert (found.images([row["image"] for row in rows])[..., 1] == pixels[[5, 0, 5]]).all()
    with pytest.raises(ValueError, match="no image is named 'image:0'"):
        found.images(["image:0"])


def test_images_of_different_shapes_are_refused_together():
    images = Images({"a": 4, "b": 5}, lambda side: np.zeros((side, side), np.uint8))
    with pytest.raises(ValueError, match=r"shapes \(4, 4, 3\) and \(5, 5, 3\)"):
        images(["a", "b"])


def test_a_picture_has_words_in_its_place_that_are_no_markup():
    images = Images({"a": 0}, lambda _: np.zeros((4, 8), np.uint8))
    html = images.picture("a", '"<b>"', side=16)
    assert 'alt="&quot;&lt;b&gt;&quot;"' in html and 'width="16" height="8"' in html
    assert "data:image/png;base64," in html


def test_a_file_is_cut_as_torchvision_does(tmp_path):
    wide = np.zeros((256, 512, 3), np.uint8)
    wide[:, 144:368] = 200  # the middle 224 columns
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (decode(tmp_path / "wide.png", 224) == 200).all()
    assert decode((tmp_path / "wide.png").read_bytes(), None).shape == (256, 512, 3)


def test_a_task_of_arrays_has_the_splits_of_any_task():
    w2s.vision.task_from_images("squares", squares(), classes=("dark", "grey", "light"))
    task = w2s.load_task("squares", n_train=12, n_val=6, n_test=6)
    assert task.test.classes == ("dark", "grey", "light") and task.test.chance == 1 / 3
    pixels = task.spec.images()([name for (name,) in task.test.texts])
    assert (pixels.mean((1, 2, 3)) // 60 == task.test.hard_label).all()
    report = task.report()
    assert "median words" not in report and report._repr_html_().count("<img") == 3
    assert 'alt="grey"' in report._repr_html_()


def test_the_same_image_twice_is_one_example():
    pixels, labels = squares(30)
    twice = np.concatenate([pixels, pixels]), np.concatenate([labels, labels])
    w2s.vision.task_from_images("twice", twice)
    counts = w2s.load_task("twice", n_train=6, n_val=3, n_test=3).counts
    assert counts["dropped with repeated texts"] == 30


def test_a_folder_gives_the_examples_that_its_arrays_give(tmp_path):
    pixels, labels = squares()
    w2s.vision.task_from_images("files", write_folder(tmp_path, pixels, labels), size=None)
    w2s.vision.task_from_images("arrays", (pixels, labels), classes=("cat", "dog", "eel"))
    assert TASKS["files"].classes == TASKS["arrays"].classes
    of_files, of_arrays = (
        {
            name: label
            for _, rows in sorted(TASKS[n].source().items())
            for name, label in ((row["image"], row["label"]) for row in rows)
        }
        for n in ("files", "arrays")
    )
    assert of_files == of_arrays


def test_a_folder_of_train_and_test_keeps_them(tmp_path):
    for split, seed in (("train", 1), ("test", 2)):
        write_folder(tmp_path / split, *squares(30, seed=seed))
    w2s.vision.task_from_images("two", tmp_path, size=None)
    rows = TASKS["two"].source()
    test = w2s.load_task("two", n_train=6, n_val=3, n_test=9).test
    assert {name for (name,) in test.texts} <= {row["image"] for row in rows["test"]}


@pytest.mark.parametrize(
    "given, expected",
    [
        (lambda folder: folder / "none", "is no folder"),
        (lambda folder: folder, "has 0 folders with images"),
        (lambda folder: [1, 2, 3], r"expected a folder, or \(pixels, labels\)"),
        (lambda folder: (squares()[0], [0]), "60 images and 1 labels"),
        (lambda folder: (squares()[0], squares()[1] + 1), "go from 1 to 3, and none is 0"),
        (lambda folder: (squares()[0], squares()[1] - 1), "go from -1 to 1, and none is 2"),
        (lambda folder: (squares()[0], squares()[1] / 2), r"float64 of shape \(60,\)"),
        (
            lambda folder: (squares()[0], ["a"] * 60),
            r"<U1 of shape \(60,\); expected whole numbers",
        ),
    ],
)
def test_sources_that_are_none_are_refused_in_one_line(tmp_path, given, expected):
    with pytest.raises((OSError, ValueError), match=expected) as error:
        w2s.vision.task_from_images("mine", given(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [0, -3, 32.5, "big"])
def test_a_size_that_is_none_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match=r"size = .*expected pixels of a side"):
        w2s.vision.task_from_images("mine", write_folder(tmp_path, *squares()), size=size)


def test_folders_of_systems_and_notebooks_are_no_classes(tmp_path):
    write_folder(tmp_path, *squares())
    for name in (".ipynb_checkpoints", "__MACOSX"):
        write_folder(tmp_path, *squares(1), names=(name,))
    (tmp_path / "cat" / "more.png").mkdir()
    assert sources.classes_in(tmp_path) == ("cat", "dog", "eel")
    assert len(sources.from_folder(tmp_path, None).splits["all"]) == 60


def test_a_class_folder_without_images_is_named(tmp_path):
    write_folder(tmp_path, *squares())
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "0.heic").write_bytes(b"")
    with pytest.raises(DataUnavailable, match="fox in .* has no images"):
        w2s.vision.task_from_images("mine", tmp_path)


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation"])
def test_a_folder_for_test_is_known_by_its_usual_names(tmp_path, test):
    for split in ("train", test):
        write_folder(tmp_path / split, *squares(30))
    assert sources.classes_in(tmp_path) == ("cat", "dog", "eel")


def test_what_is_transparent_is_white_and_16_bits_become_8(tmp_path):
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[0, 0] = (9, 8, 7, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    pixels = decode(tmp_path / "clear.png", None)
    assert pixels[0, 0].tolist() == [9, 8, 7] and (pixels[1:] == 255).all()
    deep = np.arange(0, 65536, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (decode(tmp_path / "deep.png", None)[..., 0].ravel() == np.arange(256)).all()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="32 bits"):
        decode(tmp_path / "float.tif", None)


def test_a_photo_is_read_upright(tmp_path):
    photo = Image.fromarray(np.zeros((4, 8, 3), np.uint8))
    turned = photo.getexif()
    turned[0x0112] = 6  # the camera was held on its side
    photo.save(tmp_path / "photo.jpg", exif=turned)
    assert decode(tmp_path / "photo.jpg", None).shape == (8, 4, 3)


def test_without_pillow_the_way_out_is_said():
    code = (
        "import sys; sys.modules['PIL'] = None; import w2s_nb as w2s\n"
        "try: w2s.vision.task_from_images\n"
        "except ImportError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip().endswith("pip install 'w2s_nb[vision]'")


def test_a_task_of_the_kit_keeps_its_name():
    with pytest.raises(ValueError, match="one of the kit's own"):
        w2s.vision.task_from_images("mnist_5k", squares())
    with pytest.raises(ValueError, match="2 classes are named; the images have 3"):
        w2s.vision.task_from_images("mine", squares(), classes=("a", "b"))


def test_a_file_that_is_no_image_is_named(tmp_path):
    write_folder(tmp_path, *squares())
    (tmp_path / "dog" / "broken.png").write_bytes(b"no image")
    w2s.vision.task_from_images("broken", tmp_path)
    with pytest.raises(DataUnavailable, match=r"dog/broken.png cannot be read as an image"):
        w2s.load_task("broken")
    (tmp_path / "dog" / "broken.png").unlink()
    (tmp_path / "dog" / "broken.png").symlink_to("nowhere")
    with pytest.raises(DataUnavailable, match=r"dog/broken.png cannot be read as an image"):
        sources.from_folder(tmp_path, None)


def test_an_image_too_large_to_be_decoded_is_named(tmp_path, monkeypatch):
    write_folder(tmp_path, *squares())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    listed = sources.from_folder(tmp_path, None)
    with pytest.raises(DataUnavailable, match=r"cat/0.png cannot be read as an image: .*exceeds"):
        listed.read("cat/0.png")


def test_files_in_the_format_of_mnist_are_read_and_broken_ones_refused(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = b"\0\0\x08\x03" + struct.pack(">3i", *array.shape) + array.tobytes()
    (tmp_path / "whole.gz").write_bytes(gzip.compress(content))
    (tmp_path / "cut").write_bytes(content[:-1])
    assert (sources.read_idx(tmp_path / "whole.gz") == array).all()
    with pytest.raises(DataUnavailable, match="cut is no whole file"):
        sources.read_idx(tmp_path / "cut")


def flat(folder, answers, text):
    pixels, _ = squares(4)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"val_{i}.JPEG")
    (folder / answers).write_text(text)
    return sources.from_flat_folder(folder, None)


def test_flat_images_take_their_classes_from_either_file(tmp_path):
    listed = flat(tmp_path, "val.txt", "val_1.JPEG 2\nval_0.JPEG 0\n")
    assert listed.splits["all"] == [("val_1.JPEG", 2), ("val_0.JPEG", 0)]
    (tmp_path / "val.txt").unlink()
    csv = "ImageId,PredictionString\nval_3,n02 1 2 3 4 n02 5 6 7 8\nval_0,n01 1 2 3 4\n"
    listed = flat(tmp_path, "LOC_val_solution.csv", csv)
    assert listed.splits["all"] == [("val_3.JPEG", 1), ("val_0.JPEG", 0)]
    with pytest.raises(DataUnavailable, match="names 'val_9'"):
        flat(tmp_path, "LOC_val_solution.csv", csv + "val_9,n01 1 2 3 4\n")


@pytest.mark.parametrize("line", ["val_1.JPEG", "val_1.JPEG two", "1"])
def test_a_line_without_image_and_class_is_named(tmp_path, line):
    with pytest.raises(DataUnavailable, match=rf"line 2 of val.txt is '{line}'"):
        flat(tmp_path, "val.txt", f"val_0.JPEG 0\n{line}\n")


@pytest.mark.parametrize("below", ["", "val", "ILSVRC/Data/CLS-LOC/val"])
def test_imagenet_is_found_below_the_file_of_its_classes(tmp_path, monkeypatch, below):
    (tmp_path / "imagenet" / below).mkdir(parents=True)
    flat(tmp_path / "imagenet" / below, "val.txt", "val_0.JPEG 0\nval_1.JPEG 1\nval_2.JPEG 2\n")
    (tmp_path / "imagenet" / below / "val.txt").rename(tmp_path / "imagenet" / "val.txt")
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    monkeypatch.setattr(tasks, "_CLASSES_OF_IMAGENET", 3)
    assert len(tasks._imagenet().splits["train"]) == 3
    monkeypatch.setattr(tasks, "_CLASSES_OF_IMAGENET", 4)
    with pytest.raises(DataUnavailable, match="3 classes, 0 to 2, are there; expected 0 to 3"):
        tasks._imagenet()


def test_imagenet_comes_from_a_folder_and_puts_a_fifth_of_each_class_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "_CLASSES_OF_IMAGENET", 3)
    write_folder(tmp_path / "imagenet" / "val", *squares(60), names=("n01", "n02", "n03"))
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    listed = tasks._imagenet()
    labels = {split: [label for _, label in rows] for split, rows in listed.splits.items()}
    assert [labels["test"].count(c) for c in range(3)] == [4, 4, 4] and len(labels["train"]) == 48
    assert listed.read(listed.splits["test"][0][0]).shape == (224, 224, 3)
    assert tasks._imagenet().splits == listed.splits


def test_imagenet_without_a_folder_says_the_ways_out(monkeypatch):
    monkeypatch.delenv("W2S_DATA", raising=False)
    with pytest.raises(DataUnavailable, match="accept its terms on the hub and set HF_TOKEN") as e:
        tasks._imagenet()
    assert "\n" not in str(e.value)


def test_names_of_files_are_kept_until_a_file_changes(tmp_path, monkeypatch):
    write_folder(tmp_path / "images", *squares())
    read = []
    monkeypatch.setattr(sources, "_name_all", lambda *given: read.append(1) or NAMED(*given))

    def collect():
        return sources.collect("kept", sources.from_folder(tmp_path / "images", None))

    assert collect().rows == collect().rows and len(read) == 1
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / "cat" / "0.png")
    collect()
    assert len(read) == 2


NAMED = sources._name_all


def test_small_sets_come_from_local_files_in_the_hubs_form(tmp_path, monkeypatch):
    import datasets

    pixels, labels = squares(20)
    rows = {"image": [Image.fromarray(p) for p in pixels], "label": labels.tolist()}
    for split in ("train", "test"):
        (tmp_path / "mnist").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(rows).to_parquet(str(tmp_path / "mnist" / f"{split}.parquet"))
    monkeypatch.setenv("W2S_DATA", str(tmp_path))
    listed = tasks._of_hub("mnist", w2s.Hub("ylecun/mnist", "0" * 40))
    found = sources.collect("mnist", listed)
    assert [row["image"] for row in found.rows["test"]] == [name_of(p) for p in pixels]


def test_fashion_mnist_that_is_another_is_refused(tmp_path, monkeypatch):
    for part in ("train", "t10k"):
        for kind, array in zip(("images-idx3", "labels-idx1"), squares(), strict=True):
            header = (
                b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
            )
            content = header + array.astype(np.uint8).tobytes()
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(tasks, "DEBIAN", tmp_path)
    with pytest.raises(DataUnavailable, match="not the 70,000 images"):
        tasks._fashion_mnist()


def test_the_browser_shows_the_image_in_place_of_its_name():
    row = pd.Series(
        {"text": "image:0", "truth": 1, "right": "both", "supervisor": 0.5, "student": 1.0}
    )
    row.attrs["classes"] = ("dark", "grey", "light")
    card = plots.card(row, picture="<img alt='grey'>")
    assert "<img alt='grey'>" in card and "image:0" not in card


def test_images_that_one_model_alone_gets_right_are_counted_and_shown(monkeypatch):
    pixels, _ = squares(6)
    images = Images({name_of(each): each for each in pixels}, np.asarray)
    rows = pd.DataFrame(
        {
            "text": [name_of(each) for each in pixels],
            "truth": [0, 1, 2, 0, 1, 2],
            "supervisor_says": [1, 1, 2, 2, 0, 2],
            "student_says": [0, 1, 0, 0, 0, 2],
            "right": ["student", "both", "supervisor", "student", "neither", "both"],
        }
    )
    monkeypatch.setattr(compared, "differences", lambda arms, student: rows)
    task = SimpleNamespace(name="squares", spec=SimpleNamespace(images=lambda: images))
    test = SimpleNamespace(classes=("dark", "grey", "light"))
    found = w2s.vision.disagreements(SimpleNamespace(tasks=[task], test=test), n=1)
    assert found.counts == {"student": 2, "supervisor": 1}
    assert repr(found).startswith("the student alone is right on 2 of 6 images; the supervisor")
    assert "dark, not grey" in found._repr_html_() and "light, not dark" in found._repr_html_()
    assert "dark, not light" not in found._repr_html_(), "one of each is shown"
    task.spec.images = None
    with pytest.raises(ValueError, match="squares has texts; expected a task of images"):
        w2s.vision.disagreements(SimpleNamespace(tasks=[task], test=test))


def test_only_tasks_that_need_no_network_are_offered_where_there_is_none(monkeypatch):
    monkeypatch.delenv("W2S_DATA", raising=False)
    offered = setting_explorer._tasks_at_hand()
    assert "mnist_5k" in offered and not {"mnist", "cifar10", "imagenet"} & set(offered)


def test_an_unknown_task_lists_those_of_images():
    with pytest.raises(UnknownName, match="mnist_5k"):
        TASKS["mnist_6k"]
