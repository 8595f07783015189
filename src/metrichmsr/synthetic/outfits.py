"""Who wears what: skins, hair, garments and carried things by age and sex, in colours that mean nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrichmsr.synthetic.body_regions import (
    FEET,
    FOREARMS,
    NAPE,
    PELVIS,
    REGIONS,
    SCALP,
    SHINS,
    THIGHS,
    TORSO,
    UPPER_ARMS,
)

_KINDS: Mapping[str, tuple[str, ...]] = {
    "suit_f": ("female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01"),
    "suit_m": (
        "male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit04", "male_casualsuit05",
        "male_casualsuit06", "male_elegantsuit01", "male_worksuit01",
    ),
    "dress": (
        "F_Beach_Dress_01", "F_Dress_01", "F_Dress_02", "F_Dress_04", "TubeDress", "Asymmetric_Tunic_and_Sash",
    ),
    "top": (
        "Sleeveless", "TubeTop", "VNeckTop", "female_top_01", "short_tail_camo_tee", "spaghetti-top", "Tank_Top_01",
    ),
    "bottom": ("JeansSkirt", "ShortJeans", "Tightjeans", "miniskirt"),
    "swim": ("F_Bikini_01", "F_One-piece_Swimsuit_01"),
    "bra": ("BrazBikiniBra", "bandbikinibra"),
    "slip": ("BrazBikiniSlip", "bandbikinislip", "female_panties_01"),
    "coat": ("Coat",),
    "shoes": ("WinterBoots", "shoes01", "shoes02", "shoes03", "shoes04", "shoes05", "shoes06"),
    "hat": ("Fishing_Hat_01", "fedora", "fedora_cocked", "pith_helmet"),
    "glasses": ("glasses",),
    "hair_f": ("Braid01", "bob01", "bob02", "long01", "ponytail01", "short03"),
    "hair_m": ("afro01", "short01", "short02", "short04"),
    "brow": tuple(f"eyebrow{i:03d}" for i in range(1, 13)),
    "eyes": ("Low-Poly",),
}  # fmt: skip
_ADULT = 18.0
"""Age from which people are shown in little."""
_THICK = ("male_casualsuit05",)
"""Jackets that go under no coat."""
_SKIRTS = ("JeansSkirt", "miniskirt", "female_elegantsuit01")
LEFT_OUT = ("Eyebrows_01", "HighPolyEyes", "F_Dress_03", "armsleeve_white_s")
"""Too heavy for what they show, or too wide a skirt to hang on legs."""

_SKIN_TONES = np.array(
    [
        [0.86, 0.68, 0.58],
        [0.78, 0.58, 0.46],
        [0.66, 0.46, 0.34],
        [0.50, 0.32, 0.22],
        [0.34, 0.21, 0.14],
        [0.22, 0.13, 0.09],
    ]
)
_HAIR_COLOURS = np.array(
    [
        [0.02, 0.018, 0.016],
        [0.06, 0.035, 0.02],
        [0.16, 0.09, 0.045],
        [0.38, 0.26, 0.12],
        [0.22, 0.07, 0.03],
        [0.5, 0.48, 0.46],
    ]
)


@dataclass(frozen=True)
class WardrobeSettings:
    """How people are dressed."""

    plain: float = 0.25
    """Share dressed in plain painted-on clothes although there are garments."""
    recoloured: float = 0.75
    """Share of garments whose colours are drawn; the rest keeps its texture's."""
    patterned: float = 0.35
    """Share of recoloured garments with a pattern."""
    shiny: float = 0.12
    carried: float = 0.18
    """Share of people with something in the hand or on the back."""
    hat: float = 0.10
    glasses: float = 0.15
    coat: float = 0.12
    barefoot: float = 0.10
    little: float = 0.08
    """Share of adults in swimwear or with a bare trunk."""
    body_suit: float = 0.02
    """Share with a painted body suit for a skin."""
    bald: float = 0.08


@dataclass(frozen=True)
class Item:
    """One proxy that somebody wears, and how it looks."""

    name: str
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gray: float = 0.0
    patterned: bool = False
    pattern: float = 0.0
    """Which pattern, from 0 to 1 of all there are."""
    scale: float = 1.0
    loose: float = 1.0
    shininess: float = 0.0
    texture: float = 0.0
    """Which variant of its texture, from 0 to 1."""


@dataclass
class Outfit:
    """All that one person shows."""

    skin: str = ""
    """Name of the skin texture; empty for a procedural one."""
    skin_tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    items: list[Item] = field(default_factory=list)
    region_tint: np.ndarray = field(default_factory=lambda: np.full((REGIONS, 3), np.nan))
    """Colour of each painted region; NaN where skin shows."""
    region_pattern: np.ndarray = field(default_factory=lambda: np.full((REGIONS, 2), -1.0))
    """Pattern (0 to 1; −1 for none) and its scale."""
    puff_m: np.ndarray = field(default_factory=lambda: np.zeros(REGIONS))
    """How far each region stands off the skin."""

    @property
    def names(self) -> tuple[str, ...]:
        """Skin and items."""
        painted = ("painted clothes",) if np.isfinite(self.region_tint[:SCALP]).any() else ()
        return (self.skin or "painted skin", *painted, *(item.name for item in self.items))


class Catalogue:
    """What there is to wear in one split.

    Args:
        worn: names of usable garments, hair and faces by kind (see :func:`kinds_of`).
        skins: names of skin textures by (age, sex).
        carried: names of carried things.
        settings: how people are dressed.
    """

    def __init__(
        self,
        worn: Mapping[str, Sequence[str]],
        skins: Mapping[tuple[str, str], Sequence[str]],
        carried: Sequence[str],
        settings: WardrobeSettings,
    ) -> None:
        self.worn = worn
        self.skins = skins
        self.carried = carried
        self.settings = settings

    def draw(
        self, years: float, female: float, u: np.random.Generator, *, coats: bool = True, skirts: bool = True
    ) -> Outfit:
        """Dress somebody.

        Args:
            years: age.
            female: Anny's gender, 0 man to 1 woman.
            u: a generator of one's own.
            coats: whether a coat will do, which hangs well only on those who stand.
            skirts: whether skirts and dresses will do, which do not either where thighs are spread or bent.
        """
        settings, outfit = self.settings, Outfit()
        woman = bool(u.random() < female) if 0.15 < female < 0.85 else female > 0.5
        self._skin(outfit, years, woman, u)
        garments = bool(self.worn.get("suit_m")) and u.random() >= settings.plain
        hat = garments and years > 2 and self.worn.get("hat") and u.random() < settings.hat
        self._hair(outfit, years, woman, bool(hat), u)
        if garments and years >= 1:
            self._garments(outfit, years, woman, u, coats=coats, skirts=skirts)
        else:
            self._paint(outfit, years, u)
        if hat:
            self._add(outfit, "hat", u)
        if years > 5 and u.random() < settings.glasses:
            self._add(outfit, "glasses", u, loose=(1.0, 1.0))
        if self.carried and years > 3 and u.random() < settings.carried:
            name = self.carried[int(u.integers(len(self.carried)))]
            outfit.items.append(Item(name, tint=_cloth(u), loose=float(u.uniform(0.95, 1.0)), **_look(settings, u)))
        return outfit

    def _skin(self, outfit: Outfit, years: float, woman: bool, u: np.random.Generator) -> None:
        age = "old" if years > 60 else "middleage" if years > 40 else "young"
        choices = self.skins.get((age, "female" if woman else "male"), ())
        suits = [name for name in choices if "special_suit" in name]
        plain = [name for name in choices if "special_suit" not in name]
        if suits and u.random() < self.settings.body_suit:
            plain = suits
        if plain and u.random() < 0.92:
            outfit.skin = plain[int(u.integers(len(plain)))]
            shade = u.uniform(0.75, 1.15)
            outfit.skin_tint = _triple(shade * u.normal(1, 0.03, 3))
        else:
            i, t = u.integers(len(_SKIN_TONES) - 1), u.random()
            tone = (1 - t) * _SKIN_TONES[i] + t * _SKIN_TONES[i + 1]
            outfit.skin_tint = _triple(tone**2.2 * u.normal(1, 0.03, 3))

    def _hair(self, outfit: Outfit, years: float, woman: bool, hat: bool, u: np.random.Generator) -> None:
        colour = _HAIR_COLOURS[5] if years > 55 and u.random() < 0.75 else _HAIR_COLOURS[int(u.integers(5))]
        colour = colour * u.uniform(0.6, 1.5)
        tint = _triple(colour)
        self._add(outfit, "brow", u, look={"tint": _triple(colour * 1.2 + 0.01), "gray": 1.0}, loose=(1.0, 1.0))
        self._add(outfit, "eyes", u, look={}, loose=(1.0, 1.0))
        bald = not woman and years > 25 and u.random() < self.settings.bald * (1 + (years > 45) * 2)
        if bald or years < 0.7 or hat:
            return
        unusual = u.random() < 0.08
        kind = "hair_f" if woman != unusual else "hair_m"
        if self.worn.get(kind) and u.random() < 0.85:
            # Textures of hair are dark; what is drawn is how bright it is in the mean.
            self._add(outfit, kind, u, look={"tint": tint, "gray": 1.0}, loose=(0.95, 1.15))
            return
        regions = [SCALP] + ([NAPE] if woman or u.random() < 0.3 else [])
        for region in regions:
            outfit.region_tint[region] = tint
            outfit.puff_m[region] = u.uniform(0.004, 0.02 if region == SCALP else 0.012)

    def _garments(
        self, outfit: Outfit, years: float, woman: bool, u: np.random.Generator, *, coats: bool, skirts: bool
    ) -> None:
        settings, draw = self.settings, u.random()
        little = years >= _ADULT and u.random() < settings.little
        without = () if skirts else _SKIRTS
        if woman and little:
            if draw < 0.5 and self.worn.get("swim"):
                self._add(outfit, "swim", u)
            else:
                self._add(outfit, "bra", u)
                self._add(outfit, "slip", u)
        elif woman and skirts and draw < 0.25 and self.worn.get("dress"):
            self._add(outfit, "dress", u)
        elif woman and draw < 0.62 and self.worn.get("top") and self.worn.get("bottom"):
            self._add(outfit, "bottom", u, loose=(0.9, 1.2), without=without)
            self._add(outfit, "top", u, loose=(1.0, 1.6))
        elif not woman and little:
            colour = _cloth(u)
            for region in (PELVIS, THIGHS) if u.random() < 0.7 else (PELVIS,):
                outfit.region_tint[region] = colour
                outfit.puff_m[region] = u.uniform(0.004, 0.015)
        else:
            self._add(outfit, "suit_f" if woman else "suit_m", u, without=without)
        coats = coats and not any(item.name in _THICK for item in outfit.items)
        if coats and not little and years > 12 and self.worn.get("coat") and u.random() < settings.coat:
            self._add(outfit, "coat", u, loose=(1.0, 1.3))
        if u.random() >= settings.barefoot * (4 if little else 1):
            self._add(outfit, "shoes", u, loose=(1.0, 1.1))

    def _paint(self, outfit: Outfit, years: float, u: np.random.Generator) -> None:
        """Plain clothes on the skin's own regions."""
        one, other = _cloth(u), _cloth(u)
        if u.random() < 0.15 or (years < 3 and u.random() < 0.6):
            other = one
        upper = (
            [TORSO] + ([UPPER_ARMS] if u.random() < 0.85 else []) + ([UPPER_ARMS, FOREARMS] if u.random() < 0.5 else [])
        )
        short = years >= _ADULT and u.random() >= 0.92
        lower = [PELVIS] + ([] if short else [THIGHS]) + ([THIGHS, SHINS] if u.random() < 0.7 else [])
        for regions, colour in ((upper, one), (lower, other)):
            pattern = (u.random(), u.uniform(2, 14)) if u.random() < self.settings.patterned else (-1.0, 1.0)
            puff = u.uniform(0.003, 0.03)
            for region in set(regions):
                outfit.region_tint[region] = colour
                outfit.region_pattern[region] = pattern
                outfit.puff_m[region] = puff
        if u.random() >= self.settings.barefoot:
            outfit.region_tint[FEET] = _cloth(u)
            outfit.puff_m[FEET] = u.uniform(0.004, 0.014)

    def _add(
        self,
        outfit: Outfit,
        kind: str,
        u: np.random.Generator,
        *,
        look: Mapping[str, object] | None = None,
        loose: tuple[float, float] = (1.0, 1.5),
        without: Sequence[str] = (),
    ) -> None:
        names = [name for name in self.worn.get(kind, ()) if name not in without] or self.worn.get(kind, ())
        if not names:
            return
        name = names[int(u.integers(len(names)))]
        values = dict(_look(self.settings, u)) if look is None else dict(look)
        if look is None and u.random() < self.settings.recoloured:
            values |= {"tint": _cloth(u), "gray": 1.0}
            values["patterned"] = bool(u.random() < self.settings.patterned)
        factor = (
            float(np.clip(u.normal(loose[0], (loose[1] - loose[0]) / 1.5), 0.9, 2.0)) if loose[1] > loose[0] else 1.0
        )
        outfit.items.append(Item(name, loose=max(factor, 1.0), texture=float(u.random()), **values))  # pyright: ignore[reportArgumentType]


def worn_names() -> frozenset[str]:
    """All garments, hair and faces that outfits are made of."""
    return frozenset(name for names in _KINDS.values() for name in names)


def kinds_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Which of these garments, hair and faces are of which kind; those not known are left out."""
    there = set(names)
    return {kind: [name for name in members if name in there] for kind, members in _KINDS.items()}


def _look(settings: WardrobeSettings, u: np.random.Generator) -> dict[str, Any]:
    return {
        "pattern": float(u.random()),
        "scale": float(np.exp(u.uniform(np.log(1.5), np.log(16)))),
        "shininess": float(u.uniform(0.3, 1)) if u.random() < settings.shiny else 0.0,
    }


def _cloth(u: np.random.Generator) -> tuple[float, float, float]:
    """Linear albedo of cloth: mostly muted, some vivid, from near black to white."""
    value, saturation = u.uniform(0.03, 0.8), u.random() ** 1.5 * 0.95
    hue = u.uniform(0, 6)
    full = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return _triple(value * (1 - saturation + saturation * full))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    a, b, c = np.clip(values, 0, 2)
    return float(a), float(b), float(c)
