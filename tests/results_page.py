"""Writes the tables of both READMEs and of the page of results from the committed tables.

`python -m tests.results_page` rewrites them in place: the rows that follow `<!-- table NAME -->`.
`tests/test_results_page.py` holds the texts to it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from w2s_nb.common.intervals import interval_cell, is_missing

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "papermill_runs" / "reference"
PAGES = (ROOT / "README.md", ROOT / "README.fa.md", REFERENCE / "README.md")
MARK = re.compile(r"(<!-- table (\S+) -->\n)((?:\|.*\n)*)")
ARMS = {"accuracy": "test accuracy", "pgr": "PGR", "agreement": "agreement with supervisor"}
TABLES: dict[str, Callable[[], pd.DataFrame]] = {}


def rows_of(name: str, table: str = "table") -> list[dict]:
    """Returns the rows of a committed table."""
    return json.loads((REFERENCE / f"{name}.json").read_text())[table]


def layers(model: str) -> str:
    """Returns the depth of a model's name, or the name of one that is not cut."""
    return model.rpartition("@")[2]


def chosen(rows: Sequence[Mapping], columns: Mapping[str, str], form: str = ".3f") -> pd.DataFrame:
    """Returns columns of rows as text, under their titles; two decimals for a PGR."""
    return pd.DataFrame(
        {
            title: [cell(row, name, ".2f" if name.startswith("pgr") else form) for row in rows]
            for name, title in columns.items()
        }
    )


def cell(row: Mapping, name: str, form: str) -> str:
    """Returns a number with its interval, or a text as it is."""
    value = row.get(name)
    if is_missing(value) or isinstance(value, str):
        return "" if is_missing(value) else value
    if name in WHOLE:
        return f"{value:g}"
    return interval_cell(row, name, form)


WHOLE = ("n", "seeds", "n_train", "n_test", "shots", "layers", "step", "features")


def spread(
    rows: Sequence[Mapping], down: str, across: str, value: str, form: str = ".3f", head: str = ""
) -> pd.DataFrame:
    """Returns one number of rows, a row per value of one column, a column per value of another."""
    kinds = list(dict.fromkeys(row[across] for row in rows))
    lines = {}
    for row in rows:
        lines.setdefault(row[down], {})[row[across]] = cell(row, value, form)
    return pd.DataFrame(
        [
            {head or down: name, **{kind: cells.get(kind, "") for kind in kinds}}
            for name, cells in lines.items()
        ]
    )


def table(function: Callable[[], pd.DataFrame]) -> Callable[[], pd.DataFrame]:
    """Registers a table by the function's name."""
    TABLES[function.__name__] = function
    return function


@table
def finetuned() -> pd.DataFrame:
    return chosen(rows_of("03_conf_loss_top"), {"arm": "arm", **ARMS})


@table
def losses() -> pd.DataFrame:
    return chosen(rows_of("03_conf_loss", "every_loss"), {"arm": "arm", **ARMS})


@table
def depths() -> pd.DataFrame:
    columns = {"task": "task", "accuracy_16": "16 layers", "accuracy_30": "all 30 layers"}
    return chosen(rows_of("depth"), columns | {"difference": "difference"})


@table
def pairs() -> pd.DataFrame:
    rows = [row for row in rows_of("02_naive_finetuning_probe") if row["arm"] == "student, naive"]
    for row in rows:
        row["pair"] = f"{layers(row['weak'])} → {layers(row['strong'])} layers"
    columns = {"pair": "supervisor → student", "accuracy": "student's accuracy", "pgr": "PGR"}
    text = chosen(rows, columns)
    text.loc[text.PGR == "", "PGR"] = "not defined: the gap is within its standard error"
    return text


@table
def bootstrapping() -> pd.DataFrame:
    last = {row["arm"]: row for row in rows_of("04_bootstrapping")}
    rows = [{**row, "way": way} for way, row in last.items() if way != "weak supervisor"]
    columns = {"way": "way", "label_accuracy": "accuracy of its labels"}
    return chosen(rows, {**columns, "accuracy": "test accuracy", "pgr": "PGR"})


@table
def stops() -> pd.DataFrame:
    columns = {"arm": "student", "stop": "stop"}
    return chosen(rows_of("05_imitation"), columns | {"accuracy": "test accuracy", "pgr": "PGR"})


@table
def agreement() -> pd.DataFrame:
    rows = rows_of("05_imitation", "by_size")
    rows = sorted(
        ({**row, "layers": int(layers(row["strong"]))} for row in rows),
        key=lambda row: (row["arm"] != "student, naive", row["layers"]),
    )
    columns = {"arm": "student", "layers": "layers", "agreement_all": "on all examples"}
    columns |= {
        "agreement_mistakes": "on its mistakes",
        "agreement_correct": "on its right answers",
    }
    return chosen(rows, columns, ".2f")


@table
def errors() -> pd.DataFrame:
    rows = rows_of("05_imitation", "error_structure") + [
        {**row, "labels": "the opinion in the text"}
        for row in rows_of("05_imitation", "opinion")
        if row["arm"].startswith("student")
    ]
    return spread(rows, "labels", "arm", "pgr", ".2f", "errors of the labels")


@table
def saliency() -> pd.DataFrame:
    columns = {"arm": "trained", "accuracy": "test accuracy", "pgr": "PGR"}
    return chosen(rows_of("06_saliency"), columns)


@table
def prompts() -> pd.DataFrame:
    plain = rows_of("07_prompting")
    asked = [
        {**row, "arm": f"{row['arm']}, calibrated"}
        for row in rows_of("07_prompting", "calibrated")
        if "shot" in row["arm"]
    ]
    ceiling = [row for row in plain if row["arm"] == "strong ceiling"]
    others = [row for row in plain if row["arm"] != "strong ceiling"]
    return spread([*others, *asked, *ceiling], "arm", "task", "accuracy", ".2f", " ")


@table
def rewards() -> pd.DataFrame:
    text = None
    for method, rows in _by(rows_of("08_reward_modelling"), "method").items():
        columns = {"arm": "arm", "accuracy": f"accuracy, {method}", "pgr": f"PGR, {method}"}
        part = chosen(rows, columns)
        text = part if text is None else text.merge(part, on="arm")
    assert text is not None
    return text


@table
def reading_first() -> pd.DataFrame:
    rows = rows_of("09_generative_finetuning")
    text = spread(rows, "order", "arm", "accuracy", head="who reads first")
    students = [row for row in rows if row["arm"] == "student, naive"]
    return text.assign(PGR=[cell(row, "pgr", ".2f") for row in students])


@table
def chess() -> pd.DataFrame:
    columns = {"arm": "arm", "accuracy": "exact match", "pgr": "PGR"}
    columns |= {"agreement": "agreement with supervisor", "legal": "legal moves"}
    return chosen(rows_of("10_chess"), columns | {"choice": "likeliest legal move"})


@table
def chess_by_size() -> pd.DataFrame:
    rows = rows_of("10_chess", "by_size")
    text = spread(rows, "strong", "arm", "accuracy", head="student")
    pgrs = {
        row["strong"]: cell(row, "pgr", ".2f") for row in rows if row["arm"] == "student, naive"
    }
    return text.assign(PGR=[pgrs[name] for name in text.student])


@table
def suite() -> pd.DataFrame:
    rows = [row for row in rows_of("14_suite") if layers(row["strong"]) == "16"]
    for row in rows:
        row["pair"] = f"{layers(row['weak'])} → 16"
    columns = {"pair": "layers", "arm": "arm", "median_accuracy": "test accuracy"}
    columns |= {
        "median_auroc": "test AUROC",
        "median_pgr": "PGR",
        "median_pgr_auroc": "PGR by AUROC",
    }
    return chosen(rows, columns)


@table
def compared() -> pd.DataFrame:
    columns = {"method": "method", "accuracy": "test accuracy", "difference": "minus naive"}
    return chosen(rows_of("16_compare"), columns | {"p": "p", "p_holm": "p by Holm", "pgr": "PGR"})


@table
def filters() -> pd.DataFrame:
    columns = {"method": "method", "accuracy": "test accuracy", "difference": "minus naive"}
    return chosen(
        rows_of("label_filters"), columns | {"p": "p", "p_holm": "p by Holm", "pgr": "PGR"}
    )


@table
def predictors() -> pd.DataFrame:
    columns = {"predictor": "predictor", "needs": "needs", "correlation": "rank correlation"}
    return chosen(rows_of("17_foresight"), columns | {"given_gap": "given the gap"}, ".2f")


@table
def scripts() -> pd.DataFrame:
    columns = {"monitor": "monitor", "accuracy": "test accuracy", "auroc": "test AUROC"}
    columns |= {f"recall at {n} %": f"harm found at {n} %" for n in (1, 2, 5)}
    rows = [row for row in rows_of("15_code_safety", "monitors") if row["monitor"] != "perfect"]
    return chosen(rows, columns)


@table
def scripts_finetuned() -> pd.DataFrame:
    return _code("shell_safety_top")


@table
def shell_pairs() -> pd.DataFrame:
    return _code("shell_pairs")


@table
def elsewhere_hh() -> pd.DataFrame:
    return chosen(
        rows_of("elsewhere_hh"),
        {
            "trained_on": "trained on",
            "tested_on": "tested on",
            "arm": "arm",
            "accuracy": "accuracy",
            "pgr": "PGR",
        },
    )


@table
def sven() -> pd.DataFrame:
    return _code("sven")


@table
def elsewhere() -> pd.DataFrame:
    columns = {"trained_on": "trained on", "tested_on": "tested on", "arm": "arm"}
    columns |= {"accuracy": "accuracy", "pgr": "PGR"}
    return chosen(rows_of("elsewhere"), columns)


@table
def stress() -> pd.DataFrame:
    columns = {"stress": "stress", "arm": "arm", "accuracy": "accuracy", "pgr": "PGR"}
    return chosen(rows_of("stress"), columns | {"change": "change by the stress"})


@table
def claims() -> pd.DataFrame:
    """The claims of the paper that README shows: what was measured, and the verdict of each."""
    rows = [row | {"here": f"{MEASURED[_measure(row)]} {row['ours']}"} for row in shown()]
    columns = {"says": "claim of the paper", "where": "where in it", "agrees_if": "agrees if"}
    return _joined(rows, columns | {"here": "here", "verdict": "verdict"})


@table
def claims_fa() -> pd.DataFrame:
    """The same claims in Persian."""
    rows = [
        {
            "says": PERSIAN["claims"][row["claim"]],
            "where": persian(row["where"]),
            "agrees": persian(row["agrees_if"]),
            "here": f"{PERSIAN['measured'][_measure(row)]} {left_to_right(row['ours'])}",
            "verdict": PERSIAN["verdicts"][row["verdict"]],
        }
        for row in shown()
    ]
    return _joined(rows, PERSIAN["columns"])


def shown() -> list[dict]:
    """Returns the judged claims that both READMEs show, in their order."""
    rows = {row["claim"]: row for row in rows_of("reproduce", "claims")}
    return [rows[name] for name in README_CLAIMS]


def _measure(row: Mapping) -> str:
    """Returns the name of what was measured of a claim."""
    return row["parts"][0]["measure"]


def persian(text: str) -> str:
    """Returns a place in the paper, or a range, in Persian; numbers run left to right."""
    for word, translated in PERSIAN["words"].items():
        text = text.replace(word, translated)
    return re.sub(r"[A-Z0-9][\d.]*", lambda number: left_to_right(number[0]), text)


def left_to_right(text: str) -> str:
    """Returns a text of numbers or English words as a part of a line that runs right to left."""
    return f'<span dir="ltr">{text}</span>'


@table
def every_claim() -> pd.DataFrame:
    columns = {"source": "source", "says": "claim", "theirs": "there", "ours": "here"}
    return _joined(rows_of("reproduce", "claims"), columns | {"verdict": "verdict"})


# what each measure of the claims below is, in words
MEASURED = {
    "naive_pgr": "PGR",
    "suite_pgr": "median PGR",
    "loss_gain": "gain in accuracy",
    "chain_gain": "gain in accuracy",
    "surest_gain": "gain in accuracy",
    "agreement_change_by_student": "largest minus smallest student, share of mistakes repeated,",
}
PERSIAN = yaml.safe_load(Path(__file__).with_name("claims_fa.yaml").read_text())
README_CLAIMS = tuple(PERSIAN["claims"])


def _code(name: str) -> pd.DataFrame:
    """Returns arms and baselines of a task of code."""
    columns = {"arm": "arm or baseline", "accuracy": "test accuracy", "auroc": "test AUROC"}
    return chosen(rows_of(name), columns | {"pgr": "PGR"})


def _joined(rows: Sequence[Mapping], columns: Mapping[str, str]) -> pd.DataFrame:
    """Returns claims; a published value without its name in the register, lines joined."""
    text = chosen(rows, columns)
    if "there" in text:
        text["there"] = text.there.str.replace(r"(?m)^\S+ ", "", regex=True)
    return text.replace("\n", "; ", regex=True)


def _by(rows: Sequence[dict], name: str) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups


def markdown(text: pd.DataFrame) -> str:
    """Returns a table of texts in Markdown."""
    head = ["", *text.columns, ""]
    rule = ["", *("---" for _ in text.columns), ""]
    lines = [head, *(["", *row, ""] for row in text.to_numpy().tolist())]
    joined = [" | ".join(map(str, line)).strip() for line in lines]
    return "\n".join([joined[0], "|".join(rule), *joined[1:]])


def rewritten(page: str) -> str:
    """Returns a page whose tables are those of the committed tables."""
    return MARK.sub(lambda match: f"{match[1]}{markdown(TABLES[match[2]]())}\n", page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(rewritten(path.read_text()))
