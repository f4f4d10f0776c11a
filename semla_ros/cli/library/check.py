"""``semla library check``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from semla_ros.cli.library.place import accepts_json, accepts_place, base_of, opened_with_adapters, write_json
from semla_ros.cli.library.table import new_table, show
from semla_ros.cli.options import claimed, task
from semla_ros.errors import AdapterError
from semla_ros.text import counted

if TYPE_CHECKING:
    from semla_ros.library.findings import Finding


def add(library: Any) -> None:
    """Adds the subcommand."""
    about = "check every adapter against the base model; the exit code is 0 if nothing is wrong, 1 if something is"
    check = task(library, "check", _check, about)
    accepts_json(check, "findings")
    accepts_place(check)


def _check(args: argparse.Namespace) -> None:
    from semla_ros.library.findings import adapter_findings, centroid_findings
    from semla_ros.progress import ProgressBar

    claimed(args.json)
    bundle, folder = opened_with_adapters(args)
    base = base_of(bundle)
    with ProgressBar(folder.paths, desc="check", unit="adapter", leave=False) as bar:
        findings = [finding for path in bar for finding in adapter_findings(path, base)]
    findings += centroid_findings({path.name: path for path in folder.paths})
    write_json(args.json, [asdict(each) for each in findings])
    if findings:
        _show(findings)
        concerned = len({each.adapter for each in findings})
        raise AdapterError(
            "library has findings", where=folder.path,
            got=f"{counted(len(findings), 'finding')} in {concerned} of {counted(len(folder.paths), 'adapter')}",
        )  # fmt: skip
    print(f"{folder.path}: {counted(len(folder.paths), 'adapter')}, nothing wrong")


def _show(findings: list[Finding]) -> None:
    table = new_table("Findings")
    table.add_column("adapter", no_wrap=True)
    table.add_column("part", no_wrap=True)
    table.add_column("what is wrong", overflow="fold")
    for each in findings:
        table.add_row(each.adapter, each.subject, each.detail)
    show(table)
