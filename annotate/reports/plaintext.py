"""report.txt: the numbers of a report for a terminal; columns.py is the shape of its lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from annotate.errors import first_few, printable
from annotate.reports.columns import (
    NAME_WIDTH,
    bar,
    fixed_width,
    more,
    percent,
    section,
    shorten,
    whole_percent,
    wrapped,
)
from annotate.reports.strangers import strangers_section

SKIPPED = LISTED = 20  # skipped files and given images that fit on a screen; report.json has all
CERTAINTY = "certainty is how sure the model itself is in each pass; it is not yet the confidence above"
HEADLINE_SHARE = 0.8  # of the images, kept by confidence: the headline of the report is about these
TABLE_SHARES = (1.0, 0.9, 0.8, 0.5)  # of the images, kept by confidence: one row of the table each
NEARLY_WHOLE = 1e-9  # percent; 100 times a share is off by less, and 95.0000000001 is to be shown as 95


def text_report(summary: dict[str, Any]) -> str:
    """The whole report as text.

    summary  as annotate.reports.summary makes it
    """
    parts = [
        headline(summary),
        warnings_section(summary),
        truth_section(summary),
        given_section(summary),
        coverage_section(summary),
    ]
    parts += [
        classes_section(summary),
        strangers_section(summary),
        confidence_section(summary),
        convergence_section(summary),
        skipped_section(summary),
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts if part)


def headline(summary: dict[str, Any]) -> list[str]:
    rows = [
        ("images", f"{summary['images']:,}"),
        ("classes", f"{summary['classes']:,}"),
        ("method", f"{summary['method']}, {confidence_source(summary)}"),
        ("model", f"{printable(summary['model'])}, prompts {summary['prompts']}"),
        ("confidence", unless_all_given(summary, f"{percent(summary['confidence']['mean'])} on average")),
    ]
    if summary["given"]:
        count = summary["given"]["images"]
        rows.append(("given", f"the class of {count:,} image{'s' * (count != 1)}, listed below"))
    if summary["strangers"] and summary["strangers"]["images"]:
        rows.append(("strangers", f"{summary['strangers']['images']:,} fit none of the names, shown below"))
    if summary["skipped"]:
        rows.append(("skipped", f"{len(summary['skipped']):,}, listed below"))
    if summary["truth"]:
        scores = summary["truth"]
        rows.append(("accuracy", accuracy(scores)))
    if summary["folder"]:
        rows.insert(0, ("folder", printable(summary["folder"])))
    return ["annotate report", "", *(f"  {name:<12}{value}" for name, value in rows)]


def unless_all_given(summary: Mapping[str, Any], said: str) -> str:
    """A sentence about confidences, or why there is none."""
    return said if summary["counted"] else "not measured: the class of every image was given"


def accuracy(scores: Mapping[str, Any]) -> str:
    """Accuracy in one line, or why there is none."""
    if not scores["images"]:
        return "not measured: the class of every image whose true class is known was given"
    others = " and was not given" if scores["left_out"]["given"] else ""
    return f"{percent(scores['accuracy'])} of {scores['images']:,} images whose true class is known{others}"


def confidence_source(summary: Mapping[str, Any]) -> str:
    """Where confidence comes from: the evidence for each image, or one temperature for all."""
    if summary["confidence_is_estimate"]:
        return "confidence from the evidence for each image"
    return f"temperature {summary['temperature']:.4g}"


def warnings_section(summary: dict[str, Any]) -> list[str]:
    if not summary["warnings"]:
        return []
    lines = section("Warnings")
    for note in summary["warnings"]:
        lines += wrapped(f"! {printable(note['message'])}", indent=4)
        if note["hint"]:
            lines += [f"  {line}" for line in wrapped(printable(note["hint"]), indent=2)]
    return lines


def classes_section(summary: dict[str, Any]) -> list[str]:
    counts: dict[str, int] = summary["class_distribution"]
    total, largest = summary["images"], max(counts.values())
    lines = section("Classes", " images   share  median confidence")
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        median = percent(summary["confidence_per_class"][name]["median"])
        numbers = f"{count:>9,} {percent(count / total):>7} {median:>7}"
        lines.append(f"  {fixed_width(name, NAME_WIDTH)} {numbers}  {bar(count, largest, 24)}".rstrip())
    return lines


def confidence_section(summary: dict[str, Any]) -> list[str]:
    if not summary["counted"]:
        return []
    found = summary["confidence"]
    rows = [
        ("mean", found["mean"]),
        ("median", found["median"]),
        ("10th percentile", found["p10"]),
        ("least", found["min"]),
        ("images at 90 % or more", found["share_at_least_0.9"]),
        ("images below 50 %", found["share_below_0.5"]),
    ]
    lines = section("Confidence") + [f"  {name:<{NAME_WIDTH}} {percent(value):>8}" for name, value in rows] + [""]
    histogram = pairs_of_bins(found["histogram"])
    for tenth, count in enumerate(histogram):
        span = f"{10 * tenth} to {10 * tenth + 10} %"
        lines.append(f"  {span:<{NAME_WIDTH}} {count:>8,}  {bar(count, max(histogram), 40)}".rstrip())
    return lines


def coverage_section(summary: dict[str, Any]) -> list[str]:
    if not summary["counted"]:
        return []
    true = has_scores(summary)
    lines = [*section("Coverage"), *wrapped(promise(summary), indent=2), ""]
    lines.append("   kept     images   least confidence   expected         between" + "     right" * true)
    for row in coverage_table(summary):
        span = (
            f"{whole_percent(row['images'] / summary['counted'])} {row['images']:>10,} {percent(row['confidence']):>18}"
        )
        between = f"{100 * row['low']:.1f} to {percent(row['high'])}"
        right = f"{percent(row['accuracy']):>10}" if true else ""
        lines.append(f"  {span:>36} {percent(row['expected']):>10} {between:>15}{right}")
    return lines


def has_scores(summary: Mapping[str, Any]) -> bool:
    """Whether there are images by which labels can be judged."""
    return bool(summary["truth"] and summary["truth"]["images"])


def coverage_table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of coverage; shares that keep the same images share a row."""
    return list({row["images"]: row for row in summary["coverage"] if row["share"] in TABLE_SHARES}.values())


def promise(summary: Mapping[str, Any]) -> str:
    """What to expect of the most certain images, in one sentence."""
    row = headline_share(summary)
    if row is None:
        return unless_all_given(summary, "")
    sure = "" if summary["confidence_is_estimate"] else "if confidences hold, "
    sentence = f"{sure}keep {most_certain(summary)} and expect {about(row['expected'])} right ({bounds(row)})"
    return sentence if row["accuracy"] is None else f"{sentence}; in truth {percent(row['accuracy'])} are"


def headline_share(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row of the coverage that the headline is about."""
    return next((row for row in summary["coverage"] if row["share"] == HEADLINE_SHARE), None)


def most_certain(summary: Mapping[str, Any]) -> str:
    """Which images the headline is about. Where images are few, or equally sure, it may be all of them."""
    row = headline_share(summary)
    share = row["images"] / summary["counted"] if row else 1
    return "all images" if share == 1 else f"the {whole_percent(share)} most certain"


def about(share: float) -> str:
    """A whole percentage; 99.6 % is "over 99 %", since 100 % would promise too much."""
    return "over 99 %" if 0.995 <= share < 1 else whole_percent(share)


def bounds(row: Mapping[str, Any]) -> str:
    """The bounds of an expected accuracy, as whole percentages, outward."""
    return f"{math.floor(100 * row['low'] + NEARLY_WHOLE)} to {math.ceil(100 * row['high'] - NEARLY_WHOLE)}"


def pairs_of_bins(histogram: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(histogram[::2], histogram[1::2], strict=True)]


def convergence_section(summary: dict[str, Any]) -> list[str]:
    if len(summary["history"]) < 2:
        return []
    lines = [*section("Convergence"), *wrapped(CERTAINTY, indent=2), ""]
    lines.append("  pass    certainty   active classes   text weight          moved")
    for row in summary["history"]:
        weight = "" if row["text_weight"] is None else f"{row['text_weight']:.3f}"
        moved = f"{row['moved']:,} ({row['moved_percent']:.1f} %)" if row["iteration"] else ""
        lines.append(
            f"  {row['iteration']:>4}   {percent(row['mean_confidence']):>10}   {row['active_classes']:>14,}   "
            f"{weight:>11}   {moved:>12}".rstrip()
        )
    return lines


def skipped_section(summary: dict[str, Any]) -> list[str]:
    files = summary["skipped"]
    if not files:
        return []
    lines = section(f"Skipped: {len(files):,} file{'s' * (len(files) != 1)}")
    for row in files[:SKIPPED]:
        lines += [f"  {printable(row['path'])}", f"      {printable(row['reason'])}"]
    return lines + more(len(files) - SKIPPED, "report.json lists them all")


def truth_section(summary: dict[str, Any]) -> list[str]:
    scores = summary["truth"]
    if not scores:
        return []
    if not scores["images"]:
        lines = [*section("Against the truth"), *wrapped(accuracy(scores), indent=2)]
        return lines + [line for sentence in left_out(scores) for line in wrapped(sentence, indent=2)]
    lines = [
        *section("Against the truth"),
        f"  accuracy          {percent(scores['accuracy']):>8}   {scores['images']:,} images",
        f"  mean confidence   {percent(scores['mean_confidence']):>8}",
        f"  calibration error {percent(scores['ece']):>8}   mean gap between confidence and accuracy",
    ]
    lines += wrapped(f"truth from {scores['source']}", indent=4)
    lines += [line for sentence in left_out(scores) for line in wrapped(sentence, indent=2)]
    lines += ["", f"  {'class':<{NAME_WIDTH}}    truth  labelled  precision   recall"]
    for name, row in scores["per_class"].items():
        rates = f"{percent(row['precision']):>9}  {percent(row['recall']):>7}"
        lines.append(f"  {fixed_width(name, NAME_WIDTH)} {row['images']:>8,}  {row['labelled']:>8,}  {rates}")
    if scores["most_confused"]:
        lines += ["", "  most often confused"]
        for pair in scores["most_confused"][:10]:
            labelled = shorten(pair["label"], NAME_WIDTH)
            lines.append(f"  {pair['images']:>6,}  {fixed_width(pair['truth'], NAME_WIDTH)} labelled {labelled}")
    return lines


def left_out(scores: dict[str, Any]) -> list[str]:
    """Sentences on the images that accuracy does not count, and on what the truth says twice."""
    found, sentences = scores["left_out"], []
    if found["given"]:
        sentences.append(f"not counted: {found['given']:,} images whose class was given to refine")
    if found["outside_the_classes"]:
        names = [f"'{printable(name)}'" for name in found["outside_names"]]
        outside = f"{found['outside_the_classes']:,} images whose true class is none of the classes"
        sentences.append(f"not counted: {outside} ({first_few(names)})")
    if found["unknown"]:
        sentences.append(f"not counted: {found['unknown']:,} images whose true class is not known")
    if found["unused_entries"]:
        sentences.append(f"not used: {found['unused_entries']:,} entries of the truth that name none of the images")
    if found["disputed"]:
        sentences.append(f"two true classes, of which the later counts: {found['disputed']:,} images that have a copy")
    return sentences


def given_section(summary: dict[str, Any]) -> list[str]:
    found = summary["given"]
    if not found:
        return []
    lines = [
        *section(f"Given: {found['images']:,} image{'s' * (found['images'] != 1)}"),
        *wrapped(about_given(summary), indent=2),
    ]
    for row in found["list"][:LISTED]:
        lines += [f"  {printable(row['path'])}", f"      {given_as(row)}"]
    return lines + more(len(found["list"]) - LISTED, "report.json lists them all")


def about_given(summary: Mapping[str, Any]) -> str:
    """That given classes count in no figure of a report, and how many of them annotate would not have guessed."""
    found = summary["given"]
    counts = "these images count in no figure of this report, because their class was given"
    if not found["otherwise"]:
        return f"{counts}. Without these answers, annotate would give the same labels"
    return (
        f"{counts}. Without these answers, annotate would label {found['otherwise']:,} otherwise: look at these again"
    )


def given_as(row: Mapping[str, Any]) -> str:
    """The class that was given, and what the image would be called without that."""
    alone = f"{percent(row['confidence_without_answer'])} sure"
    if row["class"] == row["label_without_answer"]:
        return f"{shorten(row['class'], NAME_WIDTH)}; annotate agrees, {alone}"
    without = shorten(row["label_without_answer"], NAME_WIDTH)
    return f"{shorten(row['class'], NAME_WIDTH)}; annotate would say {without}, {alone}"
