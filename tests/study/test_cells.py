"""From a study to its cells, paths and specs."""

import contextlib
import hashlib
import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from sparrow.errors import ConfigError, SparrowError
from sparrow.exchange import keymap_files
from sparrow.files import paths as cell_path
from sparrow.files.paths import Cell, Checkpoint, Parent
from sparrow.settings import Threat
from sparrow.study import analyses, cells, job_specs
from sparrow.study.load import load_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
PARENT = Parent("digits", "cnn-small", "benign", 0)


def default():
    """The default study, each of its verifiers at the study's radius alone."""
    config = default_study()
    return config | {"verifiers": {"crown": {"samples": 150}, "cascade": {"samples": 150, "attacks": ["fmn"]}}}


def study(**sections):
    """That study with whole sections replaced."""
    return load_study(default() | sections)


def section(name, **entries):
    """A section of that study with some entries replaced."""
    return {name: default()[name] | entries}


def spec_of(of, label, parent=PARENT):
    """The spec of an analysis of the dense network of `parent`."""
    one = Checkpoint(parent, None, "dense")
    return analyses.spec(of, analyses.Job(label, one.path, (one,), ()))


def specs(of):
    """All specs of the networks at ratio 0.9 and seed 0, by the rule and by what tells them apart."""
    result = {"data": job_specs.data_spec(of, "digits")}
    for objective in of.objectives:
        parent = PARENT._replace(objective=objective)
        result[f"pretrain {objective}"] = job_specs.pretrain_spec(of, parent)
        for method in of.methods:
            cell = Cell(parent, method, 0.9)
            result[f"prune {objective} {method}"] = job_specs.prune_spec(of, cell)
            result[f"finetune {objective} {method}"] = job_specs.finetune_spec(of, cell)
    for attack in cells.tables(of, "attacks"):
        result[f"attack {attack}"] = job_specs.attack_spec(of, PARENT, attack)
    for verifier in cells.tables(of, "verifiers"):
        result[f"verify {verifier}"] = job_specs.verify_spec(of, PARENT, verifier)
    for label in of.analyses:
        result[label] = spec_of(of, label)
    return {name: spec.model_dump() for name, spec in result.items()}


def test_every_combination_is_one_cell():
    assert len(cells.cells(study())) == 3 * 3 * 4


def test_dense_and_finetuned_networks_are_evaluated():
    assert len(list(cells.evaluated(study()))) == 3 + 36


def test_every_network_is_trained_whatever_is_evaluated():
    assert len(list(cells.trainings(study(evaluate=["finetuned"])))) == 3 + 2 * 36


def test_every_seed_repeats_the_study():
    assert len(cells.cells(study(seeds=[0, 1]))) == 2 * 36


@pytest.mark.parametrize(
    ("checkpoint", "path"),
    [
        (Checkpoint(PARENT, None, "dense"), "digits/cnn-small/benign/seed0/dense"),
        (Checkpoint(PARENT, Cell(PARENT, "lwm", 0.9), "pruned"), "digits/cnn-small/benign/seed0/lwm-0.90/pruned"),
    ],
    ids=["dense", "pruned"],
)
def test_a_checkpoint_lies_where_the_readme_says(checkpoint, path):
    assert checkpoint.path == path


def test_all_paths_of_a_study_differ():
    paths = [checkpoint.path for checkpoint in cells.trainings(study(seeds=[1, 11]))]
    assert len(set(paths)) == len(paths)


def test_a_dense_network_has_a_method_and_a_ratio_of_its_own():
    identity = Checkpoint(PARENT, None, "dense").identity()
    assert (identity["method"], identity["ratio"], identity["stage"]) == ("dense", 0.0, "dense")


def test_a_pruned_network_is_named_by_its_cell():
    identity = Checkpoint(PARENT, Cell(PARENT, "lwm", 0.9), "pruned").identity()
    assert identity == {**PARENT._asdict(), "method": "lwm", "ratio": 0.9, "stage": "pruned"}


@pytest.mark.parametrize(("ratio", "label"), [(0.5, "0.50"), (0.9, "0.90"), (0.99, "0.99"), (0.995, "0.995")])
def test_ratio_labels_have_at_least_two_decimals(ratio, label):
    assert cell_path.ratio_label(ratio) == label


def test_ratio_labels_give_the_ratio_back():
    # The workflow reads the ratio from the path. 0.1 + 0.2 is not 0.3 and must not become it.
    ratios = [0.1 + 0.2, 0.3, 1 / 3, 0.999999, *(number / 1000 for number in range(1, 1000))]
    assert [float(cell_path.ratio_label(ratio)) for ratio in ratios] == ratios


# What is changed, and which specs must differ for it: these and no others.
CHANGES = {
    "steps of one attack": (section("attacks", pgd={"steps": 21}), ["attack pgd"]),
    "iterations of one verifier": (
        section("verifiers", cascade={"samples": 150, "attacks": ["fmn"], "iterations": 6}),
        ["verify cascade"],
    ),
    "which attacks a cascade looks at": (
        section("verifiers", cascade={"samples": 150, "attacks": ["pgd"]}),
        ["verify cascade"],
    ),
    "what is kept of an attack": (section("attacks", pgd={"samples": 150, "steps": 20, "keep_examples": True}), []),
    "a sweep of an attack": (section("attacks", pgd={"samples": 150, "steps": 20, "eps": [0.025, 0.1]}), []),
    "a sweep of a verifier": (section("verifiers", crown={"samples": 150, "eps": [0.1, 0.05, 0.2]}), []),
    "the study's own radius by its number": (section("attacks", pgd={"samples": 150, "steps": 20, "eps": 0.1}), []),
    "where ReLUs are counted": ({"analyses": {"stability": {"samples": 40}}}, ["stability"]),
    "threat": (
        {"threat": {"norm": "linf", "eps": 0.2}},
        [
            *("pretrain adversarial", "prune adversarial hydra", "finetune adversarial *"),
            *("pretrain crown-ibp", "prune crown-ibp hydra", "finetune crown-ibp *"),
            *("attack *", "verify *", "stability"),
        ],
    ),
    "split": ({"datasets": {"digits": {"split_seed": 1}}}, ["data"]),
    "pre-training": (
        section("training", pretrain={"epochs": 40, "batch_size": 64}),
        # CROWN-IBP's own schedule leaves nothing of the study's but the batch size.
        ["pretrain benign", "pretrain adversarial"],
    ),
    "pruning": (section("training", prune={"epochs": 5}), ["prune * hydra"]),
    "fine-tuning": (section("training", finetune={"epochs": 5}), ["finetune *"]),
    "an objective": (
        section("objectives", adversarial={"steps": 8}),
        ["pretrain adversarial", "prune adversarial hydra", "finetune adversarial *"],
    ),
    "an objective's patch": (
        section("objectives", benign={"training": {"prune": {"lr": 0.5}}}),
        ["prune benign hydra"],
    ),
    "an objective's eps": (
        section("objectives", adversarial={"steps": 7, "eps": 0.3}),
        ["pretrain adversarial", "prune adversarial hydra", "finetune adversarial *"],
    ),
    "a method": (section("methods", lwm={"allocation": "global"}), ["prune * lwm"]),
    "another ratio": ({"ratios": [0.5, 0.9]}, []),
    "another seed": ({"seeds": [0, 1]}, []),
    "what is evaluated": ({"evaluate": ["pruned"]}, []),
    "where results go": ({"results": "elsewhere"}, []),
}


@pytest.mark.parametrize(("change", "patterns"), CHANGES.values(), ids=CHANGES)
def test_a_change_touches_the_specs_of_the_jobs_that_read_it(change, patterns):
    before, after = specs(study()), specs(study(**change))
    expected = {name for name in before if any(fnmatch(name, pattern) for pattern in patterns)}
    assert all(any(fnmatch(name, pattern) for name in before) for pattern in patterns)
    assert {name for name in before if before[name] != after[name]} == expected


@pytest.mark.parametrize("room", ["models", "methods", "objectives", "attacks", "verifiers"])
def test_another_entry_beside_touches_nothing(room):
    extra = {"models": "cnn-large", "objectives": "trades", "methods": "lwm-too", "attacks": "pgd-too", "verifiers": "ibp"}
    extra = extra[room]
    kind = {"lwm-too": "lwm", "pgd-too": "pgd"}.get(extra, extra)
    before, after = specs(study()), specs(study(**section(room, **{extra: {"kind": kind}})))
    assert {name: after[name] for name in before} == before


TRAINS = {"admm": {}, "deadwooding": {}, "lwm-steps": {"kind": "lwm", "steps": 3}, "hydra": {}, "snip": {}, "lwm": {}}
PATCHES = {
    "prune epochs": ("prune", {"epochs": 5, "batch_size": 64, "lr": 0.1}),
    "prune lr": ("prune", {"epochs": 15, "batch_size": 64, "lr": 0.2}),
    "finetune epochs": ("finetune", {"epochs": 5, "batch_size": 64, "lr": 0.1}),
    "finetune lr": ("finetune", {"epochs": 20, "batch_size": 64, "lr": 0.2}),
    "finetune optimizer": ("finetune", {"epochs": 20, "batch_size": 64, "lr": 0.1, "optimizer": "adam"}),
    "finetune clipping": ("finetune", {"epochs": 20, "batch_size": 64, "lr": 0.1, "max_grad_norm": 1.0}),
    "finetune batches": ("finetune", {"epochs": 20, "batch_size": 32, "lr": 0.1}),
}
MOVE_WEIGHTS, LEARN_SCORES = {"admm", "deadwooding", "lwm-steps"}, {"hydra", "snip"}


@pytest.mark.parametrize(
    ("patch", "methods"),
    [
        ("prune epochs", MOVE_WEIGHTS | LEARN_SCORES),
        ("prune lr", LEARN_SCORES),
        ("finetune epochs", set()),
        ("finetune lr", MOVE_WEIGHTS),
        ("finetune optimizer", MOVE_WEIGHTS),
        ("finetune clipping", MOVE_WEIGHTS),
        ("finetune batches", set()),
    ],
)
def test_a_method_that_moves_weights_moves_them_as_fine_tuning_does(patch, methods):
    stage, schedule = PATCHES[patch]
    made = []
    for changes in ({}, section("training", **{stage: schedule})):
        of = study(methods=TRAINS, **changes)
        made.append({method: job_specs.prune_spec(of, Cell(PARENT, method, 0.9)) for method in TRAINS})
    assert {method for method in TRAINS if made[0][method] != made[1][method]} == methods


def test_a_method_that_does_not_train_reads_no_schedule():
    told = job_specs.prune_spec(study(), Cell(PARENT, "lwm", 0.9)).model_dump()
    assert set(told) == {"cell", "model", "code", "method", "ratio"}


@pytest.mark.parametrize(("eps", "expected"), [(None, 0.1), (0.25, 0.25)])
def test_a_method_with_an_eps_is_given_its_threat(eps, expected):
    # Even where the objective is benign and knows of none.
    of = study(methods={"deadwooding": {"eps": eps}})
    made = job_specs.prune_spec(of, Cell(PARENT, "deadwooding", 0.9)).model_dump()
    assert made["method_threat"] == {"norm": "linf", "eps": expected}
    assert "eps" not in made["method"]
    assert "threat" not in made


def test_a_method_without_an_eps_is_given_no_threat():
    assert "method_threat" not in job_specs.prune_spec(study(), Cell(PARENT, "hydra", 0.9)).model_dump()


@pytest.mark.parametrize(
    ("evaluate", "stages"),
    [(["dense", "finetuned"], ["finetuned"]), (["pruned", "finetuned"], ["pruned", "finetuned"])],
)
def test_networks_that_lose_filters_are_known(evaluate, stages):
    methods = {"lwm": {}, "lwm-filter": {"kind": "lwm", "granularity": "filter"}, "snip": {}}
    of = study(methods=methods, ratios=[0.5], evaluate=evaluate)
    made = [(one.parent.objective, one.cell.method, one.stage) for one in cells.without_filters(of)]
    assert made == [(objective, "lwm-filter", stage) for objective in of.objectives for stage in stages]
    assert job_specs.aggregate_spec(of).lost_filters == [one.path for one in cells.without_filters(of)]


def test_an_objective_that_names_the_studys_eps_is_the_same():
    named = study(**section("objectives", adversarial={"steps": 7, "eps": 0.1}))
    assert job_specs.pretrain_spec(named, PARENT._replace(objective="adversarial")) == job_specs.pretrain_spec(
        study(), PARENT._replace(objective="adversarial")
    )


def test_a_benign_network_is_trained_without_a_threat():
    assert "threat" not in job_specs.pretrain_spec(study(), PARENT).model_dump()


@pytest.mark.parametrize("make", [job_specs.prune_spec, job_specs.finetune_spec], ids=["prune", "finetune"])
def test_two_seeds_have_two_specs(make):
    one, two = (Cell(PARENT._replace(seed=seed), "lwm", 0.9) for seed in (0, 1))
    assert make(study(), one) != make(study(), two)


def test_two_seeds_are_attacked_apart():
    assert job_specs.attack_spec(study(), PARENT, "pgd") != job_specs.attack_spec(study(), PARENT._replace(seed=1), "pgd")


def sweeping(eps=0.1, **attacks_and_verifiers):
    """A study of these attacks and verifiers at the radius `eps`; the labels of verifiers start with a v."""
    rooms = {"attacks": {}, "verifiers": {"vibp": {"kind": "ibp"}}}
    for label, entry in attacks_and_verifiers.items():
        rooms["verifiers" if label.startswith("v") else "attacks"][label] = entry
    return study(threat={"norm": "l2" if eps == 1 else "linf", "eps": eps}, **rooms)


# A radius of the study, what an entry says of its own, and the names of its tables.
RADII = {
    "nothing": (0.1, None, ["pgd"]),
    "the study's own": (0.1, 0.1, ["pgd"]),
    "the study's own among others": (0.1, [0.2, 0.1, 0.05], ["pgd-eps0.2", "pgd", "pgd-eps0.05"]),
    "another": (0.1, 0.25, ["pgd-eps0.25"]),
    "a very small one": (0.1, [1e-05, 0.1], ["pgd-eps0.00001", "pgd"]),
    "a very small one of the study": (1e-05, [1e-05, 2e-05], ["pgd", "pgd-eps0.00002"]),
    "a fraction": (8 / 255, [2 / 255, 8 / 255], ["pgd-eps2_255", "pgd"]),
    "a whole number": (1, [1, 2], ["pgd", "pgd-eps2.0"]),
    "that whole number with a point": (1, [0.5, 1.0], ["pgd-eps0.5", "pgd"]),
}


@pytest.mark.parametrize(("own", "eps", "names"), RADII.values(), ids=RADII)
def test_a_table_is_named_by_its_radius_if_that_is_not_the_studys(own, eps, names):
    # FMN is there for the study's own radius, where the other attack leaves it out.
    of = sweeping(own, pgd={"eps": eps}, fmn={})
    assert list(cells.tables(of, "attacks")) == [*names, "fmn"]


def test_a_table_lies_in_the_folder_of_its_room():
    of = sweeping(pgd={"eps": [0.05, 0.1]}, vcrown={"kind": "crown", "eps": [0.1, 1e-05]})
    assert [table.path for room in ("attacks", "verifiers") for table in cells.tables(of, room).values()] == [
        *("attacks/pgd-eps0.05", "attacks/pgd"),
        *("verifiers/vibp", "verifiers/vcrown", "verifiers/vcrown-eps0.00001"),
    ]


def test_a_table_knows_its_entry_and_its_radius():
    tables = cells.tables(sweeping(mine={"kind": "pgd", "eps": [0.05, 0.1]}), "attacks")
    assert {name: (table.entry, table.eps) for name, table in tables.items()} == {
        "mine-eps0.05": ("mine", 0.05),
        "mine": ("mine", 0.1),
    }


@pytest.mark.parametrize("label", ["pgd-eps1e-05", "pgd-eps2"])
def test_no_two_tables_share_a_name(label):
    # A label of the user's own may look like the name of another entry's table. To refuse it is fine, to lose one is not.
    eps = [0.1, float(label.removeprefix("pgd-eps"))]
    with contextlib.suppress(ConfigError):
        assert len(cells.tables(sweeping(**{"pgd": {"eps": eps}, label: {"kind": "pgd"}}), "attacks")) == 3


CASCADE = {"kind": "cascade", "bounds": ["ibp"]}


@pytest.mark.parametrize(
    ("entries", "kept"),
    [
        ({"pgd": {}}, set()),
        ({"pgd": {"keep_examples": True}}, {"pgd"}),
        ({"pgd": {"keep_examples": True, "eps": [0.05, 0.1]}}, {"pgd", "pgd-eps0.05"}),
        ({"pgd": {}, "fgsm": {}, "vcascade": {**CASCADE, "attacks": ["pgd"]}}, {"pgd"}),
        # At the radius of the cascade, and at no other.
        (
            {"pgd": {"eps": [0.05, 0.1, 0.2]}, "vcascade": {**CASCADE, "attacks": ["pgd"], "eps": [0.1, 0.2]}},
            {"pgd", "pgd-eps0.2"},
        ),
        # A distance says it for every radius.
        ({"fmn": {"eps": 0.3}, "vcascade": {**CASCADE, "attacks": ["fmn"], "eps": [0.1, 0.2]}}, {"fmn-eps0.3"}),
        ({"pgd": {}, "fgsm": {"keep_examples": True}, "vcascade": {**CASCADE, "attacks": ["pgd"]}}, {"pgd", "fgsm"}),
        ({"pgd": {}, "vcascade": CASCADE}, set()),
    ],
)
def test_examples_are_kept_as_told_or_for_a_cascade(entries, kept):
    assert cells.attacks_with_examples(sweeping(**entries)) == kept


def test_a_cascade_looks_at_the_examples_of_its_own_radius_and_at_those_of_any_distance():
    of = sweeping(
        pgd={"eps": [0.05, 0.1]},
        fgsm={},
        fmn={},
        vcascade={**CASCADE, "attacks": ["fmn", "pgd"], "eps": [0.05, 0.1]},
    )
    looked_at = {
        name: [one.name for one in cells.attacks_rechecked_by(of, table, "benign")]
        for name, table in cells.tables(of, "verifiers").items()
    }
    assert looked_at == {"vibp": [], "vcascade-eps0.05": ["pgd-eps0.05", "fmn"], "vcascade": ["pgd", "fmn"]}


@pytest.mark.parametrize(
    ("entries", "curved"),
    [
        ({"pgd": {}}, False),
        ({"pgd": {"eps": 0.1}}, False),
        ({"pgd": {"eps": [0.1, 0.2]}}, True),
        ({"pgd": {}, "vcrown": {"kind": "crown", "eps": [0.1, 0.2]}}, True),
        ({"fmn": {}}, True),
        ({"pgd": {"keep_examples": True}, "vcascade": {**CASCADE, "attacks": ["pgd"]}}, False),
    ],
)
def test_there_is_a_curve_with_more_than_one_radius(entries, curved):
    assert cells.has_security_curve(sweeping(**entries)) is curved


SMOOTHING = {"kind": "smoothing"}
ELSEWHERE = {"objectives": ["trades"]}


@pytest.mark.parametrize(
    ("attacks", "verifiers", "measured"),
    [
        ({"pgd": {}}, {"ibp": {}, "smoothing": SMOOTHING}, ["era", "vra"]),
        ({"pgd": ELSEWHERE}, {"ibp": {}}, ["vra"]),
        ({"pgd": {}}, {"smoothing": SMOOTHING, "ibp": ELSEWHERE}, ["era"]),
    ],
    ids=["both", "no era", "no vra"],
)
def test_an_objectives_networks_have_what_is_asked_of_them(attacks, verifiers, measured):
    found = study(attacks=attacks, verifiers=verifiers, objectives={"benign": {}, "trades": {}})
    assert cells.metrics_of(found, "benign") == measured


def test_the_threat_of_a_spec_has_the_radius_of_its_table():
    of = sweeping(pgd={"eps": [0.05, 0.1]}, vcrown={"kind": "crown", "eps": [0.1, 0.2]})
    made = specs(of)
    radii = {name: one["threat"]["eps"] for name, one in made.items() if name.startswith(("attack", "verify"))}
    assert radii == {
        "attack pgd-eps0.05": 0.05,
        "attack pgd": 0.1,
        "verify vibp": 0.1,
        "verify vcrown": 0.1,
        "verify vcrown-eps0.2": 0.2,
    }


def test_a_radius_is_in_the_threat_of_a_spec_and_nowhere_else():
    made = job_specs.attack_spec(sweeping(pgd={"eps": [0.05, 0.1], "keep_examples": True}), PARENT, "pgd-eps0.05")
    assert {"eps", "keep_examples"} & set(made.attack) == set()


def test_the_same_radius_is_the_same_job_whatever_it_is_called():
    # The study's radius becomes one of a sweep: its tables get another name and the same content.
    before = sweeping(0.1, pgd={}, fmn={})
    after = sweeping(0.2, pgd={"eps": 0.1}, fmn={})
    assert job_specs.attack_spec(before, PARENT, "pgd") == job_specs.attack_spec(after, PARENT, "pgd-eps0.1")


def test_a_new_radius_leaves_every_other_spec_as_it_was():
    entries = {"pgd": [0.05, 0.1], "vcrown": [0.05, 0.1]}

    def made(entries):
        kinds = {"pgd": {}, "vcrown": {"kind": "crown"}}
        return specs(sweeping(**{label: {**kinds[label], "eps": eps} for label, eps in entries.items()}))

    before, after = made(entries), made({label: [0.2, *eps] for label, eps in entries.items()})
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"attack pgd-eps0.2", "verify vcrown-eps0.2"}


def test_the_aggregation_is_told_which_tables_are_of_which_sort():
    of = sweeping(
        pgd={"eps": [0.05, 0.1]},
        fmn={"eps": 0.3},
        transfer={"attacks": ["fmn"]},
        vcrown={"kind": "crown", "eps": [0.1, 0.2]},
        vsmooth={"kind": "smoothing"},
    )
    made = job_specs.aggregate_spec(of).objectives["benign"].model_dump()
    assert made == {
        "threat": {"norm": "linf", "eps": 0.1},
        "attacks": ["pgd-eps0.05", "pgd", "fmn-eps0.3", "transfer"],
        "not_in_era": [],
        "transferred": ["transfer"],
        "minimum_norm": ["fmn-eps0.3"],
        "verifiers": ["vibp", "vcrown", "vcrown-eps0.2", "vsmooth"],
        "smoothed": ["vsmooth"],
    }


def test_counting_stable_relus_reads_the_network_and_the_threat_alone():
    changes = {"attacks": {"fgsm": {}}, "verifiers": {"ibp": {}}, "ratios": [0.5], "seeds": [3], "methods": {"harp": {}}}
    changes["seeds"] = [3, 0]
    assert spec_of(study(), "stability") == spec_of(study(**changes), "stability")
    assert set(spec_of(study(), "stability").model_dump()) == {"seed", "model", "analysis", "threat", "code"}


SMALLER = Threat(norm="linf", eps=0.02)


def own_threat(**sections):
    """A study whose certified networks live under a smaller threat than the others."""
    return study(**section("objectives", **{"crown-ibp": {"threat": SMALLER.model_dump()}}), **sections)


def test_an_objectives_own_threat_trains_and_evaluates_its_networks():
    of, certified = own_threat(), PARENT._replace(objective="crown-ibp")
    made = (
        job_specs.pretrain_spec(of, certified),
        job_specs.attack_spec(of, certified, "pgd"),
        job_specs.verify_spec(of, certified, "cascade"),
    )
    made += (spec_of(own_threat(analyses={"stability": None}), "stability", certified),)
    assert [one.threat for one in made] == [SMALLER] * 4
    assert job_specs.prune_spec(of, Cell(certified, "hydra", 0.9)).threat == SMALLER


def test_an_objectives_own_threat_leaves_every_other_spec_as_it_was():
    names = [name for name in specs(study()) if "crown-ibp" not in name]
    before, after = specs(study()), specs(own_threat())
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


def test_a_table_is_named_after_its_radius_where_that_is_not_the_networks_threat():
    of = own_threat(**section("attacks", pgd={"eps": [0.1, 0.02]}))
    assert list(cells.tables(of, "attacks", "benign")) == ["pgd", "pgd-eps0.02", "autoattack", "fmn"]
    assert list(cells.tables(of, "attacks", "crown-ibp")) == ["pgd-eps0.1", "pgd", "autoattack", "fmn"]
    assert set(cells.tables(of, "attacks")) == {"pgd", "pgd-eps0.02", "pgd-eps0.1", "autoattack", "fmn"}
    threats = {name: one.threat.eps for name, one in job_specs.aggregate_spec(of).objectives.items()}
    assert threats == {"benign": 0.1, "adversarial": 0.1, "crown-ibp": 0.02}


def test_a_table_is_there_for_the_objectives_that_it_is_for():
    of = study(**section("verifiers", crown={"objectives": ["crown-ibp"]}))
    assert list(cells.tables(of, "verifiers", "benign")) == ["cascade"]
    assert list(cells.tables(of, "verifiers", "crown-ibp")) == list(cells.tables(of, "verifiers")) == ["crown", "cascade"]
    assert job_specs.aggregate_spec(of).objectives["benign"].verifiers == ["cascade"]


def test_an_objective_trains_the_models_that_it_is_for():
    of = study(
        models={"cnn-small": None, "cnn-large": None}, **section("objectives", **{"crown-ibp": {"models": ["cnn-small"]}})
    )
    trained = {(parent.model, parent.objective) for parent in cells.parents(of)}
    assert len(trained) == 5
    assert ("cnn-large", "crown-ibp") not in trained
    assert job_specs.pretrain_spec(of, PARENT) == job_specs.pretrain_spec(study(), PARENT)


def test_a_method_has_its_own_ratios():
    of = study(**section("methods", filters={"kind": "lwm", "granularity": "filter", "ratios": [0.25]}))
    ratios = {method: [cell.ratio for cell in cells.cells(of) if cell[:2] == (PARENT, method)] for method in of.methods}
    assert ratios == {"random": of.ratios, "lwm": of.ratios, "hydra": of.ratios, "filters": [0.25]}
    # Which other ratios there are is nothing that pruning reads.
    alone = study(**section("methods", filters={"kind": "lwm", "granularity": "filter", "ratios": [0.25, 0.75]}))
    cell = Cell(PARENT, "filters", 0.25)
    assert job_specs.prune_spec(of, cell) == job_specs.prune_spec(alone, cell)


def test_specs_are_plain_json():
    # Snakemake compares parameters by their text, and hands them to jobs through JSON.
    made = specs(study())
    assert json.loads(json.dumps(made)) == made


def test_planning_imports_no_heavy_library():
    # The workflow plans each time that it is called, and once more in each of its jobs.
    code = """
import json, sys, yaml
from sparrow.study import comparison
from sparrow.settings import Threat
from sparrow.study import analyses, cells, job_specs
from sparrow.study.config import Published
from sparrow.study.load import load_study
study = load_study(yaml.safe_load(open("config.yaml")))
for parent in cells.parents(study):
    job_specs.pretrain_spec(study, parent)
for cell in cells.cells(study):
    job_specs.prune_spec(study, cell), job_specs.finetune_spec(study, cell)
for attack in cells.tables(study, "attacks"):
    job_specs.attack_spec(study, parent, attack)
for verifier in cells.tables(study, "verifiers").values():
    job_specs.verify_spec(study, parent, verifier.name), cells.attacks_rechecked_by(study, verifier, "benign")
cells.attacks_with_examples(study), cells.has_security_curve(study)
job_specs.data_spec(study, "digits"), job_specs.aggregate_spec(study)
for job in analyses.all_jobs(study):
    analyses.spec(study, job)
beside = study.model_copy(update={"published": Published()})
comparison.published_spec(beside), comparison.compared(beside)
print(json.dumps(list(sys.modules)))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=True)
    assert {"torch", "pandas", "matplotlib", "sklearn", "scipy", "snakemake"} & set(json.loads(done.stdout)) == set()


DENSE = "digits/cnn-small/benign/seed0/dense"


def imported(*paths, **sections):
    return study(imports={path: {"file": "theirs.pt"} for path in paths}, **sections)


def test_an_imported_network_is_evaluated_and_not_trained():
    usual, found = study(), imported(DENSE)
    assert list(cells.evaluated(found)) == list(cells.evaluated(usual))
    assert {one.path for one in cells.trainings(usual)} - {one.path for one in cells.trainings(found)} == {DENSE}


def test_what_only_led_to_an_imported_network_is_not_made():
    cell = "digits/cnn-small/benign/seed0/lwm-0.90"
    usual = {one.path for one in cells.trainings(study())}
    assert usual - {one.path for one in cells.trainings(imported(f"{cell}/finetuned"))} == {
        f"{cell}/finetuned",
        f"{cell}/pruned",
    }
    # Unless it is evaluated itself.
    both = imported(f"{cell}/finetuned", evaluate=["dense", "pruned", "finetuned"])
    assert usual - {one.path for one in cells.trainings(both)} == {f"{cell}/finetuned"}


def test_a_dense_network_that_nobody_asks_for_is_not_made():
    pruned = [cell.path for cell in cells.cells(study()) if cell.parent == PARENT]
    found = imported(*[f"{path}/finetuned" for path in pruned], evaluate=["finetuned"])
    assert [one.path for one in cells.trainings(found) if one.parent == PARENT] == []
    found = imported(*[f"{path}/finetuned" for path in pruned[1:]], evaluate=["finetuned"])
    assert [one.path for one in cells.trainings(found) if one.parent == PARENT] == [
        DENSE,
        f"{pruned[0]}/pruned",
        f"{pruned[0]}/finetuned",
    ]


def test_an_import_brings_a_method_and_a_ratio_of_its_own():
    cell = "digits/cnn-small/benign/seed0/theirs-0.73"
    found = imported(f"{cell}/finetuned", evaluate=["dense", "pruned", "finetuned"])
    assert len(cells.cells(found)) == 36 + 1
    assert [one.path for one in cells.evaluated(found) if "theirs" in one.path] == [f"{cell}/finetuned"]
    assert [one.path for one in cells.trainings(found) if "theirs" in one.path] == []
    # A pruned one is fine-tuned by the study.
    found = imported(f"{cell}/pruned")
    assert [one.path for one in cells.evaluated(found)][-1] == f"{cell}/finetuned"
    assert [one.path for one in cells.trainings(found) if "theirs" in one.path] == [f"{cell}/finetuned"]


def test_imported_networks_without_filters_are_known():
    path = "digits/cnn-small/benign/seed0/theirs-0.73/finetuned"
    found = study(imports={path: {"file": "theirs.pt", "granularity": "filter"}})
    assert [one.path for one in cells.without_filters(found)] == [path]
    assert list(cells.without_filters(imported(path))) == []


def test_an_import_reads_its_files_and_nothing_of_training():
    found = study(imports={DENSE: {"file": "theirs.pt", "map": "hydra"}})
    told = job_specs.import_spec(found, DENSE)
    assert sorted(told.model_dump()) == ["cell", "code", "imported", "model", "stage"]
    assert told.imported.map_sha256 == hashlib.sha256(keymap_files.path_of("hydra").read_bytes()).hexdigest()
    assert job_specs.import_files(found.imports[DENSE]) == ["theirs.pt"]
    own = study(imports={DENSE: {"file": "theirs.pt", "map": "mine.yaml"}})
    assert job_specs.import_files(own.imports[DENSE]) == ["theirs.pt", "mine.yaml"]
    assert job_specs.import_spec(own, DENSE).imported.map_sha256 is None


def test_a_table_that_networks_do_not_have_is_named():
    of = study(**section("verifiers", crown={"objectives": ["crown-ibp"]}))
    with pytest.raises(SparrowError, match=r"^verifiers: networks trained on benign have no crown; valid: cascade$"):
        job_specs.verify_spec(of, PARENT, "crown")
