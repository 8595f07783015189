"""The verb ``report``: the page of results that are there already, and as PDF."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metrichmsr.errors import MetricHMSRError, UsageError


@dataclass(frozen=True)
class ReportArgs:
    """Write report.html into result folders: photo, people, depth, camera and warnings on one page that needs no net.

    Exit status: 0 all done; 1 some folders failed (named on stderr); 2 the run could not start.
    """

    folders: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RESULT_DIR…", help_behavior_hint="(one or more)"),
    ]
    """Folders that recover wrote: of one image, or its whole OUT with a folder for each."""
    pdf: bool = False
    """Write report.pdf too, by an installed Chromium, Chrome or Edge."""
    browser: Path | None = None
    """Which browser prints, where it is not found by itself."""
    debug: bool = False
    """Show where in the program an error arose."""


def report_results(args: ReportArgs) -> int:
    """Do what the command line asks for; returns the exit status.

    Raises:
        MetricHMSRError: The run cannot start; nothing was written.
    """
    if not args.folders:
        raise UsageError("no folder: give result folders, as in: metrichmsr report out/photo")
    from metrichmsr.export.find_results import find_result_folders
    from metrichmsr.export.report_folder import report_on_folder
    from metrichmsr.export.report_pdf import find_browser, print_pdf

    browser = find_browser(args.browser) if args.pdf else None
    failed = False
    for given in args.folders:
        try:
            folders = find_result_folders(given)
        except MetricHMSRError as error:
            failed = _told(str(error), debug=args.debug)
            continue
        for folder in folders:
            try:
                written = [report_on_folder(folder)]
                if browser is not None:
                    written.append(folder / "report.pdf")
                    print_pdf(written[0], written[1], browser)
            except MetricHMSRError as error:
                failed = _told(str(error), debug=args.debug)
            except OSError as error:
                failed = _told(f"{folder}: {error.strerror or error}", debug=args.debug)
            else:
                sys.stdout.write("".join(f"{path}\n" for path in written))
    return int(failed)


def _told(message: str, *, debug: bool) -> bool:
    if debug:
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"metrichmsr: error: {' '.join(message.split())}\n")
    return True
