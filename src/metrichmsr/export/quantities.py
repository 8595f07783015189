"""Numbers with one sigma as text: alike on the terminal, in pictures, report, viewer and app, to be found again."""

from __future__ import annotations

import math

from metrichmsr.export.schema import Number


def quantity(value: Number, sigma: Number, unit: str = "m", *, decimals: int = 2) -> str:
    """``1.67 ± 0.17 m``; a sigma that is unknown (None, NaN) or too small for the decimals is left out."""
    if value is None or not math.isfinite(value):
        return f"? {unit}"
    told = sigma is not None and math.isfinite(sigma) and sigma >= 0.5 * 10**-decimals
    around = f" ± {sigma:.{decimals}f}" if told else ""
    return f"{value:.{decimals}f}{around} {unit}"
