"""Judge files by Great Expectations on pandas; runs in an environment of its own, and prints what failed as JSON.

The first argument is a JSON file: of each table what its columns must hold, and the files to judge. Every word about a
single column, the set of columns, the number of rows and columns that together are unique become expectations; Great
Expectations on pandas has none for expressions over a row, other tables and neighbouring rows.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

warnings.simplefilter("ignore")


def suite_of(name: str, table: dict[str, Any]) -> gx.ExpectationSuite:
    """Return the expectations that say of a table what its schema says, as far as there are any."""
    asked: list[Any] = [gxe.ExpectTableColumnsToMatchSet(column_set=list(table["columns"]))]
    asked.append(gxe.ExpectTableRowCountToBeBetween(min_value=table["min_rows"], max_value=table["max_rows"]))
    for column, rule in table["columns"].items():
        mostly = 0 if rule["nullable"] else 1 - (rule["most_missing"] or 0)
        asked.append(gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=mostly))
        if rule["min"] is not None or rule["max"] is not None:
            bounds = {"min_value": rule["min"], "max_value": rule["max"]}
            asked.append(gxe.ExpectColumnValuesToBeBetween(column=column, **bounds))
        if rule["categories"]:
            asked.append(gxe.ExpectColumnValuesToBeInSet(column=column, value_set=rule["categories"]))
        if rule["pattern"]:
            asked.append(gxe.ExpectColumnValuesToMatchRegex(column=column, regex=f"^(?:{rule['pattern']})$"))
        if rule["unique"]:
            asked.append(gxe.ExpectColumnValuesToBeUnique(column=column))
        if rule["type"] == "timestamp":
            asked.append(gxe.ExpectColumnValuesToBeOfType(column=column, type_="Timestamp"))
    asked += [gxe.ExpectCompoundColumnsToBeUnique(column_list=names) for names in table["unique"]]
    return gx.ExpectationSuite(name=name, expectations=asked)


def read(path: Path, moments: list[str]) -> pd.DataFrame:
    """Read a file as a careful user of pandas would, moments as such where they can be."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    frame = pd.read_csv(path, na_values=["NA"], keep_default_na=False, low_memory=False)
    for name in moments:
        if name in frame:
            parsed = pd.to_datetime(frame[name], errors="coerce")
            frame[name] = parsed if parsed.notna().all() else frame[name]
    return frame


def main() -> None:
    """Judge every file."""
    given = json.loads(Path(sys.argv[1]).read_text())
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    suites = {name: suite_of(name, table) for name, table in given["tables"].items()}
    told = {}
    for name, (table, path) in given["files"].items():
        columns = given["tables"][table]["columns"]
        try:
            frame = read(Path(path), [column for column, rule in columns.items() if rule["type"] == "timestamp"])
        except Exception as error:  # whatever pandas says of a file that it cannot read counts as finding the fault
            told[name] = [f"reading: {type(error).__name__}"]
            continue
        result = batch.get_batch(batch_parameters={"dataframe": frame}).validate(suites[table])
        failed = [each.expectation_config for each in result.results if not each.success]
        told[name] = [f"{each.kwargs.get('column', '')} {each.type}".strip() for each in failed]
    print(json.dumps(told))


main()
