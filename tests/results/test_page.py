"""The page of a study: what it says is what the tables say, whatever failed, and it is the same for the same tables."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from sparrow.results import published as published_table
from sparrow.results.figures import style
from sparrow.results.page import about, answer, cells, charts, costs, doubts, figures, latex, libraries, published, ranks, words
from sparrow.results.page.grid import Column, grid
from sparrow.results.page.packed import pack
from sparrow.results.page.study_data import StudyData
from sparrow.results.page.write import prose, write_page
from sparrow.results.specs.page import PageSpec
from sparrow.study import page
from tests.study.test_targets import study

KEYS = {"dataset": "digits", "model": "cnn-small", "objective": "adversarial"}
COSTS = {"stage": "prune", "job": "a/b", "seconds": 3.0, "peak_memory_mb": 100.0, "gradient_evaluations": 7}


def network(method: str, ratio: float = 0.9, seed: int = 0, era: float = 0.8, **more: Any) -> dict[str, Any]:
    """A row of summary.csv."""
    row: dict[str, Any] = {**KEYS, "method": method, "ratio": ratio, "seed": seed, "failed": None, "constant": False}
    row |= {"stage": "dense" if method == "dense" else "finetuned", "granularity": None if method == "dense" else "weight"}
    row |= {"norm": "linf", "eps": 8 / 255, "nonzero": 100, "effective_parameters": 90, "sparsity_prunable": ratio}
    row |= {"compact_parameters": None, "benign_low": 0.9, "chance": 0.1, "network": "abc"}
    for metric, value in (("benign", 0.95), ("era", era), ("vra", era / 2)):
        values = {"": value, "_low": value - 0.05, "_high": value + 0.04}
        row |= {f"{metric}{end}": one for end, one in values.items()} | {f"{metric}_n": 50}
        row |= {f"preserved_{metric}{end}": one / 0.95 for end, one in values.items()}
    return row | more


def rank(method: str, place: float, mean: float, verdict: str, **more: Any) -> dict[str, Any]:
    """A row of ranking.csv."""
    row: dict[str, Any] = {**KEYS, "stage": "finetuned", "ratio": 0.9, "granularity": "weight", "metric": "era", "rank": place}
    behind = {"behind": 0.8 - mean, "behind_low": 0.01, "behind_high": 0.9}
    return (
        row
        | {"method": method, "seeds": 1, "mean": mean, "low": mean - 0.05, "high": mean + 0.04, "verdict": verdict}
        | behind
        | more
    )


NETWORKS = [network("dense", 0.0), network("hydra"), network("lwm", era=0.79), network("random", era=0.1)]
RANKS = [rank("hydra", 1, 0.8, "best"), rank("lwm", 2, 0.79, "within the noise"), rank("random", 3, 0.1, "worse")]

WON = [("hydra", 1, "best"), ("lwm", 2, "worse"), ("random", 3, "worse")]


def spec_of(**changes: Any) -> PageSpec:
    own: dict[str, Any] = {"objectives": {"adversarial": None}, "attacks": {"pgd": {"steps": 7}}, "verifiers": {"ibp": None}}
    own |= {"methods": {"hydra": None, "lwm": None, "random": None}, "threat": {"norm": "linf", "eps": "8/255"}}
    return page.spec(study(**(own | changes)), "mine").model_copy(update={"figures": []})


@pytest.fixture
def told(tmp_path: Path):
    """The data of a study of these rows."""

    def make(networks: list[dict[str, Any]] = NETWORKS, ranks: list[dict[str, Any]] = RANKS, **tables: list) -> StudyData:
        given = {"summary": networks, "ranking": ranks, "costs": [COSTS], "provenance": [{**KEYS, "data": "f" * 64}]} | tables
        columns = {"ranking": [*RANKS[0], "images"]}
        for name, rows in given.items():
            pd.DataFrame(rows, columns=columns.get(name)).to_csv(tmp_path / f"{name}.csv", index=False)
        about = {"git": {"commit": "abc", "changed": []}, "packages": {"torch": "2"}, "device": "cpu", "system": "linux"}
        (tmp_path / "environment.json").write_text(json.dumps(about))
        return StudyData(spec_of(), {name: tmp_path / f"{name}.csv" for name in given}, tmp_path / "environment.json")

    return make


def written(data: StudyData, folder: Path) -> str:
    """The page of these data, without its libraries."""
    write_page(list(data.files.values()), [], data.environment, folder / "page.html", data.spec.model_dump())
    return (folder / "page.html").read_text()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without libraries, which take seconds to pack."""
    monkeypatch.setattr(libraries, "packed", dict)


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def card(data: StudyData) -> dict[str, Any]:
    """The parts of the one family of these data, by metric."""
    (found,) = answer.answers(data)
    return {name: one["parts"] for name, one in found["metrics"].items()}


def test_the_answer_says_who_keeps_what_and_which_differences_are_noise(told) -> None:
    (found,) = answer.answers(told())
    assert found["threat"] == "l∞, 8/255"
    assert found["dense"][1:3] == ["benign ", {"value": "95.0\u00a0%", "interval": "[90.0, 99.0]", "more": ""}]
    (part,) = found["metrics"]["Under attack (era)"]["parts"]
    assert (
        part["says"]
        == "At 0.9 hydra is first (80.0\u00a0% [75.0, 84.0]; random 10.0\u00a0%), but 1 of 2 others is within the noise."
    )
    (row,) = part["rows"]
    assert row["best"] == {"value": "80.0\u00a0%", "interval": "[75.0, 84.0]", "more": "hydra"}
    assert row["ahead"] == {"value": "1.0", "interval": "[1.0, 90.0]", "more": "lwm"}
    assert (row["tied"]["value"], row["tied"]["more"]) == ("1 of 2", "lwm")
    assert row["control"][0]["more"] == "worse: 70.0 behind, 1.0 to 90.0"
    assert row["dense"]["value"] == "80.0\u00a0%"


def test_a_network_of_one_class_wins_nothing_in_the_answer(told) -> None:
    ((part,), _) = card(told(ranks=[RANKS[0], rank("random", np.nan, 0.99, "constant")])).values()
    (row,) = part["rows"]
    assert (row["control"][0]["value"], row["control"][0]["more"]) == ("99.0\u00a0%", "answers with one class")
    assert row["best"]["more"] == "hydra"
    assert row["tied"]["more"] == "no other was compared"
    assert part["says"] == (
        "At 0.9 hydra alone has a rank (80.0\u00a0% [75.0, 84.0]; random 99.0\u00a0%) (random answers with one class: no rank)."
    )


@pytest.mark.parametrize(
    ("first", "others", "said"),
    [
        ("hydra", {"lwm": "worse", "random": "worse"}, "At 0.9 hydra is first, ahead of all others."),
        (
            "hydra",
            {"lwm": "likely worse", "random": "worse"},
            "At 0.9 hydra is first, ahead of all others (1 of 2 only likely).",
        ),
        (
            "hydra",
            {"lwm": "worse", "random": "within the noise"},
            "At 0.9 hydra is first, but random pruning is within the noise.",
        ),
        (
            "hydra",
            {"lwm": "within the noise", "fre": "within the noise"},
            "At 0.9 hydra is first, but all differences are within the noise.",
        ),
        (
            "random",
            {"lwm": "within the noise", "hydra": "worse"},
            "At 0.9 random pruning (80.0\u00a0%) is first: 1 of 2 methods is within the noise, and none is better.",
        ),
        ("random", {"lwm": "worse", "hydra": "worse"}, "At 0.9 random pruning (80.0\u00a0%) is ahead of every method."),
        (
            "random",
            {"lwm": "likely worse", "hydra": "worse"},
            "At 0.9 random pruning (80.0\u00a0%) is ahead of every method (1 of 2 only likely).",
        ),
        (
            "random",
            {"lwm": "within the noise", "hydra": "within the noise"},
            "At 0.9 random pruning (80.0\u00a0%) is first, and all differences are within the noise.",
        ),
    ],
)
def test_a_sentence_calls_best_only_what_is_told_from_the_others(told, first: str, others: dict[str, str], said: str) -> None:
    ranks = [
        rank(first, 1, 0.8, "best"),
        *(rank(one, 2 + place, 0.7, verdict) for place, (one, verdict) in enumerate(others.items())),
    ]
    said_of_it = card(told(ranks=ranks))["Under attack (era)"][0]["says"]
    assert said_of_it.replace(" (80.0\u00a0% [75.0, 84.0])", "").replace(KEPT, "") == said


KEPT = " (80.0\u00a0% [75.0, 84.0]; random 70.0\u00a0%)"


def test_ratios_of_which_the_same_is_to_be_said_share_a_sentence(told) -> None:
    ranks = [rank(one, place, 0.8, verdict, ratio=ratio) for ratio in (0.5, 0.9, 0.99) for one, place, verdict in WON]
    assert card(told(ranks=ranks))["Under attack (era)"][0]["says"] == (
        "At 0.5, 0.9 and 0.99 hydra is first (80.0\u00a0% [75.0, 84.0], 80.0\u00a0% [75.0, 84.0] and 80.0\u00a0% [75.0, 84.0]; "
        "random 80.0\u00a0%, 80.0\u00a0% and 80.0\u00a0%), ahead of all others."
    )


def test_marks_and_verdicts_are_explained_where_they_occur(told, bare, tmp_path: Path) -> None:
    plain = written(told(), tmp_path)
    assert not any(
        one in plain for one in ("✕ answers with one class, whatever it sees. ", "<em>Level</em>", "! it, or an evaluation")
    )
    networks = [network("dense", 0.0), network("hydra"), network("lwm", constant=True), _lost("random")]
    level = [rank(one, 1, 0.8, "level", **LEVEL) for one in ("hydra", "lwm")]
    data = told(networks, level)
    marked = written(data, tmp_path)
    assert all(one in marked for one in ("<em>Level</em>", "! it, or an evaluation", "✕ answers with one class"))
    grid_of = unpacked(cells.all_cells(data).packed)
    place = [head["title"] for head in grid_of["columns"]].index("era")
    assert [row[place] for row in grid_of["rows"]][-1] == "failed: out of memory"


def test_where_all_answer_with_one_class_it_is_said_why_no_method_has_a_rank(told) -> None:
    ranks = [rank(one, np.nan, 0.1, "constant") for one in ("hydra", "lwm")]
    said = card(told(ranks=ranks))["Under attack (era)"][0]["says"]
    assert said == "At 0.9 every method left a network that answers with one class, and none has a rank."


FAILED_DENSE = "results/mine/digits/cnn-small/adversarial/seed0/dense.safetensors: epoch 1: the loss is nan; try a smaller lr"


def test_a_dense_network_that_failed_is_the_cause_and_not_the_methods(told, bare, tmp_path: Path) -> None:
    lost = dict.fromkeys([key for key in NETWORKS[0] if key.startswith(("benign", "era", "vra", "preserved"))], np.nan)
    lost |= {f"{metric}_n": 0 for metric in ("benign", "era", "vra")}
    networks = [
        network(one, ratio, failed=FAILED_DENSE) | lost for one, ratio in (("dense", 0.0), ("hydra", 0.9), ("lwm", 0.9))
    ]
    data = told(networks, [])
    data = replace(data, spec=data.spec.model_copy(update={"results": "results/mine"}))
    (found,) = answer.answers(data)
    assert found["cause"] == (
        "The dense network failed (adversarial): epoch 1: the loss is nan; try a smaller lr. "
        "So 2 networks that were to be pruned from it are missing."
    )
    assert not found["metrics"]
    assert [one["text"] for one in doubts.doubts(data) if one["weight"] == "bad"] == [found["cause"]]
    assert f'<p class="failures">{found["cause"]}</p>' in written(data, tmp_path)
    rows = unpacked(cells.all_cells(data).packed)
    place = [head["title"] for head in rows["columns"]].index("failed")
    assert {row[place] for row in rows["rows"]} == {"The dense network: epoch 1: the loss is nan; try a smaller lr"}


def test_failures_are_told_by_what_failed_and_why(told) -> None:
    folder = "results/mine/digits/cnn-small/adversarial/seed0"
    networks = [
        network("dense", 0.0),
        *(
            network(one, failed=f"{folder}/{one}-0.90/finetuned/attacks/pgd.csv: out of {size} bytes")
            for one, size in (("lwm", 10), ("hydra", 12))
        ),
        network("random", failed=f"{folder}/random-0.90/pruned.safetensors: no weight is left"),
    ]
    data = told(networks)
    data = replace(data, spec=data.spec.model_copy(update={"results": "results/mine/"}))
    bad = [one["text"] for one in doubts.doubts(data) if one["weight"] == "bad"]
    assert bad == [
        "Attack pgd failed (adversarial / lwm at 0.9 and adversarial / hydra at 0.9): out of 10 bytes.",
        "Pruning failed (adversarial / random at 0.9): no weight is left.",
        "3 networks of 4 failed, or an evaluation of them did.",
    ]


def test_networks_that_collapsed_and_unequal_budgets_are_told(told) -> None:
    networks = [network("dense", 0.0), network("hydra"), network("lwm") | {"benign": 0.3}]
    names = {**KEYS, "ratio": 0.9, "stage": "finetuned"}
    budgets = [names | {"method": one, "chain_gradient_evaluations": spent} for one, spent in (("hydra", 3000), ("lwm", 1000))]
    texts = {one["text"]: one["about"] for one in doubts.doubts(told(networks, budgets=budgets))}
    (collapsed,) = (about for text, about in texts.items() if text.startswith("1 pruned network classified fewer than half"))
    assert collapsed == ["lwm at 0.9: benign 30.0\u00a0%"]
    (unequal,) = (text for text in texts if "unequal" in text)
    assert unequal == ("Methods had unequal budgets: hydra spent 3.0 times as many gradient evaluations as lwm.")


@pytest.mark.parametrize(("vra", "marked"), [(0.8, False), (0.7, True)])
def test_an_era_is_doubted_unless_all_that_stands_is_proven(told, bare, tmp_path: Path, vra: float, marked: bool) -> None:
    warned = network("hydra", era_warnings="pgd: 3 of 50 fall") | {"vra": vra}
    data = told([network("dense", 0.0), warned, network("lwm"), network("random")])
    (part,) = card(data)["Under attack (era)"]
    assert ("†" in part["rows"][0]["best"]["value"]) is marked
    assert ("†" in str(unpacked(cells.all_cells(data).packed)["rows"])) is marked
    assert ("† may be lower" in str(unpacked(ranks.ranks(data).packed)["rows"])) is marked
    assert any("marked †" in one["text"] for one in doubts.doubts(data)) is marked
    assert ("an era that may be lower" in written(data, tmp_path)) is marked
    assert "†" not in str(card(data).get("Proven (vra)"))


def test_nothing_is_called_best_where_the_best_failed(told) -> None:
    data = told([network("dense", 0.0), _lost("hydra"), network("lwm"), network("random")])
    (part,) = card(data)["Under attack (era)"]
    assert part["says"] == "At 0.9 hydra failed, and no method has a rank."
    assert (part["rows"][0]["best"]["value"], part["rows"][0]["best"]["more"]) == ("none", "hydra failed")
    assert part["rows"][0]["control"][0]["more"] == "not compared"


def test_methods_that_remove_filters_have_a_part_of_their_own(told) -> None:
    weights, filters = card(told(ranks=[*RANKS, rank("fre", 1, 0.6, "best", granularity="filter")]))["Under attack (era)"]
    assert (filters["title"], filters["rows"][0]["best"]["more"]) == ("Whole filters", "fre")
    assert "fre" not in str(weights)


def test_of_a_ratio_of_filters_it_is_said_how_many_weights_go(told) -> None:
    networks = [*NETWORKS, network("fre", granularity="filter", sparsity_prunable=0.984)]
    _, filters = card(told(networks, [*RANKS, rank("fre", 1, 0.6, "best", granularity="filter")]))["Under attack (era)"]
    assert filters["title"] == "Whole filters (a ratio of 0.9 is about 98.4\u00a0% of the weights)"


@pytest.mark.parametrize(("shares", "there"), [((1.1, 1.2), True), ((1.1, 0.9), False), ((np.nan, np.nan), True)])
def test_it_is_said_where_more_is_proven_after_pruning(told, shares: tuple[float, float], there: bool) -> None:
    dense = network("dense", 0.0) | ({"vra": 0.0, "vra_low": 0.0, "vra_high": 0.07} if np.isnan(shares[0]) else {})
    networks = [network("hydra", seed=seed) | {"preserved_vra_low": share} for seed, share in enumerate(shares)]
    networks += [network("lwm") | {"preserved_vra_low": 0.9}]
    (found,) = answer.answers(told([dense, *networks], [rank("hydra", 1, 0.8, "best", metric="vra")]))
    assert ("at 0.9 (1 of 2 methods)" in found["metrics"]["Proven (vra)"]["rises"]) is there
    assert not found["metrics"]["Under attack (era)"]["rises"]


def test_a_share_of_almost_nothing_is_not_shown(told) -> None:
    dense = network("dense", 0.0) | {"vra": 0.04}
    found = unpacked(cells.all_cells(told([dense, network("hydra")])).packed)
    titles = [head["title"] for head in found["columns"]]
    row = dict(zip(titles, found["rows"][1], strict=True))
    assert row["kept vra"] == "no ratio: the dense network's vra is below 5 %"
    assert row["kept era"][0] == pytest.approx(0.8 / 0.95, rel=1e-5)


@pytest.mark.parametrize(
    ("seeds", "said"), [([0], "1 (seed 0)"), ([3, 5], "2 (3, 5)"), ([0, 1, 2], "3 (0 to 2)"), ([0, 1, 5], "3 (0, 1, 5)")]
)
def test_seeds_are_counted_and_named(seeds: list[int], said: str) -> None:
    assert words.seeds(seeds) == said


def test_what_failed_and_what_is_suspect_is_told_by_name(told) -> None:
    networks = [
        network("dense", 0.0),
        network("lwm", failed="out of memory at <b>/here</b>", era=np.nan),
        network("random", constant=True),
        network("hydra", era_warnings="pgd: the gradient is 0 at 3 of 50 images; fmn: odd"),
    ]
    spec = spec_of(attacks={"pgd": {"steps": 7}, "fmn": None})
    found = doubts.doubts(replace(told(networks), spec=spec))
    assert [one["weight"] for one in found] == ["bad", "bad", "mind", "mind"]
    assert found[0]["text"] == "1 network failed: out of memory at <b>/here</b>."
    assert found[0]["about"] == ["lwm at 0.9"]
    assert found[1]["text"].startswith("1 network of 4 answer with one class")
    assert found[1]["about"] == ["random at 0.9"]
    said = ["fmn: odd", "pgd: the gradient is 0 at 3 of 50 images"]
    assert found[2]["about"] == [f"{one}: 1 network (hydra at 0.9)" for one in said]
    assert found[3]["text"].startswith("There is one seed")


def test_a_warning_of_many_networks_has_its_attack_its_largest_number_and_the_first_networks(told) -> None:
    warned = [(0, "pgd: 3 of 50 fall; 7 are odd"), (1, "pgd: 30 of 50 fall"), (2, "7 are odd")]
    networks = [network("hydra", seed=seed, era_warnings=text) for seed, text in warned]
    networks += [network(one, seed=0, era_warnings="pgd: 3 of 50 fall") for one in ("dense", "admm", "lwm", "random")]
    (found,) = doubts.doubts(replace(told(networks), spec=spec_of(seeds=[0, 1, 2])))
    assert found["about"] == [
        {
            "text": "pgd: up to 30 of 50 fall: 6 networks "
            "(hydra at 0.9: seeds 0, 1; dense: seed 0; admm at 0.9: seed 0; and 2 more)",
            "more": ["lwm at 0.9: seed 0", "random at 0.9: seed 0"],
        },
        "7 are odd: 1 network (hydra at 0.9: seed 2)",
        "pgd: 7 are odd: 1 network (hydra at 0.9: seed 0)",
    ]


def test_networks_of_one_class_have_a_line_for_each_method_and_ratio(told) -> None:
    networks = [network("random", seed=seed, constant=True) for seed in range(3)] + [network("lwm", seed=1, constant=True)]
    found = doubts.doubts(replace(told(networks), spec=spec_of(seeds=[0, 1, 2])))
    assert found[0]["about"] == ["random at 0.9: all 3 seeds", "lwm at 0.9: seed 1"]


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([29.0], "1 job took less than a minute of work, added up, without the time that it takes to start it."),
        ([31.0, 31.0], "2 jobs took 1 minute of work, added up, without the time that it takes to start them."),
        ([7200.0], "1 job took 2.0 hours of work, added up, without the time that it takes to start it."),
    ],
)
def test_the_time_of_all_jobs_is_said_in_english(told, jobs: list[float], said: str) -> None:
    assert costs.costs(told(costs=[COSTS | {"seconds": one} for one in jobs]))[1] == said


@pytest.mark.parametrize(
    ("share", "said"), [(0.3625, "36.3"), (0.36149, "36.1"), (-0.1125, "-11.3"), (-0.0001, "0.0"), (1.0, "100.0")]
)
def test_halves_of_a_tenth_are_rounded_up(share: float, said: str) -> None:
    assert words.percent(share) == said


def test_entries_that_share_a_description_have_it_once(told) -> None:
    methods = {"lwm": None, "mine": {"kind": "lwm"}, "lwm-global": {"kind": "lwm", "allocation": "global"}, "hydra": None}
    found = about.about(replace(told(), spec=spec_of(methods=methods)))["rooms"]["Pruned by"]
    assert [one["entries"] for one in found] == [
        [("lwm", ""), ("mine", "kind lwm"), ("lwm-global", "allocation global")],
        [("hydra", "")],
    ]


def test_prose_has_code_for_backticks_and_escapes_all_else() -> None:
    assert prose("`a` < 5 %") == "<code>a</code> &lt; 5\u00a0%"


def test_a_page_is_made_where_everything_failed(told, bare, tmp_path: Path) -> None:
    lost = dict.fromkeys([key for key in NETWORKS[0] if key.startswith(("benign", "era", "vra", "preserved"))], np.nan)
    counts = {f"{metric}_n": 0 for metric in ("benign", "era", "vra")}
    networks = [network(method, failed="<script>alert(1)</script>") | lost | counts for method in ("dense", "lwm")]
    text = written(told(networks, []), tmp_path)
    assert "2 networks failed: &lt;script" in text
    assert "<script>alert" not in text
    assert 'data-chart="ratio"' not in text


def test_a_page_of_dense_networks_alone_says_how_they_are(told, bare, tmp_path: Path) -> None:
    data = told([network("dense", 0.0)], [])
    data = replace(data, spec=spec_of(evaluate=["dense"], methods={}))
    text = written(data, tmp_path)
    assert "era <b>80.0\u00a0%</b>" in text
    assert "There is nothing to show." in text
    assert 'data-chart="ratio"' not in text


def test_rounded_networks_are_in_the_trade_off_and_out_of_the_ranking(told) -> None:
    sizes = {"weight_bytes": 10.0, "index_bytes": 1.0, "other_bytes": 2.0}
    data = told([*NETWORKS, network("hydra", stage="finetuned+int8") | sizes])
    spec = charts.tradeoff_chart(data)
    assert spec is not None
    found = {(row["method"], row["cost"]) for row in spec["data"]["values"] if row["against"] == "bytes of parameters"}
    assert found == {("hydra +int8", 13.0)}
    assert "int8" not in str(answer.answers(data))


def test_the_same_tables_give_the_same_bytes(told, bare, tmp_path: Path) -> None:
    first = written(told(), tmp_path)
    assert written(told(), tmp_path) == first


def test_no_address_is_asked_for_anything(told, bare, tmp_path: Path) -> None:
    text = written(told(), tmp_path)
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert not re.findall(r"@import|url\(|fetch\(", text)


@pytest.mark.parametrize(("size", "there"), [(100, True), (2_000_000, False)])
def test_a_figure_is_there_with_its_caption_and_a_pdf_where_these_are_small(tmp_path: Path, size: int, there: bool) -> None:
    shown = [one for one in page.spec(study(), "mine").figures if one.name in ("ranking", "accuracy", "curves")]
    files = {}
    for one in shown:
        files[one.path] = tmp_path / f"{one.name}.svg"
        files[one.path].write_text(f"<svg>{one.name}</svg>")
        files[one.path].with_suffix(".pdf").write_bytes(b"%PDF" * (size // 4))
    (part,) = figures.shown_figures(spec_of().model_copy(update={"figures": shown}), files)
    assert [one["title"] for one in part["figures"]] == ["Accuracy against the pruning ratio", "Ranking", "Learning curves"]
    assert gzip.decompress(base64.b64decode(part["figures"][1]["svg"])) == b"<svg>ranking</svg>"
    assert [bool(one["pdf"]) for one in part["figures"]] == [there] * 3
    assert all(one["caption"] for one in part["figures"])
    assert [one["tables"] for one in part["figures"]] == [["summary.csv"], ["ranking.csv"], []]


def test_every_figure_has_a_caption() -> None:
    every = study(analyses={"stability": None, "latency": None}, methods={"admm": None, "lwm": None})
    assert [one.name for one in page.spec(every, "mine").figures if len(one.caption) < 40] == []


def test_the_libraries_are_there_offline() -> None:
    script = libraries.BUNDLE.with_suffix(".js").read_text(encoding="utf-8")
    # What page.js imports of it, and the buttons that it names.
    assert re.search(r"export\{[^}]* as default", script)
    assert "colvis" in script
    assert libraries.BUNDLE.with_suffix(".css").stat().st_size > 10_000


def test_packed_is_the_same_whenever_it_is_packed() -> None:
    assert gzip.decompress(base64.b64decode(pack(b"abc"))) == b"abc"
    assert base64.b64decode(pack(b"abc"))[4:8] == b"\0\0\0\0"


def test_a_chart_has_a_point_for_each_network_and_marks_those_of_one_class(told) -> None:
    spec = charts.ratio_chart(told([*NETWORKS[:3], network("random", constant=True)]))
    assert spec is not None
    points = {(row["method"], row["metric"]): row for row in spec["data"]["values"]}
    assert len(points) == 2 * 4
    assert points["hydra", "era"] | {"value": 80.0, "low": 75.0, "high": 84.0} == points["hydra", "era"]
    assert [key for key, row in points.items() if row["constant"]] == [("random", "era"), ("random", "vra")]


def _lost(method: str, **more: Any) -> dict[str, Any]:
    values = [f"{metric}{end}" for metric in ("benign", "era", "vra") for end in ("", "_low", "_high")]
    return network(method, failed="out of memory", **more) | dict.fromkeys(values, np.nan)


def test_a_line_breaks_where_a_network_failed_and_the_failure_is_named(told) -> None:
    data = told([network("dense", 0.0), network("lwm"), _lost("hydra"), network("hydra", 0.99)])
    spec = charts.ratio_chart(data)
    assert spec is not None
    points = {(row["method"], row["ratio"]): row for row in spec["data"]["values"] if row["metric"] == "era"}
    assert [points["hydra", 0.9][name] for name in ("value", "failed", "shown")] == [None, True, "failed"]
    assert [points["hydra", 0.99][name] for name in ("value", "failed")] == [80.0, False]
    assert charts.failures(data) == ["hydra at 0.9 (adversarial: era, vra)"]


def test_a_mean_is_not_that_of_the_seeds_that_did_not_fail(told) -> None:
    data = told([network("hydra", seed=0), _lost("hydra", seed=1), network("hydra", 0.99, failed="an analysis: no")])
    means = data.cells.set_index("ratio")
    assert np.isnan(means.loc[0.9, "era"])
    assert list(means["era_failed"]) == [1, 0]
    assert means.loc[0.99, "era"] == 0.8


def test_what_the_summary_says_has_failed_is_neither_best_nor_what_others_are_held_against(told) -> None:
    data = told([network("dense", 0.0), _lost("hydra"), network("lwm"), network("random")])
    by_method = data.ranking.set_index("method")
    assert list(by_method["verdict"]) == ["failed", "not compared", "not compared"]
    assert by_method[["rank", "behind"]].isna().all(axis=None)
    assert by_method["mean"].notna().tolist() == [False, True, True]
    rows = unpacked(ranks.ranks(data).packed)
    verdict = [head["title"] for head in rows["columns"]].index("verdict")
    assert [row[verdict] for row in rows["rows"]] == ["failed", "not compared", "not compared"]


def test_a_ratio_at_which_every_network_failed_has_a_row_that_says_so(told) -> None:
    data = told([*NETWORKS, *(_lost(method, ratio=0.99) for method in ("hydra", "lwm", "random"))])
    (part,) = card(data)["Under attack (era)"]
    assert part["says"].endswith(". At 0.99 hydra, lwm and random failed, and no method has a rank.")
    assert [row["ratio"] for row in part["rows"]] == ["0.9", "0.99"]
    assert [part["rows"][1][name]["value"] for name in ("best", "ahead", "tied")] == ["none", "–", "–"]
    assert part["rows"][1]["best"]["more"] == "hydra, lwm and random failed"
    assert part["rows"][1]["control"][0]["value"] == "failed"
    # Of a metric that some networks have, nothing is made up.
    assert set(data.ranking.loc[data.ranking["ratio"] == 0.9, "metric"]) == {"era"}


def test_where_every_pruned_network_failed_the_card_says_so(told) -> None:
    (part,) = card(told([network("dense", 0.0), _lost("hydra"), _lost("lwm")], []))["Under attack (era)"]
    assert part["rows"][0]["best"] == {"value": "none", "interval": "", "more": "hydra and lwm failed"}


def test_a_study_without_random_pruning_has_no_column_of_it(told, bare, tmp_path: Path) -> None:
    assert "<th>random</th>" in written(told(), tmp_path)
    data = told([network("dense", 0.0), network("hydra"), network("lwm")], RANKS[:2])
    assert "<th>random</th>" not in written(data, tmp_path)


def test_several_controls_are_named(told) -> None:
    data = told([network("dense", 0.0)], [*RANKS, rank("random-2", 4, 0.1, "worse")])
    entries = data.spec.entries | {"methods": [*data.spec.entries["methods"], data.spec.entries["methods"][2]]}
    entries["methods"][3] = entries["methods"][2].model_copy(update={"label": "random-2"})
    (part,) = card(replace(data, spec=data.spec.model_copy(update={"entries": entries})))["Under attack (era)"]
    assert [one["more"].partition(":")[0] for one in part["rows"][0]["control"]] == ["random", "random-2"]


def test_families_are_in_the_order_of_the_study_everywhere(told) -> None:
    labels = ("trades", "benign", "adversarial")
    networks = [network(method, objective=label) for label in sorted(labels) for method in ("dense", "hydra")]
    ranked = [rank("hydra", 1, 0.8, "best", objective=label) for label in sorted(labels)]
    data = told([one | {"ratio": 0.0 if one["method"] == "dense" else 0.9} for one in networks], ranked)
    data = replace(data, spec=spec_of(objectives=dict.fromkeys(labels)))
    assert [family[2] for family in data.families] == list(labels)
    spec = charts.ratio_chart(data)
    assert spec is not None
    assert [one["transform"][0]["filter"]["equal"] for one in spec["vconcat"]] == list(labels)
    lines = [
        one | {"objective": label, "ratio": ratio} for label in sorted(labels) for ratio in (0.5, 0.9) for one in NETWORKS[1:2]
    ]
    spec = charts.ratio_chart(replace(told(lines, ranked), spec=data.spec))
    assert spec is not None
    assert spec["facet"]["column"]["sort"] == list(labels)
    assert list(dict.fromkeys(data.ranking["objective"])) == list(labels)
    assert list(dict.fromkeys(data.cells["objective"])) == list(labels)


@pytest.mark.parametrize(("before", "said"), [(0.04, True), (0.4, False)])
def test_the_page_says_below_what_no_share_is_shown(told, bare, tmp_path: Path, before: float, said: bool) -> None:
    data = told([network("dense", 0.0) | {"vra": before}, network("hydra")])
    assert ("where the dense network's vra is below 5\u00a0%" in written(data, tmp_path)) == said


def test_shapes_are_those_of_figures() -> None:
    same = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
    same |= {"X": charts.X, "*": charts.STAR}
    assert [same[marker] for marker in style.MARKERS] == charts.SHAPES


def test_a_networks_latency_is_that_of_its_fastest_form_and_its_budget_that_of_its_chain(told) -> None:
    who = {**KEYS, "method": "hydra", "ratio": 0.9, "stage": "finetuned"}
    timed = [
        who | {"seed": 0, "form": form, "batch_size": 1, "milliseconds": time}
        for form, time in (("masked", 4.0), ("onnx", 3.0))
    ]
    data = told(latency=timed, budgets=[who | {"chain_gradient_evaluations": 1234}])
    spec = charts.tradeoff_chart(replace(data, spec=spec_of(analyses={"latency": None})))
    assert spec is not None
    costs = {
        row["against"]: row["cost"] for row in spec["data"]["values"] if (row["method"], row["metric"]) == ("hydra", "era")
    }
    assert costs == {
        "parameters that are not zero": 100,
        "effective parameters": 90,
        "latency: milliseconds of 1 image": 3.0,
        "gradient evaluations of the whole chain": 1234,
    }


@pytest.mark.parametrize("chart", [charts.ratio_chart, charts.tradeoff_chart])
def test_a_chart_is_one_that_vega_lite_knows(chart, told) -> None:
    vega = vl_convert.vegalite_to_vega(chart(told()), vl_version="6.4")
    assert vega["marks"]


def test_against_one_ratio_methods_are_lines_with_the_best_at_the_top(told) -> None:
    networks = [
        network("dense", 0.0),
        network("hydra"),
        network("lwm", era=0.9, granularity="filter"),
        network("random", era=0.1),
    ]
    networks += [network("fre", era=0.99, constant=True), _lost("admm")]
    data = told(networks)
    spec = charts.ratio_chart(data)
    assert spec is not None
    lines = {row["line"]: row["place"] for row in spec["data"]["values"] if row["ratio"]}
    order = ["lwm (filters)", "hydra", "random (control)", "fre", "admm"]
    assert sorted(lines, key=lambda line: -lines[line]) == order
    assert "from best to worst by era" in charts.caption(data, spec)
    assert vl_convert.vegalite_to_vega(spec, vl_version="6.4")["marks"]


def test_a_family_that_failed_as_a_whole_is_named_once_below_the_chart(told) -> None:
    gone = [_lost(method, objective="trades", ratio=ratio) for method, ratio in (("dense", 0.0), ("hydra", 0.9), ("lwm", 0.9))]
    gone[0]["stage"] = "dense"
    assert charts.failures(told([*NETWORKS, *gone])) == ["all of trades"]


def test_what_is_grey_is_no_cross(told) -> None:
    methods = [network(f"m{place}", era=0.1 * place) for place in range(9)]
    spec = charts.tradeoff_chart(told([network("dense", 0.0), *methods]))
    assert spec is not None
    scale = spec["spec"]["layer"][0]["encoding"]["shape"]["scale"]
    shapes = dict(zip(scale["domain"], scale["range"], strict=True))
    assert shapes["all others"] == "circle"


def test_of_one_ratio_the_trade_off_begins_with_what_differs(told) -> None:
    networks = [network(method, effective_parameters=size) for method, size in (("hydra", 80), ("lwm", 70))]
    for ratios, said in (((0.9,), "effective parameters"), ((0.9, 0.95), "parameters that are not zero")):
        spec = charts.tradeoff_chart(
            told([network("dense", 0.0), *(one | {"ratio": ratio} for one in networks for ratio in ratios)])
        )
        assert spec is not None
        assert spec["params"][0]["value"] == said


def test_published_figures_stand_beside_measured_ones(told, bare, tmp_path: Path) -> None:
    row = dict.fromkeys(published_table.COLUMNS) | KEYS | {"source": "Someone 2020", "method": "hydra", "ratio": 0.9}
    row |= {"era_published": 80.0, "era": 79.26, "era_difference": -0.74, "remarks": "another attack"}
    data = told(published=[row])
    (one,) = published.published(data)
    found = unpacked(one.packed)
    line = dict(zip([head["title"] for head in found["columns"]], found["rows"][0], strict=True))
    assert line["era published"] == 80
    assert (line["era measured"], line["era difference"], line["remarks"]) == (79.3, -0.7, "another attack")
    assert "Published beside measured" in written(data, tmp_path)


def test_means_over_seeds_have_students_interval(told) -> None:
    rows = [network("hydra", seed=seed, era=era) for seed, era in enumerate((0.7, 0.8, 0.9))]
    (cell,) = told(rows).cells.to_dict("records")
    assert cell["seeds"] == 3
    # t(0.975, 2) * 0.1 / sqrt(3)
    assert [cell["era"], cell["era_low"]] == pytest.approx([0.8, 0.8 - 4.302653 * 0.1 / 3**0.5])


def test_a_grid_leaves_out_what_is_empty_and_has_no_number_that_is_none() -> None:
    made = grid(
        "a",
        [Column("x", "number", [1.0, None]), Column("none", "long", ["", ""]), Column("m", "text", ["a", "a"], chosen_by=True)],
    )
    data = unpacked(made.packed)
    assert [head["title"] for head in data["columns"]] == ["x", "m"]
    assert data["columns"][1]["menu"] is False
    assert data["rows"] == [[1.0, "a"], [None, "a"]]


def test_tables_for_a_paper_are_booktabs_without_commands_of_labels(told) -> None:
    networks = [network("dense", 0.0), network("my_method"), network("random", constant=True)]
    found = latex.tables(told(networks))
    assert r"my\_method & 95.0 [90.0, 99.0] & 80.0 [75.0, 84.0]" in found["summary.tex"]
    assert r"random$^\times$" in found["summary.tex"]
    for text in found.values():
        assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len({line.count("&") for line in rows}) == 1


def test_tables_for_a_paper_say_what_failed(told) -> None:
    found = latex.tables(told([network("dense", 0.0), _lost("hydra"), network("lwm")]))["summary.tex"]
    assert "hydra & failed & failed & failed" in found


def test_the_page_is_told_the_study_in_words() -> None:
    spec = spec_of()
    assert {one.label: one.options for one in spec.entries["attacks"]} == {"pgd": "steps 7"}
    assert spec.threats["adversarial"].eps == 8 / 255
    assert spec.entries["methods"][0].says
    assert "@misc{sparrow," in spec.bibtex
    assert PageSpec.model_validate(spec.model_dump()) == spec


def test_the_page_offers_what_the_study_has() -> None:
    tables = page.tables(study(analyses={"stability": None, "latency": None}))
    assert {"somewhere/summary.csv", "somewhere/ranking.csv", "somewhere/stability.csv", "somewhere/latency.csv"} <= set(tables)
    assert len(set(tables)) == len(tables)


def test_a_vra_above_era_is_marked_with_the_images_of_both(told) -> None:
    high = network("hydra") | {"vra": 0.9, "vra_low": 0.8, "vra_high": 0.95, "vra_n": 200, "era_n": 1000}
    data = told([network("dense", 0.0), high, network("lwm")])
    found = unpacked(cells.all_cells(data).packed)
    titles = [head["title"] for head in found["columns"]]
    rows = [dict(zip(titles, row, strict=True)) for row in found["rows"]]
    assert [row["vra"][3:] for row in rows] == [[], ["§ of 200 images, era of 1,000"], []]
    assert [row[""] for row in rows] == ["", "§", ""]
    (one,) = (doubt for doubt in doubts.doubts(data) if "above the era" in doubt["text"])
    assert one["about"] == ["vra of 200 images, era of 1,000 (hydra at 0.9)"]
    assert "% S: vra of 200 images, era of 1,000." in latex.tables(data)["summary.tex"]
    spec = charts.ratio_chart(data)
    assert spec is not None
    assert [row["note"] for row in spec["data"]["values"] if row["note"]] == ["vra is of 200 images, era of 1,000"]


def test_a_vra_by_some_of_the_verifiers_is_shown_and_compared_with_nothing(told) -> None:
    partial = network("hydra", failed="crown: no memory") | {"vra_by": "ibp", "vra_without": "crown"}
    ranked = [rank("hydra", 1, 0.4, "best", metric="vra"), rank("lwm", 2, 0.39, "worse", metric="vra")]
    data = told([network("dense", 0.0), partial, network("lwm")], ranked)
    found = unpacked(cells.all_cells(data).packed)
    titles = [head["title"] for head in found["columns"]]
    rows = [dict(zip(titles, row, strict=True)) for row in found["rows"]]
    assert rows[1]["vra"] == [0.4, 0.35, 0.44, "‡ by ibp; failed: crown"]
    assert rows[1][""] == "!‡"
    means = data.cells.set_index("method")
    assert np.isnan(means.loc["hydra", "vra"])
    assert means.loc["hydra", "era"] == 0.8
    assert data.ranking["verdict"].tolist() == ["failed", "not compared"]
    (one,) = (doubt for doubt in doubts.doubts(data) if "some of the verifiers" in doubt["text"])
    assert one["about"] == ["by ibp; failed: crown (hydra at 0.9)"]


PAIRS = "on each of 50 images, under each of 3 seeds"
LEVEL = {"behind": 0.0, "behind_low": np.nan, "behind_high": np.nan, "images": 50, "seeds": 3}


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], f"At 0.9 hydra and lwm are level (80.0\u00a0%, {PAIRS})."),
        (
            [rank("admm", 3, 0.7, "within the noise"), rank("random", 4, 0.1, "likely worse")],
            f"At 0.9 hydra and lwm are level (80.0\u00a0%, {PAIRS}), and 1 of 2 others is "
            "within the noise, 1 only likely worse.",
        ),
        (
            [rank("random", 3, 0.1, "worse")],
            f"At 0.9 hydra and lwm are level (80.0\u00a0%, {PAIRS}), ahead of all others.",
        ),
        (
            [rank("random", 1, 0.8, "level", **LEVEL)],
            f"At 0.9 hydra, lwm and random are level (80.0\u00a0%, {PAIRS}): none is better than random pruning.",
        ),
    ],
)
def test_a_tie_is_said_in_words_and_has_no_best(told, bare, tmp_path: Path, others: list, said: str) -> None:
    data = told(ranks=[rank(one, 1, 0.8, "level", **LEVEL) for one in ("hydra", "lwm")] + others)
    (part,) = card(data)["Under attack (era)"]
    assert part["says"] == said
    (row,) = part["rows"]
    assert row["best"]["more"] == words.listed(["hydra", "lwm", *(one["method"] for one in others if one["rank"] == 1)])
    assert row["ahead"] == {"value": "level", "interval": "", "more": PAIRS}
    assert "[0.0, 0.0]" not in written(data, tmp_path)
    assert "'best'" not in str(part).replace("'best':", "")


def test_methods_that_are_level_on_average_alone_are_so_in_words(told) -> None:
    ranks = [rank("hydra", 1, 0.8, "level", **LEVEL), rank("lwm", 1, 0.8, "level", **LEVEL | {"behind_low": -0.1})]
    (part,) = card(told(ranks=ranks))["Under attack (era)"]
    assert part["says"] == "At 0.9 hydra and lwm are level (80.0\u00a0%, on average, not image by image)."


def test_an_interval_without_a_width_is_not_shown(told) -> None:
    assert words.interval(0.8, 0.8, 0.8) == "80.0\u00a0%"
    rows = [rank("hydra", 1, 0.8, "best", low=0.8, high=0.8), rank("lwm", 2, 0.7, "worse", behind_low=np.nan)]
    data = told(ranks=[*rows, rank("random", 3, 0.6, "worse", behind_low=np.nan)])
    (part,) = card(data)["Under attack (era)"]
    assert part["rows"][0]["best"]["interval"] == ""
    assert part["rows"][0]["ahead"]["interval"] == ""
    assert part["rows"][0]["control"][0]["more"] == "worse: 20.0 behind"
    found = unpacked(ranks.ranks(data).packed)
    accuracy = [head["title"] for head in found["columns"]].index("accuracy")
    assert found["rows"][0][accuracy] == [0.8, None, None]
    assert "[80.0, 80.0]" not in latex.tables(data)["ranking.tex"]


@pytest.mark.parametrize(("name", "said"), [("mine", "study mine"), ("study", "study"), ("my-study", "my-study")])
def test_a_study_that_is_called_so_is_no_study_twice(told, name: str, said: str) -> None:
    data = told()
    assert about.about(replace(data, spec=data.spec.model_copy(update={"name": name})))["name"] == said
