"""The BibTeX of a study: valid, of all that it uses, each paper once."""

import re
from pathlib import Path

import pytest
import yaml

from sparrow import catalogue
from sparrow.cli.main import main
from sparrow.errors import SparrowError
from sparrow.pruning.params import S2AP
from sparrow.study import citations as cite
from sparrow.training.additions import Distillation, StabilityLoss
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
ENTRIES = [(room, kind) for room in catalogue.PACKAGES for kind in catalogue.kinds(room)]
TEXTS = {f"{room}.{kind}": catalogue.bibtex(room, kind) for room, kind in ENTRIES}
ADDITIONS = (Distillation, StabilityLoss)
TEXTS |= {addition.__name__: catalogue.bibtex_of(addition().load()) for addition in ADDITIONS}
TEXTS |= {"Sparrow": cite.own_bibtex(), **cite.TOOLS, "S2AP": S2AP}
PAPERS = [(user, key, text) for user, whole in TEXTS.items() for key, text in cite.parse(whole, user).items()]
NEEDED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "year"},
    "techreport": {"author", "title", "institution", "year"},
}


def fields(text: str) -> tuple[str, dict[str, str]]:
    """The type and the fields of one entry; fails on anything that is not `name = {balanced value},`."""
    kind, _, rest = re.fullmatch(r"@(\w+)\{([a-z0-9]+),\n(.*)\}", text, re.DOTALL).groups()
    found = {}
    while rest.strip():
        name, rest = re.match(r"\s*([a-z]+) = \{(.*)", rest, re.DOTALL).groups()
        end = cite._closed("{" + rest) - 1
        assert end > 0
        assert rest[end] == ","
        assert name not in found
        found[name], rest = " ".join(rest[: end - 1].split()), rest[end + 1 :]
    return kind, found


def titles(whole: str) -> list[str]:
    return [plain(fields(text)[1]["title"]) for text in cite.parse(whole, "").values()]


def plain(title: str) -> str:
    return title.replace("{", "").replace("}", "").casefold()


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """What `sparrow cite` prints of the default study with other sections: keys to the lines above them."""
    monkeypatch.chdir(tmp_path)

    def cited(**sections) -> dict[str, str]:
        raw = default_study() | sections
        Path("study.yaml").write_text(yaml.safe_dump(raw))
        assert main(["cite", "study.yaml"]) == 0
        return {key: users for users, key in re.findall(r"^% (.*)\n@\w+\{(.*),$", capsys.readouterr().out, re.MULTILINE)}

    return cited


@pytest.mark.parametrize(("user", "key", "text"), PAPERS, ids=[f"{user}: {key}" for user, key, _ in PAPERS])
def test_an_entry_is_valid_and_says_what_its_type_asks_for(user, key, text):
    kind, found = fields(text)
    assert set(found) >= NEEDED[kind]
    assert re.fullmatch(r"(19|20)\d\d", found["year"])
    # Surname first, so that no style has to guess which of the names it is.
    authors = re.sub(r"\{\\\W\w\}", "", found["author"]).split(" and ")  # Without letters that TeX gives an accent.
    assert [name for name in authors if not re.fullmatch(r"[^,{}]+, [^,{}]+|\{.+\}", name)] == []


def test_a_key_is_of_the_same_text_wherever_it_is():
    assert len({key for _, key, _ in PAPERS}) == len({text for *_, text in PAPERS})


@pytest.mark.parametrize(("room", "kind"), ENTRIES, ids=[f"{room}.{kind}" for room, kind in ENTRIES])
def test_an_entry_has_the_bibtex_of_every_title_in_its_source(room, kind):
    found = titles(TEXTS[f"{room}.{kind}"])
    quoted = [title.rstrip(",") for title in re.findall(r'"(.+?)"', catalogue.source(room, kind))]
    assert [title for title in quoted if not any(one.startswith(plain(title)) for one in found)] == []


def test_the_table_of_entries_has_no_bibtex():
    assert [
        entry for entry in ENTRIES if re.search(r"BibTeX|@\w+\{", catalogue.summary(*entry) + catalogue.source(*entry))
    ] == []


def test_a_study_cites_sparrow_and_its_tools(said):
    assert set(said()) >= {"sparrow", "kim2020torchattacks", "xu2020automatic", "moelder2021sustainable", "paszke2019pytorch"}


def test_papers_are_sorted_and_come_once(said):
    keys = list(said(objectives={"ibp": None, "trades": None}, verifiers={"ibp": None, "crown": None}))
    assert keys == sorted(set(keys))


def test_what_uses_a_paper_is_said_and_what_is_not_used_is_not_cited(said):
    users = said(methods={"lwm-global": {"kind": "lwm", "allocation": "global"}})
    assert users["han2015learning"] == "methods.lwm-global"
    assert "sehwag2020hydra" not in {key for key, used_by in users.items() if "methods" in used_by}


def test_what_is_added_to_an_objective_is_cited_where_it_is_on(said):
    assert not {"goldblum2020adversarially", "li2023can"} & said(analyses={}).keys()
    training = {"finetune": {"epochs": 1}}
    users = said(
        objectives={"ibp": {"nrs": {}}, "trades": {"training": {"finetune": {"distillation": {}}}}},
        training=dict.fromkeys(("pretrain", "prune", "finetune"), training["finetune"]),
    )
    assert users["li2023can"] == "objectives.ibp.nrs"
    assert users["xiao2019training"] == "analyses.stability, objectives.ibp.nrs"
    assert users["goldblum2020adversarially"] == "objectives.trades.training.finetune.distillation"


def test_what_nothing_is_finetuned_for_is_not_cited(said):
    taught = {"epochs": 1, "distillation": {}}
    training = {"pretrain": {"epochs": 1}, "prune": {"epochs": 1}, "finetune": taught}
    assert "goldblum2020adversarially" in said(training=training)
    assert "goldblum2020adversarially" not in said(training=training, evaluate=["dense"], analyses={})


def test_a_cascade_cites_the_bounds_that_it_has(said):
    users = said(verifiers={"cascade": {"bounds": ["ibp", "crown"]}})
    assert [
        key for key in ("gowal2019scalable", "zhang2018efficient") if "verifiers.cascade" not in users[key].split(", ")
    ] == []
    assert "xu2021fast" not in users


@pytest.mark.parametrize("kind", ["hydra", "harp"])
def test_a_setting_that_is_used_is_cited(said, kind):
    papers = {"piras2025s2ap", "wu2020adversarial"}
    users = said(methods={kind: {"s2ap_gamma": 0.1}})
    assert {key: user for key, user in users.items() if key in papers} == dict.fromkeys(papers, f"methods.{kind}")
    assert not papers & set(said(methods={kind: None}))


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "@misc{a, title = {A}",
        "@misc{a, title = {A}}}",
        "@misc{title = {A}}",
        "@misc{a, title = {A}}\n@misc{a, title = {B}}",
    ],
)
def test_what_is_no_bibtex_is_refused_by_name(text):
    with pytest.raises(SparrowError, match=r"methods\.mine"):
        cite.parse(text, "methods.mine")


def test_one_key_of_two_texts_is_refused(monkeypatch, capsys):
    monkeypatch.setitem(cite.TOOLS, "another", "@misc{han2015learning, title = {Another}}")
    assert main(["cite", str(ROOT / "config.yaml")]) == 1
    assert (
        capsys.readouterr().err == "error: methods.lwm: the BibTeX key 'han2015learning' is that of another text at another\n"
    )


def test_a_study_that_grafts_cites_where_that_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = default_study()
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study | {"grafting": {}, "evaluate": ["dense", "grafted"]}))
    assert main(["cite", str(path)]) == 0
    assert "% grafting\n@inproceedings{chen2022linearity," in capsys.readouterr().out


def test_a_study_of_mixed_precision_cites_where_that_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = default_study() | {"evaluate": ["dense", "dense+few"]}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study | {"variants": {"few": {"mixed_precision": {"average_bits": 4}}}}))
    assert main(["cite", str(path)]) == 0
    assert "% variants.few\n@misc{yang2024arq," in capsys.readouterr().out


def test_what_is_grafted_may_have_learned_from_a_teacher(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = default_study() | {"grafting": {}, "evaluate": ["dense", "grafted"]}
    study["training"]["finetune"]["distillation"] = {}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    assert main(["cite", str(path)]) == 0
    assert "@inproceedings{goldblum2020adversarially," in capsys.readouterr().out
