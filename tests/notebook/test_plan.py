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


def test_a_recipe_of_the_supervisor_is_planned_for_the_supervisor_alone():
    given = GIVEN | {"method": "full", "weak_recipe": "max_len=16, batch_size=8", "table_seeds": 0}
    *_, supervisor, student = plan("03_conf_loss", given, gb=80).splitlines()
    assert supervisor.startswith("supervisor        gpt2  full, 8 at a time: 2.")
    assert student.startswith("student, ceiling  gpt2  full, 32 at a time: 2.")


def test_a_table_by_probe_is_planned_too_unless_it_is_left_out():
    given = GIVEN | {"method": "lora", "recipe": "max_len=16", "micro_batch": 1}
    assert "table by probe    gpt2  probe: 0." in plan("03_conf_loss", given, gb=16)
    with pytest.raises(MemoryError, match="'probe' .* or table_seeds = 0, without the table"):
        plan("03_conf_loss", given, gb=0.26, devices=4)
    lines = plan("03_conf_loss", given | {"table_seeds": 0}, gb=0.26, devices=4).splitlines()
    assert lines[-1].startswith("student, ceiling  gpt2  lora, ")


def test_every_method_that_a_notebook_trains_the_strong_model_by_is_planned():
    given = GIVEN | {"method": "probe", "finetuning": "lora"}
    lines = plan("08_reward_modelling", given, gb=80).splitlines()
    finetuned, probed = (line.split() for line in lines[-2:])
    assert finetuned[:4] == ["student,", "ceiling", "gpt2", "lora,"]
    assert probed[:4] == ["student,", "ceiling", "gpt2", "probe:"]


def test_the_language_model_is_planned_with_the_tokens_that_it_predicts():
    given = GIVEN | {"method": "lora", "lm_method": "lora", "micro_batch": 32}
    classifier, reader = plan("09_generative_finetuning", given, gb=80).splitlines()[-2:]
    gb = [float(line.split("at a time: ")[1].split()[0]) for line in (classifier, reader)]
    assert reader.startswith("language model") and gb[1] > gb[0] + 2  # for logits
