"""The report and its words: what they say, what they refuse, what they hold."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from explanations import blob, make_explanation, table_explanation

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.reports import (
    Answer,
    Study,
    StudyItem,
    explanation_html,
    meaning,
    render_report,
)
from pellucid.reports.images import LADDER
from pellucid.reports.study import report_html

MAP = ("sample", "height", "width")
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>{{ 7 * 7 }}\"'`"


def image_explanation(values: np.ndarray, **changes):
    rng = np.random.default_rng(0)
    shape = (*values.shape, 3)
    changes.setdefault("display", rng.integers(0, 256, shape, dtype=np.uint8))
    return make_explanation(values, inputs=np.zeros(shape), dims=MAP, **changes)


def upper_left(**changes):
    return image_explanation(blob(30, 30, 0.15, 0.15, 0.1)[None], **changes)


def two_inputs(weight: float, **changes) -> Explanation:
    """A photo whose |a| add up to 1 and a table whose |a| add up to `weight`."""
    photo = blob(12, 12, 0.15, 0.15, 0.1)[None]
    a = make_explanation(photo / photo.sum(), name="photo", dims=("sample", "height", "width"),
                         inputs=np.zeros((1, 12, 12, 3)), **changes,
                         input_dims=("sample", "height", "width", "channel"))  # fmt: skip
    b = table_explanation([weight, 0.0], feature_names=("age", "size"), name="table")
    return replace(a, parts=(*a.parts, *b.parts))


def study(**changes) -> Study:
    e = upper_left(
        probabilities=np.array([[0.1, 0.7, 0.2]]), class_names=("lynx", "tabby", "tiger cat")
    )
    items = [StudyItem("cat.png", [Answer("Why tabby?", e)])]
    return Study(**{"title": "Cats", "items": items, "model": {"framework": "keras"}, **changes})


def test_the_output_of_a_layer_is_not_passed_off_as_the_picture():
    layer = {"parameters": {"layer": "block.4"}, "name": "block.4", "display": None}
    items = [StudyItem("cat.png", [Answer("Why tabby?", upper_left(**layer))])]
    assert "output of layer &#34;block.4&#34;" in report_html(study(items=items))
    assert "output of layer" not in report_html(study())


def test_zeros_of_a_class_activation_map_are_not_said_to_push_away():
    said = {}
    for relu in (True, False):
        e = image_explanation(np.zeros((1, 30, 30)), method="gradcam", parameters={"relu": relu})
        items = [StudyItem("cat.png", [Answer("Why tabby?", e)])]
        said[relu] = report_html(study(items=items)).count("← away")
    assert said[False] == said[True] + 1, "the key of the map; the page explains the words as well"


class Page(HTMLParser):
    """Collects tags, so that what executes can be told from what is only written."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def record_of(text: str) -> dict:
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def outside_references(text: str) -> list[str]:
    """Every address the page could fetch that is not inside it."""
    addresses = re.findall(r"""(?:src|href|action|poster|srcset)\s*=\s*["']?([^"'\s>]+)""", text)
    addresses += re.findall(r"""url\(\s*["']?([^"')]+)""", text)
    addresses += re.findall(r"""@import\s+["']?([^"';]+)""", text)
    return [a for a in addresses if not a.startswith(("data:", "#"))]


# Words


@pytest.mark.parametrize(
    ("y", "x", "place"),
    [(0.15, 0.15, "in the upper left"), (0.5, 0.5, "in the centre"), (0.85, 0.5, "at the bottom"),
     (0.5, 0.85, "on the right")],
)  # fmt: skip
def test_the_finding_names_the_region(y, x, place):
    asks, found = meaning(image_explanation(blob(30, 30, y, x, 0.08)[None]))
    assert "baseline" in asks
    assert found.startswith("Half of the evidence for tabby lies in ")
    assert f"mostly {place}" in found
    assert "speaks against" not in found


def test_half_of_the_evidence_is_measured():
    values = np.zeros((1, 10, 10))
    values[0, :2, :5] = 1.0
    assert "lies in 5 % of the picture" in meaning(image_explanation(values))[1]


def test_what_speaks_against_is_told():
    values = np.zeros((1, 9, 9))
    values[0, 4, 4], values[0, 0, 0] = 3.0, -1.0
    assert "25 % of all it marked speaks against" in meaning(image_explanation(values))[1]
    assert "nearly cancel" in meaning(image_explanation(values - 2 * (values > 0) * 1.0))[1]
    assert (
        "Everything it marked speaks against tabby"
        in meaning(image_explanation(-np.abs(values)))[1]
    )


def test_an_even_map_is_not_given_a_place():
    assert "spread all over it" in meaning(image_explanation(np.ones((1, 30, 30))))[1]


@pytest.mark.parametrize(
    ("values", "words"), [(0.0, "Every value is zero"), (np.nan, "not finite")]
)
def test_empty_and_broken_maps_are_called_so(values, words):
    assert words in meaning(image_explanation(np.full((1, 6, 6), values)))[1]


def test_the_question_is_named():
    e = upper_left(target_names=("tabby rather than tiger cat",))
    assert "evidence for tabby rather than tiger cat lies" in meaning(e)[1]


@pytest.mark.parametrize("method", ["random", "edges", "constant"])
def test_controls_are_called_controls(method):
    asks, found = meaning(upper_left(method=method))
    assert asks.startswith("A control: it does not look at the model")
    assert "evidence" not in found


@pytest.mark.parametrize("method", ["saliency", "smoothgrad"])
def test_gradients_are_not_called_evidence(method):
    assert "sensitivity" in meaning(upper_left(method=method))[1]


def test_wide_gaps_and_warnings_are_admitted():
    found = meaning(upper_left(gap=np.array([0.2]), warnings=("Not converged.",)))[1]
    assert "by 20 %" in found
    assert "It came with a warning." in found
    assert "an unknown amount" in meaning(upper_left(gap=np.array([np.inf])))[1]


def test_large_sampling_errors_are_admitted():
    e = upper_left(stderr=np.ones((1, 30, 30)))
    assert "of the map, so its detail may be chance" in meaning(e)[1]


def test_long_lists_of_synonyms_are_cut_to_the_first():
    name = "dragonfly, darning needle, devil's darning needle"
    e = upper_left(target_names=(f"{name} rather than damselfly",))
    assert "evidence for dragonfly rather than damselfly lies" in meaning(e)[1]
    item = StudyItem("a", [Answer("Why?", e)], predictions=[(name, 0.5)])
    text = report_html(Study("t", [item]))
    assert ">dragonfly<" in text
    assert "darning needle" in text


def test_a_users_own_method_gets_words_of_its_own():
    assert meaning(upper_left(method="mine {x}"))[0].startswith("The method mine {x} gives")


def test_tables_name_their_features_by_sign():
    e = table_explanation([2.0, -1.0, 0.0], feature_names=("alcohol", "ash", "hue"))
    assert meaning(e)[1] == "Strongest for tabby: alcohol; against it: ash."
    assert "feature" in meaning(e)[0]


def test_series_name_their_strongest_stretch():
    values = np.zeros((1, 100, 1))
    values[0, 40:50] = -1.0
    e = make_explanation(values, dims=("sample", "step", "channel"))
    assert "steps 40 to 49, which speaks against tabby" in meaning(e)[1]


def test_scalars_of_an_unbatched_input_are_read():
    e = upper_left(score=np.array(2.0), gap=np.array(0.3), batched=False)
    assert "30 %" in meaning(e)[1]


def test_several_inputs_are_weighed_before_they_are_described():
    found = meaning(two_inputs(9.0))[1]
    assert found.startswith("90 % of the attribution lies on the input 'table', 10 % on 'photo'.")
    assert "In 'table': strongest for tabby: age." in found
    assert "In 'photo': half of the evidence" in found
    assert "'photo': half" not in meaning(two_inputs(99.0))[1]
    empty = make_explanation(np.zeros((1, 4, 4)), dims=MAP)
    table = table_explanation([1.0], name="table")
    both = replace(empty, parts=(*empty.parts, *table.parts))
    assert meaning(both)[1].startswith("100 % of the attribution lies on the input 'table'")
    none = replace(both, parts=(both.parts[0], replace(both.parts[1], values=np.zeros((1, 1)))))
    assert "nothing in any of the 2 inputs" in meaning(none)[1]


def test_inputs_a_class_map_does_not_lie_on_are_called_not_looked_at():
    found = meaning(two_inputs(0.0, method="gradcam"))[1]
    assert found.startswith("Half of the evidence")
    assert "The input 'table' was not looked at." in found
    flat = meaning(image_explanation(np.zeros((1, 6, 6)), method="gradcam"))[1]
    assert "no place in its layer speaks for tabby" in flat


@pytest.mark.parametrize(
    ("explained", "hint"), [("logit", False), ("probability", True), ("output", True)]
)
def test_rounding_noise_is_not_an_explanation(explained, hint):
    same = np.array([1.0])
    e = table_explanation([1e-9, -3e-9], score=same, baseline_score=same, explained=explained)
    found = meaning(e)[1]
    assert "hardly changes" in found
    assert "noise" in found
    assert ("logit" in found) is hint
    assert "Strongest" in meaning(table_explanation([1e-3], score=same, baseline_score=same))[1]
    assert "hardly" not in meaning(table_explanation([1e-9], score=same))[1]


# The page


def test_the_page_is_written_where_asked(tmp_path: Path):
    path = render_report(study(), tmp_path / "deep" / "report.html")
    text = path.read_text(encoding="utf-8")
    assert path == tmp_path / "deep" / "report.html"
    for words in ("Cats", "cat.png", "Why tabby?", "70.0 %", "Integrated gradients", "keras"):
        assert words in text


def test_the_page_needs_nothing_from_outside():
    text = report_html(study(reproduce="import pellucid"))
    assert outside_references(text) == []
    assert "default-src 'none'" in text
    assert "img-src data:" in text


def test_the_page_is_accessible_by_its_markup():
    text = report_html(study())
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert all("alt" in image for image in page.all("img"))
    assert any(i["alt"] and "Half of the evidence" in i["alt"] for i in page.all("img"))
    assert all("scope" in head or not head for head in page.all("th"))
    assert {"header", "main", "footer", "nav"} >= {t for t, _ in page.tags} & {"header", "main"}
    assert len(page.all("h1")) == 1
    labelled = {label["for"] for label in page.all("label")}
    assert {i["id"] for i in page.all("input")} == labelled


def test_the_page_and_the_cell_show_every_input():
    e = two_inputs(3.0)
    text = report_html(Study("t", [StudyItem("a", [Answer("Why?", e)])]))
    for page in (text, explanation_html(e)):
        assert "table: 75 %" in page
        assert "photo: 25 %" in page
        assert "age = 0" in page
        assert "data:image/" in page
    inputs = record_of(text)["items"][0]["answers"][0]["inputs"]
    assert [i["name"] for i in inputs] == ["photo", "table"]
    assert inputs[1]["share"] == pytest.approx(0.75)


def test_small_pictures_keep_their_pixels():
    text = report_html(study())
    assert '<section class="input small"' in text
    assert "image-rendering: pixelated" in text
    large = image_explanation(np.ones((1, 80, 20)))
    text = report_html(Study("t", [StudyItem(n, [Answer("Why?", large)]) for n in "ab"]))
    assert '<section class="input"' in text
    assert "object-fit: contain" in text


def test_hostile_text_stays_text():
    e = upper_left(method=HOSTILE, target_names=(HOSTILE,), warnings=(HOSTILE,),
                   parameters={HOSTILE: HOSTILE}, explained=HOSTILE)  # fmt: skip
    table = table_explanation([1.0, -2.0], feature_names=(HOSTILE, "b"), method=HOSTILE)
    items = [
        StudyItem(HOSTILE, [Answer(HOSTILE, e)], predictions=[(HOSTILE, 0.5)], caption=HOSTILE),
        StudyItem(HOSTILE, [Answer(HOSTILE, table)]),
    ]
    hostile = Study(HOSTILE, items, {HOSTILE: HOSTILE}, reproduce=HOSTILE, notes=[HOSTILE])
    text = report_html(hostile)
    page = Page(text)
    assert len(page.all("script")) == 2
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert all((i["src"] or "").startswith("data:") for i in page.all("img"))
    assert "{{ 7 * 7 }}" in text
    assert record_of(text)["title"] == HOSTILE
    for fragment in (explanation_html(e), explanation_html(table)):
        assert Page(fragment).all("script") == []
        assert not any("onerror" in attributes for _, attributes in Page(fragment).tags)


def test_the_record_is_strict_json_without_nan():
    e = upper_left(gap=np.array([np.nan]), parameters={"baseline": np.zeros((99, 99)), "f": print})
    item = StudyItem("a", [Answer("Why?", e)], predictions=[("a", float("nan"))])
    text = report_html(Study("t", [item], {"n": np.int64(3)}))
    assert "NaN" not in text
    record = record_of(text)
    answer = record["items"][0]["answers"][0]
    assert answer["gap"] is None
    assert answer["evaluations"] == {"forward": 65, "backward": 64, "suffix": 0}
    assert answer["parameters"]["baseline"] == "array of shape (99, 99)"
    assert record["model"] == {"n": 3}


def test_empty_maps_survive_with_a_note():
    item = StudyItem("grey", [Answer("Why?", image_explanation(np.zeros((1, 8, 8))))])
    assert "all values are zero" in report_html(Study("t", [item]))


def test_numbers_are_for_one_sample_of_a_batch():
    e = image_explanation(np.ones((4, 8, 8)), seconds=2.0)
    text = report_html(Study("t", [StudyItem("a", [Answer("Why?", e, 3)])]))
    assert '<td class="number">65</td>' in text
    assert '<td class="number">0.50</td>' in text
    assert "means over the batch" in text


def test_plain_tuples_will_do_and_empty_studies_will_not():
    item = StudyItem("a", [("Why?", upper_left(), 0)])  # pyright: ignore[reportArgumentType]
    assert item.answers[0].question == "Why?"
    with pytest.raises(InputError, match="no explanation"):
        StudyItem("a", [])
    with pytest.raises(InputError, match="at least one"):
        Study("t", [])
    with pytest.raises(InputError, match="sample 4 of 1"):
        StudyItem("a", [Answer("Why?", upper_left(), 4)])


def demo_sized() -> Study:
    """Five noisy photographs, three methods of noisy maps, two questions: worse than any real."""
    rng = np.random.default_rng(5)
    items = []
    for number in range(5):
        smooth = np.kron(rng.integers(0, 256, (56, 56, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        answers = [
            Answer(question, image_explanation(rng.standard_normal((1, 224, 224)) ** 3,
                                               method=method, display=smooth[None]))
            for method in "abc"
            for question in ("Why?", "Why rather?")
        ]  # fmt: skip
        items.append(StudyItem(f"photo {number}", answers))
    return Study("demo", items)


def test_the_budget_is_kept_by_smaller_pictures(tmp_path: Path):
    demo = demo_sized()
    path = render_report(demo, tmp_path / "report.html")
    assert path.stat().st_size <= 5e6
    small = render_report(demo, tmp_path / "small.html", budget_megabytes=0.8)
    assert small.stat().st_size <= 0.8e6
    with pytest.raises(InputError, match="Split the study"):
        render_report(demo, tmp_path / "no.html", budget_megabytes=0.05)
    assert not (tmp_path / "no.html").exists()


def test_every_step_of_the_ladder_is_smaller():
    sizes = [len(report_html(study(), quality)) for quality in LADDER]
    assert sizes == sorted(sizes, reverse=True)


# Notebooks


def test_a_cell_is_small_scoped_and_without_script():
    e = image_explanation(np.random.default_rng(0).standard_normal((12, 224, 224)))
    text = explanation_html(e)
    page = Page(text)
    assert len(text) < 1e6
    assert len(page.all("img")) == 8
    assert "+4 more" in text
    assert page.all("script") == []
    assert outside_references(text) == []
    scope = page.tags[0][1]["id"]
    style = text[text.index("<style>") : text.index("</style>")]
    rules = [line for line in style.splitlines() if "{" in line]
    assert rules
    assert all(line.startswith(f"#{scope}") for line in rules)


def test_a_cell_shows_tables_and_series():
    assert "alcohol" in explanation_html(table_explanation([1.0], feature_names=("alcohol",)))
    series = make_explanation(np.ones((1, 20, 1)), dims=("sample", "step", "channel"))
    assert "data:image/png" in explanation_html(series)
