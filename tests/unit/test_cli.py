"""The command line: what goes where, which exit code, and that help costs nothing."""

import json
import os
import pickle
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pellucid import errors
from pellucid.cli import application, console, main, parameters, targets
from pellucid.errors import InputError

FRAMEWORKS = ("tensorflow", "keras", "torch", "jax", "matplotlib", "pandas", "xarray")


class Ran:
    """What one command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `pellucid ...` in this process, wide enough that tables are not folded."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run_command(*arguments: str | Path) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ran(code, captured.out, captured.err)

    return run_command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three pictures, one of them broken, a model's code and its labels."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n not really")
    (tmp_path / "labels.txt").write_text("cat\ndog\nAC/DC\n")
    (tmp_path / "cli_test_net.py").write_text(
        "import torch\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(\n"
        "        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2),\n"
        "        torch.nn.Flatten(), torch.nn.Linear(16, 3), torch.nn.Softmax(1)).eval()\n"
        "def halve(pixels):\n"
        "    return pixels.transpose(0, 3, 1, 2).astype('float32') / 512\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


MODEL = "cli_test_net:build"
SMALL = ("--size", "16", "--preprocess", "zero1")


# Help, version, start-up


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_no_framework(argument: str) -> None:
    code = (
        "import sys\n"
        "from pellucid.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert ended.code == 0\n"
        f"print([m for m in {FRAMEWORKS!r} if m in sys.modules], file=sys.stderr)\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, argument], capture_output=True, text=True, check=True
    )
    print(f"pellucid {argument}: {time.perf_counter() - began:.2f} s")  # noqa: T201 - seen with -s
    assert done.stderr.strip().splitlines()[-1] == "[]"
    assert "pellucid" in done.stdout


def test_every_command_has_help(run: Any) -> None:
    for command in ("demo", "explain", "methods", "inspect", "doctor"):
        ran = run(command, "--help")
        assert ran.code == 0
        assert "--json" in ran.out


def test_usage_errors_end_with_two(run: Any) -> None:
    for arguments in (["explane"], ["explain"], ["methods", "--nope"]):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err


# Words and values


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("top", None),
        ("3", 3),
        ("label:cat", "cat"),
        ("cat", "cat"),
        ("label:3", "3"),
        ("label:top", "top"),
        ("3/5", (3, 5)),
        ("label:tabby/label:tiger cat", ("tabby", "tiger cat")),
        ("3/label:cat", (3, "cat")),
        ("label:AC/DC", "AC/DC"),
        ("label:AC/DC/label:cat", ("AC/DC", "cat")),
    ],
)
def test_targets(word: str, target: Any) -> None:
    assert targets.parse_target(word) == target


@pytest.mark.parametrize("word", ["", "label:", "top/3", "  "])
def test_targets_that_name_nothing(word: str) -> None:
    with pytest.raises(InputError):
        targets.parse_target(word)


def test_parameters_for_all_methods_and_for_one() -> None:
    found = parameters.parse_parameters(
        ["samples=9", "b.sigma=0.5", "mode=linear", "b.shape=(1, 2)"], ["a", "b"]
    )
    both = {"samples": 9, "mode": "linear"}
    assert found == {"a": both, "b": {**both, "sigma": 0.5, "shape": (1, 2)}}
    for bad in ("samples", "=3", "c.samples=3", "target=3", "batch_size=3", "a b=1"):
        with pytest.raises(InputError):
            parameters.parse_parameters([bad], ["a", "b"])


def test_literals_run_nothing() -> None:
    assert parameters.parse_literal("__import__('os').getpid()") == "__import__('os').getpid()"


def test_sizes_formats_and_batch_sizes() -> None:
    assert parameters.parse_size("224") == (224, 224)
    assert parameters.parse_size("96x128") == (96, 128)
    assert parameters.parse_formats(["png,json", "png"]) == {"png", "json"}
    assert parameters.parse_batch_size("auto") == "auto"
    assert parameters.parse_batch_size("7") == 7
    for parse, bad in (
        (parameters.parse_size, "0x3"),
        (parameters.parse_size, "big"),
        (parameters.parse_batch_size, "-1"),
    ):
        with pytest.raises(InputError):
            parse(bad)
    with pytest.raises(InputError, match="png, html, json"):
        parameters.parse_formats(["pdf"])


def test_preprocessing_by_name() -> None:
    pixels = np.array([[[[0, 127, 255]]]], np.uint8)
    assert parameters.PREPROCESS["minus1_1"](pixels)[0, 0, 0, [0, 2]].tolist() == [-1.0, 1.0]
    assert parameters.PREPROCESS["zero1"](pixels)[0, 0, 0, 2] == 1.0
    assert parameters.PREPROCESS["none"](pixels)[0, 0, 0, 1] == 127.0
    imagenet = parameters.PREPROCESS["imagenet"](pixels)[0, 0, 0]
    np.testing.assert_allclose(imagenet[2], (1 - 0.406) / 0.225, rtol=1e-5)
    caffe = parameters.PREPROCESS["caffe"](pixels)[0, 0, 0]
    np.testing.assert_allclose(caffe, [255 - 103.939, 127 - 116.779, -123.68], rtol=1e-4)
    assert all(f(pixels).dtype == np.float32 for f in parameters.PREPROCESS.values())
    with pytest.raises(InputError, match="'zero1'"):
        parameters.find_preprocess("zreo1")


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffcat\r\nhot dog\r\n\n\n".encode())
    assert parameters.read_labels(path) == ["cat", "hot dog"]
    path.write_text("cat\n\ndog\n")
    with pytest.raises(InputError, match="line 2 is empty"):
        parameters.read_labels(path)
    with pytest.raises(InputError, match=r"no\.txt"):
        parameters.read_labels(tmp_path / "no.txt")


def test_numbers_that_json_lacks_become_null() -> None:
    document = {"a": np.array([1.0, np.nan]), "b": (np.float32(0.5), Path("x")), 3: float("inf")}
    assert json.loads(console.json_text(document)) == {
        "a": [1.0, None],
        "b": [0.5, "x"],
        "3": None,
    }


# Exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnsafeModelError("x"), 4),
        (errors.MissingExtraError("torch", "torch", "x"), 5),
        (errors.TargetError("x"), 2),
        (errors.InputError("x"), 2),
        (errors.LayerError("x"), 2),
        (errors.MethodError("x"), 2),
        (errors.LoadError("x"), 1),
        (errors.CapabilityError("x"), 1),
        (errors.CoverageError("x"), 1),
        (errors.ModelError("x"), 1),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert application.exit_code(error) == code


def test_an_unforeseen_error_shows_its_traceback_only_with_vv(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("pellucid.cli.doctor.examine", fail)
    ran = run("doctor")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ZeroDivisionError: by nothing")
    assert "Traceback" not in ran.err
    assert "Traceback" in run("doctor", "-vv").err


# doctor, methods, demo


def test_doctor(run: Any) -> None:
    ran = run("doctor", "--json")
    assert ran.code == 0
    report = ran.json
    assert report["packages"]["numpy"] == np.__version__
    for extra, facts in report["extras"].items():
        wanted = not facts["installed"]
        assert facts["install"] == (f"pip install 'pellucid[{extra}]'" if wanted else None)
        assert facts["missing"] == [name for name, v in facts["versions"].items() if v is None]
    root = Path(__file__).parents[2]
    declared = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = declared["optional-dependencies"]
    assert set(report["extras"]) == set(extras) - {"all", "test", "docs"}
    assert "numpy" in run("doctor").out


def test_doctor_says_which_package_is_missing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.cli import doctor

    monkeypatch.setattr(doctor, "_EXTRAS", {
        "sklearn": {"numpy": "numpy", "no-such-thing": "no_such_thing"},
        "onnx": {"no-such-thing": "no_such_thing"},
    })  # fmt: skip
    lines = {line.split()[0]: line for line in run("doctor").out.splitlines()}
    assert f"numpy {np.__version__}; missing: no-such-thing; to install:" in lines["[sklearn]"]
    assert "pip install 'pellucid[sklearn]'" in lines["[sklearn]"]
    assert "pip install 'pellucid[onnx]'" in lines["[onnx]"]


def test_methods(run: Any) -> None:
    ran = run("methods", "--json")
    assert ran.code == 0
    names = [row["name"] for row in ran.json]
    assert {"saliency", "gradcam", "occlusion"} <= set(names)
    table = run("methods").out
    assert all(name in table for name in names)


def test_demo_prints_its_files(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("pellucid.demo.run")

    def run_demo(out: Path, progress: Any, **choices: Any) -> None:
        progress(1, 2)
        assert choices == {"photos": 1}
        out.mkdir()
        (out / "cat.png").touch()
        (out / "report.html").touch()

    monkeypatch.setattr(module, "run_demo", run_demo)
    ran = run("demo", "--out", tmp_path / "d", "--photos", "1")
    assert ran.code == 0
    assert ran.out.split() == [str(tmp_path / "d" / n) for n in ("report.html", "cat.png")]


# inspect


def test_inspect_a_factory(run: Any, folder: Path) -> None:
    document = run("inspect", MODEL, "--json", "--layers").json
    assert document["file"] is None
    assert document["model"]["framework"] == "torch"
    assert document["model"]["parameters"] == 4 * 27 + 4 + 16 * 3 + 3
    assert document["model"]["layer_list"][0]["kind"] == "Conv2d"
    listed = run("inspect", MODEL, "--layers").out
    assert "Conv2d" in listed
    head = next(line for line in listed.splitlines() if line.startswith("layer "))
    assert "shape" not in head, "a torch module does not say what it takes, so no shape is known"


def test_inspect_writes_a_page_and_a_graph(run: Any, folder: Path) -> None:
    ran = run("inspect", MODEL, "--shape", "3,8,8", "--out", "a/model.html", "--graph", "run.svg")
    assert "convolutional network" in ran.out
    assert "flops" in ran.out
    assert "wrote a/model.html" in ran.out
    assert "wrote run.svg" in ran.out
    assert "pellucid-data" in Path("a/model.html").read_text("utf-8")
    assert Path("run.svg").read_text("utf-8").startswith("<svg")
    assert run("inspect", MODEL, "--shape", "3,x").code == 2
    assert run("inspect", MODEL, "--shape", "3,8,8", "--out", "run.svg/page.html").code == 2
    assert "(any, 4, " in run("inspect", MODEL, "--shape", "3,8,8", "--layers").out
    document = run("inspect", MODEL, "--shape", "3,8,8", "--json", "--layers").json["model"]
    assert document["flops"] > 0
    assert document["edges"]
    assert document["about"]


def test_inspect_prints_the_facts_of_what_it_refuses(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    path.write_bytes(pickle.dumps(Bomb()))
    ran = run("inspect", path, "--json")
    assert ran.code == 4
    assert ran.json["file"]["runs_code"] == "yes"
    assert ran.json["model"] is None
    assert f"--trust-model {ran.json['file']['sha256']}" in ran.err
    assert not marker.exists()


# explain


def test_explain_writes_pictures_page_and_result(run: Any, folder: Path) -> None:
    ran = run(
        *("explain", MODEL, "one.png", "two.png", "-m", "saliency,gradcam"),
        *("-t", "top", "-t", "label:AC/DC/label:cat", "--classes", "labels.txt"),
        *("--out", "out", *SMALL),
    )
    assert ran.code == 0, ran.err
    written = sorted(path.name for path in (folder / "out").iterdir())
    assert written == sorted(
        [f"{i}-{m}-{t}.png" for i in ("one", "two") for m in ("saliency", "gradcam")
         for t in ("top", "AC-DC-vs-cat")] + ["report.html", "result.json"]
    )  # fmt: skip
    assert all(str(Path("out") / name) in ran.out for name in written)
    result = json.loads((folder / "out" / "result.json").read_text())
    assert len(result["explanations"]) == 8
    assert result["explanations"][-1]["target_name"] == "AC/DC rather than cat"
    report = (folder / "out" / "report.html").read_text()
    assert "pellucid explain" in report


def test_json_is_one_document_and_nothing_is_written(run: Any, folder: Path) -> None:
    ran = run("explain", MODEL, "one.png", "-m", "occlusion", "--json", "-t", "1", *SMALL)
    assert ran.code == 0, ran.err
    entry = ran.json["explanations"][0]
    assert (entry["method"], entry["target"], entry["seed"]) == ("occlusion", 1, 0)
    assert sum(row["p"] for row in entry["probabilities"]) == pytest.approx(1)
    assert not (folder / "explanations").exists()


def test_numbers_agree_with_the_python_call(run: Any, folder: Path) -> None:
    import pellucid
    from pellucid.adapters.loading import load
    from pellucid.inputs.image import fit_image, read_image

    arguments = ("-m", "smoothgrad", "-p", "samples=4", "--seed", "5", "--preprocess")
    ran = run("explain", MODEL, "one.png", "--json", "--size", "16", *arguments, "imagenet")
    assert ran.code == 0, ran.err
    pixels = fit_image(read_image("one.png"), 16, 16)[None]
    x = parameters.PREPROCESS["imagenet"](pixels).transpose(0, 3, 1, 2)
    e = pellucid.explain(load(MODEL), x, "smoothgrad", samples=4, seed=5)
    found = ran.json["explanations"][0]["attribution"]
    assert found["sum"] == pytest.approx(float(e.values.sum(dtype=np.float64)), rel=1e-6)
    assert found["maximum"] == pytest.approx(float(e.values.max()))


def test_a_function_of_the_users_preprocesses(run: Any, folder: Path) -> None:
    options = ("-m", "saliency", "--json", "--size", "16")
    ran = run("explain", MODEL, "one.png", *options, "--preprocess", "cli_test_net:halve")
    assert ran.code == 0, ran.err
    assert ran.json["explanations"][0]["attribution"]["shape"] == [3, 16, 16]


def test_a_bad_image_is_named_and_the_rest_is_done(run: Any, folder: Path) -> None:
    ran = run(
        "explain", MODEL, "one.png", "broken.png", "no.png", "-m", "saliency", "--json", *SMALL
    )
    assert ran.code == 1
    assert [entry["image"] for entry in ran.json["explanations"]] == ["one.png"]
    assert sorted(ran.json["unreadable"]) == ["broken.png", "no.png"]
    assert "broken.png" in ran.err
    ran = run("explain", MODEL, "broken.png", *SMALL)
    assert (ran.code, ran.out) == (1, "")


def test_a_method_that_cannot_is_named_and_the_rest_is_done(run: Any, folder: Path) -> None:
    (folder / "cli_test_function.py").write_text(
        "def build():\n    return lambda x: x.reshape(len(x), -1)[:, :3]\n"
    )
    ran = run(
        *("explain", "cli_test_function:build", "one.png", "-m", "saliency,occlusion"),
        *("--out", "out", *SMALL),
    )
    assert ran.code == 1
    assert "saliency" in ran.err
    result = json.loads((folder / "out" / "result.json").read_text())
    assert list(result["failed"]) == ["saliency"]
    assert [entry["method"] for entry in result["explanations"]] == ["occlusion"]
    alone = run("explain", "cli_test_function:build", "one.png", "-m", "saliency", "--json", *SMALL)
    assert alone.code == 1
    assert alone.json["explanations"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "salience"), "'saliency'"),
        (("-t", "99"), "99"),
        (("-t", "label:cow", "--classes", "labels.txt"), "cow"),
        (("-m", "gradcam", "--layer", "nope"), "nope"),
        (("-p", "nope=1"), "nope"),
        (("--size", "0"), "--size"),
        (("--format", "pdf"), "pdf"),
        (("--preprocess", "one"), "zero1"),
        (("--batch-size", "none"), "--batch-size"),
        (("--classes", "no.txt"), "no.txt"),
        (("--method", ","), "no method"),
    ],
)
def test_bad_arguments_end_with_two(
    run: Any, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = run("explain", MODEL, "one.png", *SMALL, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert not (folder / "explanations").exists()


def test_a_model_without_a_size_asks_for_one(run: Any, folder: Path) -> None:
    ran = run("explain", MODEL, "one.png")
    assert ran.code == 2
    assert "--size" in ran.err


def test_quiet_says_nothing_and_dry_run_does_nothing(run: Any, folder: Path) -> None:
    ran = run("explain", MODEL, "one.png", "-m", "saliency", "--json", "--size", "16", "-q")
    assert (ran.code, ran.err) == (0, "")
    ran = run("explain", "no_module:build", "one.png", "no.png", "-m", "saliency", "--dry-run")
    assert ran.code == 1
    assert "missing image: no.png" in ran.out
    ran = run("explain", "no_module:build", "broken.png", "--dry-run", "--json")
    assert ran.code == 1
    assert list(ran.json["unreadable"]) == ["broken.png"]
    ran = run("explain", "no_module:build", "one.png", "--dry-run", "--json")
    assert ran.code == 0
    assert ran.json["methods"][0]["name"] == "integrated_gradients"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("no.png",), 1, "no.png"),
        (("broken.png",), 1, "broken.png"),
        (("one.png", "-p", "nope=1"), 2, "nope"),
        (("one.png", "-m", "smoothgrad", "-p", "samples=big"), 2, "samples"),
        (("one.png", "-m", "occlusion", "--layer", "x"), 2, "layer"),
        (("one.png", "-t", "label:cow", "--classes", "labels.txt"), 2, "cow"),
        (("one.png", "-t", "1/label:cow", "--classes", "labels.txt"), 2, "cow"),
        (("one.png", "--seed", "-1"), 2, "seed"),
    ],
)
def test_cheap_mistakes_are_found_before_the_model_is_loaded(
    run: Any, folder: Path, monkeypatch: Any, arguments: tuple[str, ...], code: int, said: str
) -> None:
    def load(*given: Any, **options: Any) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("pellucid.cli.models.open_model", load)
    ran = run("explain", MODEL, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert "was loaded" not in ran.err


@pytest.mark.parametrize(
    ("target", "code"),
    [("label:samoyed", 0), ("label:Samoyed, Samoyede", 0), ("999", 0), ("top", 0),
     ("label:Samoyedd", 2), ("1000", 2), ("3/3", 2), ("label:crane", 2)],
)  # fmt: skip
def test_the_demo_s_classes_are_known_without_its_model(
    run: Any, folder: Path, target: str, code: int
) -> None:
    ran = run("explain", "demo", "one.png", "-t", target, "--dry-run")
    assert ran.code == code, ran.err


def test_files_that_cannot_be_read_end_with_one(run: Any, folder: Path) -> None:
    assert run("explain", "no.keras", "one.png").code == 1
    assert run("inspect", "no.keras").code == 1
    assert run("explain", MODEL, "no.png").code == 1
    ran = run("explain", MODEL, "one.png", *SMALL, "--out", "labels.txt/out", "-m", "saliency")
    assert ran.code == 2


def test_unsafe_models_end_with_four(run: Any, folder: Path, monkeypatch: Any) -> None:
    (folder / "model.keras").write_bytes(pickle.dumps([1]))
    (folder / "model.pkl").write_bytes(pickle.dumps([1]))
    for name in ("model.keras", "model.pkl"):
        assert run("explain", name, "one.png").code == 4
    ran = run("explain", "model.pkl", "one.png", "--trust-model", "0" * 64)
    assert ran.code == 4
    assert "vouched" in ran.err
    assert run("explain", "model.pkl", "one.png", "--trust-model", "yes").code == 4
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert run("explain", "nothing.keras", "one.png").code == 1
    (folder / "cut.keras").write_bytes(b"PK\x03\x04 cut off")
    ran = run("explain", "cut.keras", "one.png")
    assert ran.code == 1
    assert "damaged" in ran.err


def test_yes_asks_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.adapters.loading.file_formats import inspect_file
    from pellucid.cli import models

    (folder / "model.pkl").write_bytes(pickle.dumps([1]))
    facts = inspect_file("model.pkl")

    class Terminal:
        def isatty(self) -> bool:
            return True

    answers = iter([False, True])
    monkeypatch.setattr(models.typer, "confirm", lambda *a, **k: next(answers))
    monkeypatch.setattr(models.sys, "stdin", Terminal())
    monkeypatch.setattr(models.sys, "stderr", Terminal())
    with pytest.raises(errors.UnsafeModelError, match="was not loaded"):
        models.trusted_hash("yes", facts)
    assert models.trusted_hash("yes", facts) == facts.sha256


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [
            keras.layers.Input((12, 12, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    path = tmp_path_factory.mktemp("keras") / "tiny.keras"
    model.save(path)
    return path


def test_a_keras_file_from_disk_to_report(run: Any, folder: Path, keras_file: Path) -> None:
    ran = run(
        *("explain", keras_file, "one.png", "two.png", "-m", "saliency,gradcam,occlusion"),
        *("--preprocess", "minus1_1", "--classes", "labels.txt", "-o", "out"),
    )
    assert ran.code == 0, ran.err
    assert "runs code: no" in ran.err
    result = json.loads((folder / "out" / "result.json").read_text())
    assert result["model"]["framework"] in ("keras", "tensorflow")
    assert len(result["explanations"]) == 6
    document = run("inspect", keras_file, "--json", "--layers").json
    assert document["model"]["outputs"] == [[None, 3]]
    assert [len(layer["shape"]) for layer in document["model"]["layer_list"]] == [4, 2, 2]
    assert "(any, 10, 10, 4)" in run("inspect", keras_file, "--layers").out
    assert document["model"]["final_activation"] == ["softmax"]
    assert document["model"]["inputs"][0]["shape"] == [12, 12, 3]
