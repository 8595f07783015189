"""The card of a set of shards: what it is, how to make it again, and whose work is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metrichmsr.datasets.shards import ShardIndex

CARD = "README.md"

_FORMAT = """\
| file of a sample | content |
| --- | --- |
| `jpg` or `png` | picture, sRGB |
| `depth.png` | z-depth in millimetres, 16 bits; 0 where nothing modelled is seen or beyond 65.5 m |
| `person.png` | row of the person seen, 8 bits; 255 for nobody |
| `ground.png` | where the floor is seen, 1 bit |
| `normals.png` | (where stored) unit normals in the camera frame · 127 + 128 as RGB; 128 for none |
| `npz` | people and cameras: poses, shapes, joints, keypoints, visibility, heights, boxes, K |
| `json` | surroundings, settings of the picture, what each person stands on, wears, and where the pose comes from |

Camera frame: x right, y down, z forward, metres; continuous pixels with the origin at the outer corner of the top-left
pixel. Read it with `metrichmsr.synthetic.shot_files.read_shots(folder)`, or with the `webdataset` library.
"""


def dataset_card(
    index: ShardIndex,
    summary: Mapping[str, Any],
    attributions: Sequence[str],
    problems: Sequence[str] = (),
) -> str:
    """The card as Markdown.

    Args:
        index: of the finished set; its settings are listed.
        summary: of :meth:`metrichmsr.synthetic.statistics.SetStatistics.summary`.
        attributions: a line for each asset in the set: name, author, licence.
        problems: assets that could not be used, a line each.
    """
    settings = dict(index.settings)
    drawn = settings.pop("generator", {})
    title = settings.get("benchmark") or f"SynFocal {settings.get('kind', 'shots')}, {settings.get('split', '')}"
    size = sum(shard.bytes for shard in index.shards)
    shards = "1 shard" if len(index.shards) == 1 else f"{len(index.shards)} shards"
    lines = [
        f"# {title}",
        "",
        "Synthetic people with exact metric truth, made by MetricHMSR's generator. Nobody in these pictures exists.",
        "",
        f"{index.samples} pictures with {summary['people_seen']} people in {shards}, "
        f"{size / 1e6:.0f} MB. {_plans(index)}",
        "",
        "## How it was made",
        "",
        *_bullets(settings),
    ]
    if drawn:
        lines += ["", "Settings of the generator:", "", *_bullets(drawn)]
    if problems:
        lines += ["", "Assets that could not be used:", "", *(f"- {problem}" for problem in problems)]
    lines += ["", "## What a sample holds", "", _FORMAT, "## Distribution", "", *distribution(summary), ""]
    lines += ["![histograms](statistics.png)", "", "## Licences", ""]
    if attributions:
        lines += ["Whoever passes these pictures on, or a network trained on them, names:", ""]
        lines += [f"- {line}" for line in grouped(attributions)]
    else:
        lines.append("Bodies and procedural appearance of the metrichmsr package only: Apache-2.0.")
    return "\n".join(lines) + "\n"


def grouped(attributions: Sequence[str]) -> list[str]:
    """Attributions (``kind/name, author: licence``) with a line for each author and licence of a kind of asset.

    Variants that differ by a digit at the end (``bridge_0`` … ``bridge_8``) are named once.
    """
    groups: dict[tuple[str, ...], set[str]] = {}
    for line in attributions:
        asset, *whose = re.split(r", |: ", line, maxsplit=1)
        kind, slash, name = asset.rpartition("/")
        groups.setdefault((kind + slash, *whose), set()).add(re.sub(r"_\d$", "", name))
    return [
        f"{kind}{', '.join(sorted(names))}" + "".join(f" ({text})" for text in whose)
        for (kind, *whose), names in sorted(groups.items())
    ]


def _plans(index: ShardIndex) -> str:
    if not index.shards:
        return "No shard is finished."
    return f"First shard: {index.shards[0].plan}, last: {index.shards[-1].plan}; checksums: `index.json`."


def _bullets(settings: Mapping[str, Any]) -> list[str]:
    return [f"- {name}: {_text(value)}" for name, value in settings.items() if name != "benchmark"]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def distribution(summary: Mapping[str, Any]) -> list[str]:
    """The statistics of a set as lines of Markdown."""
    lines = ["| | 5 % | median | 95 % | mean |", "| --- | ---: | ---: | ---: | ---: |"]
    for quantity in summary["quantities"].values():
        if quantity["n"]:
            cells = [*(quantity["percentiles"][key] for key in ("5", "50", "95")), quantity["mean"]]
            lines.append(f"| {quantity['title']} | " + " | ".join(f"{cell:.3g}" for cell in cells) + " |")
    for name, counts in summary["categories"].items():
        total = max(1, sum(counts.values()))
        shown = ", ".join(f"{key} {100 * count / total:.1f} %" for key, count in list(counts.items())[:8])
        lines += ["", f"{name.replace('_', ' ').capitalize()} ({len(counts)}): {shown}."]
    return lines
