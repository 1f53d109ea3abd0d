"""Torch modules are found in a predictor, and told where they are."""

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from runners.worker.devices.torch_modules import describe_modules, find_modules, format_devices, is_spread, outermost  # noqa: E402


def linear() -> Any:
    return torch.nn.Linear(2, 2)


class Pipeline:
    """As those of diffusers are."""

    @property
    def components(self) -> dict[str, object]:
        return {"unet": linear(), "vae": linear(), "scheduler": object()}


class Broken:
    @property
    def components(self) -> dict[str, object]:
        raise RuntimeError("not yet")


class Willing:
    """Has whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return linear()


HOLDERS = [
    pytest.param(linear(), ["it"], id="an attribute"),
    pytest.param([linear(), 1, linear()], ["it[0]", "it[2]"], id="in a list"),
    pytest.param({"a": linear(), "b": None}, ["it['a']"], id="in a dict"),
    pytest.param([[linear()]], [], id="no deeper"),
    pytest.param(Pipeline(), ["it.unet", "it.vae"], id="a pipeline of diffusers"),
    pytest.param(SimpleNamespace(model=linear()), ["it.model"], id="a pipeline of transformers"),
    pytest.param([SimpleNamespace(model=linear())], ["it[0].model"], id="in a list of pipelines"),
    pytest.param(SimpleNamespace(model="a name"), [], id="no module"),
    pytest.param(torch.nn.Linear, [], id="a class"),
    pytest.param(Broken(), [], id="a property that fails"),
    pytest.param(Willing(), [], id="one that has everything"),
]


@pytest.mark.parametrize(("value", "names"), HOLDERS)
def test_modules_are_found_in_attributes_lists_and_pipelines(value: object, names: list[str]):
    assert list(find_modules(SimpleNamespace(it=value))) == names


def test_a_function_holds_none():
    assert find_modules(None) == {}


def test_a_part_moves_with_its_whole():
    whole, other = torch.nn.Sequential(linear(), linear()), linear()
    modules = {"part": whole[0], "whole": whole, "again": whole, "other": other}
    assert outermost(modules) == {"whole": whole, "other": other}


def mapped(module: Any, **where: Any) -> Any:
    module.hf_device_map = where
    return module


PLACED = [
    pytest.param(linear(), "cpu", id="left there"),
    pytest.param(mapped(linear(), a="cpu"), "cpu", id="put there"),
    pytest.param(mapped(linear().to("meta"), a="cpu", b="disk"), "cpu + disk", id="fetched"),
    pytest.param(mapped(linear().to("meta"), a="disk"), "disk", id="all of it fetched"),
    pytest.param(mapped(torch.nn.Sequential(linear(), linear().to("meta")), a=0, b="disk"), "cpu + disk", id="some"),
    pytest.param(linear().to("meta"), "meta", id="without weights"),
    pytest.param(torch.nn.Sequential(), "nowhere", id="empty"),
]


@pytest.mark.parametrize(("module", "where"), PLACED)
def test_the_devices_of_weights_are_described(module: Any, where: str):
    assert describe_modules(SimpleNamespace(it=module)) == {"it": where}


def test_devices_are_named_as_torch_names_them():
    assert format_devices([0, 1, "cpu", "disk"]) == "cuda:0 + cuda:1 + cpu + disk"


def test_hooks_between_devices_are_seen():
    assert is_spread(mapped(linear(), a=0, b="cuda:1"))
    assert not is_spread(mapped(linear(), a=0, b=torch.device("cuda:0")))
    assert not is_spread(linear())
