"""Loading: told by content, refused when it could run code, and every refusal says how to go on."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid.adapters.loading import opening as loading
from pellucid.adapters.loading.file_formats import FileFormat, inspect_file
from pellucid.errors import (
    InputError,
    LoadError,
    MissingExtraError,
    UnsafeModelError,
)


class Bomb:
    """Unpickling it creates a file: the trace of code that has run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


class TinyClassifier:
    """The outside of a scikit-learn estimator, importable by its pickle."""

    classes_ = np.array(["no", "yes"])

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-np.asarray(x).sum(axis=1)))
        return np.stack([1 - p, p], axis=1)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "code-has-run"


@pytest.fixture(scope="session")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [
            keras.layers.Input((6, 6, 3)),
            keras.layers.Conv2D(2, 3, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    path = tmp_path_factory.mktemp("keras") / "tiny.keras"
    model.save(path)
    return path


def rewritten(source: Path, target: Path, config: Any = None, **extra: bytes) -> Path:
    """A copy of a `.keras` file with another configuration, or with further members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json" and config is not None:
                data = json.dumps(config(json.loads(data))).encode()
            new.writestr(name, data)
        for name, data in extra.items():
            new.writestr(name, data)
    return target


def layer(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The configuration with its last layer changed."""
    config["config"]["layers"][-1] |= changes
    return config


# What a file is


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_any_protocol_is_known_by_its_content(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(pickle.dumps({"weights": np.ones(3), "name": "x"}, protocol=protocol))
    facts = inspect_file(path)
    assert facts.format is FileFormat.PICKLE
    assert facts.runs_code == "yes"


def test_formats_are_told_by_content_whatever_the_suffix(tmp_path: Path, keras_file: Path) -> None:
    arrays = io.BytesIO()
    np.savez(arrays, x=np.ones(3))
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    skops = io.BytesIO()
    with zipfile.ZipFile(skops, "w") as archive:
        archive.writestr("schema.json", "{}")
    contents = {
        FileFormat.KERAS: keras_file.read_bytes(),
        FileFormat.HDF5: b"\x89HDF\r\n\x1a\n" + bytes(100),
        FileFormat.NPZ: arrays.getvalue(),
        FileFormat.SAFETENSORS: len(header).to_bytes(8, "little") + header + bytes(4),
        FileFormat.SKOPS: skops.getvalue(),
        FileFormat.JOBLIB: zlib.compress(pickle.dumps([1, 2, 3])),
        FileFormat.TFLITE: b"\x1c\0\0\0TFL3" + bytes(100),
        FileFormat.ONNX: b"\x08\x08\x12\x03own\x3a\x02\x12\x00\x42\x02\x10\x12",
        FileFormat.UNKNOWN: b"just some text\n" * 10,
        FileFormat.EMPTY: b"",
    }
    path = tmp_path / "model.dat"
    for expected, content in contents.items():
        path.write_bytes(content)
        assert inspect_file(path).format is expected


def test_facts_carry_size_and_sha256(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    facts = inspect_file(path)
    assert (facts.size, facts.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert facts.runs_code == "no"


def test_what_a_pickle_would_import_is_listed(tmp_path: Path, marker: Path) -> None:
    path = tmp_path / "a.pkl"
    for protocol in (0, 2, 4, 5):
        path.write_bytes(pickle.dumps(Bomb(marker), protocol=protocol))
        names = {finding.name for finding in inspect_file(path).findings}
        assert names & {"posix.system", "nt.system"}
    assert not marker.exists()


def test_inspecting_imports_no_framework(tmp_path: Path, keras_file: Path) -> None:
    code = (
        "import sys; from pellucid.adapters.loading.file_formats import inspect_file;"
        f"inspect_file({str(keras_file)!r});"
        "print([m for m in ('keras', 'tensorflow', 'torch', 'h5py') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# Pickles


@pytest.mark.parametrize("compress", [lambda data: data, zlib.compress], ids=["pickle", "joblib"])
def test_a_pickle_is_refused_and_its_code_not_run(
    tmp_path: Path, marker: Path, compress: Any
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(compress(pickle.dumps(Bomb(marker))))
    with pytest.raises(UnsafeModelError) as caught:
        loading.load(path)
    message = str(caught.value)
    sha256 = inspect_file(path).sha256
    assert f'trust="{sha256}"' in message
    assert f"--trust-model {sha256}" in message
    assert "pickle" in message
    assert not marker.exists()


@pytest.mark.parametrize("trust", [None, True])
def test_a_pickle_named_keras_is_a_load_error_even_if_trusted(
    tmp_path: Path, marker: Path, trust: Any
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(LoadError, match=r"named \.keras but is a Python pickle") as caught:
        loading.load(path, trust=trust)
    assert isinstance(caught.value, UnsafeModelError)
    assert not marker.exists()


def test_a_trusted_pickle_is_called_through_predict_proba(tmp_path: Path) -> None:
    path = tmp_path / "classifier.pkl"
    path.write_bytes(pickle.dumps(TinyClassifier()))
    model = loading.load(path, trust=inspect_file(path).sha256)
    assert model.class_names == ("no", "yes")
    assert model.source == str(path)
    x = np.array([[1.0, 2.0], [-1.0, 0.5]], np.float32)
    np.testing.assert_allclose(model.predict(x), TinyClassifier().predict_proba(x), rtol=1e-6)


def test_a_hash_prefix_is_enough_and_a_wrong_or_short_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "classifier.pkl"
    path.write_bytes(pickle.dumps(TinyClassifier()))
    sha256 = inspect_file(path).sha256
    assert loading.load(path, trust=sha256[:12].upper()).framework == "callable"
    with pytest.raises(UnsafeModelError, match="not the file that was vouched for"):
        loading.load(path, trust="0" * 64)
    for bad in (sha256[:11], "yes", "g" * 64, 1):
        with pytest.raises(InputError, match="SHA-256"):
            loading.load(path, trust=bad)  # type: ignore[arg-type]


def test_a_wrong_hash_is_refused_for_safe_files_too(keras_file: Path) -> None:
    with pytest.raises(UnsafeModelError, match="expected sha256"):
        loading.load(keras_file, trust="a" * 64)


def test_a_trusted_pickle_that_is_no_model_is_a_load_error(tmp_path: Path) -> None:
    path = tmp_path / "list.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(LoadError, match="predict_proba or predict"):
        loading.load(path, trust=True)
    path.write_bytes(pickle.dumps(TinyClassifier())[:-10])
    with pytest.raises(LoadError, match="could not be loaded"):
        loading.load(path, trust=True)


def test_a_file_swapped_after_it_was_judged_is_not_run(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(TinyClassifier()))
    judge = loading.vouched

    def judge_then_swap(trust: Any, facts: Any) -> bool:
        path.write_bytes(pickle.dumps(Bomb(marker)))
        return judge(trust, facts)

    monkeypatch.setattr(loading, "vouched", judge_then_swap)
    with pytest.raises(LoadError, match="changed while"):
        loading.load(path, trust=True)
    assert not marker.exists()


def test_scikit_learn_models_from_skops_and_joblib(tmp_path: Path) -> None:
    skops_io = pytest.importorskip("skops.io")
    joblib = pytest.importorskip("joblib")
    linear = pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    estimator = linear.LogisticRegression().fit(x, np.where(x.sum(axis=1) > 0, "yes", "no"))
    skops_io.dump(estimator, tmp_path / "m.skops")
    joblib.dump(estimator, tmp_path / "plain.joblib")
    joblib.dump(estimator, tmp_path / "packed.joblib", compress=3)
    for name in ("plain.joblib", "packed.joblib"):
        assert inspect_file(tmp_path / name).format is FileFormat.JOBLIB
        with pytest.raises(UnsafeModelError):
            loading.load(tmp_path / name)
    for name, trust in (("m.skops", None), ("plain.joblib", True), ("packed.joblib", True)):
        model = loading.load(tmp_path / name, trust=trust)
        assert model.class_names == ("no", "yes")
        np.testing.assert_allclose(model.predict(x), estimator.predict_proba(x), atol=1e-6)


def _pipelines() -> dict[str, tuple]:
    sklearn = pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    assert sklearn
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    draw = np.random.default_rng(0)
    x = pandas.DataFrame({"age": draw.normal(size=60), "job": draw.choice(["a", "b"], 60)})
    y = x["age"] > 0
    columns = make_column_transformer((OneHotEncoder(), ["job"]), (StandardScaler(), ["age"]))
    words = OneHotEncoder(sparse_output=False), make_column_selector(pattern="job")
    chosen = make_column_transformer(words, remainder="passthrough")
    log = make_column_transformer(
        (FunctionTransformer(np.abs), ["age"]), (OneHotEncoder(), ["job"])
    )
    made = {
        "linear": make_pipeline(columns, LogisticRegression()),
        "boosting": make_pipeline(chosen, HistGradientBoostingClassifier(max_iter=3)),
        "forest": make_pipeline(log, RandomForestClassifier(3, random_state=0)),
    }
    return {name: (pipe.fit(x, y), x) for name, pipe in made.items()}


@pytest.mark.parametrize("name", ["linear", "boosting", "forest"])
def test_common_pipelines_load_from_skops_without_trust(tmp_path: Path, name: str) -> None:
    skops_io = pytest.importorskip("skops.io")
    pipe, x = _pipelines()[name]
    skops_io.dump(pipe, tmp_path / "m.skops")
    assert inspect_file(tmp_path / "m.skops").runs_code == "if trusted"
    model = loading.load(tmp_path / "m.skops")
    np.testing.assert_allclose(model.predict(x), pipe.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("name", ["boosting", "forest"])
def test_trees_that_lead_out_of_themselves_are_refused(tmp_path: Path, name: str) -> None:
    skops_io = pytest.importorskip("skops.io")
    pipe, _ = _pipelines()[name]
    if name == "boosting":
        pipe[-1]._predictors[0][0].nodes["left"][0] = 10_000
    else:
        pipe[-1].estimators_[0].tree_.children_left[0] = 10_000
    skops_io.dump(pipe, tmp_path / "m.skops")
    with pytest.raises(UnsafeModelError, match="lead outside"):
        loading.load(tmp_path / "m.skops", trust=True)


# Keras archives


def test_a_keras_file_loads_with_its_numbers(keras_file: Path) -> None:
    import keras

    assert inspect_file(keras_file).runs_code == "no"
    loaded = loading.load_file(keras_file).model
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    original = keras.saving.load_model(keras_file)
    np.testing.assert_array_equal(loaded(x).numpy(), original(x).numpy())


def test_a_keras_file_under_another_name_loads(tmp_path: Path, keras_file: Path) -> None:
    path = tmp_path / "download"
    path.write_bytes(keras_file.read_bytes())
    assert loading.load_file(path).model.count_params() == 155


def test_a_lambda_layer_is_refused_and_loads_only_if_trusted(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Lambda(lambda x: x * 2, output_shape=(2,))]
    )
    path = tmp_path / "lambda.keras"
    model.save(path)
    facts = inspect_file(path)
    assert facts.runs_code == "if trusted"
    with pytest.raises(UnsafeModelError, match="Lambda"):
        loading.load(path)
    loaded = loading.load_file(path, facts.sha256).model
    np.testing.assert_allclose(loaded(np.ones((1, 2), "float32")).numpy(), [[2.0, 2.0]])
    # The switch for the whole process was not touched: the next file is refused by Keras too.
    with pytest.raises(ValueError, match="lambda"):
        keras.saving.load_model(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"class_name": "TFSMLayer"}, "TFSMLayer"),
        ({"class_name": "TorchModuleWrapper"}, "TorchModuleWrapper"),
        ({"module": "os", "class_name": "system", "registered_name": None}, "os.system"),
        ({"module": "builtins", "class_name": "exec", "registered_name": None}, "builtins.exec"),
        ({"module": "keras.utils", "class_name": "get_file"}, "keras.utils.get_file"),
        ({"module": "keras.src.utils.file_utils", "class_name": "get_file"}, "get_file acts"),
        ({"module": "keras.src.saving.saving_lib", "class_name": "load_model"}, "acts"),
        ({"module": "keras.src.config", "class_name": "enable_unsafe_deserialization"}, "acts"),
        ({"module": "keras.src.src.utils", "class_name": "get_file"}, "acts"),
        ({"module": None, "registered_name": "mine>Strange"}, "mine>Strange"),
    ],
)
def test_classes_that_do_more_than_keras_layers_are_refused(
    tmp_path: Path, keras_file: Path, changes: dict[str, Any], said: str
) -> None:
    path = rewritten(keras_file, tmp_path / "m.keras", lambda config: layer(config, **changes))
    with pytest.raises(UnsafeModelError, match=said):
        loading.load(path)


def test_a_nested_lambda_is_found(tmp_path: Path, keras_file: Path) -> None:
    def hide(config: dict[str, Any]) -> dict[str, Any]:
        inner = {"module": "keras.layers", "class_name": "Lambda", "config": {}}
        config["config"]["layers"][-1]["config"]["kernel_initializer"] = [{"deep": [inner]}]
        return config

    with pytest.raises(UnsafeModelError, match="Lambda"):
        loading.load(rewritten(keras_file, tmp_path / "m.keras", hide))


def test_a_class_the_user_has_registered_needs_no_trust(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")

    @keras.saving.register_keras_serializable(package="pellucid_tests")
    class Doubling(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    path = tmp_path / "own.keras"
    keras.Sequential([keras.layers.Input((2,)), Doubling()]).save(path)
    assert inspect_file(path).findings[0].kind == "foreign"
    loaded = loading.load_file(path).model
    np.testing.assert_allclose(loaded(np.ones((1, 2), "float32")).numpy(), [[2.0, 2.0]])
    keras.saving.get_custom_objects().pop("pellucid_tests>Doubling")
    with pytest.raises(UnsafeModelError, match="register") as caught:
        loading.load(path)
    assert "no trust is needed" in str(caught.value)
    with pytest.raises(LoadError, match="could not be loaded"):
        loading.load(path, trust=True)


@pytest.mark.parametrize("trust", [None, True])
@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside", "a/../../b", "C:\\x", "..\\x"])
def test_member_names_that_lead_outside_are_refused_even_if_trusted(
    tmp_path: Path, keras_file: Path, name: str, trust: Any
) -> None:
    path = rewritten(keras_file, tmp_path / "m.keras", **{name: b"x"})
    with pytest.raises(UnsafeModelError, match="leads outside"):
        loading.load(path, trust=trust)
    assert not (tmp_path.parent / "outside.txt").exists()


def test_a_zip_bomb_is_refused_without_unpacking(tmp_path: Path, keras_file: Path) -> None:
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with zipfile.ZipFile(keras_file) as old:
            archive.writestr("metadata.json", old.read("metadata.json"))
            archive.writestr("config.json", old.read("config.json"))
        with archive.open("model.weights.h5", "w") as weights:
            for _ in range(100):
                weights.write(bytes(10**6))
    with pytest.raises(UnsafeModelError, match="size bomb"):
        loading.load(path)


def test_a_layer_larger_than_its_weights_is_refused(tmp_path: Path, keras_file: Path) -> None:
    def widen(config: dict[str, Any]) -> dict[str, Any]:
        config["config"]["layers"][-1]["config"]["units"] = 10**12
        return config

    with pytest.raises(UnsafeModelError, match="units=1,000,000,000,000"):
        loading.load(rewritten(keras_file, tmp_path / "m.keras", widen))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("units", 1e12),
        ("kernel_size", [10**5, 10**5]),
        ("kernel_size", [1e5, 1e5]),
        ("target_shape", [2000, 2000, 2000]),
        ("padding", [[10**5, 0], [10**5, 0]]),
        ("n", 10**10),
        ("n", float("inf")),
        ("pool_size", [10**10]),
        ("something_new", 10**10),
    ],
)
def test_sizes_beyond_any_layer_are_refused(
    tmp_path: Path, keras_file: Path, key: str, value: Any
) -> None:
    def widen(config: dict[str, Any]) -> dict[str, Any]:
        config["config"]["layers"][-1]["config"][key] = value
        return config

    with pytest.raises(UnsafeModelError, match=f"size bomb.*{key}="):
        loading.load(rewritten(keras_file, tmp_path / "m.keras", widen), trust=True)


def test_shapes_to_build_for_beyond_any_layer_are_refused(tmp_path: Path, keras_file: Path) -> None:
    def widen(config: dict[str, Any]) -> dict[str, Any]:
        return layer(config, build_config={"shapes_dict": {"x_shape": [None, 10**12]}})

    with pytest.raises(UnsafeModelError, match=r"size bomb.*x_shape="):
        loading.load(rewritten(keras_file, tmp_path / "m.keras", widen), trust=True)


def test_large_numbers_that_are_no_sizes_pass(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    start = keras.initializers.RandomNormal(stddev=0.1, seed=2_000_000_011)
    model = keras.Sequential(
        [
            layers.Input((8,)),
            layers.Normalization(mean=[5000.0] * 8, variance=[1e6] * 8),
            layers.GaussianNoise(0.1, seed=2_000_000_011),
            layers.Dense(3, kernel_initializer=start),
        ]
    )
    model.save(tmp_path / "m.keras")
    assert inspect_file(tmp_path / "m.keras").findings == ()


@pytest.mark.parametrize("trust", [None, True])
def test_a_keras_file_swapped_after_it_was_judged_is_not_loaded(
    tmp_path: Path, keras_file: Path, monkeypatch: pytest.MonkeyPatch, trust: Any
) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(keras_file.read_bytes())
    check = loading.check_before_loading

    def check_then_swap(facts: Any, trusted: bool) -> None:
        check(facts, trusted)
        rewritten(keras_file, path, lambda config: config, extra=b"other")

    monkeypatch.setattr(loading, "check_before_loading", check_then_swap)
    with pytest.raises(LoadError, match="changed while"):
        loading.load(path, trust=trust)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.95, 0.999])
def test_a_truncated_keras_file_is_a_load_error(
    tmp_path: Path, keras_file: Path, keep: float
) -> None:
    path = tmp_path / "cut.keras"
    data = keras_file.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(LoadError, match=r"damaged|known by its content"):
        loading.load(path)


def test_damage_inside_a_keras_file_is_a_load_error(tmp_path: Path, keras_file: Path) -> None:
    data = bytearray(keras_file.read_bytes())
    at = data.rindex(b"\x89HDF")
    data[at + 600 : at + 3000] = bytes(2400)
    path = tmp_path / "bad.keras"
    path.write_bytes(data)
    with pytest.raises(LoadError):
        loading.load(path)


@pytest.mark.parametrize("config", ["{" * 100, "[" * 200_000 + "]" * 200_000, "[]", "\xff"])
def test_a_configuration_that_is_none_is_a_load_error(tmp_path: Path, config: str) -> None:
    path = tmp_path / "bad.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config.encode("latin-1"))
    with pytest.raises(LoadError, match="JSON"):
        loading.load(path)


def test_hdf5_is_refused_and_loads_if_trusted(tmp_path: Path, keras_file: Path) -> None:
    import keras

    path = tmp_path / "old.h5"
    model = keras.saving.load_model(keras_file)
    model.save(path)
    with pytest.raises(UnsafeModelError, match="HDF5"):
        loading.load(path)
    loaded = loading.load_file(path, True).model
    x = np.ones((1, 6, 6, 3), "float32")
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())


def test_hdf5_weights_without_a_model_are_a_load_error(tmp_path: Path, keras_file: Path) -> None:
    import keras

    path = tmp_path / "only.weights.h5"
    keras.saving.load_model(keras_file).save_weights(path)
    with pytest.raises(LoadError, match="could not be loaded"):
        loading.load(path, trust=True)


# SavedModel


def test_a_saved_model_is_refused_and_loads_if_trusted(tmp_path: Path, keras_file: Path) -> None:
    import keras

    model = keras.saving.load_model(keras_file)
    folder = tmp_path / "saved"
    model.export(folder, verbose=False)
    facts = inspect_file(folder)
    assert (facts.format, facts.runs_code) == (FileFormat.SAVED_MODEL, "yes")
    with pytest.raises(UnsafeModelError, match="SavedModel"):
        loading.load(folder)
    loaded = loading.load_file(folder, facts.sha256).model
    x = np.ones((2, 6, 6, 3), "float32")
    np.testing.assert_allclose(loaded(x).numpy(), model(x).numpy(), rtol=1e-5)
    wrapped = loading.load(folder, trust=facts.sha256)
    assert wrapped.inputs is not None
    assert wrapped.inputs[0].shape == (6, 6, 3)
    np.testing.assert_allclose(wrapped.predict(x), model(x).numpy(), rtol=1e-5)
    assert len(wrapped.adapter.weights()) == 4
    (folder / "fingerprint.pb").write_bytes(b"changed")
    with pytest.raises(UnsafeModelError, match="not the file that was vouched for"):
        loading.load(folder, trust=facts.sha256)


def test_a_tf_module_saved_without_keras_is_called(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")

    class Tripling(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 2))])
        def __call__(self, x: Any) -> Any:
            return 3 * x

    tf.saved_model.save(Tripling(), str(tmp_path / "m"))
    loaded = loading.load_file(tmp_path / "m", True).model
    assert loaded(tf.ones((1, 2))).numpy().tolist() == [[3.0, 3.0]]


def test_a_folder_that_is_no_model_and_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no SavedModel"):
        loading.load(tmp_path)
    (tmp_path / "resnet.keras").write_bytes(b"")
    with pytest.raises(LoadError, match=r"Nearest: 'resnet\.keras'"):
        loading.load(tmp_path / "resnt.keras")
    with pytest.raises(LoadError, match="is empty"):
        loading.load(tmp_path / "resnet.keras")
    with pytest.raises(LoadError, match="this machine only"):
        loading.load("https://example.com/model.keras")


# torch


@pytest.fixture(scope="session")
def network() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_is_no_model(tmp_path: Path, network: Any, zipped: bool) -> None:
    import torch

    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    facts = inspect_file(path)
    assert (facts.format, facts.runs_code) == (FileFormat.TORCH_CHECKPOINT, "no")
    for trust in (None, True):
        with pytest.raises(LoadError, match=r"package\.module:factory"):
            loading.load(path, trust=trust)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_torch_file_with_pickled_code_is_refused(
    tmp_path: Path, marker: Path, zipped: bool
) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(2), "x": Bomb(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeModelError, match=r"imports (posix|nt)\.system"):
        loading.load(path)
    assert not marker.exists()


def test_a_whole_torch_module_loads_if_trusted(tmp_path: Path, network: Any) -> None:
    import torch

    path = tmp_path / "module.pt"
    torch.save(network, path)
    with pytest.raises(UnsafeModelError):
        loading.load(path)
    model = loading.load(path, trust=inspect_file(path).sha256)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(model.predict(x), network(torch.ones(2, 4)).detach(), rtol=1e-6)


def test_torchscript_is_not_supported_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"script/{name}", pickle.dumps(None))
    assert inspect_file(path).format is FileFormat.TORCHSCRIPT
    for trust in (None, True):
        with pytest.raises(LoadError, match="TorchScript"):
            loading.load(path, trust=trust)


def test_a_torch_export_program_loads_if_trusted(tmp_path: Path, network: Any) -> None:
    import torch

    path = tmp_path / "program.pt2"
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (torch.ones(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    assert inspect_file(path).format is FileFormat.TORCH_EXPORT
    with pytest.raises(UnsafeModelError, match=r"torch\.export"):
        loading.load(path)
    loaded = loading.load_file(path, True).model
    torch.testing.assert_close(loaded(torch.ones(3, 4)), network(torch.ones(3, 4)))


# What comes later, and what is missing


def test_onnx_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08\x12\x03own\x3a\x02\x12\x00\x42\x02\x10\x12")
    monkeypatch.setattr(loading.loaders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pellucid\[onnx\]'"):
        loading.load(path)


def test_keras_too_old_to_be_safe_is_not_used(
    keras_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading.loaders.metadata, "version", lambda name: "3.9.2")
    with pytest.raises(LoadError, match=r"keras>=3\.15"):
        loading.load(keras_file)


# Factories


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder, which is not on the path."""
    name = f"own_models_{os.getpid()}_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(
        "import numpy as np\n"
        "def double(x): return 2 * x\n"
        "def factory(): return double\n"
        "def broken(): raise KeyError('weights')\n"
        "class Group:\n    factory = staticmethod(factory)\n"
        "def wrapped():\n"
        "    import pellucid.model\n"
        "    return pellucid.model.wrap(double, class_names=['a', 'b'], inputs=(2,))\n"
    )
    monkeypatch.chdir(tmp_path)
    return name


def test_a_factory_in_the_current_folder_is_called(own_module: str) -> None:
    before = list(sys.path)
    model = loading.load(f"{own_module}:factory")
    assert sys.path == before
    assert model.source == f"{own_module}:factory"
    assert model.predict(np.ones((1, 2), np.float32)).tolist() == [[2.0, 2.0]]
    assert loading.load(f"{own_module}:Group.factory").framework == "callable"


def test_a_factory_that_wraps_keeps_what_it_said(own_module: str) -> None:
    assert loading.load(f"{own_module}:wrapped").class_names == ("a", "b")
    model = loading.load(f"{own_module}:wrapped", class_names=["cat", "dog"])
    assert model.class_names == ("cat", "dog")
    with pytest.raises(InputError, match="fixes framework"):
        loading.load(f"{own_module}:wrapped", framework="torch")


def test_a_factory_that_fails_says_how(own_module: str) -> None:
    with pytest.raises(LoadError, match=r"raised KeyError: 'weights'"):
        loading.load(f"{own_module}:broken")
    with pytest.raises(LoadError, match="takes no arguments"):
        loading.load(f"{own_module}:double")
    with pytest.raises(LoadError, match="Nearest: 'factory'"):
        loading.load(f"{own_module}:factry")
    with pytest.raises(LoadError, match="No module named"):
        loading.load("no_such_module_at_all:factory")
    with pytest.raises(InputError, match="your own code"):
        loading.load(f"{own_module}:factory", trust="a" * 64)
