"""From the files of a small made-up study to its tables."""

import json
import math

import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

from sparrow import catalogue
from sparrow.data.store import Header
from sparrow.errors import CheckpointError, ContradictionError, SparrowError
from sparrow.files import analysis_table, checkpoint
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import read, sha256
from sparrow.files.outcome_table import COLUMNS
from sparrow.files.paths import IDENTITY, Cell, Checkpoint, Parent
from sparrow.models import cnn_small
from sparrow.networks.cutting import cut as cut_out
from sparrow.networks.prunable import prunable_weights
from sparrow.radius import text
from sparrow.results.aggregate import EARLIER, aggregate
from sparrow.results.collected import write_collected
from sparrow.results.comparable import above_era
from sparrow.stages._attack_warnings import about_attack, about_distances
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages._origin import header
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.study.analysis_contract import SUMMARISED
from tests.analyses.jobs import configured_of, tables
from tests.conftest import ABOUT, write_failed

TABLES = {"attacks": ["fgsm", "pgd"], "verifiers": ["ibp", "crown"]}
EVALUATED = TABLES | {"smoothed": [], "minimum_norm": [], "not_in_era": [], "threat": {"norm": "linf", "eps": 0.1}}
SPEC = TABLES | {"objectives": {"adversarial": EVALUATED}, "analyses": {}, "code": "test"}
SPEC |= {"lost_filters": ["digits/cnn-small/adversarial/seed0/lwm-filter-0.50/finetuned"]}
PARENT = Parent("digits", "cnn-small", "adversarial", 0)
CELL = Cell(PARENT, "lwm", 0.5)
DENSE = Checkpoint(PARENT, None, "dense")
FINETUNED = Checkpoint(PARENT, CELL, "finetuned")
IMAGES = range(8)

# Which of the eight images each table holds for what; `wrong` are those that the network misclassifies as they are.
DENSE_OUTCOMES = {"wrong": {7}, "fgsm": {5}, "pgd": {6}, "ibp": {0, 1}, "crown": {1, 2}}
FINETUNED_OUTCOMES = {"wrong": {6, 7}, "fgsm": {4}, "pgd": {5}, "ibp": {0}, "crown": {1}}


def write_network(root, who):
    """A checkpoint whose weights are all 1; of a pruned one, half of each prunable tensor is 0."""
    model = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10)
    masks = {}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
        if who.cell:
            for name, weight in prunable_weights(model).items():
                masks[name] = (torch.arange(weight.numel()) % 2 == 0).view_as(weight)
                weight.mul_(masks[name])
    cell = who.parent._asdict() | ({"method": who.cell.method, "ratio": who.cell.ratio} if who.cell else {})
    spec = CheckpointSpec(cell=cell, code="0", model={"kind": "cnn-small"})
    path = root / f"{who.path}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = Header("0", (1, 8, 8), 10, 16, "held out 15 %")
    checkpoint.save(path, checkpoint.Checkpoint(model, masks, header(who.stage, spec, about)))
    return path


def write_outcomes(network, outcomes, images=None, eps=None):
    """The four tables of a network; `images` and `eps` say where one table differs from the others."""
    folder = network.with_suffix("")
    for role, names in (("attacks", SPEC["attacks"]), ("verifiers", SPEC["verifiers"])):
        (folder / role).mkdir(parents=True, exist_ok=True)
        for name in names:
            rows = []
            for image in (images or {}).get(name, IMAGES):
                wrong, radius = image in outcomes["wrong"], (eps or {}).get(name, 0.1)
                if role == "attacks":
                    status = "broken" if wrong or image in outcomes[name] else "robust"
                    more = [0.0 if wrong else radius if status == "broken" else math.inf, 0, "", ""]
                else:
                    status = "falsified" if wrong else "verified" if image in outcomes[name] else "unknown"
                    more = [{"falsified": "misclassified", "verified": name, "unknown": "nothing"}[status]]
                rows.append((image, image, 9 if wrong else image, status, 0.5, *more, "linf", radius, text(radius), *ABOUT))
            write_csv(folder / role / f"{name}.csv", COLUMNS[role], rows)


@pytest.fixture
def study(tmp_path):
    """A dense network and a pruned one, each attacked twice and verified twice."""
    paths = [write_network(tmp_path, DENSE), write_network(tmp_path, FINETUNED)]
    for path, outcomes in zip(paths, (DENSE_OUTCOMES, FINETUNED_OUTCOMES), strict=True):
        write_outcomes(path, outcomes)
    return paths


def aggregated(networks, folder):
    """The folder of the five tables."""
    folder.mkdir(exist_ok=True)
    aggregate(networks, [], folder, SPEC)
    return folder


@pytest.fixture
def run(tmp_path):
    """Aggregates networks and reads one of the tables back."""

    def run(networks, name="summary"):
        return pd.read_csv(aggregated(networks, tmp_path / "tables") / f"{name}.csv")

    return run


def row(table, stage):
    (found,) = table[table["stage"] == stage].to_dict("records")
    return found


def test_every_network_is_one_row_that_says_who_it_is(study, run):
    assert run(study)[IDENTITY].to_numpy().tolist() == [
        ["digits", "cnn-small", "adversarial", "dense", 0.0, 0, "dense"],
        ["digits", "cnn-small", "adversarial", "lwm", 0.5, 0, "finetuned"],
    ]


def test_what_was_held_out_is_in_every_row(study, run):
    table = run(study)
    assert table["data_regime"].tolist() == ["held out 15 %"] * 2
    assert list(table.columns).index("data_regime") == list(table.columns).index("failed") + 1


def test_a_row_says_whom_the_network_learned_from(study, run, tmp_path):
    assert run(study)["teacher"].isna().all()
    finetuned = study[1]
    rewritten(finetuned, config={"distillation": {"teacher": "dense", "alpha": 1.0, "temperature": 30.0}})
    grafted = write_network(tmp_path, FINETUNED._replace(stage="grafted"))
    rewritten(grafted, parent=sha256(finetuned), parent_stage="finetuned")
    write_outcomes(grafted, FINETUNED_OUTCOMES)
    table = run([*study, grafted])
    assert table.set_index("stage")["teacher"].dropna().to_dict() == {"finetuned": "dense", "grafted": "dense"}
    # What is not there cannot be asked.
    finetuned.unlink()
    assert run([study[0], grafted])["teacher"].isna().all()


def rewritten(path, **changes):
    """The same tensors below a header with `changes`."""
    header, tensors = read(path, framework="np")
    save_file(tensors, path, {"sparrow": json.dumps(header | changes)})


def test_the_threat_is_in_every_row(study, run):
    assert run(study)[["norm", "eps"]].to_numpy().tolist() == [["linf", 0.1]] * 2


@pytest.mark.parametrize(
    ("stage", "column", "value"),
    [
        ("dense", "benign", 7 / 8),
        ("dense", "era_fgsm", 6 / 8),
        ("dense", "era_pgd", 6 / 8),
        ("dense", "era", 5 / 8),  # robust to both: 0 to 4
        ("dense", "vra_ibp", 2 / 8),
        ("dense", "vra_crown", 2 / 8),
        ("dense", "vra", 3 / 8),  # verified by either: 0, 1, 2
        ("finetuned", "benign", 6 / 8),
        ("finetuned", "era", 4 / 8),  # 0 to 3
        ("finetuned", "vra", 2 / 8),
        ("finetuned", "preserved_benign", 6 / 7),
        ("finetuned", "preserved_era", 4 / 5),
        ("finetuned", "preserved_vra", 2 / 3),
        ("dense", "preserved_era", 1),
    ],
)
def test_a_rate_is_what_one_counts_by_hand(study, run, stage, column, value):
    assert row(run(study), stage)[column] == pytest.approx(value, rel=1e-5)


def test_a_rate_has_its_wilson_interval(study, run):
    found = row(run(study), "dense")
    # 5 of 8: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    assert (found["era_low"], found["era_high"]) == pytest.approx((0.305742, 0.863156), abs=1e-5)


@pytest.mark.parametrize("column", ["benign", "era_fgsm", "era", "vra_ibp", "vra"])
def test_a_rate_says_how_many_images_it_rests_on(study, run, column):
    assert row(run(study), "dense")[f"{column}_n"] == 8


@pytest.mark.parametrize(
    ("stage", "column", "value"),
    [
        # cnn-small on 1 x 8 x 8 has 22,406 parameters, of which 22,248 may be pruned.
        ("dense", "parameters", 22406),
        ("dense", "nonzero", 22406),
        ("dense", "sparsity_prunable", 0),
        ("finetuned", "nonzero", 22406 - 11124),
        ("finetuned", "sparsity_prunable", 0.5),
        ("finetuned", "sparsity_all", 11124 / 22406),
        # Convolutions on 4 x 4 and 2 x 2 outputs, then linear layers: 16 * 256 + 4 * 8192 + 12800 + 1000.
        ("dense", "multiply_adds", 50664),
        # What single weights cost is not less without them.
        ("finetuned", "multiply_adds", 50664),
        # None of its units is dead.
        ("dense", "effective_parameters", 22406),
        ("dense", "effective_multiply_adds", 50664),
        # Of its 100 neurons, 50 are read: those with weights in the even columns of the last layer. With biases, 128 + 16 and
        # 4096 + 32 of the convolutions, 50 * 64 + 50 and 500 + 10 of the linear layers.
        ("finetuned", "effective_parameters", 8032),
        ("finetuned", "effective_multiply_adds", 16 * 128 + 4 * 4096 + 3200 + 500),
    ],
)
def test_weights_are_counted_in_the_file(study, run, stage, column, value):
    assert row(run(study), stage)[column] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("column", ["effective_parameters", "effective_multiply_adds"])
def test_a_checkpoint_of_before_effective_sizes_were_counted_has_none(study, run, column):
    header, tensors = read(study[1], framework="np")
    del header[column]
    save_file(tensors, study[1], {"sparrow": json.dumps(header)})
    write_outcomes(study[1], FINETUNED_OUTCOMES)
    table = run(study)
    assert pd.isna(row(table, "finetuned")[column])
    assert row(table, "dense")[column] > 0


def test_a_kept_weight_that_is_zero_is_not_pruned(study, run):
    # As those that methods grow while they train, and whose input is always zero.
    found = checkpoint.load(study[1])
    weight, mask = found.model[7].weight.data, found.masks["7.weight"]
    place = tuple(mask.nonzero()[0])
    weight[place] = 0
    checkpoint.save(study[1], found)
    dense, finetuned = (row(run(study), stage) for stage in ("dense", "finetuned"))
    assert (dense["sparsity_masks"], finetuned["sparsity_masks"]) == (0, 0.5)
    assert finetuned["sparsity_prunable"] == pytest.approx(0.5 + 1 / 22248)


def test_every_network_says_what_its_method_is(study, tmp_path):
    facts = {"pipeline": "after", "iterative": False, "structure": "weights", "locality": "layer", "criterion": "LWM"}
    (tmp_path / "tables").mkdir()
    aggregate(study, [], tmp_path / "tables", SPEC | {"methods": {"lwm": facts}})
    summary = pd.read_csv(tmp_path / "tables/summary.csv")
    assert {name: row(summary, "finetuned")[name] for name in facts} == facts
    assert summary[summary["stage"] == "dense"][list(facts)].isna().all(axis=None)
    # A method that an import alone has is one of which nothing is known.
    aggregate(study, [], tmp_path / "tables", SPEC)
    assert pd.read_csv(tmp_path / "tables/summary.csv")[list(facts)].isna().all(axis=None)


def test_every_prunable_layer_is_counted(study, run):
    layers = run(study, "layers")
    kept = layers[layers["stage"] == "finetuned"][["layer", "weights", "nonzero", "sparsity"]]
    assert kept.to_numpy().tolist() == [
        ["0.weight", 256, 128, 0.5],
        ["2.weight", 8192, 4096, 0.5],
        ["5.weight", 12800, 6400, 0.5],
        ["7.weight", 1000, 500, 0.5],
    ]


def test_outcomes_count_every_status(study, run):
    outcomes = run(study, "outcomes").set_index(["stage", "name"])
    columns = ["samples", "correct", "robust", "broken", "verified", "falsified", "unknown", "accuracy"]
    assert outcomes.loc[[("finetuned", "pgd"), ("finetuned", "crown")], columns].to_numpy().tolist() == [
        [8, 6, 5, 3, 0, 0, 0, 0.625],
        [8, 6, 0, 0, 1, 2, 5, 0.125],
    ]


def test_era_rests_on_the_images_that_every_attack_has_seen(study, run):
    # The first six of a seeded order; of these, 0 to 4 are robust to both.
    write_outcomes(study[0], DENSE_OUTCOMES, images={"pgd": [5, 3, 0, 1, 4, 2]})
    found = row(run(study[:1]), "dense")
    assert (found["era"], found["era_n"]) == (pytest.approx(5 / 6, rel=1e-5), 6)


def test_one_attacks_own_rate_rests_on_all_images_that_it_has_seen(study, run):
    write_outcomes(study[0], DENSE_OUTCOMES, images={"pgd": [5, 3, 0, 1, 4, 2]})
    assert row(run(study[:1]), "dense")["era_fgsm_n"] == 8


def test_vra_rests_on_the_images_that_every_verifier_has_seen(study, run):
    # IBP alone proves image 0, which CROWN has not seen.
    write_outcomes(study[0], DENSE_OUTCOMES, images={"crown": [4, 2, 1, 3]})
    found = row(run(study[:1]), "dense")
    assert (found["vra"], found["vra_n"]) == (0.5, 4)


def test_what_is_preserved_is_measured_on_the_same_images(study, run):
    # The pruned network was attacked on three images: of these, 0 is robust, and 0 and 4 were.
    write_outcomes(study[1], FINETUNED_OUTCOMES, images={"pgd": [0, 4, 5]})
    assert row(run(study), "finetuned")["preserved_era"] == 0.5


def test_without_its_dense_parent_nothing_is_said_to_be_preserved(study, run):
    found = row(run(study[1:]), "finetuned")
    preserved = [value for name, value in found.items() if name.startswith("preserved_")]
    assert pd.isna(preserved).tolist() == [True] * 9


def test_another_seeds_dense_network_is_no_parent(study, run, tmp_path):
    other = write_network(tmp_path, DENSE._replace(parent=PARENT._replace(seed=1)))
    write_outcomes(other, DENSE_OUTCOMES)
    assert pd.isna(row(run([other, study[1]]), "finetuned")["preserved_era"])


@pytest.mark.parametrize("name", ["summary", "ranking"])
def test_a_ratio_is_written_as_the_study_has_it(tmp_path, run, name):
    # One weight of 128 is kept.
    path = write_network(tmp_path, FINETUNED._replace(cell=Cell(PARENT, "lwm", 0.9921875)))
    write_outcomes(path, FINETUNED_OUTCOMES)
    assert set(run([path], name)["ratio"]) == {0.9921875}


CONTRADICTION = {**FINETUNED_OUTCOMES, "crown": {1, 4}}  # and FGSM breaks 4


def test_an_image_both_verified_and_broken_is_named(study, run):
    write_outcomes(study[1], CONTRADICTION)
    with pytest.raises(ContradictionError, match=r"lwm-0\.50/finetuned: image 4 is verified by crown and broken by fgsm"):
        run(study)


def test_a_contradiction_leaves_nothing_behind(study, tmp_path):
    write_outcomes(study[1], CONTRADICTION)
    with pytest.raises(ContradictionError):
        aggregated(study, tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


def test_verified_at_one_radius_and_broken_at_another_is_no_contradiction(study, run):
    write_outcomes(study[1], CONTRADICTION, eps={"crown": 0.05})
    assert row(run(study), "finetuned")["vra_crown"] == 0.25


def replaced(old, new):
    return lambda text: text.replace(old, new, 1)


MALFORMED = {
    "a column missing": (lambda text: "\n".join(line.rpartition(",")[0] for line in text.splitlines()), "has the columns"),
    "columns in another order": (replaced("index,label", "label,index"), "has the columns"),
    "an unknown status": (replaced("robust", "fine"), "status 'fine'"),
    "a verifier's status": (replaced("robust", "verified"), "status 'verified'"),
    "an image twice": (replaced("\n1,1,", "\n0,1,"), "an image twice"),
    "no rows": (lambda text: text.splitlines()[0] + "\n", "no rows"),
    "nothing": (lambda text: "", "not a readable outcome table"),
    "a value too many": (replaced(f"{ABOUT[-1]}\n2,", f"{ABOUT[-1]},7\n2,"), "not a readable outcome table"),
    "cut before the status": (lambda text: text[: text.rindex("broken")], "cut off"),
    "cut within the status": (lambda text: text[: text.rindex("broken") + 3], "status 'bro'"),
}


@pytest.mark.parametrize(("damage", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_table_that_is_none_is_named(study, run, damage, message):
    table = study[1].with_suffix("") / "attacks/pgd.csv"
    table.write_text(damage(table.read_text()))
    with pytest.raises(SparrowError, match=message) as caught:
        run(study)
    assert str(table) in str(caught.value)


@pytest.mark.parametrize("end", ["broken", "broken,0.5", "broken,0.5,linf"])
def test_a_table_cut_after_the_status_is_named(study, run, end):
    # Without norm and eps, a broken image would contradict no proof.
    table = study[1].with_suffix("") / "attacks/pgd.csv"
    text = table.read_text()
    table.write_text(text[: text.rindex("broken")] + end)
    with pytest.raises(SparrowError, match=str(table)):
        run(study)


def test_a_table_that_is_no_text_is_named(study, run):
    table = study[1].with_suffix("") / "attacks/pgd.csv"
    table.write_bytes(b"\xff\xfe\x00\x81" * 100)
    with pytest.raises(SparrowError, match=str(table)):
        run(study)


def test_a_table_that_is_not_there_is_named(study, run):
    table = study[1].with_suffix("") / "verifiers/ibp.csv"
    table.unlink()
    with pytest.raises(SparrowError, match=str(table)):
        run(study)


def test_a_cut_checkpoint_is_named(study, run):
    study[1].write_bytes(study[1].read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=str(study[1])):
        run(study)


def test_a_checkpoint_of_before_multiply_adds_were_counted_is_named(study, run):
    header, tensors = read(study[1], framework="np")
    del header["multiply_adds"]
    save_file(tensors, study[1], {"sparrow": json.dumps(header)})
    with pytest.raises(CheckpointError, match=f"{study[1]}: the header lacks multiply_adds"):
        run(study)


FILTERED = Checkpoint(PARENT, Cell(PARENT, "lwm-filter", 0.5), "finetuned")


@pytest.fixture
def cut(study, tmp_path):
    """The study with a third network, which lost every second filter; of which these are cut out."""
    path = write_network(tmp_path, FILTERED)
    loaded = checkpoint.load(path)
    model, masks = loaded.model, {name: torch.ones_like(mask) for name, mask in loaded.masks.items()}
    with torch.no_grad():
        for layer in ("0", "2", "5"):
            bias = model.get_parameter(f"{layer}.bias")
            masks[f"{layer}.bias"] = torch.arange(len(bias)) % 2 == 0
            masks[f"{layer}.weight"][1::2] = False
        for name, parameter in model.named_parameters():
            parameter.fill_(1).mul_(masks.get(name, 1))
    smaller, masks, kept, _ = cut_out(model, (1, 8, 8), masks, torch.rand(2, 1, 8, 8))
    checkpoint.save(path, checkpoint.Checkpoint(smaller, masks, header_of(path), kept))
    write_outcomes(path, FINETUNED_OUTCOMES)
    return [*study, path]


def header_of(path):
    return read(path, framework="np")[0]


def rewrite_header(path, **changes):
    """The same file, but for keys of its header."""
    header, tensors = read(path, framework="np")
    kept = {key: value for key, value in (header | changes).items() if key not in changes or value is not None}
    save_file(tensors, path, {"sparrow": json.dumps(kept)})


LEFT = ["compact_parameters", "compact_multiply_adds"]


def test_what_is_left_without_filters_stands_beside_the_network(cut, run):
    rewrite_header(cut[2], parameters_left=123, multiply_adds_left=456)
    table = run(cut).set_index("method")
    assert table.loc["lwm-filter", ["multiply_adds", *LEFT]].tolist() == [50664, 123, 456]


def test_a_network_that_was_not_cut_has_nothing_left_to_tell(cut, run):
    assert run(cut).set_index("method").loc[["dense", "lwm"], LEFT].isna().to_numpy().tolist() == [[True, True]] * 2


def test_sizes_and_shares_are_those_of_the_network_as_it_is_built(cut, run):
    # Half of the filters of each hidden layer: weights of 16 x 1 x 4 x 4, 32 x 16 x 4 x 4, 100 x 128 and 10 x 100.
    found = run(cut).set_index("method").loc["lwm-filter"]
    prunable, biases = 256 + 8192 + 12_800 + 1000, 16 + 32 + 100 + 10
    left, biases_left = 8 * 16 + 16 * 8 * 16 + 50 * 64 + 10 * 50, 8 + 16 + 50 + 10
    assert (found["parameters"], found["nonzero"]) == (prunable + biases, left + biases_left)
    assert found["sparsity_prunable"] == pytest.approx(1 - left / prunable, abs=1e-6)  # The table has six digits.
    # Whole filters, and their biases; the weights that would read them are not masked.
    masked = 8 * 16 + 16 * 256 + 50 * 128 + 8 + 16 + 50
    assert found["sparsity_masks"] == pytest.approx(masked / prunable, abs=1e-6)
    assert found[LEFT].tolist() == [left + biases_left, 16 * (8 * 16) + 4 * (16 * 8 * 16) + 50 * 64 + 10 * 50]


def test_a_masked_network_of_an_earlier_version_says_the_same_but_what_is_left(cut, run):
    before = run(cut).set_index("method").loc["lwm-filter"]
    loaded = checkpoint.load(cut[2])
    twin = checkpoint.expanded(cut[2], loaded)
    checkpoint.save(cut[2], twin)
    # What is made from it by this version counts what is there.
    after = run(cut).set_index("method").loc["lwm-filter"]
    assert after[LEFT].isna().all()
    assert after["uncut"] == EARLIER
    rewrite_header(cut[2], parameters_left=None, multiply_adds_left=None)
    after = run(cut).set_index("method").loc["lwm-filter"]
    same = ["granularity", "parameters", "nonzero", "multiply_adds", "sparsity_masks", "sparsity_prunable", "sparsity_all"]
    assert after[same].equals(before[same])
    assert after[LEFT].isna().all()
    assert after["uncut"] == EARLIER


def test_a_network_that_could_be_cut_in_part_says_why_beside_what_is_left(cut, run):
    rewrite_header(cut[2], uncut="its logits differ", parameters_left=123, multiply_adds_left=456)
    table = run(cut).set_index("method")
    found = table.loc["lwm-filter"]
    assert (found["uncut"], found["granularity"], found["era"]) == ("its logits differ", "filter", 4 / 8)
    assert found[LEFT].tolist() == [123, 456]
    assert table.loc[["dense", "lwm"], "uncut"].isna().all()


def test_a_network_that_could_not_be_cut_says_why(study, run, tmp_path):
    path = write_network(tmp_path, FILTERED)
    loaded = checkpoint.load(path)
    biases = {f"{layer}.bias": loaded.model.get_parameter(f"{layer}.bias") for layer in ("0", "2", "5")}
    masks = loaded.masks | {name: torch.arange(len(bias)) % 2 == 0 for name, bias in biases.items()}
    for name, mask in masks.items():
        mask[1::2] = False
        loaded.model.get_parameter(name).data.mul_(mask)
    checkpoint.save(path, checkpoint.Checkpoint(loaded.model, masks, header_of(path) | {"uncut": "its logits differ"}, {}))
    write_outcomes(path, FINETUNED_OUTCOMES)
    found = run([*study, path]).set_index("method").loc["lwm-filter"]
    assert (found["uncut"], found["granularity"], found["era"]) == ("its logits differ", "filter", 4 / 8)
    assert found[LEFT].isna().all()


def test_recall_is_one_row_for_every_class_of_every_network(study, run):
    table = run(study, "recall")
    assert list(table.columns[: len(IDENTITY) + 1]) == [*IDENTITY, "class"]
    assert table.groupby("stage")["class"].apply(list).to_dict() == {"dense": list(IMAGES), "finetuned": list(IMAGES)}


def test_recall_is_counted_by_metric(study, run):
    # Image i has the label i: a recall is the outcome of one image.
    table = run(study, "recall").set_index(["stage", "class"])
    found = table.loc[[("dense", 1), ("dense", 5), ("dense", 7)], ["recall_benign", "recall_era", "recall_vra"]]
    assert found.to_numpy().tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]


def test_a_class_that_an_attack_has_not_seen_has_an_empty_recall(study, run):
    write_outcomes(study[0], DENSE_OUTCOMES, images={"pgd": [0, 1]})
    table = run(study[:1], "recall").set_index("class")
    assert table["recall_era"].isna().tolist() == [False, False] + [True] * 6


def other(tmp_path, method, outcomes, seed=0):
    """Another fine-tuned network of the study."""
    parent = PARENT._replace(seed=seed)
    path = write_network(tmp_path, FINETUNED._replace(parent=parent, cell=Cell(parent, method, 0.5)))
    write_outcomes(path, outcomes)
    return path


def test_pruned_networks_are_ranked_and_dense_ones_are_not(study, run, tmp_path):
    better = other(tmp_path, "hydra", DENSE_OUTCOMES)
    table = run([*study, better], "ranking")
    assert table[["metric", "rank", "method", "mean"]].to_numpy().tolist() == [
        ["era", 1, "hydra", 5 / 8],
        ["era", 2, "lwm", 4 / 8],
        ["vra", 1, "hydra", 3 / 8],
        ["vra", 2, "lwm", 2 / 8],
    ]


def test_seeds_of_a_method_are_ranked_together(study, run, tmp_path):
    table = run([*study, other(tmp_path, "lwm", DENSE_OUTCOMES, seed=1)], "ranking")
    assert table[["metric", "seeds", "mean"]].to_numpy().tolist() == [["era", 2, 4.5 / 8], ["vra", 2, 2.5 / 8]]


def test_a_study_of_dense_networks_alone_has_an_empty_ranking(study, run):
    table = run(study[:1], "ranking")
    assert (len(table), list(table.columns[:8])) == (
        0,
        ["dataset", "model", "objective", "stage", "ratio", "granularity", "metric", "rank"],
    )


TABLES = ["outcomes", "summary", "layers", "recall", "intensification", "ranking", "security", "decisions"]
every_table = pytest.mark.parametrize("name", TABLES)


def test_there_are_nine_tables(study, tmp_path):
    written = sorted(path.name for path in aggregated(study, tmp_path / "tables").iterdir())
    assert written == sorted(f"{name}.csv" for name in TABLES)


@every_table
def test_the_order_of_the_networks_does_not_matter(cut, tmp_path, name):
    one, two = aggregated(cut, tmp_path / "one"), aggregated(cut[::-1], tmp_path / "two")
    assert (one / f"{name}.csv").read_bytes() == (two / f"{name}.csv").read_bytes()


@every_table
def test_the_order_of_the_rows_does_not_matter(study, tmp_path, name):
    one = aggregated(study, tmp_path / "one")
    for path, outcomes in zip(study, (DENSE_OUTCOMES, FINETUNED_OUTCOMES), strict=True):
        write_outcomes(path, outcomes, images={"fgsm": IMAGES[::-1], "crown": [3, 1, 7, 5, 0, 2, 4, 6]})
    two = aggregated(study, tmp_path / "two")
    assert (one / f"{name}.csv").read_bytes() == (two / f"{name}.csv").read_bytes()


@every_table
def test_a_second_run_writes_the_same_bytes(cut, tmp_path, name):
    one, two = (aggregated(cut, tmp_path / folder) for folder in ("one", "two"))
    assert (one / f"{name}.csv").read_bytes() == (two / f"{name}.csv").read_bytes()


def test_a_smoothed_classifier_stands_apart(tmp_path, run):
    # Its proof of image 6, which PGD breaks, says nothing of the network; nor do its predictions.
    path = write_network(tmp_path, DENSE)
    write_outcomes(path, DENSE_OUTCOMES)
    rows = [
        (
            image,
            0,
            -1 if image == 3 else 0,
            "verified" if image == 6 else "unknown",
            0.1,
            "smoothing",
            "linf",
            0.1,
            "0.1",
            *ABOUT,
        )
        for image in IMAGES
    ]
    write_csv(path.with_suffix("") / "verifiers/smoothing.csv", COLUMNS["verifiers"], rows)
    before = run([path])
    verifiers = [*SPEC["verifiers"], "smoothing"]
    evaluated = EVALUATED | {"verifiers": verifiers, "smoothed": ["smoothing"]}
    spec = SPEC | {"verifiers": verifiers, "objectives": {"adversarial": evaluated}}
    aggregate([path], [], tmp_path, spec)
    summary, outcomes = pd.read_csv(tmp_path / "summary.csv"), pd.read_csv(tmp_path / "outcomes.csv").set_index("name")
    assert summary["vra_smoothing"].item() == 1 / 8
    assert (summary[["benign", "vra"]] == before[["benign", "vra"]]).all(axis=None)
    assert outcomes.loc["smoothing", ["kind", "verified", "abstained"]].tolist() == ["smoothed verifier", 1, 1]
    assert (outcomes.loc[["fgsm", "pgd", "ibp", "crown"], "abstained"] == 0).all()


REASON = "results/dense.safetensors: epoch 1: the training loss is nan, and 0.weight is not finite; try a smaller lr"
BOUND = "results/finetuned/verifiers/crown.csv: auto_LiRPA cannot bound layer 3 (Tanh)"


def fail(network):
    """What the stages leave of a network that failed: a checkpoint and tables that say why."""
    found = header_of(network)
    failed_checkpoint(REASON, network, found["stage"], found["cell"])
    for room in ("attacks", "verifiers"):
        for name in SPEC[room]:
            write_failed(network.with_suffix("") / room / f"{name}.csv", REASON)


def told(networks, folder, analysed=()):
    """What the user is told; with all tables of the study in `folder`, those of analyses, too."""
    folder.mkdir(exist_ok=True)
    own = {"stability": configured_of("stability")} if analysed else {}
    said = aggregate(networks, list(analysed), folder, SPEC | ({"analyses": own} if own else {}))
    for label in own:
        write_collected(list(analysed), folder / f"{label}.csv", own)
    return said


NUMBERS = ["sparsity_prunable", "sparsity_all", "parameters", "nonzero", "multiply_adds", "benign", "era", "vra"]
NUMBERS += [f"preserved_{metric}" for metric in ("benign", "era", "vra")] + ["era_fgsm", "era_pgd", "vra_ibp", "vra_crown"]
NUMBERS += [f"{metric}_{end}" for metric in ("benign", "era", "vra", "preserved_vra") for end in ("low", "high")]


def test_a_study_without_gaps_says_nothing_of_any(study, run, tmp_path):
    assert told(study, tmp_path / "told") is None
    assert run(study)["failed"].isna().all()


def test_a_failed_network_is_a_row_without_numbers(study, run):
    fail(study[1])
    found = row(run(study), "finetuned")
    assert found["failed"] == REASON
    assert {name: found[name] for name in NUMBERS if not pd.isna(found[name])} == {}
    assert [found[f"{metric}_n"] for metric in ("benign", "era", "vra", "era_pgd", "vra_ibp")] == [0] * 5


def test_a_failed_network_says_who_it_was_and_against_what(study, run):
    fail(study[1])
    found = row(run(study), "finetuned")
    assert [found[key] for key in IDENTITY] == ["digits", "cnn-small", "adversarial", "lwm", 0.5, 0, "finetuned"]
    assert (found["norm"], found["eps"]) == ("linf", 0.1)


@pytest.mark.parametrize("name", ["summary", "outcomes", "layers", "recall", "security", "decisions", "stability"])
def test_a_failed_network_changes_nothing_of_the_others(study, counted, tmp_path, name):
    # To the byte: neither a number nor how many digits it has.
    count(counted[0], [(1, 3, 1 / 3, 2 / 3, 2.0, 3)])

    def lines(folder):
        told(study, folder, analysed=counted)
        return [line for line in (folder / f"{name}.csv").read_text().splitlines() if "finetuned" not in line]

    before = lines(tmp_path / "before")
    fail(study[1])
    write_failed(counted[1], REASON)
    assert lines(tmp_path / "after") == before
    assert len(before) > 1


@pytest.mark.parametrize("gap", [True, False], ids=["beside a failed network", "beside none"])
@pytest.mark.parametrize("column", ["multiply_adds", "compact_parameters", "compact_multiply_adds"])
def test_a_count_keeps_all_its_digits(cut, tmp_path, column, gap):
    rewrite_header(cut[2], **dict.fromkeys(("multiply_adds", "parameters_left", "multiply_adds_left"), 12345678))
    if gap:
        fail(cut[1])
    told(cut, tmp_path / "told")
    summary = pd.read_csv(tmp_path / "told/summary.csv", dtype=str).set_index("method")
    assert summary.loc["lwm-filter", column] == "12345678"


@pytest.mark.parametrize("name", ["outcomes", "layers", "recall", "security", "decisions"])
def test_a_failed_network_has_no_rows_in_the_other_tables(study, run, name):
    fail(study[1])
    assert set(run(study, name)["stage"]) == {"dense"}


def test_a_failed_network_is_told_of_in_one_line(study, tmp_path):
    fail(study[1])
    folder = tmp_path / "told"
    assert told(study, folder) == (
        f"warning: 1 of 2 networks have no full result; the column `failed` of {folder}/summary.csv says why"
    )


def test_with_a_failed_dense_parent_nothing_is_said_to_be_preserved(study, run):
    before = row(run(study), "finetuned")
    fail(study[0])
    after = row(run(study), "finetuned")
    preserved = [name for name in after if name.startswith("preserved_")]
    assert pd.isna([after[name] for name in preserved]).all()
    assert {name: after[name] for name in before if name not in preserved and not pd.isna(before[name])} == {
        name: value for name, value in before.items() if name not in preserved and not pd.isna(value)
    }


def test_a_dense_parent_of_which_a_verifier_failed_still_has_its_era_preserved(study, run):
    write_failed(study[0].with_suffix("") / "verifiers/crown.csv", BOUND)
    found = row(run(study), "finetuned")
    assert found["preserved_era"] == pytest.approx(4 / 5)
    assert pd.isna(found["preserved_vra"])
    assert found["vra"] == 2 / 8


# The room and the name of a table that failed, the columns that go with it, and some that stay.
FAILED_TABLES = [
    (
        "verifiers",
        "crown",
        ["vra_crown", "preserved_vra"],
        {"vra_ibp": 1 / 8, "vra": 1 / 8, "vra_by": "ibp", "vra_without": "crown", "era": 4 / 8, "benign": 6 / 8},
    ),
    ("attacks", "pgd", ["era", "era_high", "era_pgd", "preserved_era"], {"era_fgsm": 5 / 8, "vra": 2 / 8, "benign": 6 / 8}),
]


@pytest.mark.parametrize(("room", "name", "empty", "left"), FAILED_TABLES, ids=["verifier", "attack"])
def test_a_failed_table_takes_its_metric_and_no_other(study, run, room, name, empty, left):
    write_failed(study[1].with_suffix("") / room / f"{name}.csv", BOUND)
    found = row(run(study), "finetuned")
    assert pd.isna([found[column] for column in empty]).all()
    assert {column: found[column] for column in left} == left
    assert found["failed"] == BOUND
    # Its weights are there all the same.
    assert found["nonzero"] == 22406 - 11124


@pytest.mark.parametrize(("room", "name", "empty", "left"), FAILED_TABLES, ids=["verifier", "attack"])
def test_a_failed_table_changes_no_other_network(study, run, room, name, empty, left):
    before = row(run(study), "dense")
    write_failed(study[1].with_suffix("") / room / f"{name}.csv", BOUND)
    assert str(row(run(study), "dense")) == str(before)


@pytest.mark.parametrize(("room", "name", "empty", "left"), FAILED_TABLES, ids=["verifier", "attack"])
def test_a_failed_table_has_no_line_of_outcomes(study, run, room, name, empty, left):
    write_failed(study[1].with_suffix("") / room / f"{name}.csv", BOUND)
    outcomes = run(study, "outcomes")
    assert set(outcomes[outcomes["stage"] == "finetuned"]["name"]) == {"fgsm", "pgd", "ibp", "crown"} - {name}


def test_a_network_of_one_class_is_marked_as_such_and_not_once_more_by_what_follows(study, run):
    texts = [*about_attack([1, 1], ["", ""], None), *about_distances(torch.tensor([math.inf, math.inf])), "something else"]
    for network in study:
        table = network.with_suffix("") / "attacks/pgd.csv"
        found = pd.read_csv(table, dtype={"eps": str})
        found["flags"] = "; ".join(texts)
        if network == study[1]:
            found = found.assign(prediction=9, status="broken", distance=0.0)
        found.to_csv(table, index=False)
    for name, room in (("fgsm", "attacks"), ("ibp", "verifiers"), ("crown", "verifiers")):
        table = study[1].with_suffix("") / room / f"{name}.csv"
        found = pd.read_csv(table, dtype={"eps": str}).assign(prediction=9)
        found["status"] = "broken" if room == "attacks" else "falsified"
        if room == "verifiers":
            found["decided"] = "misclassified"
        found.to_csv(table, index=False)
    summary = run(study)
    assert summary["constant"].tolist() == [False, True]
    assert summary["era_warnings"].tolist() == ["pgd: " + "; ".join(texts), "pgd: something else"]
    # What the attack met is still known.
    assert set(run(study, "outcomes").query("name == 'pgd'")["warnings"]) == {"; ".join(texts)}


def test_a_vra_says_which_verifiers_it_is_by(study, run):
    found = row(run(study), "finetuned")
    assert (found["vra"], found["vra_by"]) == (2 / 8, "ibp, crown")
    assert pd.isna(found["vra_without"])


def test_without_any_verifier_that_has_a_result_there_is_no_vra(study, run):
    for name in SPEC["verifiers"]:
        write_failed(study[1].with_suffix("") / f"verifiers/{name}.csv", BOUND)
    found = row(run(study), "finetuned")
    assert pd.isna([found[name] for name in ("vra", "vra_by", "vra_without")]).all()
    assert (found["vra_n"], found["failed"]) == (0, BOUND)


@pytest.mark.parametrize("proven", [range(4), range(5)], ids=["on images that the attacks have not all seen", "on the same"])
def test_a_vra_above_era_on_other_images_is_told_from_a_contradiction(study, run, proven):
    # Of 8 images 4 fall to fgsm; crown has been asked about the other 4 alone, or about one that fell.
    broken = {"wrong": set(), "fgsm": {4, 5, 6, 7}, "pgd": set(), "ibp": set(), "crown": set(proven)}
    write_outcomes(study[1], broken, images={"ibp": proven, "crown": proven})
    if 4 in proven:
        with pytest.raises(ContradictionError, match="image 4 is verified by crown and broken by fgsm"):
            run(study)
        return
    found = row(run(study), "finetuned")
    assert (found["era"], found["era_n"], found["vra"], found["vra_n"]) == (0.5, 8, 1, 4)
    assert above_era(found) == "of 4 images, era of 8"


def test_a_method_of_which_a_seed_failed_is_ranked_by_none(study, run, tmp_path):
    networks = [other(tmp_path, method, DENSE_OUTCOMES, seed) for method in ("hydra", "lwm") for seed in (1, 2)]
    fail(networks[3])
    table = run([study[0], *networks], "ranking")
    assert table[["metric", "method", "verdict"]].to_numpy().tolist() == [
        ["era", "hydra", "best"],
        ["era", "lwm", "failed"],
        ["vra", "hydra", "best"],
        ["vra", "lwm", "failed"],
    ]


def test_a_method_of_which_a_verifier_failed_is_ranked_by_era(study, run, tmp_path):
    networks = [study[1], other(tmp_path, "hydra", DENSE_OUTCOMES)]
    write_failed(networks[1].with_suffix("") / "verifiers/crown.csv", BOUND)
    table = run(networks, "ranking")
    assert table[["metric", "method", "verdict"]].to_numpy().tolist() == [
        ["era", "hydra", "best"],
        ["era", "lwm", "within the noise"],
        ["vra", "lwm", "best"],
        ["vra", "hydra", "failed"],
    ]


def test_a_failed_network_that_was_to_lose_filters_is_a_gap_like_any_other(cut, run):
    fail(cut[2])
    found = run(cut).set_index("method").loc["lwm-filter"]
    assert (found["failed"], found["granularity"]) == (REASON, "filter")
    assert found[LEFT].isna().all()


def test_what_is_preserved_is_measured_on_images_that_the_dense_network_was_asked_about(study, run):
    # Of it, an attack has seen 0 to 3 alone; all of these were robust, and are.
    write_outcomes(study[0], DENSE_OUTCOMES, images={"pgd": [0, 1, 2, 3]})
    assert row(run(study), "finetuned")["preserved_era"] == 1


@every_table
def test_where_every_network_failed_there_are_tables_all_the_same(study, tmp_path, name):
    # A study of one objective, whose dense network diverged.
    for network in study:
        fail(network)
    assert told(study, tmp_path / "told").startswith("warning: 2 of 2 networks have no full result")
    table = pd.read_csv(tmp_path / f"told/{name}.csv")
    assert list(table.columns[:4]) == ["dataset", "model", "objective", "stage" if name == "ranking" else "method"]
    assert len(table) == (2 if name == "summary" else 0)


@pytest.fixture
def counted(study):
    """Tables of stable ReLUs of the two networks, of which the pruned one has fewer unstable ones."""
    paths = [network.with_suffix("") / "analyses/stability.csv" for network in study]
    count(paths[0], [(1, 10, 2.5, 3.5, 4.0, 8), (2, 5, 1.0, 1.0, 3.0, 8)])
    count(paths[1], [(1, 10, 2.5, 6.5, 1.0, 7), (2, 5, 1.0, 3.5, 0.5, 7)])
    return paths


def count(path, rows):
    """A table of stable ReLUs."""
    path.parent.mkdir(exist_ok=True)
    analysis_table.write(path, tables("stability"), {"stability": rows}, ABOUT)


def test_stable_relus_are_listed_by_network_and_layer(study, counted, tmp_path):
    told(study, tmp_path / "told", analysed=counted)
    table = pd.read_csv(tmp_path / "told/stability.csv")
    assert list(table.columns) == [*IDENTITY, *tables("stability")["stability"]]
    assert table[["stage", *tables("stability")["stability"]]].to_numpy().tolist() == [
        ["dense", 1, 10, 2.5, 3.5, 4, 8],
        ["dense", 2, 5, 1, 1, 3, 8],
        ["finetuned", 1, 10, 2.5, 6.5, 1, 7],
        ["finetuned", 2, 5, 1, 3.5, 0.5, 7],
    ]


def test_a_study_without_analyses_has_no_table_of_them(study, tmp_path):
    told(study, tmp_path / "told")
    assert not (tmp_path / "told/stability.csv").exists()


def test_where_every_analysis_failed_there_is_an_empty_table(study, counted, tmp_path):
    for path in counted:
        write_failed(path, BOUND)
    told(study, tmp_path / "told", analysed=counted)
    table = pd.read_csv(tmp_path / "told/stability.csv")
    assert (len(table), list(table.columns)) == (0, [*IDENTITY, *tables("stability")["stability"]])


def test_relus_that_could_not_be_counted_are_a_gap_of_their_own(study, counted, tmp_path):
    write_failed(counted[1], BOUND)
    assert told(study, tmp_path / "told", analysed=counted).startswith("warning: 1 of 2 networks")
    assert pd.read_csv(tmp_path / "told/stability.csv")["stage"].tolist() == ["dense", "dense"]
    found = row(pd.read_csv(tmp_path / "told/summary.csv"), "finetuned")
    assert (found["failed"], found["era"], found["vra"]) == (BOUND, 4 / 8, 2 / 8)


@pytest.fixture
def summarised(monkeypatch):
    """Says what an analysis adds to the summary, from the rows of one network."""

    def summarised(summary):
        monkeypatch.setattr(catalogue.load("analyses", "stability"), "summary", summary, raising=False)
        return configured_of("stability") | {"summary": "0"}

    return summarised


def with_analyses(networks, paths, folder, labels):
    """The summary of a study whose tables of stable ReLUs have these labels."""
    folder.mkdir()
    aggregate(networks, paths, folder, SPEC | {"analyses": labels})
    return pd.read_csv(folder / "summary.csv")


def test_columns_of_analyses_stand_before_what_a_network_is_made_of(study, counted, summarised, tmp_path):
    plain = list(with_analyses(study, [], tmp_path / "plain", {}).columns)
    # The last of the study's analyses is the only one of the dense network.
    (counted[0].parent / "last.csv").write_bytes(counted[0].read_bytes())
    counted[0].unlink()
    labels = dict.fromkeys(("stability", "last"), summarised(lambda table: {"layers": len(table)}))
    paths = [counted[0].parent / "last.csv", counted[1]]
    found = with_analyses(study, paths, tmp_path / "more", labels)
    assert plain[-2:] == ["network", "data"]
    assert list(found.columns) == [*plain[:-2], "stability_layers", "last_layers", "network", "data"]
    assert found[["stability_layers", "last_layers"]].fillna(0).to_numpy().tolist() == [[0, 2], [2, 0]]


@pytest.mark.parametrize(("label", "name"), [("era", "low"), ("era", "fgsm"), ("benign", "n"), ("data", "regime")])
def test_no_analysis_takes_a_column_of_the_study(study, counted, summarised, tmp_path, label, name):
    paths = [path.rename(path.with_stem(label)) for path in counted]
    words = f"analyses.{label}: its summary has the column {label}_{name}, which every study has"
    with pytest.raises(SparrowError, match=words):
        with_analyses(study, paths, tmp_path / "told", {label: summarised(lambda table: {name: 0.123})})
    assert list((tmp_path / "told").iterdir()) == []


def test_every_word_that_a_column_of_the_study_begins_with_is_known(study, run):
    assert {name.split("_")[0] for name in run(study).columns if "_" in name} == set(SUMMARISED)


@pytest.mark.parametrize(
    ("place", "scope", "words"),
    [
        ("digits/cnn-small/adversarial/seed0", "family", "digits/cnn-small/adversarial/seed0"),
        ("digits/cnn-small/adversarial/seeds/lwm-0.50/finetuned", "seeds", "adversarial/seeds/lwm-0.50/finetuned"),
        ("digits", "dataset", "of digits"),
        (".", "tables", "of the study"),
    ],
)
def test_a_failed_analysis_of_several_networks_says_of_which(study, tmp_path, place, scope, words):
    path = tmp_path / place / "analyses/votes.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_failed(path, BOUND)
    said = aggregate(study, [path], tmp_path, SPEC | {"analyses": {"votes": configured_of("stability") | {"scope": scope}}})
    assert f"{words} failed: {BOUND}" in said
    assert str(tmp_path) not in said.replace(BOUND, "")


def test_a_table_of_something_else_than_stable_relus_is_named(study, counted, tmp_path):
    counted[1].write_text("layer,neurons\n1,10\n")
    with pytest.raises(SparrowError, match=f"{counted[1]}: has the columns .*, expected .*'unstable'"):
        told(study, tmp_path / "told", analysed=counted)
    assert list((tmp_path / "told").iterdir()) == []


def test_every_network_has_a_security_curve(study, tmp_path):
    # At 0.05 FGSM breaks image 6, too.
    for network, outcomes in zip(study, (DENSE_OUTCOMES, FINETUNED_OUTCOMES), strict=True):
        write_outcomes(network, outcomes | {"fgsm": {6}}, eps={"fgsm": 0.05})
    told(study, tmp_path / "told")
    table = pd.read_csv(tmp_path / "told/security.csv")
    assert table[["stage", "eps", "era", "era_n", "vra"]].astype(object).fillna("none").to_numpy().tolist() == [
        ["dense", 0.05, 6 / 8, 8, "none"],
        ["dense", 0.1, 6 / 8, 8, 3 / 8],
        ["finetuned", 0.05, 6 / 8, 8, "none"],
        ["finetuned", 0.1, 5 / 8, 8, 2 / 8],
    ]


def test_every_network_has_its_decisions(study, run):
    every = run(study, "decisions")
    table = every.dropna(subset="verifier")
    assert table[["stage", "verifier", "status", "decided", "images", "seen"]].to_numpy().tolist() == [
        ["dense", "ibp", "falsified", "misclassified", 1, 8],
        ["dense", "ibp", "unknown", "nothing", 5, 8],
        ["dense", "ibp", "verified", "ibp", 2, 8],
        ["dense", "crown", "falsified", "misclassified", 1, 8],
        ["dense", "crown", "unknown", "nothing", 5, 8],
        ["dense", "crown", "verified", "crown", 2, 8],
        ["finetuned", "ibp", "falsified", "misclassified", 2, 8],
        ["finetuned", "ibp", "unknown", "nothing", 5, 8],
        ["finetuned", "ibp", "verified", "ibp", 1, 8],
        ["finetuned", "crown", "falsified", "misclassified", 2, 8],
        ["finetuned", "crown", "unknown", "nothing", 5, 8],
        ["finetuned", "crown", "verified", "crown", 1, 8],
    ]
    together, summary = every[every["verifier"].isna()], run(study, "summary").set_index("stage")
    for stage, own in together.groupby("stage"):
        shares = own.groupby("status")["images"].sum() / own["seen"].iloc[0]
        assert shares["verified"] == pytest.approx(summary.loc[stage, "vra"])
        assert shares["falsified"] == pytest.approx(1 - summary.loc[stage, "era"])


def test_verified_for_more_and_broken_for_less_is_a_contradiction(study, run):
    write_outcomes(study[1], CONTRADICTION, eps={"fgsm": 0.05})
    with pytest.raises(ContradictionError, match=r"image 4 is verified by crown and broken by fgsm at linf eps 0\.1"):
        run(study)


def test_each_objective_has_its_own_threat_and_its_own_tables(tmp_path):
    # Certified networks are asked about a smaller radius than the others, and by verifiers that the others are not.
    other = DENSE._replace(parent=PARENT._replace(objective="crown-ibp"))
    networks = []
    for who, radius in ((DENSE, 0.1), (other, 0.02)):
        networks.append(write_network(tmp_path, who))
        write_outcomes(networks[-1], DENSE_OUTCOMES, eps=dict.fromkeys(("fgsm", "pgd", "ibp", "crown"), radius))
    objectives = {
        "adversarial": EVALUATED | {"verifiers": []},
        "crown-ibp": EVALUATED | {"threat": {"norm": "linf", "eps": 0.02}},
    }
    aggregate(networks, [], tmp_path, SPEC | {"objectives": objectives})
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("objective")
    assert summary["eps"].to_dict() == {"adversarial": 0.1, "crown-ibp": 0.02}
    assert summary["era"].nunique() == 1
    assert summary["vra"].isna().to_dict() == {"adversarial": True, "crown-ibp": False}
    assert summary["vra_ibp_n"].to_dict() == {"adversarial": 0, "crown-ibp": 8}


def test_a_network_of_another_study_is_named(study, tmp_path):
    other = SPEC | {"objectives": {"benign": EVALUATED}}
    with pytest.raises(SparrowError, match=f"^{study[0]}: trained on 'adversarial'; this study has 'benign'$"):
        aggregate(study, [], tmp_path, other)
