"""HTML tables, from a small made-up summary, ranking and costs."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from sparrow.results.budget import jobs_of_cells
from sparrow.results.tables import write_tables

STAGES = {"pruned": "prune", "finetuned": "finetune", "grafted": "graft"}


def who(method, ratio, stage="finetuned", seed=0):
    return {
        "dataset": "digits",
        "model": "cnn-small",
        "objective": "trades",
        "method": method,
        "ratio": ratio,
        "seed": seed,
        "stage": stage,
    }


THREAT = {"norm": "linf", "eps": 0.1}


def network(method, ratio, stage="finetuned", seed=0, era=0.65, left=None, regime="held out 15 %"):
    """A line of summary.csv; `left` are parameters and multiply-adds without the pruned filters."""
    line = who(method, ratio, stage, seed) | {
        "failed": np.nan,
        "data_regime": regime,
        "constant": False,
        "chance": 0.1,
        **THREAT,
    }
    line |= {"sparsity_prunable": ratio, "sparsity_all": ratio / 2, "nonzero": 12345, "multiply_adds": 50664}
    line |= {"effective_parameters": 2345, "effective_multiply_adds": 5066}
    line |= dict(zip(("compact_parameters", "compact_multiply_adds"), left or (np.nan, np.nan), strict=True))
    for metric, value in (("benign", 0.9), ("era", era), ("vra", 0.2)):
        line |= {metric: value, f"{metric}_low": value - 0.05, f"{metric}_high": value + 0.05, f"{metric}_n": 360}
        line |= dict.fromkeys((f"preserved_{metric}{end}" for end in ("", "_low", "_high")), value / 0.9)
    return line


def place(rank, method, ratio=0.9, behind=(0.0, np.nan, np.nan), verdict=None, metric="era"):
    """A line of ranking.csv."""
    return {
        "dataset": "digits",
        "model": "cnn-small",
        "objective": "trades",
        "stage": "finetuned",
        "ratio": ratio,
        "granularity": "weight",
        "metric": metric,
        "rank": rank,
        "method": method,
        "seeds": 3,
        "mean": 0.8,
        "low": 0.75,
        "high": 0.85,
        "sd": 0.02,
        **dict(zip(("behind", "behind_low", "behind_high"), behind, strict=True)),
        "p_holm": np.nan if rank == 1 else 0.04,
        "verdict": verdict or ("best" if rank == 1 else "within the noise"),
    }


def job(path, seconds=1.5, gradients=20, memory=600.0, **latencies):
    """A line of costs.csv."""
    name = path.rsplit("/", 1)[-1]
    folder = {"attacks": "attack", "verifiers": "verify", "analyses": "analyse"}
    stage = folder.get(path.split("/")[-2]) or STAGES.get(name, "pretrain")
    return {
        "job": path,
        "stage": stage,
        "seconds": seconds,
        "peak_memory_mb": memory,
        "gradient_evaluations": gradients,
        **latencies,
    }


PARENT = "digits/cnn-small/trades/seed0"


@pytest.fixture
def lay_out(tmp_path):
    """Lays out tables of these lines and reads one of them back, as lists of cells, the header first."""

    def lay_out(name, networks=None, places=None, jobs=None):
        given = {
            "summary": networks or [network(one["method"], one["ratio"]) for one in places or [place(1, "lwm")]],
            "costs": jobs or [job(f"{PARENT}/dense")],
            "ranking": places or [place(1, "lwm")],
        }
        for table, lines in given.items():
            pd.DataFrame(lines).to_csv(tmp_path / f"{table}.csv", index=False)
        outputs = {f"{table}_html": tmp_path / f"{table}.html" for table in given} | {"budget": tmp_path / "budgets.csv"}
        write_tables(*(tmp_path / f"{table}.csv" for table in ("summary", "costs", "ranking")), **outputs)
        return read(outputs[f"{name}_html"])

    return lay_out


def read(path):
    head, body = path.read_text(encoding="utf-8").split("<tbody>")
    return [cells(head.split("<thead>")[1], "th"), *(cells(line, "td") for line in body.split("<tr>")[1:])]


def cells(line, tag):
    return [cell.split(">", 1)[1].split(f"</{tag}>")[0].strip() for cell in line.split(f"<{tag} ")[1:]]


def column(table, name):
    return [line[table[0].index(name)] for line in table[1:]]


@pytest.fixture
def summary_html(lay_out):
    """The table of one dense network and of one that has lost all its robustness."""
    lost = {"preserved_era": np.nan, "preserved_vra": 0.0, "preserved_vra_low": np.nan, "preserved_vra_high": np.nan}
    return lay_out("summary", [network("dense", 0.0, "dense"), network("lwm-global", 0.995, era=0.4025) | lost])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("method", "lwm-global"),
        ("ratio", "0.995"),
        ("sparsity", "99.50%"),
        ("sparsity (all)", "49.75%"),
        ("nonzero", "12,345"),
        ("effective", "2,345"),
        ("era", "40.2 [35.2, 45.2]"),
        ("preserved benign", "100.0"),  # an interval without a width is none
        ("preserved era", "–"),  # the dense network was never robust
        ("preserved vra", "0.0"),  # nothing is left: no interval
    ],
)
def test_a_cell_of_the_summary_is_formatted(summary_html, name, text):
    assert column(summary_html, name)[1] == text


REASON = "results/dense.safetensors: epoch 1: the training loss is nan; training diverged, try a smaller lr"


def gap(method="lwm", ratio=0.5, reason=REASON):
    """A line of summary.csv about a network that could not be made: who it is, why it is not there, and no number."""
    line = network(method, ratio)
    known = ["dataset", "model", "objective", "method", "ratio", "seed", "stage", "norm", "eps"]
    counts = {f"{metric}_n": 0 for metric in ("benign", "era", "vra")}
    return {key: value if key in known else np.nan for key, value in line.items()} | counts | {"failed": reason}


def test_what_was_held_out_is_told_in_the_caption(lay_out, tmp_path):
    assert "data regime" not in lay_out("summary", [network("lwm", 0.9), network("random", 0.9)])[0]
    assert "Data: held out 15 %." in (tmp_path / "summary.html").read_text()


def test_what_was_held_out_is_a_column_where_it_differs(lay_out, tmp_path):
    regimes = ["held out 15 %", "held out 5 %, 500,000 extra", np.nan]
    table = lay_out("summary", [network("lwm", 0.9, regime=regime) for regime in regimes])
    assert column(table, "data regime") == ["held out 15 %", "held out 5 %, 500,000 extra", "–"]
    assert "Data:" not in (tmp_path / "summary.html").read_text()


L2 = {"objective": "crown-ibp", "norm": "l2", "eps": 8 / 255}


@pytest.mark.parametrize("name", ["summary", "ranking"])
def test_one_threat_is_told_in_the_caption(lay_out, tmp_path, name):
    assert "threat" not in lay_out(name)[0]
    assert "Threat: linf 0.1." in (tmp_path / f"{name}.html").read_text()


@pytest.mark.parametrize("name", ["summary", "ranking"])
def test_threats_that_differ_stand_beside_their_objectives(lay_out, tmp_path, name):
    networks = [network("lwm", 0.9), network("lwm", 0.9) | L2]
    table = lay_out(name, networks, places=[place(1, "lwm") | {"objective": line["objective"]} for line in networks])
    assert column(table, "threat") == ["linf 0.1", "l2 8/255"]
    assert table[0].index("threat") == table[0].index("objective") + 1
    assert "Threat:" not in (tmp_path / f"{name}.html").read_text()


def test_a_study_without_gaps_has_no_column_for_them(lay_out):
    assert "failed" not in lay_out("summary", [network("lwm", 0.9), network("lwm", 0.5)])[0]


def test_a_gap_says_why_and_the_other_lines_nothing(lay_out):
    assert column(lay_out("summary", [network("lwm", 0.9), gap()]), "failed") == ["", REASON]


def test_the_reason_stands_behind_the_numbers(lay_out):
    header = lay_out("summary", [network("lwm", 0.9), gap()])[0]
    assert header[-1] == "failed"


def test_a_gap_has_no_number(lay_out):
    found = dict(zip(*(lay_out("summary", [network("lwm", 0.9), gap()])[row] for row in (0, 2)), strict=True))
    empty = {name for name, text in found.items() if text == "–"}
    metrics = {f"{prefix}{metric}" for prefix in ("", "preserved ") for metric in ("benign", "era", "vra")}
    assert empty == {"sparsity", "sparsity (all)", "nonzero", "effective"} | metrics


def test_what_a_reason_quotes_is_no_html(lay_out, tmp_path):
    # auto_LiRPA's messages hold types and shapes, which a browser would take for tags and not show.
    lay_out("summary", [network("lwm", 0.9), gap(reason="cannot bound layer 3 (<class 'torch.nn.Tanh'> & others)")])
    assert "(&lt;class " in (tmp_path / "summary.html").read_text(encoding="utf-8")


def test_only_a_reason_is_broken_into_lines(lay_out, tmp_path):
    header = lay_out("summary", [network("lwm", 0.9), gap()])[0]
    rules = (tmp_path / "summary.html").read_text(encoding="utf-8").split("}")
    (wrapped,) = [rule for rule in rules if "white-space: normal" in rule]
    assert wrapped.split("{")[0].strip() == f"#T_sparrow td.col{header.index('failed')}"


def test_a_study_in_which_everything_failed_is_laid_out(lay_out):
    table = lay_out("summary", [gap("lwm"), gap("hydra")], places=[place(1, "lwm")], jobs=[job(f"{PARENT}/dense")])
    assert column(table, "failed") == [REASON] * 2


@pytest.mark.parametrize("name", ["warnings", "era_warnings"])
def test_a_warning_is_broken_into_lines(lay_out, tmp_path, name):
    header = lay_out("summary", [network("lwm", 0.9) | {name: "odd"}])[0]
    place = header.index(name.replace("_", " "))
    assert f"#T_sparrow td.col{place} {{\n  white-space: normal" in (tmp_path / "summary.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{PARENT}/lwm-0.90/pruned", ["trades", 0, "lwm", 0.9, "pruned"]),
        (f"{PARENT}/lwm-global-0.999/finetuned", ["trades", 0, "lwm-global", 0.999, "finetuned"]),
        (f"{PARENT}/lwm-2-0.50/finetuned/analyses/stability", ["trades", 0, "lwm-2", 0.5, "finetuned"]),
        (f"{PARENT}/hydra-0.9999999/pruned/attacks/pgd", ["trades", 0, "hydra", 0.9999999, "pruned"]),
        ("digits/cnn-small/crown-ibp/seed12/lwm-0.90/pruned", ["crown-ibp", 12, "lwm", 0.9, "pruned"]),
    ],
)
def test_a_job_says_which_network_it_belongs_to(path, expected):
    (found,) = jobs_of_cells(pd.DataFrame([job(path)])).to_dict("records")
    assert [found[key] for key in ("dataset", "model")] == ["digits", "cnn-small"]
    assert [found[key] for key in ("objective", "seed", "method", "ratio", "of")] == expected


@pytest.mark.parametrize("path", ["digits/data", f"{PARENT}/dense", f"{PARENT}/dense/attacks/pgd"])
def test_jobs_of_no_pruned_network_are_left_out(path):
    table = pd.DataFrame([job(path), job(f"{PARENT}/lwm-0.90/pruned")])
    assert jobs_of_cells(table)["job"].tolist() == [f"{PARENT}/lwm-0.90/pruned"]


# A dense network, one without single weights, and one without filters at two ratios.
FILTERS = [
    network("dense", 0.0, "dense"),
    network("lwm", 0.9),
    network("lwm-filter", 0.5, left=(5960, 13940)),
    network("lwm-filter", 0.999, left=(456, 1234567)),
]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("parameters left", ["–", "–", "5,960", "456"]),
        ("multiply-adds left", ["–", "–", "13,940", "1,234,567"]),
    ],
)
def test_what_is_left_without_filters_is_told_of_networks_that_lost_some(lay_out, name, texts):
    assert column(lay_out("summary", FILTERS), name) == texts


def test_a_network_that_could_not_be_cut_says_why(lay_out):
    found = lay_out("summary", [*FILTERS[:3], network("fre", 0.5) | {"uncut": "its logits differ"}])
    assert column(found, "stays masked") == ["", "", "", "its logits differ"]


def test_a_study_that_removes_no_filters_has_no_columns_for_them(lay_out):
    header = lay_out("summary", FILTERS[:2])[0]
    assert [name for name in header if "left" in name or "masked" in name] == []
    assert header[-1] == "preserved vra"


@pytest.mark.parametrize(("networks", "told"), [(FILTERS, True), (FILTERS[:2], False)], ids=["filters", "weights"])
def test_the_caption_explains_what_is_left_where_filters_went(lay_out, tmp_path, networks, told):
    lay_out("summary", networks)
    assert ("without them" in (tmp_path / "summary.html").read_text(encoding="utf-8")) is told


def test_the_costs_are_summed_by_stage_and_by_attack(lay_out):
    jobs = [
        job("digits/m/o/seed0/dense", 1000.25, 1000000, 700.4),
        job("digits/m/o/seed0/dense/attacks/pgd", 1.5, 20, 600.0),
        job("digits/m/o/seed1/dense/attacks/pgd", 2.5, 30, 650.0),
        job("digits/m/o/seed0/dense/attacks/fgsm", 0.5, 1, 500.0),
        # A radius of a sweep counts by itself.
        job("digits/m/o/seed0/dense/attacks/pgd-eps0.05", 3.5, 7, 500.0),
        job("digits/m/o/seed0/dense/analyses/stability", 0.25, 0, 500.0),
        job("digits/m/o/seed0/lwm-0.90/finetuned/analyses/stability", 0.5, 0, 400.0),
    ]
    # Stage, what, jobs, seconds of all, of the slowest, peak memory of the largest, gradient evaluations of all.
    assert lay_out("costs", jobs=jobs)[1:] == [
        ["pretrain", "pretrain", "1", "1,000.2", "1,000.2", "700", "1,000,000"],
        ["attack", "pgd", "2", "4.0", "2.5", "650", "50"],
        ["attack", "fgsm", "1", "0.5", "0.5", "500", "1"],
        ["attack", "pgd-eps0.05", "1", "3.5", "3.5", "500", "7"],
        ["analyse", "stability", "2", "0.8", "0.5", "500", "0"],
    ]


PLACES = [
    place(1, "hydra"),
    place(2, "lwm", behind=(0.01, -0.02, 0.04)),
    place(3, "lwm-global", behind=(0.2, 0.15, 0.25), verdict="likely worse") | {"granularity": "filter"},
]
SPENT = [
    *(job(f"digits/cnn-small/trades/seed{seed}/hydra-0.90/pruned", 10 + seed, 1000 + 500 * seed) for seed in (0, 1)),
    *(job(f"digits/cnn-small/trades/seed{seed}/hydra-0.90/finetuned", 20, 3000) for seed in (0, 1)),
    job("digits/cnn-small/trades/seed0/lwm-0.90/pruned", 0.25, 0),
    job("digits/cnn-small/trades/seed0/lwm-0.90/finetuned", 1234.5, 3000),
    job("digits/cnn-small/trades/seed0/lwm-global-0.90/pruned", 0.5, 0),
    job("digits/cnn-small/trades/seed0/lwm-global-0.90/finetuned", 7, 4000),
    # Another ratio, another objective, and an evaluation: none of them counts.
    job("digits/cnn-small/trades/seed0/lwm-0.99/pruned", 99, 99),
    job("digits/cnn-small/benign/seed0/lwm-0.90/pruned", 99, 99),
    job("digits/cnn-small/trades/seed0/lwm-0.90/finetuned/attacks/pgd", 99, 99),
]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("ratio", ["0.9", "0.9", "0.9"]),
        ("granularity", ["weight", "weight", "filter"]),
        ("metric", ["era", "era", "era"]),
        ("rank", ["1", "2", "3"]),
        ("method", ["hydra", "lwm", "lwm-global"]),
        ("seeds", ["3", "3", "3"]),
        ("accuracy", ["80.0 [75.0, 85.0]"] * 3),
        ("behind the best by", ["", "1.0 [-2.0, 4.0]", "20.0 [15.0, 25.0]"]),
        ("verdict", ["best", "within the noise", "likely worse"]),
        # Means over the seeds.
        ("prune: gradient evaluations", ["1,250", "0", "0"]),
        ("finetune: gradient evaluations", ["3,000", "3,000", "4,000"]),
        ("prune: seconds", ["10.5", "0.2", "0.5"]),
        ("finetune: seconds", ["20.0", "1,234.5", "7.0"]),
    ],
)
def test_a_column_of_the_ranking(lay_out, name, texts):
    assert column(lay_out("ranking", places=PLACES, jobs=SPENT), name) == texts


def failed_place(method):
    """A line of ranking.csv about a method one of whose networks failed."""
    keys = ["dataset", "model", "objective", "stage", "ratio", "granularity", "metric", "method"]
    line = place(1, method, verdict="failed")
    return {key: value if key in (*keys, "verdict") else np.nan for key, value in line.items()}


@pytest.mark.parametrize(
    ("name", "text"),
    [("method", "lwm"), ("rank", "–"), ("seeds", "–"), ("accuracy", "–"), ("behind the best by", "–"), ("verdict", "failed")],
)
def test_a_method_that_failed_is_ranked_nowhere(lay_out, name, text):
    table = lay_out("ranking", places=[place(1, "hydra"), failed_place("lwm")], jobs=SPENT)
    assert column(table, name)[1] == text


def test_what_a_method_that_failed_has_cost_is_told(lay_out):
    table = lay_out("ranking", places=[place(1, "hydra"), failed_place("lwm")], jobs=SPENT)
    assert column(table, "finetune: seconds") == ["20.0", "1,234.5"]


def test_a_ratio_close_to_one_finds_its_costs(lay_out):
    jobs = [job(f"{PARENT}/lwm-global-0.999/pruned", 1, 11), job(f"{PARENT}/lwm-global-0.99/pruned", 1, 22)]
    table = lay_out("ranking", places=[place(1, "lwm-global", 0.999)], jobs=jobs)
    assert (column(table, "ratio"), column(table, "prune: gradient evaluations")) == (["0.999"], ["11"])


def test_the_tables_are_the_same_to_the_byte(lay_out, tmp_path):
    written = []
    for _ in range(2):
        lay_out("ranking", [*FILTERS, *(network(one["method"], one["ratio"]) for one in PLACES)], PLACES, SPENT)
        written.append([(tmp_path / f"{name}.html").read_bytes() for name in ("summary", "costs", "ranking")])
    assert written[0] == written[1]


@pytest.mark.parametrize(("stages", "said"), [(("dense", "finetuned"), False), (("dense", "pruned", "finetuned"), True)])
def test_stale_statistics_are_named_where_networks_before_fine_tuning_are_shown(lay_out, tmp_path, stages, said):
    lay_out("summary", [network("lwm", 0.9, stage) for stage in stages])
    assert ("norm_statistics" in (tmp_path / "summary.html").read_text(encoding="utf-8")) is said


def test_warnings_have_a_column_where_there_is_one(lay_out):
    assert "warnings" not in lay_out("summary", [network("lwm", 0.9) | {"warnings": np.nan}])[0]
    table = lay_out("summary", [network("lwm", 0.9) | {"warnings": np.nan}, network("harp", 0.9) | {"warnings": "far off"}])
    assert column(table, "warnings") == ["", "far off"]


def test_rows_can_be_chosen_by_what_a_method_is(tmp_path):
    facts = {"pipeline": "during", "iterative": True, "structure": "weights", "locality": "network", "criterion": "LIS"}
    lines = [network("dense", 0) | {"stage": "dense"}, network("mine", 0.9) | facts]
    pd.DataFrame(lines).to_csv(tmp_path / "summary.csv", index=False)
    pd.DataFrame([job(f"{PARENT}/dense")]).to_csv(tmp_path / "costs.csv", index=False)
    pd.DataFrame([place(1, "mine")]).to_csv(tmp_path / "ranking.csv", index=False)
    pages = {f"{name}_html": tmp_path / f"{name}.html" for name in ("summary", "costs", "ranking")}
    pages["budget"] = tmp_path / "budgets.csv"
    write_tables(*(tmp_path / f"{name}.csv" for name in ("summary", "costs", "ranking")), **pages)
    head, _, mine = read(pages["summary_html"])
    words = {"prunes": "during training", "steps": "iterative", "removes": "weights", "within": "network", "criterion": "LIS"}
    assert {name: mine[head.index(name)] for name in words} == words
    (menus,) = re.findall(r"for \(const name of (\[.*\])\)", pages["summary_html"].read_text())
    assert set(words) < set(json.loads(menus))
    # Nothing is asked of elsewhere.
    assert not re.search(r"(src|href)=", pages["summary_html"].read_text())


def test_a_ranking_counts_the_whole_chain(lay_out):
    jobs = [job(f"{PARENT}/dense", gradients=1000), job(f"{PARENT}/lwm-0.90/pruned", gradients=30)]
    jobs += [job(f"{PARENT}/lwm-0.90/finetuned", gradients=7)]
    (head, line) = lay_out("ranking", jobs=jobs)
    assert line[head.index("whole chain: gradient evaluations")] == "1,037"


def test_budgets_are_a_row_for_each_network_and_count_no_stage_behind_it(lay_out, tmp_path):
    jobs = [job(f"{PARENT}/dense", gradients=1000), job(f"{PARENT}/lwm-0.90/pruned", gradients=30)]
    jobs += [job(f"{PARENT}/lwm-0.90/finetuned", gradients=7), job(f"{PARENT}/lwm-0.90/grafted", gradients=5)]
    networks = [network("lwm", 0.9, stage=stage) for stage in ("pruned", "finetuned", "grafted")]
    lay_out("ranking", networks=networks, jobs=jobs)
    found = pd.read_csv(tmp_path / "budgets.csv").set_index("stage")
    columns = [f"{stage}_gradient_evaluations" for stage in ("prune", "finetune", "graft", "chain")]
    nothing = float("nan")
    wanted = {"pruned": (30, nothing, nothing, 1030), "finetuned": (30, 7, nothing, 1037), "grafted": (30, 7, 5, 1042)}
    for stage, counts in wanted.items():
        assert found.loc[stage, columns].tolist() == pytest.approx(counts, nan_ok=True)


def test_a_vra_above_era_is_marked_with_the_images_of_both(lay_out, tmp_path):
    above = network("lwm", 0.5, era=0.2) | {"vra": 0.9, "vra_low": 0.8, "vra_high": 0.95, "vra_n": 200, "era_n": 1000}
    table = lay_out("summary", networks=[network("dense", 0.0, stage="dense"), above])
    dense, pruned = column(table, "vra")
    assert pruned == "90.0 [80.0, 95.0] § (of 200 images, era of 1,000)"
    assert "§" not in dense
    assert "would be a contradiction" in (tmp_path / "summary.html").read_text()


def test_a_vra_by_some_of_the_verifiers_is_marked(lay_out, tmp_path):
    partial = network("lwm", 0.5) | {"vra_by": "ibp", "vra_without": "crown"}
    table = lay_out("summary", networks=[network("dense", 0.0, stage="dense"), partial])
    assert column(table, "vra")[1].endswith(" ‡ (by ibp; failed: crown)")
    assert "by some of the verifiers" in (tmp_path / "summary.html").read_text()
