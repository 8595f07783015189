"""Sources by name, and what ``auto`` makes of what is there."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from metrichmsr.errors import MissingPackageError, ModelFileError, UsageError
from metrichmsr.scene.depth import foreign, hf_models, mapanything, moge, registry
from metrichmsr.scene.depth.registry import available_sources, choose_depth_source, load_depth_source


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Path:
    """An empty cache of the Hugging Face hub."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(hub: Path, model: str, file: str, revision: str = "0123") -> Path:
    path = hub / f"models--{model.replace('/', '--')}" / "snapshots" / revision / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return path


@pytest.fixture
def installed(monkeypatch):
    """Make packages installed or not, and the embedded network present or not."""

    def arrange(*packages: str, embedded: bool = False) -> None:
        monkeypatch.setattr(registry, "is_installed", lambda name: name in packages)
        state = registry.SourceState("embedded", "ready" if embedded else "no weights", "the small one")
        monkeypatch.setattr(registry, "_embedded_state", lambda: state)

    return arrange


@pytest.fixture
def loads(monkeypatch) -> list[tuple]:
    """Loaders that only write down what they were asked for."""
    asked: list[tuple] = []

    def loader(name):
        def load(model=None, *, download=False, device="cpu"):
            asked.append((name, model, download, device))
            return foreign.ForeignDepth(name, lambda *_: None)

        return load

    monkeypatch.setattr(registry, "_NETWORKS", {name: loader(name) for name in registry._NETWORKS})
    monkeypatch.setattr(hf_models, "load_hf_model", loader("transformers"))
    monkeypatch.setattr(
        registry,
        "_load_embedded",
        lambda device: asked.append(("embedded", device)) or foreign.ForeignDepth("embedded", None),
    )
    return asked


def test_auto_takes_the_first_that_is_installed_and_on_disk(hub, installed, loads) -> None:
    installed("mapanything", "moge", "transformers", embedded=True)
    put(hub, moge.MODELS[2], "model.pt")
    put(hub, hf_models.MODELS[0], "model.safetensors")
    choice = choose_depth_source(device="cuda")
    assert loads == [("moge", moge.MODELS[2], False, "cuda")]
    assert choice.source.name == "moge"
    assert choice.reason == f"moge:{moge.MODELS[2]} (mapanything: its weights are not on this machine)"


def test_weights_without_their_package_are_passed_over(hub, installed, loads) -> None:
    installed("transformers", embedded=True)
    put(hub, mapanything.MODELS[0], "model.safetensors")
    put(hub, hf_models.MODELS[3], "model.safetensors")
    choose_depth_source()
    assert loads == [("transformers", hf_models.MODELS[3], False, "cpu")]


def test_auto_falls_back_to_the_embedded_network(hub, installed, loads) -> None:
    installed("mapanything", "transformers", embedded=True)
    assert load_depth_source("auto").name == "embedded"
    assert loads == [("embedded", "cpu")]


def test_auto_downloads_only_when_asked_and_only_the_first(hub, installed, loads) -> None:
    installed("mapanything", "moge", embedded=True)
    choose_depth_source()
    choose_depth_source(download=True)
    assert loads == [("embedded", "cpu"), ("mapanything", mapanything.MODELS[0], True, "cpu")]


def test_auto_passes_over_what_is_half_installed(hub, installed, loads, monkeypatch) -> None:
    def broken(*_, **__):
        raise MissingPackageError("--depth moge: moge needs torchvision, which is not installed")

    installed("moge", embedded=True)
    put(hub, moge.MODELS[0], "model.pt")
    monkeypatch.setitem(registry._NETWORKS, "moge", broken)
    choice = choose_depth_source()
    assert choice.source.name == "embedded"
    assert "torchvision" in choice.reason


def test_auto_without_anything_says_why(hub, installed, loads) -> None:
    installed()
    with pytest.raises(ModelFileError, match=r"mapanything is not installed.*moge is not installed"):
        choose_depth_source()


def test_states_say_what_to_do(hub, installed) -> None:
    installed("moge", embedded=True)
    file = put(hub, moge.MODELS[1], "model.pt")
    states = {state.name: state for state in available_sources()}
    assert set(states) == {"mapanything", "moge", "depth_anything_3", "transformers", "embedded"}
    assert states["moge"].state == "ready"
    assert str(file) in states["moge"].detail
    assert states["mapanything"].state == "not installed"
    assert "github.com" in states["mapanything"].hint
    installed("moge", "transformers")
    states = {state.name: state for state in available_sources()}
    assert states["transformers"].hint == f"hf download {hf_models.MODELS[0]}"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("mapanything", ("mapanything", None)),
        ("mapanything:facebook/map-anything", ("mapanything", "facebook/map-anything")),
        ("moge:/models/moge.pt", ("moge", "/models/moge.pt")),
        ("depth_anything_3", ("depth_anything_3", None)),
        ("apple/DepthPro-hf", ("transformers", "apple/DepthPro-hf")),
        ("transformers:Intel/zoedepth-nyu", ("transformers", "Intel/zoedepth-nyu")),
        ("transformers:local_folder", ("transformers", "local_folder")),
        ("transformers", ("transformers", hf_models.MODELS[0])),
    ],
)
def test_names(hub, loads, name, asked) -> None:
    load_depth_source(name, download=True, device="cuda:1")
    assert loads == [(*asked, True, "cuda:1")]


def test_a_folder_is_a_transformers_model(hub, loads, tmp_path) -> None:
    load_depth_source(str(tmp_path))
    assert loads == [("transformers", str(tmp_path), False, "cpu")]


@pytest.mark.parametrize("name", ["", "midas", "none", "depth anything", "file:", "a/b/c"])
def test_names_that_are_none_are_refused(hub, name) -> None:
    with pytest.raises(UsageError, match="--depth"):
        load_depth_source(name)


def test_units_belong_to_files(hub, tmp_path) -> None:
    with pytest.raises(UsageError, match="only --depth file"):
        load_depth_source("embedded", unit="metres")
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    with pytest.raises(UsageError, match="--depth-unit feet"):
        load_depth_source(f"file:{tmp_path / 'a.npy'}", unit="feet")


def test_the_embedded_network_is_loaded_late_and_by_name(monkeypatch, tmp_path) -> None:
    class EmbeddedDepth:
        name = "embedded"

        @classmethod
        def load(cls, *, device):
            made = cls()
            made.device = device
            return made

    module = types.ModuleType(registry._EMBEDDED_MODULE)
    module.EmbeddedDepth = EmbeddedDepth
    module.__spec__ = importlib.machinery.ModuleSpec(registry._EMBEDDED_MODULE, None)
    monkeypatch.setitem(sys.modules, registry._EMBEDDED_MODULE, module)
    monkeypatch.setattr(registry, "_EMBEDDED_WEIGHTS", tmp_path / "depth_small.safetensors")
    with pytest.raises(ModelFileError, match="depth_small"):
        load_depth_source("embedded")
    (tmp_path / "depth_small.safetensors").write_bytes(b"x")
    assert load_depth_source("embedded", device="cuda").device == "cuda"


def test_the_cache_is_where_the_hub_keeps_it(monkeypatch, tmp_path) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert foreign.hub_cache() == Path.home() / ".cache/huggingface/hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert foreign.hub_cache() == tmp_path / "huggingface/hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert foreign.hub_cache() == tmp_path / "home/hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert foreign.hub_cache() == tmp_path / "cache"


def test_importing_the_sources_imports_no_foreign_package() -> None:
    import subprocess

    code = (
        "import sys, metrichmsr.scene.depth.registry as r; r.available_sources()\n"
        "foreign = {'transformers', 'mapanything', 'moge', 'depth_anything_3', 'huggingface_hub', 'OpenEXR'}\n"
        "assert not foreign & set(sys.modules), foreign & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
