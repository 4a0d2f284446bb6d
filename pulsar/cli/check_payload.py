"""The tool of ``pulsar-check``: it runs on the server, alone, and writes down what it finds there.

This file is sent as it is. It uses nothing but the standard library and runs on any Python 3.6 or newer, which is why the
annotations with brackets are quoted.
"""

import argparse
import json
import os
import sys
from pathlib import Path

EXIT_CODE = 4
STDOUT_PREFIX = "pulsar-check tool"
STDERR_TEXT = "pulsar-check tool on standard error"
VERSION_TEXT = "pulsar-check tool 1.0"

INPUTS = ("config", "input", "extra", "input-metadata", "metadata", "index", "rewritten", "option")
OUTPUTS = ("facts", "output", "copy", "version", "galaxy-json-style")


def main() -> int:
    """Write the facts and the outputs; return the exit code that the client expects."""
    parser = argparse.ArgumentParser()
    for name in (*INPUTS, *OUTPUTS):
        parser.add_argument("--" + name, required=True)
    args = parser.parse_args()
    print(STDOUT_PREFIX, flush=True)
    print(STDERR_TEXT, file=sys.stderr, flush=True)
    _write(args.facts, json.dumps(_facts(args)))
    _write_outputs(args)
    return EXIT_CODE


def _facts(args: argparse.Namespace) -> "dict[str, object]":
    config = (_text(args.config) or "").splitlines()
    return {
        "input": _text(args.input),
        "extra": _text(args.extra),
        "input_metadata": _text(args.input_metadata),
        "metadata": _text(args.metadata),
        "config": config,
        "input_named_in_config": _text(config[0][len("input=") :]) if config else None,
        "work_file": _text("pulsar_check.txt"),
        "index_path": args.index,
        "index_files": _names_below(Path(args.index).parent.parent),
        "rewritten": args.rewritten,
        # Bytes: what the shell passes need not be text in the locale of the job.
        "option": os.fsencode(args.option).hex(),
        "env": os.environ.get("PULSAR_CHECK_ENV"),
        "home_exists": Path(os.environ.get("_GALAXY_JOB_HOME_DIR", "/nowhere")).is_dir(),
        "tmp_exists": Path(os.environ.get("_GALAXY_JOB_TMP_DIR", "/nowhere")).is_dir(),
        "helper": _text(str(Path(__file__).resolve().parent / "subdir" / "helper.py")),
        "directory": Path.cwd().name,
    }


def _write_outputs(args: argparse.Namespace) -> None:
    text = _text(args.input) or ""
    _write(args.output, text)
    _write(args.output[: -len(".dat")] + "_files/nested/extra.txt", "extra " + text)
    _write(args.copy, text)
    _write(args.version, VERSION_TEXT)
    _write("single.txt", "single " + text)
    _write("tree/first.txt", "first " + text)
    _write("tree/deep/second.txt", "second " + text)
    _write("part_0001.txt", "part " + text)
    _write("primary_1_sample.txt", "primary " + text)
    _write("declared_one.txt", "one " + text)
    _write("declared_two.txt", "two " + text)
    _write(str(Path(args.metadata).parent / "metadata_written"), "metadata " + text)
    entries = [{"filename": "declared_one.txt"}, {"type": "dataset", "nested": {"filename": "declared_two.txt"}}]
    if args.galaxy_json_style == "legacy_galaxy":
        _write("galaxy.json", "\n".join(json.dumps(entry) for entry in entries))
    else:
        _write("galaxy.json", json.dumps(entries))


def _text(path: str) -> "str | None":
    """Return the text of a file, or None when it is not there."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None


def _write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def _names_below(directory: Path) -> "list[str]":
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
