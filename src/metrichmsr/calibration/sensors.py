"""Sensor sizes of cameras that write a focal length but neither its 35 mm equivalent nor their sensor's resolution.

Sizes are the makers' stated ones, millimetres, longer side first. They belong to the whole sensor; makers round them
and some cameras leave out a margin, about one per cent. Models with several cameras in them (phones since about 2017)
are left out on purpose: the model does not tell which sensor it was, and they write the 35 mm equivalent anyway.
"""

from __future__ import annotations

import functools
import re

from metrichmsr.images.exif_tags import ExifTags

# Maker (first word of EXIF's Make), width, height, models as EXIF spells them without the maker.
_SENSORS_MM: tuple[tuple[str, float, float, str], ...] = (
    (
        "canon",
        36.0,
        24.0,
        """
        EOS-1Ds Mark II, EOS-1Ds Mark III, EOS-1D X, EOS-1D X Mark II, EOS 5D Mark II, EOS 5D Mark III, EOS 5D
        Mark IV, EOS 5DS, EOS 5DS R, EOS R, EOS R5
        """,
    ),
    ("canon", 35.9, 24.0, "EOS 6D Mark II, EOS RP, EOS R6"),
    ("canon", 35.8, 23.9, "EOS 5D, EOS 6D"),
    ("canon", 22.7, 15.1, "EOS 10D, EOS 300D DIGITAL, EOS DIGITAL REBEL, EOS Kiss Digital"),
    ("canon", 22.5, 15.0, "EOS 20D, EOS 30D, EOS 70D, EOS 7D Mark II"),
    (
        "canon",
        22.2,
        14.8,
        """
        EOS 350D DIGITAL, EOS DIGITAL REBEL XT, EOS Kiss Digital N, EOS 400D DIGITAL, EOS DIGITAL REBEL XTi, EOS
        Kiss Digital X, EOS 450D, EOS DIGITAL REBEL XSi, EOS Kiss X2, EOS 40D, EOS 1000D, EOS DIGITAL REBEL XS,
        EOS Kiss F, EOS 1100D, EOS REBEL T3, EOS Kiss X50
        """,
    ),
    (
        "canon",
        22.3,
        14.9,
        """
        EOS 500D, EOS REBEL T1i, EOS Kiss X3, EOS 550D, EOS REBEL T2i, EOS Kiss X4, EOS 600D, EOS REBEL T3i, EOS
        Kiss X5, EOS 650D, EOS REBEL T4i, EOS Kiss X6i, EOS 700D, EOS REBEL T5i, EOS Kiss X7i, EOS 750D, EOS
        Rebel T6i, EOS Kiss X8i, EOS 760D, EOS Rebel T6s, EOS 800D, EOS Rebel T7i, EOS 100D, EOS REBEL SL1, EOS
        200D, EOS Rebel SL2, EOS 1200D, EOS REBEL T5, EOS 1300D, EOS Rebel T6, EOS 50D, EOS 60D, EOS 7D, EOS
        77D, EOS 80D, EOS 90D, EOS M, EOS M3, EOS M50
        """,
    ),
    ("canon", 13.2, 8.8, "PowerShot G7 X, PowerShot G7 X Mark II, PowerShot G9 X, PowerShot G5 X"),
    ("canon", 7.44, 5.58, "PowerShot G10, PowerShot G11, PowerShot G12, PowerShot S90, PowerShot S95, PowerShot S100"),
    ("nikon", 36.0, 23.9, "D3, D3S, D4, D5, D700, Df"),
    ("nikon", 35.9, 24.0, "D600, D610, D750, D800, D800E, D810, D850, Z 6, Z 7"),
    ("nikon", 23.7, 15.6, "D40, D50, D70, D70s, D100"),
    ("nikon", 23.6, 15.8, "D40X, D60, D80, D90, D200, D300, D300S, D3000, D5000"),
    ("nikon", 23.6, 15.6, "D5100, D7000"),
    ("nikon", 23.5, 15.6, "D3300, D3400, D3500, D5200, D5300, D5500, D5600, D7100, D7200, D500, D7500"),
    ("nikon", 13.2, 8.8, "1 J1, 1 V1"),
    ("nikon", 7.44, 5.58, "COOLPIX P6000"),
    ("sony", 35.9, 24.0, "ILCE-7R, ILCE-7RM2, ILCE-7RM3"),
    ("sony", 35.8, 23.9, "ILCE-7, ILCE-7M2, DSC-RX1, DSC-RX1R"),
    ("sony", 35.6, 23.8, "ILCE-7S, ILCE-7SM2, ILCE-7M3"),
    ("sony", 23.6, 15.8, "DSLR-A100"),
    ("sony", 23.5, 15.6, "ILCE-5100, ILCE-6000, ILCE-6300, ILCE-6400, ILCE-6500, NEX-6, NEX-7"),
    (
        "sony",
        13.2,
        8.8,
        """
        DSC-RX100, DSC-RX100M2, DSC-RX100M3, DSC-RX100M4, DSC-RX100M5, DSC-RX10, DSC-RX10M2, DSC-RX10M3
        """,
    ),
    ("fujifilm", 23.6, 15.6, "FinePix X100, X100S, X100T, X100F, X-T1, X-T2, X-T10, X-T20, X-E1, X-E2, X-Pro1, X-Pro2"),
    ("fujifilm", 23.5, 15.6, "X-T3, X-T30"),
    ("pentax", 23.6, 15.8, "K-x, K-r"),
    ("ricoh", 23.5, 15.6, "K-3"),
    ("ricoh", 35.9, 24.0, "K-1"),
    ("olympus", 17.3, 13.0, "E-M1, E-M5, E-M5MarkII, E-M10, E-M10MarkII, E-P1, E-P2, E-P3, E-PL1, E-PL2, E-PL3, E-PL5"),
    (
        "panasonic",
        17.3,
        13.0,
        """
        DMC-G3, DMC-G5, DMC-G6, DMC-G7, DMC-GF1, DMC-GF2, DMC-GF3, DMC-GX1, DMC-GX7, DMC-GX8, DMC-GH3, DMC-GH4,
        DC-GH5, DC-G9
        """,
    ),
    ("leica", 35.8, 23.9, "M9 Digital Camera"),
    ("leica", 36.0, 24.0, "M (Typ 240)"),
    ("apple", 4.54, 3.42, "iPhone 4, iPhone 4S"),
    ("apple", 4.89, 3.67, "iPhone 5s, iPhone 6, iPhone 6 Plus"),
    ("lge", 6.25, 4.69, "Nexus 5X"),
    ("huawei", 6.25, 4.69, "Nexus 6P"),
)


def sensor_size_mm(tags: ExifTags) -> tuple[float, float] | None:
    """(longer side, shorter side) of the camera's sensor in millimetres; None where the model is not in the table."""
    maker = tags.make.casefold().split()
    return _by_camera().get((maker[0], _plain(tags.model, maker[0]))) if maker else None


@functools.lru_cache(maxsize=1)
def _by_camera() -> dict[tuple[str, str], tuple[float, float]]:
    return {
        (maker, _plain(model, maker)): (width, height)
        for maker, width, height, models in _SENSORS_MM
        for model in models.split(",")
    }


def _plain(model: str, maker: str) -> str:
    """Spelling without maker, case, blanks and dashes: ``NIKON D90`` and ``D90`` are the same."""
    name = model.casefold().strip()
    for brand in (maker, "pentax"):  # Ricoh's cameras are called Pentax
        name = name.removeprefix(brand)
    return re.sub(r"[\s_-]+", "", name)
