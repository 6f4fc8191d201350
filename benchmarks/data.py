"""Files and tables of any size for the benchmarks: made up, about nobody, the same for the same arguments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FACILITIES = 1000

VISIT = (
    "facility_name,patient_first_name,patient_last_name,triage_level,chief_complaint,vital_signs,conditions,"
    "recommendations,visit_id,visited_at\n"
)


def facility(number: int) -> str:
    """The name of a facility."""
    return f"Clinic {number % FACILITIES}"


def person(number: int) -> str:
    """First and last name of a patient; nobody else of the facility has both."""
    return f"Adé{number // FACILITIES % 997},Òjó{number // FACILITIES}"


def visits(count: int, patients: int, *, dirty: bool, first: int = 0) -> Iterator[str]:
    """Triage visits; dirty: 1 % with a wrong field count, 5 % with a quoted newline, 10 % with a quoted comma."""
    yield VISIT
    for number in range(first, first + count):
        complaint = "chest pain since monday"
        if dirty and number % 100 == 7:
            yield f"{facility(number)},{person(number % patients)},3\n"
            continue
        if dirty and number % 20 == 3:
            complaint = '"chest pain,\nsince monday"'
        elif dirty and number % 10 == 2:
            complaint = '"chest pain, since monday"'
        yield (
            f"{facility(number)},{person(number % patients)},{1 + number % 5},{complaint},BP: 140/90; HR: 84; T: 36.6,"
            f"Angina; Stress,Admit,V-{number},2026-01-{1 + number % 28:02d}T08:00:00Z\n"
        )


def patients(count: int, *, first: int = 0) -> Iterator[str]:
    """A header, and patients of their own each."""
    yield "facility_name,first_name,last_name,sex,dob,phone\n"
    for number in range(first, first + count):
        yield f"{facility(number)},{person(number)},{'MF'[number % 2]},19{number % 90 + 10}-05-17,0819{number:07d}\n"


def facilities() -> Iterator[str]:
    """A header, and all facilities."""
    yield "name,state,lga,lat,lon,type\n"
    for number in range(FACILITIES):
        yield f"{facility(number)},Lagos,Lga {number % 20},6.{number:03d},3.{number:03d},Clinic\n"


def write(path: Path, lines: Iterator[str]) -> Path:
    """Write the lines unless the file is there already."""
    if not path.exists():
        with path.with_suffix(".part").open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        path.with_suffix(".part").rename(path)
    return path
