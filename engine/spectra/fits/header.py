"""What a LAMOST header says about a spectrum, in plain Python values.

Owns the keywords and their missing values. Knows nothing of pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BANDS = ("u", "g", "r", "i", "z")
MISSING = (9999.0, 99999.0)  # either sign: how the pipeline writes "not measured"
_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0+)?")


@dataclass(frozen=True)
class Facts:
    """The header's own words; None where it says nothing.

    `z` is the redshift (dimensionless), `ra` and `dec` in degrees, `helio_rv` in km/s, `snr` per band and
    pixel. `class_from` and `obsid_from` name the keyword, or 'file name', that the value came from.
    """

    obsid: str
    obsid_from: str
    kind: str | None
    class_from: str | None
    subclass: str | None
    z: float | None
    ra: float | None
    dec: float | None
    snr: dict[str, float]
    data_v: str | None
    vacuum: bool | None
    heliocentric: bool | None
    helio_rv: float | None


def facts(header: Mapping[str, Any], path: Path, arm_snr: Mapping[str, float | None] | None = None) -> Facts:
    """Return what the primary header says; `arm_snr` are the S/N of the arms of a medium-resolution file.

    OBSID is missing before DR2, and medium-resolution files have no CLASS: then the file's name and
    OBJTYPE have to do, and the facts tell so.
    """
    obsid = key(header.get("OBSID"))
    kind = word(header.get("CLASS"))
    target = word(header.get("OBJTYPE"))
    snr = {band: number(header.get(f"SNR{band.upper()}")) for band in BANDS} | dict(arm_snr or {})
    return Facts(
        obsid=obsid or stem(path),
        obsid_from="OBSID" if obsid else "file name",
        kind=(kind or target or "").upper() or None,
        class_from="CLASS" if kind else "OBJTYPE" if target else None,
        subclass=word(header.get("SUBCLASS")),
        z=number(header.get("Z")),
        ra=number(header.get("RA")),
        dec=number(header.get("DEC")),
        snr={band: value for band, value in snr.items() if value is not None},
        data_v=word(header.get("DATA_V")),
        vacuum=truth(header.get("VACUUM")),
        heliocentric=truth(header.get("HELIO")),
        helio_rv=number(header.get("HELIO_RV")),
    )


def key(value: Any) -> str:
    """Return an obsid as the word that joins tables: 101001, '101001 ' and 101001.0 are one star."""
    text = word(value) or ""
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def stem(path: Path) -> str:
    """Return the file's name without its endings: what stands in for a missing OBSID."""
    return re.sub(r"(\.(fits?|fts))?(\.gz)?$", "", path.name, flags=re.IGNORECASE) or path.name


def number(value: Any) -> float | None:
    """Return a finite float, or None for anything else and for the survey's words for 'not measured'."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and abs(found) not in MISSING else None


def word(value: Any) -> str | None:
    """Return a value as stripped text, None when there is none (an undefined card has no text)."""
    if value is None or type(value).__name__ == "Undefined":
        return None
    return str(value).strip() or None


def truth(value: Any) -> bool | None:
    """Return a FITS logical, also when it was written as a number or a word."""
    text = (word(value) or "").upper()
    return {"TRUE": True, "T": True, "1": True, "FALSE": False, "F": False, "0": False}.get(text)
