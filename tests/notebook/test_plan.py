"""What a notebook would choose on a GPU that is not here, from the command line."""

import pytest

from w2s_nb.__main__ import main
from w2s_nb.notebook.plan import plan

GIVEN = {"weak": "gpt2", "strong": "gpt2"}
SMALL = ["-y", "{weak: gpt2, strong: gpt2, method: full, micro_batch: 1, recipe: max_len=16}"]


def test_a_plan_has_sizes_methods_and_memory_of_every_fit():
    lines = plan(
        "03_conf_loss", GIVEN | {"task": "sciq", "recipe": "max_len=16"}, gb=16
    ).splitlines()
    assert lines[0] == "03_conf_loss, a GPU of 16 GB"
    assert lines[1].split() == ["n_train", "9000", "sciq", "on", "a", "GPU"]
    assert lines[4].startswith("method            full  full takes ")
    assert lines[5].startswith("supervisor        gpt2  full, 32 at a time: 2.")
    assert lines[6].startswith("student, ceiling  gpt2  full, 32 at a time: 2.")
    assert lines[6].endswith("GB of the device, 0.5 GB of main memory")


def test_a_micro_batch_that_is_given_is_the_one_that_is_planned():
    given = GIVEN | {"method": "lora", "micro_batch": 2, "recipe": "max_len=16"}
    lines = plan("00_tour", given, gb=16).splitlines()
    assert lines[-1].startswith("student, ceiling  gpt2  lora, 2 at a time: 0.")
    assert not any(line.startswith("method") for line in lines)


def test_the_command_prints_the_plan_of_this_machine(capsys):
    assert main(["plan", "02_naive_finetuning", "-p", "between", "", "-p", "n_train", "20"]) == 0
    said = capsys.readouterr().out
    assert "02_naive_finetuning, a CPU\n" in said and "n_train" not in said
    assert "probe: 0." in said and "of main memory" not in said


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["03_conf_loss", *SMALL, "--gb", "1"], "gpt2 with method 'full' takes at least"),
        (["00_tour", "--devices", "2", "--gb", "80"], "unknown parameter of 00_tour 'devices'"),
        (["03_conf_loss", "--devices", "0", "--gb", "80"], "devices = 0; expected a number from 1"),
        (["03_conf_loss", "-p", "strong", "gpt3"], "Near: gpt2"),
        (["03_conf_loss", "--gb", "-1"], "gb = -1.0; expected a number above 0"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(arguments, message, capsys):
    assert main(["plan", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1
