"""How much memory the training device and this machine have."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from w2s_nb.common import memory

GB = 10**9


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 64 GB, 50 of them free, with control groups in `tmp_path`."""
    of_machine = SimpleNamespace(total=64 * GB, available=50 * GB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: of_machine)
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_GROUPS_OF_THIS_PROCESS", tmp_path / "of this process")
    return tmp_path


def put_group(folder, names, limit, used, files=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names.limit).write_text(f"{limit}\n")
    (folder / names.used).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names.reclaimable} {files}\n")


def test_without_limits_main_memory_is_that_of_the_machine(machine):
    assert (memory.host_memory(), memory.free_host_memory()) == (64 * GB, 50 * GB)


@pytest.mark.parametrize(
    ("line", "root", "names"),
    [
        ("0::/job/step", "", memory._VERSION_2),
        ("4:cpu,memory:/job/step", "memory", memory._VERSION_1),
    ],
    ids=["version 2", "version 1"],
)
def test_the_smallest_limit_of_the_groups_around_a_process_holds(machine, line, root, names):
    (machine / "of this process").write_text(f"1:name=systemd:/\n{line}\n")
    put_group(machine / root / "job/step", names, "max", 3 * GB)
    put_group(machine / root / "job", names, 16 * GB, 10 * GB, files=4 * GB)
    assert memory.host_memory() == 16 * GB
    assert memory.free_host_memory() == 10 * GB, "pages of files can be taken back"
    put_group(machine / root, names, 8 * GB, 9 * GB)
    assert (memory.host_memory(), memory.free_host_memory()) == (8 * GB, 0)


def test_a_container_that_does_not_see_its_group_has_the_limit_of_the_whole_tree(machine):
    (machine / "of this process").write_text("0::/kubepods/pod7\n")
    put_group(machine, memory._VERSION_2, 4 * GB, GB)
    assert memory.host_memory() == 4 * GB


def test_a_cpu_has_no_memory_of_its_own():
    assert memory.device_memory() is None and memory.free_device_memory() is None


def test_what_torch_holds_of_a_device_without_a_tensor_is_free(monkeypatch):
    monkeypatch.setattr(memory, "device", lambda: torch.device("cuda"))
    properties = SimpleNamespace(total_memory=80 * GB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 60 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 25 * GB)
    assert memory.device_memory() == 80 * GB and memory.free_device_memory() == 45 * GB
