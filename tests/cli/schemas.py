"""What `--json` prints, verb by verb: the keys that scripts may rely on (docs/cli.md). Keys may be added; these stay, with their types."""

from __future__ import annotations

from typing import Any

TEXT, WHOLE, FLAG, OBJECT, LIST = str, int, bool, dict, list
NUMBER = (int, float)


class Maybe:
    """A value that may be null."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind


class Each:
    """A list, each item of which is so."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind


RAM = {
    "state": WHOLE, "arena": WHOLE, "stack": Maybe(WHOLE), "stack_size": WHOLE, "stack_bound": Maybe(WHOLE), "link": WHOLE,
    "plan": WHOLE, "planned": WHOLE, "measured": Maybe(WHOLE), "reason": Maybe(TEXT),
}  # fmt: skip
LINK = {"bytes_tx": WHOLE, "bytes_rx": WHOLE, "retries": WHOLE, "overruns": WHOLE, "bad_frames": WHOLE}
RESULT = {
    "run": TEXT, "rule": TEXT, "rule_source": Maybe(TEXT), "dtype": TEXT, "steps": WHOLE, "seed": WHOLE, "net": TEXT,
    "schedule": TEXT, "freeze": Each(WHOLE), "batch": WHOLE, "scale": TEXT, "optimizer": TEXT, "augment": TEXT,
    "from": Maybe(TEXT), "notes": Each(TEXT), "accuracy": NUMBER, "state_sha256": TEXT, "exponents": OBJECT, "board": TEXT,
    "device": Maybe(TEXT), "emulated": FLAG, "ram": RAM, "link": LINK, "board_us_per_sample": Maybe(NUMBER),
    "samples_per_s": NUMBER,
    "health": Each({"kind": TEXT, "where": TEXT, "message": TEXT, "hint": TEXT, "steps": Each(WHOLE)}),
}  # fmt: skip
RUN = {
    "id": TEXT, "created": TEXT, "net": TEXT, "rule": TEXT, "rule_source": Maybe(TEXT), "dtype": TEXT, "board": TEXT, "seed": WHOLE,
    "status": TEXT, "accuracy": Maybe(NUMBER), "steps": Maybe(WHOLE),
}  # fmt: skip
BOARD = {
    "id": TEXT, "name": TEXT, "core": TEXT, "ram": WHOLE, "flash": WHOLE, "dtypes": Each(TEXT), "ports": Each(TEXT),
    "verified": TEXT, "tried": TEXT, "usb": Each(TEXT), "programmers": Each(TEXT), "tools": OBJECT, "source": Each(TEXT),
}  # fmt: skip
PHASE = {
    "name": TEXT,
    "within": Maybe(TEXT),
    "seconds": Maybe(NUMBER),
    "joules": Maybe(NUMBER),
    "source": TEXT,
    "reason": TEXT,
}
SAMPLE = {
    "seconds": NUMBER, "cpu_s": Maybe(NUMBER), "board_s": Maybe(NUMBER), "joules": Maybe(NUMBER), "sigma": Maybe(NUMBER),
    "source": TEXT, "period_s": Maybe(NUMBER), "reason": TEXT,
}  # fmt: skip
ARTIFACT = {
    "format": TEXT, "entry": TEXT, "dtype": TEXT, "path": TEXT, "bytes": WHOLE, "sha256": TEXT, "verified": Maybe(TEXT),
    "max_diff": Maybe(NUMBER), "verified_inputs": WHOLE, "verified_steps": WHOLE, "inputs": LIST, "outputs": LIST,
}  # fmt: skip
SCHEMAS: dict[str, dict[str, Any]] = {
    "boards": {"boards": Each(BOARD)},
    "show": {
        "recipe": TEXT, "board": TEXT, "rule": TEXT, "rule_source": Maybe(TEXT), "net": TEXT, "dtype": TEXT, "data": TEXT,
        "steps": WHOLE, "macs": {"infer": WHOLE, "learn": WHOLE}, "ram": OBJECT,
        "flash": {"runtime": Maybe(WHOLE), "board": WHOLE}, "notes": Each(TEXT), "stages": OBJECT,
        "memory": Each({"region": TEXT, "entry": Maybe(TEXT), "name": TEXT, "offset": WHOLE, "bytes": WHOLE, "type": TEXT}),
    },
    "export": {
        "name": TEXT, "board": TEXT, "manifest": TEXT, "learnt": FLAG, "artifacts": Each(ARTIFACT),
        "gaps": Each({"format": TEXT, "dtype": TEXT, "entry": TEXT, "reason": TEXT}),
    },
    "flash": {
        "board": TEXT, "tool": TEXT, "file": TEXT, "drive": Maybe(TEXT), "commands": LIST, "done": FLAG, "next": Each(TEXT),
    },
    "train": RESULT,
    "resume": RESULT,
    "eval": {"run": TEXT, "board": TEXT, "data": TEXT, "accuracy": NUMBER, "n": WHOLE, "confusion": Each(Each(WHOLE))},
    "infer": {"run": TEXT, "board": TEXT, "samples": Each({"index": WHOLE, "class": WHOLE, "truth": Maybe(WHOLE)})},
    "profile": {
        "board": TEXT, "device": Maybe(TEXT), "emulated": FLAG, "recipe": TEXT, "net": TEXT, "rule": TEXT, "dtype": TEXT,
        "from_step": WHOLE, "samples": {"learn": WHOLE, "infer": WHOLE}, "energy": {"meter": TEXT, "source": TEXT, "tried": LIST},
        "phases": Each(PHASE), "per_sample": {"learn": SAMPLE, "infer": SAMPLE}, "ram": OBJECT, "link": LINK,
    },
    "runs": {"store": TEXT, "runs": Each(RUN)},
    "runs show": {
        **RUN, "port": Maybe(TEXT), "store": TEXT, "recipe": TEXT, "rule_hash": TEXT, "versions": OBJECT, "plan_bytes": WHOLE,
        "result": Maybe(OBJECT), "checkpoint": Maybe(WHOLE), "metrics": OBJECT,
    },
    "runs export": {"format": TEXT, "files": Each({"path": TEXT, "bytes": WHOLE})},
    "report": {"file": TEXT, "bytes": WHOLE, "runs": Each(TEXT), "notes": Each(TEXT)},
    "serve": {"store": TEXT, "runs": Each(RUN)},
    "doctor": {"ok": FLAG, "checks": Each({"name": TEXT, "ok": FLAG, "detail": TEXT, "repair": TEXT, "needed": FLAG})},
    "pair": {"key": TEXT, "public": TEXT, "counter": WHOLE, "file": TEXT, "made": FLAG},
    "agent": {"board": TEXT, "listen": TEXT, "providers": Each(TEXT)},
    "sim": {"board": TEXT, "listen": TEXT},
    "bench": {"benches": OBJECT, "cases": Each(OBJECT)},
    "demo": {**RESULT, "accuracy_before": NUMBER, "backprop_accuracy": NUMBER, "backprop": OBJECT, "test_samples": WHOLE, "store": TEXT},
}  # fmt: skip
ERROR = {"code": WHOLE, "kind": TEXT, "message": TEXT, "hint": TEXT}


def wrong(value: object, schema: Any, at: str = "") -> list[str]:
    """Where ``value`` is not what the schema says."""
    if isinstance(schema, Maybe):
        return [] if value is None else wrong(value, schema.kind, at)
    if isinstance(schema, Each):
        if not isinstance(value, list):
            return [f"{at}: no list"]
        return [found for number, item in enumerate(value) for found in wrong(item, schema.kind, f"{at}[{number}]")]
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{at}: no object"]
        missing = [f"{at}.{key}: missing" for key in schema if key not in value]
        return missing + [
            found for key in schema if key in value for found in wrong(value[key], schema[key], f"{at}.{key}")
        ]
    right = isinstance(value, schema) and (schema is bool or not isinstance(value, bool))
    return [] if right else [f"{at}: {value!r:.40} is no {schema}"]
