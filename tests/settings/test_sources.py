"""Settings: where they come from, which of them wins, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.process.worker_config import RUNTIME_VARIABLE, ModelEndpoint, WorkerConfig
from antiphon.settings import sources
from antiphon.settings.keys import hashed
from antiphon.settings.sources import BadSettings, Settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder without antiphon.toml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_order_of_sources(empty_folder: Path) -> None:
    """A flag wins over the environment, the environment over the file, the file over the default."""
    (empty_folder / "antiphon.toml").write_text("port = 1\nworkers = 2\nparallel = 3\n")
    environment = {"ANTIPHON_PORT": "10", "ANTIPHON_WORKERS": "20"}
    settings = sources.load({"port": "100", "workers": None, "api_keys": ()}, environment=environment)
    assert (settings.port, settings.workers, settings.parallel, settings.host) == (100, 20, 3, "127.0.0.1")


@pytest.mark.parametrize("option", sources.options(), ids=lambda option: option.name)
def test_every_option_from_every_source(option: sources.Option, empty_folder: Path) -> None:
    """Each option means the same, whichever way it is given."""
    texts = {bool: "true", int: "7", float: "2.5"}
    words = {
        "log_level": "debug",
        "log_format": "json",
        "history_thinking": "template",
        "cache_type": "q4_0",
        "speculate": "ngram",
        "context_management": "clear-tool-results",
    }
    words["hold_calls"] = "strict"
    words["lora"] = f"sea={empty_folder}/x"
    words["allowed_host"] = "*.example.org"
    text = words.get(option.name) or texts.get(option.type, str(empty_folder / "x"))
    # What the value needs beside it to be allowed.
    others = {"host": {"no_auth": "true"}, "api_key_file": {}}.get(option.name, {})
    tables = f"[models.'{text}']\n" if option.name == "default_model" else ""
    tables = f"[models.first]\n{tables}" if tables else ""
    (empty_folder / "antiphon.toml").write_text(tables)
    (empty_folder / "x").write_text("sesame\n")
    quoted = text if option.type in texts else msgspec.json.encode(text).decode()
    (empty_folder / "other.toml").write_text(f"{option.name} = {quoted}\n{tables}")
    by_flag = sources.load({**others, option.field: (text,) if option.repeated else text}, environment={})
    by_variable = sources.load(others, environment={option.variable: text})
    by_file = sources.load(others, environment={"ANTIPHON_CONFIG": str(empty_folder / "other.toml")})
    assert by_flag == by_variable == by_file != sources.load(others, environment={})


def test_keys_come_from_every_source() -> None:
    """Keys come from repeated flags, with commas from the environment, and from a file beside either."""
    Path("keys").write_text("# mine\nthree\n\n  four\n")
    settings = sources.load({"api_key_file": "keys"}, environment={"ANTIPHON_API_KEY": "one, two"})
    assert settings.api_keys == ("one", "two", "three", "four")
    assert sources.load({"api_keys": ("a", "b")}, environment={"ANTIPHON_API_KEY": "c"}).api_keys == ("a", "b")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pory = 8000", "unknown key 'pory'; did you mean 'port'"),
        ("served-model-name = 'x'", "did you mean 'served_model_name'"),
        ("quux = 1", "unknown key 'quux'; known keys: model, "),
        ("port = 'eight'", "port is 'eight': it takes a whole number from 0 to 65535"),
        ("port = 70000", "port is 70000: it takes a whole number from 0 to 65535"),
        ("log_level = 'loud'", "log_level is 'loud': it takes one of debug, info, warning, error"),
        ("no_auth = 'perhaps'", "no_auth is 'perhaps': it takes true or false"),
        ("ping_interval = 0", "ping_interval is 0: it takes a number above 0"),
        ("max_queue = -1", "max_queue is -1: it takes a whole number that is 0 or more"),
        ("chat_template = 3", "chat_template is 3: it takes a path"),
        ("host = 3", "host is 3: it takes a text"),
        ("alias = 3", "alias is 3: it takes a list of texts"),
        ("api_key = 12345", "api_key has a value that cannot be: it takes a list of texts"),
        ("port = ", "cannot be read"),
    ],
)
def test_a_bad_file_is_refused_by_name(text: str, sentence: str, empty_folder: Path) -> None:
    """What is wrong in the file is told with the file's and the key's name."""
    (empty_folder / "antiphon.toml").write_text(text)
    with pytest.raises(BadSettings, match=r"antiphon\.toml") as caught:
        sources.load(environment={})
    assert sentence in str(caught.value)


def test_bad_values_name_their_source() -> None:
    """A value that cannot be is told with the flag or the variable that it came by; a key is never repeated."""
    with pytest.raises(BadSettings, match="--port is 'x': it takes a whole number from 0 to 65535"):
        sources.load({"port": "x"}, environment={})
    with pytest.raises(BadSettings, match="ANTIPHON_PARALLEL"):
        sources.load(environment={"ANTIPHON_PARALLEL": "0"})
    with pytest.raises(BadSettings, match=r"--lora: .sea\.gguf. is not NAME=PATH"):
        sources.load({"lora": ("sea.gguf",)}, environment={})
    with pytest.raises(BadSettings, match="does not exist"):
        sources.load(file="nowhere.toml", environment={})
    for host in ("http://gpu.example", "gpu.example:80", "*gpu", "a b"):
        with pytest.raises(BadSettings, match="is not a host name"):
            sources.load({"allowed_hosts": (host,)}, environment={})
    with pytest.raises(BadSettings) as caught:
        sources.load({"api_keys": (" sesame",)}, environment={})
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_key(host: str) -> None:
    """An address that only this machine reaches may be open."""
    assert sources.load({"host": host}, environment={}).loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_addresses_are_no_loopback(host: str) -> None:
    """An address that others reach is known as one; a key and --no-auth contradict each other."""
    assert not sources.load({"host": host}, environment={}).loopback
    with pytest.raises(BadSettings, match="contradict"):
        sources.load({"host": host, "no_auth": True, "api_keys": ("k",)}, environment={})


@pytest.mark.parametrize(
    ("model", "attached"),
    [
        ("", False),
        ("model.gguf", False),
        ("odd+name.gguf", False),
        ("hf:org/repo:file.gguf", False),
        ("llama.cpp+http://127.0.0.1:8080", True),
        ("vllm+https://cluster", True),
        ("scripted+/path/script.json", True),
    ],
)
def test_attached_engines_are_told_by_their_scheme(model: str, attached: bool) -> None:
    """Only `scheme+address` is an engine that runs already."""
    assert Settings(model=model).attached is attached


def test_paths_start_where_they_were_written(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path in the file starts at the file's folder, on the command line at the current one; `~` is home."""
    monkeypatch.setenv("HOME", "/home/someone")
    folder = empty_folder / "etc"
    folder.mkdir()
    (folder / "a.toml").write_text("mmproj = 'eyes.gguf'\n")
    settings = sources.load({"chat_template": "t.jinja", "state_dir": "~/s"}, file=folder / "a.toml", environment={})
    assert settings.mmproj == str(folder / "eyes.gguf")
    assert settings.chat_template == str(empty_folder / "t.jinja")
    assert settings.state_dir == "/home/someone/s"


def test_default_folders_follow_the_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """State and cache live where the XDG variables say; a relative one is ignored, as the specification asks."""
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    settings = sources.load(environment={})
    assert (settings.state_dir, settings.cache_dir) == ("/var/state/antiphon", "/home/someone/.cache/antiphon")


def test_what_is_shown_can_be_read_back(empty_folder: Path) -> None:
    """The printed settings are a file that gives the same settings again, apart from the secrets."""
    settings = sources.load(
        {"port": "9", "served_model_names": ("a", 'b"c'), "ping_interval": "2.5", "allow_private_urls": True},
        environment={},
    )
    (empty_folder / "antiphon.toml").write_text(sources.shown(settings))
    assert sources.load(environment={}) == settings
    assert "sesame" not in sources.shown(sources.load({"api_keys": ("sesame",)}, environment={}))


MANY = """
parallel = 2
default_model = "large"

[models.small]
model = "hf:org/repo:small.gguf"
alias = ["claude-haiku-*", "little"]
context_length = 8192

[models.large]
model = "large.gguf"
parallel = 8
chat_template = "large.jinja"

["models"."vendor/distant"]
model = "llama.cpp+http://10.0.0.5:8080"
"""


def test_each_table_is_a_model(empty_folder: Path) -> None:
    """Each table is a model with settings of its own, filled up from what is set for all by file, variable or flag; the
    default one comes first, relative files start at the file's folder, and what is shown can be read back."""
    (empty_folder / "antiphon.toml").write_text(MANY)
    settings = sources.load({"threads": "3"}, environment={"ANTIPHON_TOOL_CALL_PARSER": "hermes"})
    served = settings.served
    assert list(served) == ["large", "small", "vendor/distant"]
    assert [model.parallel for model in served.values()] == [8, 2, 2]
    assert {(model.threads, model.tool_call_parser) for model in served.values()} == {(3, "hermes")}
    assert served["large"].model == str(empty_folder / "large.gguf")
    assert served["large"].chat_template == str(empty_folder / "large.jinja")
    assert (served["small"].model, served["small"].context_length) == ("hf:org/repo:small.gguf", 8192)
    assert served["small"].aliases == ("claude-haiku-*", "little")
    assert [model.attached for model in served.values()] == [False, False, True]
    (empty_folder / "antiphon.toml").write_text(sources.shown(settings))
    assert sources.load(environment={}) == settings


RAY = """
[ray.surface]
num_replicas = 2

[ray.engine]
autoscaling_config = {min_replicas = 1, max_replicas = 4}
placement_group_bundles = [{CPU = 4, "a b" = 1}]

[ray.models."vendor/distant"]
ray_actor_options = {num_gpus = 0.5}
"""


def test_models_are_loaded_on_demand_when_anything_bounds_them(empty_folder: Path) -> None:
    """Each model has its own time, or the one for all; a short name is no path; what no time can be is refused."""
    Path("antiphon.toml").write_text(
        'keep_alive = 60\n[models.a]\nkeep_alive = -1\n[models.b]\nmodel = "qwen3-8b"\n[models.c]\nkeep_alive = 0.5\n'
    )
    settings = sources.load()
    assert settings.on_demand
    assert {name: model.keep_alive for name, model in settings.served.items()} == {"a": -1, "b": 60, "c": 0.5}
    assert [name for name, model in settings.served.items() if model.pinned] == ["a"]
    assert settings.served["b"].model == "qwen3-8b"
    Path("antiphon.toml").unlink()
    assert not sources.load().on_demand
    assert sources.load({"max_loaded": "1"}).on_demand
    assert sources.load({"loaded_memory_mb": "1000"}).on_demand
    with pytest.raises(BadSettings, match="--keep-alive is '-2': it takes a number that is -1 or more"):
        sources.load({"keep_alive": "-2"})


def test_tables_for_ray(empty_folder: Path) -> None:
    """Ray Serve's own options stand in tables of their own, are shown so that they can be read back, and are for models
    that there are."""
    (empty_folder / "antiphon.toml").write_text(MANY + RAY)
    settings = sources.load(environment={})
    assert settings.ray.surface == {"num_replicas": 2}
    assert settings.ray.engine["placement_group_bundles"] == [{"CPU": 4, "a b": 1}]
    assert settings.ray.models == {"vendor/distant": {"ray_actor_options": {"num_gpus": 0.5}}}
    (empty_folder / "antiphon.toml").write_text(sources.shown(settings))
    assert sources.load(environment={}) == settings
    for wrong, said in (
        ("[ray.models.other]\nnum_replicas = 2", "there is no table [models.other]"),
        ("[ray]\nreplicas = 2", "[ray] holds tables called surface, engine and models.NAME, nothing else"),
        ("[ray.surface]\n[ray.engines.x]", "[ray] holds tables called surface, engine and models.NAME, nothing else"),
    ):
        (empty_folder / "antiphon.toml").write_text(wrong)
        with pytest.raises(sources.BadSettings, match=re.escape(said)):
            sources.load(environment={})


def test_one_model_is_a_list_of_one() -> None:
    """Without tables the settings are those of the one model, whose further names are aliases."""
    settings = sources.load(
        {"model": "m.gguf", "served_model_names": ("a", "b"), "aliases": ("c*",), "parallel": "7"}, environment={}
    )
    ((name, model),) = settings.served.items()
    assert (name, model.model, model.aliases, model.parallel) == ("a", "m.gguf", ("b", "c*"), 7)
    assert list(sources.load(environment={}).served) == [""]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[models.a]\ncontex_length = 1", "[models.a]: unknown key 'contex_length'; did you mean 'context_length'"),
        ("[models.a]\nport = 1", "[models.a]: unknown key 'port'"),
        ("[models.a]\nparallel = 0", "[models.a]: parallel is 0: it takes a whole number from 1 to 256"),
        ("[models]\na = 1", "models holds a table for each model: [models.NAME]"),
        ("models = 3", "models holds a table for each model: [models.NAME]"),
        ("[models.'a*']", "may not be empty nor hold any of * ? ["),
        ("[models.a]\nalias = 'b'\n[models.b]", "both models 'a' and 'b' are to be called 'b'"),
        ("default_model = 'c'\n[models.a]", "default_model is 'c', which is not one of the models (there are: a)"),
        ("default_model = 'c'", "default_model is 'c', which is not one of the models (there are: none)"),
        ("model = 'x.gguf'\n[models.a]", "stands beside tables of models (a)"),
        ("served_model_name = 'x'\n[models.a]", "served_model_name ('x',) stands beside tables"),
    ],
)
def test_bad_tables_are_refused_by_name(text: str, sentence: str, empty_folder: Path) -> None:
    """What is wrong with a model's table is told with the table's and the key's name."""
    (empty_folder / "antiphon.toml").write_text(text)
    with pytest.raises(BadSettings) as caught:
        sources.load(environment={})
    assert sentence in str(caught.value)


@given(st.text(), st.text(), st.lists(st.text()))
def test_settings_reach_the_workers_unchanged(engine: str, name: str, keys: list[str]) -> None:
    """What the supervisor hands down is what a worker gets, whatever characters are in it; but of keys, the hashes."""
    settings = Settings(api_keys=tuple(keys), model=name)
    runtime = WorkerConfig.of(settings, (ModelEndpoint(settings=settings.served[""], engine=engine, name=name),), "")
    assert runtime.key_hashes == tuple(hashed(key) for key in keys)
    assert not runtime.settings.api_keys
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(RUNTIME_VARIABLE, raising=False)
        with pytest.raises(BadSettings, match="antiphon serve"):
            WorkerConfig.from_environment()
        for variable, value in runtime.environment().items():
            patch.setenv(variable, value)
        assert WorkerConfig.from_environment() == runtime
