"""Every mart, cell by cell, against an independent recomputation in pandas from the production tables."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections import Counter
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from elt import sample_data, sample_returns
from tests.recomputed_beds import bed_marts, frame

pytestmark = pytest.mark.integration

LAGOS = ZoneInfo("Africa/Lagos")
VITALS = {
    "systolic_mmhg": "bp",
    "diastolic_mmhg": "bp",
    "heart_rate_per_minute": "hr",
    "respiratory_rate_per_minute": "rr",
    "temperature_celsius": "t",
    "oxygen_saturation_pct": "spo2",
    "pain_score": "pain",
}
MEASURED = [
    "systolic_mmhg",
    "heart_rate_per_minute",
    "respiratory_rate_per_minute",
    "temperature_celsius",
    "oxygen_saturation_pct",
]
STATES = {re.sub("[^A-Z]", "", state.upper()): state.upper() for state in sample_data.STATES} | {
    "FCT": "FEDERAL CAPITAL TERRITORY",
    "NASSARAWA": "NASARAWA",
    "RIVER": "RIVERS",
}

RECORD_NAMES = {
    "id": "medical_record_id",
    "record_id": "source_record_id",
    "age": "age_at_record",
    "age_group": "age_group_at_record",
}
VISIT_NAMES = {
    "id": "triage_visit_id",
    "visit_id": "source_visit_id",
    "age": "age_at_visit",
    "age_group": "age_group_at_visit",
}
SHARED = [
    "patient_id",
    "facility_id",
    "facility_name",
    "state",
    "facility_category",
    "sex",
    "times_delivered",
    "is_occurred_at_estimated",
    "occurred_at",
]
RECORD_COLUMNS = [
    "medical_record_id",
    "source_record_id",
    "age_at_record",
    "age_group_at_record",
    "record_type",
    "diagnosis",
    "treatment",
    "medications",
    "days_since_creation",
    "was_updated",
    "recorded_on",
]
VISIT_COLUMNS = [
    "triage_visit_id",
    "source_visit_id",
    "age_at_visit",
    "age_group_at_visit",
    "triage_level",
    "triage_description",
    "priority",
    "time_of_day",
    "chief_complaint",
    "conditions",
    "recommendations",
    "condition_count",
    "recommendation_count",
    "visited_on",
]


@pytest.fixture(params=["sample", "real"])
def night(request, warehouse, tmp_path):
    """A published night on invented drops, and one on the real folder."""
    if request.param == "sample":
        paths = sample_data.generate(tmp_path / "drops", patients=300, seed=7, dirty=True)
        returns = sample_returns.generate(tmp_path / "returns", seed=7)
    else:
        real_data = request.getfixturevalue("real_data")
        paths = sorted((real_data / "medilink").glob("*.csv"))
        returns = sorted((real_data / "nhs_kh03").iterdir())
    for path in paths:
        warehouse.drop(path.name, path.read_bytes())
    for path in returns:
        warehouse.drop_return(path.name, path.read_bytes())
    warehouse.run(f"night-{uuid.uuid4()}")
    return warehouse


def test_every_mart_is_what_pandas_makes_of_the_production_tables(night, admin):
    frames = {
        name: table(admin, f"public.{name}") for name in ("facilities", "patients", "medical_records", "triage_visits")
    }
    run_date = night.ask("select (started_at at time zone 'UTC')::date from audit.batches")[0][0]
    expected = Recomputed(frames, run_date, night.settings.research_pseudonym_key.get_secret_value()).marts()
    beds = bed_marts(rows_of(table(admin, "public.bed_occupancy_returns")))
    published = {
        f"{schema}.{name}"
        for schema, name in night.ask(
            "select schemaname, tablename from pg_tables where schemaname in ('analytics', 'research')"
        )
    }
    assert published == expected.keys() | beds.keys()
    for name, (key, rows) in expected.items():
        actual = table(admin, name)
        assert sorted(actual.columns) == sorted(rows.columns), name
        compare(name, cells(actual, key), cells(rows, key))
    for name, (key, rows) in beds.items():
        actual, recomputed = frame(rows_of(table(admin, name))), frame(rows)
        assert sorted(actual.columns) == sorted(recomputed.columns), name
        compare(name, cells(actual, key), cells(recomputed, key))


def table(admin, name):
    """A whole table; every cell as psycopg gives it, None for NULL."""
    cursor = admin.execute(f"select * from {name}")
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description], dtype=object)


def rows_of(frame):
    """The rows of a frame as dictionaries; NULL is None, whatever pandas makes of it."""
    return [
        {column: None if not isinstance(value, list) and pd.isna(value) else value for column, value in row.items()}
        for row in frame.to_dict("records")
    ]


def cells(frame, key):
    """The frame as {key: {column: value}}; every key stands once."""
    rows = {tuple(row[column] for column in key): row for row in rows_of(frame)}
    assert len(rows) == len(frame), key
    return rows


def compare(name, actual, expected):
    assert actual.keys() == expected.keys(), name
    wrong = [
        (key, column, row[column], expected[key][column])
        for key, row in actual.items()
        for column in row
        if row[column] != expected[key][column]
    ]
    assert wrong == [], f"{name}: {len(wrong)} cells"


def rounded(value, divisor=1, places=2):
    """value / divisor, half away from zero, without a detour over binary fractions; None stays None."""
    if divisor == 0 or value is None:
        return None
    exact = Fraction(value) / Fraction(divisor)
    scaled = Decimal(exact.numerator * 10**places) / Decimal(exact.denominator)
    return scaled.quantize(Decimal(1), ROUND_HALF_UP).scaleb(-places)


def mean(values):
    return rounded(sum(values), len(values)) if len(values) else None


def age(born, on):
    if pd.isna(born) or born > on:
        return None
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def age_group(years):
    if years is None:
        return "Unknown"
    return next(
        group
        for end, group in ((1, "Infant"), (13, "Child"), (18, "Adolescent"), (65, "Adult"), (200, "Senior"))
        if years < end
    )


def reading(text, column):
    """A vital sign out of the free text, as a number."""
    found = None
    for part in (text or "").split(";"):
        sign, _, value = part.partition(":")
        sign, value = sign.strip().lower(), value.strip()
        if VITALS[column] != {"temp": "t"}.get(sign, sign):
            continue
        if sign == "bp":
            value = [*value.split("/"), ""][column.startswith("diastolic")]
        value = value.strip().rstrip("% ")
        if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4})?", value):
            found = Decimal(value)
    return found


def category(kind):
    if kind is None:
        return "Unknown"
    words = (
        ("Tertiary", r"teaching|federal medical|specialist|national hospital|natonal hospital"),
        ("Secondary", r"hospital|medical cent|polyclinic"),
        ("Primary", r"primary|health cent|health post|clinic|dispensary|maternity"),
    )
    return next((level for level, pattern in words if re.search(pattern, kind, re.IGNORECASE)), "Other")


def phone_is_valid(phone):
    digits = re.sub(r"[-() ./]", "", phone or "")
    return bool(re.fullmatch(r"(0|\+?2340?)(70|71|72|80|81|90|91|20)\d{8}", digits))


def disclosed(count):
    return 5 * ((count + 2) // 5)


class Recomputed:
    """The marts, each as (key, frame), from the four production tables."""

    def __init__(self, frames, run_date, key):
        self.run_date = run_date
        self.key = key
        self.year_ago = run_date - timedelta(days=365)
        self.facilities = self._facilities(frames["facilities"])
        self.patients = self._patients(frames["patients"])
        self.records = self._events(frames["medical_records"], "recorded_at", "recorded_on")
        self.visits = self._events(frames["triage_visits"], "visited_at", "visited_on")
        for column in ("diagnosis", "treatment", "medications"):
            self.records[column] = [data.get(column) for data in self.records["data"]]
        for column in VITALS:
            self.visits[column] = pd.Series(
                [reading(text, column) for text in self.visits["vital_signs"]], dtype=object
            )
        self.visits["priority"] = self.visits["triage_level"].map(
            {1: "Critical", 2: "High", 3: "Medium", 4: "Low", 5: "Low"}
        )

    def marts(self):
        facilities, patients = self.dim_facilities(), self.dim_patients()
        conditions = self.fct_visit_conditions()
        analysis = self.condition_analysis(conditions)
        people = self.research_patients()
        return {
            "analytics.dim_date": (["calendar_on"], self.dim_date()),
            "analytics.dim_facilities": (["facility_id"], facilities),
            "analytics.dim_patients": (["patient_id"], patients),
            "analytics.fct_medical_records": (["medical_record_id"], self.fct_medical_records()),
            "analytics.fct_triage_visits": (["triage_visit_id"], self.fct_triage_visits()),
            "analytics.fct_visit_conditions": (["triage_visit_id", "condition"], conditions),
            "analytics.patient_summary": (["patient_id"], self.patient_summary(patients, conditions)),
            "analytics.facility_performance": (["facility_id"], self.facility_performance(facilities)),
            "analytics.triage_trends": (["facility_id", "visited_on"], self.triage_trends()),
            "analytics.condition_analysis": (["condition", "state", "age_group", "sex"], analysis),
            "research.research_patients": (["patient_pseudonym"], people),
            "research.research_medical_records": (["record_pseudonym"], self.research_medical_records(people)),
            "research.research_triage_visits": (["visit_pseudonym"], self.research_triage_visits(people, conditions)),
            "research.research_conditions": (
                ["condition", "state", "age_group", "sex"],
                self.research_conditions(analysis),
            ),
        }

    def _facilities(self, raw):
        spelling = raw["state"].map(lambda state: re.sub("STATE$", "", re.sub("[^A-Z]", "", state)))
        known = spelling.map(STATES)
        return pd.DataFrame(
            {
                "facility_id": raw["id"],
                "facility_name": raw["name"],
                "state": known.where(known.notna(), raw["state"]),
                "delivered_state": raw["state"],
                "local_government_area": raw["lga"],
                "facility_type": raw["type"],
                "facility_category": raw["type"].map(category),
                "latitude": raw["lat"],
                "longitude": raw["lon"],
                "is_known_state": known.notna(),
                "has_valid_coordinates": [
                    not pd.isna(lat) and not pd.isna(lon) and 4 <= lat <= 14 and 2.5 <= lon <= 15
                    for lat, lon in zip(raw["lat"], raw["lon"], strict=True)
                ],
            },
            dtype=object,
        )

    def _patients(self, raw):
        ages = [age(born, self.run_date) for born in raw["dob"]]
        home = self.facilities.set_index("facility_id")
        return pd.DataFrame(
            {
                "patient_id": raw["id"],
                "facility_id": raw["facility_id"],
                "facility_name": raw["facility_id"].map(home["facility_name"]),
                "state": raw["facility_id"].map(home["state"]),
                "full_name": raw["first_name"] + " " + raw["last_name"],
                "sex": raw["sex"].fillna("Unknown"),
                "age_group": [age_group(years) for years in ages],
                "phone": raw["phone"],
                "age": pd.Series(ages, dtype=object),
                "is_valid_phone": raw["phone"].map(phone_is_valid),
                "born_on": raw["dob"],
            },
            dtype=object,
        )

    def _events(self, raw, time, day):
        """Events with facility and demographics at the time."""
        estimated = raw[time].isna()
        occurred = raw[time].where(~estimated, raw["created_at"])
        days = [moment.astimezone(LAGOS).date() for moment in occurred]
        home = self.facilities.set_index("facility_id")
        people = self.patients.set_index("patient_id")
        ages = [age(people["born_on"][patient], on) for patient, on in zip(raw["patient_id"], days, strict=True)]
        events = raw.assign(is_occurred_at_estimated=estimated, occurred_at=occurred, age=pd.Series(ages, dtype=object))
        events[day] = pd.Series(days, dtype=object)
        events["on"] = events[day]
        events["is_recent"] = [on >= self.year_ago for on in days]
        events["age_group"] = [age_group(years) for years in ages]
        events["sex"] = raw["patient_id"].map(people["sex"])
        for column in ("facility_name", "state", "facility_category"):
            events[column] = raw["facility_id"].map(home[column])
        return events

    def dim_date(self):
        days = pd.date_range("1900-01-01", date(self.run_date.year + 1, 12, 31))
        rows = []
        for moment in days:
            day = moment.date()
            nhs_year = day.year - (day.month < 4)
            iso_year, iso_week, weekday = day.isocalendar()
            rows.append(
                {
                    "calendar_quarter": f"Q{moment.quarter}",
                    "month_name": moment.month_name(),
                    "day_name": moment.day_name(),
                    "nhs_quarter": {1: "Q4", 2: "Q1", 3: "Q2", 4: "Q3"}[moment.quarter],
                    "nhs_year_name": f"{nhs_year}-{str(nhs_year + 1)[-2:]}",
                    "calendar_year": day.year,
                    "month_number": day.month,
                    "day_of_month": day.day,
                    "day_of_week": weekday,
                    "iso_year": iso_year,
                    "iso_week": iso_week,
                    "nhs_year": nhs_year,
                    "is_weekend": weekday > 5,
                    "calendar_on": day,
                    "week_start_on": day - timedelta(days=weekday - 1),
                    "month_start_on": day.replace(day=1),
                    "quarter_start_on": date(day.year, (day.month - 1) // 3 * 3 + 1, 1),
                }
            )
        return pd.DataFrame(rows, dtype=object)

    def dim_facilities(self):
        registered = Counter(self.patients["facility_id"])
        records, visits = self._by("facility_id")
        rows = []
        for facility in rows_of(self.facilities):
            own_records, own_visits = records.get(facility["facility_id"], []), visits.get(facility["facility_id"], [])
            last = max((event["occurred_at"] for event in [*own_records, *own_visits]), default=None)
            rows.append(
                facility
                | {
                    "patient_count": registered[facility["facility_id"]],
                    "record_count": len(own_records),
                    "visit_count": len(own_visits),
                    "avg_triage_level": mean([visit["triage_level"] for visit in own_visits]),
                    "is_active": last is not None
                    and last.astimezone(LAGOS).date() >= self.run_date - timedelta(days=90),
                    "last_activity_at": last,
                }
            )
        return pd.DataFrame(rows, dtype=object)

    def dim_patients(self):
        records, visits = self._by("patient_id")
        rows = []
        for patient in rows_of(self.patients):
            own_records, own_visits = records.get(patient["patient_id"], []), visits.get(patient["patient_id"], [])
            events = [*own_records, *own_visits]
            last = max((event["occurred_at"] for event in events), default=None)
            recent = [visit for visit in own_visits if visit["is_recent"]]
            acuity = max((4 - visit["triage_level"] for visit in recent), default=0)
            quarter = [visit for visit in own_visits if visit["on"] >= self.run_date - timedelta(days=90)]
            points = max(acuity, 0) + (patient["age_group"] in ("Infant", "Senior")) + (len(quarter) >= 3)
            days = None if last is None else (self.run_date - last.astimezone(LAGOS).date()).days
            recency = (
                0
                if days is None
                else next((score for end, score in ((30, 40), (90, 30), (180, 20), (365, 10)) if days <= end), 0)
            )
            contacts = min(sum(event["is_recent"] for event in events), 4)
            rows.append(
                patient
                | {
                    "health_risk": "Unknown"
                    if last is None
                    else "High"
                    if points >= 3
                    else "Medium"
                    if points == 2
                    else "Low",
                    "record_count": len(own_records),
                    "visit_count": len(own_visits),
                    "worst_triage_level": min((visit["triage_level"] for visit in own_visits), default=None),
                    "last_triage_level": max(own_visits, key=lambda visit: (visit["occurred_at"], visit["id"]))[
                        "triage_level"
                    ]
                    if own_visits
                    else None,
                    "health_risk_points": points,
                    "engagement_score": recency + 10 * contacts + 20 * patient["is_valid_phone"],
                    "last_visit_at": max((visit["occurred_at"] for visit in own_visits), default=None),
                    "last_activity_at": last,
                }
            )
        return pd.DataFrame(rows, dtype=object)

    def fct_medical_records(self):
        return self.records.assign(
            days_since_creation=[(self.run_date - moment.date()).days for moment in self.records["created_at"]],
            was_updated=self.records["updated_at"] > self.records["created_at"],
        ).rename(columns=RECORD_NAMES)[[*SHARED, *RECORD_COLUMNS]]

    def fct_triage_visits(self):
        names = {1: "Resuscitation", 2: "Emergent", 3: "Urgent", 4: "Less urgent", 5: "Non-urgent"}
        return self.visits.assign(
            triage_description=self.visits["triage_level"].map(names),
            time_of_day=self._time_of_day(),
            condition_count=[len(items or []) for items in self.visits["conditions"]],
            recommendation_count=[len(items or []) for items in self.visits["recommendations"]],
        ).rename(columns=VISIT_NAMES)[[*SHARED, *VISIT_COLUMNS, *VITALS]]

    def fct_visit_conditions(self):
        spellings = {}
        for items in self.visits["conditions"]:
            for item in items or []:
                spellings[item.lower()] = min(item, spellings.get(item.lower(), item))
        rows = []
        for visit in rows_of(self.visits):
            rows += [
                {
                    "triage_visit_id": visit["id"],
                    "patient_id": visit["patient_id"],
                    "facility_id": visit["facility_id"],
                    "condition": spellings[folded],
                    "state": visit["state"],
                    "sex": visit["sex"],
                    "age_group_at_visit": visit["age_group"],
                    "triage_level": visit["triage_level"],
                    "visited_on": visit["on"],
                }
                for folded in {item.lower() for item in visit["conditions"] or []}
            ]
        return pd.DataFrame(rows, dtype=object)

    def patient_summary(self, patients, conditions):
        records, visits = self._by("patient_id", recent=True)
        noted = (
            conditions[conditions["visited_on"] >= self.year_ago].groupby("patient_id")["condition"].agg(set).to_dict()
        )
        rows = []
        for patient in rows_of(patients):
            own_records, own_visits = records.get(patient["patient_id"], []), visits.get(patient["patient_id"], [])
            diagnoses = {record["diagnosis"] for record in own_records} - {None}
            own_conditions = noted.get(patient["patient_id"], set())
            illnesses = {illness.lower() for illness in diagnoses | own_conditions}
            points = patient["health_risk_points"] + (len(illnesses) >= 4)
            score = patient["engagement_score"]
            levels = [visit["triage_level"] for visit in own_visits]
            known = (
                "patient_id",
                "facility_id",
                "facility_name",
                "state",
                "sex",
                "age_group",
                "engagement_score",
                "last_activity_at",
            )
            rows.append(
                {column: patient[column] for column in known}
                | {
                    "risk_assessment": "Unknown"
                    if patient["last_activity_at"] is None
                    else "High"
                    if points > 2
                    else {2: "Medium"}.get(points, "Low"),
                    "engagement_level": "High"
                    if score >= 70
                    else "Medium"
                    if score >= 40
                    else "Low"
                    if score
                    else "None",
                    "diagnoses": sorted(diagnoses) or None,
                    "conditions": sorted(own_conditions) or None,
                    "record_count": len(own_records),
                    "visit_count": len(own_visits),
                    "urgent_visit_count": sum(level < 3 for level in levels),
                    "illness_count": len(illnesses),
                    "worst_triage_level": min(levels, default=None),
                    "avg_triage_level": mean(levels),
                    "risk_points": points,
                }
            )
        return pd.DataFrame(rows, dtype=object)

    def facility_performance(self, facilities):
        all_records, all_visits = self._by("facility_id")
        records, visits = self._by("facility_id", recent=True)
        contacts = {
            facility: len(records.get(facility, [])) + len(visits.get(facility, []))
            for facility in facilities["facility_id"]
        }
        busy = facilities[[contacts[facility] > 0 for facility in facilities["facility_id"]]]
        medians = busy["facility_id"].map(contacts).astype(float).groupby(busy["facility_category"]).median()
        rows = []
        for facility in rows_of(facilities):
            own_id = facility["facility_id"]
            own_records, own_visits = records.get(own_id, []), visits.get(own_id, [])
            firsts = [event["on"] for event in [*all_records.get(own_id, []), *all_visits.get(own_id, [])]]
            first = min(firsts, default=None)
            observed = 366 if first is None else max(Fraction(366, 12), min((self.run_date - first).days + 1, 366))
            count = len(own_visits)
            urgent = sum(visit["triage_level"] <= 2 for visit in own_visits)
            complete = [
                sum(all(visit[sign] is not None for sign in MEASURED) for visit in own_visits),
                sum(bool(visit["conditions"]) for visit in own_visits),
                sum(bool(visit["recommendations"]) for visit in own_visits),
            ]
            score, urgency = rounded(100 * sum(complete), 3 * count), rounded(100 * urgent, count)
            volume = "None"
            if contacts[own_id]:
                relative = contacts[own_id] / medians[facility["facility_category"]]
                volume = "High" if relative >= 1.5 else "Low" if relative <= 0.5 else "Medium"
            known = ("facility_id", "facility_name", "state", "facility_category", "is_active")
            rows.append(
                {column: facility[column] for column in known}
                | {
                    "volume_category": volume,
                    "acuity_category": "Unknown"
                    if urgency is None
                    else "High"
                    if urgency >= 25
                    else "Medium"
                    if urgency >= 10
                    else "Low",
                    "performance_indicator": "Unknown"
                    if score is None
                    else "Good"
                    if score >= 80
                    else "Fair"
                    if score >= 50
                    else "Poor",
                    "patient_count": len({event["patient_id"] for event in [*own_records, *own_visits]}),
                    "record_count": len(own_records),
                    "visit_count": count,
                    "urgent_visit_count": urgent,
                    "avg_triage_level": mean([visit["triage_level"] for visit in own_visits]),
                    "urgent_visit_pct": urgency,
                    "monthly_visit_average": rounded(count, observed * 12 / Fraction(366)),
                    "monthly_record_average": rounded(len(own_records), observed * 12 / Fraction(366)),
                    "vitals_recorded_pct": rounded(100 * complete[0], count),
                    "conditions_recorded_pct": rounded(100 * complete[1], count),
                    "recommendations_recorded_pct": rounded(100 * complete[2], count),
                    "performance_score": score,
                    "first_activity_on": first,
                }
            )
        return pd.DataFrame(rows, dtype=object)

    def triage_trends(self):
        _, visits = self._by("facility_id")
        home = self.facilities.set_index("facility_id")
        rows = []
        for facility, own_visits in visits.items():
            levels = {}
            for visit in own_visits:
                levels.setdefault(visit["on"], []).append(visit["triage_level"])
            first, last = min(levels), max(*levels, self.run_date)
            for known in range((last - first).days + 1):
                on = first + timedelta(days=known)
                weeks = [
                    sum(len(levels.get(on - timedelta(days=back), [])) for back in range(start, start + 7))
                    for start in (0, 7)
                ]
                today = levels.get(on, [])
                rows.append(
                    {
                        "facility_id": facility,
                        "facility_name": home["facility_name"][facility],
                        "state": home["state"][facility],
                        "visit_count": len(today),
                        "critical_count": today.count(1),
                        "high_count": today.count(2),
                        "medium_count": today.count(3),
                        "low_count": today.count(4) + today.count(5),
                        "avg_triage_level": mean(today),
                        "visit_count_7_day_average": rounded(weeks[0], 7) if known >= 6 else None,
                        "week_over_week_growth_pct": rounded(100 * (weeks[0] - weeks[1]), weeks[1])
                        if known >= 13
                        else None,
                        "visited_on": on,
                    }
                )
        return pd.DataFrame(rows, dtype=object)

    def condition_analysis(self, conditions):
        cell = ["state", "age_group", "sex"]
        everybody = Counter(zip(*(self.visits[column] for column in cell), strict=True))
        rows = []
        for (condition, *where), group in conditions.rename(columns={"age_group_at_visit": "age_group"}).groupby(
            ["condition", *cell]
        ):
            rows.append(
                dict(zip(cell, where, strict=True))
                | {
                    "condition": condition,
                    "patient_count": group["patient_id"].nunique(),
                    "visit_count": len(group),
                    "urgent_visit_count": sum(level <= 2 for level in group["triage_level"]),
                    "avg_triage_level": mean(list(group["triage_level"])),
                    "visit_share_pct": rounded(100 * len(group), everybody[tuple(where)]),
                }
            )
        for row in rows:
            peers = [other for other in rows if all(other[column] == row[column] for column in cell)]
            row["frequency_rank"] = 1 + sum(other["visit_count"] > row["visit_count"] for other in peers)
            row["severity_rank"] = 1 + sum(other["avg_triage_level"] < row["avg_triage_level"] for other in peers)
        return pd.DataFrame(rows, dtype=object)

    def research_patients(self):
        rows = []
        for patient in rows_of(self.patients):
            born = patient["born_on"]
            years = -1 if born is None else self.run_date.year - born.year
            band = (
                "Unknown"
                if years < 0
                else "90+"
                if years >= 90
                else f"{years // 10}0-{years // 10}9".replace("00-", "0-").replace("-09", "-9")
            )
            rows.append(
                {
                    "patient_pseudonym": self._pseudonym("patient", patient["patient_id"]),
                    "state": patient["state"],
                    "sex": patient["sex"],
                    "age_band": band,
                }
            )
        identity = ("state", "sex", "age_band")
        for column in identity:
            sizes = Counter(tuple(row[part] for part in identity) for row in rows)
            rows = [
                row | ({column: "Suppressed"} if sizes[tuple(row[part] for part in identity)] < 5 else {})
                for row in rows
            ]
        sizes = Counter(tuple(row[part] for part in identity) for row in rows)
        rows = [row for row in rows if sizes[tuple(row[part] for part in identity)] >= 5]
        assert min(Counter(tuple(row[part] for part in identity) for row in rows).values()) >= 5
        return pd.DataFrame(rows, dtype=object)

    def research_medical_records(self, people):
        types, diagnoses = (self._shared(self.records, column) for column in ("record_type", "diagnosis"))
        rows = [
            {
                "record_pseudonym": self._pseudonym("medical_record", record["id"]),
                "patient_pseudonym": self._pseudonym("patient", record["patient_id"]),
                "record_type": record["record_type"] if record["record_type"] in types else "Other",
                "diagnosis": record["diagnosis"] if record["diagnosis"] in {*diagnoses, None} else "Other",
                "record_year": None if record["is_occurred_at_estimated"] else record["on"].year,
            }
            for record in rows_of(self.records)
        ]
        return pd.DataFrame(
            [row for row in rows if row["patient_pseudonym"] in set(people["patient_pseudonym"])], dtype=object
        )

    def research_triage_visits(self, people, conditions):
        shared = self._shared(conditions, "condition")
        shown = (
            conditions["condition"]
            .where(conditions["condition"].isin(shared), "Other")
            .groupby(conditions["triage_visit_id"])
            .agg(set)
            .to_dict()
        )
        times = dict(zip(self.visits["id"], self._time_of_day(), strict=True))
        rows = [
            {
                "visit_pseudonym": self._pseudonym("triage_visit", visit["id"]),
                "patient_pseudonym": self._pseudonym("patient", visit["patient_id"]),
                "priority": visit["priority"],
                "time_of_day": times[visit["id"]],
                "conditions": sorted(shown.get(visit["id"], [])) or None,
                "triage_level": visit["triage_level"],
                **{sign: visit[sign] for sign in VITALS},
                "visit_year": None if visit["is_occurred_at_estimated"] else visit["on"].year,
            }
            for visit in rows_of(self.visits)
        ]
        return pd.DataFrame(
            [row for row in rows if row["patient_pseudonym"] in set(people["patient_pseudonym"])], dtype=object
        )

    def research_conditions(self, analysis):
        shown = analysis[analysis["patient_count"] >= 8]
        return shown.assign(
            patient_count=shown["patient_count"].map(disclosed), visit_count=shown["visit_count"].map(disclosed)
        )[["condition", "state", "age_group", "sex", "patient_count", "visit_count"]]

    def _by(self, column, recent=False):
        """Records and visits as lists of rows, by patient or facility."""
        parted = []
        for events in (self.records, self.visits):
            groups = {}
            for event in rows_of(events):
                if event["is_recent"] or not recent:
                    groups.setdefault(event[column], []).append(event)
            parted.append(groups)
        return parted

    def _time_of_day(self):
        return [
            None if estimated else ("Night", "Morning", "Afternoon", "Evening")[moment.astimezone(LAGOS).hour // 6]
            for estimated, moment in zip(
                self.visits["is_occurred_at_estimated"], self.visits["occurred_at"], strict=True
            )
        ]

    def _shared(self, frame, column):
        """The values that at least eight patients share."""
        patients = frame.groupby(column)["patient_id"].nunique()
        return set(patients[patients >= 8].index)

    def _pseudonym(self, kind, number):
        return hmac.new(self.key.encode(), f"{kind}:{number}".encode(), hashlib.sha256).hexdigest()
